//! `integrations/NAME.toml`.

use super::{
    auth::auth,
    base_url::{Base as BaseOfUrl, base_url},
    breaker::{Chosen, SharedBreakers, breaker},
    cache::{CacheBase, cache},
    component::{CallPlace, Component, address, component, refuse_for_integration},
    fallback::{Ladder, RungPlace, fallback, fallback_on},
    headers::{Values, forwarded, headers},
    limits::{check_hedge, concurrency, hedge, priority, rate_limit},
    operation::{Base, operation},
    plugins::{endpoint_names, endpoints, plugins},
    policies::{default_timeouts, errors, idempotency, timeouts},
    retry::{default_retry, retry},
};
use crate::{
    config::{
        reader::{Field, Reader},
        settings::{Auth, FallbackCauses, Integration, Operation, PluginSettings, Rung},
    },
    model::{IntegrationName, OperationName},
};
use bascule_resilience::BreakerConfig;
use std::{collections::BTreeMap, sync::Arc};

/// What a file came to.
pub(crate) struct IntegrationFile {
    /// The integration; none when its problems leave nothing to build.
    pub(crate) integration: Option<Integration>,
    /// Rungs that name operations, for the check over all files.
    pub(crate) rungs: Vec<RungPlace>,
    /// Integrations that its component may call, for the same.
    pub(crate) calls: Vec<CallPlace>,
}

/// Reads the file of the integration `name`. `operations` are the names that it declares.
pub(crate) fn integration(
    top: Reader<'_, '_>,
    name: &IntegrationName,
    operations: &[String],
    digest: [u8; 32],
    shared_breakers: &SharedBreakers,
) -> IntegrationFile {
    // The keys of other types are not known: one clear problem is better than thirty.
    let kind = top.field("type").map(|field| field.choice());
    if kind == Some(None) {
        return IntegrationFile { integration: None, rungs: Vec::new(), calls: Vec::new() };
    }
    let is_wasm = kind == Some(Some("wasm"));
    let description = top.field("description").and_then(|field| field.string()).unwrap_or_default();
    let url = top.field("base_url");
    let has_url = url.is_some() || is_wasm;
    let url = match is_wasm {
        true => Some(BaseOfUrl { url: address(name), user_info: None }),
        false => url.and_then(|field| base_url(&field)),
    };
    let declared = top.field("endpoints");
    let names = declared.as_ref().map(endpoint_names).unwrap_or_default();
    let endpoints = declared.map(|field| endpoints(&field)).unwrap_or_default();
    let plugins = top.field("plugins").map(|field| plugins(&field, operations, &names)).unwrap_or_default();
    let has_plugins = top.has("plugins");
    let component = own_component(&top, is_wasm);
    // A bad one, or one that is missing, has its problem.
    let answers = component.is_some() || !is_wasm;
    let (component, calls) = component.map(|found| (found.settings, found.calls)).unzip();
    let plugins: Vec<PluginSettings> = plugins.into_iter().chain(component).collect();
    let auth = authentication(&top, url.as_ref(), has_plugins);

    let ladder = top.field("fallback").map(|field| fallback(&field, name, None)).unwrap_or_default();
    let Ladder { rungs, places: mut rung_places } = ladder;
    let rungs: Arc<[Rung]> = rungs.into();
    let cache_base = top.field("cache").map_or_else(CacheBase::default, |field| cache(&field));
    let rate_limit = top.field("rate_limit").and_then(|field| rate_limit(&field));
    let default = BreakerConfig::default();
    let Chosen { config: breaker, shared: shared_breaker, announced } = match top.field("circuit_breaker") {
        Some(field) => breaker(&field, &default, false, shared_breakers),
        None => Chosen { config: default, shared: None, announced: false },
    };
    let base = Base {
        integration: name,
        operations,
        is_wasm,
        has_plugins,
        headers: top.field("headers").map(|field| headers(&field, Values::Literals)).unwrap_or_default(),
        timeouts: timeouts(&top, default_timeouts()),
        retry: top.field("retry").map_or_else(default_retry, |field| retry(&field)),
        breaker,
        breaker_announced: announced,
        shared_breakers,
        cache: cache_base,
        fallback: Arc::clone(&rungs),
        fallback_on: top.field("fallback_on").map_or_else(FallbackCauses::all, |field| fallback_on(&field)),
        idempotency: top.field("idempotency").and_then(|field| idempotency(&field)),
        errors: Arc::new(top.field("errors").map(|field| errors(&field)).unwrap_or_default()),
        forward_headers: top.field("forward_headers").map(|field| forwarded(&field)).unwrap_or_default(),
        rate_limit,
        priority: priority(&top).unwrap_or_default(),
        hedge: top.field("hedge").and_then(|field| hedge(&field)),
    };
    if is_wasm {
        refuse_for_integration(&top, &base.headers);
    }
    check_hedge(&top, base.hedge.as_ref(), &base.timeouts);
    let concurrency = concurrency(top.field("concurrency"));
    let declared = top.field("operations");
    // What asks no provider needs no address of one, and offers no way to it.
    let asks_nobody = !has_url && declared.as_ref().is_some_and(|operations| operations.each_has("fan_out"));
    let proxy = top.field("proxy").and_then(|field| field.boolean()).unwrap_or(!asks_nobody);
    let allow_private = top.field("allow_private").and_then(|field| field.boolean()).unwrap_or(false);
    let built = declared.map(|field| self::operations(&field, &base, &mut rung_places)).unwrap_or_default();
    check(&top, &base, &built, proxy);
    fan_outs_take_no_plugins(&top, &built, &plugins);
    let file = top.ctx.source.path.clone();
    let (ctx, span) = (top.ctx, top.span.clone());
    top.finish();
    if !has_url && (proxy || !asks_nobody) {
        // Only now is it known whether it merely stands in the wrong table.
        let help = if asks_nobody { ", or remove `proxy`" } else { "" };
        ctx.missing("base_url", "base_url", &span, format!("write base_url = \"https://…\"{help}"));
    }
    // A bad one, or one that is missing, has its problem.
    let has_all = answers && (url.is_some() || (asks_nobody && !proxy));
    let integration = auth.filter(|_| has_all).map(|auth| Integration {
        name: name.clone(),
        description,
        base_url: url.map(|url| url.url),
        endpoints,
        headers: base.headers,
        timeouts: base.timeouts,
        fallback: base.fallback,
        fallback_on: base.fallback_on,
        forward_headers: base.forward_headers,
        proxy,
        allow_private,
        auth,
        retry: base.retry,
        breaker: base.breaker,
        shared_breaker,
        breaker_announced: announced,
        rate_limit: base.rate_limit,
        concurrency,
        priority: base.priority,
        hedge: base.hedge,
        plugins,
        idempotency: base.idempotency,
        errors: base.errors,
        proxy_cache: cache_base.proxy(&rungs),
        proxy_vary_by: cache_base.vary_by(),
        operations: built,
        file,
        digest,
    });
    IntegrationFile { integration, rungs: rung_places, calls: calls.unwrap_or_default() }
}

