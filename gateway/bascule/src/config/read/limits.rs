//! What bounds the traffic: `[rate_limit]`, `[concurrency]`, `hedge`, `priority`, `cost`.

use super::headers::any_header_name;
use crate::config::{
    keys::Kind,
    reader::{Field, Reader},
    settings::{RateLimit, Timeouts},
};
use bascule_resilience::{
    AdaptiveLimit, Algorithm, BulkheadConfig, HedgeAfter, HedgeConfig, Priority, RateLimiterConfig,
    RateWindow,
};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// Most windows of one budget.
const WINDOWS_MAX: usize = 8;
/// The soonest hedge by percentile when nothing is said.
const HEDGE_AT_LEAST: Duration = Duration::from_millis(10);

/// Reads `[rate_limit]`.
pub(crate) fn rate_limit(field: &Field<'_, '_>) -> Option<RateLimit> {
    let table = field.table()?;
    let first = window(&table);
    let mut windows: Vec<RateWindow> = first.iter().cloned().collect();
    if let Some(field) = table.field("windows") {
        let items = field.items().unwrap_or_default();
        if items.len() >= WINDOWS_MAX {
            field.problem(format!("a budget has at most {WINDOWS_MAX} windows"), "remove the widest ones");
        }
        for item in items {
            let Some(table) = item.table() else { continue };
            windows.extend(window(&table));
            table.finish();
        }
    }
    let reserve = table.field("reserve").and_then(|field| field.number()).unwrap_or(0.0);
    let max_wait = table.field("max_wait").and_then(|field| field.duration()).unwrap_or_default();
    let header = table.field("header").and_then(|field| any_header_name(&field));
    let quota_reset_max = table.field("quota_reset_max").and_then(|field| field.duration());
    let shared = table.field("shared").and_then(|field| field.boolean()).unwrap_or(false);
    table.finish();
    let longest = windows.iter().map(|window| window.window).max();
    first.map(|first| RateLimit {
        limiter: RateLimiterConfig { windows, reserve },
        max_wait,
        header,
        quota_reset_max: quota_reset_max.or(longest).unwrap_or(first.window),
        shared,
    })
}

/// Reads `rate_limit` of an operation: its own budget, to which what the provider says about its quotas does not belong.
pub(crate) fn operation_rate_limit(field: &Field<'_, '_>) -> Option<RateLimit> {
    if let Some(table) = field.is_table().then(|| field.table()).flatten() {
        for name in ["header", "quota_reset_max"].iter().filter(|name| table.has(name)) {
            let message = format!("`{name}` is about the provider's quotas, which are the integration's");
            table.problem(name, message, "move it to the integration's [rate_limit]");
        }
    }
    rate_limit(field)
}

/// Reads a limit that is one window.
pub(crate) fn one_window(field: &Field<'_, '_>) -> Option<RateWindow> {
    let table = field.table()?;
    let window = window(&table);
    table.finish();
    window
}

fn window(table: &Reader<'_, '_>) -> Option<RateWindow> {
    let requests = table.required("requests", "write requests = 100").and_then(|field| field.count());
    let window = table.required("window", "write window = \"1m\"").and_then(|field| field.duration());
    let burst = table.field("burst").and_then(|field| field.count());
    let (requests, window) = (requests?, window?);
    if window.as_nanos() / u128::from(requests.get()) == 0 {
        table.problem("requests", "more than one request per nanosecond", "widen `window`");
    }
    Some(RateWindow { requests, window, burst: burst.unwrap_or(requests) })
}

/// Reads `cost`, and says where a budget could never pay it.
pub(crate) fn cost(
    table: &Reader<'_, '_>,
    priority: Priority,
    budgets: [Option<&RateLimit>; 2],
) -> NonZeroU32 {
    let Some(cost) = table.field("cost").and_then(|field| field.count()) else { return NonZeroU32::MIN };
    let budgets = || budgets.into_iter().flatten().map(|budget| &budget.limiter);
    if !budgets().all(|limiter| limiter.can_ever(cost, Priority::High)) {
        table.problem(
            "cost",
            "no call could ever go: a rate limit allows smaller bursts only",
            "lower `cost`, or raise `burst` of the rate limit",
        );
    } else if !budgets().all(|limiter| limiter.can_ever(cost, priority)) {
        table.problem(
            "cost",
            "only calls of high priority could ever go: the rest of a burst is reserved for them",
            "lower `cost` or `reserve`, or give the operation priority = \"high\"",
        );
    }
    cost
}

/// Reads `priority`.
pub(crate) fn priority(table: &Reader<'_, '_>) -> Option<Priority> {
    table.field("priority").and_then(|field| field.choice()).and_then(Priority::parse)
}

