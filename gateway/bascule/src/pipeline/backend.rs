//! A component in a server's place: the request goes in, and what it asks for itself comes out as calls within the call.
//!
//! Everything around it is as around a server: what it answers is judged, repeated, cached and counted like a provider's
//! answer. Only that it breaks down is not a failure of a provider: that is the plugin breaker's to count, and nothing is
//! repeated. An error that it gives in place of an answer is one, since it speaks of what it depends on.
//!
//! Its own calls are those of `/proxy`, with their integration's credentials, limits, breaker, retries and cache. They
//! share the call's span, counters, deadline and what it may bypass, for as long as somebody waits for the head of the
//! answer; what the component does while its body is being read counts as nobody's. How deep calls lie within calls is
//! bounded as for ladders and fan-outs.

use super::{
    BoundPlugin, Call, Ended, Generation, Input, InputBody, LiveIntegration, Origin, Progress, ProxyRequest,
    REPLAY_BUFFER, Room, SIGN_BUFFER, Services,
    call::{Fetch, Outer},
    failure::Failure,
    fallback::DEPTH_MAX,
    fan_out::whole_call,
    held::{Held, hold},
    phases,
};
use crate::{
    config::SkipSet,
    model::{
        BodyError, CallPhase, Cause, Payload, Place, TimeoutKind, end_to_end, has_dot_segment,
        is_well_encoded,
    },
    upstream::{CallerSide, Head, RequestBody, SendError, SendErrorKind},
};
use bascule_plugin_host::{
    GuestBody, HttpBody, HttpBodyError, OutboundError, OutboundFuture, OutboundRequest, OutboundRequests,
    PluginError,
};
use bascule_resilience::{Deadline, Priority};
use http::{HeaderValue, Method, Request, Response, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use std::{future::ready, sync::Arc};
use tokio::time::{Instant, timeout_at};

/// Why an attempt has no answer.
pub(super) enum Unanswered {
    /// The exchange failed.
    Send(SendError),
    /// The component did.
    Component(PluginError),
}

impl From<SendError> for Unanswered {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

/// The component's answer to the call's `number`th attempt; its body may still be to come. Cancel-safe: dropped, it ends the
/// component's instance.
pub(super) async fn respond(
    fetch: &Fetch,
    backend: &BoundPlugin,
    number: u32,
    key: Option<&HeaderValue>,
    request: Request<RequestBody>,
    deadline: Option<(Instant, TimeoutKind)>,
) -> Result<(Head, Payload), Unanswered> {
    let caller = request.body().caller_side();
    let context = phases::context(fetch, backend, number, key);
    let (progress, _attached) = fetch.progress.branch();
    let calls = Calls {
        services: Arc::clone(&fetch.services),
        generation: Arc::clone(&fetch.generation),
        cap: fetch.deadline,
        skip: fetch.skip,
        caller: fetch.caller.clone(),
        priority: fetch.priority,
        progress,
        depth: fetch.depth,
        room: fetch.room.clone(),
    };
    let overlap = fetch.progress.overlap(CallPhase::Attempt, fetch.services.now());
    let work = backend.plugin.respond(&context, inward(request), Some(Arc::new(calls)));
    let done = match deadline {
        None => work.await,
        Some((at, kind)) => timeout_at(at, work).await.map_err(|_elapsed| {
            SendError::sent(SendErrorKind::Timeout(kind), format!("the {kind} timeout passed"))
        })?,
    };
    overlap.end(CallPhase::Attempt, fetch.services.now());
    match done {
        Ok(response) => Ok(outward(response)),
        Err(error) => Err(match caller.as_deref().and_then(CallerSide::broke) {
            Some(broke) => SendError::caller(broke).into(),
            None => Unanswered::Component(error),
        }),
    }
}

/// The request as the component sees it: no secret enters it, whatever the configuration says.
fn inward(mut request: Request<RequestBody>) -> Request<HttpBody> {
    let secret = request.headers().iter().filter(|(_, value)| value.is_sensitive());
    let secret: Vec<_> = secret.map(|(name, _)| name.clone()).collect();
    for name in secret {
        request.headers_mut().remove(name);
    }
    request.map(|body| body.map_err(|error| Box::new(error) as HttpBodyError).boxed_unsync())
}

fn outward<B>(response: Response<B>) -> (Head, Payload)
where
    B: Body<Data = bytes::Bytes, Error = PluginError> + Send + Sync + 'static,
{
    let (parts, body) = response.into_parts();
    let body = body.map_err(|error| BodyError::Broken(error.to_string().into())).boxed();
    (Head { status: parts.status, headers: parts.headers }, Payload::Stream(body))
}

/// What the caller gets when the component broke down; the ladder may have something better.
pub(super) fn failure(error: &PluginError) -> Box<Failure> {
    let cause = match error {
        PluginError::TimedOut { .. } => Cause::Timeout,
        PluginError::Busy => Cause::Overloaded,
        PluginError::Unavailable { .. } => Cause::CircuitOpen,
        _ => Cause::Transient,
    };
    Failure::plain(phases::problem(error)).because(cause)
}

/// Makes the component's own calls.
struct Calls {
    services: Arc<Services>,
    generation: Arc<Generation>,
    cap: Deadline,
    skip: SkipSet,
    caller: Option<Arc<str>>,
    priority: Option<Priority>,
    progress: Arc<Progress>,
    depth: u8,
    room: Option<Arc<Room>>,
}

impl OutboundRequests for Calls {
    fn send(&self, request: OutboundRequest) -> OutboundFuture {
        let found = self.find(&request);
        match found {
            Err(error) => Box::pin(ready(Err(error))),
            Ok(integration) => {
                let (parts, body) = request.request.into_parts();
                let mut call = self.call(&integration, &parts);
                let holds = holds(&integration, &parts.method);
                let length =
                    parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                Box::pin(async move {
                    // Half a request is not sent; the component knows why there is no other half.
                    let body =
                        taken(body, length, holds).await.map_err(|_broken| OutboundError::BrokenBody)?;
                    if let Input::Proxy(request) = &mut call.input {
                        request.body = body;
                    }
                    Ok(answer(whole_call(call).await, &integration))
                })
            }
        }
    }
}

impl Calls {
    fn find(&self, request: &OutboundRequest) -> Result<Arc<LiveIntegration>, OutboundError> {
        if self.depth >= DEPTH_MAX {
            return Err(OutboundError::TooDeep);
        }
        let path = request.request.uri().path();
        if !is_well_encoded(path) || has_dot_segment(path) {
            return Err(OutboundError::BadTarget);
        }
        // As for callers: who answers TRACE would show our credentials; CONNECT is another protocol.
        if matches!(*request.request.method(), Method::TRACE | Method::CONNECT) {
            return Err(OutboundError::Denied);
        }
        let found = self.generation.integrations.get(request.integration.as_str());
        let found = found.filter(|integration| integration.settings.proxy);
        found.map(Arc::clone).ok_or(OutboundError::Denied)
    }

    /// The call, still without its body.
    fn call(&self, integration: &Arc<LiveIntegration>, parts: &http::request::Parts) -> Call {
        let outer = Outer {
            services: &self.services,
            generation: &self.generation,
            cap: self.cap,
            skip: self.skip,
            caller: self.caller.as_ref(),
            priority: self.priority,
            progress: &self.progress,
            depth: self.depth,
            room: self.room.as_ref(),
            origin: Origin::Within,
        };
        let mut forwarded = end_to_end(&parts.headers);
        let key = forwarded.remove(integration.proxy.idempotency_header()).filter(|key| !key.is_empty());
        let input = Input::Proxy(ProxyRequest {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(ToOwned::to_owned),
            body: InputBody::empty(),
        });
        outer.within(integration, &integration.proxy, input, (forwarded, key))
    }
}

/// Up to how many octets the body is held: where it may have to be sent again or signed.
fn holds(integration: &LiveIntegration, method: &Method) -> Option<u64> {
    let signed = integration.proxy.phases.signer.is_some().then_some(SIGN_BUFFER);
    let repeated =
        matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    signed.or(repeated.then_some(REPLAY_BUFFER))
}

async fn taken(body: GuestBody, length: Option<u64>, holds: Option<u64>) -> Result<InputBody, BodyError> {
    if body.is_end_stream() {
        return Ok(InputBody::empty());
    }
    let body = body.map_err(|error| BodyError::Broken(error.to_string().into())).boxed();
    let Some(limit) = holds else { return Ok(InputBody::Stream { body, length }) };
    Ok(match hold(body, limit).await? {
        Held::Whole(octets) => InputBody::Held(octets),
        Held::Larger(body) => InputBody::Stream { body, length },
    })
}

/// How the call ended, as its caller through `/proxy` would read it.
fn answer(ended: Ended, integration: &LiveIntegration) -> Response<HttpBody> {
    match ended.result {
        Ok(answer) => {
            let mut response = Response::new(match answer.body {
                Payload::Full(octets) => full(octets),
                Payload::Stream(body) => {
                    body.map_err(|error| Box::new(error) as HttpBodyError).boxed_unsync()
                }
            });
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            response
        }
        Err(problem) => {
            let place = Place {
                integration: Some(&integration.settings.name),
                operation: Some(&integration.proxy.name),
                ..Place::default()
            };
            problem.response(place).map(full)
        }
    }
}

fn full(octets: bytes::Bytes) -> HttpBody {
    Full::new(octets).map_err(|never| match never {}).boxed_unsync()
}
