//! `[circuit_breaker]` of integrations and operations, and `[breakers.NAME]`, which they may name instead.

use super::policies::at_least_one;
use crate::{
    config::{
        keys::Kind,
        reader::{Field, Reader},
        suggest::did_you_mean,
    },
    model::BreakerName,
};
use bascule_resilience::{AfterReopen, BreakerConfig, Mode, Preset, Reopen, SlowCall, Trip};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

/// Calls before a rate is looked at, when nothing is said.
const MIN_CALLS: u32 = 20;
/// The share of slow calls that trips, when nothing is said.
const SLOW_CALL_RATE: f64 = 0.8;
const MINUTE: Duration = Duration::from_secs(60);

/// The breakers of `bascule.toml`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedBreakers {
    /// By name.
    pub(crate) declared: BTreeMap<BreakerName, BreakerConfig>,
    /// Those whose openings are announced to other gateways.
    pub(crate) announced: BTreeSet<BreakerName>,
    /// Whether some may be missing, because the file could not be read whole.
    pub(crate) unread: bool,
}

/// The breaker that a `circuit_breaker` asks for.
pub(crate) struct Chosen {
    /// Its settings.
    pub(crate) config: BreakerConfig,
    /// Its name when it is a shared one.
    pub(crate) shared: Option<BreakerName>,
    /// Whether openings of its own one are announced to other gateways.
    pub(crate) announced: bool,
}

/// Reads `[breakers]`.
pub(crate) fn shared_breakers(field: &Field<'_, '_>) -> SharedBreakers {
    let mut shared = SharedBreakers::default();
    for (name, value) in field.entries().unwrap_or_default() {
        let (config, announced) = own(&value, &BreakerConfig::default(), false);
        match BreakerName::new(&name) {
            Ok(name) => {
                if announced {
                    shared.announced.insert(name.clone());
                }
                shared.declared.insert(name, config);
            }
            Err(error) => {
                value.ctx.problem(&value.path, &value.key_span, error.to_string(), "rename the breaker");
            }
        }
    }
    shared
}

/// Reads `circuit_breaker`: the name of a shared one, or a breaker that takes over from `base` what it does not set.
pub(crate) fn breaker(
    field: &Field<'_, '_>,
    base: &BreakerConfig,
    announced: bool,
    shared: &SharedBreakers,
) -> Chosen {
    if field.is_string() {
        let found = named(field, shared);
        let config = found.as_ref().and_then(|name| shared.declared.get(name)).unwrap_or(base);
        return Chosen { config: config.clone(), shared: found, announced };
    }
    let (config, announced) = own(field, base, announced);
    Chosen { config, shared: None, announced }
}

fn named(field: &Field<'_, '_>, shared: &SharedBreakers) -> Option<BreakerName> {
    let text = field.text()?;
    let found = shared.declared.get_key_value(text.value()).map(|(name, _)| name.clone());
    if found.is_none() && !shared.unread {
        let names: Vec<&str> = shared.declared.keys().map(BreakerName::as_str).collect();
        let help = match (Preset::named(text.value()), did_you_mean(text.value(), names.iter().copied())) {
            (Some(preset), _) => {
                format!("for the preset write circuit_breaker = {{ preset = \"{}\" }}", preset.name())
            }
            (None, Some(meant)) => format!("{meant} bascule.toml declares: {}", names.join(", ")),
            (None, None) if names.is_empty() => {
                "declare it in bascule.toml: [breakers.NAME]; or write the breaker here: { failures = 5 }"
                    .to_owned()
            }
            (None, None) => format!("bascule.toml declares: {}", names.join(", ")),
        };
        field.problem(format!("there is no breaker `{}`", text.written()), help);
    }
    found
}

/// Reads a breaker's table, and whether its openings are announced; what it does not set is `base`'s, or the preset's if
/// it names one.
fn own(field: &Field<'_, '_>, base: &BreakerConfig, announced: bool) -> (BreakerConfig, bool) {
    let field = field.as_kind(|kind| matches!(kind, Kind::Table(_)));
    let Some(table) = field.table() else { return (base.clone(), announced) };
    let preset = table.field("preset").and_then(|field| field.choice()).and_then(Preset::named);
    let mut config = preset.map_or_else(|| base.clone(), Preset::config);
    let min_calls = table.field("min_calls").and_then(|field| field.count());
    config.trip = trip(&table, &config.trip, min_calls);
    config.slow_call = slow_call(&table, config.slow_call, min_calls);
    if table.has("min_calls") && config.slow_call.is_none() && !matches!(config.trip, Trip::Rate { .. }) {
        table.problem(
            "min_calls",
            "nothing here counts a share of calls",
            "add `failure_rate` or `slow_call`",
        );
    }
    config.reset_after =
        table.field("reset_after").and_then(|field| field.duration()).unwrap_or(config.reset_after);
    let count = |name| table.field(name).and_then(|field| field.count());
    config.half_open_probes = count("half_open_probes").unwrap_or(config.half_open_probes);
    config.half_open_successes = count("half_open_successes").unwrap_or(config.half_open_successes);
    let half_open = table.field("half_open_timeout").and_then(|field| field.duration());
    config.max_half_open = half_open.or(config.max_half_open);
    if let Some(field) = table.field("reopen") {
        config.reopen = reopen(&field, config.reset_after);
    }
    config.mode = table.field("mode").and_then(|field| field.choice()).map_or(config.mode, mode);
    let announced = table.field("shared").and_then(|field| field.boolean()).unwrap_or(announced);
    table.finish();
    (config, announced)
}

