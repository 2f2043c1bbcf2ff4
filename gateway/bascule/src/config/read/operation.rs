//! `[operations.NAME]`.

use super::{
    breaker::{SharedBreakers, breaker},
    cache::{CacheBase, Surroundings, operation_cache},
    component::refuse_for_operation,
    fallback::{RungPlace, fallback, fallback_on},
    fan_out::fan_out,
    headers::{Values, forwarded, headers, laid_over},
    limits::{check_hedge, cost, operation_hedge, operation_rate_limit, priority},
    params::{compile, params},
    policies::{at_least_one, errors, idempotency, timeouts},
    query::query,
    retry::operation_retry,
};
use crate::{
    config::{
        reader::{Field, Reader},
        settings::{
            BodyKind, ErrorMapping, FallbackCauses, HeaderSetting, Idempotency, Operation, Parameters,
            PathTemplate, RateLimit, RetrySettings, Rung, TextTemplate, Timeouts,
        },
    },
    model::{IntegrationName, OperationName},
};
use bascule_resilience::{BreakerConfig, HedgeConfig, Priority};
use http::{HeaderName, Method};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// What operations take over from their integration.
pub(crate) struct Base<'a> {
    pub(crate) integration: &'a IntegrationName,
    /// Names of all its operations, also of those with problems.
    pub(crate) operations: &'a [String],
    /// Whether a component answers its requests.
    pub(crate) is_wasm: bool,
    pub(crate) has_plugins: bool,
    pub(crate) headers: Vec<HeaderSetting>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetrySettings,
    pub(crate) breaker: BreakerConfig,
    pub(crate) breaker_announced: bool,
    pub(crate) shared_breakers: &'a SharedBreakers,
    pub(crate) cache: CacheBase,
    pub(crate) fallback: Arc<[Rung]>,
    pub(crate) fallback_on: FallbackCauses,
    pub(crate) idempotency: Option<Idempotency>,
    pub(crate) errors: Arc<BTreeMap<u16, ErrorMapping>>,
    pub(crate) forward_headers: Vec<HeaderName>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) priority: Priority,
    pub(crate) hedge: Option<HedgeConfig>,
}

