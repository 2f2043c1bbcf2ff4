//! From settings to guards: the one place that knows which mechanisms an operation goes through.
//!
//! An operation has two guards over the same mechanisms, since an unsafe call is retried by the integration's rule, and
//! only when nothing was sent. Everything that serving shares between operations is shared here too.

use super::{
    circuit::{Circuit, Circuits},
    figures::Figures,
    recorded::{Answer, Call, Place},
    usage::Usage,
};
use crate::{
    config::{Config, Integration, Operation, RateLimit, RetrySettings, Timeouts},
    model::{BreakerName, OperationName},
    pipeline::mechanisms,
};
use bascule_resilience::{
    BreakerConfig, Bulkhead, Clock, Guard, HealthStats, HedgeConfig, Outcome, QuotaReport, Random,
    RateLimiter, RetryBudget, Verdict,
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    num::NonZeroU32,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// What the configuration's calls go through.
pub(super) struct Mechanisms {
    pub(super) operations: BTreeMap<Place, Rc<Subject>>,
    pub(super) integrations: Vec<Rc<Whole>>,
    pub(super) circuits: Circuits,
}

/// An integration.
pub(super) struct Whole {
    pub(super) name: String,
    pub(super) circuits: Vec<Arc<Circuit>>,
    pub(super) usage: Vec<Rc<RefCell<Usage>>>,
    pub(super) figures: RefCell<Figures>,
}

/// An operation.
pub(super) struct Subject {
    pub(super) whole: Rc<Whole>,
    pub(super) cost: NonZeroU32,
    safe: Rule,
    unsafe_: Rule,
    limiter: Arc<RateLimiter>,
    quota_reset_max: Duration,
    usage: Vec<Rc<RefCell<Usage>>>,
}

/// A guard and the statuses that it retries.
struct Rule {
    guard: Guard,
    on: Arc<[u16]>,
}

/// What all operations of an integration share.
struct Common {
    circuit: Arc<Circuit>,
    limiter: Arc<RateLimiter>,
    max_wait: Duration,
    bulkhead: Arc<Bulkhead>,
    budget: Arc<RetryBudget>,
    times: Arc<HealthStats>,
    usage: Option<Rc<RefCell<Usage>>>,
}

/// What one operation has of its own.
struct Own {
    circuit: Option<Arc<Circuit>>,
    limiter: Option<(Arc<RateLimiter>, Duration)>,
    /// What its hedges go by.
    times: Arc<HealthStats>,
    usage: Option<Rc<RefCell<Usage>>>,
}

/// The policies of one operation.
struct Policies<'a> {
    timeouts: &'a Timeouts,
    retry: &'a RetrySettings,
    hedge: Option<&'a HedgeConfig>,
    cost: NonZeroU32,
}

/// The time and the chance that the mechanisms go by.
#[derive(Clone)]
pub(super) struct Nature {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Mechanisms {
    /// Those of the configuration's integrations; with `only`, of that one.
    pub(super) fn new(config: &Config, only: Option<&str>, nature: &Nature) -> Self {
        let mut mechanisms =
            Self { operations: BTreeMap::new(), integrations: Vec::new(), circuits: Circuits::default() };
        for settings in config.integrations.values() {
            if only.is_none_or(|only| only == settings.name.as_str()) {
                mechanisms.integration(settings, nature);
            }
        }
        mechanisms
    }

    fn integration(&mut self, settings: &Integration, nature: &Nature) {
        let name = settings.name.as_str();
        let now = nature.clock.now();
        let limiter = mechanisms::limiter(settings.rate_limit.as_ref(), now);
        let common = Common {
            circuit: self.circuit(name, settings.shared_breaker.as_ref(), &settings.breaker),
            usage: usage(name, settings.rate_limit.as_ref(), &limiter),
            limiter,
            max_wait: mechanisms::max_wait(settings.rate_limit.as_ref()),
            bulkhead: mechanisms::bulkhead(&settings.concurrency),
            budget: Arc::new(RetryBudget::new(settings.retry.budget.clone())),
            times: Arc::new(HealthStats::new()),
        };
        let owns: Vec<_> = settings
            .operations
            .values()
            .map(|operation| (operation, self.own(&format!("{name}.{}", operation.name), operation, now)))
            .collect();
        let circuits =
            std::iter::once(&common.circuit).chain(owns.iter().filter_map(|(_, own)| own.circuit.as_ref()));
        let usages = common.usage.iter().chain(owns.iter().filter_map(|(_, own)| own.usage.as_ref()));
        let whole = Rc::new(Whole {
            name: name.to_owned(),
            circuits: circuits.map(Arc::clone).collect(),
            usage: usages.map(Rc::clone).collect(),
            figures: RefCell::default(),
        });
        let mut add = |operation: &str, subject| {
            let place = Place { integration: name.to_owned(), operation: operation.to_owned() };
            self.operations.insert(place, Rc::new(subject));
        };
        for (operation, own) in &owns {
            let policies = Policies {
                timeouts: &operation.timeouts,
                retry: &operation.retry,
                hedge: operation.hedge.as_ref(),
                cost: operation.cost,
            };
            let subject = subject(&whole, settings, &common, own, policies, nature);
            add(operation.name.as_str(), subject);
        }
        if settings.proxy {
            let own = Own { circuit: None, limiter: None, times: Arc::default(), usage: None };
            let policies = Policies {
                timeouts: &settings.timeouts,
                retry: &settings.retry,
                hedge: settings.hedge.as_ref(),
                cost: NonZeroU32::MIN,
            };
            add(OperationName::proxy().as_str(), subject(&whole, settings, &common, &own, policies, nature));
        }
        self.integrations.push(whole);
    }

