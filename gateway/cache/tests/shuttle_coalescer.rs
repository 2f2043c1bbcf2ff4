//! The coalescer under a scheduler that chooses, at every lock, channel and task, who goes on.
//!
//! The scheduler also rolls the dice of a scenario, so that a failing run is given by its seed or schedule alone; both
//! are printed when one fails (`SHUTTLE_RANDOM_SEED` runs it again). `SCHEDULES` runs more of them than the usual
//! number. A wait that nobody ends is found as a deadlock, whatever the scenario checks besides.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is wrong here fails the test"
)]

use std::{future::pending, panic::resume_unwind, sync::Arc, time::Instant};

use bascule_cache::{Coalescer, Fetched, JoinError, Key, KeyBuilder, Landed};
use parking_lot::Mutex;
use shuttle::{
    future::{JoinHandle, block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
};

type Flights = Arc<Coalescer<usize, Mine>>;

/// A private answer, by the number of its fetch.
#[derive(Debug, PartialEq)]
struct Mine(usize);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Shared,
    Private,
    Panic,
    /// Never ends by itself.
    Hangs,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Lands.
    Stays,
    /// Lands, and comes again at once.
    Returns,
    /// Joins and leaves at once.
    Leaves,
    /// Is cancelled, wherever it is.
    CutOff,
    /// Starts a fetch for nobody.
    Refreshes,
}

/// What became of the fetches of one execution. Not seen by the scheduler: keeping it moves nothing.
#[derive(Default)]
struct Log(Mutex<Vec<Entry>>);

struct Entry {
    ending: Ending,
    running: bool,
    /// Another fetch of the key began while this one ran, which is right only if nobody waited for it any more.
    overtaken: bool,
    delivered: usize,
}

/// Marks the end of a fetch, however it comes.
struct Running(Arc<Log>, usize);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock()[self.1].running = false;
    }
}

impl Log {
    /// A fetch that takes some turns and ends as told. Its number is the place in the log.
    fn fetch(
        self: &Arc<Self>,
        ending: Ending,
        turns: usize,
    ) -> (usize, impl Future<Output = Fetched<usize, Mine>> + Send + use<>) {
        let number = {
            let mut entries = self.0.lock();
            entries.iter_mut().filter(|entry| entry.running).for_each(|entry| entry.overtaken = true);
            entries.push(Entry { ending, running: true, overtaken: false, delivered: 0 });
            entries.len() - 1
        };
        let running = Running(Arc::clone(self), number);
        let fetch = async move {
            let _running = running;
            for _ in 0..turns {
                yield_now().await;
            }
            match ending {
                Ending::Shared => Fetched::Shared(Arc::new(number)),
                Ending::Private => Fetched::Private(Mine(number)),
                // Without the panic hook, which would report each of them as a failed run.
                Ending::Hangs => pending().await,
                Ending::Panic => resume_unwind(Box::new("on purpose")),
            }
        };
        (number, fetch)
    }

    fn delivered(&self, number: usize, ending: Ending) {
        let entry = &mut self.0.lock()[number];
        assert_eq!(entry.ending, ending, "an answer that its fetch did not give");
        assert!(!entry.overtaken, "two fetches of one key ran while somebody waited for both");
        entry.delivered += 1;
        assert!(ending == Ending::Shared || entry.delivered == 1, "what was the leader's went to two");
    }

    fn any(&self, ending: Ending) -> bool {
        self.0.lock().iter().any(|entry| entry.ending == ending)
    }
}

fn key() -> Key {
    KeyBuilder::new("github", "get_user").finish()
}

fn pick<T: Copy>(from: &[T]) -> T {
    from[thread_rng().gen_range(0..from.len())]
}

/// One caller from its coming to its answer, with all that it can see for itself.
async fn call(flights: Flights, log: Arc<Log>, role: Role, endings: &'static [Ending], now: Instant) {
    let first = fly(&flights, &log, role, endings, now).await;
    if role == Role::Returns {
        let second = fly(&flights, &log, role, endings, now).await;
        assert!(first.is_none() || first != second, "boarded a flight that had landed");
    }
}

