//! What successes leave behind, spread over a few cache lines so that threads do not fight for one.
//!
//! A success in a closed circuit is by far the most frequent event, and it must not cost what a failure may cost. It
//! touches one stripe, its thread's own as long as there are no more threads than stripes: an atomic maximum for the
//! time of the last success and, under a rule by rates only, a ring of tallies behind that stripe's lock.
//!
//! Who judges adds the stripes up, under the circuit's lock. A stripe knows the generation it counts for, so that a
//! success of an older one, however long it was on its way, is not counted in a newer one. All rings are cut into parts
//! at the same instants, counted from the first outcome of all.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::config::{BreakerConfig, Trip};
use crate::sync::{AtomicU64, Mutex};
use crate::thread::number;
use crate::window::Buckets;

/// Parts of the window for rates: a sixtieth of it is what they may be off by.
const BUCKETS: usize = 60;

/// More stripes would make judging dear without making counting any cheaper.
const STRIPES_MAX: usize = 16;

/// Keeps what is written by one thread off the lines that others read. Two lines, because processors fetch pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Padded<T>(pub(super) T);

/// What is counted without the circuit's lock, and what is added up with it.
#[derive(Debug)]
pub(super) struct Stripes {
    /// The first `now` of any outcome; all ticks are nanoseconds since then.
    epoch: OnceLock<Instant>,
    /// The latest time the circuit has seen, in ticks: no success is counted before it.
    seen: AtomicU64,
    /// 1 while a failure or slow call may be within the window, so that time alone may make a rate rise.
    hits: AtomicU64,
    /// A call that takes longer is slow.
    slow_after: Option<Duration>,
    /// Whether a rule by rates needs all calls to be counted.
    tallied: bool,
    stripes: Box<[Padded<Stripe>]>,
}

#[derive(Debug)]
struct Stripe {
    /// Ticks of the latest success, plus one; 0 when there was none.
    last_success: AtomicU64,
    tallies: Mutex<Tallies>,
}

#[derive(Debug)]
struct Tallies {
    generation: u64,
    /// The part of the window in which this stripe last had the circuit judge.
    judged: Option<u64>,
    ring: Buckets<Tally>,
}

/// Calls and what was wrong with them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Calls that ended well or badly.
    pub(super) calls: u64,
    /// Those that failed.
    pub(super) failed: u64,
    /// Calls of which the duration says something.
    pub(super) timed: u64,
    /// Those that were slow.
    pub(super) slow: u64,
}

