//! One body on its way from a provider to many readers, and whole to the store.
//!
//! The decision: chunks are appended to a buffer that everybody reads at a pace of its own, and the writer never waits, as
//! long as the body fits. A body that turns out to be larger than `max_bytes` is not kept any more: what lies behind the
//! reader who came first is dropped once there are `max_bytes` behind it, and the writer waits for that reader. So memory is
//! bounded, and whoever came first is never hurt by somebody slow. Another one who falls behind what is dropped gets
//! [`BodyError::Lagged`]; who comes after something was dropped gets no reader and fetches for itself.
//!
//! ```text
//!           ┌──────────── max_bytes ───────────┐
//! dropped   │ kept                             │ ◄── push
//!           └──────────────────────────────────┘
//!   ▲ Lagged      ▲ others       ▲ the first one: nothing it has not read is dropped
//! ```
//!
//! A body has an end only if its writer says so: a writer that is dropped leaves [`BodyError::Broken`] to all who have read
//! what there is, so nobody takes a truncated body for a whole one.
//!
//! It puts no limit on time: a first reader who does not read holds up a body that is too large, for as long as the fetch
//! and the reader may take.

mod state;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use self::state::State;
use crate::sync::Mutex;

/// A body that is being received. Cloning is one reference count.
#[derive(Clone)]
pub struct SharedBody(Arc<Mutex<State>>);

/// Where the chunks of a [`SharedBody`] come in. Dropping it before [`finish`](Self::finish) breaks the body off.
pub struct BodyWriter(Arc<Mutex<State>>);

/// One reader of a [`SharedBody`], as a stream of chunks from the first one on.
pub struct BodyReader {
    state: Arc<Mutex<State>>,
    number: u64,
}

/// Why a reader does not get all of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It broke off on its way from the provider.
    #[error("the body broke off")]
    Broken,
    /// It is too large to be kept, and this reader was too slow.
    #[error("the body was read too slowly to be shared")]
    Lagged,
}

/// Nobody reads a body that is not kept, and nobody can any more: there is no use in receiving the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left to read the body")]
pub struct Abandoned;

/// A body and its writer. Up to `max_bytes` of it are kept, each chunk counted with what it costs to keep it.
#[must_use]
pub fn shared_body(max_bytes: usize) -> (BodyWriter, SharedBody) {
    let state = Arc::new(Mutex::new(State::new(max_bytes)));
    (BodyWriter(Arc::clone(&state)), SharedBody(state))
}

impl SharedBody {
    /// A reader that starts at the beginning. None if the beginning is not kept any more: fetch for yourself.
    #[must_use]
    pub fn reader(&self) -> Option<BodyReader> {
        let number = self.0.lock().attach()?;
        Some(BodyReader { state: Arc::clone(&self.0), number })
    }
}

impl BodyWriter {
    /// Appends a copy of a chunk, which keeps no connection's buffer alive. Waits only for a body larger than is kept,
    /// until the first reader has come along. Cancel-safe: a chunk is appended as a whole or not at all.
    ///
    /// # Errors
    /// [`Abandoned`] when the beginning is gone and the last reader has left. While all of it is kept, it may still be
    /// wanted for the store.
    pub async fn push(&mut self, chunk: &[u8]) -> Result<(), Abandoned> {
        if chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::copy_from_slice(chunk);
        poll_fn(|cx| {
            let (polled, wakers) = self.0.lock().push(&chunk, cx.waker());
            wake(wakers);
            polled
        })
        .await
    }

    /// The end of the body. Gives it back whole, for the store, if all of it was kept.
    #[must_use = "the whole body is for the store"]
    pub fn finish(self) -> Option<Bytes> {
        let (whole, wakers) = {
            let mut state = self.0.lock();
            (state.whole(), state.end(Ok(())))
        };
        wake(wakers);
        whole.map(|chunks| chunks.concat().into())
    }
}

impl Drop for BodyWriter {
    /// After `finish` the end is there already, and stays.
    fn drop(&mut self) {
        let wakers = self.0.lock().end(Err(BodyError::Broken));
        wake(wakers);
    }
}

impl BodyReader {
    /// The next chunk; None at the end of the whole body. Cancel-safe.
    ///
    /// # Errors
    /// [`BodyError`], and then again for as long as one asks: what was read so far is not the whole body.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (polled, wakers) = self.state.lock().read(self.number, cx.waker());
        wake(wakers);
        polled
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let wakers = self.state.lock().detach(self.number);
        wake(wakers);
    }
}

impl Body for BodyReader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_next(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// Never under the lock: a waker may run anything.
fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
