//! The phases of a plugin, one method each.
//!
//! Each enters (`call.rs`), runs the guest on a fresh instance, and lets the answer through only after it
//! has been checked (`answer.rs`). All are cancel-safe: a dropped future drops the instance, gives its
//! permits back, and counts for nothing in the breaker.

use std::pin::pin;
use std::time::Instant;

use super::Plugin;
use super::answer::{self, AuthPatch, Mapping, Reply};
use super::call::lend;
use crate::bindings::bascule::plugin::types::{Fault, RequestHead, ResponseHead};
use crate::bindings::exports::bascule::plugin::classifier::Classification;
use crate::bindings::exports::bascule::plugin::error_mapper::Cause;
use crate::body::HostBody;
use crate::error::PluginError;
use crate::phase::{Hook, Phase};
use crate::state::CallContext;
use crate::token::Token;

/// In, a fresh instance, the call, and out again: the visit and the guest's answer. A macro, because each
/// interface has types of its own for its indices and its functions.
macro_rules! visit {
    ($plugin:ident, $ctx:ident, $phase:expr, $field:ident, |$store:ident, $guest:ident| $call:block) => {{
        let mut visit = $plugin.enter($phase, $ctx).await?;
        let found = visit.guest(|phases| phases.$field.as_ref())?;
        let ($store, limit) = visit.parts();
        let result = {
            let guest = pin!(async {
                let instance = found.pre.instantiate_async(&mut *$store).await?;
                let $guest = found.indices.load(&mut *$store, &instance)?;
                $call
            });
            limit.hold(&$plugin.turns, guest).await
        };
        let answer = visit.settle(result)?;
        (visit, answer)
    }};
}

impl Plugin {
    /// The part of the cache key that depends on the input, at most 4 KiB; `None` = do not cache. The
    /// plugin may read `input`.
    ///
    /// # Errors
    /// Any [`PluginError`] but [`PluginError::Fault`].
    pub async fn key_material(
        &self,
        ctx: &CallContext,
        input: HostBody,
    ) -> Result<Option<Vec<u8>>, PluginError> {
        self.observed(Phase::CachePolicy, async {
            let (_, material) = visit!(self, ctx, Phase::CachePolicy, cache_policy, |store, guest| {
                let input = lend(store, input)?;
                guest.call_key_material(&mut *store, input).await
            });
            answer::key_material(material)
        })
        .await
    }

    /// The outbound request, or an answer without one. `draft` is what the operation yields without a
    /// plugin, `input` the caller's body, which the plugin may read.
    ///
    /// # Errors
    /// Any [`PluginError`].
    pub async fn map_request(
        &self,
        ctx: &CallContext,
        draft: RequestHead,
        input: HostBody,
    ) -> Result<Mapping, PluginError> {
        self.observed(Phase::RequestMapper, async {
            let (mut visit, mapping) =
                visit!(self, ctx, Phase::RequestMapper, request_mapper, |store, guest| {
                    let input = lend(store, input)?;
                    guest.call_map_request(&mut *store, &draft, input).await
                });
            let mapping = mapping.map_err(|fault| visit.fault(fault))?;
            answer::mapping(mapping, visit.state())
        })
        .await
    }

    /// A bearer token for that scope, with side requests if the plugin is granted any.
    ///
    /// # Errors
    /// Any [`PluginError`].
    pub async fn fetch_token(&self, ctx: &CallContext, scope: &str) -> Result<Token, PluginError> {
        self.observed(Phase::TokenSource, async {
            let (mut visit, token) = visit!(self, ctx, Phase::TokenSource, token_source, |store, guest| {
                guest.call_fetch_token(&mut *store, scope).await
            });
            answer::token(token.map_err(|fault| visit.fault(fault))?)
        })
        .await
    }

    /// What authenticates the request, secrets already put in. `body` can be hashed; reading it takes
    /// the grant `body-read`.
    ///
    /// # Errors
    /// Any [`PluginError`]; the request must not be sent then.
    pub async fn sign(
        &self,
        ctx: &CallContext,
        head: RequestHead,
        authority: &str,
        body: Option<HostBody>,
    ) -> Result<AuthPatch, PluginError> {
        self.observed(Phase::Signer, async {
            let (mut visit, patch) = visit!(self, ctx, Phase::Signer, signer, |store, guest| {
                let body = body.map(|body| lend(store, body)).transpose()?;
                guest.call_sign(&mut *store, &head, authority, body).await
            });
            let patch = patch.map_err(|fault| visit.fault(fault))?;
            answer::auth_patch(patch, visit.state())
        })
        .await
    }

    /// How one answer of the provider is to be judged. Reading `body` takes the grant `body-read`.
    ///
    /// # Errors
    /// Any [`PluginError`] but [`PluginError::Fault`].
    pub async fn classify(
        &self,
        ctx: &CallContext,
        head: ResponseHead,
        body: Option<HostBody>,
    ) -> Result<Classification, PluginError> {
        self.observed(Phase::Classifier, async {
            let (_, classification) = visit!(self, ctx, Phase::Classifier, classifier, |store, guest| {
                let body = body.map(|body| lend(store, body)).transpose()?;
                guest.call_classify(&mut *store, &head, body).await
            });
            Ok(classification)
        })
        .await
    }

    /// The caller's answer, made from a success. `carry` is what the request mapper handed over.
    ///
    /// # Errors
    /// Any [`PluginError`]; the effect at the provider has happened all the same.
    pub async fn map_response(
        &self,
        ctx: &CallContext,
        head: ResponseHead,
        body: HostBody,
        carry: Vec<u8>,
    ) -> Result<Reply, PluginError> {
        self.observed(Phase::ResponseMapper, async {
            let (mut visit, reply) =
                visit!(self, ctx, Phase::ResponseMapper, response_mapper, |store, guest| {
                    let body = lend(store, body)?;
                    guest.call_map_response(&mut *store, &head, body, &carry).await
                });
            let reply = reply.map_err(|fault| visit.fault(fault))?;
            answer::reply(reply, visit.state())
        })
        .await
    }

    /// The fault to show to the caller when no attempt succeeded.
    ///
    /// # Errors
    /// Any [`PluginError`] but [`PluginError::Fault`]: the fault is the answer here.
    pub async fn map_error(
        &self,
        ctx: &CallContext,
        cause: Cause,
        head: Option<ResponseHead>,
        body: Option<HostBody>,
        carry: Vec<u8>,
    ) -> Result<Fault, PluginError> {
        self.observed(Phase::ErrorMapper, async {
            let (mut visit, fault) = visit!(self, ctx, Phase::ErrorMapper, error_mapper, |store, guest| {
                let body = body.map(|body| lend(store, body)).transpose()?;
                guest.call_map_error(&mut *store, cause, head.as_ref(), body, &carry).await
            });
            Ok(answer::fault(fault, visit.state()))
        })
        .await
    }

    /// Reports duration and failure of a call to the observer.
    pub(crate) async fn observed<R>(
        &self,
        hook: impl Into<Hook>,
        call: impl Future<Output = Result<R, PluginError>>,
    ) -> Result<R, PluginError> {
        let started = Instant::now();
        let result = call.await;
        let failure = result.as_ref().err().map(PluginError::kind);
        self.shared.observer.call(&self.shared.name, hook.into().as_str(), started.elapsed(), failure);
        result
    }
}
