//! One attempt: sign, send, receive, judge.

use super::super::{
    Failure, Reply,
    auth::{Used, authenticate},
    backend::{self, Unanswered},
    call::Fetch,
    classify::{judge, judge_error, timeout_kind},
    held::{held, readable},
    http_cache::Upstream,
    phases,
    progress::{Judged, Noted},
    quota::Quotas,
    request::{Outbound, OutboundBody, Wire, bug, shown_url},
};
use crate::{
    config::Auth,
    model::{CallPhase, Outcome, Payload, Source, TimeoutKind, is_hop_by_hop, strip_hop_by_hop},
    telemetry::AttemptSpan,
    upstream::{Head, RequestBody, SendError},
};
use bascule_plugin_host::{AuthPatch, HostBody, Phase, PluginError};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
};
use http_body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::Instant;

/// Largest answer that is held for a plugin, in octets (`plugins.md`); a larger one streams past it.
const PLUGIN_BODY_MAX: u64 = 10 * 1024 * 1024;

/// Largest body of a failed answer that is taken whole, in octets.
const FAILED_BODY_MAX: u64 = 64 * 1024;

/// Bodies over this are not waited for: they go to the callers while they are being stored. Below it a body usually comes
/// with its head, and an attempt that breaks off in it can still be repeated.
const SHARED_STREAM_FROM: u64 = 64 * 1024;

/// What one attempt came to.
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) breaker_failure: Option<bool>,
    pub(super) quotas: Quotas,
    /// Until when all calls are held because of it.
    pub(super) held_until: Option<std::time::Instant>,
    /// The answer's status, when there was an answer.
    pub(super) status: Option<StatusCode>,
    /// Whether the provider may have seen the request.
    pub(super) sent: bool,
    pub(super) timed_out: bool,
    /// Whether a plugin judged it.
    pub(super) by_plugin: bool,
    /// How long it took from sending to the verdict.
    pub(super) elapsed: Duration,
    pub(super) answer: Result<Received, Box<Failure>>,
}

/// An answer as it was received: headers without hop-by-hop ones, the body held where a later stage
/// needs it.
pub(in super::super) struct Received {
    pub(in super::super) status: StatusCode,
    pub(in super::super) headers: HeaderMap,
    pub(in super::super) body: Payload,
    /// The head as it came, where HTTP's rules need it.
    pub(in super::super) upstream: Option<Box<Upstream>>,
}

impl Received {
    pub(in super::super) fn into_reply(self) -> Reply {
        Reply {
            status: self.status,
            headers: self.headers,
            body: self.body,
            source: Source::Upstream,
            stored: false,
            cache: None,
            upstream: self.upstream,
        }
    }
}

/// Makes one attempt, the call's `number`th, in the time that `limit` allows it (none: the call's). `used` is what it
/// authenticates with, where that had to be fetched; `hedge` says that it runs beside another one.
///
/// # Errors
/// When the request could not be signed: nothing was sent.
pub(super) async fn attempt(
    fetch: &Fetch,
    outbound: &Outbound,
    number: u32,
    limit: Option<Duration>,
    used: &Used,
    hedge: bool,
) -> Result<Attempt, Box<Failure>> {
    let mut under_way = UnderWay { fetch, noted: None };
    fetch.progress.switch(CallPhase::Attempt, fetch.services.now());
    // A hedge is sent again just as a retry is.
    let resend = number - u32::from(!hedge);
    let mut may_repeat = outbound.body.replayable() && super::is_safe(fetch, outbound);
    loop {
        let base = outbound.endpoint.base();
        let url = || fetch.services.telemetry.redactor().url(&shown_url(outbound));
        let span = fetch.progress.attempt_span(resend, &outbound.method, url, &base.host, base.port);
        let deadline = deadline(fetch, limit);
        let wire = match sign(fetch, outbound, number, span.as_ref(), used).await {
            Ok(wire) => wire,
            Err(failure) => {
                end(span, None, Some(failure.error_type));
                return Err(failure);
            }
        };
        let Some(body) = outbound.body.take() else { return Err(bug("a one-shot body was used twice")) };
        let request = wire.into_request(body)?;
        let begun = fetch.services.now();
        let noted = *under_way
            .noted
            .get_or_insert_with(|| fetch.progress.attempt(&fetch.operation.full_name, begun, hedge));
        let sent = match &fetch.operation.phases.backend {
            None => send(fetch, outbound, request, deadline).await,
            Some(component) => {
                let key = idempotency(fetch).map(|(_, value)| value);
                backend::respond(fetch, component, number, key, request, deadline).await
            }
        };
        match sent {
            // The provider had closed an idle connection: neither a failure of its, nor an attempt.
            Err(Unanswered::Send(error)) if error.stale && may_repeat => {
                end(span, None, Some(error.kind.as_str()));
                may_repeat = false;
            }
            sent => {
                let mut attempt = receive(fetch, outbound, (number, begun), sent, used, deadline).await;
                let now = fetch.services.now();
                let elapsed = now.saturating_duration_since(begun);
                attempt.elapsed = elapsed;
                fetch.progress.judged(noted, &judged(fetch, &attempt, elapsed));
                under_way.noted = None;
                let error_type = (attempt.outcome != Outcome::Success).then(|| attempt.outcome.as_str());
                end(span, attempt.status, error_type);
                return Ok(attempt);
            }
        }
    }
}

