//! The queue under real concurrency: no slot is lost and none is given out twice, whoever leaves when.

use super::*;

const WORKERS: usize = 8;
const ROUNDS: usize = 2000;
const SLOTS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_are_neither_lost_nor_given_out_twice_across_threads() {
    let bulkhead = bulkhead(SLOTS, WORKERS);
    let busy = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (bulkhead, busy) = (Arc::clone(&bulkhead), Arc::clone(&busy));
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let priority = Priority::ALL[(worker + round) % 3];
                    let mut waiting = Box::pin(bulkhead.acquire(&TokioClock, ask(priority)));
                    if round % 3 == 0 {
                        // Looks once and leaves, maybe just when its turn has come.
                        let looked = tokio::select! { biased; got = &mut waiting => Some(got), () = yield_now() => None };
                        drop(looked);
                        continue;
                    }
                    let permit = waiting.await.unwrap();
                    assert!(busy.fetch_add(1, Ordering::SeqCst) < SLOTS);
                    yield_now().await;
                    busy.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
}
