//! From a request to a call: the caller, the names, the limits, the parameters and the body.

use super::{
    body::CallerBody,
    callers::{Caller, authenticate},
    completion::Completion,
    inbound::Inbound,
    parameters,
    route::{Route, method_not_allowed},
};
use crate::{
    config::{BodyKind, CachePolicy, Operation, ParameterType, SkipSet, parse_duration},
    model::{BodyError, Code, Problem, TimeoutKind, end_to_end, is_hop_by_hop, named_by_connection},
    pipeline::{
        Call, Generation, Held, IDEMPOTENCY_KEY, Input, InputBody, LiveIntegration, LiveOperation, Origin,
        Progress, ProxyRequest, REPLAY_BUFFER, SIGN_BUFFER, Services, hold,
    },
};
use bascule_resilience::Deadline;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Request,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        PRAGMA, RANGE,
    },
    request::Parts,
};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Most header lines of a request.
const HEADERS_MAX: usize = 128;
/// Longest header section of a request, in octets.
const HEADERS_BYTES_MAX: usize = 64 * 1024;

/// Longest that a body which is held may take to arrive.
const HOLD_MAX: Duration = Duration::from_secs(120);

type Refused = Box<Problem>;

/// What requests are judged by.
pub(super) struct Known<'a> {
    pub(super) services: &'a Arc<Services>,
    pub(super) generation: &'a Arc<Generation>,
    pub(super) inbound: &'a Inbound,
}

/// Makes the call that a request asks for.
///
/// # Errors
/// The problem that the caller reads; nothing has been sent to the provider.
pub(super) async fn prepare(
    known: Known<'_>,
    progress: &Arc<Progress>,
    completion: &mut Completion,
    request: Request<Incoming>,
    route: Route,
) -> Result<Call, Refused> {
    let Known { services, generation, inbound } = known;
    let (parts, incoming) = request.into_parts();
    let server = &generation.config.server;
    check_size(&parts.headers)?;
    check_host(&parts)?;
    let caller = authenticate(server, &parts.headers)?;
    if let Some(name) = &caller.name {
        completion.caller(name, caller.priority);
    }
    let (integration, operation) = find(generation, &route)?;
    completion.place(&integration, &operation);
    caller.authorize(integration.settings.name.as_str(), operation.name.as_str())?;
    inbound.admit(&server.api_keys, &caller)?;
    let skip = skip(&parts.headers, server.allow_skip)?;
    let cap = cap(services, &parts.headers)?;
    let key =
        parts.headers.get(operation.idempotency_header()).or_else(|| parts.headers.get(&IDEMPOTENCY_KEY));
    let idempotency_key = key.filter(|key| !key.is_empty()).cloned();
    let max_body = server.max_body;
    let body = CallerBody::new(incoming, completion.octets_in());
    let asked = asked(&operation, &parts);
    let (input, forwarded) = match (route, &operation.declared) {
        (Route::Proxy { path, .. }, _) => {
            if path.parse::<http::Uri>().is_err() {
                return Err(Problem::new(Code::InvalidRequest, "the path is no URL path").into());
            }
            let forwarded = proxied_headers(&parts.headers, &caller, &operation);
            let rule = operation.policy.idempotency.as_ref();
            let keyed = rule.is_some_and(|rule| rule.generate || idempotency_key.is_some());
            let safe = is_idempotent(&parts.method) || keyed;
            let body = take_body(body, &parts.headers, safe, &operation, None).await?;
            let query = parts.uri.query().map(ToOwned::to_owned);
            (Input::Proxy(ProxyRequest { method: parts.method, path, query, body }), forwarded)
        }
        (_, Some(declared)) => {
            let outbox = generation.config.outbox.as_ref().filter(|_| operation.policy.queues());
            let limits = Limits { held: max_body, queued: outbox.map(|outbox| outbox.bounds.max_body) };
            declared_input(declared, &operation, &parts, body, limits).await?
        }
        (_, None) => return Err(Problem::new(Code::UnknownOperation, "there is no such operation").into()),
    };
    Ok(Call {
        services: Arc::clone(services),
        generation: Arc::clone(generation),
        integration,
        operation,
        input,
        forwarded,
        asked,
        idempotency_key,
        cap,
        skip,
        caller: caller.name,
        priority: caller.priority,
        progress: Arc::clone(progress),
        depth: 0,
        origin: Origin::Caller,
        room: None,
    })
}

