//! The queue by examples. `model` holds it against a reference model, `shed` is about deadlines, `adaptive` about the
//! limit that finds its own value, `threads` about real concurrency.

mod adaptive;
mod model;
mod shed;
mod threads;

use std::num::NonZeroUsize;

use parking_lot::Mutex;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::clock::TokioClock;
use crate::priority::Priority;

const SECOND: Duration = Duration::from_secs(1);

type Acquired = Result<BulkheadPermit, Overloaded>;

fn bulkhead(max: usize, max_waiting: usize) -> Arc<Bulkhead> {
    let max = NonZeroUsize::new(max).unwrap();
    Bulkhead::new(BulkheadConfig { max, max_waiting, ..BulkheadConfig::default() })
}

fn ask(priority: Priority) -> Ask {
    Ask { priority, ..Ask::default() }
}

async fn acquire(bulkhead: &Arc<Bulkhead>) -> Acquired {
    bulkhead.acquire(&TokioClock, Ask::default()).await
}

/// A call that has reached the queue when this returns.
async fn queued(bulkhead: &Arc<Bulkhead>, ask: Ask) -> JoinHandle<Acquired> {
    let bulkhead = Arc::clone(bulkhead);
    let task = tokio::spawn(async move { bulkhead.acquire(&TokioClock, ask).await });
    yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let bulkhead = bulkhead(1, 1);
    let first = acquire(&bulkhead).await.unwrap();
    let waiter = queued(&bulkhead, Ask::default()).await;
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 1));
    assert_eq!(acquire(&bulkhead).await.unwrap_err(), Overloaded::Full);
    drop(first);
    let second = waiter.await.unwrap().unwrap();
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 0));
    drop(second);
    assert_eq!(bulkhead.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gives_up_at_its_deadline_and_leaves_the_queue() {
    let bulkhead = bulkhead(1, 8);
    let _held = acquire(&bulkhead).await.unwrap();
    let start = TokioClock.now();
    let ask = Ask { deadline: Deadline::after(start, 2 * SECOND), ..Ask::default() };
    assert_eq!(bulkhead.acquire(&TokioClock, ask).await.unwrap_err(), Overloaded::Deadline);
    assert_eq!(TokioClock.now() - start, 2 * SECOND);
    assert_eq!(bulkhead.waiting(), 0);
    assert_eq!(
        bulkhead.acquire(&TokioClock, ask).await.unwrap_err(),
        Overloaded::Deadline,
        "expired already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_leaves_the_queue_and_takes_no_slot() {
    let bulkhead = bulkhead(1, 1);
    let held = acquire(&bulkhead).await.unwrap();
    let waited = tokio::time::timeout(SECOND, acquire(&bulkhead)).await;
    assert!(waited.is_err());
    assert_eq!(bulkhead.waiting(), 0);
    drop(held);
    assert_eq!(bulkhead.in_flight(), 0);
    assert!(acquire(&bulkhead).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_after_its_turn_came_passes_the_slot_on() {
    let bulkhead = bulkhead(1, 2);
    let held = acquire(&bulkhead).await.unwrap();
    let first = queued(&bulkhead, Ask::default()).await;
    let second = queued(&bulkhead, Ask::default()).await;
    drop(held);
    first.abort();
    let permit = second.await.unwrap().unwrap();
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 0));
    drop(permit);
    assert_eq!(bulkhead.in_flight(), 0);
}

#[test]
fn a_waiter_that_leaves_between_being_chosen_and_being_told_keeps_no_slot() {
    let bulkhead = bulkhead(1, 2);
    let held = bulkhead.try_acquire().unwrap();
    let mut waiting = Box::pin(bulkhead.acquire(&TokioClock, Ask::default()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    // What dropping `held` does, taken apart.
    held.give_back();
    let chosen = bulkhead.next_served().unwrap();
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 0));
    drop(waiting);
    bulkhead.grant(chosen);
    assert_eq!(bulkhead.in_flight(), 0);
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_by_priority_and_within_one_by_arrival() {
    let bulkhead = bulkhead(1, 16);
    let held = acquire(&bulkhead).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..4 {
        for priority in Priority::ALL {
            let (bulkhead, order) = (Arc::clone(&bulkhead), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _permit = bulkhead.acquire(&TokioClock, ask(priority)).await.unwrap();
                order.lock().push((priority, n));
            }));
            yield_now().await;
        }
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    let of = |priority| (0..4).map(move |n| (priority, n));
    let expected = of(Priority::High).chain(of(Priority::Normal)).chain(of(Priority::Low));
    assert_eq!(*order.lock(), expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_more_important_call_displaces_the_youngest_of_the_least_important() {
    let bulkhead = bulkhead(1, 3);
    let _held = acquire(&bulkhead).await.unwrap();
    let older = queued(&bulkhead, ask(Priority::Low)).await;
    let younger = queued(&bulkhead, ask(Priority::Low)).await;
    let normal = queued(&bulkhead, ask(Priority::Normal)).await;
    assert_eq!(bulkhead.acquire(&TokioClock, ask(Priority::Low)).await.unwrap_err(), Overloaded::Full);
    let high = queued(&bulkhead, ask(Priority::High)).await;
    assert_eq!(younger.await.unwrap().unwrap_err(), Overloaded::Displaced);
    assert_eq!(bulkhead.waiting(), 3);
    let another = queued(&bulkhead, ask(Priority::High)).await;
    assert_eq!(older.await.unwrap().unwrap_err(), Overloaded::Displaced);
    let equal = bulkhead.acquire(&TokioClock, ask(Priority::Normal)).await.unwrap_err();
    assert_eq!(equal, Overloaded::Full, "an equal is not displaced");
    for waiter in [normal, high, another] {
        assert!(!waiter.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_zero_refuses_whoever_would_have_to_wait() {
    let bulkhead = bulkhead(1, 0);
    let _held = acquire(&bulkhead).await.unwrap();
    assert_eq!(acquire(&bulkhead).await.unwrap_err(), Overloaded::Full);
    assert_eq!(bulkhead.acquire(&TokioClock, ask(Priority::High)).await.unwrap_err(), Overloaded::Full);
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let bulkhead = bulkhead(2, 8);
    let (first, second) = (acquire(&bulkhead).await.unwrap(), acquire(&bulkhead).await.unwrap());
    let waiter = queued(&bulkhead, ask(Priority::Low)).await;
    assert!(bulkhead.try_acquire().is_none());
    drop(first);
    assert!(bulkhead.try_acquire().is_none(), "the slot is the waiter's, even before it has woken");
    let _third = waiter.await.unwrap().unwrap();
    drop(second);
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn it_needs_no_runtime_but_its_clock() {
    let bulkhead = bulkhead(1, 1);
    let held = bulkhead.try_acquire().unwrap();
    let mut waiting = Box::pin(bulkhead.acquire(&TokioClock, Ask::default()));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(held);
    assert!(waiting.as_mut().poll(&mut cx).is_ready());
}
