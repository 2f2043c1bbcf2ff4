//! Bodies from callers and to callers.

use crate::model::{BodyError, StreamBody, TimeoutKind};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

use super::completion::Completion;

/// How long a caller may pause within a request body.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A caller's body: its octets are counted, and a caller who stalls does not hold resources for ever.
pub(super) struct CallerBody {
    incoming: Incoming,
    silence: Option<Pin<Box<Sleep>>>,
    octets: Arc<AtomicU64>,
}

impl CallerBody {
    pub(super) fn new(incoming: Incoming, octets: Arc<AtomicU64>) -> Self {
        Self { incoming, silence: None, octets }
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.silence = None;
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    self.octets.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| BodyError::Broken(error.to_string().into()))),
                )
            }
            Poll::Pending => {
                let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(PAUSE_MAX)));
                if silence.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(BodyError::TimedOut(TimeoutKind::Read))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A streamed answer that completes its call's record when it ends, or when the caller leaves.
pub(super) struct Watched {
    body: StreamBody,
    completion: Option<Completion>,
    octets: u64,
}

impl Watched {
    pub(super) fn new(body: StreamBody, completion: Completion) -> Self {
        Self { body, completion: Some(completion), octets: 0 }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.octets += frame.data_ref().map_or(0, |data| data.len() as u64);
                // hyper stops asking after the last octet of a known length.
                if self.body.is_end_stream() || self.body.size_hint().exact() == Some(0) {
                    let octets = self.octets;
                    if let Some(completion) = self.completion.take() {
                        completion.finish(octets);
                    }
                }
            }
            Poll::Ready(Some(Err(_))) => {
                let octets = self.octets;
                if let Some(completion) = self.completion.take() {
                    completion.broke(octets);
                }
            }
            Poll::Ready(None) => {
                let octets = self.octets;
                if let Some(completion) = self.completion.take() {
                    completion.finish(octets);
                }
            }
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The caller left: the record says how much it had by then.
        if let Some(completion) = self.completion.take() {
            completion.left(self.octets);
        }
    }
}
