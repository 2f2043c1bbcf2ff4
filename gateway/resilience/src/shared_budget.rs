//! A budget that several processes have together: it is kept elsewhere, and handed out in portions.
//!
//! Whoever keeps it is a [`TokenSource`], a script on a server for instance. The decision behind it: nothing is sent that
//! was not granted, and a source that is away stops nothing. So a call takes a token out of what this process has in
//! hand, or waits for the source's word, which comes within a bound; and where there is no word, it goes on to the
//! process's own [`RateLimiter`](crate::RateLimiter), which every call passes anyway.
//!
//! | in hand      | the source | a call                                                                     |
//! |--------------|------------|----------------------------------------------------------------------------|
//! | enough       | –          | takes of it; when half is gone, more is asked for on the side              |
//! | too little   | grants     | goes; one question asks for all who wait                                   |
//! | too little   | refuses    | waits until the time that it named, in order, or is refused when it cannot |
//! | too little   | is away    | goes: the process's own limiter decides alone                              |
//!
//! What is in hand ahead of need ([`spare`]) is all by which the processes together may exceed the budget: in any span
//! they send no more than it allows, and `spare` for each of them on top; where calls cost several tokens, also what is
//! too little for one of them. It is a fraction of the burst, nothing at all for small budgets, which ask for every call; and
//! it lapses a second after it was granted. What was granted for calls that have left the line is let go of.
//!
//! Who waits, waits in the order of arrival, high priority in a line of its own before which no other call stands.

mod hand;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::hand::Hand;
use crate::clock::Clock;
use crate::priority::Priority;
use crate::rate_limit::{Demand, Limited, LimitedBy, RateLimiterConfig, RateWindow};
use crate::span::later;
use crate::spawn::Spawn;
use crate::sync::{AtomicBool, AtomicU64, Mutex};

/// At most this fraction of a burst is in hand ahead of need.
const SPARE_SHARE: u32 = 32;

/// What is used up sooner than this is not worth having ahead: it is the time of some questions.
const SPARE_LASTS: Duration = Duration::from_millis(100);

/// Below it every call asks: the exceeding would be more than the gain.
const SPARE_MIN: u32 = 4;

/// See [`spare`].
const SPARE_MAX: u32 = 1024;

/// Whoever keeps the budget.
pub trait TokenSource: Send + Sync + 'static {
    /// Asks for tokens. Answers within the bound that the [`SharedBudget`] was told of.
    fn take(&self, request: TokenRequest) -> Pin<Box<dyn Future<Output = Portion> + Send + '_>>;

    /// Whether it is known to be away, so that asking is no use.
    fn is_away(&self) -> bool;
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Fewer tokens are of no use.
    pub least: u64,
    /// More tokens are not wanted.
    pub most: u64,
    /// Whether the reserve may be used, which is for high priority.
    pub priority: Priority,
}

/// What a source answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// So many tokens, from `least` to `most`. They are taken from the budget.
    Granted(u64),
    /// Fewer than `least` are left. Nothing was taken.
    Refused {
        /// When it is worth asking again.
        retry_after: Duration,
        /// What holds the tokens back: [`LimitedBy::Hold`] when none are given for any cost.
        by: LimitedBy,
    },
    /// No answer.
    Away,
}

/// How a call came to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// With tokens of the budget, which can be given back.
    Granted,
    /// Without: the source is away.
    Alone,
}

/// A part in a budget that is kept elsewhere.
pub struct SharedBudget {
    source: Box<dyn TokenSource>,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawn>,
    /// The longest that the source takes to answer.
    answers_within: Duration,
    /// Most tokens in hand that no call waits for.
    spare: u64,
    hand: Mutex<Hand>,
    /// Tokens that calls wait for.
    wanted: AtomicU64,
    /// Whether more is being asked for on the side.
    asking: AtomicBool,
    /// One call of each kind asks; the others stand behind it.
    turns: [tokio::sync::Mutex<()>; 2],
}