/// Reads one operation. None when it has problems that leave nothing to build.
pub(crate) fn operation(
    field: &Field<'_, '_>,
    name: &OperationName,
    base: &Base<'_>,
    places: &mut Vec<RungPlace>,
) -> Option<Operation> {
    let table = field.table()?;
    if let Some(branches) = table.field("fan_out") {
        return fan_out(table, &branches, name, base, places);
    }
    let description = table.field("description").and_then(|field| field.string()).unwrap_or_default();
    let method = method(&table);
    let path = table.required("path", "write path = \"/…\"").and_then(|field| path(&field));
    let in_path: Vec<&str> = path.iter().flat_map(PathTemplate::parameters).collect();
    let declared = params(table.field("params"), &in_path);
    let names: Vec<String> = declared.iter().map(|(name, _)| name.clone()).collect();
    let query = table.field("query").map(|field| query(&field, &names)).unwrap_or_default();
    let own_headers = table.field("headers").map(|field| headers(&field, Values::Templates(&names)));
    let own_headers = own_headers.unwrap_or_default();
    if base.is_wasm {
        refuse_for_operation(&table, &own_headers, &query);
    }

    let templates =
        query.iter().map(|entry| &entry.value).chain(own_headers.iter().map(|header| &header.value));
    let used: Vec<&str> =
        in_path.iter().copied().chain(templates.flat_map(TextTemplate::parameters)).collect();
    let unused = names.iter().filter(|name| !used.contains(&name.as_str())).cloned().collect();
    let (body, body_params) = body(&table, &method, unused, base.has_plugins);

    let idempotency =
        table.field("idempotency").and_then(|field| idempotency(&field)).or_else(|| base.idempotency.clone());
    let (retry_safe, safe_by_key, retry) = retry(&table, &method, idempotency.is_some(), base);
    let rungs = rungs(&table, name, base, places);
    let forward_headers = table
        .field("forward_headers")
        .map_or_else(|| base.forward_headers.clone(), |field| forwarded(&field));
    let around = Surroundings {
        cacheable: matches!(method, Method::GET | Method::HEAD),
        ladder: &rungs,
        base: base.cache,
        operations: base.operations,
        params: &names,
        forwarded: &forward_headers,
    };
    let cache = operation_cache(table.field("cache"), around);
    check_ladder(&table, &rungs, cache.policy.is_some(), &names);
    if matches!(method, Method::GET | Method::HEAD | Method::OPTIONS) {
        let message = format!("{method} changes nothing that could be done later, so it is not queued");
        refuse_queue(&table, &rungs, &message, "remove the rung { queue = true }");
    } else if idempotency.is_none() {
        refuse_queue(
            &table,
            &rungs,
            "a queued call may be sent more than once, so it needs an idempotency key",
            "declare idempotency = { header = \"Idempotency-Key\" }, or remove the rung { queue = true }",
        );
    }
    let breaker = table
        .field("circuit_breaker")
        .map(|field| breaker(&field, &base.breaker, base.breaker_announced, base.shared_breakers));
    let (breaker, shared_breaker, breaker_announced) =
        breaker.map_or((None, None, false), |chosen| (Some(chosen.config), chosen.shared, chosen.announced));
    let rate_limit = table.field("rate_limit").and_then(|field| operation_rate_limit(&field));
    let priority = priority(&table).unwrap_or(base.priority);
    let cost = cost(&table, priority, [base.rate_limit.as_ref(), rate_limit.as_ref()]);
    let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    let hedge = operation_hedge(&table, base.hedge.as_ref(), reads, retry_safe && !safe_by_key);
    let timeouts = timeouts(&table, base.timeouts);
    check_hedge(&table, hedge.as_ref(), &timeouts);
    let fallback_on = table.field("fallback_on").map_or(base.fallback_on, |field| fallback_on(&field));
    let errors = table.field("errors").map_or_else(
        || Arc::clone(&base.errors),
        |field| {
            let mut all = BTreeMap::clone(&base.errors);
            all.extend(errors(&field));
            Arc::new(all)
        },
    );
    let parameters = compile(declared);
    if let Some(parameters) = &parameters {
        check_warm_up(&table, &cache.warm_up, parameters);
    }
    table.finish();
    drop(in_path);
    Some(Operation {
        name: name.clone(),
        description,
        method,
        path: path?,
        query,
        headers: laid_over(&base.headers, own_headers),
        body,
        params: parameters?,
        body_params,
        timeouts,
        retry,
        retry_safe,
        safe_by_key,
        breaker,
        shared_breaker,
        breaker_announced,
        rate_limit,
        cost,
        priority,
        hedge,
        cache: cache.policy,
        vary_by: cache.vary_by,
        warm_up: cache.warm_up,
        purges: cache.purges,
        fallback: rungs,
        fallback_on,
        idempotency,
        errors,
        forward_headers,
        fan_out: None,
    })
}

/// Whether the calls that warm the cache up are calls of this operation.
fn check_warm_up(table: &Reader<'_, '_>, calls: &[Map<String, Value>], parameters: &Parameters) {
    for (index, given) in calls.iter().enumerate() {
        let mut all = given.clone();
        for (name, parameter) in &parameters.declared {
            if let Some(default) = &parameter.default {
                all.entry(name).or_insert_with(|| default.clone());
            }
        }
        for error in parameters.schema.iter_errors(&Value::Object(all)) {
            let at = format!("`warm_up[{index}]{}`", error.instance_path().to_string().replace('/', "."));
            table.problem(
                "cache",
                format!("{at}: {}", error.masked_with("the value")),
                "write the parameters of a call of this operation",
            );
        }
    }
}

/// The operation's own ladder, or its integration's.
pub(super) fn rungs(
    table: &Reader<'_, '_>,
    name: &OperationName,
    base: &Base<'_>,
    places: &mut Vec<RungPlace>,
) -> Arc<[Rung]> {
    match table.field("fallback") {
        Some(field) => {
            let ladder = fallback(&field, base.integration, Some(name));
            places.extend(ladder.places);
            ladder.rungs.into()
        }
        None => Arc::clone(&base.fallback),
    }
}

fn method(table: &Reader<'_, '_>) -> Method {
    let word = table.field("method").and_then(|field| field.choice());
    word.and_then(|word| Method::from_bytes(word.as_bytes()).ok()).unwrap_or(Method::GET)
}

fn path(field: &Field<'_, '_>) -> Option<PathTemplate> {
    let text = field.text()?;
    let escaped = match text.escaped() {
        Ok(escaped) => escaped,
        Err(error) => {
            field.problem(error.to_string(), "write the name of a parameter between the braces");
            return None;
        }
    };
    match PathTemplate::parse(&escaped) {
        Ok(path) => Some(path),
        Err(error) => {
            field.problem(error.to_string(), "e.g. \"/users/{id}\" or \"/files/{path...}\"");
            None
        }
    }
}

