//! Providers that behave as a script says: brown-outs, flapping, storms of 429, hanging answers, resets.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::VirtualClock;
use crate::clock::{Clock, Random};
use crate::outcome::Outcome;
use crate::span::{jittered, later, scaled};

/// What a provider does from which time on.
#[derive(Clone, Debug)]
pub struct Script {
    /// In the order of time; before the first one it is healthy.
    acts: Vec<(Duration, Behaviour)>,
}

/// How a provider behaves for a while. `Default` is a healthy one that answers within 20 ms, ± a quarter.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How long it takes to answer when it is not crowded.
    pub latency: Duration,
    /// Share by which that varies, up and down.
    pub spread: f64,
    /// Share of the calls that end in `failure`, 0 to 1.
    pub failures: f64,
    /// How those end.
    pub failure: Failure,
    /// Calls at a time that it can work on; beyond it all take longer in proportion. Absent: any number.
    pub capacity: Option<u32>,
    /// What it will bear per window. Absent: anything.
    pub quota: Option<Quota>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An answer that says so, after the usual latency.
    Error,
    /// The connection breaks at once.
    Reset,
    /// No answer ever comes.
    Hang,
    /// An answer that is right and comes so much later.
    Slow(Duration),
    /// A refusal that is the caller's fault.
    Rejected,
    /// An answer that makes no sense.
    Nonsense,
}

/// A quota by fixed windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls per window.
    pub limit: u32,
    /// Its length; windows begin at the start of the simulation.
    pub window: Duration,
    /// Whether every answer says what is left, as `X-RateLimit-*` headers do.
    pub reports: bool,
    /// Whether a refusal says when to come back.
    pub retry_after: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it amounts to.
    pub outcome: Outcome,
    /// What it says about the quota: what is left, of how many, and when the window ends.
    pub quota: Option<(u64, u64, Instant)>,
}

/// A provider that follows a script.
pub struct Provider {
    script: Script,
    clock: VirtualClock,
    random: Arc<dyn Random>,
    quota: Mutex<QuotaUse>,
    in_flight: AtomicU64,
    busiest: AtomicU64,
    calls: AtomicU64,
    throttled: AtomicU64,
}

#[derive(Debug, Default)]
struct QuotaUse {
    window: u128,
    used: u32,
}

impl Script {
    /// Healthy for ever.
    #[must_use]
    pub fn new() -> Self {
        Self { acts: Vec::new() }
    }

    /// From `since` after the start on, behaves like this.
    #[must_use]
    pub fn then(mut self, since: Duration, behaviour: Behaviour) -> Self {
        self.acts.push((since, behaviour));
        self.acts.sort_by_key(|(since, _)| *since);
        self
    }

    fn at(&self, elapsed: Duration) -> Behaviour {
        let current = self.acts.iter().rev().find(|(since, _)| *since <= elapsed);
        current.map(|(_, behaviour)| behaviour.clone()).unwrap_or_default()
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Behaviour {
    /// All calls fail like this.
    #[must_use]
    pub fn failing(failure: Failure) -> Self {
        Self { failures: 1.0, failure, ..Self::default() }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(20),
            spread: 0.25,
            failures: 0.0,
            failure: Failure::Error,
            capacity: None,
            quota: None,
        }
    }
}

impl Provider {
    /// A provider in the time of `clock`.
    #[must_use]
    pub fn new(script: Script, clock: VirtualClock, random: Arc<dyn Random>) -> Arc<Self> {
        Arc::new(Self {
            script,
            clock,
            random,
            quota: Mutex::default(),
            in_flight: AtomicU64::new(0),
            busiest: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        })
    }

    /// One call. A call that the caller gives up is dropped.
    pub async fn call(&self) -> Answer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let behaviour = self.script.at(self.clock.elapsed());
        let _place = Place::take(self);
        let quota = behaviour.quota.map(|quota| self.count(quota));
        if let (Some(quota), Some((None, reset))) = (behaviour.quota, quota) {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            let wait = reset.saturating_duration_since(self.clock.now());
            let retry_after = quota.retry_after.then_some(wait);
            let quota = quota.reports.then_some((0, u64::from(quota.limit), reset));
            self.clock.sleep(Duration::from_millis(2)).await;
            return Answer { outcome: Outcome::Throttled { retry_after }, quota };
        }
        let tells = behaviour.quota.filter(|quota| quota.reports);
        let quota =
            tells.zip(quota).and_then(|(rule, (left, reset))| Some((left?, u64::from(rule.limit), reset)));
        let failed = self.random.unit() < behaviour.failures;
        let latency = jittered(behaviour.latency, behaviour.spread, self.random.unit());
        let outcome = match behaviour.failure {
            Failure::Reset if failed => Outcome::TRANSIENT,
            Failure::Hang if failed => pending().await,
            failure => {
                self.work(latency, behaviour.capacity).await;
                match failure {
                    _ if !failed => Outcome::Success,
                    Failure::Error => Outcome::TRANSIENT,
                    Failure::Rejected => Outcome::Rejected,
                    Failure::Nonsense => Outcome::ContractBroken,
                    Failure::Slow(longer) => {
                        self.clock.sleep(longer).await;
                        Outcome::Success
                    }
                    Failure::Reset | Failure::Hang => Outcome::TRANSIENT,
                }
            }
        };
        Answer { outcome, quota }
    }

    /// Calls that reached it.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls that it refused because its quota was spent.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// The most calls that were under way at a time.
    pub fn busiest(&self) -> u64 {
        self.busiest.load(Ordering::Relaxed)
    }

    /// Counts a call in its window: what is left (none: nothing was), and when the window ends.
    fn count(&self, quota: Quota) -> (Option<u64>, Instant) {
        let width = quota.window.as_nanos().max(1);
        let window = self.clock.elapsed().as_nanos() / width;
        let end = Duration::from_nanos(u64::try_from((window + 1).saturating_mul(width)).unwrap_or(u64::MAX));
        let mut used = self.quota.lock();
        if used.window != window {
            *used = QuotaUse { window, used: 0 };
        }
        if used.used >= quota.limit {
            return (None, self.clock.at(end));
        }
        used.used += 1;
        (Some(u64::from(quota.limit - used.used)), self.clock.at(end))
    }

    /// Works for `latency`, longer in proportion when more calls are under way than it can work on.
    async fn work(&self, latency: Duration, capacity: Option<u32>) {
        let crowd = self.in_flight.load(Ordering::Relaxed) as f64;
        let factor = capacity.map_or(1.0, |capacity| (crowd / f64::from(capacity.max(1))).max(1.0));
        let until = later(self.clock.now(), scaled(latency, factor));
        self.clock.sleep_until(until).await;
    }
}

/// One call under way.
struct Place<'a>(&'a Provider);

impl<'a> Place<'a> {
    fn take(provider: &'a Provider) -> Self {
        let now = provider.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        provider.busiest.fetch_max(now, Ordering::Relaxed);
        Self(provider)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
