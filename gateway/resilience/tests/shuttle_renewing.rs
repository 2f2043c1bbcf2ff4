//! A renewing value under a scheduler that chooses, at every lock, channel, task and look at the clock, who goes on.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is wrong here fails the test"
)]

#[path = "explored/support.rs"]
mod support;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bascule_resilience::{Clock, Fresh, RenewError, Renewing, Sleep, Task};
use parking_lot::Mutex;
use shuttle::current::{TaskId, me};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

use self::support::{MILLISECOND, Turned, explore, pick};

/// Longer than any life in here, so that all that hangs is over after one step of this.
const FETCH_TIMEOUT: Duration = Duration::from_millis(1_000);

/// A clock that remembers who read what. Its lock is not seen by the scheduler.
struct Read {
    turned: Turned,
    readings: Mutex<HashMap<TaskId, Instant>>,
}

impl Read {
    fn new() -> Arc<Self> {
        Arc::new(Self { turned: Turned::new(), readings: Mutex::default() })
    }

    /// The last reading of a task.
    fn by(&self, task: TaskId) -> Instant {
        self.readings.lock()[&task]
    }
}

impl Clock for Read {
    fn now(&self) -> Instant {
        let now = self.turned.now();
        self.readings.lock().insert(me(), now);
        now
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        self.turned.sleep_until(until)
    }
}

/// What a fetch gives: its number, which task ran it, and the life that it promised.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    number: usize,
    task: TaskId,
    life: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Short,
    Long,
    Fails,
    Panics,
    /// Time passes until the limit is reached.
    Hangs,
}

/// A fetch and what became of it.
struct Fetched {
    ending: Ending,
    task: TaskId,
    running: bool,
    /// Its task has ended, so that everybody who waited was told.
    over: bool,
}

/// A renewing value, its clock and what is known of its fetches. The log's locks are not seen by the scheduler.
struct World {
    token: Renewing<Value, usize>,
    clock: Arc<Read>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    endings: Mutex<&'static [Ending]>,
    fetches: Mutex<Vec<Fetched>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// A fetch does not end before as many getters wait.
    gate: AtomicUsize,
    waiting: AtomicUsize,
}

struct Running(Arc<Log>, usize);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetches.lock()[self.1].running = false;
    }
}

impl Log {
    async fn fetch(self: Arc<Self>, clock: Arc<Read>) -> Result<Fresh<Value>, usize> {
        let ending = pick(*self.endings.lock());
        let number = {
            let mut fetches = self.fetches.lock();
            assert!(fetches.iter().all(|fetch| !fetch.running), "two fetches at a time");
            fetches.push(Fetched { ending, task: me(), running: true, over: false });
            fetches.len() - 1
        };
        let _running = Running(Arc::clone(&self), number);
        while self.waiting.load(Ordering::SeqCst) < self.gate.load(Ordering::SeqCst) {
            yield_now().await;
        }
        for _ in 0..pick(&[0, 1, 2]) {
            yield_now().await;
        }
        let life = match ending {
            Ending::Short => pick(&[0, 10, 20]) * MILLISECOND,
            Ending::Long => 1_000_000 * MILLISECOND,
            Ending::Fails => return Err(number),
            // Without the panic hook, which would report each of them as a failed run.
            Ending::Panics => resume_unwind(Box::new("on purpose")),
            Ending::Hangs => loop {
                clock.turned.turn(FETCH_TIMEOUT / 2);
                yield_now().await;
            },
        };
        Ok(Fresh { value: Value { number, task: me(), life }, life })
    }

    fn run(self: &Arc<Self>, task: Task) {
        let log = Arc::clone(self);
        let handle = spawn(async move {
            task.await;
            log.fetches
                .lock()
                .iter_mut()
                .filter(|fetch| fetch.task == me())
                .for_each(|fetch| fetch.over = true);
        });
        self.tasks.lock().push(handle);
    }

    fn any(&self, ending: Ending) -> bool {
        self.fetches.lock().iter().any(|fetch| fetch.ending == ending)
    }
}

impl World {
    fn new(endings: &'static [Ending], gate: usize) -> Arc<Self> {
        let (clock, log) = (Read::new(), Arc::new(Log::default()));
        *log.endings.lock() = endings;
        log.gate.store(gate, Ordering::SeqCst);
        let (fetching, running, read) = (Arc::clone(&log), Arc::clone(&log), Arc::clone(&clock));
        let token = Renewing::new(move || Arc::clone(&fetching).fetch(Arc::clone(&read)))
            .retry_pause(2 * MILLISECOND)
            .fetch_timeout(FETCH_TIMEOUT)
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .spawner(Arc::new(move |task: Task| running.run(task)))
            .build();
        Arc::new(Self { token, clock, log })
    }

