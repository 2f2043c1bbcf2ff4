//! `[cache]` of integrations and `cache` of operations.

use super::vary_by::vary_by;
use crate::{
    config::{
        keys::Kind,
        reader::{Field, Reader},
        settings::{CachePolicy, CacheRule, HttpCache, Rung, VaryBy},
        suggest::did_you_mean,
    },
    model::OperationName,
};
use http::HeaderName;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long expired entries are kept when the ladder names `"cache"` and nothing is said.
const KEEP_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls of one operation that warm the cache up: they are made at every start, at the provider's expense.
const WARM_UP_MAX: usize = 1_000;

/// Who decides how long answers are fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Rule,
    Http,
}

impl Mode {
    fn read(table: &Reader<'_, '_>) -> Option<Self> {
        let word = table.field("mode")?.choice()?;
        Some(if word == "http" { Self::Http } else { Self::Rule })
    }
}

/// What an integration says about caching: the base of its operations' policies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheBase {
    mode: Mode,
    ttl: Option<Duration>,
    proxy: bool,
    keep_stale: Option<Duration>,
    stale_while_revalidate: Duration,
    share_cookies: bool,
    /// Each caller has answers of its own.
    by_caller: bool,
}

impl CacheBase {
    /// The policy of safe operations that say nothing, given their ladder.
    fn policy(self, ladder: &[Rung]) -> Option<CachePolicy> {
        match self.mode {
            Mode::Http => Some(CachePolicy::Http(self.http(ladder))),
            Mode::Rule => self.ttl.map(|ttl| CachePolicy::Rule(self.with_ttl(ttl, ladder))),
        }
    }

    /// The policy of `/proxy`.
    pub(crate) fn proxy(self, ladder: &[Rung]) -> Option<CachePolicy> {
        self.policy(ladder).filter(|_| self.proxy)
    }

    /// What tells answers apart where nothing more is said.
    pub(crate) fn vary_by(self) -> VaryBy {
        VaryBy { caller: self.by_caller, ..VaryBy::default() }
    }

    fn with_ttl(self, ttl: Duration, ladder: &[Rung]) -> CacheRule {
        CacheRule {
            ttl,
            negative_ttl: None,
            keep_stale: self.kept_for(ladder),
            stale_while_revalidate: self.stale_while_revalidate,
        }
    }

    fn http(self, ladder: &[Rung]) -> HttpCache {
        HttpCache {
            keep_stale: self.kept_for(ladder),
            stale_while_revalidate: self.stale_while_revalidate,
            share_cookies: self.share_cookies,
        }
    }

    fn kept_for(self, ladder: &[Rung]) -> Duration {
        let falls_back = ladder.iter().any(|rung| matches!(rung, Rung::Cache));
        self.keep_stale.unwrap_or(if falls_back { KEEP_STALE } else { Duration::ZERO })
    }
}

/// Reads `[cache]` of an integration.
pub(crate) fn cache(field: &Field<'_, '_>) -> CacheBase {
    let Some(table) = field.table() else { return CacheBase::default() };
    let flag = |name| table.field(name).and_then(|field| field.boolean()).unwrap_or(false);
    let base = CacheBase {
        mode: Mode::read(&table).unwrap_or_default(),
        ttl: table.field("ttl").and_then(|field| field.duration()),
        proxy: flag("proxy"),
        keep_stale: table.field("keep_stale").and_then(|field| field.duration()),
        stale_while_revalidate: table
            .field("stale_while_revalidate")
            .and_then(|field| field.duration())
            .unwrap_or_default(),
        share_cookies: flag("share_cookies"),
        by_caller: table.field("vary_by").is_some_and(|field| names_caller(&field)),
    };
    match base.mode {
        Mode::Http if table.has("ttl") => table.problem(
            "ttl",
            "with `mode = \"http\"` the provider's answers say how long they are fresh",
            "remove it; `cache = \"10m\"` on an operation sets a time for that one",
        ),
        Mode::Rule if base.proxy && !table.has("ttl") => table.problem(
            "proxy",
            "nothing says how long an answer is fresh",
            "add ttl = \"10m\" or mode = \"http\"",
        ),
        _ => {}
    }
    table.finish();
    base
}

/// Whether `vary_by` of an integration names the caller. Parameters and headers are an operation's.
fn names_caller(field: &Field<'_, '_>) -> bool {
    let mut named = false;
    for item in field.items().unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        match text.value().split_once(':') {
            None if text.value() == "caller" => named = true,
            Some(("param" | "header", _)) => item.problem(
                "parameters and headers are told apart by operation",
                "name it in `cache = { vary_by = […] }` of the operation",
            ),
            _ => item.problem(format!("`{}` is not known here", text.written()), "write \"caller\""),
        }
    }
    named
}

/// What an operation's `cache` came to.
#[derive(Default)]
pub(crate) struct OperationCache {
    /// How its answers are kept.
    pub(crate) policy: Option<CachePolicy>,
    /// What tells its answers apart.
    pub(crate) vary_by: VaryBy,
    /// Whether that is said.
    pub(crate) names_vary_by: bool,
    /// What its successes purge.
    pub(crate) purges: Vec<OperationName>,
    /// Parameters of the calls whose answers are fetched beforehand.
    pub(crate) warm_up: Vec<Map<String, Value>>,
}

/// What the rule of an operation depends on.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Whether the method is GET or HEAD.
    pub(crate) cacheable: bool,
    /// The operation's effective ladder.
    pub(crate) ladder: &'a [Rung],
    /// What the integration says.
    pub(crate) base: CacheBase,
    /// Names of the integration's operations.
    pub(crate) operations: &'a [String],
    /// Names of the operation's parameters.
    pub(crate) params: &'a [String],
    /// The caller's headers that go upstream.
    pub(crate) forwarded: &'a [HeaderName],
}

