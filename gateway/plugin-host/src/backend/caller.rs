//! What a guest has waited for on its caller's side: pieces of a slow upload, and a reader of its answer.
//!
//! Wall time runs on meanwhile, since an instance is held. The decision: **a guest that ends for its caller's sake is not
//! to blame**, so that slow callers cannot open a breaker. That is a guest whose wall time ends while it waits for its
//! caller, or half of whose wall time went that way, and one that breaks down after its caller broke off or left.
//!
//! Only the caller is looked at here: who waits for an integration has chosen to.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::{HttpBody, HttpBodyError};
use crate::error::{PluginError, TimeoutKind};

/// The caller of one request; known to its body, to the answer's, and to the instance between them.
#[derive(Clone, Default)]
pub(crate) struct Caller(Arc<Mutex<Waits>>);

#[derive(Default)]
struct Waits {
    /// A piece of the request's body was asked for and is not there.
    upload: bool,
    /// Nobody waits for the next piece of the answer.
    absent: bool,
    /// The caller broke the request's body off, or went away from the answer's.
    left: bool,
    /// Since when one of the first two has been so.
    since: Option<Instant>,
    /// How long it was so before.
    before: Duration,
}

impl Waits {
    /// How long the caller has been waited for.
    fn total(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Caller {
    fn change(&self, change: impl FnOnce(&mut Waits)) {
        let mut waits = self.0.lock();
        change(&mut waits);
        if !waits.upload && !waits.absent {
            waits.before = waits.total();
            waits.since = None;
        } else if waits.since.is_none() {
            waits.since = Some(Instant::now());
        }
    }

    /// Whether somebody waits for the next piece of the answer.
    pub(super) fn reads(&self, reads: bool) {
        self.change(|waits| waits.absent = !reads);
    }

    /// The caller went away: whatever the guest makes of that is not its fault.
    pub(super) fn leaves(&self) {
        self.change(|waits| waits.left = true);
    }

    /// Whether it is for the caller's sake that the guest ended so.
    pub(super) fn excuses(&self, error: &PluginError) -> bool {
        let waits = self.0.lock();
        match error {
            PluginError::TimedOut { kind: TimeoutKind::Wall, limit } => {
                waits.since.is_some() || waits.total() >= *limit / 2
            }
            PluginError::Trapped { .. } | PluginError::BadAnswer { .. } => waits.left,
            _ => false,
        }
    }

    /// The request's body, looked at on its way in.
    pub(super) fn upload(&self, body: HttpBody) -> Upload {
        Upload { body, caller: self.clone() }
    }
}

/// The body of a request, which tells when the guest waits for it.
pub(super) struct Upload {
    body: HttpBody,
    caller: Caller,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.caller.change(|waits| {
            waits.upload = frame.is_pending();
            waits.left |= matches!(frame, Poll::Ready(Some(Err(_))));
        });
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Given up by the guest: it does not wait for it any more.
        self.caller.change(|waits| waits.upload = false);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::pin::pin;

    use http::HeaderMap;
    use http_body_util::{BodyExt, Empty};

    use super::*;

    /// A body without octets that ends so.
    fn body(
        end: impl Future<Output = Option<Result<HeaderMap, HttpBodyError>>> + Send + 'static,
    ) -> HttpBody {
        Empty::new().map_err(|never| match never {}).with_trailers(end).boxed_unsync()
    }

    fn wall(limit: Duration) -> PluginError {
        PluginError::TimedOut { kind: TimeoutKind::Wall, limit }
    }

    #[test]
    fn only_ends_that_are_the_callers_are_excused() {
        let (caller, long) = (Caller::default(), Duration::from_secs(3600));
        let cpu = PluginError::TimedOut { kind: TimeoutKind::Cpu, limit: long };
        let trap = PluginError::Trapped { message: String::new() };
        assert!(!caller.excuses(&wall(long)));
        caller.reads(false);
        assert!(caller.excuses(&wall(long)) && !caller.excuses(&cpu) && !caller.excuses(&trap));
        caller.reads(true);
        assert!(!caller.excuses(&wall(long)));
        caller.leaves();
        assert!(caller.excuses(&trap) && !caller.excuses(&cpu) && !caller.excuses(&wall(long)));
    }

    #[tokio::test]
    async fn uploads_that_stall_or_break_off_are_the_callers() {
        let (caller, long) = (Caller::default(), Duration::from_secs(3600));
        {
            let mut stalled = pin!(caller.upload(body(pending())));
            let polled = poll_fn(|context| Poll::Ready(stalled.as_mut().poll_frame(context))).await;
            assert!(polled.is_pending() && caller.excuses(&wall(long)));
        }
        assert!(!caller.excuses(&wall(long)), "the guest has given it up");
        let trap = PluginError::Trapped { message: String::new() };
        assert!(!caller.excuses(&trap));
        let broken = caller.upload(body(ready(Some(Err("gone".into())))));
        assert!(broken.collect().await.is_err());
        assert!(caller.excuses(&trap));
    }

    #[test]
    fn a_caller_who_took_half_of_the_time_is_why_it_was_over() {
        let caller = Caller::default();
        caller.reads(false);
        caller.0.lock().since = Instant::now().checked_sub(Duration::from_secs(6));
        caller.reads(true);
        assert!(caller.excuses(&wall(Duration::from_secs(10))));
        assert!(!caller.excuses(&wall(Duration::from_secs(100))));
    }
}
