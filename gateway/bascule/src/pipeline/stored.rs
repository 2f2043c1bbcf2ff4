//! What is stored for a call, for operators: looked at and dropped, without making the call.
//!
//! It is found by the key that the call itself would have, without a caller and without headers. Where answers are told
//! apart by those too, they can only be dropped by operation.

use super::{
    Call, Generation, Input, InputBody, LiveIntegration, Origin, ProxyRequest, Services, fan_out, http_cache,
    lookup, validate,
};
use crate::{
    config::CachePolicy,
    model::{Code, Problem},
};
use bascule_cache::{Entry, Key};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// Where the answer to a call is stored.
pub struct Place {
    call: Call,
    key: Key,
}

/// A stored answer, without its body.
#[derive(Debug)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: StatusCode,
    /// Its headers as callers get them.
    pub headers: HeaderMap,
    /// Octets of the body.
    pub length: usize,
    /// How old it is.
    pub age: Duration,
    /// Seconds of freshness left; negative when stale.
    pub ttl: i64,
}

impl Place {
    /// Where the answer to a call of this operation is; of `proxy`, the parameters `path` and `query` name the request.
    /// None for calls that go past the cache.
    ///
    /// # Errors
    /// `unknown-operation`, or `invalid-parameters` as the call itself would have them.
    pub async fn find(
        services: &Arc<Services>,
        generation: &Arc<Generation>,
        integration: &Arc<LiveIntegration>,
        operation: &str,
        params: Map<String, Value>,
    ) -> Result<Option<Self>, Box<Problem>> {
        let (operation, input) = if operation == integration.proxy.name.as_str() {
            (&integration.proxy, proxied(&params)?)
        } else {
            let found = integration.operations.get(operation).ok_or_else(|| {
                let detail = format!(
                    "`{}` has no operation `{}`",
                    integration.settings.name,
                    operation.escape_debug()
                );
                Problem::new(Code::UnknownOperation, detail)
            })?;
            (found, Input::Declared { params, texts: true, body: None })
        };
        let mut call = Call::by_gateway(services, generation, integration, operation, input, Origin::Caller);
        validate::parameters(&mut call).map_err(|failure| Box::new(failure.problem))?;
        let key = match call.operation.policy.cache {
            Some(CachePolicy::Http(_)) => Some(http_cache::key(&call)),
            _ => lookup::key(&call).await,
        };
        Ok(key.map(|key| Self { call, key }))
    }

    /// What else tells the answers to this call apart, `callers` or `headers`: there may be several then, of which this
    /// is the one without them. None: there is one.
    pub fn one_of_several_by(&self) -> Option<&'static str> {
        let Call { generation, operation, input, .. } = &self.call;
        let policy = &operation.policy;
        let branches = fan_out::branches(operation);
        if policy.vary_by.caller
            || branches.is_some_and(|branches| fan_out::varies_by_caller(generation, &branches, 0))
        {
            return Some("callers");
        }
        let by_http = matches!(policy.cache, Some(CachePolicy::Http(_)));
        // By rule, `Accept` and `Accept-Encoding` are part of what is asked for through `/proxy`.
        if matches!(input, Input::Proxy(_)) && !by_http {
            return Some("headers");
        }
        let keyed = policy.forward_headers.iter().any(|name| policy.vary_by.has_header(name));
        (keyed && (!by_http || operation.phases.request_mapper.is_some())).then_some("headers")
    }

    /// What is there.
    pub fn look(&self) -> Option<StoredAnswer> {
        let Self { call, key } = self;
        let (cache, now) = (&call.services.cache, call.services.now());
        let shown = |entry: &Entry| StoredAnswer {
            status: entry.status,
            headers: entry.headers.clone(),
            length: entry.body.len(),
            age: entry.age(now),
            ttl: entry.ttl_left(now),
        };
        if let Some(CachePolicy::Http(_)) = call.operation.policy.cache {
            let variant = cache.select(key, &call.operation.scope, &call.forwarded, now).ok()?;
            return Some(shown(variant.reply()));
        }
        cache.get(key, &call.operation.scope, now).map(|entry| shown(&entry))
    }

    /// Drops it, and what a fetch under way would store.
    pub fn purge(&self) {
        self.call.services.cache.purge_key(&self.key);
    }
}

fn proxied(params: &Map<String, Value>) -> Result<Input, Box<Problem>> {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let Some(path) = text("path").filter(|path| path.starts_with('/')) else {
        let detail = "of `proxy`, the parameter `path` names what is stored, e.g. `/users/1`";
        return Err(Box::new(Problem::new(Code::InvalidParameters, detail)));
    };
    Ok(Input::Proxy(ProxyRequest {
        method: Method::GET,
        path: path.to_owned(),
        query: text("query").map(ToOwned::to_owned),
        body: InputBody::empty(),
    }))
}
