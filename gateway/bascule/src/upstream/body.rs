//! The body of a request on its way out.

use crate::model::{BodyError, StreamBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A request body: whole, or as the caller sends it.
pub enum RequestBody {
    /// All of it; none once it has been handed to the connection.
    Full(Option<Bytes>),
    /// As it arrives, with back-pressure: nothing is read that cannot be written.
    Stream(StreamBody),
}

impl RequestBody {
    /// A body of these octets.
    pub fn full(octets: Bytes) -> Self {
        Self::Full((!octets.is_empty()).then_some(octets))
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
            Self::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(octets) => octets.is_none(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(octets) => SizeHint::with_exact(octets.as_ref().map_or(0, |o| o.len() as u64)),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}
