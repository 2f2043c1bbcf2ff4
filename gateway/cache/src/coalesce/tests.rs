//! The rules of a flight. Fetches wait on channels that the test holds, so nothing here depends on time.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use super::*;
use crate::key::KeyBuilder;

type Answers = Coalescer<&'static str>;

fn key(name: &str) -> Key {
    KeyBuilder::new("github", "get_user").field("user", name.as_bytes()).finish()
}

fn shared(answer: &'static str) -> Fetched<&'static str> {
    Fetched::Shared(Arc::new(answer))
}

/// A fetch that ends when the test says what it got, and whose sender sees that it was dropped.
fn held() -> (oneshot::Sender<Fetched<&'static str>>, impl Future<Output = Fetched<&'static str>> + Send) {
    let (tx, rx) = oneshot::channel();
    (tx, async { rx.await.expect("the test lets no fetch wait for nothing") })
}

fn must_not_fetch() -> std::future::Pending<Fetched<&'static str>> {
    panic!("a second fetch was started")
}

fn wait_on(flights: &Arc<Answers>, name: &str) -> Flight<&'static str> {
    let flight = flights.join(key(name), Instant::now(), must_not_fetch).unwrap();
    assert!(!flight.is_leader());
    flight
}

#[track_caller]
fn check_shared(landed: Landed<&'static str>, expected: &str) {
    match landed {
        Landed::Shared(answer) => assert_eq!(*answer, expected),
        Landed::Private(answer) => panic!("private {answer}"),
        Landed::NotShared => panic!("not shared"),
        Landed::Failed => panic!("failed"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_callers_make_one_fetch() {
    let flights = Answers::new(1024);
    let fetches = Arc::new(AtomicUsize::new(0));
    let (open, gate) = tokio::sync::watch::channel(false);
    let (joined, mut all) = tokio::sync::mpsc::channel(50);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (flights, fetches, mut gate, joined) =
                (Arc::clone(&flights), Arc::clone(&fetches), gate.clone(), joined.clone());
            tokio::spawn(async move {
                let flight = flights
                    .join(key("a"), Instant::now(), || async move {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        gate.wait_for(|open| *open).await.unwrap();
                        shared("answer")
                    })
                    .unwrap();
                joined.send(flight.is_leader()).await.unwrap();
                flight.land().await
            })
        })
        .collect();
    let mut leaders = 0;
    for _ in 0..50 {
        leaders += usize::from(all.recv().await.unwrap());
    }
    open.send_replace(true);
    for caller in callers {
        check_shared(caller.await.unwrap(), "answer");
    }
    assert_eq!((leaders, fetches.load(Ordering::SeqCst), flights.in_flight()), (1, 1, 0));
}

#[tokio::test]
async fn different_keys_fly_apart() {
    let flights = Answers::new(1024);
    let (a, fetch_a) = held();
    let (b, fetch_b) = held();
    let first = flights.join(key("a"), Instant::now(), || fetch_a).unwrap();
    let second = flights.join(key("b"), Instant::now(), || fetch_b).unwrap();
    assert!(first.is_leader() && second.is_leader());
    assert_eq!(flights.in_flight(), 2);
    assert!(a.send(shared("of a")).is_ok() && b.send(shared("of b")).is_ok());
    check_shared(second.land().await, "of b");
    check_shared(first.land().await, "of a");
}

#[tokio::test]
async fn a_leader_who_leaves_does_not_stop_the_fetch_for_the_others() {
    let flights = Answers::new(1024);
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    let waiter = wait_on(&flights, "a");
    drop(leader);
    assert!(answer.send(shared("answer")).is_ok());
    check_shared(waiter.land().await, "answer");
}

#[tokio::test]
async fn a_wait_that_is_cut_off_leaves_the_flight() {
    let flights = Answers::new(1);
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    let cut_off = tokio::spawn(wait_on(&flights, "a").land());
    tokio::task::yield_now().await;
    cut_off.abort();
    assert!(cut_off.await.is_err());
    // Its place is free again.
    let waiter = wait_on(&flights, "a");
    assert!(answer.send(shared("answer")).is_ok());
    check_shared(waiter.land().await, "answer");
    check_shared(leader.land().await, "answer");
}

#[tokio::test]
async fn the_last_one_to_leave_aborts_the_fetch() {
    let flights = Answers::new(1024);
    let (mut answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    let waiter = wait_on(&flights, "a");
    tokio::task::yield_now().await;
    drop(leader);
    assert_eq!(flights.in_flight(), 1);
    drop(waiter);
    assert_eq!(flights.in_flight(), 0);
    answer.closed().await;
}

#[tokio::test]
async fn one_who_comes_after_the_last_has_left_starts_anew() {
    let flights = Answers::new(1024);
    let abandoned = flights.join(key("a"), Instant::now(), pending).unwrap();
    drop(abandoned);
    // The aborted task has not run yet; its end must not disturb the new flight of the same key.
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    assert!(leader.is_leader());
    tokio::task::yield_now().await;
    let waiter = wait_on(&flights, "a");
    assert!(answer.send(shared("second")).is_ok());
    check_shared(waiter.land().await, "second");
    check_shared(leader.land().await, "second");
}

#[tokio::test]
async fn one_who_comes_after_the_landing_starts_anew() {
    let flights = Answers::new(1024);
    let first = flights.join(key("a"), Instant::now(), || async { shared("first") }).unwrap();
    let waiter = wait_on(&flights, "a");
    check_shared(waiter.land().await, "first");
    // The leader has not looked at its answer yet.
    assert_eq!(flights.in_flight(), 0);
    let second = flights.join(key("a"), Instant::now(), || async { shared("second") }).unwrap();
    check_shared(second.land().await, "second");
    check_shared(first.land().await, "first");
}

#[tokio::test]
async fn the_key_is_free_before_anybody_is_woken() {
    /// Looks at the coalescer in the very moment of waking.
    struct Look(Arc<Answers>, AtomicUsize);
    impl std::task::Wake for Look {
        fn wake(self: Arc<Self>) {
            self.1.store(self.0.in_flight(), Ordering::SeqCst);
        }
    }
    let endings: [fn() -> Fetched<&'static str>; 3] =
        [|| shared("answer"), || Fetched::Private("mine"), || panic!("on purpose")];
    for ending in endings {
        let flights = Answers::new(1024);
        let (end, rx) = oneshot::channel::<()>();
        let leader =
            flights.join(key("a"), Instant::now(), || async move { rx.await.map(|()| ending()).unwrap() });
        let look = Arc::new(Look(Arc::clone(&flights), AtomicUsize::new(usize::MAX)));
        let mut land = std::pin::pin!(leader.unwrap().land());
        let waker = std::task::Waker::from(Arc::clone(&look));
        assert!(land.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        end.send(()).unwrap();
        // Not by waiting for the landing itself, which would put another waker in place of the one that looks.
        flights.idle().await;
        assert_eq!(look.1.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_private_answer_is_the_leaders_and_marks_the_key_for_a_second() {
    let flights = Answers::new(1024);
    let now = Instant::now();
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), now, || fetch).unwrap();
    let waiter = wait_on(&flights, "a");
    assert!(answer.send(Fetched::Private("mine")).is_ok());
    assert!(matches!(waiter.land().await, Landed::NotShared));
    assert!(matches!(leader.land().await, Landed::Private("mine")));

    let join =
        |after| flights.join(key("a"), now + Duration::from_millis(after), || async { shared("again") });
    assert!(matches!(join(100), Err(JoinError::NotShared)));
    assert!(matches!(join(1_099), Err(JoinError::NotShared)));
    assert!(!flights.refresh(key("a"), now + Duration::from_millis(1_099), must_not_fetch));
    check_shared(join(1_100).unwrap().land().await, "again");
}

#[tokio::test]
async fn a_private_answer_whose_leader_has_left_goes_to_nobody_and_is_dropped() {
    let flights = Coalescer::<(), Arc<()>>::new(1024);
    let body = Arc::new(());
    let (tx, rx) = oneshot::channel();
    let leader =
        flights.join(key("a"), Instant::now(), || async { Fetched::Private(rx.await.unwrap()) }).unwrap();
    let waiters = [(); 3].map(|()| flights.join(key("a"), Instant::now(), pending).unwrap());
    drop(leader);
    tx.send(Arc::clone(&body)).unwrap();
    flights.idle().await;
    // At once, not only when the last waiter has looked.
    assert_eq!(Arc::strong_count(&body), 1);
    for waiter in waiters {
        assert!(matches!(waiter.land().await, Landed::NotShared));
    }
}

#[tokio::test]
async fn a_private_answer_that_its_leader_never_looks_at_is_dropped_when_it_leaves() {
    let flights = Coalescer::<(), Arc<()>>::new(1024);
    let body = Arc::new(());
    let copy = Arc::clone(&body);
    let leader = flights.join(key("a"), Instant::now(), || async { Fetched::Private(copy) }).unwrap();
    let waiting = flights.join(key("a"), Instant::now(), pending).unwrap();
    flights.idle().await;
    assert_eq!(Arc::strong_count(&body), 2);
    drop(leader);
    // At once, although another of that flight has not looked either.
    assert_eq!(Arc::strong_count(&body), 1);
    assert!(matches!(waiting.land().await, Landed::NotShared));
}

#[tokio::test]
async fn what_only_the_leader_gets_need_not_be_sync() {
    let flights = Coalescer::<(), std::cell::Cell<u8>>::new(1024);
    let fetch = || async { Fetched::Private(std::cell::Cell::new(7)) };
    let leader = flights.join(key("a"), Instant::now(), fetch).unwrap();
    let landed = tokio::spawn(leader.land()).await.unwrap();
    assert!(matches!(landed, Landed::Private(cell) if cell.get() == 7));
}

#[tokio::test]
async fn a_panic_in_the_fetch_fails_all_and_frees_the_key() {
    let flights = Answers::new(1024);
    let (answer, rx) = oneshot::channel::<()>();
    let leader = flights
        .join(key("a"), Instant::now(), || async {
            rx.await.expect("the sender is dropped on purpose");
            shared("never")
        })
        .unwrap();
    let waiter = wait_on(&flights, "a");
    drop(answer);
    assert!(matches!(waiter.land().await, Landed::Failed));
    assert_eq!(flights.in_flight(), 0);
    assert!(matches!(leader.land().await, Landed::Failed));
    let again = flights.join(key("a"), Instant::now(), || async { shared("again") }).unwrap();
    check_shared(again.land().await, "again");
}

#[tokio::test]
async fn a_panic_while_starting_the_fetch_frees_the_key() {
    let flights = Answers::new(1024);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = flights.join(key("a"), Instant::now(), must_not_fetch);
    }));
    assert!(panicked.is_err());
    assert_eq!(flights.in_flight(), 0);
}

#[tokio::test]
async fn more_waiters_than_allowed_are_refused() {
    let flights = Answers::new(2);
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    let waiters = [wait_on(&flights, "a"), wait_on(&flights, "a")];
    assert!(matches!(flights.join(key("a"), Instant::now(), must_not_fetch), Err(JoinError::Full)));
    let [first, second] = waiters;
    drop(first);
    let third = wait_on(&flights, "a");
    assert!(answer.send(shared("answer")).is_ok());
    for flight in [leader, second, third] {
        check_shared(flight.land().await, "answer");
    }
}

#[tokio::test]
async fn a_limit_of_zero_lets_nobody_wait() {
    let flights = Answers::new(0);
    let leader = flights.join(key("a"), Instant::now(), || async { shared("answer") }).unwrap();
    assert!(matches!(flights.join(key("a"), Instant::now(), must_not_fetch), Err(JoinError::Full)));
    check_shared(leader.land().await, "answer");
}

#[tokio::test]
async fn a_refresh_runs_once_and_to_its_end_though_nobody_waits() {
    let flights = Answers::new(1024);
    let (done, end) = oneshot::channel();
    let (answer, fetch) = held();
    let refresh = || async {
        let fetched = fetch.await;
        done.send(()).unwrap();
        fetched
    };
    assert!(flights.refresh(key("a"), Instant::now(), refresh));
    assert!(!flights.refresh(key("a"), Instant::now(), must_not_fetch));
    drop(wait_on(&flights, "a"));
    let waiter = wait_on(&flights, "a");
    assert_eq!(flights.in_flight(), 1);
    assert!(answer.send(shared("fresh")).is_ok());
    end.await.unwrap();
    check_shared(waiter.land().await, "fresh");
    flights.idle().await;
    assert!(flights.refresh(key("a"), Instant::now(), || async { shared("again") }));
    flights.idle().await;
}

#[tokio::test]
async fn a_refresh_is_not_started_beside_a_fetch() {
    let flights = Answers::new(1024);
    let (answer, fetch) = held();
    let leader = flights.join(key("a"), Instant::now(), || fetch).unwrap();
    assert!(!flights.refresh(key("a"), Instant::now(), must_not_fetch));
    assert!(answer.send(shared("answer")).is_ok());
    check_shared(leader.land().await, "answer");
}

#[tokio::test]
async fn refreshes_are_bounded_over_all_keys() {
    let flights = Answers::new(1024);
    let now = Instant::now();
    let (answer, fetch) = held();
    assert!(flights.refresh(key("first"), now, || fetch));
    for index in 1..REFRESHES_MAX {
        assert!(flights.refresh(key(&index.to_string()), now, pending));
    }
    assert!(!flights.refresh(key("one more"), now, must_not_fetch));
    // Callers who wait are not held up by it.
    let caller = flights.join(key("one more"), now, || async { shared("answer") }).unwrap();
    check_shared(caller.land().await, "answer");
    let first = wait_on(&flights, "first");
    assert!(answer.send(shared("answer")).is_ok());
    check_shared(first.land().await, "answer");
    assert!(flights.refresh(key("one more"), now, pending));
}

#[tokio::test]
async fn dropping_the_coalescer_aborts_its_refreshes() {
    let flights = Answers::new(1024);
    let (mut answer, fetch) = held();
    assert!(flights.refresh(key("a"), Instant::now(), || fetch));
    tokio::task::yield_now().await;
    drop(flights);
    answer.closed().await;
}

#[tokio::test]
async fn an_answer_that_is_told_early_reaches_those_who_wait_and_those_who_come_later() {
    let flights = Answers::new(1024);
    let (end, ended) = oneshot::channel::<()>();
    let (told, telling) = oneshot::channel::<()>();
    let leader = flights.join_heralded(key("a"), Instant::now(), |herald| async move {
        telling.await.unwrap();
        herald.announce(Arc::new("head"));
        ended.await.unwrap();
        shared("ignored")
    });
    let mut leader = leader.unwrap();
    let waiter = wait_on(&flights, "a");
    told.send(()).unwrap();
    check_shared(waiter.land().await, "head");
    check_shared(leader.arrive().await, "head");
    // The key is still in flight: who comes now boards it, and has the answer at once.
    let mut late = wait_on(&flights, "a");
    check_shared(late.arrive().await, "head");
    drop(leader);
    assert_eq!(flights.in_flight(), 1);
    end.send(()).unwrap();
    flights.idle().await;
    check_shared(late.land().await, "head");
}

#[tokio::test]
async fn a_fetch_goes_on_behind_its_early_answer_until_the_last_one_leaves() {
    let flights = Answers::new(1024);
    let (alive, dropped) = oneshot::channel::<()>();
    let fetch = |herald: Herald<&'static str>| async move {
        let _alive = alive;
        herald.announce(Arc::new("head"));
        pending::<()>().await;
        shared("never")
    };
    let mut leader = flights.join_heralded(key("a"), Instant::now(), fetch).unwrap();
    check_shared(leader.arrive().await, "head");
    assert_eq!(flights.in_flight(), 1);
    drop(leader);
    assert_eq!(flights.in_flight(), 0);
    assert!(dropped.await.is_err(), "the fetch was not stopped");
}

#[tokio::test]
async fn a_private_end_after_an_early_answer_changes_nothing() {
    let flights = Answers::new(1024);
    let leader = flights.join_heralded(key("a"), Instant::now(), |herald| async move {
        herald.announce(Arc::new("head"));
        Fetched::Private("mine")
    });
    check_shared(leader.unwrap().land().await, "head");
    flights.idle().await;
    // No mark either.
    let again = flights.join(key("a"), Instant::now(), || async { shared("again") }).unwrap();
    check_shared(again.land().await, "again");
}

#[tokio::test]
async fn a_herald_that_is_kept_by_somebody_does_not_keep_the_others_waiting() {
    let flights = Answers::new(1024);
    let (keep, kept) = oneshot::channel();
    let leader = flights.join_heralded(key("a"), Instant::now(), |herald| async move {
        assert!(keep.send(herald).is_ok());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(matches!(leader.unwrap().land().await, Landed::Failed));
    kept.await.unwrap().announce(Arc::new("too late"));
}
