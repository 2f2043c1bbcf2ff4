//! How guests share the workers with everything else.
//!
//! A turn is one poll of a guest. It ends when the guest is through, when it waits for the host, or with the tick. The
//! decision: **a guest whose turn ended with the tick goes on only in one of a few places, fewer than there are workers**,
//! and queues for each of its further turns. So guests that compute for long, or loop, share those places among
//! themselves, and one worker is always there for what is short: other calls, and the first turns of other guests.
//! No plugin queues for more places than there are, so that one with many guests leaves the others their turns.
//!
//! A turn is also what CPU time is counted by (`time.rs`): a guest that queues, or waits for the host, uses none. No turn
//! counts for more than five ticks: a longer one is mostly one in which the system took the worker away, for which no guest
//! is to blame.

use std::cell::Cell;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::TICK;

/// The places for guests that go on after a tick.
pub(crate) struct Places {
    number: usize,
    free: Semaphore,
}

/// The turns of one plugin's guests.
pub(crate) struct Turns {
    all: Arc<Places>,
    /// Its guests that have a place or stand first in the queue for one.
    own: Semaphore,
}

/// How long a guest has queued for places: time in which it could do nothing.
#[derive(Default)]
pub(super) struct Queued(Mutex<(Duration, Option<Instant>)>);

/// Ends a wait in the queue when it is dropped.
struct Queueing<'a>(&'a Queued);

impl Queued {
    /// All waits so far, the one that goes on included.
    pub(super) fn so_far(&self) -> Duration {
        let (over, since) = *self.0.lock();
        over.saturating_add(since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    fn begin(&self) -> Queueing<'_> {
        self.0.lock().1 = Some(Instant::now());
        Queueing(self)
    }
}

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        let so_far = self.0.so_far();
        *self.0.0.lock() = (so_far, None);
    }
}

/// Leave for one turn. Fields are dropped in this order.
struct Place<'a> {
    _free: SemaphorePermit<'a>,
    _own: SemaphorePermit<'a>,
}

/// The most that one turn counts for.
const TURN_MAX: Duration = TICK.saturating_mul(5);

/// The turn that goes on on a thread.
#[derive(Clone, Copy)]
struct Turn {
    /// None between turns. Moved on by what another guest's turn within this one took.
    began: Option<Instant>,
    /// What the guest's turns before it came to.
    before: Duration,
    /// The tick ended it.
    over: bool,
}

/// How a guest's time stands in the middle of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// The turn, up to now.
    pub(super) so_far: Duration,
    /// CPU time of the guest, this turn included.
    pub(super) used: Duration,
}

impl Turn {
    const NONE: Self = Self { began: None, before: Duration::ZERO, over: false };

    fn standing(self) -> Option<Standing> {
        let so_far = self.began?.elapsed();
        Some(Standing { so_far, used: self.before.saturating_add(so_far.min(TURN_MAX)) })
    }
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::NONE) };
}

/// How the guest stands whose turn it is on this thread.
pub(super) fn this() -> Option<Standing> {
    TURN.get().standing()
}

/// Says that the guest on this thread is about to give way because of the tick, and not because it waits.
pub(super) fn end_with_tick() {
    TURN.set(Turn { over: true, ..TURN.get() });
}

impl Places {
    /// Places for all workers but one; for a single worker there is one.
    pub(crate) fn new(workers: NonZeroUsize) -> Arc<Self> {
        let number = (workers.get() - 1).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self { number, free: Semaphore::new(number) })
    }
}

impl Turns {
    /// Turns of another plugin in the same places.
    pub(crate) fn new(all: &Arc<Places>) -> Self {
        Self { all: Arc::clone(all), own: Semaphore::new(all.number) }
    }

