//! Breaker settings by the kind of dependency, for configurations that name one instead of numbers.
//!
//! The plain presets differ in how many failures they bear and how long they rest. Those that end in `-backoff` rest
//! for minutes and back off further while the dependency stays down. A preset is a starting point: explicit settings
//! are laid over it by whoever reads the configuration.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::breaker::{AfterReopen, BreakerConfig, Reopen, Trip};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The longest stay that a backing-off preset grows to: a day.
const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A named set of breaker settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// `external-api`: 5 failures, 60 s.
    ExternalApi,
    /// `payment`: 3 failures, 30 s.
    Payment,
    /// `analytics`: 10 failures, 5 min.
    Analytics,
    /// `llm`: 5 failures, 60 s, closed by 2 successes.
    Llm,
    /// `grpc`: 5 failures, 60 s.
    Grpc,
    /// `postgresql`: 10 failures, 30 s.
    Postgresql,
    /// `redis`: 3 failures, 10 s.
    Redis,
    /// `elasticsearch`: 5 failures, 60 s.
    Elasticsearch,
    /// `external-api-backoff`: 3 failures, 3 probes 5 min apart, then 5 ever rarer ones.
    ExternalApiBackoff,
    /// `database-backoff`: 5 failures, 5 probes a minute apart, then 3 ever rarer ones.
    DatabaseBackoff,
    /// `critical-backoff`: 2 failures, 2 probes 10 min apart, then 4 ever rarer ones.
    CriticalBackoff,
    /// `http-client-backoff`: 3 failures, 3 probes 2 min apart, then 4 ever rarer ones.
    HttpClientBackoff,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 12] = [
        Self::ExternalApi,
        Self::Payment,
        Self::Analytics,
        Self::Llm,
        Self::Grpc,
        Self::Postgresql,
        Self::Redis,
        Self::Elasticsearch,
        Self::ExternalApiBackoff,
        Self::DatabaseBackoff,
        Self::CriticalBackoff,
        Self::HttpClientBackoff,
    ];

    /// The preset of that name, if there is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// The names of all presets, for messages about an unknown one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// Its name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExternalApi => "external-api",
            Self::Payment => "payment",
            Self::Analytics => "analytics",
            Self::Llm => "llm",
            Self::Grpc => "grpc",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
            Self::ExternalApiBackoff => "external-api-backoff",
            Self::DatabaseBackoff => "database-backoff",
            Self::CriticalBackoff => "critical-backoff",
            Self::HttpClientBackoff => "http-client-backoff",
        }
    }

    /// Its settings.
    #[must_use]
    pub fn config(self) -> BreakerConfig {
        match self {
            Self::ExternalApi | Self::Grpc | Self::Elasticsearch => resting(5, MINUTE),
            Self::Payment => resting(3, 30 * SECOND),
            Self::Analytics => resting(10, 5 * MINUTE),
            Self::Llm => BreakerConfig { half_open_successes: count(2), ..resting(5, MINUTE) },
            Self::Postgresql => resting(10, 30 * SECOND),
            Self::Redis => resting(3, 10 * SECOND),
            Self::ExternalApiBackoff => backing_off(3, 5 * MINUTE, 3, 5),
            Self::DatabaseBackoff => backing_off(5, MINUTE, 5, 3),
            Self::CriticalBackoff => backing_off(2, 10 * MINUTE, 2, 4),
            Self::HttpClientBackoff => backing_off(3, 2 * MINUTE, 3, 4),
        }
    }
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn resting(failures: u32, reset_after: Duration) -> BreakerConfig {
    let trip = Trip::Count { failures: count(failures), window: MINUTE };
    BreakerConfig { trip, reset_after, ..BreakerConfig::default() }
}

