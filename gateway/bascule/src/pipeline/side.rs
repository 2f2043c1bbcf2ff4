//! Side requests: what plugins ask of an integration's endpoints by themselves.
//!
//! They go the way of attempts, through the endpoint's kept connections, the egress rules, the call's deadline and
//! the integration's rate limit, with two differences. Each endpoint has a breaker of its own for them, with the
//! settings of the integration's, so that a plugin that asks for the wrong things cannot open the circuit of its
//! integration's calls. And they take no place among the calls at a time: the call that they belong to has one, and
//! to wait for a second while holding the first is how calls lock each other out. How many a phase may send is the
//! plugin host's to count. They are never repeated; a plugin that wants that does it within its budget.

use super::{
    attempts::heed,
    classify::{by_status, judge_error},
    held::readable,
    mechanisms,
    peers::{Share, Shares},
    phases::{from_guest, response_head},
    quota,
    request::{Outbound, OutboundBody, Wire, shown_url},
};
use crate::{
    config::Integration,
    model::{Outcome, Payload, TimeoutKind, is_hop_by_hop, strip_hop_by_hop},
    telemetry::{AttemptSpan, HookSpan, IntegrationMetrics, Telemetry},
    upstream::{Client, Endpoint, Head, SendError, SendErrorKind},
};
use bascule_plugin_host::{Plugin, SideError, SideFuture, SideRequest, SideRequests, SideResponse};
use bascule_resilience::{
    AttemptRefused, Breaker, Clock, Deadline, Demand, HealthStats, Leave, Mode, Permit, Priority, Random,
    RateLimiter, leave::while_stands,
};
use http::{
    HeaderName, HeaderValue, Method,
    header::{CONTENT_LENGTH, HOST},
};
use http_body_util::BodyExt;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Instant, SystemTime},
};

/// The name of the endpoint of the integration's own base URL.
pub const DEFAULT_ENDPOINT: &str = "default";

/// Share of a plugin's wall time that its side requests may take: the rest is for what it does about the answer.
const SHARE_OF_WALL: f64 = 0.9;

/// The endpoints that the plugins of one integration may send to, and what watches over it.
pub struct SideEndpoints {
    /// The integration's settings.
    pub settings: Arc<Integration>,
    /// Makes the exchanges.
    pub client: Client,
    /// The granted ones by name.
    pub endpoints: BTreeMap<String, SideEndpoint>,
    /// The integration's own.
    pub limiter: Arc<RateLimiter>,
    /// That limit's part that is shared with other gateways.
    pub share: Option<Arc<Share>>,
    /// The integration's own.
    pub metrics: Arc<IntegrationMetrics>,
    /// Counts requests, and keeps secrets out of spans.
    pub telemetry: Telemetry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for jitter.
    pub random: Arc<dyn Random>,
}

/// One endpoint as plugins see it.
pub struct SideEndpoint {
    /// Where it is, with its connections.
    pub endpoint: Endpoint,
    /// For side requests alone.
    pub breaker: Arc<Breaker>,
    /// Where the breaker's failures are counted.
    pub breaker_metrics: Arc<IntegrationMetrics>,
    /// How long answers take: no request is sent that would have less time.
    pub times: HealthStats,
}

impl SideEndpoints {
    /// Sends for one phase call of `plugin`, whose side requests must end by `deadline`. They end before the plugin's
    /// own time does: an endpoint that hangs is that endpoint's failure, and the plugin hears of it.
    pub(super) fn sender(
        self: &Arc<Self>,
        plugin: &Plugin,
        deadline: Deadline,
        priority: Priority,
    ) -> Arc<dyn SideRequests> {
        let own = Deadline::after(self.clock.now(), plugin.wall_time().mul_f64(SHARE_OF_WALL));
        Arc::new(Sender { all: Arc::clone(self), deadline: own.earlier(deadline), priority })
    }
}

struct Sender {
    all: Arc<SideEndpoints>,
    deadline: Deadline,
    priority: Priority,
}

impl SideRequests for Sender {
    fn send(&self, request: SideRequest) -> SideFuture<'_> {
        Box::pin(async move {
            let (plugin, endpoint) = (request.plugin.clone(), request.endpoint.clone());
            let done = self.exchange(request).await;
            let result = done.as_ref().map_or_else(|error| name(*error), |_| "answered");
            self.all.telemetry.side_request(&plugin, self.all.settings.name.as_str(), &endpoint, result);
            if let Err(error) = &done {
                tracing::debug!(integration = %self.all.settings.name, plugin, endpoint, %error, "a side request had no answer");
            }
            done
        })
    }
}

