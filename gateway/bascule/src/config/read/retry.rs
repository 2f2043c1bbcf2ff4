//! `[retry]` of integrations and operations.

use super::policies::at_least_one;
use crate::config::{
    reader::{Field, Reader},
    settings::RetrySettings,
};
use bascule_resilience::{BudgetConfig, Jitter, RetryPolicy};
use std::{sync::Arc, time::Duration};

/// Most entries of `delays` and `on`: attempts beyond this are no retrying any more.
const LIST_MAX: usize = 100;

/// The rule of an integration that says nothing.
pub(crate) fn default_retry() -> RetrySettings {
    RetrySettings {
        policy: RetryPolicy {
            max_attempts: at_least_one(3),
            base_delay: Duration::from_millis(100),
            multiplier: 2.0,
            max_delay: Duration::from_secs(30),
            jitter: Jitter::Proportional(0.25),
            delays: Vec::new(),
            retry_after_max: Duration::from_secs(60),
            timeout_factor: 1.0,
        },
        on: Arc::from([408, 429, 500, 502, 503, 504]),
        budget: BudgetConfig { ratio: 0.2, floor: 10, window: Duration::from_secs(10) },
    }
}

/// Reads `[retry]` of an integration.
pub(crate) fn retry(field: &Field<'_, '_>) -> RetrySettings {
    let mut retry = default_retry();
    if let Some(table) = field.table() {
        rule(&table, &mut retry);
        if let Some(budget) = table.field("budget").and_then(|field| field.table()) {
            self::budget(budget, &mut retry.budget);
        }
        table.finish();
    }
    retry
}

/// Reads `[operations.NAME.retry]`, laid over the integration's.
pub(crate) fn operation_retry(field: &Field<'_, '_>, base: &RetrySettings) -> RetrySettings {
    let mut retry = base.clone();
    if let Some(table) = field.table() {
        rule(&table, &mut retry);
        table.finish();
    }
    retry
}

fn rule(table: &Reader<'_, '_>, retry: &mut RetrySettings) {
    let policy = &mut retry.policy;
    let duration = |name| table.field(name).and_then(|field| field.duration());
    let number = |name| table.field(name).and_then(|field| field.number());
    policy.max_attempts =
        table.field("max_attempts").and_then(|field| field.count()).unwrap_or(policy.max_attempts);
    policy.base_delay = duration("base_delay").unwrap_or(policy.base_delay);
    policy.multiplier = number("multiplier").unwrap_or(policy.multiplier);
    policy.max_delay = duration("max_delay").unwrap_or(policy.max_delay);
    policy.jitter = number("jitter").map_or(policy.jitter, Jitter::Proportional);
    policy.retry_after_max = duration("retry_after_max").unwrap_or(policy.retry_after_max);
    policy.timeout_factor = number("timeout_factor").unwrap_or(policy.timeout_factor);
    if let Some(items) = table.field("delays").and_then(|field| bounded(&field)) {
        policy.delays = items.iter().filter_map(Field::duration).collect();
        for name in ["base_delay", "multiplier", "max_delay"].into_iter().filter(|name| table.has(name)) {
            table.problem(
                name,
                "`delays` replaces the exponential rule",
                format!("remove `{name}` or `delays`"),
            );
        }
    } else if policy.base_delay > policy.max_delay {
        let name = if table.has("base_delay") { "base_delay" } else { "max_delay" };
        table.problem(
            name,
            "`base_delay` is longer than `max_delay`",
            "lower `base_delay` or raise `max_delay`",
        );
    }
    if let Some(items) = table.field("on").and_then(|field| bounded(&field)) {
        retry.on = items.iter().filter_map(|item| u16::try_from(item.small()?).ok()).collect();
    }
}

fn bounded<'c, 'i>(field: &Field<'c, 'i>) -> Option<Vec<Field<'c, 'i>>> {
    let items = field.items()?;
    if items.is_empty() || items.len() > LIST_MAX {
        let help = "leave it out for the default; max_attempts = 1 switches retries off";
        field.problem(format!("the list must have 1 to {LIST_MAX} items"), help);
        return None;
    }
    Some(items)
}

fn budget(table: Reader<'_, '_>, budget: &mut BudgetConfig) {
    budget.ratio = table.field("ratio").and_then(|field| field.number()).unwrap_or(budget.ratio);
    budget.floor = table.field("floor").and_then(|field| field.small()).unwrap_or(budget.floor);
    budget.window = table.field("window").and_then(|field| field.duration()).unwrap_or(budget.window);
    table.finish();
}
