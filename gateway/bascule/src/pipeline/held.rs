//! Bodies that are held in memory where something needs them whole, and streamed where not.

use super::decode::{DecodeError, decode};
use crate::{
    model::{BodyError, Payload, StreamBody, TimeoutKind},
    upstream::{SendError, SendErrorKind},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, timeout_at};

/// Largest streamed body that is held so that it can be sent again (`semantics.md` §1).
pub const REPLAY_BUFFER: u64 = 1024 * 1024;
/// Largest streamed body that is held so that a signer can hash it (`plugins.md`).
pub const SIGN_BUFFER: u64 = 10 * 1024 * 1024;

/// What holding a body came to.
pub enum Held {
    /// All of it.
    Whole(Bytes),
    /// It is larger than the limit: what was read, and the rest, as one stream.
    Larger(StreamBody),
}

/// Reads a body to its end or to `limit` octets, whichever comes first. Trailers of a held body are dropped.
///
/// # Errors
/// [`BodyError`] when the body breaks off.
pub async fn hold(body: StreamBody, limit: u64) -> Result<Held, BodyError> {
    let mut left = limit;
    let fits = |octets| match left.checked_sub(octets) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    hold_while(body, limit, fits).await
}

/// Reads a body to its end, as long as `fits` has room for the octets of each piece. At most `limit` octets may be there
/// to begin with.
///
/// # Errors
/// [`BodyError`] when the body breaks off.
pub(super) async fn hold_while(
    mut body: StreamBody,
    limit: u64,
    mut fits: impl FnMut(u64) -> bool,
) -> Result<Held, BodyError> {
    if body.size_hint().lower() > limit {
        return Ok(Held::Larger(body));
    }
    let mut frames = VecDeque::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let octets = data.len() as u64;
        frames.push_back(data);
        if !fits(octets) {
            return Ok(Held::Larger(Resumed { frames, rest: body }.boxed()));
        }
    }
    Ok(Held::Whole(join(frames)))
}

fn join(mut frames: VecDeque<Bytes>) -> Bytes {
    if frames.len() <= 1 {
        return frames.pop_front().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    for frame in frames {
        whole.extend_from_slice(&frame);
    }
    whole.freeze()
}

/// Holds a body and undoes its content coding, so that a plugin can read it and any caller can take it
/// from the cache. What cannot be decoded here is left as it is, as something that can be had once.
pub(super) async fn readable(
    body: Payload,
    status: StatusCode,
    headers: &mut HeaderMap,
    limit: u64,
    deadline: Option<(Instant, TimeoutKind)>,
) -> Result<Payload, SendError> {
    let mut octets = match held(body, limit, deadline).await? {
        Payload::Full(octets) => octets,
        larger => return Ok(larger),
    };
    // A part of a coded body is no coded body.
    if status == StatusCode::PARTIAL_CONTENT {
        return Ok(Payload::Full(octets));
    }
    match decode(headers, &mut octets, limit) {
        Ok(()) => Ok(Payload::Full(octets)),
        Err(DecodeError::Broken(error)) => Err(SendError::sent(SendErrorKind::Protocol, error.to_string())),
        Err(DecodeError::Unknown(_) | DecodeError::TooLarge) => {
            let once = Full::new(octets).map_err(|never| match never {});
            Ok(Payload::Stream(once.boxed()))
        }
    }
}

/// Holds a body that is not held yet, within the attempt's time.
pub(super) async fn held(
    body: Payload,
    limit: u64,
    deadline: Option<(Instant, TimeoutKind)>,
) -> Result<Payload, SendError> {
    let Payload::Stream(stream) = body else { return Ok(body) };
    let holding = hold(stream, limit);
    let done = match deadline {
        None => holding.await,
        Some((at, kind)) => timeout_at(at, holding).await.unwrap_or(Err(BodyError::TimedOut(kind))),
    };
    match done {
        Ok(Held::Whole(octets)) => Ok(Payload::Full(octets)),
        Ok(Held::Larger(stream)) => Ok(Payload::Stream(stream)),
        Err(BodyError::TimedOut(kind)) => Err(SendError::sent(
            SendErrorKind::Timeout(kind),
            format!("the {kind} timeout passed in the body"),
        )),
        Err(error) => Err(SendError::sent(SendErrorKind::Protocol, error.to_string())),
    }
}

/// What had been read, then the rest.
struct Resumed {
    frames: VecDeque<Bytes>,
    rest: StreamBody,
}

impl Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.frames.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.frames.iter().map(|frame| frame.len() as u64).sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody as Frames;

    fn frames(parts: &'static [&'static str]) -> StreamBody {
        let stream = parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))));
        Frames::new(tokio_stream(stream)).boxed()
    }

    fn tokio_stream<I: Iterator + Unpin>(items: I) -> Items<I> {
        Items(items)
    }

    struct Items<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Items<I> {
        type Item = I::Item;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    #[tokio::test]
    async fn a_small_body_is_held_whole() {
        let Held::Whole(octets) = hold(frames(&["ab", "cd"]), 4).await.unwrap() else { panic!("streamed") };
        assert_eq!(octets, "abcd");
    }

    #[tokio::test]
    async fn a_large_body_loses_nothing() {
        let Held::Larger(body) = hold(frames(&["ab", "cd", "ef"]), 3).await.unwrap() else { panic!("held") };
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
    }

    #[tokio::test]
    async fn a_declared_size_over_the_limit_is_not_read() {
        let body = Full::new(Bytes::from_static(b"abcdef")).map_err(|never| match never {}).boxed();
        assert!(matches!(hold(body, 3).await.unwrap(), Held::Larger(_)));
    }
}