    /// Runs a guest turn by turn, and notes how long it queued for them. Cancel-safe if the guest is.
    pub(super) async fn run<R>(&self, queued: &Queued, mut guest: Pin<&mut impl Future<Output = R>>) -> R {
        let mut used = Duration::ZERO;
        let mut place: Option<Place<'_>> = None;
        loop {
            let ended = poll_fn(|context| match turn(guest.as_mut(), context, &mut used) {
                (Poll::Ready(result), _) => Poll::Ready(Some(result)),
                (Poll::Pending, true) => Poll::Ready(None),
                (Poll::Pending, false) => {
                    // Whoever waits for the host needs no worker.
                    place = None;
                    Poll::Pending
                }
            });
            if let Some(result) = ended.await {
                return result;
            }
            // Into the queue first: a place that is given up goes to whoever stands there.
            let _queueing = queued.begin();
            let mut next = pin!(self.place());
            let at_once = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
            drop(place.take());
            give_way().await;
            place = match at_once {
                Poll::Ready(place) => place,
                Poll::Pending => next.await,
            };
        }
    }

    /// A place, when it is this plugin's and this guest's turn. Always one: nobody closes the semaphores.
    async fn place(&self) -> Option<Place<'_>> {
        let own = self.own.acquire().await.ok()?;
        Some(Place { _free: self.all.free.acquire().await.ok()?, _own: own })
    }
}

