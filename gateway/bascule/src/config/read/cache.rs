//! `[cache]` of integrations and `cache` of operations.

use crate::{
    config::{
        keys::Kind,
        reader::Field,
        settings::{CacheRule, Rung},
        suggest::did_you_mean,
    },
    model::OperationName,
};
use std::time::Duration;

/// How long expired entries are kept when the ladder names `"cache"` and nothing is said.
const KEEP_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// What an integration says about caching: the base of its operations' rules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheBase {
    ttl: Option<Duration>,
    keep_stale: Option<Duration>,
    stale_while_revalidate: Duration,
}

impl CacheBase {
    /// The rule of safe operations that say nothing, given their ladder.
    pub(crate) fn rule(self, ladder: &[Rung]) -> Option<CacheRule> {
        self.ttl.map(|ttl| self.with_ttl(ttl, ladder))
    }

    fn with_ttl(self, ttl: Duration, ladder: &[Rung]) -> CacheRule {
        let falls_back = ladder.iter().any(|rung| matches!(rung, Rung::Cache));
        CacheRule {
            ttl,
            negative_ttl: None,
            keep_stale: self.keep_stale.unwrap_or(if falls_back { KEEP_STALE } else { Duration::ZERO }),
            stale_while_revalidate: self.stale_while_revalidate,
        }
    }
}

/// Reads `[cache]` of an integration.
pub(crate) fn cache(field: &Field<'_, '_>) -> CacheBase {
    let Some(table) = field.table() else { return CacheBase::default() };
    // Only one word and one value are carried out; reading them refuses the others.
    table.field("mode").and_then(|field| field.choice());
    if table.field("proxy").and_then(|field| field.boolean()) == Some(true) {
        table.problem(
            "proxy",
            "`proxy = true` is not in this version",
            "declare operations for what is to be cached",
        );
    }
    let base = CacheBase {
        ttl: table.field("ttl").and_then(|field| field.duration()),
        keep_stale: table.field("keep_stale").and_then(|field| field.duration()),
        stale_while_revalidate: table
            .field("stale_while_revalidate")
            .and_then(|field| field.duration())
            .unwrap_or_default(),
    };
    table.finish();
    base
}

/// What an operation's `cache` came to.
#[derive(Default)]
pub(crate) struct OperationCache {
    /// How its answers are kept.
    pub(crate) rule: Option<CacheRule>,
    /// What its successes purge.
    pub(crate) purges: Vec<OperationName>,
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
}

/// Reads `cache` of an operation; absent, the integration's rule.
pub(crate) fn operation_cache(field: Option<Field<'_, '_>>, around: Surroundings<'_>) -> OperationCache {
    let inherited = || around.base.rule(around.ladder).filter(|_| around.cacheable);
    let Some(field) = field else {
        return OperationCache { rule: inherited(), purges: Vec::new() };
    };
    if field.is_table() {
        return table(&field.as_kind(|kind| matches!(kind, Kind::Table(_))), around);
    }
    if !field.is_string() {
        field.wrong();
        return OperationCache::default();
    }
    let Some(text) = field.text() else { return OperationCache::default() };
    if !text.value().starts_with(|c: char| c.is_ascii_digit()) {
        field.as_kind(|kind| matches!(kind, Kind::Choice { .. })).choice();
        return OperationCache::default();
    }
    let ttl = field.as_kind(|kind| matches!(kind, Kind::Duration)).duration();
    if !around.cacheable {
        unsafe_method(&field);
        return OperationCache::default();
    }
    OperationCache { rule: ttl.map(|ttl| around.base.with_ttl(ttl, around.ladder)), purges: Vec::new() }
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
    let (keep_stale, stale_while_revalidate) = (duration("keep_stale"), duration("stale_while_revalidate"));
    let purges = table.field("purges").map(|field| purges(&field, around.operations)).unwrap_or_default();
    let speaks_of_ttl = ["ttl", "negative_ttl", "keep_stale", "stale_while_revalidate"]
        .into_iter()
        .find(|name| table.has(name));
    let rule = match (speaks_of_ttl, ttl.or(around.base.ttl)) {
        (Some(_), _) if !around.cacheable => {
            unsafe_method(field);
            None
        }
        (_, Some(ttl)) if around.cacheable => {
            let base = around.base.with_ttl(ttl, around.ladder);
            Some(CacheRule {
                ttl,
                negative_ttl,
                keep_stale: keep_stale.unwrap_or(base.keep_stale),
                stale_while_revalidate: stale_while_revalidate.unwrap_or(base.stale_while_revalidate),
            })
        }
        (Some(name), None) if !table.has("ttl") => {
            table.problem(
                name,
                "nothing says how long an answer is fresh",
                "add ttl = \"10m\", here or in [cache]",
            );
            None
        }
        _ => None,
    };
    table.finish();
    OperationCache { rule, purges }
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
