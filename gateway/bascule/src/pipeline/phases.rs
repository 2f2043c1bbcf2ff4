//! Plugin phases as the pipeline calls them: timed, traced, and with every failure turned into what
//! `contract.md` §3 promises.

use super::{
    BoundPlugin, Call, Failure, LiveIntegration, Progress, Services,
    call::{Fetch, Input},
};
use crate::{
    model::{CallPhase, Code, Problem},
    telemetry::HookSpan,
};
use bascule_plugin_host::{
    CallContext, Fault, FaultKind, Header, Phase, PluginError, RequestHead, ResponseHead, SideRequests,
    Tokens,
};
use bascule_resilience::{Deadline, Priority, RenewError};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The credential profile: one per integration, its own (`contract.md` §6).
pub(super) const DEFAULT_PROFILE: &str = "default";

/// The plugins of one operation, by phase.
#[derive(Clone, Default)]
pub struct Phases {
    /// At most one.
    pub cache_policy: Option<BoundPlugin>,
    /// At most one.
    pub token_source: Option<BoundPlugin>,
    /// At most one.
    pub request_mapper: Option<BoundPlugin>,
    /// At most one.
    pub signer: Option<BoundPlugin>,
    /// At most one.
    pub classifier: Option<BoundPlugin>,
    /// In file order, each working on what the one before it made.
    pub response_mappers: Vec<BoundPlugin>,
    /// In file order; the first that answers wins.
    pub error_mappers: Vec<BoundPlugin>,
    /// What answers in a server's place.
    pub backend: Option<BoundPlugin>,
}

impl Phases {
    /// Digests of the plugins that shape an answer: part of its cache key.
    pub(super) fn digests(&self) -> impl Iterator<Item = &str> {
        let single = [&self.cache_policy, &self.request_mapper, &self.classifier, &self.backend];
        let single = single.into_iter().flatten();
        single.chain(&self.response_mappers).map(|bound| bound.plugin.digest())
    }
}

/// The call's facts for a plugin. Attempt 0 is outside the attempt loop.
pub(super) fn context(
    fetch: &Fetch,
    plugin: &BoundPlugin,
    attempt: u32,
    key: Option<&HeaderValue>,
) -> CallContext {
    CallContext {
        integration: fetch.integration.settings.name.shared(),
        operation: fetch.operation.name.shared(),
        call_id: fetch.progress.call_id(),
        credential: DEFAULT_PROFILE.into(),
        attempt,
        remaining: fetch.deadline.remaining(fetch.services.now()).unwrap_or(Duration::MAX),
        idempotency_key: key.and_then(|key| key.to_str().ok()).map(Into::into),
        parameters: parameters(&fetch.input),
        now: SystemTime::now(),
        tokens: Tokens::default(),
        side: side(&fetch.integration, plugin, fetch.deadline, fetch.priority()),
    }
}

/// The same for a phase that runs before the fetch begins or after it has ended.
pub(super) fn call_context(call: &Call, plugin: &BoundPlugin) -> CallContext {
    CallContext {
        integration: call.integration.settings.name.shared(),
        operation: call.operation.name.shared(),
        call_id: call.progress.call_id(),
        credential: DEFAULT_PROFILE.into(),
        attempt: 0,
        remaining: call.cap.remaining(call.services.now()).unwrap_or(Duration::MAX),
        idempotency_key: call.idempotency_key.as_ref().and_then(|key| key.to_str().ok()).map(Into::into),
        parameters: parameters(&call.input),
        now: SystemTime::now(),
        tokens: Tokens::default(),
        side: side(
            &call.integration,
            plugin,
            call.cap,
            call.priority.unwrap_or(call.operation.policy.priority),
        ),
    }
}

/// Who sends the plugin's side requests, if it may send any.
fn side(
    integration: &LiveIntegration,
    plugin: &BoundPlugin,
    deadline: Deadline,
    priority: Priority,
) -> Option<Arc<dyn SideRequests>> {
    let side = integration.side.as_ref().filter(|_| plugin.sends)?;
    Some(side.sender(&plugin.plugin, deadline, priority))
}

