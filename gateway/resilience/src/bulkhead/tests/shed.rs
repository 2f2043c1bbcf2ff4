//! Who is refused because its deadline is too close, and who never is.

use super::*;

/// A bulkhead of one slot that is taken, whose calls have taken a second each.
fn busy(shed: bool) -> (Arc<Bulkhead>, BulkheadPermit) {
    let max = NonZeroUsize::MIN;
    let bulkhead = Bulkhead::new(BulkheadConfig { max, max_waiting: 16, shed, ..BulkheadConfig::default() });
    for _ in 0..20 {
        bulkhead.try_acquire().unwrap().observe(TokioClock.now(), SECOND, Outcome::Success);
    }
    let held = bulkhead.try_acquire().unwrap();
    (bulkhead, held)
}

fn within(span: Duration) -> Ask {
    Ask { deadline: Deadline::after(TokioClock.now(), span), ..Ask::default() }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_answered_in_time_is_refused_at_once() {
    let (bulkhead, _held) = busy(true);
    let begun = TokioClock.now();
    let first = queued(&bulkhead, within(SECOND)).await;
    let refused = bulkhead.acquire(&TokioClock, within(SECOND * 19 / 10)).await.unwrap_err();
    assert_eq!(refused, Overloaded::Shed { expected_wait: SECOND });
    assert_eq!(TokioClock.now(), begun, "at once");
    let second = queued(&bulkhead, within(2 * SECOND)).await;
    assert!(!first.is_finished() && !second.is_finished());
    let high = Ask { priority: Priority::High, ..within(SECOND) };
    assert!(!queued(&bulkhead, high).await.is_finished(), "only those ahead of it count");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_too_late_goes_to_the_next() {
    let (bulkhead, held) = busy(true);
    let hurried = queued(&bulkhead, within(SECOND)).await;
    let patient = queued(&bulkhead, within(60 * SECOND)).await;
    tokio::time::advance(SECOND / 2).await;
    drop(held);
    assert_eq!(hurried.await.unwrap().unwrap_err(), Overloaded::Shed { expected_wait: Duration::ZERO });
    assert!(patient.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_is_granted_however_close_the_deadline() {
    let (bulkhead, held) = busy(true);
    drop(held);
    assert!(bulkhead.acquire(&TokioClock, within(Duration::ZERO)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_samples_or_a_deadline_or_shedding_nobody_is_refused() {
    let unknown = bulkhead(1, 16);
    let _held = unknown.try_acquire().unwrap();
    assert!(!queued(&unknown, within(Duration::from_millis(1))).await.is_finished());

    let (known, _held) = busy(true);
    assert!(!queued(&known, Ask::default()).await.is_finished());

    let (off, held) = busy(false);
    let waiter = queued(&off, within(SECOND / 100)).await;
    drop(held);
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_permit_speaks_once_and_a_cancelled_call_says_nothing() {
    let bulkhead = bulkhead(1, 16);
    for _ in 0..50 {
        bulkhead.try_acquire().unwrap().observe(TokioClock.now(), SECOND, Outcome::Cancelled);
    }
    assert_eq!(bulkhead.service.typical(), None);
    let permit = bulkhead.try_acquire().unwrap();
    for _ in 0..50 {
        permit.observe(TokioClock.now(), SECOND, Outcome::Success);
    }
    assert_eq!(bulkhead.service.typical(), None);
    assert_eq!(bulkhead.in_flight(), 1, "the slot is held to the end of the answer");
}
