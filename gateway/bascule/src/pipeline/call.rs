//! A call as the stages see it.

use super::{
    Generation, LiveIntegration, LiveOperation, Looked, Policy, Progress, Room, Services, http_cache::Ask,
};
use crate::{
    config::SkipSet,
    model::{IntegrationName, OperationName, StreamBody},
};
use bascule_cache::Key;
use bascule_resilience::{Deadline, Priority};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// What the caller wants done.
pub struct Call {
    /// What all calls share.
    pub services: Arc<Services>,
    /// The configuration that the call began with, and ends with.
    pub generation: Arc<Generation>,
    /// Whose API.
    pub integration: Arc<LiveIntegration>,
    /// Which operation of it.
    pub operation: Arc<LiveOperation>,
    /// Parameters and body.
    pub input: Input,
    /// The caller's headers that go upstream.
    pub forwarded: HeaderMap,
    /// Those of the caller's headers that are for a cache of HTTP and do not go upstream.
    pub asked: HeaderMap,
    /// The caller's idempotency key.
    pub idempotency_key: Option<HeaderValue>,
    /// The caller's `Bascule-Timeout`; bounds fallbacks too.
    pub cap: Deadline,
    /// What the caller may and does bypass.
    pub skip: SkipSet,
    /// The caller's name; none where anyone may call.
    pub caller: Option<Arc<str>>,
    /// How much the caller's calls matter; none: what the operation says.
    pub priority: Option<Priority>,
    /// Span, counters, identity.
    pub progress: Arc<Progress>,
    /// How many ladders and fan-outs this call is inside of.
    pub depth: u8,
    /// What the outermost fan-out that this call is inside of may hold; none: it is inside of none.
    pub room: Option<Arc<Room>>,
    /// Who asks for it.
    pub origin: Origin,
}

/// Who asks for a call: that decides what its ladder may do.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// A caller: on its behalf the call may be queued.
    Caller,
    /// A fan-out or a component, which want data now: what they call is not queued.
    Within,
    /// The outbox, which has its own way with failures: no ladder.
    Outbox,
    /// The gateway itself, for what it is to have in its cache: no ladder.
    WarmUp,
}

impl Call {
    /// A call that nobody makes over HTTP: without headers, caller and time limit of its own.
    pub fn by_gateway(
        services: &Arc<Services>,
        generation: &Arc<Generation>,
        integration: &Arc<LiveIntegration>,
        operation: &Arc<LiveOperation>,
        input: Input,
        origin: Origin,
    ) -> Self {
        Self {
            services: Arc::clone(services),
            generation: Arc::clone(generation),
            integration: Arc::clone(integration),
            operation: Arc::clone(operation),
            input,
            forwarded: HeaderMap::new(),
            asked: HeaderMap::new(),
            idempotency_key: None,
            cap: Deadline::none(),
            skip: SkipSet::default(),
            caller: None,
            priority: None,
            progress: Progress::detached(),
            depth: 0,
            room: None,
            origin,
        }
    }
}

/// What a call works on.
pub enum Input {
    /// A declared operation's parameters, and its payload when it takes a raw body.
    Declared {
        /// As the caller gave them; defaults are filled in by validation.
        params: Map<String, Value>,
        /// Whether values are texts from a query and are to be read as their declared types.
        texts: bool,
        /// The payload of a raw operation.
        body: Option<InputBody>,
    },
    /// A request passed through.
    Proxy(ProxyRequest),
}

/// A request through `/proxy`.
pub struct ProxyRequest {
    /// The caller's method.
    pub method: Method,
    /// Path below the base URL, percent-encoded as it came, with a leading slash.
    pub path: String,
    /// Raw query.
    pub query: Option<String>,
    /// The body.
    pub body: InputBody,
}

impl ProxyRequest {
    /// The same without its body.
    fn bodiless(&self) -> Self {
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            body: InputBody::empty(),
        }
    }
}

/// A caller's payload.
pub enum InputBody {
    /// In memory.
    Held(Bytes),
    /// As it arrives.
    Stream {
        /// The octets.
        body: StreamBody,
        /// Content-Length, when given.
        length: Option<u64>,
    },
}

impl InputBody {
    /// No octets.
    pub fn empty() -> Self {
        Self::Held(Bytes::new())
    }
}

