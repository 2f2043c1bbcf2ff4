//! A clock that jumps from one timer to the next, and the least executor that runs on it. For tests.
//!
//! Nothing in it knows a runtime: what runs here runs on any. Tasks are polled in the order in which they were
//! started, timers fire in the order of their times, so that the same test makes the same history.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use parking_lot::Mutex;

use crate::clock::{Clock, Sleep};

#[derive(Clone)]
pub(super) struct VirtualClock(Arc<Mutex<Timers>>);

struct Timers {
    now: Instant,
    next: u64,
    waiting: BTreeMap<(Instant, u64), Waker>,
}

struct Timer {
    clock: VirtualClock,
    until: Instant,
    key: Option<(Instant, u64)>,
}

#[derive(Default)]
pub(super) struct Executor {
    tasks: Vec<Option<Task>>,
}

struct Task {
    woken: Arc<Woken>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct Woken(AtomicBool);

impl VirtualClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Timers { now: Instant::now(), next: 0, waiting: BTreeMap::new() })))
    }

    /// Jumps to the next timer and fires all that are due; `false` when there is none.
    fn jump(&self) -> bool {
        let mut timers = self.0.lock();
        let Some(((at, _), _)) = timers.waiting.first_key_value() else { return false };
        let now = timers.now.max(*at);
        timers.now = now;
        let later = timers.waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
        true
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(Timer { clock: self.clone(), until, key: None })
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut timers = clock.0.lock();
        if timers.now >= self.until {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or((self.until, timers.next));
        timers.next += 1;
        timers.waiting.insert(key, ctx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.0.lock().waiting.remove(&key);
        }
    }
}

impl Executor {
    /// Starts a task; it first runs when something is run.
    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.tasks.push(Some(Task { woken, future: Box::pin(future) }));
    }

    /// Polls until nobody is awake, without letting time pass.
    pub(super) fn settle(&mut self) {
        loop {
            let mut progress = false;
            for slot in &mut self.tasks {
                let Some(task) = slot else { continue };
                if task.woken.0.swap(false, Ordering::Relaxed) {
                    progress = true;
                    let waker = Waker::from(Arc::clone(&task.woken));
                    if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                        *slot = None;
                    }
                }
            }
            if !progress {
                return;
            }
        }
    }

    /// Runs until all have ended, or nobody waits for a time before `end`.
    pub(super) fn run_until(&mut self, clock: &VirtualClock, end: Instant) {
        loop {
            self.settle();
            if clock.now() >= end || !clock.jump() {
                return;
            }
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
