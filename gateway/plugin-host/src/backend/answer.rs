//! The answer of a backend: its body while the guest goes on making it, and what it means that the guest is gone.
//!
//! | the body | the guest |
//! | --- | --- |
//! | came to its end | goes on, within its wall time, so that what it still has to do gets done |
//! | is dropped before | ends at once |
//! | ends because the guest did, by a trap or a limit | the body is an error: what came is not all |

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;
use wasmtime_wasi_http::WasiBody;

use super::body::{Gone, GuestBody};
use super::caller::Caller;
use crate::error::PluginError;

/// How the guest ended, once it did not end well.
pub(super) type End = Arc<OnceLock<PluginError>>;

/// The task that a guest runs in: ends with its owner, unless it is let go.
pub(super) struct Guest(Option<JoinHandle<Result<(), PluginError>>>);

impl Guest {
    pub(super) fn new(task: JoinHandle<Result<(), PluginError>>) -> Self {
        Self(Some(task))
    }

    /// How it ended; waits for that.
    pub(super) async fn end(mut self) -> Result<(), PluginError> {
        // Taken out only when it has ended: dropped before, the task is too.
        let Some(task) = &mut self.0 else { return Ok(()) };
        task.await.unwrap_or_else(|error| Err(PluginError::Trapped { message: error.to_string() }))
    }

    /// Lets it go on by itself.
    fn let_go(&mut self) {
        self.0 = None;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// The body of a backend's answer. To drop it before its end ends the guest.
pub struct AnswerBody {
    body: GuestBody,
    guest: Guest,
    end: End,
    caller: Caller,
    /// Octets still to come, where the head says how many there are.
    left: Option<u64>,
}

impl AnswerBody {
    pub(super) fn new(
        method: &Method,
        head: &Parts,
        body: WasiBody,
        guest: Guest,
        end: End,
        caller: Caller,
    ) -> Self {
        caller.reads(false);
        let bodiless = *method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        Self {
            body: GuestBody::new(body, Gone::default()),
            guest,
            end,
            caller,
            left: if bodiless { Some(0) } else { length() },
        }
    }

    /// What the end of the pieces means.
    fn ended(&mut self) -> Option<Result<Frame<Bytes>, PluginError>> {
        match self.end.get() {
            Some(error) => Some(Err(error.clone())),
            None if self.left.is_some_and(|left| left > 0) => {
                Some(Err(PluginError::bad_answer("its body is shorter than it said")))
            }
            None => {
                self.guest.let_go();
                None
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = PluginError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PluginError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // After the end there is nothing to read: what the guest still does takes its own time.
        self.caller.reads(!matches!(frame, Poll::Ready(Some(_))));
        Poll::Ready(match ready!(frame) {
            None => self.ended(),
            Some(Ok(frame)) => {
                let octets = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(octets));
                Some(Ok(frame))
            }
            Some(Err(_)) => {
                let error = self.end.get().cloned();
                Some(Err(error.unwrap_or_else(|| PluginError::bad_answer("its body broke off"))))
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Who takes exactly what was announced does not ask for the end.
        if self.left == Some(0) {
            self.guest.let_go();
            self.caller.reads(true);
        } else if self.guest.0.is_some() {
            // Said before the body is gone, which the guest may notice before it is ended.
            self.caller.leaves();
        }
    }
}