/// What a fetch needs: everything of a call except what only its caller is concerned with. It owns
/// all of it, so that it can be a task of its own.
pub(super) struct Fetch {
    pub(super) services: Arc<Services>,
    /// Where a fan-out finds its branches.
    pub(super) generation: Arc<Generation>,
    pub(super) integration: Arc<LiveIntegration>,
    pub(super) operation: Arc<LiveOperation>,
    pub(super) input: Input,
    pub(super) forwarded: HeaderMap,
    pub(super) idempotency_key: Option<HeaderValue>,
    /// The end of the call: the operation's own timeout, or the caller's where that is nearer.
    pub(super) deadline: Deadline,
    /// The caller's `Bascule-Timeout`: when that passes, the provider is not to blame.
    pub(super) cap: Deadline,
    pub(super) skip: SkipSet,
    pub(super) caller: Option<Arc<str>>,
    /// The caller's own.
    pub(super) priority: Option<Priority>,
    pub(super) progress: Arc<Progress>,
    /// How many ladders and fan-outs the call is inside of.
    pub(super) depth: u8,
    pub(super) room: Option<Arc<Room>>,
    /// Where to store the answer; set when it goes through the cache.
    pub(super) store_as: Option<Key>,
    /// What HTTP's rules have to know; set when they decide what is stored.
    pub(super) http: Option<Arc<Ask>>,
}

/// What a call that is made within another one, as a rung or a branch, takes over from it.
pub(super) struct Outer<'a> {
    pub(super) services: &'a Arc<Services>,
    pub(super) generation: &'a Arc<Generation>,
    /// By when it must end.
    pub(super) cap: Deadline,
    pub(super) skip: SkipSet,
    pub(super) caller: Option<&'a Arc<str>>,
    pub(super) priority: Option<Priority>,
    pub(super) progress: &'a Arc<Progress>,
    /// Of the outer one.
    pub(super) depth: u8,
    pub(super) room: Option<&'a Arc<Room>>,
    pub(super) origin: Origin,
}

impl Outer<'_> {
    /// The call of that operation; none when there is no such operation. Of the caller's headers it gets none.
    pub(super) fn call(
        self,
        (integration, operation): (&IntegrationName, &OperationName),
        params: Map<String, Value>,
        idempotency_key: Option<HeaderValue>,
    ) -> Option<Call> {
        let integration = self.generation.integrations.get(integration)?;
        let operation = integration.operations.get(operation)?;
        let input = Input::Declared { params, texts: false, body: None };
        Some(self.within(integration, operation, input, (HeaderMap::new(), idempotency_key)))
    }

    /// A call with that input, those headers for the provider, and that idempotency key.
    pub(super) fn within(
        &self,
        integration: &Arc<LiveIntegration>,
        operation: &Arc<LiveOperation>,
        input: Input,
        (forwarded, idempotency_key): (HeaderMap, Option<HeaderValue>),
    ) -> Call {
        Call {
            services: Arc::clone(self.services),
            generation: Arc::clone(self.generation),
            integration: Arc::clone(integration),
            operation: Arc::clone(operation),
            input,
            forwarded,
            asked: HeaderMap::new(),
            idempotency_key,
            cap: self.cap,
            skip: self.skip,
            caller: self.caller.map(Arc::clone),
            priority: self.priority,
            progress: Arc::clone(self.progress),
            depth: self.depth + 1,
            room: self.room.map(Arc::clone),
            origin: self.origin,
        }
    }
}

/// Whether a call with this method does no harm when it is made twice; `keyed` says that it has an idempotency key.
pub(super) fn is_safe(policy: &Policy, input: &Input, method: &Method, keyed: bool) -> bool {
    match input {
        Input::Declared { .. } => policy.retry_safe && (!policy.safe_by_key || keyed),
        Input::Proxy(_) => {
            matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
                || (policy.idempotency.is_some() && keyed)
        }
    }
}

impl Fetch {
    /// Whether the answer is stored for a time that the configuration gives.
    pub(super) fn stores_by_rule(&self) -> bool {
        self.store_as.is_some() && self.http.is_none()
    }

    /// The same fetch once more, for a request without a body.
    pub(super) fn again(&self) -> Self {
        let input = match &self.input {
            Input::Declared { params, .. } => {
                Input::Declared { params: params.clone(), texts: false, body: None }
            }
            Input::Proxy(request) => Input::Proxy(request.bodiless()),
        };
        Self {
            services: Arc::clone(&self.services),
            generation: Arc::clone(&self.generation),
            integration: Arc::clone(&self.integration),
            operation: Arc::clone(&self.operation),
            input,
            forwarded: self.forwarded.clone(),
            idempotency_key: self.idempotency_key.clone(),
            caller: self.caller.clone(),
            progress: Arc::clone(&self.progress),
            room: self.room.clone(),
            http: self.http.clone(),
            ..*self
        }
    }

