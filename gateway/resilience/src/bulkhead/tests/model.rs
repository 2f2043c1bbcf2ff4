//! A reference model of the queue (plain lists, looked through from the front) against random histories of arrivals,
//! ends, cancellations and time. Steps between two polls happen "at the same moment": a waiter may be granted a slot and
//! leave before it learns of it.

use std::pin::Pin;
use std::task::{Context, Waker};

use proptest::prelude::*;

use super::*;
use crate::clock::Sleep;

/// A clock that is set by hand. Its sleeps are polled over and over, so that they need to wake nobody.
struct ManualClock(Arc<Mutex<Instant>>);

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.0.lock()
    }

    fn sleep_until(&self, until: Instant) -> Sleep {
        let now = Arc::clone(&self.0);
        Box::pin(std::future::poll_fn(move |_| {
            if *now.lock() >= until { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }))
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// With milliseconds until the deadline, if there is one.
    Arrive(Priority, Option<u64>),
    /// Drops one of the permits that were given out.
    End(usize),
    /// Drops one of the calls that wait, whatever it was told meanwhile.
    Cancel(usize),
    Forward(u64),
    /// Lets everyone who waits see what became of it.
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let deadline = proptest::option::weighted(0.4, 0u64..50);
    let step = prop_oneof![
        8 => (priority, deadline).prop_map(|(priority, deadline)| Step::Arrive(priority, deadline)),
        6 => any::<usize>().prop_map(Step::End),
        3 => any::<usize>().prop_map(Step::Cancel),
        2 => (1u64..30).prop_map(Step::Forward),
        4 => Just(Step::Poll),
    ];
    proptest::collection::vec(step, 1..120)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Waiting,
    Granted,
    Displaced,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    id: usize,
    priority: Priority,
    /// Milliseconds since the beginning.
    deadline: Option<u64>,
    told: Told,
}

/// The calls that have not learnt their fate yet, in the order of arrival, and the number of slots taken.
struct Model {
    max: usize,
    max_waiting: usize,
    taken: usize,
    calls: Vec<Call>,
}

impl Model {
    fn waiting(&self) -> usize {
        self.calls.iter().filter(|call| call.told == Told::Waiting).count()
    }

    fn serve(&mut self) {
        while self.taken < self.max {
            let highest =
                self.calls.iter().filter(|call| call.told == Told::Waiting).map(|call| call.priority);
            let Some(highest) = highest.max() else { return };
            let next = |call: &&mut Call| call.told == Told::Waiting && call.priority == highest;
            self.calls.iter_mut().find(next).unwrap().told = Told::Granted;
            self.taken += 1;
        }
    }

    fn arrive(&mut self, call: Call, now: u64) -> Option<Result<(), Overloaded>> {
        if self.waiting() == 0 && self.taken < self.max {
            self.taken += 1;
            return Some(Ok(()));
        }
        if call.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Err(Overloaded::Deadline));
        }
        if self.waiting() >= self.max_waiting {
            let lowest =
                self.calls.iter().filter(|call| call.told == Told::Waiting).map(|call| call.priority);
            let Some(lowest) = lowest.min().filter(|lowest| *lowest < call.priority) else {
                return Some(Err(Overloaded::Full));
            };
            let youngest = |other: &&mut Call| other.told == Told::Waiting && other.priority == lowest;
            self.calls.iter_mut().rev().find(youngest).unwrap().told = Told::Displaced;
        }
        self.calls.push(call);
        None
    }

    fn end(&mut self) {
        self.taken -= 1;
        self.serve();
    }

    fn cancel(&mut self, id: usize) {
        let index = self.calls.iter().position(|call| call.id == id).unwrap();
        if self.calls.remove(index).told == Told::Granted {
            self.end();
        }
    }

    /// Who has learnt what at `now`. A slot that comes too late goes to the next.
    fn poll(&mut self, now: u64) -> Vec<(usize, Result<(), Overloaded>)> {
        let mut learnt = Vec::new();
        loop {
            let fate = self.calls.iter().enumerate().find_map(|(index, call)| {
                let expired = call.deadline.is_some_and(|deadline| deadline <= now);
                match (call.told, expired) {
                    (Told::Displaced, _) => Some((index, Err(Overloaded::Displaced))),
                    (_, true) => Some((index, Err(Overloaded::Deadline))),
                    (Told::Granted, false) => Some((index, Ok(()))),
                    (Told::Waiting, false) => None,
                }
            });
            let Some((index, fate)) = fate else { break };
            let call = self.calls.remove(index);
            if call.told == Told::Granted && fate.is_err() {
                self.end();
            }
            learnt.push((call.id, fate));
        }
        learnt.sort_by_key(|(id, _)| *id);
        learnt
    }
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Acquired> + 'a>>;