/// `[component]`, which goes with the type.
fn own_component(top: &Reader<'_, '_>, is_wasm: bool) -> Option<Component> {
    if is_wasm {
        let help = "write [component] with source = \"components/file.wasm\"";
        return top.required("component", help).and_then(|field| component(&field));
    }
    if top.field("component").is_some() {
        let help = "write type = \"wasm\" and remove `base_url`, or remove [component]";
        top.problem("component", "a component answers for integrations of type \"wasm\"", help);
    }
    None
}

/// `[auth]`, or the user and password of `base_url`.
fn authentication(top: &Reader<'_, '_>, url: Option<&BaseOfUrl>, has_plugins: bool) -> Option<Auth> {
    let in_url = url.and_then(|url| url.user_info.clone());
    let table = top.field("auth");
    match (table, in_url) {
        (Some(field), in_url) => {
            if in_url.is_some() {
                top.problem(
                    "base_url",
                    "the URL holds credentials, and so does [auth]",
                    "remove `user:password@` from `base_url`, or [auth]",
                );
            }
            auth(field.table()?, has_plugins)
        }
        (None, Some((username, password))) => Some(Auth::Basic { username, password }),
        (None, None) => Some(Auth::None),
    }
}

fn operations(
    field: &Field<'_, '_>,
    base: &Base<'_>,
    places: &mut Vec<RungPlace>,
) -> BTreeMap<OperationName, Arc<Operation>> {
    let mut built = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        match OperationName::new(&name) {
            Ok(name) => {
                if let Some(operation) = operation(&value, &name, base, places) {
                    built.insert(name, Arc::new(operation));
                }
            }
            Err(error) => {
                value.ctx.problem(&value.path, &value.key_span, error.to_string(), "rename the operation");
            }
        }
    }
    built
}

/// Plugins work in the branches; one that names the fan-out itself would never run.
fn fan_outs_take_no_plugins(
    top: &Reader<'_, '_>,
    operations: &BTreeMap<OperationName, Arc<Operation>>,
    plugins: &[PluginSettings],
) {
    for name in plugins.iter().flat_map(|plugin| plugin.operations.iter().flatten()) {
        if operations.get(name).is_some_and(|operation| operation.fan_out.is_some()) {
            let message = format!("`{name}` is a fan-out, and plugins do not run for those");
            top.problem("plugins", message, "name the operations that are its branches");
        }
    }
}

/// Doubts about the file as a whole.
fn check(
    top: &Reader<'_, '_>,
    base: &Base<'_>,
    operations: &BTreeMap<OperationName, Arc<Operation>>,
    proxy: bool,
) {
    let falls_back = base.fallback.iter().any(|rung| matches!(rung, Rung::Cache));
    let caches =
        operations.values().any(|operation| operation.cache.is_some()) || base.cache.proxy(&[]).is_some();
    if falls_back && !caches && operations.len() == base.operations.len() {
        top.warn(
            "fallback",
            "the rung \"cache\" never answers: nothing is cached here",
            "add ttl = \"10m\" to [cache]",
        );
    }
    if !proxy && base.operations.is_empty() {
        top.warn(
            "proxy",
            "nothing can be called: there are no operations and no proxy",
            "declare [operations.NAME]",
        );
    }
    let factor = base.retry.policy.timeout_factor;
    if factor != 1.0
        && base.timeouts.attempt.is_none()
        && !operations.values().any(|o| o.timeouts.attempt.is_some())
    {
        top.warn("retry", "`timeout_factor` does nothing without `attempt_timeout`", "set `attempt_timeout`");
    }
}