/// Reads `cache` of an operation; absent, the integration's policy.
pub(crate) fn operation_cache(field: Option<Field<'_, '_>>, around: Surroundings<'_>) -> OperationCache {
    let Some(field) = field else {
        let policy = around.base.policy(around.ladder).filter(|_| around.cacheable);
        return OperationCache { policy, vary_by: around.base.vary_by(), ..OperationCache::default() };
    };
    if field.is_table() {
        return table(&field.as_kind(|kind| matches!(kind, Kind::Table(_))), around);
    }
    if !field.is_string() {
        field.wrong();
        return OperationCache::default();
    }
    let Some(text) = field.text() else { return OperationCache::default() };
    let policy = if text.value().starts_with(|c: char| c.is_ascii_digit()) {
        let ttl = field.as_kind(|kind| matches!(kind, Kind::Duration)).duration();
        ttl.map(|ttl| CachePolicy::Rule(around.base.with_ttl(ttl, around.ladder)))
    } else {
        let word = field.as_kind(|kind| matches!(kind, Kind::Choice { .. })).choice();
        word.filter(|word| *word == "http").map(|_| CachePolicy::Http(around.base.http(around.ladder)))
    };
    if policy.is_some() && !around.cacheable {
        unsafe_method(&field);
        return OperationCache::default();
    }
    OperationCache { policy, vary_by: around.base.vary_by(), ..OperationCache::default() }
}

fn unsafe_method(field: &Field<'_, '_>) {
    field.problem(
        "only answers to GET and HEAD are cached",
        "remove it; `cache = { purges = [\"…\"] }` drops cached answers that a call makes obsolete",
    );
}

fn table(field: &Field<'_, '_>, around: Surroundings<'_>) -> OperationCache {
    let Some(table) = field.table() else { return OperationCache::default() };
    let duration = |name| table.field(name).and_then(|field| field.duration());
    let (ttl, negative_ttl) = (duration("ttl"), duration("negative_ttl"));
    let base = CacheBase {
        // A time of its own is a rule of its own.
        mode: Mode::read(&table).unwrap_or(if ttl.is_some() { Mode::Rule } else { around.base.mode }),
        ttl: ttl.or(around.base.ttl),
        keep_stale: duration("keep_stale").or(around.base.keep_stale),
        stale_while_revalidate: duration("stale_while_revalidate")
            .unwrap_or(around.base.stale_while_revalidate),
        ..around.base
    };
    let purges = table.field("purges").map(|field| purges(&field, around.operations)).unwrap_or_default();
    let speaks_of_answers =
        ["ttl", "negative_ttl", "keep_stale", "stale_while_revalidate", "mode", "vary_by", "warm_up"]
            .into_iter()
            .find(|name| table.has(name));
    let policy = base.policy(around.ladder).filter(|_| around.cacheable);
    match (speaks_of_answers, policy) {
        (Some(_), _) if !around.cacheable => unsafe_method(field),
        (Some(name), None) if !table.has("ttl") => table.problem(
            name,
            "nothing says how long an answer is fresh",
            "add ttl = \"10m\", here or in [cache]",
        ),
        (_, Some(CachePolicy::Http(_))) => {
            for name in ["ttl", "negative_ttl"].into_iter().filter(|name| table.has(name)) {
                table.problem(
                    name,
                    "with `mode = \"http\"` the provider's answers say how long they are fresh",
                    "remove it, or write mode = \"rule\"",
                );
            }
        }
        _ => {}
    }
    let names_vary_by = table.has("vary_by");
    let vary_by =
        table.field("vary_by").map(|field| vary_by(&field, policy, around.params, around.forwarded));
    let policy = policy.map(|policy| match policy {
        CachePolicy::Rule(rule) => CachePolicy::Rule(CacheRule { negative_ttl, ..rule }),
        http @ CachePolicy::Http(_) => http,
    });
    let vary_by = vary_by.unwrap_or_else(|| base.vary_by());
    let warm_up = table.field("warm_up").map(|field| warm_up(&field, &vary_by)).unwrap_or_default();
    table.finish();
    OperationCache { policy, vary_by, names_vary_by, purges, warm_up }
}

/// Reads the list; whether the operation takes such parameters is seen when those are known.
fn warm_up(field: &Field<'_, '_>, vary_by: &VaryBy) -> Vec<Map<String, Value>> {
    let calls: Vec<_> = field.items().unwrap_or_default().iter().filter_map(Field::json_table).collect();
    if calls.len() > WARM_UP_MAX {
        field.problem(format!("{} calls are too many", calls.len()), "name at most 1,000");
    }
    if vary_by.caller && !calls.is_empty() {
        field.problem(
            "each caller has answers of its own here, which cannot be fetched beforehand",
            "remove it, or `\"caller\"` from `vary_by`",
        );
    }
    calls
}

fn purges(field: &Field<'_, '_>, operations: &[String]) -> Vec<OperationName> {
    let items = field.items().unwrap_or_default();
    items.iter().filter_map(|item| operation_name(item, operations)).collect()
}

/// The name of an operation of the same integration.
pub(crate) fn operation_name(field: &Field<'_, '_>, operations: &[String]) -> Option<OperationName> {
    let text = field.text()?;
    if operations.iter().any(|name| name == text.value()) {
        return OperationName::new(text.value()).ok();
    }
    let help = did_you_mean(text.value(), operations.iter().map(String::as_str))
        .unwrap_or_else(|| "name an operation of this file".to_owned());
    field.problem(format!("there is no operation `{}` here", text.written()), help);
    None
}