impl Stripes {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let window = config.trip.window();
        let stripe = || Stripe {
            last_success: AtomicU64::new(0),
            tallies: Mutex::new(Tallies { generation: 0, judged: None, ring: Buckets::new(window, BUCKETS) }),
        };
        Self {
            epoch: OnceLock::new(),
            seen: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            slow_after: config.slow_call.as_ref().map(|slow| slow.threshold),
            tallied: config.slow_call.is_some() || matches!(config.trip, Trip::Rate { .. }),
            stripes: (0..stripes()).map(|_| Padded(stripe())).collect(),
        }
    }

    /// Whether calls are counted here and not only dated.
    pub(super) const fn tallied(&self) -> bool {
        self.tallied
    }

    /// Whether a call of that duration was slow; `None` when that is not asked.
    pub(super) fn slow(&self, elapsed: Duration) -> Option<bool> {
        self.slow_after.map(|threshold| elapsed > threshold)
    }

    /// Counts a quick success of a call of `generation`, without the circuit's lock. Says whether the circuit has to be
    /// judged: the first success in each part of the window sees older ones fall out, so that a rate may have risen.
    pub(super) fn success(&self, generation: u64, now: Instant) -> bool {
        let epoch = self.epoch(now);
        let ticks = ticks(epoch, now).max(self.seen.load(Ordering::Relaxed));
        let Some(stripe) = self.mine() else { return false };
        if stripe.last_success.load(Ordering::Relaxed) <= ticks {
            stripe.last_success.fetch_max(ticks.saturating_add(1), Ordering::Relaxed);
        }
        if !self.tallied {
            return false;
        }
        let mut tallies = stripe.tallies.lock();
        if tallies.generation != generation {
            return false;
        }
        let slow = self.slow_after.map(|_| false);
        let part = tallies.record(epoch, at(epoch, ticks), false, slow);
        self.hits.load(Ordering::Relaxed) != 0 && tallies.judged != Some(part)
    }

    /// Counts an outcome under the circuit's lock. `now` is no earlier than the latest time seen.
    pub(super) fn record(&self, now: Instant, failed: bool, slow: Option<bool>) {
        if !self.tallied {
            return;
        }
        if failed || slow == Some(true) {
            self.hits.store(1, Ordering::Relaxed);
        }
        let epoch = self.epoch(now);
        if let Some(stripe) = self.mine() {
            stripe.tallies.lock().record(epoch, now, failed, slow);
        }
    }

    /// The sum of the window at `now`, for a judgement: what is due to be judged again is noted.
    pub(super) fn judged(&self, now: Instant) -> Tally {
        if let Some(stripe) = self.mine() {
            let mut tallies = stripe.tallies.lock();
            tallies.ring.anchor(self.epoch(now));
            tallies.judged = Some(tallies.ring.part(now));
        }
        let sum = self.sum(now);
        if sum.failed == 0 && sum.slow == 0 {
            self.hits.store(0, Ordering::Relaxed);
        }
        sum
    }

    /// The sum of the window at `now`.
    pub(super) fn sum(&self, now: Instant) -> Tally {
        let mut sum = Tally::default();
        for Padded(stripe) in &self.stripes {
            for tally in stripe.tallies.lock().ring.recent(now) {
                sum.add(tally);
            }
        }
        sum
    }

    /// Forgets all counts and begins to count for `generation`.
    pub(super) fn begin(&self, generation: u64) {
        if !self.tallied {
            return;
        }
        self.hits.store(0, Ordering::Relaxed);
        for Padded(stripe) in &self.stripes {
            let mut tallies = stripe.tallies.lock();
            tallies.generation = generation;
            tallies.judged = None;
            tallies.ring.clear();
        }
    }

    /// When a success last came this way.
    pub(super) fn last_success(&self) -> Option<Instant> {
        let last =
            self.stripes.iter().map(|Padded(stripe)| stripe.last_success.load(Ordering::Relaxed)).max()?;
        Some(at(*self.epoch.get()?, last.checked_sub(1)?))
    }

    /// Lets successes know the latest time that the circuit has seen. Called under the circuit's lock.
    pub(super) fn saw(&self, latest: Instant) {
        self.seen.store(ticks(self.epoch(latest), latest), Ordering::Relaxed);
    }

    fn epoch(&self, now: Instant) -> Instant {
        *self.epoch.get_or_init(|| now)
    }

    fn mine(&self) -> Option<&Stripe> {
        // The number of stripes is a power of two, so that the mask spreads the threads evenly.
        let index = number() & self.stripes.len().wrapping_sub(1);
        self.stripes.get(index).map(|Padded(stripe)| stripe)
    }
}

/// As many stripes as there are processors, rounded up to a power of two. Asked once: the answer is a matter of files
/// and system calls.
fn stripes() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let count = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if cfg!(feature = "loom") {
        return 2;
    }
    PROCESSORS.get_or_init(count).next_power_of_two().min(STRIPES_MAX)
}

impl Tallies {
    /// Counts one outcome; gives the part of the window that it fell into.
    fn record(&mut self, epoch: Instant, now: Instant, failed: bool, slow: Option<bool>) -> u64 {
        self.ring.anchor(epoch);
        self.ring.record(now, |tally| {
            tally.add(&Tally {
                calls: 1,
                failed: u64::from(failed),
                timed: u64::from(slow.is_some()),
                slow: u64::from(slow == Some(true)),
            });
        })
    }
}

impl Tally {
    const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.timed += other.timed;
        self.slow += other.slow;
    }
}

/// Nanoseconds since the epoch; what lies before it counts as the epoch, what lies 584 years after it as that.
fn ticks(epoch: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

fn at(epoch: Instant, ticks: u64) -> Instant {
    epoch.checked_add(Duration::from_nanos(ticks)).unwrap_or(epoch)
}