/// What the body is, and the parameters that form it.
fn body(
    table: &Reader<'_, '_>,
    method: &Method,
    unused: Vec<String>,
    has_plugins: bool,
) -> (BodyKind, Vec<String>) {
    let takes_one = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let kind = match table.field("body").map(|field| field.choice()) {
        None if takes_one => BodyKind::Json,
        None => BodyKind::None,
        Some(word) => match word {
            Some("form") => BodyKind::Form,
            Some("raw") => BodyKind::Raw,
            Some("none") | None => BodyKind::None,
            Some(_) => BodyKind::Json,
        },
    };
    if kind != BodyKind::None && !takes_one {
        table.problem("body", format!("{method} has no body"), "use another `method`, or remove `body`");
    }
    match kind {
        BodyKind::Json | BodyKind::Form => (kind, unused),
        BodyKind::Raw | BodyKind::None => {
            // A request mapper may use them in its own way.
            for name in unused.iter().filter(|_| !has_plugins) {
                table.problem(
                    "params",
                    format!("the parameter `{name}` is used nowhere"),
                    format!("put it into path, query or headers: query = {{ {name} = \"{{{name}}}\" }}"),
                );
            }
            (kind, Vec::new())
        }
    }
}

fn retry(
    table: &Reader<'_, '_>,
    method: &Method,
    idempotent: bool,
    base: &Base<'_>,
) -> (bool, bool, RetrySettings) {
    let by_nature =
        matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    let declared = table.field("retry_safe").and_then(|field| field.boolean());
    let safe = declared.unwrap_or(by_nature || idempotent);
    let own = table.field("retry");
    if own.is_some() && !safe {
        table.problem(
            "retry",
            format!("sending {method} twice may do harm, so it is not retried"),
            "declare idempotency = { header = \"Idempotency-Key\" } if the provider knows such keys, or retry_safe = true",
        );
    }
    let mut retry = own.map_or_else(|| base.retry.clone(), |field| operation_retry(&field, &base.retry));
    if table.has("retry")
        && retry.policy.timeout_factor != 1.0
        && !table.has("attempt_timeout")
        && base.timeouts.attempt.is_none()
    {
        table.warn(
            "retry",
            "`timeout_factor` does nothing without `attempt_timeout`",
            "set `attempt_timeout`",
        );
    }
    if !safe {
        retry.policy.max_attempts = at_least_one(1);
    }
    (safe, safe && declared != Some(true) && !by_nature, retry)
}

/// Looks at what a ladder of the operation's own supposes.
pub(super) fn check_ladder(table: &Reader<'_, '_>, rungs: &[Rung], cached: bool, names: &[String]) {
    if !table.has("fallback") {
        return;
    }
    if !cached && rungs.iter().any(|rung| matches!(rung, Rung::Cache)) {
        table.warn(
            "fallback",
            "the rung \"cache\" never answers: nothing is cached here",
            "add cache = \"10m\"",
        );
    }
    for rung in rungs {
        let Rung::Operation { params: Some(params), .. } = rung else { continue };
        check_placeholders(table, "fallback", params, names);
    }
}

/// Notes a rung `{ queue = true }` where calls cannot be queued.
pub(super) fn refuse_queue(table: &Reader<'_, '_>, rungs: &[Rung], message: &str, help: &str) {
    if rungs.iter().any(|rung| matches!(rung, Rung::Queue)) {
        table.problem("fallback", message, help);
    }
}

/// Notes placeholders that name no declared parameter.
pub(super) fn check_placeholders(
    table: &Reader<'_, '_>,
    key: &str,
    params: &Map<String, Value>,
    names: &[String],
) {
    let mut asked = Vec::new();
    params.values().for_each(|value| placeholders(value, &mut asked));
    for name in asked.iter().filter(|name| !names.contains(name)) {
        let help = format!("declare it: params.{name} = {{ type = \"string\" }}");
        table.problem(key, format!("`{name}` is not a declared parameter"), help);
    }
}

/// The parameters that the texts of a value ask for.
pub(super) fn placeholders(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let template = TextTemplate::parse(text).ok();
            names.extend(template.iter().flat_map(TextTemplate::parameters).map(str::to_owned));
        }
        Value::Array(items) => items.iter().for_each(|item| placeholders(item, names)),
        Value::Object(map) => map.values().for_each(|item| placeholders(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