/// One exchange with a server.
async fn send(
    fetch: &Fetch,
    outbound: &Outbound,
    request: Request<RequestBody>,
    deadline: Option<(Instant, TimeoutKind)>,
) -> Result<(Head, Payload), Unanswered> {
    let timeouts = &fetch.operation.policy.timeouts;
    let (head, exchange) =
        fetch.integration.client.send(&outbound.endpoint, request, timeouts, deadline).await?;
    // Nobody must wait for octets that do not come, whatever Content-Length says.
    let body = match exchange.is_end_stream() {
        true => Payload::Full(Bytes::new()),
        false => Payload::Stream(exchange.boxed()),
    };
    Ok((head, body))
}

/// An exchange that is not judged yet: dropped, it has lost a race or its caller.
struct UnderWay<'a> {
    fetch: &'a Fetch,
    noted: Option<Noted>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(noted) = self.noted {
            self.fetch.progress.given_up(noted, self.fetch.services.now());
        }
    }
}

fn judged<'a>(fetch: &'a Fetch, attempt: &'a Attempt, elapsed: Duration) -> Judged<'a> {
    let retry_after = match attempt.outcome {
        Outcome::Throttled { retry_after } | Outcome::Transient { retry_after } => retry_after,
        _ => None,
    };
    Judged {
        elapsed,
        outcome: attempt.outcome.as_str(),
        status: attempt.status.map(|status| status.as_u16()),
        retry_after,
        quotas: &attempt.quotas,
        numbers: &fetch.integration.quota_numbers,
        timed_out: attempt.timed_out,
        sent: attempt.sent,
    }
}

fn end(span: Option<AttemptSpan>, status: Option<StatusCode>, error_type: Option<&str>) {
    if let Some(span) = span {
        span.end(status.map(|status| status.as_u16()), error_type);
    }
}

/// Signing is the last step before the wire, on a fresh clone of the mapped request.
async fn sign(
    fetch: &Fetch,
    outbound: &Outbound,
    number: u32,
    span: Option<&AttemptSpan>,
    used: &Used,
) -> Result<Wire, Box<Failure>> {
    let phases = &fetch.operation.phases;
    let read = !phases.response_mappers.is_empty() || !phases.error_mappers.is_empty();
    let identity = read || phases.classifier.is_some() || fetch.stores_by_rule();
    let mut wire = Wire::new(outbound, identity, idempotency(fetch))?;
    if let Some(span) = span {
        span.inject(&mut wire.headers);
    }
    // What the signer is shown holds no credentials: built-in ones are put on after it has looked.
    let shown = phases
        .signer
        .as_ref()
        .map(|_| phases::request_head(&wire.method, &wire.path, wire.query.as_deref(), &wire.headers));
    authenticate(fetch, outbound, &mut wire, used)?;
    let (Some(signer), Some(head)) = (&phases.signer, shown) else { return Ok(wire) };
    let mut context = phases::context(fetch, signer, number, idempotency(fetch).map(|(_, value)| value));
    context.tokens = used.tokens();
    let body = match &outbound.body {
        OutboundBody::Held(octets) => HostBody::bytes(octets.clone()),
        OutboundBody::OneShot { length, .. } => HostBody::one_shot(*length),
    };
    let authority = &outbound.endpoint.base().authority;
    let work = signer.plugin.sign(&context, head, authority, Some(body));
    let patch = phases::timed(&fetch.services, &fetch.progress, Phase::Signer, signer, work).await;
    let applied =
        patch.and_then(|patch| apply(&mut wire, &patch).map_err(|reason| PluginError::BadAnswer { reason }));
    applied.map_err(|error| phases::signing_failure(&error))?;
    Ok(wire)
}