/// How many tokens of such a budget a process may have in hand ahead of need: a 32nd of the smallest burst, what a tenth
/// of a second brings, at most 1024; none when that is fewer than 4.
#[must_use]
pub fn spare(config: &RateLimiterConfig) -> u32 {
    let of = |window: &RateWindow| {
        let brings =
            f64::from(window.requests.get()) * SPARE_LASTS.as_secs_f64() / window.window.as_secs_f64();
        // The cast cuts off what is too large.
        (window.burst.get() / SPARE_SHARE).min(brings as u32)
    };
    let spare = config.windows.iter().map(of).min().unwrap_or(0).min(SPARE_MAX);
    if spare < SPARE_MIN { 0 } else { spare }
}

impl SharedBudget {
    /// A part in the budget of that source, which takes at most `answers_within` to answer.
    ///
    /// `config` is the whole budget. Questions ahead of need are put in tasks of `spawner`.
    #[must_use]
    pub fn new(
        source: impl TokenSource,
        config: &RateLimiterConfig,
        answers_within: Duration,
        clock: Arc<dyn Clock>,
        spawner: Arc<dyn Spawn>,
    ) -> Arc<Self> {
        let hand = Hand::empty(clock.now());
        Arc::new(Self {
            source: Box::new(source),
            clock,
            spawner,
            answers_within,
            spare: spare(config).into(),
            hand: Mutex::new(hand),
            wanted: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            turns: Default::default(),
        })
    }

    /// Takes what the call costs, waiting for it in line, at most `max_wait` and never beyond `deadline`; the source's
    /// answer is waited for on top.
    ///
    /// Cancel-safe: who is dropped leaves the line; tokens that were being granted for it may be lost to all.
    ///
    /// # Errors
    /// [`Limited`], by what the source says, when it is not allowed within the wait.
    pub async fn acquire(
        self: &Arc<Self>,
        demand: Demand,
        max_wait: Duration,
        deadline: Option<Instant>,
    ) -> Result<Drawn, Limited> {
        let now = self.clock.now();
        if self.take_in_hand(demand, now) {
            return Ok(Drawn::Granted);
        }
        let until = later(now, max_wait);
        let until = deadline.map_or(until, |deadline| deadline.min(until));
        // What it refused before it went away is not its word any more; silence is not being away.
        if self.source.is_away() {
            return Ok(Drawn::Alone);
        }
        self.refused(demand, now, until)?;
        if self.is_away(now) {
            return Ok(Drawn::Alone);
        }
        let _wanting = Wanting::new(self, demand.cost.get().into());
        let turn = self.turns.get(class(demand.priority)).map(tokio::sync::Mutex::lock);
        // One question may be under way, and the next one asks for all.
        let patience = later(until.max(now), self.answers_within.saturating_mul(2));
        let _turn = tokio::select! {
            biased;
            turn = async { match turn { Some(turn) => Some(turn.await), None => None } } => turn,
            () = self.clock.sleep_until(patience) => return self.out_of_patience(demand, now),
        };
        self.at_the_head(demand, until).await
    }

    /// Takes what the call costs if it is in hand; `None` when it is not, and the source would have to be asked.
    pub fn try_acquire(self: &Arc<Self>, demand: Demand, now: Instant) -> Option<Drawn> {
        if self.take_in_hand(demand, now) {
            return Some(Drawn::Granted);
        }
        self.is_away(now).then_some(Drawn::Alone)
    }

    /// Gives back what a call was [granted](Drawn::Granted) that is not made after all. It is in hand for others, for a
    /// second at most.
    pub fn give_back(&self, demand: Demand, now: Instant) {
        self.hand.lock().put(demand.cost.get().into(), now);
    }

