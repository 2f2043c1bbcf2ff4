//! The body of a request on its way out.

use crate::model::{BodyError, StreamBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

/// How the caller's side of a streamed body is doing. Whoever waits for the provider's answer looks
/// here first: what the caller is slow at, or breaks, is not the provider's failure.
#[derive(Debug, Default)]
pub struct CallerSide {
    waiting: AtomicBool,
    broke: OnceLock<BodyError>,
}

impl CallerSide {
    /// Whether the next octets are the caller's to send.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Why the caller's body ended early, if it did.
    pub fn broke(&self) -> Option<&BodyError> {
        self.broke.get()
    }
}

/// A request body: whole, or as the caller sends it.
pub enum RequestBody {
    /// All of it; none once it has been handed to the connection.
    Full(Option<Bytes>),
    /// As it arrives, with back-pressure: nothing is read that cannot be written.
    Stream(StreamBody, Arc<CallerSide>),
}

impl RequestBody {
    /// A body of these octets.
    pub fn full(octets: Bytes) -> Self {
        Self::Full((!octets.is_empty()).then_some(octets))
    }

    /// A body as it arrives.
    pub fn stream(body: StreamBody) -> Self {
        Self::Stream(body, Arc::default())
    }

    /// The caller's side of a streamed body.
    pub fn caller_side(&self) -> Option<Arc<CallerSide>> {
        match self {
            Self::Full(_) => None,
            Self::Stream(_, side) => Some(Arc::clone(side)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(octets) => Poll::Ready(octets.take().map(|octets| Ok(Frame::data(octets)))),
            Self::Stream(stream, side) => {
                let frame = Pin::new(stream).poll_frame(cx);
                side.waiting.store(frame.is_pending(), Ordering::Relaxed);
                if let Poll::Ready(Some(Err(error))) = &frame {
                    // Only the first break is the story.
                    let _ = side.broke.set(error.clone());
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(octets) => octets.is_none(),
            Self::Stream(stream, _) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(octets) => SizeHint::with_exact(octets.as_ref().map_or(0, |o| o.len() as u64)),
            Self::Stream(stream, _) => stream.size_hint(),
        }
    }
}