/// A signer adds and replaces headers and appends to the query; it can alter nothing else.
fn apply(wire: &mut Wire, patch: &AuthPatch) -> Result<(), String> {
    for (name, value) in &patch.headers {
        let bad = || format!("`{}` is no header that can be sent", name.escape_debug());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        if is_hop_by_hop(&parsed) || parsed == HOST || parsed == CONTENT_LENGTH {
            return Err(format!("it sets `{parsed}`, which is the host's"));
        }
        let mut octets = HeaderValue::from_bytes(&value.bytes).map_err(|_| bad())?;
        octets.set_sensitive(value.secret);
        wire.headers.insert(parsed, octets);
    }
    for (name, value) in &patch.query {
        let text = std::str::from_utf8(&value.bytes).map_err(|_| "a query value is no text".to_owned())?;
        let query = wire.query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(text);
    }
    Ok(())
}

/// The header that carries the idempotency key, when the call has one.
fn idempotency(fetch: &Fetch) -> Option<(&HeaderName, &HeaderValue)> {
    let name = fetch.operation.idempotency_header();
    fetch.idempotency_key.as_ref().map(|key| (name, key))
}

/// The nearer of the call's end and the attempt's.
pub(super) fn deadline(fetch: &Fetch, limit: Option<Duration>) -> Option<(Instant, TimeoutKind)> {
    let whole = fetch.deadline.instant().map(Instant::from_std);
    // A limit beyond what can be added up (`timeout_factor` may be large) is none.
    let own = limit.and_then(|limit| Instant::from_std(fetch.services.now()).checked_add(limit));
    match (whole, own) {
        (Some(whole), Some(own)) if own < whole => Some((own, TimeoutKind::Attempt)),
        (Some(whole), _) => Some((whole, TimeoutKind::Whole)),
        (None, own) => own.map(|own| (own, TimeoutKind::Attempt)),
    }
}

/// Reads as much of the answer as later stages need, and judges it.
async fn receive(
    fetch: &Fetch,
    outbound: &Outbound,
    (number, begun): (u32, std::time::Instant),
    sent: Result<(Head, Payload), Unanswered>,
    used: &Used,
    deadline: Option<(Instant, TimeoutKind)>,
) -> Attempt {
    let (mut head, mut body) = match sent {
        Ok(answered) => answered,
        Err(Unanswered::Send(error)) => return failed(fetch, &error),
        Err(Unanswered::Component(error)) => return broke_down(fetch, &error),
    };
    strip_hop_by_hop(&mut head.headers);
    let upstream = Upstream::of(fetch, outbound, head.status, &head.headers, begun).map(Box::new);
    if outbound.method == Method::HEAD
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        body = Payload::Full(Bytes::new());
    }
    let phases = &fetch.operation.phases;
    if phases.classifier.as_ref().is_some_and(|classifier| classifier.reads_bodies) {
        body = match readable(body, head.status, &mut head.headers, PLUGIN_BODY_MAX, deadline).await {
            Ok(body) => body,
            Err(error) => return failed(fetch, &error),
        };
    }
    let shown = match &body {
        Payload::Full(octets) => Some(octets),
        Payload::Stream(_) => None,
    };
    let auth = &fetch.integration.settings.auth;
    let renewable =
        matches!(auth, Auth::OAuth2(_)) || phases.signer.is_some() || phases.token_source.is_some();
    let judgement = judge(fetch, number, head.status, &head.headers, shown, renewable).await;
    if judgement.outcome == Outcome::AuthExpired {
        used.invalidate();
    }
    if judgement.outcome != Outcome::Success && judgement.outcome != Outcome::Rejected {
        super::remember(fetch, format!("{} from the provider ({})", head.status, judgement.outcome.as_str()));
    }
    let storable = upstream.as_ref().is_some_and(|upstream| upstream.is_storable());
    let whole = match wanted(fetch, judgement.outcome, &head.headers, storable) {
        Wanted::Stream => Ok(body),
        // Small ones are taken whole, so that the connection is free for the next attempt.
        Wanted::IfSmall => held(body, FAILED_BODY_MAX, deadline).await,
        Wanted::ForPlugin => readable(body, head.status, &mut head.headers, PLUGIN_BODY_MAX, deadline).await,
        Wanted::AsItIs => {
            let max = fetch.services.cache.max_entry();
            let streams = fetch.store_as.is_some() && judgement.outcome == Outcome::Success;
            held(body, if streams { max.min(SHARED_STREAM_FROM) } else { max }, deadline).await
        }
        Wanted::ForCache => {
            readable(body, head.status, &mut head.headers, fetch.services.cache.max_entry(), deadline).await
        }
    };
    body = match whole {
        Ok(body) => body,
        Err(error) => return failed(fetch, &error),
    };
    Attempt {
        outcome: judgement.outcome,
        breaker_failure: judgement.breaker_failure,
        quotas: judgement.quotas,
        held_until: None,
        status: Some(head.status),
        sent: true,
        timed_out: false,
        by_plugin: judgement.by_plugin,
        elapsed: Duration::ZERO,
        answer: Ok(Received { status: head.status, headers: head.headers, body, upstream }),
    }
}