pub(super) fn check_size(headers: &HeaderMap) -> Result<(), Refused> {
    let octets: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > HEADERS_MAX || octets > HEADERS_BYTES_MAX {
        let detail = format!("at most {HEADERS_MAX} header lines and {HEADERS_BYTES_MAX} octets of them");
        return Err(Problem::new(Code::HeadersTooLarge, detail).into());
    }
    Ok(())
}

/// HTTP/1.1 wants exactly one `Host` (RFC 9112 §3.2); two of them are how requests are smuggled.
pub(super) fn check_host(parts: &Parts) -> Result<(), Refused> {
    let hosts = parts.headers.get_all(HOST).iter().count();
    let named = hosts == 1 || (hosts == 0 && parts.uri.authority().is_some());
    if named || (hosts == 0 && parts.version < http::Version::HTTP_11) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidRequest, "a request names exactly one Host").into())
}

fn find(
    generation: &Generation,
    route: &Route,
) -> Result<(Arc<LiveIntegration>, Arc<LiveOperation>), Refused> {
    let (integration, operation) = match route {
        Route::Operation { integration, operation } => (integration, Some(operation)),
        Route::Proxy { integration, .. } => (integration, None),
        Route::Live | Route::Ready | Route::Queued { .. } => {
            return Err(Problem::new(Code::NotFound, "not a call").into());
        }
    };
    let Some(found) = generation.integrations.get(integration.as_str()) else {
        let detail = format!("no integration is called `{}`", integration.escape_debug());
        return Err(Problem::new(Code::UnknownIntegration, detail).into());
    };
    let operation = match operation {
        None if found.settings.proxy => &found.proxy,
        None => {
            let detail = "this integration is not proxied (`proxy = false`)";
            return Err(Problem::new(Code::NotFound, detail)
                .with("integration", integration.as_str())
                .into());
        }
        Some(name) => found.operations.get(name.as_str()).ok_or_else(|| {
            let detail = format!("`{integration}` has no operation `{}`", name.escape_debug());
            Problem::new(Code::UnknownOperation, detail).with("integration", integration.as_str())
        })?,
    };
    Ok((Arc::clone(found), Arc::clone(operation)))
}

/// `Bascule-Skip: retry, circuit, cache`.
fn skip(headers: &HeaderMap, allowed: SkipSet) -> Result<SkipSet, Refused> {
    let mut skip = SkipSet::default();
    for value in headers.get_all("bascule-skip") {
        let text = value.to_str().unwrap_or("?");
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (flag, permitted) = match word.to_ascii_lowercase().as_str() {
                "retry" => (&mut skip.retry, allowed.retry),
                "circuit" => (&mut skip.circuit, allowed.circuit),
                "cache" => (&mut skip.cache, allowed.cache),
                _ => {
                    let detail = "Bascule-Skip takes `retry`, `circuit` and `cache`";
                    return Err(Problem::new(Code::InvalidRequest, detail).into());
                }
            };
            if !permitted {
                let detail = format!("`{word}` may not be skipped here; `server.allow_skip` permits it");
                return Err(Problem::new(Code::Forbidden, detail).into());
            }
            *flag = true;
        }
    }
    Ok(skip)
}

