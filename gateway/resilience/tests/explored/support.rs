//! What tests under a scheduler share: its dice, and a clock that a task turns on.
//!
//! The scheduler rolls the dice of a scenario, so that a failing run is given by its seed or schedule alone; both are
//! printed when one fails (`SHUTTLE_RANDOM_SEED` runs it again). `SCHEDULES` runs more of them than the usual number. A
//! wait that nobody ends is found as a deadlock, whatever a scenario checks besides.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bascule_resilience::{Clock, Sleep};
use parking_lot::Mutex;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::AtomicBool;

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// Both kinds of schedule: evenly random, and with few but well-placed changes of task.
pub(crate) fn explore(schedules: usize, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(schedules);
    shuttle::check_random(scenario, schedules);
    shuttle::check_pct(scenario, schedules, 3);
}

/// One of these, as the scheduler's dice have it.
pub(crate) fn pick<T: Copy>(from: &[T]) -> T {
    from[thread_rng().gen_range(0..from.len())]
}

/// A clock that a task turns on. Who looks at it lets the scheduler choose who goes on; its lock is not seen by it.
pub(crate) struct Turned(Arc<Mutex<Time>>);

struct Time {
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
}

impl Turned {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Time { now: Instant::now(), sleepers: Vec::new() })))
    }

    pub(crate) fn turn(&self, by: Duration) {
        point();
        let mut due = Vec::new();
        {
            let mut time = self.0.lock();
            time.now += by;
            let now = time.now;
            time.sleepers.retain(|(until, waker)| {
                let waits = *until > now;
                if !waits {
                    due.push(waker.clone());
                }
                waits
            });
        }
        due.into_iter().for_each(Waker::wake);
    }
}

impl Clock for Turned {
    fn now(&self) -> Instant {
        point();
        self.0.lock().now
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        let time = Arc::clone(&self.0);
        Box::pin(poll_fn(move |cx| {
            let mut time = time.lock();
            if until <= time.now {
                return Poll::Ready(());
            }
            time.sleepers.push((until, cx.waker().clone()));
            Poll::Pending
        }))
    }
}

/// Lets the scheduler choose who goes on.
fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}