/// `probes` at a distance of `interval`, then `exponential` at twice the distance each time.
fn backing_off(failures: u32, interval: Duration, probes: u32, exponential: u32) -> BreakerConfig {
    let reopen = Reopen {
        // The first of the probes ends the first opening; the schedule is about those that follow.
        fixed: probes.saturating_sub(1),
        interval,
        exponential,
        multiplier: 2.0,
        max_interval: MAX_INTERVAL,
        jitter: 0.2,
        then: AfterReopen::Cap,
    };
    BreakerConfig { reopen: Some(reopen), ..resting(failures, interval) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::breaker::{Breaker, RetryPhase, State};

    #[test]
    fn every_preset_is_found_by_its_name_and_no_other() {
        for preset in Preset::ALL {
            assert_eq!(Preset::named(preset.name()), Some(preset));
        }
        assert_eq!(Preset::named("External-API"), None);
        assert_eq!(Preset::names().count(), Preset::ALL.len());
    }

    #[test]
    fn presets_have_the_numbers_they_promise() {
        let check = |name: &str, failures: u32, seconds: u64, successes: u32| {
            let config = Preset::named(name).unwrap().config();
            assert_eq!(config.trip, Trip::Count { failures: count(failures), window: MINUTE }, "{name}");
            assert_eq!(config.reset_after.as_secs(), seconds, "{name}");
            assert_eq!(config.half_open_successes.get(), successes, "{name}");
        };
        check("external-api", 5, 60, 3);
        check("payment", 3, 30, 3);
        check("analytics", 10, 300, 3);
        check("llm", 5, 60, 2);
        check("grpc", 5, 60, 3);
        check("postgresql", 10, 30, 3);
        check("redis", 3, 10, 3);
        check("elasticsearch", 5, 60, 3);
        check("external-api-backoff", 3, 300, 3);
        check("database-backoff", 5, 60, 3);
        check("critical-backoff", 2, 600, 3);
        check("http-client-backoff", 3, 120, 3);
    }

    /// The minutes of each stay in the open state, and its phase, while every probe fails.
    fn stays(name: &str) -> Vec<(u64, RetryPhase)> {
        let breaker = Breaker::new(Preset::named(name).unwrap().config(), |_| ());
        let mut now = Instant::now();
        while breaker.state(now) == State::Closed {
            breaker.enter(now, 0.5).unwrap().failure(now, SECOND, 0.5);
        }
        let mut stays = Vec::new();
        for _ in 0..10 {
            let open = breaker.snapshot(now);
            let due = open.next_probe_at.unwrap();
            stays.push((due.duration_since(now).as_secs() / 60, open.retry_phase.unwrap()));
            now = due;
            breaker.enter(now, 0.5).unwrap().failure(now, SECOND, 0.5);
        }
        stays
    }

    #[test]
    fn backing_off_goes_from_fixed_to_growing_intervals_and_stays_at_the_longest() {
        let check = |name: &str, fixed: &[u64], exponential: &[u64]| {
            let mut expected: Vec<_> = fixed.iter().map(|minutes| (*minutes, RetryPhase::Fixed)).collect();
            expected.extend(exponential.iter().map(|minutes| (*minutes, RetryPhase::Exponential)));
            expected.resize(10, (*exponential.last().unwrap(), RetryPhase::Capped));
            assert_eq!(stays(name), expected, "{name}");
        };
        check("external-api-backoff", &[5, 5, 5], &[10, 20, 40, 80, 160]);
        check("database-backoff", &[1, 1, 1, 1, 1], &[2, 4, 8]);
        check("critical-backoff", &[10, 10], &[20, 40, 80, 160]);
        check("http-client-backoff", &[2, 2, 2], &[4, 8, 16, 32]);
    }

    #[test]
    fn only_backing_off_is_jittered_and_scheduled() {
        for preset in Preset::ALL {
            let jitter = preset.config().reopen.map(|reopen| reopen.jitter);
            assert_eq!(jitter, preset.name().ends_with("-backoff").then_some(0.2), "{}", preset.name());
        }
    }
}
