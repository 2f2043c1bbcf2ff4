//! Whole integrations against scripted providers, in virtual time: outages, brown-outs, flapping, storms of 429, hanging
//! and slow answers, resets. Minutes of traffic each, the real mechanisms of the crate, and the same trace for the same
//! seed, octet for octet.

#[path = "simulation/world.rs"]
mod world;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bascule_resilience::simulation::{Behaviour, Failure, Quota, Script};
use bascule_resilience::{
    AdaptiveLimit, BreakerConfig, BulkheadConfig, GuardBuilder, HedgeAfter, HedgeConfig, RateLimiterConfig,
    RetryPolicy, State,
};
use world::{Traffic, World, play};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

const HUNDRED_PER_SECOND: Traffic =
    Traffic { per_second: 100, lasts: Duration::from_secs(180), patience: None };

/// What an integration has that says nothing: the gateway's defaults.
fn defaults(guard: GuardBuilder) -> GuardBuilder {
    guard
        .circuit_breaker(BreakerConfig::default())
        .retry(RetryPolicy::default())
        .bulkhead(BulkheadConfig::default())
        .rate_limit(RateLimiterConfig::default(), Duration::ZERO)
        .timeout(10 * SECOND)
}

/// Healthy, but for `behaviour` from one second to another.
fn trouble(from: u32, to: u32, behaviour: Behaviour) -> Script {
    Script::new().then(from * SECOND, behaviour).then(to * SECOND, Behaviour::default())
}

fn error() -> Behaviour {
    Behaviour::failing(Failure::Error)
}

#[test]
fn the_same_seed_gives_the_same_trace_octet_for_octet() {
    let scripts = [
        trouble(
            5,
            20,
            Behaviour { failures: 0.3, latency: 300 * MILLI, spread: 0.9, ..Behaviour::default() },
        ),
        trouble(5, 20, Behaviour::failing(Failure::Reset)),
        trouble(5, 20, Behaviour::failing(Failure::Hang)),
        trouble(5, 20, storm()),
    ];
    let traffic = Traffic { per_second: 50, lasts: 30 * SECOND, patience: Some(3 * SECOND) };
    for script in scripts {
        let run = |seed| play(seed, script.clone(), traffic, |guard| defaults(guard).hedge(hedge())).trace;
        let (first, again, other) = (run(7), run(7), run(8));
        assert!(first.lines().count() > 2000, "{}", first.lines().count());
        assert!(first == again, "one seed, two traces");
        assert!(first != other, "the seed decides nothing");
    }
}

#[test]
fn an_outage_costs_the_provider_no_more_than_single_attempts_would_and_the_circuit_closes_within_one_interval()
 {
    let outage = trouble(60, 120, error());
    let world = play(1, outage.clone(), HUNDRED_PER_SECOND, defaults);
    let single = play(1, outage, HUNDRED_PER_SECOND, |guard| guard.timeout(10 * SECOND));
    let during = |world: &World| world.sent_between(60 * SECOND, 120 * SECOND);
    let (sent, of_single) = (during(&world), during(&single));
    assert_eq!(of_single, 6000, "a hundred a second for a minute");
    assert!(sent * 10 <= of_single * 12, "{sent} calls against {of_single} of single attempts");
    let closed = world.closed_at().unwrap();
    let interval = BreakerConfig::default().reset_after;
    assert!(closed > 120 * SECOND && closed <= 120 * SECOND + interval, "closed at {closed:?}");
    assert!(world.ends_closed());
    assert!(world.refused > 4000, "the circuit spared the provider {} calls", world.refused);
}

