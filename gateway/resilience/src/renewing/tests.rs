//! One fetch for all, and never a value after its end. Time is paused, so that every instant is exact.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Fresh<usize>, &'static str>;

/// A source that gives the answers that the test has prepared, in their order.
#[derive(Default)]
struct Source {
    script: parking_lot::Mutex<VecDeque<oneshot::Receiver<Answer>>>,
    fetches: AtomicUsize,
    failures: parking_lot::Mutex<Vec<RenewError<&'static str>>>,
}

impl Source {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next fetch ends when the test says so.
    fn held(&self) -> oneshot::Sender<Answer> {
        let (answer, fetch) = oneshot::channel();
        self.script.lock().push_back(fetch);
        answer
    }

    /// The next fetch ends at once.
    fn gives(&self, answer: Answer) {
        self.held().send(answer).unwrap();
    }

    fn count(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn renewing(self: &Arc<Self>) -> Renewing<usize, &'static str> {
        let (source, told) = (Arc::clone(self), Arc::clone(self));
        Renewing::new(move || {
            source.fetches.fetch_add(1, Ordering::SeqCst);
            let next = source.script.lock().pop_front().expect("a fetch that the test did not expect");
            async move { next.await.expect("the test lets no fetch wait for nothing") }
        })
        .on_failure(move |error| told.failures.lock().push(error.clone()))
        .build()
    }
}

fn fresh(value: usize, seconds: u32) -> Answer {
    Ok(Fresh { value, life: seconds * SECOND })
}

