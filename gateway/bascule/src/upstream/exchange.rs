//! The answer of an upstream: its head, and a body that is read as fast as the caller takes it.

use super::pool::{Kept, Pool};
use crate::model::{BodyError, TimeoutKind};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

/// Status and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers as they came.
    pub headers: HeaderMap,
}

/// A body that is being received.
///
/// It ends with [`BodyError::TimedOut`] after `read` without an octet or when `whole` has passed, and
/// with [`BodyError::Broken`] when the connection breaks or the length was a lie. When it has been read
/// to its end, its connection goes back to the pool; dropped before, the connection is closed.
pub struct Exchange {
    incoming: Incoming,
    read: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    whole: Option<Pin<Box<Sleep>>>,
    lease: Option<(Arc<Pool>, Kept)>,
}

impl Exchange {
    pub(super) fn new(
        incoming: Incoming,
        read: Duration,
        whole: Option<Duration>,
        lease: Option<(Arc<Pool>, Kept)>,
    ) -> Self {
        let mut exchange =
            Self { incoming, read, silence: None, whole: whole.map(|limit| Box::pin(sleep(limit))), lease };
        if exchange.incoming.is_end_stream() {
            exchange.finished();
        }
        exchange
    }

    fn finished(&mut self) {
        if let Some((pool, kept)) = self.lease.take() {
            pool.give_back(kept);
        }
    }
}

impl Body for Exchange {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(whole) = &mut self.whole
            && whole.as_mut().poll(cx).is_ready()
        {
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::TimedOut(TimeoutKind::Body))));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence = None;
                if self.incoming.is_end_stream() {
                    self.finished();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(BodyError::Broken(super::error::describe(&error).into()))))
            }
            Poll::Ready(None) => {
                self.finished();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let read = self.read;
                let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(read)));
                if silence.as_mut().poll(cx).is_ready() {
                    self.lease = None;
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