    async fn at_the_head(self: &Arc<Self>, demand: Demand, until: Instant) -> Result<Drawn, Limited> {
        let cost = u64::from(demand.cost.get());
        loop {
            let now = self.clock.now();
            if self.take_in_hand(demand, now) {
                return Ok(Drawn::Granted);
            }
            if self.is_away(now) {
                return Ok(Drawn::Alone);
            }
            if let Some(end) = self.refused(demand, now, until)? {
                self.clock.sleep_until(end).await;
                continue;
            }
            // One question for all who stand in line, and for those who will; but what comes out of the reserve is for
            // the one who may use it.
            let most = match demand.priority {
                Priority::High => cost,
                Priority::Normal | Priority::Low => {
                    self.wanted.load(Ordering::Relaxed).saturating_add(self.spare).max(cost)
                }
            };
            let request = TokenRequest { least: cost, most, priority: demand.priority };
            let portion = self.source.take(request).await;
            let now = self.clock.now();
            let mut hand = self.hand.lock();
            match portion {
                Portion::Granted(granted) => {
                    hand.put(granted.saturating_sub(cost), now);
                    return Ok(Drawn::Granted);
                }
                Portion::Refused { retry_after, by } => hand.refuse(demand, retry_after, by, now),
                Portion::Away => {
                    hand.silent = later(now, self.answers_within);
                    return Ok(Drawn::Alone);
                }
            }
        }
    }

    /// The end of a refusal that is under way and concerns such a call.
    fn refused(&self, demand: Demand, now: Instant, until: Instant) -> Result<Option<Instant>, Limited> {
        let refusal = self.hand.lock().refusal(demand, now);
        match refusal {
            Some((end, by)) if end > until => {
                Err(Limited { retry_after: end.saturating_duration_since(now), by })
            }
            refusal => Ok(refusal.map(|(end, _)| end)),
        }
    }

    /// What becomes of a call that stood in line since `joined` in vain. Where the source refused nobody meanwhile, it
    /// merely did not answer, and that stops nothing.
    fn out_of_patience(&self, demand: Demand, joined: Instant) -> Result<Drawn, Limited> {
        let now = self.clock.now();
        let Some((end, by)) = self.hand.lock().refusal(demand, joined) else { return Ok(Drawn::Alone) };
        Err(Limited { retry_after: end.saturating_duration_since(now).max(self.answers_within), by })
    }

    fn is_away(&self, now: Instant) -> bool {
        self.source.is_away() || now < self.hand.lock().silent
    }

    fn take_in_hand(self: &Arc<Self>, demand: Demand, now: Instant) -> bool {
        let Some(left) = self.hand.lock().take(demand.cost.get().into(), now) else { return false };
        if self.spare > 0 && left <= self.spare / 2 && !self.asking.swap(true, Ordering::Relaxed) {
            let (budget, most) = (Arc::clone(self), self.spare - left);
            self.spawner.spawn(Box::pin(async move {
                let _asking = Asking(&budget.asking);
                let request = TokenRequest { least: 1, most, priority: Priority::Normal };
                if let Portion::Granted(granted) = budget.source.take(request).await {
                    budget.hand.lock().put(granted, budget.clock.now());
                }
            }));
        }
        true
    }
}

/// Which line a call stands in.
const fn class(priority: Priority) -> usize {
    match priority {
        Priority::High => 1,
        Priority::Normal | Priority::Low => 0,
    }
}

/// A call that waits, however it ends. When it leaves, what was asked for on its behalf and is in hand goes as well.
struct Wanting<'a>(&'a SharedBudget, u64);

impl<'a> Wanting<'a> {
    fn new(budget: &'a SharedBudget, cost: u64) -> Self {
        budget.wanted.fetch_add(cost, Ordering::Relaxed);
        Self(budget, cost)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        let Self(budget, cost) = *self;
        let now = budget.clock.now();
        let mut hand = budget.hand.lock();
        let others = budget.wanted.fetch_sub(cost, Ordering::Relaxed).saturating_sub(cost);
        hand.keep(budget.spare.saturating_add(others), now);
    }
}

/// A question on the side, however it ends.
struct Asking<'a>(&'a AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(any(feature = "shuttle", feature = "loom")))]
mod tests;
