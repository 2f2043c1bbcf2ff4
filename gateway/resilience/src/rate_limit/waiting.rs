//! A call that waits in line.
//!
//! | where          | and it                                    | then                                        |
//! |----------------|-------------------------------------------|---------------------------------------------|
//! | at the head    | may not go, but later within its patience | sleeps until then                           |
//! | behind others  | can be reached within its patience        | sleeps until its patience ends              |
//! | anywhere       | may go, and all before it as well         | takes its tokens, leaves; a head wakes the next |
//! | anywhere       | cannot be reached within its patience     | leaves with what holds it back; likewise    |
//! | anywhere       | is dropped                                | leaves; likewise                            |
//!
//! It asks its clock to wake it and knows no runtime. Wakers are called with no lock held.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::ledger::Want;
use super::line::Ticket;
use super::{Demand, Limited, RateLimiter};
use crate::clock::{Clock, Sleep};
use crate::span::later;

/// How often a sleep may end early before the executor gets its turn. A sane clock's never does.
const EARLY_MAX: usize = 4;

pub(super) struct Waiting<'a> {
    limiter: &'a RateLimiter,
    clock: &'a dyn Clock,
    demand: Demand,
    until: Instant,
    /// `None` once the line was left.
    ticket: Option<Ticket>,
    sleep: Option<(Instant, Sleep)>,
}

/// How a place in line stands.
enum Turn {
    Over(Result<(), Limited>),
    Asleep(Instant),
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        limiter: &'a RateLimiter,
        clock: &'a dyn Clock,
        demand: Demand,
        until: Instant,
        ticket: Ticket,
    ) -> Self {
        Self { limiter, clock, demand, until, ticket: Some(ticket), sleep: None }
    }

    pub(super) fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), Limited>> {
        for _ in 0..EARLY_MAX {
            let (turn, next) = self.turn(ctx.waker());
            wake(next);
            let wake_at = match turn {
                Turn::Over(result) => return Poll::Ready(result),
                Turn::Asleep(wake_at) => wake_at,
            };
            let sleep = match self.sleep.take() {
                Some((at, sleep)) if at == wake_at => sleep,
                _ => self.clock.sleep_until(wake_at),
            };
            let (_, sleep) = self.sleep.insert((wake_at, sleep));
            if sleep.as_mut().poll(ctx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        ctx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Looks at the books once; the second value is to be woken.
    fn turn(&mut self, waker: &Waker) -> (Turn, Option<Waker>) {
        let Some(ticket) = self.ticket else { return (Turn::Asleep(self.until), None) };
        let limiter = self.limiter;
        let mut ledger = limiter.ledger.lock();
        let now = ledger.advance(self.clock.now());
        let head = ledger.line.is_head(ticket);
        let want = Want { ahead: ledger.line.ahead_of(ticket), ..self.demand.want() };
        let limited = ledger.verdict(&limiter.terms, now, want);
        let result = match limited {
            None => {
                ledger.book(&limiter.terms, now, want.cost);
                Ok(())
            }
            Some(limited) if later(now, limited.retry_after) > self.until => Err(limited),
            Some(limited) => {
                ledger.line.watch(ticket, waker);
                let wake_at = if head { later(now, limited.retry_after) } else { self.until };
                return (Turn::Asleep(wake_at), None);
            }
        };
        self.ticket = None;
        (Turn::Over(result), ledger.line.leave(ticket))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let next = self.limiter.ledger.lock().line.leave(ticket);
            wake(next);
        }
    }
}

pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
