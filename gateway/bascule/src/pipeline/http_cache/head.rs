//! What a fetch by the rules of HTTP knows of its request, and the provider's own head beside what was made of it.

use super::{
    super::{
        call::Fetch,
        request::{Outbound, shown_url},
        tags::tags,
    },
    invalidation,
};
use crate::config::HttpCache;
use bascule_cache::{
    Epoch, Tags, Variant,
    rfc9111::{Exchange, Forward, Policy, Received, Storable},
};
use http::{HeaderMap, Method, StatusCode};
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

/// What a fetch has to know of the request that it is made for.
pub(in super::super) struct Ask {
    /// The caller's fields, before our conditions took the place of its own.
    pub(super) request: HeaderMap,
    pub(super) policy: Policy,
    /// Why it is made.
    pub(super) because: Forward,
    /// What the answer may be about: our conditions, or a HEAD.
    pub(super) validated: Option<Arc<Variant>>,
    /// From before the store was asked: what is purged since is not renewed.
    pub(super) epoch: Epoch,
}

/// The head of an answer as the provider sent it.
#[derive(Debug)]
pub struct Upstream {
    method: Method,
    status: StatusCode,
    /// As it came, without hop-by-hop fields.
    pub(super) headers: HeaderMap,
    received: Received,
    /// The address that was asked for, where an operation hides it.
    uri: Option<String>,
    /// None if HTTP forbids to store it.
    pub(super) storable: Option<Storable>,
}

/// What the configuration adds to HTTP's rules.
pub(super) fn policy(rule: HttpCache) -> Policy {
    Policy {
        stale_while_revalidate: rule.stale_while_revalidate,
        keep_stale: rule.keep_stale,
        share_cookies: rule.share_cookies,
        ..Policy::default()
    }
}

impl Ask {
    /// Whether this status is the word on what is stored.
    pub(in super::super) fn is_validated_by(&self, status: StatusCode) -> bool {
        self.validated.is_some() && status == StatusCode::NOT_MODIFIED
    }
}

impl Upstream {
    /// For an answer whose head is there now; none where HTTP's rules do not decide.
    pub(in super::super) fn of(
        fetch: &Fetch,
        outbound: &Outbound,
        status: StatusCode,
        headers: &HeaderMap,
        requested_at: Instant,
    ) -> Option<Self> {
        let ask = fetch.http.as_ref()?;
        let received_at = fetch.services.now();
        // What is stored under another name than its address.
        let operation = &fetch.operation;
        let hidden = operation.declared.is_some()
            || operation.phases.request_mapper.is_some()
            || operation.policy.vary_by.caller;
        let mut upstream = Self {
            method: outbound.method.clone(),
            status,
            headers: headers.clone(),
            received: Received { requested_at, received_at, received_on: SystemTime::now() },
            uri: hidden.then(|| invalidation::tag(&shown_url(outbound))).flatten(),
            storable: None,
        };
        upstream.storable = upstream.exchange(&ask.request).storable(&ask.policy).ok();
        Some(upstream)
    }

    /// Whether the body is worth holding.
    pub(in super::super) fn is_storable(&self) -> bool {
        self.storable.is_some()
    }

    /// The exchange that it came by.
    pub(super) fn exchange<'a>(&'a self, request: &'a HeaderMap) -> Exchange<'a> {
        Exchange {
            method: &self.method,
            request,
            status: self.status,
            response: &self.headers,
            received: self.received,
        }
    }

    /// What the answer can be dropped by: the provider's tags, and an unsafe request to the same address. None if there
    /// are too many.
    pub(super) fn tags(&self, integration: &str) -> Option<Tags> {
        self.tags_with(integration, &self.headers)
    }

    /// The same of an answer with these fields, which came for the same request.
    pub(super) fn tags_with(&self, integration: &str, headers: &HeaderMap) -> Option<Tags> {
        tags(integration, headers, self.uri.as_deref()).ok()
    }
}