/// Lets the tasks on the side run as far as they come.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_concurrent_getters_make_one_fetch() {
    let source = Source::new();
    let answer = source.held();
    let token = source.renewing();
    let getters: Vec<_> = (0..50)
        .map(|_| {
            let token = token.clone();
            tokio::spawn(async move { token.get().await })
        })
        .collect();
    settle().await;
    answer.send(fresh(1, 3600)).unwrap();
    for getter in getters {
        assert_eq!(getter.await.unwrap(), Ok(1));
    }
    assert_eq!(token.get().await, Ok(1));
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_a_failure_and_the_next_one_tries_again() {
    let source = Source::new();
    let answer = source.held();
    let token = source.renewing();
    let getters: Vec<_> = (0..50)
        .map(|_| {
            let token = token.clone();
            tokio::spawn(async move { token.get().await })
        })
        .collect();
    settle().await;
    answer.send(Err("refused")).unwrap();
    for getter in getters {
        assert_eq!(getter.await.unwrap(), Err(RenewError::Failed("refused")));
    }
    assert_eq!(source.count(), 1);
    assert_eq!(*source.failures.lock(), [RenewError::Failed("refused")]);
    source.gives(fresh(2, 3600));
    assert_eq!(token.get().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_value_is_renewed_at_four_fifths_of_its_life_while_it_is_still_used() {
    let source = Source::new();
    source.gives(fresh(1, 100));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    advance(80 * SECOND - Duration::from_millis(1)).await;
    assert_eq!(token.get().await, Ok(1));
    settle().await;
    assert_eq!(source.count(), 1);

    advance(Duration::from_millis(1)).await;
    let answer = source.held();
    for _ in 0..5 {
        assert_eq!(token.get().await, Ok(1));
        settle().await;
    }
    assert_eq!(source.count(), 2);
    answer.send(fresh(2, 100)).unwrap();
    settle().await;
    assert_eq!(token.get().await, Ok(2));
    assert_eq!(source.count(), 2);
}

/// The trap: an old token that is used after the identity provider failed.
#[tokio::test(start_paused = true)]
async fn an_old_value_is_never_used_after_its_end_though_every_renewal_failed() {
    let source = Source::new();
    source.gives(fresh(1, 100));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    advance(80 * SECOND).await;
    // At 80, 85, 90 and 95 seconds the renewal is tried, not more often, and the old value serves.
    for second in 80..100 {
        if second % 5 == 0 {
            source.gives(Err("down"));
        }
        assert_eq!(token.get().await, Ok(1), "at {second}");
        settle().await;
        assert_eq!(source.count(), 2 + (second - 80) / 5, "at {second}");
        advance(if second < 99 { SECOND } else { SECOND - Duration::from_nanos(1) }).await;
    }
    assert_eq!(token.get().await, Ok(1), "in its last moment");
    advance(Duration::from_nanos(1)).await;
    source.gives(Err("still down"));
    assert_eq!(token.get().await, Err(RenewError::Failed("still down")));
    source.gives(fresh(2, 100));
    assert_eq!(token.get().await, Ok(2));
    assert_eq!(source.failures.lock().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_ends_during_its_renewal_is_not_used_and_the_renewal_is_waited_for() {
    let source = Source::new();
    source.gives(fresh(1, 10));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    advance(9 * SECOND).await;
    let answer = source.held();
    assert_eq!(token.get().await, Ok(1));
    advance(SECOND).await;
    let waiting = tokio::spawn({
        let token = token.clone();
        async move { token.get().await }
    });
    settle().await;
    assert!(!waiting.is_finished());
    answer.send(fresh(2, 10)).unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(2));
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_leaves_does_not_stop_the_fetch_for_the_others() {
    let source = Source::new();
    let answer = source.held();
    let token = source.renewing();
    let getter = |token: Renewing<usize, &'static str>| tokio::spawn(async move { token.get().await });
    let leader = getter(token.clone());
    settle().await;
    let waiter = getter(token.clone());
    settle().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    answer.send(fresh(1, 10)).unwrap();
    assert_eq!(waiter.await.unwrap(), Ok(1));
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_though_everybody_has_left() {
    let source = Source::new();
    let answer = source.held();
    let token = source.renewing();
    assert!(tokio::time::timeout(SECOND, token.get()).await.is_err());
    answer.send(fresh(1, 10)).unwrap();
    settle().await;
    assert_eq!(token.get().await, Ok(1));
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_fetch_does_not_wedge_the_value() {
    let calls = AtomicUsize::new(0);
    let token = Renewing::<_, &str>::new(move || {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        assert_ne!(call, 0, "on purpose, when the fetch is made");
        async move {
            yield_now().await;
            assert_ne!(call, 1, "on purpose, when the fetch runs");
            fresh(call, 10)
        }
    })
    .build();
    let (first, second) = tokio::join!(token.get(), token.get());
    assert_eq!((first, second), (Err(RenewError::Panicked), Err(RenewError::Panicked)));
    assert_eq!(token.get().await, Err(RenewError::Panicked));
    assert_eq!(token.get().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_dropped_by_its_runtime_does_not_wedge_the_value() {
    let dropped = AtomicUsize::new(0);
    let token = Renewing::<_, &str>::new(|| async { fresh(1, 10) })
        .spawner(Arc::new(move |task: crate::Task| {
            if dropped.fetch_add(1, Ordering::SeqCst) > 0 {
                tokio::spawn(task);
            }
        }))
        .build();
    assert_eq!(token.get().await, Err(RenewError::Dropped));
    assert_eq!(token.get().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_with_its_time_and_is_gone_before_the_next_one_begins() {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&running);
    let token = Renewing::<usize, &str>::new(move || {
        assert_eq!(counted.fetch_add(1, Ordering::SeqCst), 0);
        let running = Running(Arc::clone(&counted));
        async move {
            let _running = running;
            pending().await
        }
    })
    .fetch_timeout(3 * SECOND)
    .build();
    let begun = tokio::time::Instant::now();
    assert_eq!(token.get().await, Err(RenewError::TimedOut));
    assert_eq!(token.get().await, Err(RenewError::TimedOut));
    assert_eq!((begun.elapsed().as_secs(), running.load(Ordering::SeqCst)), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn invalidating_forgets_only_the_same_value() {
    let source = Source::new();
    source.gives(fresh(1, 100));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    token.invalidate(&7);
    assert_eq!(token.get().await, Ok(1));
    source.gives(fresh(2, 100));
    token.invalidate(&1);
    assert_eq!(token.get().await, Ok(2));
    // Somebody who was refused a little late.
    token.invalidate(&1);
    assert_eq!(token.get().await, Ok(2));
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn invalidating_during_a_renewal_makes_callers_wait_for_it_and_starts_no_other() {
    let source = Source::new();
    source.gives(fresh(1, 100));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    advance(90 * SECOND).await;
    let answer = source.held();
    assert_eq!(token.get().await, Ok(1));
    settle().await;
    token.invalidate(&1);
    let waiting = tokio::spawn({
        let token = token.clone();
        async move { token.get().await }
    });
    settle().await;
    assert!(!waiting.is_finished());
    answer.send(fresh(2, 100)).unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(2));
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_does_not_bring_an_invalidated_value_back() {
    let source = Source::new();
    source.gives(fresh(1, 100));
    let token = source.renewing();
    assert_eq!(token.get().await, Ok(1));
    advance(90 * SECOND).await;
    let answer = source.held();
    assert_eq!(token.get().await, Ok(1));
    settle().await;
    token.invalidate(&1);
    answer.send(Err("down")).unwrap();
    settle().await;
    source.gives(fresh(2, 100));
    assert_eq!(token.get().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_value_without_any_life_is_given_to_nobody() {
    let source = Source::new();
    source.gives(fresh(1, 0));
    source.gives(fresh(2, 0));
    let token = source.renewing();
    assert_eq!(token.get().await, Err(RenewError::Ended));
    assert_eq!(token.get().await, Err(RenewError::Ended));
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn absurd_settings_neither_panic_nor_renew_without_end() {
    for share in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1.0] {
        let token = Renewing::<usize, &str>::new(|| async {
            sleep(SECOND).await;
            Ok(Fresh { value: 1, life: Duration::MAX })
        })
        .renew_at(share)
        .retry_pause(Duration::MAX)
        .fetch_timeout(Duration::MAX)
        .build();
        assert_eq!(token.get().await, Ok(1));
        assert_eq!(token.get().await, Ok(1));
    }
    let impatient = Renewing::<usize, &str>::new(|| async {
        sleep(SECOND).await;
        fresh(1, 10)
    })
    .fetch_timeout(Duration::ZERO)
    .build();
    assert_eq!(impatient.get().await, Err(RenewError::TimedOut));
}
