//! The bulkhead under a scheduler: places that are handed on while waiters come, leave, and are granted what they no
//! longer want.
//!
//! A waiter may be cancelled, reach its deadline or be displaced at any moment, also between being chosen and being
//! told, and between being told and looking. Whoever has no deadline waits for ever if a place is lost on the way.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "what is wrong here fails the test")]

#[path = "explored/support.rs"]
mod support;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bascule_resilience::{
    Ask, Bulkhead, BulkheadConfig, BulkheadPermit, Clock, Deadline, Overloaded, Priority,
};
use shuttle::future::{block_on, spawn, yield_now};

use self::support::{MILLISECOND, Turned, explore, pick};

/// A place in use, counted by those that use them. The count ends before the place is given back.
struct Used {
    _count: Counted,
    _permit: BulkheadPermit,
}

/// Not seen by the scheduler.
struct Counted(Arc<AtomicUsize>);

impl Used {
    fn of(permit: BulkheadPermit, used: &Arc<AtomicUsize>, most: usize) -> Self {
        assert!(used.fetch_add(1, Ordering::SeqCst) < most, "a place was given to two");
        Self { _count: Counted(Arc::clone(used)), _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How callers behave.
#[derive(Clone, Copy)]
struct Manners {
    /// Milliseconds until they give up; absent: never.
    patience: &'static [Option<u32>],
    priorities: &'static [Priority],
    cut_off: &'static [bool],
}

/// Callers of such manners at a bulkhead with `places`, and what holds whatever they do.
fn scenario(places: usize, waiting: usize, manners: Manners) {
    let max = NonZeroUsize::new(places).unwrap();
    let bulkhead = Bulkhead::new(BulkheadConfig { max, max_waiting: waiting, ..BulkheadConfig::default() });
    let (clock, used) = (Arc::new(Turned::new()), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (bulkhead, clock, used) = (Arc::clone(&bulkhead), Arc::clone(&clock), Arc::clone(&used));
            let (patience, priority) = (pick(manners.patience), pick(manners.priorities));
            let caller = async move {
                let begun = clock.now();
                let deadline = patience.map(|millis| begun + millis * MILLISECOND);
                let ask = Ask { priority, deadline: Deadline::from(deadline) };
                match bulkhead.acquire(&*clock, ask).await {
                    Ok(permit) => {
                        let used = Used::of(permit, &used, places);
                        yield_now().await;
                        drop(used);
                    }
                    Err(Overloaded::Deadline) => assert!(deadline.is_some(), "no deadline, and it passed"),
                    Err(Overloaded::Full | Overloaded::Displaced) => assert!(waiting < 3, "there was room"),
                    Err(shed @ Overloaded::Shed { .. }) => unreachable!("{shed}"),
                }
            };
            (spawn(caller), pick(manners.cut_off))
        })
        .collect();
    let hands = spawn(async move {
        for _ in 0..3 {
            clock.turn(MILLISECOND);
            yield_now().await;
        }
    });
    callers.iter().filter(|(_, cut_off)| *cut_off).for_each(|(caller, _)| caller.abort());
    block_on(async {
        for (caller, cut_off) in callers {
            assert!(caller.await.is_ok() || cut_off, "a caller who stayed has no answer");
        }
        hands.await.unwrap();
    });
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0), "a place was lost");
    let all: Vec<_> = (0..places).map(|_| bulkhead.try_acquire().unwrap()).collect();
    assert!(bulkhead.try_acquire().is_none());
    drop(all);
}

#[test]
fn a_waiter_who_is_cut_off_as_it_is_granted_loses_no_place_and_takes_none_twice() {
    const MANNERS: Manners =
        Manners { patience: &[None], priorities: &[Priority::Normal], cut_off: &[false, false, true] };
    explore(10_000, || scenario(pick(&[1, 2]), 3, MANNERS));
}

#[test]
fn a_waiter_whose_deadline_passes_as_it_is_granted_loses_no_place_and_takes_none_twice() {
    const MANNERS: Manners =
        Manners { patience: &[None, Some(1), Some(2)], priorities: &[Priority::Normal], cut_off: &[false] };
    explore(10_000, || scenario(pick(&[1, 2]), 3, MANNERS));
}

#[test]
fn a_waiter_who_is_displaced_as_it_is_granted_loses_no_place_and_takes_none_twice() {
    const MANNERS: Manners = Manners {
        patience: &[None, None, Some(1)],
        priorities: &Priority::ALL,
        cut_off: &[false, false, true],
    };
    explore(10_000, || scenario(1, pick(&[1, 2]), MANNERS));
}