    fn own(&mut self, full_name: &str, operation: &Operation, now: Instant) -> Own {
        let limit = operation.rate_limit.as_ref();
        let limiter = limit.map(|limit| (mechanisms::limiter(Some(limit), now), limit.max_wait));
        Own {
            circuit: operation
                .breaker
                .as_ref()
                .map(|config| self.circuit(full_name, operation.shared_breaker.as_ref(), config)),
            usage: limiter.as_ref().and_then(|(limiter, _)| usage(full_name, limit, limiter)),
            limiter,
            times: Arc::default(),
        }
    }

    /// The circuit of that name, or the shared one that is named instead.
    fn circuit(&mut self, name: &str, shared: Option<&BreakerName>, config: &BreakerConfig) -> Arc<Circuit> {
        match shared {
            Some(shared) => self.circuits.named(&format!("breaker:{shared}"), config),
            None => self.circuits.named(name, config),
        }
    }
}

fn usage(name: &str, limit: Option<&RateLimit>, limiter: &RateLimiter) -> Option<Rc<RefCell<Usage>>> {
    limit.map(|_| Rc::new(RefCell::new(Usage::new(name.to_owned(), &limiter.config().windows))))
}

fn subject(
    whole: &Rc<Whole>,
    settings: &Integration,
    common: &Common,
    own: &Own,
    policies: Policies<'_>,
    nature: &Nature,
) -> Subject {
    let Policies { timeouts, retry, hedge, cost } = policies;
    let rule = |retry: &RetrySettings, hedge: Option<&HedgeConfig>| {
        let mut guard = Guard::new(&*whole.name)
            .clock(Arc::clone(&nature.clock))
            .random(Arc::clone(&nature.random))
            .shared_breaker(Arc::clone(&own.circuit.as_ref().unwrap_or(&common.circuit).breaker))
            .shared_bulkhead(Arc::clone(&common.bulkhead))
            .shared_budget(Arc::clone(&common.budget))
            .shared_times(Arc::clone(&common.times))
            .quota_reset_max(mechanisms::quota_reset_max(settings.rate_limit.as_ref()))
            .hedge_times(Arc::clone(&own.times))
            .retry(retry.policy.clone())
            .timeout(timeouts.whole);
        if let Some(limit) = timeouts.attempt {
            guard = guard.attempt_timeout(limit);
        }
        if let Some(hedge) = hedge {
            guard = guard.hedge(hedge.clone());
        }
        // The operation's own first, as in serving: if it refuses, the integration's token is not wasted.
        if let Some((limiter, max_wait)) = &own.limiter {
            guard = guard.shared_limiter(Arc::clone(limiter), *max_wait);
        }
        let guard = guard.shared_limiter(Arc::clone(&common.limiter), common.max_wait);
        Rule { guard: guard.build(), on: Arc::clone(&retry.on) }
    };
    Subject {
        whole: Rc::clone(whole),
        cost,
        safe: rule(retry, hedge),
        unsafe_: rule(&settings.retry, None),
        limiter: Arc::clone(&common.limiter),
        quota_reset_max: mechanisms::quota_reset_max(settings.rate_limit.as_ref()),
        usage: own.usage.iter().chain(&common.usage).map(Rc::clone).collect(),
    }
}

impl Subject {
    /// What the call goes through.
    pub(super) fn guard(&self, call: &Call) -> &Guard {
        &self.rule(call).guard
    }

    fn rule(&self, call: &Call) -> &Rule {
        if call.safe { &self.safe } else { &self.unsafe_ }
    }

    /// An attempt is sent, so long after the start.
    pub(super) fn sent(&self, now: Duration) {
        for usage in &self.usage {
            usage.borrow_mut().sent(now, self.cost.get());
        }
    }

    /// What the retry rule makes of an answer.
    pub(super) fn verdict(&self, call: &Call, answer: &Answer) -> Verdict {
        let Answer { outcome, sent, timed_out, .. } = *answer;
        let in_list = answer.status.is_none_or(|status| self.rule(call).on.contains(&status));
        // `on` lists statuses; a spent quota may come with others, and a classifier has its own reasons.
        let otherwise = answer.status.is_some_and(|status| match outcome {
            Outcome::Throttled { .. } => status != 429,
            Outcome::Transient { .. } => status < 500 && status != 408,
            _ => false,
        });
        Verdict {
            outcome,
            sent: sent || answer.status.is_some(),
            listed: in_list || otherwise,
            timed_out,
            quota_spent: answer.quotas.iter().any(|quota| quota.remaining == 0),
        }
    }

    /// Tells the integration's limiter what an answer says about the quotas. What it says by its outcome is the guard's.
    pub(super) fn learn(&self, answer: &Answer, now: Instant) {
        for quota in &answer.quotas {
            let Some(reset) = quota.reset.or(quota.window) else { continue };
            let report = QuotaReport {
                name: &quota.number.to_string(),
                remaining: quota.remaining,
                limit: quota.limit,
                window: quota.window,
                reset: now + reset.min(self.quota_reset_max),
                cost: self.cost.get().into(),
            };
            self.limiter.observe_quota(&report, now);
        }
    }
}