/// Whether an answer is a stream of events, which has no end.
pub(in super::super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// In which form a later stage wants the body.
enum Wanted {
    Stream,
    IfSmall,
    ForPlugin,
    /// For any caller, so without its coding.
    ForCache,
    /// For those whom HTTP's rules allow it.
    AsItIs,
}

fn wanted(fetch: &Fetch, outcome: Outcome, headers: &HeaderMap, storable: bool) -> Wanted {
    let phases = &fetch.operation.phases;
    let mapped = match outcome {
        Outcome::Success => !phases.response_mappers.is_empty(),
        _ => !phases.error_mappers.is_empty(),
    };
    let events = is_event_stream(headers);
    match (mapped, fetch.stores_by_rule() && !events) {
        (true, _) => Wanted::ForPlugin,
        (false, _) if storable && !events => Wanted::AsItIs,
        (false, true) => Wanted::ForCache,
        (false, false) if outcome == Outcome::Success || events => Wanted::Stream,
        (false, false) => Wanted::IfSmall,
    }
}

fn failed(fetch: &Fetch, error: &SendError) -> Attempt {
    let timeout = timeout_kind(error);
    if let Some(kind) = timeout {
        fetch.operation.metrics.timeout(kind.as_str());
    }
    super::remember(fetch, error.message.to_string());
    tracing::debug!(operation = %fetch.operation.full_name, kind = error.kind.as_str(), %error, "an attempt failed");
    // The caller's own impatience says nothing about the provider.
    let impatient = timeout == Some(TimeoutKind::Whole) && fetch.cap.is_expired(fetch.services.now());
    Attempt {
        outcome: if impatient { Outcome::Cancelled } else { judge_error(error) },
        breaker_failure: None,
        quotas: Quotas::default(),
        held_until: None,
        status: None,
        sent: error.sent,
        timed_out: timeout.is_some(),
        by_plugin: false,
        elapsed: Duration::ZERO,
        answer: Err(Failure::send(error)),
    }
}

/// The component has no answer. That it broke down says nothing about a provider; an error in place of an answer does.
fn broke_down(fetch: &Fetch, error: &PluginError) -> Attempt {
    super::remember(fetch, error.to_string());
    tracing::warn!(operation = %fetch.operation.full_name, kind = error.kind(), %error, "the component has no answer");
    let outcome = match error {
        PluginError::Fault(_) => Outcome::Transient { retry_after: None },
        _ => Outcome::Cancelled,
    };
    Attempt {
        outcome,
        breaker_failure: None,
        quotas: Quotas::default(),
        held_until: None,
        status: None,
        sent: true,
        timed_out: false,
        by_plugin: false,
        elapsed: Duration::ZERO,
        answer: Err(backend::failure(error)),
    }
}