#[test]
fn retries_without_a_budget_would_be_the_storm_that_the_budget_prevents() {
    let brown_out = trouble(10, 70, Behaviour { failures: 1.0, ..Behaviour::default() });
    let traffic = Traffic { per_second: 100, lasts: 60 * SECOND, patience: None };
    // No circuit: only the budget stands between the retries and the provider.
    let sent = |ratio, floor| {
        let budget = bascule_resilience::BudgetConfig { ratio, floor, window: 10 * SECOND };
        play(3, brown_out.clone(), traffic, |guard| guard.retry(RetryPolicy::default()).retry_budget(budget))
            .sent
    };
    let (bounded, unbounded) = (sent(0.2, 10), sent(100.0, 0));
    assert!(bounded <= 6000 * 13 / 10, "{bounded}");
    assert!(unbounded > 6000 * 25 / 10, "{unbounded}");
}

#[test]
fn a_flapping_provider_never_leaves_the_circuit_stuck() {
    let mut script = Script::new();
    for period in 0..20 {
        script =
            script.then(period * 6 * SECOND, error()).then((period * 6 + 2) * SECOND, Behaviour::default());
    }
    let config = BreakerConfig { reset_after: SECOND, ..BreakerConfig::default() };
    for seed in 0..20 {
        let world = play(seed, script.clone(), HUNDRED_PER_SECOND, |guard| {
            defaults(guard).circuit_breaker(config.clone())
        });
        assert!(world.ends_closed(), "seed {seed}: {:?}", world.changes.last());
        assert!(world.changes.len() >= 40, "seed {seed}: it opened and closed with the provider");
        assert!(world.good * 2 > world.calls(), "seed {seed}: {} of {}", world.good, world.calls());
    }
}

#[test]
fn a_hanging_provider_ties_up_no_more_than_the_bulkhead_allows_and_callers_are_told_soon() {
    let hang = trouble(10, 60, Behaviour::failing(Failure::Hang));
    let world = play(5, hang, HUNDRED_PER_SECOND, |guard| {
        let places = BulkheadConfig {
            max: NonZeroUsize::new(40).unwrap(),
            max_waiting: 20,
            ..BulkheadConfig::default()
        };
        defaults(guard).bulkhead(places).attempt_timeout(SECOND).timeout(3 * SECOND)
    });
    assert!(world.busiest <= 40, "{} at a time", world.busiest);
    assert!(world.ends_closed());
    // Half a minute of the recovery is lost to the probe that came too early.
    assert!(world.good > 11_000, "{}", world.good);
}

#[test]
fn half_open_sends_its_probes_one_by_one_to_a_slow_provider() {
    // Probes that take two seconds each, a hundred callers a second: every one of them would like to be the probe.
    let script = Script::new()
        .then(10 * SECOND, error())
        .then(15 * SECOND, Behaviour { latency: 2 * SECOND, ..Behaviour::default() });
    let config = BreakerConfig { reset_after: 5 * SECOND, ..BreakerConfig::default() };
    let traffic = Traffic { per_second: 100, lasts: 60 * SECOND, patience: None };
    let world = play(6, script, traffic, |guard| guard.circuit_breaker(config));
    let (mut half_open, mut out, mut probes) = (false, 0, 0);
    for event in world.trace.lines() {
        half_open = if event.contains(" -> ") { event.contains("-> half-open") } else { half_open };
        let attempt = half_open && event.contains(" attempt 1");
        if attempt && event.ends_with(" attempt 1") {
            out += 1;
            probes += 1;
        } else if attempt {
            out -= 1;
        }
        assert!(out <= 1, "{event}");
    }
    assert!(probes >= 3, "it took {probes} probes");
    assert!(world.ends_closed());
}

#[test]
fn a_storm_of_429_is_waited_out_and_does_not_open_the_circuit() {
    let world = play(9, trouble(30, 90, storm()), HUNDRED_PER_SECOND, defaults);
    assert!(world.changes.is_empty(), "{:?}", world.changes);
    let naive = play(9, trouble(30, 90, storm()), HUNDRED_PER_SECOND, |guard| guard.timeout(10 * SECOND));
    assert!(world.throttled * 20 < naive.throttled, "{} against {}", world.throttled, naive.throttled);
}

