//! The description of a guard: each mechanism is there if it was named.

use std::sync::Arc;
use std::time::Duration;

use super::{Guard, Shared};
use crate::breaker::{Breaker, BreakerConfig, Transition};
use crate::bulkhead::{Bulkhead, BulkheadConfig};
use crate::clock::{Clock, Random, SystemRandom, TokioClock};
use crate::health::HealthStats;
use crate::hedge::HedgeConfig;
use crate::library::CircuitBreaker;
use crate::rate_limit::{QUOTA_RESET_MAX, RateLimiter, RateLimiterConfig};
use crate::retry::{BudgetConfig, RetryBudget, RetryPolicy};

/// Describes a [`Guard`].
#[must_use = "a guard comes to be with `build`"]
pub struct GuardBuilder {
    name: String,
    breaker: Option<Part<BreakerConfig, Breaker>>,
    bulkhead: Option<Part<BulkheadConfig, Bulkhead>>,
    limiters: Vec<(Part<RateLimiterConfig, RateLimiter>, Duration)>,
    quota_reset_max: Duration,
    retry: Option<RetryPolicy>,
    budget: Option<Part<BudgetConfig, RetryBudget>>,
    hedge: Option<HedgeConfig>,
    timeout: Option<Duration>,
    attempt_timeout: Option<Duration>,
    times: Option<Arc<HealthStats>>,
    hedge_times: Option<Arc<HealthStats>>,
    health: Option<Arc<HealthStats>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    on_state_change: Box<dyn Fn(&Transition) + Send + Sync>,
}

/// A mechanism that is still to be made, or one that is shared with others.
enum Part<C, M> {
    Config(C),
    Shared(Arc<M>),
}

impl GuardBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            breaker: None,
            bulkhead: None,
            limiters: Vec::new(),
            quota_reset_max: QUOTA_RESET_MAX,
            retry: None,
            budget: None,
            hedge: None,
            timeout: None,
            attempt_timeout: None,
            times: None,
            hedge_times: None,
            health: None,
            clock: Arc::new(TokioClock),
            random: Arc::new(SystemRandom),
            on_state_change: Box::new(|_| ()),
        }
    }

    /// A circuit of its own. Counts one outcome per call, after all retries.
    pub fn circuit_breaker(mut self, config: BreakerConfig) -> Self {
        self.breaker = Some(Part::Config(config));
        self
    }

    /// A circuit that others use too.
    pub fn shared_breaker(mut self, breaker: Arc<Breaker>) -> Self {
        self.breaker = Some(Part::Shared(breaker));
        self
    }

    /// The circuit of a [`CircuitBreaker`], a registry's for instance, whose statistics the guard's calls join: one health
    /// map tells of all.
    pub fn circuit(mut self, circuit: &CircuitBreaker) -> Self {
        self.breaker = Some(Part::Shared(Arc::clone(circuit.breaker())));
        self.health = Some(Arc::clone(circuit.calls()));
        self
    }

    /// Called on every change of the circuit's state, without any lock held. No effect on a shared circuit.
    pub fn on_state_change(mut self, told: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.on_state_change = Box::new(told);
        self
    }

    /// Retries by this rule, within a [`retry_budget`](Self::retry_budget) of the default size unless one is set.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// How many retries and hedges all calls together may make.
    pub fn retry_budget(mut self, config: BudgetConfig) -> Self {
        self.budget = Some(Part::Config(config));
        self
    }

    /// A retry budget that others use too.
    pub fn shared_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.budget = Some(Part::Shared(budget));
        self
    }

    /// Doubles attempts that take long. Only for operations that are safe to repeat; [`once`](super::Request::once)
    /// exempts a call.
    pub fn hedge(mut self, config: HedgeConfig) -> Self {
        self.hedge = Some(config);
        self
    }

    /// Longest time for the whole call with all its attempts and waits.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Longest time for one attempt.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = Some(limit);
        self
    }

    /// At most so many calls at a time.
    pub fn bulkhead(mut self, config: BulkheadConfig) -> Self {
        self.bulkhead = Some(Part::Config(config));
        self
    }

    /// A bulkhead that others use too.
    pub fn shared_bulkhead(mut self, bulkhead: Arc<Bulkhead>) -> Self {
        self.bulkhead = Some(Part::Shared(bulkhead));
        self
    }

    /// A budget of attempts; calls wait for a token for at most `max_wait`, and never beyond their deadline. May be given
    /// several times: every budget must allow.
    pub fn rate_limit(mut self, config: RateLimiterConfig, max_wait: Duration) -> Self {
        self.limiters.push((Part::Config(config), max_wait));
        self
    }

    /// A budget of attempts that others use too.
    pub fn shared_limiter(mut self, limiter: Arc<RateLimiter>, max_wait: Duration) -> Self {
        self.limiters.push((Part::Shared(limiter), max_wait));
        self
    }

    /// How long the limits may hold all calls for a quota that is spent ([`Verdict::quota_spent`](super::Verdict)).
    /// Default an hour, [`QUOTA_RESET_MAX`].
    pub fn quota_reset_max(mut self, longest: Duration) -> Self {
        self.quota_reset_max = longest;
        self
    }

    /// Statistics of successful attempts that others feed too: the same provider behind several guards.
    pub fn shared_times(mut self, times: Arc<HealthStats>) -> Self {
        self.times = Some(times);
        self
    }

    /// Statistics of successful attempts that a [hedge by percentile](crate::HedgeAfter::Percentile) goes by, instead of
    /// those of all: where several guards share their times, a slow operation is not late by the measure of quick ones.
    pub fn hedge_times(mut self, times: Arc<HealthStats>) -> Self {
        self.hedge_times = Some(times);
        self
    }

    /// Another clock. Default [`TokioClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of chance. Default [`SystemRandom`].
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Makes the guard.
    #[must_use]
    pub fn build(self) -> Guard {
        let now = self.clock.now();
        let told = self.on_state_change;
        let breaker = self.breaker.map(|part| part.made(|config| Breaker::new(config, told)));
        // Retries without a budget turn an outage into a storm.
        let retries = self.retry.is_some() || self.hedge.is_some();
        let budget = self.budget.or_else(|| retries.then(|| Part::Config(BudgetConfig::default())));
        let once = || RetryPolicy { max_attempts: std::num::NonZeroU32::MIN, ..RetryPolicy::default() };
        let limiters = self.limiters.into_iter();
        Guard {
            shared: Arc::new(Shared {
                name: self.name.into(),
                breaker,
                bulkhead: self.bulkhead.map(|part| part.made(Bulkhead::new)),
                limiters: limiters
                    .map(|(part, wait)| (part.made(|config| RateLimiter::new(config, now)), wait))
                    .collect(),
                quota_reset_max: self.quota_reset_max,
                retry: self.retry.unwrap_or_else(once),
                budget: budget.map(|part| part.made(|config| Arc::new(RetryBudget::new(config)))),
                hedge: self.hedge,
                timeout: self.timeout,
                attempt_timeout: self.attempt_timeout,
                health: self.health.unwrap_or_else(|| Arc::new(HealthStats::new())),
                times: self.times.unwrap_or_else(|| Arc::new(HealthStats::new())),
                hedge_times: self.hedge_times,
                clock: self.clock,
                random: self.random,
            }),
        }
    }
}

impl<C, M> Part<C, M> {
    fn made(self, make: impl FnOnce(C) -> Arc<M>) -> Arc<M> {
        match self {
            Self::Config(config) => make(config),
            Self::Shared(made) => made,
        }
    }
}