/// Lets those run that are ready to. Tokio's own `yield_now` waits for the next look at the sockets, before which the
/// guests of others may have had dozens of turns.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One turn, which is added to what the guest has used, and whether the tick ended it.
fn turn<R>(
    guest: Pin<&mut impl Future<Output = R>>,
    context: &mut Context<'_>,
    used: &mut Duration,
) -> (Poll<R>, bool) {
    let began = Instant::now();
    // A host call of another guest may be what runs this one.
    let outer = TURN.replace(Turn { began: Some(began), before: *used, over: false });
    let polled = guest.poll(context);
    let mine = TURN.replace(Turn { began: outer.began.map(|at| at + began.elapsed()), ..outer });
    *used = mine.standing().map_or(*used, |standing| standing.used);
    (polled, mine.over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A guest whose tick is over `turns` times.
    fn long(
        turns: usize,
        log: Arc<parking_lot::Mutex<Vec<usize>>>,
        name: usize,
    ) -> impl Future<Output = usize> {
        let mut left = turns;
        poll_fn(move |context| {
            log.lock().push(name);
            if left == 0 {
                return Poll::Ready(name);
            }
            left -= 1;
            end_with_tick();
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    async fn run<R>(turns: &Turns, guest: impl Future<Output = R>) -> R {
        turns.run(&Queued::default(), pin!(guest)).await
    }

    /// Keeps the thread busy.
    fn compute(span: Duration) {
        let began = Instant::now();
        while began.elapsed() < span {
            std::hint::spin_loop();
        }
    }

    fn turns(workers: usize) -> Turns {
        Turns::new(&Places::new(NonZeroUsize::new(workers).unwrap()))
    }

    #[tokio::test]
    async fn long_guests_take_turns_and_a_short_one_passes_them() {
        let (turns, log) = (turns(2), Arc::default());
        let guest = |turns, name| long(turns, Arc::clone(&log), name);
        let (one, two, short) =
            tokio::join!(run(&turns, guest(3, 1)), run(&turns, guest(3, 2)), run(&turns, guest(0, 3)));
        assert_eq!((one, two, short), (1, 2, 3));
        let log = log.lock();
        assert_eq!(log[..3], [1, 2, 3], "first turns need no place");
        let later = &log[3..];
        assert!(
            later.windows(2).all(|pair| pair[0] != pair[1]),
            "one long guest had two turns in a row: {log:?}"
        );
    }

    #[tokio::test]
    async fn a_plugin_of_many_long_guests_leaves_another_its_turns() {
        let (busy, log) = (Arc::new(turns(2)), Arc::default());
        let other = Turns::new(&busy.all);
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (busy, guest) = (Arc::clone(&busy), long(1_000_000, Arc::clone(&log), 1));
            crowd.spawn(async move { run(&busy, guest).await });
        }
        while log.lock().len() < 32 {
            tokio::task::yield_now().await;
        }
        log.lock().clear();
        let guest = long(10, Arc::clone(&log), 2);
        // A task like the others: what a test itself waits for is looked at more rarely.
        tokio::spawn(async move { run(&other, guest).await }).await.unwrap();
        let turns_of = |name| log.lock().iter().filter(|turn| **turn == name).count();
        assert_eq!(turns_of(2), 11);
        assert!(turns_of(1) <= 33, "{} turns of the others meanwhile", turns_of(1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn at_most_all_workers_but_one_run_later_turns() {
        let turns = Arc::new(turns(4));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let guests: Vec<_> = (0..16)
            .map(|_| {
                let (turns, now, most) = (Arc::clone(&turns), Arc::clone(&now), Arc::clone(&most));
                let mut turn = 0;
                tokio::spawn(async move {
                    let guest = poll_fn(|context| {
                        turn += 1;
                        if turn > 1 {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            compute(Duration::from_micros(200));
                            now.fetch_sub(1, Ordering::SeqCst);
                        }
                        if turn > 20 {
                            return Poll::Ready(());
                        }
                        end_with_tick();
                        context.waker().wake_by_ref();
                        Poll::Pending
                    });
                    run(&turns, guest).await;
                })
            })
            .collect();
        for guest in guests {
            guest.await.unwrap();
        }
        let most = most.load(Ordering::SeqCst);
        assert!((1..=3).contains(&most), "{most} at the same time");
        assert_eq!(turns.all.free.available_permits(), 3);
    }

    #[tokio::test]
    async fn time_in_the_queue_is_told_from_other_time() {
        let turns = turns(2);
        let taken = turns.all.free.acquire().await.unwrap();
        let queued = Queued::default();
        let guest = pin!(long(1, Arc::default(), 1));
        let mut guest = pin!(turns.run(&queued, guest));
        assert!(poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await.is_pending());
        compute(TICK);
        assert!(queued.so_far() >= TICK);
        drop(taken);
        assert_eq!(guest.await, 1);
        let so_far = queued.so_far();
        compute(TICK);
        assert_eq!(queued.so_far(), so_far, "the wait is over");
    }

    #[tokio::test]
    async fn a_guest_that_waits_gives_its_place_back() {
        let turns = turns(2);
        let mut polls = 0;
        let guest = pin!(poll_fn(|context| {
            polls += 1;
            match polls {
                1 => {
                    end_with_tick();
                    context.waker().wake_by_ref();
                }
                2 => context.waker().wake_by_ref(),
                _ => return Poll::Ready(turns.all.free.available_permits()),
            }
            Poll::Pending
        }));
        assert_eq!(
            turns.run(&Queued::default(), guest).await,
            1,
            "the second turn had the place, the third began without it"
        );
    }

    #[test]
    fn a_turn_within_a_turn_is_not_the_outer_ones_time() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let (mut used, mut used_inside) = (Duration::ZERO, Duration::ZERO);
        let outer = pin!(poll_fn(|context| {
            let inner = pin!(poll_fn(|_| {
                compute(TICK / 2);
                end_with_tick();
                Poll::Ready(())
            }));
            let began = TURN.get().began.unwrap();
            assert!(turn(inner, context, &mut used_inside).1);
            assert!(TURN.get().began.unwrap() >= began + TICK / 2);
            Poll::Ready(())
        }));
        assert!(!turn(outer, &mut context, &mut used).1);
        assert!(used_inside >= TICK / 2);
        assert!(this().is_none());
    }

    #[test]
    fn turns_add_up_and_a_long_one_counts_for_a_few_ticks() {
        let mut used = Duration::ZERO;
        let mut context = Context::from_waker(std::task::Waker::noop());
        for expected in [5, 10] {
            let guest = pin!(poll_fn(|_| {
                compute(TICK * 8);
                Poll::Ready(())
            }));
            assert!(turn(guest, &mut context, &mut used).0.is_ready());
            assert_eq!(used, TICK * expected);
        }
    }
}