/// `Bascule-Timeout: 2s`.
fn cap(services: &Services, headers: &HeaderMap) -> Result<Deadline, Refused> {
    let Some(value) = headers.get("bascule-timeout") else { return Ok(Deadline::none()) };
    let span =
        value.to_str().ok().and_then(|text| parse_duration(text.trim()).ok()).filter(|span| !span.is_zero());
    match span {
        Some(span) => Ok(Deadline::after(services.now(), span)),
        None => {
            let detail = "Bascule-Timeout takes a span such as `250ms`, `2s` or `1m`";
            Err(Problem::new(Code::InvalidRequest, detail).into())
        }
    }
}

/// How much of a body is held.
#[derive(Clone, Copy)]
struct Limits {
    /// Of one that has to be.
    held: u64,
    /// Of a raw one that may have to be queued.
    queued: Option<u64>,
}

async fn declared_input(
    declared: &Operation,
    operation: &LiveOperation,
    parts: &Parts,
    body: CallerBody,
    limits: Limits,
) -> Result<(Input, HeaderMap), Refused> {
    let raw = declared.body == BodyKind::Raw;
    let safe_method = matches!(declared.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let allow = match (raw, safe_method) {
        (true, _) => "POST, PUT",
        (false, true) => "GET, HEAD, POST",
        (false, false) => "POST",
    };
    let taken = match parts.method {
        Method::POST => true,
        Method::PUT => raw,
        Method::GET | Method::HEAD => !raw && safe_method,
        _ => false,
    };
    if !taken {
        return Err(method_not_allowed(allow).into());
    }
    let named = named_by_connection(&parts.headers);
    let mut forwarded = HeaderMap::new();
    for (name, value) in &parts.headers {
        let content = raw && name.as_str().starts_with("content-") && *name != CONTENT_LENGTH;
        let wanted = content || operation.policy.forward_headers.contains(name);
        if wanted && !is_hop_by_hop(name) && !named.contains(name) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    let is_array = |name: &str| {
        let found = declared.params.declared.iter().find(|(known, _)| known == name);
        found.is_some_and(|(_, parameter)| parameter.kind == ParameterType::Array)
    };
    let query = parts.uri.query().unwrap_or_default();
    let mut params = parameters::from_query(query, is_array)?;
    if raw {
        let safe = operation.policy.retry_safe;
        let body = take_body(body, &parts.headers, safe, operation, limits.queued).await?;
        return Ok((Input::Declared { params, texts: true, body: Some(body) }, forwarded));
    }
    if parts.method != Method::POST {
        return Ok((Input::Declared { params, texts: true, body: None }, forwarded));
    }
    check_json(&parts.headers, &body)?;
    let given = parameters::from_json(&hold_whole(body, &parts.headers, limits.held).await?)?;
    let texts = given.is_empty();
    if !texts && !params.is_empty() {
        let detail = "give the parameters either in the body or in the query";
        return Err(Problem::new(Code::InvalidRequest, detail).into());
    }
    params.extend(given);
    Ok((Input::Declared { params, texts, body: None }, forwarded))
}

/// What a caller of a declared operation says to a cache of HTTP: its conditions and range, where it asks by a method that
/// knows them, and its directives. Through `/proxy` all that goes upstream, and is read there.
fn asked(operation: &LiveOperation, parts: &Parts) -> HeaderMap {
    const DIRECTIVES: [HeaderName; 2] = [CACHE_CONTROL, PRAGMA];
    const CONDITIONS: [HeaderName; 4] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE];
    let by_http = matches!(operation.policy.cache, Some(CachePolicy::Http(_)));
    let mut asked = HeaderMap::new();
    if operation.declared.is_none() || !by_http {
        return asked;
    }
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    for name in DIRECTIVES.iter().chain(CONDITIONS.iter().filter(|_| reads)) {
        for value in parts.headers.get_all(name) {
            asked.append(name.clone(), value.clone());
        }
    }
    asked
}

fn check_json(headers: &HeaderMap, body: &CallerBody) -> Result<(), Refused> {
    let Some(kind) = headers.get(CONTENT_TYPE).filter(|_| !body.is_end_stream()) else { return Ok(()) };
    let essence =
        kind.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "this operation takes its parameters as a JSON object (`Content-Type: application/json`)";
    Err(Problem::new(Code::UnsupportedMediaType, detail).into())
}

async fn hold_whole(body: CallerBody, headers: &HeaderMap, limit: u64) -> Result<Bytes, Refused> {
    let too_large = || Box::new(Problem::new(Code::PayloadTooLarge, format!("at most {limit} octets")));
    if content_length(headers).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    match hold_in_time(body, limit).await? {
        Held::Whole(octets) => Ok(octets),
        Held::Larger(_) => Err(too_large()),
    }
}

/// A raw or proxied body: held where it may have to be sent again, queued or hashed, streamed otherwise.
async fn take_body(
    body: CallerBody,
    headers: &HeaderMap,
    safe: bool,
    operation: &LiveOperation,
    queued: Option<u64>,
) -> Result<InputBody, Refused> {
    if body.is_end_stream() {
        return Ok(InputBody::empty());
    }
    let length = content_length(headers);
    let signed = operation.phases.signer.is_some().then_some(SIGN_BUFFER);
    let replayed = (safe && length.is_some()).then_some(REPLAY_BUFFER);
    let Some(limit) = signed.or(replayed.max(queued)) else {
        return Ok(InputBody::Stream { body: body.boxed(), length });
    };
    if length.is_some_and(|length| length > limit) {
        return Ok(InputBody::Stream { body: body.boxed(), length });
    }
    match hold_in_time(body, limit).await? {
        Held::Whole(octets) => Ok(InputBody::Held(octets)),
        Held::Larger(body) => Ok(InputBody::Stream { body, length }),
    }
}

/// A body that is held must arrive in one piece of time, however it is dripped.
async fn hold_in_time(body: CallerBody, limit: u64) -> Result<Held, Refused> {
    match timeout(HOLD_MAX, hold(body.boxed(), limit)).await {
        Ok(held) => held.map_err(broke),
        Err(_) => Err(broke(BodyError::TimedOut(TimeoutKind::Body))),
    }
}

fn broke(error: BodyError) -> Refused {
    let problem = match error {
        BodyError::TimedOut(TimeoutKind::Read | TimeoutKind::Body) => {
            Problem::new(Code::RequestTimeout, "the request body stalled")
        }
        _ => Problem::new(Code::InvalidRequest, "the request body broke off"),
    };
    problem.into()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// All of the caller's headers but those that are the connection's, Bascule's or about who called.
fn proxied_headers(headers: &HeaderMap, caller: &Caller, operation: &LiveOperation) -> HeaderMap {
    let mut forwarded = end_to_end(headers);
    forwarded.remove(operation.idempotency_header());
    for consumed in &caller.consumed {
        forwarded.remove(consumed);
    }
    forwarded
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn skipping_needs_permission_and_known_words() {
        let all = SkipSet { retry: true, circuit: true, cache: true };
        let asked = skip(&headers(&[("bascule-skip", "retry, Cache")]), all).unwrap();
        assert_eq!(asked, SkipSet { retry: true, circuit: false, cache: true });
        let refused = skip(&headers(&[("bascule-skip", "retry")]), SkipSet::default()).unwrap_err();
        assert_eq!(refused.code, Code::Forbidden);
        assert_eq!(
            skip(&headers(&[("bascule-skip", "limits")]), all).unwrap_err().code,
            Code::InvalidRequest
        );
    }

    #[test]
    fn too_many_headers_are_refused() {
        let mut many = HeaderMap::new();
        for _ in 0..=HEADERS_MAX {
            many.append("x", HeaderValue::from_static("y"));
        }
        assert_eq!(check_size(&many).unwrap_err().code, Code::HeadersTooLarge);
        assert!(check_size(&headers(&[("a", "b")])).is_ok());
    }
}
