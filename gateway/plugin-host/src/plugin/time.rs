//! CPU and wall time of one visit to a guest.
//!
//! CPU time is that of a guest's turns (`turns.rs`), which the epoch callback looks at; it also looks at the clock,
//! because a timer alone does not fire while guests keep all workers busy. The timer around the call is for guests that
//! wait.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use super::turns::{self, Queued, Turns};
use crate::limits::TICK;
use crate::phase::Hook;
use crate::state::{Shared, State, Stop};

/// What a guest does when its tick is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtTick {
    /// Lets others run on the worker.
    Yields,
    /// Goes on: nobody polls it again.
    GoesOn,
}

/// CPU and wall time of one visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    at_tick: AtTick,
}

impl TimeLimit {
    /// The limits of a call.
    pub(super) fn of_call(shared: &Shared, hook: Hook) -> Self {
        Self::of(shared, hook, AtTick::Yields)
    }

    /// The limits of a trial run at load time.
    pub(super) fn of_lifecycle(shared: &Shared) -> Self {
        Self::of(shared, Hook::Lifecycle, AtTick::GoesOn)
    }

    fn of(shared: &Shared, hook: Hook, at_tick: AtTick) -> Self {
        let limits = &shared.limits;
        Self { cpu: limits.cpu_of_hook(hook), wall: limits.wall_of_hook(hook, &shared.grants), at_tick }
    }

    /// Sets the callback that counts, looks at the clock and yields.
    pub(super) fn arm(self, store: &mut Store<State>) {
        let started = Instant::now();
        let mut ticks = Duration::ZERO;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            let turn = match self.at_tick {
                AtTick::Yields => turns::this(),
                AtTick::GoesOn => None,
            };
            // Without turns, ticks are what there is.
            ticks += TICK;
            if turn.map_or(ticks, |turn| turn.used) >= self.cpu {
                return Err(Stop::Cpu.into());
            }
            if started.elapsed() >= self.wall {
                return Err(Stop::Wall.into());
            }
            match turn {
                // The tick may have come while the guest did not run: its turn has just begun then.
                Some(turn) if turn.so_far >= TICK / 2 => {
                    turns::end_with_tick();
                    Ok(UpdateDeadline::Yield(1))
                }
                Some(_) | None => Ok(UpdateDeadline::Continue(1)),
            }
        });
    }

    /// The result of the guest, which is pinned once and not moved from future to future, or [`Stop::Wall`] when it is not
    /// there in time; [`Stop::Queued`] when most of that time went by in the queue.
    pub(crate) async fn hold<R>(
        self,
        turns: &Turns,
        guest: Pin<&mut impl Future<Output = wasmtime::Result<R>>>,
    ) -> wasmtime::Result<R> {
        let queued = Queued::default();
        let mut guest = pin!(turns.run(&queued, guest));
        // Most guests are through at the first poll: no timer for those.
        let first = poll_fn(|context| Poll::Ready(guest.as_mut().poll(context))).await;
        let result = match first {
            Poll::Ready(result) => result,
            Poll::Pending => tokio::time::timeout(self.wall, guest.as_mut())
                .await
                .unwrap_or_else(|_elapsed| Err(Stop::Wall.into())),
        };
        match &result {
            Err(error) if error.downcast_ref() == Some(&Stop::Wall) && queued.so_far() >= self.wall / 2 => {
                Err(Stop::Queued.into())
            }
            _ => result,
        }
    }
}