    /// One call, with all that the caller can see for itself.
    async fn get(&self) -> Result<Value, RenewError<usize>> {
        let over: Vec<bool> = self.log.fetches.lock().iter().map(|fetch| fetch.over).collect();
        let got = self.token.get().await;
        match &got {
            Ok(value) => {
                // The last that its task wanted to know was when it came.
                let end = self.clock.by(value.task) + value.life;
                assert!(self.clock.by(me()) < end, "a value was used after its end");
            }
            Err(RenewError::Failed(number)) => {
                assert_eq!(self.log.fetches.lock()[*number].ending, Ending::Fails);
                assert!(!over.get(*number).is_some_and(|over| *over), "told of a failure of before its time");
            }
            Err(RenewError::TimedOut) => assert!(self.log.any(Ending::Hangs)),
            Err(RenewError::Panicked) => assert!(self.log.any(Ending::Panics)),
            Err(RenewError::Ended) => assert!(self.log.any(Ending::Short)),
            Err(RenewError::Dropped) => panic!("nobody drops a fetch here"),
        }
        got
    }

    /// All fetches have ended. And whatever came before, the next one is as good as the first.
    async fn ends_well(&self) {
        self.tasks_end().await;
        *self.log.endings.lock() = &[Ending::Long];
        assert!(self.get().await.is_ok(), "the value is wedged");
        self.tasks_end().await;
    }

    async fn tasks_end(&self) {
        loop {
            let Some(task) = self.log.tasks.lock().pop() else { return };
            task.await.unwrap();
        }
    }
}

/// Getters of all manners while the clock is turned, and what holds whatever they do.
fn scenario(endings: &'static [Ending]) {
    let world = World::new(endings, 0);
    let getters: Vec<_> = (0..3)
        .map(|_| {
            let (world, cut_off) = (Arc::clone(&world), pick(&[false, false, true]));
            let getter = async move {
                let mut failed = None;
                for _ in 0..2 {
                    match world.get().await {
                        Ok(value) if pick(&[true, false, false]) => world.token.invalidate(&value),
                        Err(RenewError::Failed(number)) => {
                            assert_ne!(
                                failed.replace(number),
                                Some(number),
                                "told of the same failure twice"
                            );
                        }
                        _ => {}
                    }
                }
            };
            (spawn(getter), cut_off)
        })
        .collect();
    let hands = spawn({
        let clock = Arc::clone(&world.clock);
        async move {
            for _ in 0..3 {
                clock.turned.turn(pick(&[1, 8, 10, 20]) * MILLISECOND);
                yield_now().await;
            }
        }
    });
    for (getter, _) in getters.iter().filter(|(_, cut_off)| *cut_off) {
        getter.abort();
    }
    block_on(async {
        for (getter, cut_off) in getters {
            assert!(getter.await.is_ok() || cut_off, "a getter who stayed has no answer");
        }
        hands.await.unwrap();
        world.ends_well().await;
    });
}

/// Three getters who all wait for the same fetch.
fn all_wait(endings: &'static [Ending]) {
    let world = World::new(endings, 3);
    let getters: Vec<_> = (0..3)
        .map(|_| {
            let world = Arc::clone(&world);
            spawn(async move {
                let mut waits = false;
                let mut got = pin!(world.get());
                poll_fn(|cx| {
                    let polled = got.as_mut().poll(cx);
                    if polled.is_pending() && !waits {
                        waits = true;
                        world.log.waiting.fetch_add(1, Ordering::SeqCst);
                    }
                    polled
                })
                .await
            })
        })
        .collect();
    block_on(async {
        let mut answers = Vec::new();
        for getter in getters {
            answers.push(getter.await.unwrap());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(world.log.fetches.lock().len(), 1);
        world.ends_well().await;
    });
}

#[test]
fn one_fetch_at_a_time_and_no_value_after_its_end() {
    explore(20_000, || scenario(&[Ending::Short, Ending::Short, Ending::Fails]));
}

#[test]
fn whoever_leaves_and_however_a_fetch_ends_everybody_is_answered() {
    explore(20_000, || {
        scenario(&[Ending::Short, Ending::Long, Ending::Fails, Ending::Panics, Ending::Hangs])
    });
}

#[test]
fn those_who_wait_share_one_fetch_and_its_failure() {
    explore(10_000, || all_wait(&[Ending::Long, Ending::Fails, Ending::Panics, Ending::Hangs]));
}