fn mode(word: &str) -> Mode {
    match word {
        "forced-open" => Mode::ForcedOpen,
        "forced-closed" => Mode::ForcedClosed,
        "observe" => Mode::Observe,
        "off" => Mode::Off,
        _ => Mode::Auto,
    }
}

/// What opens the circuit: of three rules, the one that the keys speak of.
fn trip(table: &Reader<'_, '_>, base: &Trip, min_calls: Option<NonZeroU32>) -> Trip {
    let failures = table.field("failures").and_then(|field| field.count());
    let window = table.field("window").and_then(|field| field.duration());
    let rate = table.field("failure_rate").and_then(|field| field.number());
    let consecutive = table.field("consecutive").and_then(|field| field.boolean());
    if table.has("failure_rate") {
        for name in ["failures", "consecutive"].into_iter().filter(|name| table.has(name)) {
            table.problem(
                name,
                format!("`{name}` and `failure_rate` are different rules"),
                format!("remove `{name}` or `failure_rate`"),
            );
        }
    } else if consecutive == Some(true) && table.has("window") {
        table.problem(
            "window",
            "an unbroken run is counted without a window",
            "remove `window` or `consecutive`",
        );
    }
    let (base_failures, base_window) = match base {
        Trip::Count { failures, window } => (*failures, *window),
        Trip::Consecutive { failures } => (*failures, MINUTE),
        Trip::Rate { window, .. } => (at_least_one(5), *window),
    };
    let counted =
        || Trip::Count { failures: failures.unwrap_or(base_failures), window: window.unwrap_or(base_window) };
    if let Some(rate) = rate {
        let min_calls = min_calls.unwrap_or_else(|| base_min_calls(base));
        return Trip::Rate { rate, min_calls, window: window.unwrap_or(base_window) };
    }
    match (consecutive, base) {
        (Some(true), _) => Trip::Consecutive { failures: failures.unwrap_or(base_failures) },
        (Some(false), _) => counted(),
        (None, Trip::Consecutive { .. }) if window.is_none() => {
            Trip::Consecutive { failures: failures.unwrap_or(base_failures) }
        }
        (None, Trip::Rate { rate, min_calls: base_calls, .. }) if failures.is_none() => Trip::Rate {
            rate: *rate,
            min_calls: min_calls.unwrap_or(*base_calls),
            window: window.unwrap_or(base_window),
        },
        (None, _) => counted(),
    }
}

fn base_min_calls(base: &Trip) -> NonZeroU32 {
    match base {
        Trip::Rate { min_calls, .. } => *min_calls,
        _ => at_least_one(MIN_CALLS),
    }
}

fn slow_call(
    table: &Reader<'_, '_>,
    base: Option<SlowCall>,
    min_calls: Option<NonZeroU32>,
) -> Option<SlowCall> {
    let threshold = table.field("slow_call").and_then(|field| field.duration());
    let rate = table.field("slow_call_rate").and_then(|field| field.number());
    if base.is_none() && table.has("slow_call_rate") && !table.has("slow_call") {
        table.problem("slow_call_rate", "nothing says which calls are slow", "add slow_call = \"2s\"");
    }
    let start = match (base, threshold) {
        (Some(base), _) => base,
        (None, Some(threshold)) => {
            SlowCall { threshold, rate: SLOW_CALL_RATE, min_calls: at_least_one(MIN_CALLS) }
        }
        (None, None) => return None,
    };
    Some(SlowCall {
        threshold: threshold.unwrap_or(start.threshold),
        rate: rate.unwrap_or(start.rate),
        min_calls: min_calls.unwrap_or(start.min_calls),
    })
}

fn reopen(field: &Field<'_, '_>, reset_after: Duration) -> Option<Reopen> {
    let table = field.table()?;
    let small = |name| table.field(name).and_then(|field| field.small());
    let duration = |name| table.field(name).and_then(|field| field.duration());
    let number = |name| table.field(name).and_then(|field| field.number());
    let interval = duration("interval").unwrap_or(reset_after);
    let reopen = Reopen {
        fixed: small("fixed").unwrap_or(3),
        interval,
        exponential: small("exponential").unwrap_or(5),
        multiplier: number("multiplier").unwrap_or(2.0),
        max_interval: duration("max_interval").unwrap_or(interval.max(60 * MINUTE)),
        jitter: number("jitter").unwrap_or(0.2),
        then: match table.field("then").and_then(|field| field.choice()) {
            Some("hold") => AfterReopen::Hold,
            _ => AfterReopen::Cap,
        },
    };
    if reopen.max_interval < reopen.interval {
        table.problem("max_interval", "`max_interval` is shorter than `interval`", "raise `max_interval`");
    }
    table.finish();
    Some(reopen)
}