/// The number of the fetch whose answer came.
async fn fly(
    flights: &Flights,
    log: &Arc<Log>,
    role: Role,
    endings: &'static [Ending],
    now: Instant,
) -> Option<usize> {
    let (ending, turns) = (pick(endings), pick(&[0, 1, 2]));
    let mut mine = None;
    let fetch = || {
        let (number, fetch) = log.fetch(ending, turns);
        mine = Some(number);
        fetch
    };
    if role == Role::Refreshes {
        flights.refresh(key(), now, fetch);
        return None;
    }
    let flight = match flights.join(key(), now, fetch) {
        Ok(flight) => flight,
        Err(refused) => {
            let marked = refused == JoinError::NotShared;
            assert!(!marked || log.any(Ending::Private), "marked without a reason");
            return None;
        }
    };
    assert_eq!(flight.is_leader(), mine.is_some());
    if role == Role::Leaves {
        return None;
    }
    let (number, ending) = match (flight.land().await, mine) {
        (Landed::Shared(answer), _) => (*answer, Ending::Shared),
        (Landed::Private(answer), _) => (answer.0, Ending::Private),
        (Landed::Failed, Some(mine)) => (mine, Ending::Panic),
        (Landed::NotShared, Some(_)) => panic!("the leader did not get its private answer"),
        (Landed::NotShared, None) => {
            assert!(log.any(Ending::Private), "nothing was private");
            return None;
        }
        (Landed::Failed, None) => {
            assert!(log.any(Ending::Panic), "failed without a reason");
            return None;
        }
    };
    assert!(mine.is_none_or(|mine| mine == number), "the leader got the answer of another fetch");
    assert!(ending == Ending::Shared || mine.is_some(), "a private answer went to somebody else");
    log.delivered(number, ending);
    Some(number)
}

/// Each task holds a weak handle up to its end. Without an end this exceeds the scheduler's number of steps.
async fn tasks_have_ended(flights: &Flights) {
    while Arc::weak_count(flights) > 0 {
        yield_now().await;
    }
}

/// Three or four callers of one key, and what holds whatever they do.
fn scenario(roles: &'static [Role], endings: &'static [Ending], max_waiters: usize) {
    let flights: Flights = Coalescer::new(max_waiters);
    let log = Arc::new(Log::default());
    let now = Instant::now();
    let callers: Vec<(Role, JoinHandle<()>)> = (0..pick(&[3, 4]))
        .map(|_| {
            let role = pick(roles);
            (role, spawn(call(Arc::clone(&flights), Arc::clone(&log), role, endings, now)))
        })
        .collect();
    let drain = spawn({
        let flights = Arc::clone(&flights);
        async move { flights.idle().await }
    });
    for (_, caller) in callers.iter().filter(|(role, _)| *role == Role::CutOff) {
        caller.abort();
    }
    block_on(async {
        for (role, caller) in callers {
            assert!(caller.await.is_ok() || role == Role::CutOff, "a caller who stayed has no answer");
        }
        drain.await.unwrap();
        flights.idle().await;
        assert_eq!(flights.in_flight(), 0, "a key is still in flight");
        tasks_have_ended(&flights).await;
        // And the next one can fly.
        let other = KeyBuilder::new("github", "other").finish();
        let (number, fetch) = log.fetch(Ending::Shared, 0);
        let flight = flights.join(other, now, || fetch).unwrap();
        assert!(matches!(flight.land().await, Landed::Shared(answer) if *answer == number));
        tasks_have_ended(&flights).await;
    });
}

/// Both kinds of schedule: evenly random, and with few but well-placed changes of task.
fn explore(schedules: usize, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let schedules = std::env::var("SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(schedules);
    shuttle::check_random(scenario, schedules);
    shuttle::check_pct(scenario, schedules, 3);
}

#[test]
fn those_who_stay_all_get_the_one_answer() {
    explore(10_000, || {
        let log = Arc::new(Log::default());
        let flights: Flights = Coalescer::new(1024);
        let now = Instant::now();
        let callers: Vec<_> = (0..3)
            .map(|_| spawn(call(Arc::clone(&flights), Arc::clone(&log), Role::Stays, &[Ending::Shared], now)))
            .collect();
        block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
            tasks_have_ended(&flights).await;
        });
        let entries = log.0.lock();
        assert!(entries.iter().all(|entry| !entry.overtaken && !entry.running));
        assert_eq!(entries.iter().map(|entry| entry.delivered).sum::<usize>(), 3);
        assert_eq!(flights.in_flight(), 0);
    });
}

#[test]
fn whoever_leaves_panics_or_is_cancelled_everybody_else_is_answered() {
    explore(20_000, || {
        scenario(
            &[Role::Stays, Role::Returns, Role::Leaves, Role::CutOff],
            &[Ending::Shared, Ending::Shared, Ending::Private, Ending::Panic],
            1024,
        );
    });
}

#[test]
fn a_leader_who_leaves_fails_nobody() {
    // Without a panic nobody can be told of a failure: `call` checks it.
    explore(10_000, || {
        scenario(&[Role::Stays, Role::Leaves, Role::CutOff], &[Ending::Shared], 1024);
    });
}

#[test]
fn the_last_one_to_leave_stops_the_fetch() {
    explore(10_000, || scenario(&[Role::Leaves, Role::CutOff], &[Ending::Shared, Ending::Hangs], 1024));
}

#[test]
fn refreshes_and_a_full_flight_are_no_exception() {
    explore(10_000, || {
        scenario(
            &[Role::Returns, Role::Refreshes, Role::CutOff],
            &[Ending::Shared, Ending::Private, Ending::Panic],
            1,
        );
    });
}