impl Sender {
    async fn exchange(&self, request: SideRequest) -> Result<SideResponse, SideError> {
        let all = &*self.all;
        let to = all.endpoints.get(&request.endpoint).ok_or(SideError::Denied)?;
        let is_default = request.endpoint == DEFAULT_ENDPOINT;
        let limit = request.response_bytes_max;
        let (outbound, auth) = outbound(to, request)?;
        let now = all.clock.now();
        if self.deadline.is_expired(now) {
            return Err(SideError::Deadline);
        }
        let permit = to.breaker.acquire(now, all.random.unit()).map_err(|_| SideError::BreakerOpen)?;
        self.leave(to, &permit, now).await?;
        let base = to.endpoint.base();
        let url = || all.telemetry.redactor().url(&shown_url(&outbound));
        let span = HookSpan::request(&outbound.method, url, &base.host, base.port);
        let begun = all.clock.now();
        let received = self.received(to, &outbound, auth, span.as_ref(), limit).await;
        let (outcome, quotas) = match &received {
            Ok((head, _)) => {
                let now = SystemTime::now();
                let header = all.settings.rate_limit.as_ref().and_then(|limit| limit.header.as_ref());
                let quotas = quota::quotas(&head.headers, header, now);
                let retry_after = quota::retry_after(&head.headers, now);
                (by_status(head.status, retry_after, &quotas, false), quotas)
            }
            Err(error) => (judge_error(error), quota::Quotas::default()),
        };
        end(span, &received, outcome);
        // What another endpoint says about quotas is not about the integration's own.
        if is_default {
            let limits = all.settings.rate_limit.as_ref();
            let retry_after_max = all.settings.retry.policy.retry_after_max;
            let now = all.clock.now();
            let held_until =
                heed(&all.limiter, limits, &quotas, outcome, retry_after_max, NonZeroU32::MIN, now);
            if let Some(share) = &all.share {
                share.tell(held_until, &quotas, now);
            }
        }
        self.settle(to, permit, outcome, begun);
        match received {
            Ok((head, Payload::Full(body))) => {
                Ok(SideResponse { head: response_head(head.status, &head.headers), body })
            }
            // Or of a coding that was not asked for and that nobody knows here: no use to a plugin either.
            Ok((_, Payload::Stream(_))) => Err(SideError::TooLarge),
            Err(error) => Err(match error.kind {
                SendErrorKind::Timeout(_) => SideError::Deadline,
                SendErrorKind::Egress => SideError::Denied,
                _ => SideError::Connect,
            }),
        }
    }

    /// A token of the integration's rate limit, while the endpoint's circuit stays closed.
    async fn leave(&self, to: &SideEndpoint, permit: &Permit, now: Instant) -> Result<(), SideError> {
        let all = &*self.all;
        let max_wait = mechanisms::max_wait(all.settings.rate_limit.as_ref());
        let demand = Demand { cost: NonZeroU32::MIN, priority: self.priority };
        let leave = Leave { limits: std::iter::once((&*all.limiter, max_wait)), demand };
        let shares = Shares { all: [all.share.as_ref(), None], demand };
        let waiting = shares.acquire(self.deadline.instant());
        let granted = match while_stands(Some(permit), &*all.clock, waiting).await {
            Err(refused) => Err(AttemptRefused::CircuitOpen(refused)),
            Ok(Err(limited)) => Err(AttemptRefused::Limited { index: 0, limited }),
            Ok(Ok(taken)) => {
                let now = if taken.is_some() { all.clock.now() } else { now };
                let granted =
                    leave.for_attempt(&*all.clock, now, Some(permit), self.deadline, &to.times).await;
                if let (Some(taken), Err(_)) = (&taken, &granted) {
                    taken.give_back();
                }
                granted
            }
        };
        match &granted {
            Err(AttemptRefused::Limited { .. }) => all.metrics.rate_limit("limited"),
            Err(AttemptRefused::CircuitOpen(_)) => {}
            Ok(()) | Err(AttemptRefused::TooLate) => all.metrics.rate_limit("allowed"),
        }
        granted.map_err(|refused| match refused {
            AttemptRefused::Limited { .. } => SideError::Limited,
            AttemptRefused::CircuitOpen(_) => SideError::BreakerOpen,
            AttemptRefused::TooLate => SideError::Deadline,
        })
    }

