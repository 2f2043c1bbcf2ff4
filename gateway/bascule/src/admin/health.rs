//! Status and health of integrations, as `contract.md` §4 shapes them.

use crate::pipeline::{Generation, LiveIntegration, Services};
use bascule_resilience::{Demand, Forecast, LedgerEntry, LimitedBy, State};
use bascule_shared::Shared;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Error rates above this make an integration degraded.
const DEGRADED_FROM: f64 = 0.1;

pub(super) fn status(services: &Services, generation: &Generation) -> Value {
    let mut integrations: Vec<&Arc<LiveIntegration>> = generation.integrations.values().collect();
    integrations.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    let listed: Vec<Value> = integrations
        .into_iter()
        .map(|integration| {
            let error_rate = integration.health.snapshot(services.now()).error_rate;
            let (state, status) = judge(services, integration, error_rate);
            json!({
                "name": integration.settings.name.as_str(),
                "type": "rest",
                "status": status,
                "circuit_state": state.to_string(),
                "error_rate": rounded(error_rate),
            })
        })
        .collect();
    let mut status = json!({ "integrations": listed });
    if let (Some(server), Some(status)) = (services.peers.server(), status.as_object_mut()) {
        status.insert("shared".to_owned(), shared(server));
    }
    status
}

/// The server that is shared with other gateways.
fn shared(server: &Shared) -> Value {
    let health = server.health();
    json!({
        "server": server.server().to_string(),
        "connected": health.connected,
        "for_ms": whole_millis(health.lasts),
        "connections": health.connections,
        "answered": health.answered,
        "timed_out": health.timed_out,
        "lost": health.lost,
        "turned_away": health.turned_away,
        "latency_ms": millis(Some(health.latency)),
        "problem": health.problem,
    })
}

pub(super) fn health(services: &Services, integration: &LiveIntegration) -> Value {
    let now = services.now();
    let health = integration.health.snapshot(now);
    let (state, status) = judge(services, integration, health.error_rate);
    let breaker = integration.breaker.snapshot(now);
    let next_probe_at = date(breaker.next_probe_at, now);
    let plugins: Vec<Value> = integration
        .plugins
        .iter()
        .map(|live| {
            let plugin = &live.bound.plugin;
            let phases: Vec<&str> = plugin.phases().into_iter().map(|phase| phase.as_str()).collect();
            json!({
                "name": plugin.name(),
                "digest": plugin.digest(),
                "phases": phases,
                "swapped_at": date(live.swapped.as_ref().map(|swapped| swapped.at), now),
                "rolled_back_from": live.rolled_back_from.as_deref(),
            })
        })
        .collect();
    let mut shown = json!({
        "name": integration.settings.name.as_str(),
        "status": status,
        "circuit_state": state.to_string(),
        "latency_p50": millis(health.p50),
        "latency_p99": millis(health.p99),
        "success_rate": rounded(health.success_rate),
        "last_error": *integration.last_error.lock(),
        "retry_phase": breaker.retry_phase.map(|phase| phase.to_string()),
        "next_probe_at": next_probe_at,
        "rate_limit_remaining": integration.limiter.remaining(now),
        "in_flight": integration.bulkhead.in_flight(),
        "plugins": plugins,
        "failures": breaker.failures,
        "last_failure": date(breaker.last_failure, now),
        "last_success": date(breaker.last_success, now),
        "rate_limits": rate_limits(integration, now),
        "rate_limit_forecast": integration.limiter.forecast(now).map(|forecast| forecast_json(&forecast)),
        "waiting": integration.bulkhead.waiting(),
        "concurrency_limit": integration.bulkhead.limit(),
    });
    if let (true, Some(shown)) = (breaker.opened_elsewhere, shown.as_object_mut()) {
        shown.insert("opened_by".to_owned(), "another gateway".into());
    }
    shown
}

/// A point in time as people and programs write it.
fn date(at: Option<Instant>, now: Instant) -> Option<String> {
    let at = at?;
    let ahead = SystemTime::now() + at.saturating_duration_since(now);
    Some(httpdate::fmt_http_date(ahead - now.saturating_duration_since(at)))
}

/// The rate limit that runs out first, if calls go on as they have lately.
fn forecast_json(forecast: &Forecast) -> Value {
    json!({
        "name": forecast.budget.to_string(),
        "remaining": forecast.remaining,
        "resets_in_ms": whole_millis(forecast.resets_in),
        "calls_per_second": rounded(forecast.rate),
        "exhausted_in_ms": forecast.exhausted_in.map(whole_millis),
    })
}

/// The integration's rate limits, and those that operations have of their own.
fn rate_limits(integration: &LiveIntegration, now: Instant) -> Vec<Value> {
    let mut operations: Vec<_> = integration.operations.values().collect();
    operations.sort_by(|a, b| a.name.cmp(&b.name));
    let own = operations.into_iter().filter_map(|operation| {
        let (limiter, _) = operation.limiter.as_ref()?;
        let name = operation.name.as_str();
        Some(
            limiter
                .ledger(now)
                .into_iter()
                .map(move |entry| entry_json(&format!("{name}: {}", entry.budget), &entry)),
        )
    });
    let whole = integration.limiter.ledger(now).into_iter();
    whole.map(|entry| entry_json(&entry.budget.to_string(), &entry)).chain(own.flatten()).collect()
}

fn entry_json(name: &str, entry: &LedgerEntry) -> Value {
    json!({
        "name": name,
        "limit": entry.limit,
        "remaining": entry.remaining,
        "used": entry.used,
        "resets_in_ms": whole_millis(entry.resets_in),
    })
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Unhealthy: the circuit is open. Degraded: it is half-open, one of an operation's own is not closed,
/// the provider's quota is spent, or more than a tenth of the last minute's calls failed.
fn judge(services: &Services, integration: &LiveIntegration, error_rate: f64) -> (State, &'static str) {
    let now = services.now();
    let state = integration.breaker.state(now);
    let others =
        integration.operations.values().any(|operation| operation.breaker.state(now) != State::Closed);
    let held = integration
        .limiter
        .check(now, Demand::default())
        .is_err_and(|limited| matches!(limited.by, LimitedBy::Hold | LimitedBy::Quota));
    let status = match state {
        State::Open => "unhealthy",
        State::HalfOpen => "degraded",
        State::Closed if others || held || error_rate > DEGRADED_FROM => "degraded",
        State::Closed => "healthy",
    };
    (state, status)
}

/// Milliseconds; 0 when there was no call in the last minute.
fn millis(span: Option<Duration>) -> f64 {
    span.map_or(0.0, |span| (span.as_secs_f64() * 1_000_000.0).round() / 1000.0)
}

fn rounded(rate: f64) -> f64 {
    (rate * 10_000.0).round() / 10_000.0
}