fn parameters(input: &Input) -> Arc<str> {
    match input {
        Input::Declared { params, .. } => serde_json::to_string(params).unwrap_or_default().into(),
        Input::Proxy(_) => "{}".into(),
    }
}

/// Runs one phase under a span and a clock.
pub(super) async fn timed<T>(
    services: &Services,
    progress: &Progress,
    phase: Phase,
    plugin: &BoundPlugin,
    work: impl Future<Output = Result<T, PluginError>>,
) -> Result<T, PluginError> {
    let span = progress.plugin_span(phase.as_str(), plugin.plugin.name()).map(HookSpan::new);
    let begun = services.now();
    let before = progress.enter(CallPhase::Plugin, begun);
    let done = match &span {
        Some(span) => span.run(work).await,
        None => work.await,
    };
    let now = services.now();
    progress.back(before, now);
    progress.add_plugin(now.saturating_duration_since(begun));
    if let Some(span) = span {
        span.end(done.as_ref().err().map(failure_name));
    }
    done
}

/// The name of a failure in spans.
fn failure_name(error: &PluginError) -> &'static str {
    match error {
        PluginError::Fault(_) => "fault",
        PluginError::Trapped { .. } => "trap",
        PluginError::TimedOut { .. } => "timeout",
        PluginError::OutOfMemory { .. } => "memory",
        PluginError::Busy => "busy",
        PluginError::Unavailable { .. } => "unavailable",
        _ => "bad-answer",
    }
}

/// A failure of a request mapper, or the sandbox's part of a failure of any phase.
pub(super) fn problem(error: &PluginError) -> Problem {
    match error {
        PluginError::Fault(fault) => fault_problem(fault),
        PluginError::Trapped { .. } => {
            Problem::new(Code::PluginTrapped, "the plugin broke down; the gateway's log has the details")
        }
        PluginError::TimedOut { limit, .. } => {
            Problem::new(Code::PluginTimeout, format!("the plugin ran longer than {} ms", limit.as_millis()))
        }
        PluginError::OutOfMemory { limit } => Problem::new(
            Code::PluginOutOfMemory,
            format!("the plugin wanted more than {limit} octets of memory"),
        ),
        PluginError::Busy => {
            Problem::new(Code::Overloaded, "no plugin instance is free").retry_after(Duration::from_secs(1))
        }
        PluginError::Unavailable { retry_after } => {
            Problem::new(Code::PluginUnavailable, "the plugin has been failing; it is tried again later")
                .retry_after(*retry_after)
        }
        PluginError::BadAnswer { reason } => {
            Problem::new(Code::PluginFailed, format!("the plugin's answer breaks the rules: {reason}"))
        }
        _ => Problem::new(Code::PluginFailed, "the plugin failed"),
    }
}

/// A fault as callers read it.
pub(super) fn fault_problem(fault: &Fault) -> Problem {
    let (code, status) = match fault.kind {
        FaultKind::InvalidInput => (Code::PluginRejected, StatusCode::UNPROCESSABLE_ENTITY),
        FaultKind::Unauthorized => (Code::PluginRejected, StatusCode::UNAUTHORIZED),
        FaultKind::PaymentRequired => (Code::PluginRejected, StatusCode::PAYMENT_REQUIRED),
        FaultKind::Forbidden => (Code::PluginRejected, StatusCode::FORBIDDEN),
        FaultKind::NotFound => (Code::PluginRejected, StatusCode::NOT_FOUND),
        FaultKind::Conflict => (Code::PluginRejected, StatusCode::CONFLICT),
        FaultKind::RateLimited => (Code::PluginRejected, StatusCode::TOO_MANY_REQUESTS),
        FaultKind::Unsupported => (Code::PluginFailed, StatusCode::NOT_IMPLEMENTED),
        FaultKind::UpstreamInvalid | FaultKind::UpstreamFailed | FaultKind::Internal => {
            (Code::PluginFailed, StatusCode::BAD_GATEWAY)
        }
    };
    let mut problem =
        Problem::new(code, fault.message.as_str()).status(status).with("code", fault.code.as_str());
    if let Some(millis) = fault.retry_after_ms {
        problem = problem.retry_after(Duration::from_millis(u64::from(millis)));
    }
    // Extra data is the plugin author's promise to callers; anything but an object breaks it.
    match fault.details.as_deref().map(serde_json::from_str::<serde_json::Value>) {
        Some(Ok(details @ serde_json::Value::Object(_))) => problem.with("details", details),
        _ => problem,
    }
}