    /// The answer with its body, decoded and held if it is no larger than that.
    async fn received(
        &self,
        to: &SideEndpoint,
        outbound: &Outbound,
        auth: Vec<(HeaderName, HeaderValue)>,
        span: Option<&AttemptSpan>,
        limit: u64,
    ) -> Result<(Head, Payload), SendError> {
        let unusable = || SendError::unsent(SendErrorKind::Egress, "the request cannot be put on the wire");
        let mut wire = Wire::new(outbound, true, None).map_err(|_| unusable())?;
        if let Some(span) = span {
            span.inject(&mut wire.headers);
        }
        for (name, value) in auth {
            wire.headers.insert(name, value);
        }
        let body = outbound.body.take().ok_or_else(unusable)?;
        let request = wire.into_request(body).map_err(|_| unusable())?;
        let deadline = self.deadline.instant().map(|at| (at.into(), TimeoutKind::Whole));
        let timeouts = &self.all.settings.timeouts;
        let (mut head, exchange) = self.all.client.send(&to.endpoint, request, timeouts, deadline).await?;
        strip_hop_by_hop(&mut head.headers);
        let body = Payload::Stream(exchange.boxed());
        let body = readable(body, head.status, &mut head.headers, limit, deadline).await?;
        Ok((head, body))
    }

    fn settle(&self, to: &SideEndpoint, permit: Permit, outcome: Outcome, begun: Instant) {
        let (now, unit) = (self.all.clock.now(), self.all.random.unit());
        let elapsed = now.saturating_duration_since(begun);
        match outcome.breaker() {
            Some(true) => {
                to.times.record(now, true, elapsed);
                permit.success(now, elapsed, unit);
            }
            Some(false) => {
                if to.breaker.config().mode != Mode::Off {
                    to.breaker_metrics.breaker_failure();
                }
                permit.failure(now, elapsed, unit);
            }
            None => {
                permit.neutral(now);
            }
        }
    }
}

/// The request as the host sends it, and the headers that may be secret. A plugin that sets what is the host's is
/// refused.
fn outbound(
    to: &SideEndpoint,
    request: SideRequest,
) -> Result<(Outbound, Vec<(HeaderName, HeaderValue)>), SideError> {
    let head = request.head;
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| SideError::Denied)?;
    let headers = from_guest(&head.headers).map_err(|_| SideError::Denied)?;
    if headers.keys().any(is_hosts) {
        return Err(SideError::Denied);
    }
    let secret = |(name, value): (String, bascule_plugin_host::SecretValue)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !is_hosts(name))?;
        let mut octets = HeaderValue::from_bytes(&value.bytes).ok()?;
        octets.set_sensitive(value.secret);
        Some((name, octets))
    };
    let auth: Option<Vec<_>> = request.auth.into_iter().map(secret).collect();
    let outbound = Outbound {
        method,
        endpoint: to.endpoint.clone(),
        path: head.path,
        query: head.query,
        secret_query: None,
        headers,
        body: OutboundBody::Held(request.body.map(|body| body.bytes).unwrap_or_default()),
    };
    Ok((outbound, auth.ok_or(SideError::Denied)?))
}

fn is_hosts(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || *name == HOST || *name == CONTENT_LENGTH
}

fn end(span: Option<AttemptSpan>, received: &Result<(Head, Payload), SendError>, outcome: Outcome) {
    let Some(span) = span else { return };
    match received {
        Ok((head, _)) => {
            let error_type = (outcome != Outcome::Success).then(|| outcome.as_str());
            span.end(Some(head.status.as_u16()), error_type);
        }
        Err(error) => span.end(None, Some(error.kind.as_str())),
    }
}

/// The name in metrics.
fn name(error: SideError) -> &'static str {
    match error {
        SideError::Denied => "denied",
        SideError::Limited => "limited",
        SideError::Deadline => "deadline",
        SideError::BreakerOpen => "breaker-open",
        SideError::TooLarge => "too-large",
        _ => "connect",
    }
}
