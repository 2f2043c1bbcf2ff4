//! One request through a backend: in a task of its own, until the guest has ended.
//!
//! The head of the answer is awaited, its body is not. Without a head the guest's end says why: a trap or a limit, an
//! error of its own in place of an answer, or none of these, which breaks a rule. A head that breaks one ends the guest, and
//! never gets out of its task: so the observer and the breaker learn of it as of a trap.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::answer::{AnswerBody, End, Guest};
use super::caller::{Caller, Upload};
use super::outbound::check;
use super::{HttpBody, OutboundRequests, Role};
use crate::bindings::bascule::plugin::types::{Fault, FaultKind};
use crate::error::PluginError;
use crate::limits::Limits;
use crate::phase::Hook;
use crate::plugin::Plugin;
use crate::plugin::breaker::Permit;
use crate::state::CallContext;

/// The head of an answer with its body still to come, or the guest's word that there is none.
type Head = Result<Response<WasiBody>, ErrorCode>;

impl Plugin {
    /// Whether it serves requests by itself: then [`Plugin::respond`] is what it is there for, and it has no phases.
    #[must_use]
    pub fn is_backend(&self) -> bool {
        matches!(self.shared.role, Role::Backend { .. })
    }

    /// The answer of a backend to a request, whose URI is a path with query and which has a `Host`; the body comes as
    /// the guest makes it. `outbound` sends the guest's own requests; `None` = they are denied.
    ///
    /// Must be called within a tokio runtime. Cancel-safe: to drop the future, or the answer's body before its end, is to
    /// drop the instance, which then counts for nothing in the breaker.
    ///
    /// # Errors
    /// Any [`PluginError`]; [`PluginError::Fault`] when the guest gives an error in place of an answer.
    pub async fn respond(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: Request<HttpBody>,
        outbound: Option<Arc<dyn OutboundRequests>>,
    ) -> Result<Response<AnswerBody>, PluginError> {
        let method = request.method().clone();
        let (head, answered) = oneshot::channel();
        let (end, caller) = (End::default(), Caller::default());
        let request = request.map(|body| caller.upload(body));
        let from = (caller.clone(), outbound);
        let task = serve(Arc::clone(self), ctx.clone(), request, from, head, Arc::clone(&end));
        let guest = Guest::new(tokio::spawn(task));
        match answered.await {
            Ok(Ok(response)) => {
                let (parts, body) = response.into_parts();
                let body = AnswerBody::new(&method, &parts, body, guest, end, caller);
                Ok(Response::from_parts(parts, body))
            }
            Ok(Err(error)) => Err(PluginError::Fault(fault(&error))),
            Err(_none) => {
                guest.end().await?;
                Err(none())
            }
        }
    }
}

/// What is to be said of the head, once the guest has given it.
type Judgement = Arc<OnceLock<Result<(), PluginError>>>;

/// The way of the head to whoever waits for it.
struct Handover {
    plugin: Arc<Plugin>,
    permit: Option<Permit>,
    head: oneshot::Sender<Head>,
    judgement: Judgement,
}

impl Handover {
    fn give(self, head: Head) {
        let judged = head.as_ref().map_or(Ok(()), |response| judge(response, &self.plugin.shared.limits));
        let good = judged.is_ok();
        // The first, since this is called once.
        let _ = self.judgement.set(judged);
        if good {
            if let Some(permit) = &self.permit {
                self.plugin.proven(permit);
            }
            // Nobody may wait any more: the guest is about to be ended then.
            let _ = self.head.send(head);
        }
    }
}

/// Whether it can be the head of an answer.
fn judge(response: &Response<WasiBody>, limits: &Limits) -> Result<(), PluginError> {
    let status = response.status();
    if status.is_informational() {
        return Err(PluginError::bad_answer(format!("the status {}", status.as_u16())));
    }
    check(response.headers(), limits)
}

fn none() -> PluginError {
    PluginError::bad_answer("there is none")
}

/// Says that the answer broke off when the task is dropped before it could say how its guest ended.
struct Unsettled<'a> {
    end: &'a End,
    settled: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if !self.settled {
            let _ = self.end.set(PluginError::Trapped { message: "the host ended it".to_owned() });
        }
    }
}

/// Serves the request. What went wrong is in `end` before anything of the instance is dropped, so that a body that ends
/// knows why.
async fn serve(
    plugin: Arc<Plugin>,
    ctx: CallContext,
    request: Request<Upload>,
    (caller, outbound): (Caller, Option<Arc<dyn OutboundRequests>>),
    head: oneshot::Sender<Head>,
    end: End,
) -> Result<(), PluginError> {
    plugin
        .observed(Hook::Backend, async {
            let mut visit = plugin.admit(Hook::Backend, &ctx).await?;
            // Dropped before the visit, and with it the way of the body's pieces.
            let mut unsettled = Unsettled { end: &end, settled: false };
            let found = visit.guest(|phases| phases.handler.as_ref())?;
            visit.state().serve(caller, outbound);
            let _present = visit.state().present();
            let judgement = Judgement::default();
            let handover = Handover {
                plugin: Arc::clone(&plugin),
                permit: visit.permit(),
                head,
                judgement: Arc::clone(&judgement),
            };
            let (store, limit) = visit.parts();
            let result = {
                let guest = pin!(async {
                    let request = request.map(|body| body.map_err(|_| Error::ConnectionTerminated));
                    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
                    let give = move |head| handover.give(head);
                    let out = store.data_mut().http().new_response_outparam_from_callback(give)?;
                    let instance = found.pre.instantiate_async(&mut *store).await?;
                    let proxy = found.indices.load(&mut *store, &instance)?;
                    proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await
                });
                let mut guest = pin!(limit.hold(&plugin.turns, guest));
                let refused = || matches!(judgement.get(), Some(Err(_)));
                poll_fn(|context| match guest.as_mut().poll(context) {
                    // What it would still do has no use.
                    Poll::Pending if refused() => Poll::Ready(Ok(())),
                    polled => polled,
                })
                .await
            };
            let settled = match judgement.get() {
                Some(Err(error)) => visit.refuse(error.clone()),
                None if result.is_ok() => visit.refuse(none()),
                Some(Ok(())) | None => visit.settle(result),
            };
            if let Err(error) = &settled {
                // Only the first failure is the story, and there is no other.
                let _ = end.set(error.clone());
            }
            unsettled.settled = true;
            settled
        })
        .await
}

/// An error in place of an answer: the component's word that what it depends on has failed.
fn fault(error: &ErrorCode) -> Fault {
    let code = name(&format!("{error:?}"));
    Fault {
        kind: FaultKind::UpstreamFailed,
        message: format!("the component has no answer: {code}"),
        code,
        retry_after_ms: None,
        details: None,
    }
}

/// `ErrorCode::DnsError(…)` as the standard writes it: `dns-error`. What it may hold besides is not for callers.
fn name(debug: &str) -> String {
    let variant = debug.strip_prefix("ErrorCode::").unwrap_or(debug);
    let mut name = String::new();
    for letter in variant.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_named_as_the_standard_names_them() {
        assert_eq!(fault(&ErrorCode::ConnectionRefused).code, "connection-refused");
        let told = ErrorCode::InternalError(Some("a secret".to_owned()));
        assert_eq!(fault(&told).code, "internal-error");
        assert_eq!(fault(&told).message, "the component has no answer: internal-error");
    }
}