#[test]
fn a_quota_with_headers_is_never_overrun_once_it_is_known() {
    let quota = Quota { limit: 100, window: 10 * SECOND, reports: true, retry_after: false };
    let script = Script::new().then(Duration::ZERO, Behaviour { quota: Some(quota), ..Behaviour::default() });
    let traffic = Traffic { per_second: 50, lasts: 60 * SECOND, patience: None };
    for seed in 0..10 {
        let naive = play(seed, script.clone(), traffic, |guard| guard.timeout(10 * SECOND));
        let world = play(seed, script.clone(), traffic, defaults);
        assert!(naive.throttled > 2000, "{}", naive.throttled);
        assert_eq!(world.throttled, 0, "seed {seed}");
        assert!(world.good >= 590, "seed {seed}: the quota is used: {}", world.good);
    }
}

#[test]
fn hedges_cut_the_tail_of_a_provider_that_sometimes_dawdles() {
    let dawdles = Behaviour { failures: 0.03, failure: Failure::Slow(2 * SECOND), ..Behaviour::default() };
    let script = Script::new().then(Duration::ZERO, dawdles);
    let plain = play(11, script.clone(), HUNDRED_PER_SECOND, defaults);
    let hedged = play(11, script, HUNDRED_PER_SECOND, |guard| defaults(guard).hedge(hedge()));
    assert!(plain.quantile(0.99) > SECOND, "{:?}", plain.quantile(0.99));
    assert!(hedged.quantile(0.99) < 200 * MILLI, "{:?}", hedged.quantile(0.99));
    assert!(hedged.sent * 100 <= plain.sent * 121, "for {} instead of {} calls", hedged.sent, plain.sent);
}

#[test]
fn an_adaptive_limit_keeps_a_small_provider_fast() {
    // It can work on 10 at a time; beyond that everything takes longer in proportion.
    let small = Behaviour { capacity: Some(10), latency: 50 * MILLI, ..Behaviour::default() };
    let script = Script::new().then(Duration::ZERO, small);
    let traffic = Traffic { per_second: 400, lasts: 60 * SECOND, patience: Some(2 * SECOND) };
    let fixed = play(13, script.clone(), traffic, |guard| {
        guard.bulkhead(BulkheadConfig { max_waiting: 0, ..BulkheadConfig::default() })
    });
    let adaptive = play(13, script, traffic, |guard| {
        let limit = AdaptiveLimit::default();
        guard.bulkhead(BulkheadConfig { max_waiting: 0, adaptive: Some(limit), ..BulkheadConfig::default() })
    });
    assert!(adaptive.busiest < fixed.busiest / 4, "{} against {}", adaptive.busiest, fixed.busiest);
    assert!(adaptive.quantile(0.5) < 200 * MILLI, "{:?}", adaptive.quantile(0.5));
    assert!(adaptive.good > fixed.good, "{} against {}", adaptive.good, fixed.good);
}

#[test]
fn answers_that_make_no_sense_open_the_circuit_and_refusals_do_not() {
    let run = |failure| play(15, trouble(10, 30, Behaviour::failing(failure)), HUNDRED_PER_SECOND, defaults);
    let opened = |world: &World| world.changes.iter().any(|(_, to)| *to == State::Open);
    assert!(opened(&run(Failure::Nonsense)));
    assert!(!opened(&run(Failure::Rejected)));
}

/// Ten calls a second are borne; the others are told to come back.
fn storm() -> Behaviour {
    let quota = Quota { limit: 10, window: SECOND, reports: false, retry_after: true };
    Behaviour { quota: Some(quota), ..Behaviour::default() }
}

fn hedge() -> HedgeConfig {
    HedgeConfig { after: HedgeAfter::Percentile { q: 0.95, at_least: 10 * MILLI }, max: NonZeroU32::MIN }
}
