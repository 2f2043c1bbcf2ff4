//! Operations with `fan_out`: made of other operations' calls.
//!
//! A fan-out has nothing of its own that concerns a provider, so every such key is refused beside it. Whether the
//! branches exist, take the parameters that they get and never lead back is looked at when every file has been read:
//! [`crate::config::check`]; so is whether they are all safe, which decides the fan-out's method.

use super::{
    cache::{OperationCache, Surroundings, operation_cache},
    fallback::{Link, RungPlace, fallback_on, target},
    operation::{Base, check_ladder, check_placeholders, placeholders, refuse_queue, rungs},
    params::{compile, params},
};
use crate::{
    config::{
        keys::Kind,
        reader::{Field, Reader},
        settings::{BodyKind, Branch, CachePolicy, Operation, Parameter, PathTemplate, Rung, Timeouts},
    },
    model::OperationName,
};
use bascule_resilience::Priority;
use http::Method;
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

/// Most branches: bounds what one call may set off.
const BRANCHES_MAX: usize = 16;

/// Reads an operation that has `fan_out`, whose value is `field`.
pub(super) fn fan_out(
    table: Reader<'_, '_>,
    field: &Field<'_, '_>,
    name: &OperationName,
    base: &Base<'_>,
    places: &mut Vec<RungPlace>,
) -> Option<Operation> {
    let description = table.field("description").and_then(|field| field.string()).unwrap_or_default();
    let declared = params(table.field("params"), &[]);
    let names: Vec<String> = declared.iter().map(|(name, _)| name.clone()).collect();
    let read = Branches { table: &table, name, base, declared: &declared, names: &names };
    let branches = read.all(field, places);
    read.used(&branches);
    let rungs = rungs(&table, name, base, places);
    let cache = cache(&table, base, &rungs);
    check_ladder(&table, &rungs, cache.policy.is_some(), &names);
    let remove = "remove the rung { queue = true }";
    refuse_queue(&table, &rungs, "a fan-out is not queued: its branches are calls of their own", remove);
    let whole = table.field("timeout").and_then(|field| field.duration());
    let fallback_on = table.field("fallback_on").map_or(base.fallback_on, |field| fallback_on(&field));
    table.finish_for("to a fan-out: its branches have their own");
    Some(Operation {
        name: name.clone(),
        description,
        method: Method::GET,
        path: PathTemplate::parse("/").ok()?,
        query: Vec::new(),
        headers: Vec::new(),
        body: BodyKind::None,
        params: compile(declared)?,
        body_params: Vec::new(),
        timeouts: Timeouts { whole: whole.unwrap_or(base.timeouts.whole), ..base.timeouts },
        retry: base.retry.clone(),
        retry_safe: false,
        safe_by_key: false,
        breaker: None,
        shared_breaker: None,
        breaker_announced: false,
        rate_limit: None,
        cost: NonZeroU32::MIN,
        priority: Priority::Normal,
        hedge: None,
        cache: cache.policy,
        vary_by: cache.vary_by,
        warm_up: Vec::new(),
        purges: Vec::new(),
        fallback: rungs,
        fallback_on,
        idempotency: None,
        errors: Arc::new(BTreeMap::new()),
        forward_headers: Vec::new(),
        fan_out: Some(branches.into()),
    })
}

/// Only its own `cache`: the integration's is for the provider's answers.
fn cache(table: &Reader<'_, '_>, base: &Base<'_>, ladder: &[Rung]) -> OperationCache {
    let Some(field) = table.field("cache") else { return OperationCache::default() };
    let around = Surroundings {
        // An unsafe branch is found when every file has been read.
        cacheable: true,
        ladder,
        base: base.cache,
        operations: base.operations,
        params: &[],
        forwarded: &[],
    };
    let cache = operation_cache(Some(field), around);
    let rule = cache.policy.and_then(CachePolicy::rule);
    if cache.policy.is_some() && rule.is_none() {
        table.problem(
            "cache",
            "the answers of a fan-out say nothing about caching",
            "write a duration, or `cache = \"http\"` on its branches",
        );
    }
    if cache.names_vary_by {
        table.problem(
            "cache",
            "`vary_by` does not apply to a fan-out: its branches have their own",
            "remove it",
        );
    }
    if !cache.warm_up.is_empty() {
        table.problem("cache", "`warm_up` does not apply to a fan-out", "warm its branches up");
    }
    if !cache.purges.is_empty() || rule.is_some_and(|rule| rule.negative_ttl.is_some()) {
        table.problem(
            "cache",
            "`purges` and `negative_ttl` do not apply to a fan-out: its branches have their own",
            "remove them",
        );
    }
    cache
}

