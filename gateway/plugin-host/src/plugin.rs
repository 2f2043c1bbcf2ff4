//! A loaded plugin and its phases.
//!
//! Each method is one phase of one call: it enters (`call.rs`), runs the guest on a fresh instance, and
//! lets the answer through only after it has been checked (`answer.rs`). All methods are cancel-safe:
//! a dropped future drops the instance, gives its permits back, and counts for nothing in the breaker.

pub(crate) mod answer;
pub(crate) mod breaker;
pub(crate) mod call;
pub(crate) mod diagnose;
pub(crate) mod load;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::bindings::bascule::plugin::types::{Fault, RequestHead, ResponseHead};
use crate::bindings::exports::bascule::plugin::classifier::Classification;
use crate::bindings::exports::bascule::plugin::error_mapper::Cause;
use crate::bindings::exports::bascule::plugin::lifecycle::Description;
use crate::body::HostBody;
use crate::error::PluginError;
use crate::host::PluginHost;
use crate::phase::Phase;
use crate::state::{CallContext, Shared};
use answer::{AuthPatch, Mapping, Reply};
use breaker::Breaker;
use call::lend;
use load::Loaded;

/// Tells a loaded plugin from all others of its host, also from the same file loaded once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluginId(pub(crate) u64);

/// A plugin that is loaded, checked and ready to be called.
pub struct Plugin {
    pub(crate) host: Arc<PluginHost>,
    pub(crate) shared: Arc<Shared>,
    id: PluginId,
    digest: String,
    description: Option<Description>,
    /// All that it exports.
    exported: Vec<Phase>,
    phases: Vec<Phase>,
    /// One for each engine of the host, in its order.
    loaded: Arc<[Loaded]>,
    /// Calls of this plugin at the same time.
    instances: Semaphore,
    breaker: Mutex<Breaker>,
}

impl Plugin {
    /// The name it was loaded under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Which one it is, among all that its host has loaded.
    #[must_use]
    pub fn id(&self) -> PluginId {
        self.id
    }

    /// sha256 of its file, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it takes part in that phase: exported, and not filtered out.
    #[must_use]
    pub fn has(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// The phases it takes part in, in the order of a call.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        self.phases.clone()
    }

    /// What it says about itself, if it exports `lifecycle`.
    #[must_use]
    pub fn description(&self) -> Option<Description> {
        self.description.clone()
    }

    /// Time until the next probe while the plugin's breaker is open, `None` otherwise. For status pages:
    /// a call finds out by itself.
    #[must_use]
    pub fn out_of_service(&self) -> Option<Duration> {
        self.breaker.lock().open_for(Instant::now())
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
            let mut visit = self.enter(Phase::RequestMapper, ctx).await?;
            let guest = visit.guest(|phases| phases.request_mapper.as_ref())?;
            let (store, limit) = visit.parts();
            let result = limit
                .hold(async {
                    let instance = guest.pre.instantiate_async(&mut *store).await?;
                    let input = lend(store, input)?;
                    let guest = guest.indices.load(&mut *store, &instance)?;
                    guest.call_map_request(&mut *store, &draft, input).await
                })
                .await;
            let answer = visit.settle(result)?;
            let mapping = answer.map_err(|fault| visit.fault(fault))?;
            answer::mapping(mapping, visit.state())
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
            let mut visit = self.enter(Phase::Signer, ctx).await?;
            let guest = visit.guest(|phases| phases.signer.as_ref())?;
            let (store, limit) = visit.parts();
            let result = limit
                .hold(async {
                    let instance = guest.pre.instantiate_async(&mut *store).await?;
                    let body = body.map(|body| lend(store, body)).transpose()?;
                    let guest = guest.indices.load(&mut *store, &instance)?;
                    guest.call_sign(&mut *store, &head, authority, body).await
                })
                .await;
            let answer = visit.settle(result)?;
            let patch = answer.map_err(|fault| visit.fault(fault))?;
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
            let mut visit = self.enter(Phase::Classifier, ctx).await?;
            let guest = visit.guest(|phases| phases.classifier.as_ref())?;
            let (store, limit) = visit.parts();
            let result = limit
                .hold(async {
                    let instance = guest.pre.instantiate_async(&mut *store).await?;
                    let body = body.map(|body| lend(store, body)).transpose()?;
                    let guest = guest.indices.load(&mut *store, &instance)?;
                    guest.call_classify(&mut *store, &head, body).await
                })
                .await;
            visit.settle(result)
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
            let mut visit = self.enter(Phase::ResponseMapper, ctx).await?;
            let guest = visit.guest(|phases| phases.response_mapper.as_ref())?;
            let (store, limit) = visit.parts();
            let result = limit
                .hold(async {
                    let instance = guest.pre.instantiate_async(&mut *store).await?;
                    let body = lend(store, body)?;
                    let guest = guest.indices.load(&mut *store, &instance)?;
                    guest.call_map_response(&mut *store, &head, body, &carry).await
                })
                .await;
            let answer = visit.settle(result)?;
            let reply = answer.map_err(|fault| visit.fault(fault))?;
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
            let mut visit = self.enter(Phase::ErrorMapper, ctx).await?;
            let guest = visit.guest(|phases| phases.error_mapper.as_ref())?;
            let (store, limit) = visit.parts();
            let result = limit
                .hold(async {
                    let instance = guest.pre.instantiate_async(&mut *store).await?;
                    let body = body.map(|body| lend(store, body)).transpose()?;
                    let guest = guest.indices.load(&mut *store, &instance)?;
                    guest.call_map_error(&mut *store, cause, head.as_ref(), body, &carry).await
                })
                .await;
            let fault = visit.settle(result)?;
            Ok(answer::fault(fault, visit.state()))
        })
        .await
    }

    /// The same code, with all the phases that it exports, under other surroundings.
    pub(crate) fn with(&self, shared: Shared) -> Self {
        Self {
            host: Arc::clone(&self.host),
            instances: Semaphore::new(instances(&shared)),
            shared: Arc::new(shared),
            id: self.id,
            digest: self.digest.clone(),
            description: self.description.clone(),
            exported: self.exported.clone(),
            phases: self.exported.clone(),
            loaded: Arc::clone(&self.loaded),
            breaker: Mutex::default(),
        }
    }

    /// Reports duration and failure of a call to the observer.
    async fn observed<R>(
        &self,
        phase: Phase,
        call: impl Future<Output = Result<R, PluginError>>,
    ) -> Result<R, PluginError> {
        let started = Instant::now();
        let result = call.await;
        let failure = result.as_ref().err().map(PluginError::kind);
        self.shared.observer.call(&self.shared.name, phase.as_str(), started.elapsed(), failure);
        result
    }
}

/// Calls of the plugin at the same time, as a semaphore can count them.
fn instances(shared: &Shared) -> usize {
    shared.limits.instances.min(Semaphore::MAX_PERMITS)
}