/// Polls everyone until nobody learns anything new.
fn poll_all(
    waiting: &mut Vec<(usize, Waiting<'_>)>,
    held: &mut Vec<BulkheadPermit>,
) -> Vec<(usize, Result<(), Overloaded>)> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut learnt = Vec::new();
    loop {
        let before = learnt.len();
        waiting.retain_mut(|(id, call)| match call.as_mut().poll(&mut cx) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(Ok(permit)) => {
                held.push(permit);
                learnt.push((*id, Ok(())));
                false
            }
            std::task::Poll::Ready(Err(error)) => {
                learnt.push((*id, Err(error)));
                false
            }
        });
        if learnt.len() == before {
            learnt.sort_by_key(|(id, _)| *id);
            return learnt;
        }
    }
}

fn agrees(max: usize, max_waiting: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let begun = Instant::now();
    let clock = ManualClock(Arc::new(Mutex::new(begun)));
    let bulkhead = bulkhead(max, max_waiting);
    let mut model = Model { max, max_waiting, taken: 0, calls: Vec::new() };
    let (mut waiting, mut held): (Vec<(usize, Waiting<'_>)>, Vec<BulkheadPermit>) = (Vec::new(), Vec::new());
    let mut now = 0u64;
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Arrive(priority, deadline) => {
                let deadline = deadline.map(|deadline| now + deadline);
                let at = deadline.map(|deadline| begun + Duration::from_millis(deadline));
                let expected = model.arrive(Call { id, priority, deadline, told: Told::Waiting }, now);
                let ask = Ask { priority, deadline: Deadline::from(at) };
                let mut call: Waiting<'_> = Box::pin(bulkhead.acquire(&clock, ask));
                let mut cx = Context::from_waker(Waker::noop());
                match (call.as_mut().poll(&mut cx), expected) {
                    (std::task::Poll::Pending, None) => waiting.push((id, call)),
                    (std::task::Poll::Ready(Ok(permit)), Some(Ok(()))) => held.push(permit),
                    (std::task::Poll::Ready(Err(error)), Some(Err(expected))) => {
                        prop_assert_eq!(error, expected);
                    }
                    (got, expected) => prop_assert!(false, "{got:?} instead of {expected:?}"),
                }
            }
            Step::End(which) if !held.is_empty() => {
                drop(held.remove(which % held.len()));
                model.end();
            }
            Step::Cancel(which) if !waiting.is_empty() => {
                let (id, call) = waiting.remove(which % waiting.len());
                drop(call);
                model.cancel(id);
            }
            Step::Forward(by) => {
                now += by;
                *clock.0.lock() = begun + Duration::from_millis(now);
            }
            Step::Poll => prop_assert_eq!(poll_all(&mut waiting, &mut held), model.poll(now)),
            Step::End(_) | Step::Cancel(_) => {}
        }
        prop_assert_eq!(bulkhead.in_flight(), model.taken);
        prop_assert_eq!(bulkhead.waiting(), model.waiting());
    }
    // Whatever happened, every slot can be had again.
    drop(waiting);
    drop(held);
    prop_assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
    let all: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire()).collect();
    prop_assert_eq!(all.len(), max);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn every_history_agrees_with_the_reference_model_and_loses_no_slot(
        max in 1usize..4, max_waiting in 0usize..6, steps in steps(),
    ) {
        agrees(max, max_waiting, steps)?;
    }
}