/// What reading the branches needs.
struct Branches<'a> {
    table: &'a Reader<'a, 'a>,
    name: &'a OperationName,
    base: &'a Base<'a>,
    declared: &'a [(String, Parameter)],
    names: &'a [String],
}

impl Branches<'_> {
    fn all(&self, field: &Field<'_, '_>, places: &mut Vec<RungPlace>) -> Vec<Branch> {
        let Some(items) = field.items() else { return Vec::new() };
        if items.is_empty() || items.len() > BRANCHES_MAX {
            let message = format!("a fan-out has 1 to {BRANCHES_MAX} branches");
            field.problem(message, "write fan_out = [\"integration.operation\", …]");
        }
        items.iter().filter_map(|item| self.one(item, places)).collect()
    }

    fn one(&self, item: &Field<'_, '_>, places: &mut Vec<RungPlace>) -> Option<Branch> {
        if !item.is_table() {
            return self.branch(&item.as_kind(|kind| matches!(kind, Kind::Pattern(_))), None, places);
        }
        let item = item.as_kind(|kind| matches!(kind, Kind::Table(_)));
        let table = item.table()?;
        let params = table.field("params").and_then(|field| field.template_table());
        if let Some(params) = &params {
            check_placeholders(self.table, "fan_out", params, self.names);
        }
        let operation = table.required("operation", "write operation = \"integration.operation\"");
        let branch = operation.and_then(|field| self.branch(&field, params, places));
        table.finish();
        branch
    }

    fn branch(
        &self,
        field: &Field<'_, '_>,
        params: Option<serde_json::Map<String, serde_json::Value>>,
        places: &mut Vec<RungPlace>,
    ) -> Option<Branch> {
        let (integration, operation) = target(field, self.base.integration)?;
        let given =
            params.as_ref().map_or_else(|| self.names.to_vec(), |params| params.keys().cloned().collect());
        let certain = match &params {
            None => given.iter().filter(|name| self.is_certain(name)).cloned().collect(),
            Some(params) => params
                .iter()
                .filter(|(_, value)| self.always_renders(value))
                .map(|(name, _)| name.clone())
                .collect(),
        };
        places.push(RungPlace {
            link: Link::Branch { own: params.is_some(), certain },
            origin: field.ctx.origin(&field.path, &field.span),
            owner: self.base.integration.clone(),
            owner_operation: Some(self.name.clone()),
            integration: integration.clone(),
            operation: operation.clone(),
            params: Some(given),
        });
        Some(Branch { integration, operation, params })
    }

    /// Whether the parameter has a value on every call. One that is not declared has a problem of its own.
    fn is_certain(&self, name: &str) -> bool {
        let found = self.declared.iter().find(|(known, _)| known == name);
        found.is_none_or(|(_, parameter)| parameter.required || parameter.default.is_some())
    }

    /// A text at the top is left out when a parameter in it is absent; a table or list is there whatever it lacks.
    fn always_renders(&self, value: &serde_json::Value) -> bool {
        let mut asked = Vec::new();
        if value.is_string() {
            placeholders(value, &mut asked);
        }
        asked.iter().all(|name| self.is_certain(name))
    }

    /// Notes parameters that no branch gets.
    fn used(&self, branches: &[Branch]) {
        let mut asked = Vec::new();
        for branch in branches {
            let Some(params) = &branch.params else { return };
            params.values().for_each(|value| placeholders(value, &mut asked));
        }
        for name in self.names.iter().filter(|name| !branches.is_empty() && !asked.contains(name)) {
            self.table.problem(
                "params",
                format!("the parameter `{name}` is used nowhere"),
                format!("give it to a branch: params = {{ {name} = \"{{{name}}}\" }}"),
            );
        }
    }
}