    /// How much the call matters beside others: the caller's word, else the operation's.
    pub(super) fn priority(&self) -> Priority {
        self.priority.unwrap_or(self.operation.policy.priority)
    }
}

impl Call {
    /// The call's method upstream.
    pub(super) fn method(&self) -> &Method {
        match (&self.input, &self.operation.declared) {
            (Input::Proxy(request), _) => &request.method,
            (_, Some(declared)) => &declared.method,
            (_, None) => &Method::GET,
        }
    }

    /// Whether making the call twice does no harm (`semantics.md` §4).
    pub(super) fn is_safe(&self) -> bool {
        is_safe(&self.operation.policy, &self.input, self.method(), self.idempotency_key.is_some())
    }

    /// Takes down what the cache had; what it had for a rung is not what the caller asked for.
    pub(super) fn looked(&self, looked: Looked) {
        if self.depth == 0 {
            self.progress.looked(looked);
        }
    }

    /// The parameters, for cache keys and fallback operations.
    pub(super) fn params(&self) -> Option<&Map<String, Value>> {
        match &self.input {
            Input::Declared { params, .. } => Some(params),
            Input::Proxy(_) => None,
        }
    }

    /// Makes an idempotency key where the declaration wants one and the caller brought none. It is made
    /// once per call, so it is the same over all attempts and fallbacks (`semantics.md` §9).
    pub(super) fn ensure_idempotency_key(&mut self) {
        let generate = self.operation.policy.idempotency.as_ref().is_some_and(|rule| rule.generate);
        let repeatable = matches!(*self.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if generate && !repeatable && self.idempotency_key.is_none() {
            self.idempotency_key = HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).ok();
        }
    }

    /// The fetch for this call. A raw or proxied body moves into it; parameters are copied, because
    /// the ladder may need them again. With a key the fetch is shared: then only the operation's own
    /// timeout bounds it, since its other waiters have their own.
    pub(super) fn take_fetch(&mut self, store_as: Option<Key>) -> Fetch {
        let input = match &mut self.input {
            Input::Declared { params, body, .. } => {
                let body = match body {
                    // The ladder may need it, too.
                    Some(InputBody::Held(octets)) if self.operation.policy.queues() => {
                        Some(InputBody::Held(octets.clone()))
                    }
                    _ => body.take(),
                };
                Input::Declared { params: params.clone(), texts: false, body }
            }
            Input::Proxy(request) => Input::Proxy(ProxyRequest {
                body: std::mem::replace(&mut request.body, InputBody::empty()),
                ..request.bodiless()
            }),
        };
        let whole = self.operation.policy.timeouts.whole;
        let own = Deadline::after(self.services.now(), whole);
        Fetch {
            services: Arc::clone(&self.services),
            generation: Arc::clone(&self.generation),
            integration: Arc::clone(&self.integration),
            operation: Arc::clone(&self.operation),
            input,
            forwarded: self.forwarded.clone(),
            idempotency_key: self.idempotency_key.clone(),
            deadline: if store_as.is_some() { own } else { own.earlier(self.cap) },
            cap: if store_as.is_some() || fits(self.cap, own, whole) { Deadline::none() } else { self.cap },
            skip: self.skip,
            caller: self.caller.clone(),
            priority: self.priority,
            progress: Arc::clone(&self.progress),
            depth: self.depth,
            // What others wait for, too, is not held in this caller's room.
            room: self.room.clone().filter(|_| store_as.is_none()),
            store_as,
            http: None,
        }
    }
}

/// Whether a caller leaves a call nearly all of its own time: then what times out is the provider, even if the caller's
/// time began, and is over, a little earlier. So it is with a fan-out's branch that has the same `timeout`.
fn fits(cap: Deadline, own: Deadline, whole: Duration) -> bool {
    match (cap.instant(), own.instant()) {
        (Some(cap), Some(own)) => own.saturating_duration_since(cap) <= whole / 10,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_caller_with_nearly_as_much_time_as_the_call_is_not_impatient() {
        let (now, whole) = (Instant::now(), Duration::from_secs(10));
        let own = Deadline::after(now, whole);
        let after = |seconds| Deadline::after(now, Duration::from_secs(seconds));
        assert!(
            fits(after(9), own, whole) && fits(after(20), own, whole) && fits(Deadline::none(), own, whole)
        );
        assert!(!fits(after(8), own, whole));
    }
}
