//! Tasks, timers, and the time that jumps between them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::{Clock, Sleep};
use crate::span::later;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// A clock that stands still until all tasks wait, and an executor of those tasks.
pub struct Simulation {
    clock: VirtualClock,
    ready: Arc<Ready>,
    spawner: Spawner,
}

/// Adds tasks to a [`Simulation`], from inside of it too.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<Task>>>);

/// The time in a [`Simulation`]. It moves only while that runs. Clones are the same clock.
#[derive(Clone)]
pub struct VirtualClock {
    start: Instant,
    timers: Arc<Mutex<Timers>>,
}

/// A wait for a point in virtual time.
struct Timer {
    until: Instant,
    /// Once it has been set.
    number: Option<u64>,
    timers: Arc<Mutex<Timers>>,
}

struct Timers {
    now: Instant,
    /// Distinguishes timers of the same instant; they fire in the order in which they were set.
    next: u64,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    wakers: BTreeMap<u64, Waker>,
}

/// Tasks that were woken, in that order.
#[derive(Default)]
struct Ready(Mutex<VecDeque<usize>>);

struct TaskWaker {
    place: usize,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.0.lock();
        if !ready.contains(&self.place) {
            ready.push_back(self.place);
        }
    }
}

impl Simulation {
    /// Nothing to do, at `start`. Only differences from it matter: any instant will do.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let timers = Timers { now: start, next: 0, due: BinaryHeap::new(), wakers: BTreeMap::new() };
        Self {
            clock: VirtualClock { start, timers: Arc::new(Mutex::new(timers)) },
            ready: Arc::default(),
            spawner: Spawner::default(),
        }
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    /// What adds tasks to it.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Adds a task. It begins when the simulation runs, after those that were added before.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.spawner.spawn(task);
    }

    /// Runs until nothing is left that could happen: all tasks have ended, or wait for what will never come. Returns how
    /// many still wait; they are dropped.
    pub fn run(&mut self) -> usize {
        let mut tasks = Tasks::default();
        loop {
            for task in self.spawner.0.take() {
                self.ready.0.lock().push_back(tasks.add(task));
            }
            let next = self.ready.0.lock().pop_front();
            match next {
                Some(task) => tasks.poll(task, &self.ready),
                None if self.clock.jump() => {}
                None => return tasks.waiting(),
            }
        }
    }
}

impl Spawner {
    /// Adds a task. It begins after everything that can happen at this instant and was begun before.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(task));
    }
}

/// Tasks by number. A place is used again once its task has ended: a day of calls needs no more than run at a time.
#[derive(Default)]
struct Tasks {
    places: Vec<Option<Task>>,
    free: Vec<usize>,
}

impl Tasks {
    fn add(&mut self, task: Task) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if let Some(slot) = self.places.get_mut(place) {
            *slot = Some(task);
        }
        place
    }

    fn poll(&mut self, place: usize, ready: &Arc<Ready>) {
        let Some(slot) = self.places.get_mut(place) else { return };
        // A waker may outlive its task; then it wakes whoever has the place, which does no harm.
        let Some(task) = slot else { return };
        let waker = Waker::from(Arc::new(TaskWaker { place, ready: Arc::clone(ready) }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            *slot = None;
            self.free.push(place);
        }
    }

    fn waiting(&self) -> usize {
        self.places.iter().flatten().count()
    }
}

impl VirtualClock {
    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.start)
    }

    /// The point in time `since` after the start.
    #[must_use]
    pub fn at(&self, since: Duration) -> Instant {
        later(self.start, since)
    }

    /// Waits for `span`.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(later(self.now(), span)).await;
    }

    /// Goes on to the next timer; `false` if there is none.
    fn jump(&self) -> bool {
        let waker = {
            let mut timers = self.timers.lock();
            loop {
                let Some(Reverse((at, number))) = timers.due.pop() else { return false };
                // One that was cancelled has no waker any more, and moves no time.
                if let Some(waker) = timers.wakers.remove(&number) {
                    timers.now = timers.now.max(at);
                    break waker;
                }
            }
        };
        waker.wake();
        true
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.timers.lock().now
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        Box::pin(Timer { until, number: None, timers: Arc::clone(&self.timers) })
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut timers = this.timers.lock();
        if timers.now >= this.until {
            return Poll::Ready(());
        }
        let number = match this.number {
            Some(number) => number,
            None => {
                let number = timers.next;
                timers.next += 1;
                timers.due.push(Reverse((this.until, number)));
                this.number = Some(number);
                number
            }
        };
        timers.wakers.insert(number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.timers.lock().wakers.remove(&number);
        }
    }
}