/// Any failure of a signer. Nothing has been sent.
pub(super) fn signing_failure(error: &PluginError) -> Box<Failure> {
    let problem = match error {
        // The one fault of a signer that is the caller's to mend.
        PluginError::Fault(fault) if fault.code == "body-too-large-to-sign" => {
            Problem::new(Code::PayloadTooLarge, fault.message.as_str())
        }
        PluginError::Fault(fault) => {
            Problem::new(Code::SigningFailed, fault.message.as_str()).with("code", fault.code.as_str())
        }
        PluginError::BadAnswer { reason } => Problem::new(Code::SigningFailed, reason.to_string()),
        sandbox => problem(sandbox),
    };
    Failure::plain(problem)
}

/// No token could be had: nothing has been sent. What the sandbox has to say keeps its own codes.
pub(super) fn token_failure(error: &RenewError<PluginError>) -> Box<Failure> {
    match error {
        RenewError::Failed(PluginError::Fault(fault)) => {
            let problem = Problem::new(Code::UpstreamAuth, fault.message.as_str());
            Failure::no_credentials(problem.with("code", fault.code.as_str()))
        }
        RenewError::Failed(PluginError::BadAnswer { reason }) => {
            let detail = format!("the plugin's token cannot be used: {reason}");
            Failure::no_credentials(Problem::new(Code::UpstreamAuth, detail))
        }
        RenewError::Failed(sandbox) => Failure::no_credentials(problem(sandbox)),
        _ => Failure::no_token(),
    }
}

/// Any failure of a response mapper: the effect upstream has happened, so it is never retried.
pub(super) fn mapping_failure(error: &PluginError, upstream: StatusCode) -> Box<Failure> {
    let mut problem = problem(error)
        .status(StatusCode::BAD_GATEWAY)
        .with("upstream_status", upstream.as_u16())
        .with("committed", true);
    // "Rejected" is what 4xx are called: the caller has done nothing wrong.
    if problem.code == Code::PluginRejected {
        problem.code = Code::PluginFailed;
    }
    Failure::plain(problem)
}

/// Headers for a guest: lower-case names, values as octets, and none that holds a secret.
pub(super) fn to_guest(headers: &HeaderMap) -> Vec<Header> {
    headers
        .iter()
        .filter(|(_, value)| !value.is_sensitive())
        .map(|(name, value)| Header { name: name.as_str().to_owned(), value: value.as_bytes().to_vec() })
        .collect()
}

/// Headers from a guest.
///
/// # Errors
/// The name of the header that is none.
pub(super) fn from_guest(headers: &[Header]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for Header { name, value } in headers {
        let bad = || format!("`{}` is no header that can be sent", name.escape_debug());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        map.append(parsed, HeaderValue::from_bytes(value).map_err(|_| bad())?);
    }
    Ok(map)
}

pub(super) fn response_head(status: StatusCode, headers: &HeaderMap) -> ResponseHead {
    ResponseHead { status: status.as_u16(), headers: to_guest(headers) }
}

pub(super) fn request_head(
    method: &http::Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> RequestHead {
    RequestHead {
        method: method.as_str().to_owned(),
        endpoint: None,
        path: path.to_owned(),
        query: query.map(ToOwned::to_owned),
        headers: to_guest(headers),
    }
}