/// Reads `[hedge]`.
pub(crate) fn hedge(field: &Field<'_, '_>) -> Option<HedgeConfig> {
    let table = field.table()?;
    let after = table.field("after").and_then(|field| field.duration());
    let percentile = table.field("percentile").and_then(|field| field.number());
    let at_least = table.field("at_least").and_then(|field| field.duration());
    let max = table.field("max").and_then(|field| field.count()).unwrap_or(NonZeroU32::MIN);
    if table.has("after") && table.has("percentile") {
        table.problem("percentile", "`after` and `percentile` are different rules", "remove one of them");
    }
    if !table.has("after") && !table.has("percentile") {
        let help = "write after = \"200ms\" or percentile = 0.95";
        field.problem("nothing says when an attempt is doubled", help);
    }
    if table.has("at_least") && !table.has("percentile") {
        table.problem("at_least", "only `percentile` needs a lower bound", "remove it");
    }
    table.finish();
    let after = match (after, percentile) {
        (Some(after), _) => HedgeAfter::Delay(after),
        (None, Some(q)) => HedgeAfter::Percentile { q, at_least: at_least.unwrap_or(HEDGE_AT_LEAST) },
        (None, None) => return None,
    };
    Some(HedgeConfig { after, max })
}

/// Notes a hedge that is never sent, because every attempt has ended by then.
pub(crate) fn check_hedge(table: &Reader<'_, '_>, hedge: Option<&HedgeConfig>, timeouts: &Timeouts) {
    let Some(HedgeAfter::Delay(after)) = hedge.map(|hedge| hedge.after) else { return };
    let (name, limit) = timeouts
        .attempt
        .filter(|limit| *limit < timeouts.whole)
        .map_or(("timeout", timeouts.whole), |limit| ("attempt_timeout", limit));
    if table.has("hedge") && after >= limit {
        table.warn("hedge", format!("no attempt takes that long: `{name}` ends it before"), "lower `after`");
    }
}

/// Reads `hedge` of an operation; absent, the integration's where the method only reads.
pub(crate) fn operation_hedge(
    table: &Reader<'_, '_>,
    base: Option<&HedgeConfig>,
    reads: bool,
    safe: bool,
) -> Option<HedgeConfig> {
    let Some(field) = table.field("hedge") else { return base.filter(|_| reads).cloned() };
    if field.is_string() {
        field.as_kind(|kind| matches!(kind, Kind::Choice { .. })).choice();
        return None;
    }
    if !safe {
        field.problem(
            "sending it twice at a time may do harm, so it is not hedged",
            "remove it; retry_safe = true says that sending it twice does no harm (an idempotency key is not enough: \
             many providers refuse a second call while the first is under way)",
        );
    }
    hedge(&field.as_kind(|kind| matches!(kind, Kind::Table(_))))
}

/// Reads `[concurrency]`; absent, its defaults.
pub(crate) fn concurrency(field: Option<Field<'_, '_>>) -> BulkheadConfig {
    let mut config = BulkheadConfig::default();
    let Some(table) = field.and_then(|field| field.table()) else { return config };
    config.max = size(&table, "max").unwrap_or(config.max);
    let waiting = table.field("max_waiting").and_then(|field| field.small());
    config.max_waiting = waiting.and_then(|n| usize::try_from(n).ok()).unwrap_or(config.max_waiting);
    config.shed = table.field("shed").and_then(|field| field.boolean()).unwrap_or(config.shed);
    config.adaptive = table.field("adaptive").and_then(|field| adaptive(&field, config.max));
    table.finish();
    config
}

fn adaptive(field: &Field<'_, '_>, max: NonZeroUsize) -> Option<AdaptiveLimit> {
    let mut limit = AdaptiveLimit::default();
    if field.is_string() {
        limit.algorithm = algorithm(&field.as_kind(|kind| matches!(kind, Kind::Choice { .. })))?;
        limit.initial = limit.initial.min(max);
        return Some(limit);
    }
    let table = field.as_kind(|kind| matches!(kind, Kind::Table(_))).table()?;
    limit.algorithm = table.field("algorithm").and_then(|field| algorithm(&field)).unwrap_or_default();
    limit.min = size(&table, "min").unwrap_or(limit.min);
    limit.initial = size(&table, "initial").unwrap_or_else(|| limit.initial.min(max).max(limit.min));
    let number = |name| table.field(name).and_then(|field| field.number());
    limit.tolerance = number("tolerance").unwrap_or(limit.tolerance);
    limit.backoff = number("backoff").unwrap_or(limit.backoff);
    limit.latency = table.field("latency").and_then(|field| field.duration());
    let (of_aimd, of_gradient) = (["backoff", "latency"], ["tolerance"]);
    let strange: &[&str] = match limit.algorithm {
        Algorithm::Gradient => &of_aimd,
        Algorithm::Aimd => &of_gradient,
    };
    for name in strange.iter().filter(|name| table.has(name)) {
        table.problem(name, format!("`{name}` is a key of the other algorithm"), "remove it");
    }
    if limit.min > max || limit.initial > max || limit.initial < limit.min {
        let name = if table.has("initial") { "initial" } else { "min" };
        table.problem(name, "`min` ≤ `initial` ≤ `max` does not hold", "change one of them");
    }
    table.finish();
    Some(limit)
}

fn algorithm(field: &Field<'_, '_>) -> Option<Algorithm> {
    match field.choice()? {
        "aimd" => Some(Algorithm::Aimd),
        _ => Some(Algorithm::Gradient),
    }
}

fn size(table: &Reader<'_, '_>, name: &'static str) -> Option<NonZeroUsize> {
    table.field(name).and_then(|field| field.count()).and_then(|n| NonZeroUsize::try_from(n).ok())
}
