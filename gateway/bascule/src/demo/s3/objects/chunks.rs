//! Content in pieces of up to 64 KiB, reserved from a budget for as long as anybody holds it.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

/// Small network reads are gathered into pieces of this size, so that overhead stays small beside content.
const PIECE_BYTES: usize = 64 * 1024;
/// Octets of the hash that become the entity tag.
const TAG_BYTES: usize = 16;

/// Octets that may be held.
#[derive(Debug)]
pub(in crate::demo::s3) struct Budget {
    held: AtomicU64,
    max: u64,
}

impl Budget {
    /// At most `max` octets.
    pub(in crate::demo::s3) fn new(max: u64) -> Self {
        Self { held: AtomicU64::new(0), max }
    }

    /// Octets held at the moment.
    pub(in crate::demo::s3) fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    fn reserve(&self, octets: u64) -> bool {
        let more = |held: u64| held.checked_add(octets).filter(|sum| *sum <= self.max);
        self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn release(&self, octets: u64) {
        self.held.fetch_sub(octets, Ordering::AcqRel);
    }
}

/// A reservation; dropping it gives the octets back.
#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    octets: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.release(self.octets);
    }
}

/// Finished content. Cloning shares it.
#[derive(Clone, Debug)]
pub(in crate::demo::s3) struct Chunks(Arc<Content>);

#[derive(Debug)]
struct Content {
    pieces: Vec<Bytes>,
    sha256: Vec<u8>,
    held: Held,
}

impl Chunks {
    /// Its length in octets.
    pub(in crate::demo::s3) fn len(&self) -> u64 {
        self.0.held.octets
    }

    /// The SHA-256 of the whole.
    pub(in crate::demo::s3) fn sha256(&self) -> &[u8] {
        &self.0.sha256
    }

    /// 32 hexadecimal digits that change when the content does.
    pub(super) fn tag(&self) -> String {
        self.0.sha256.iter().take(TAG_BYTES).map(|octet| format!("{octet:02x}")).collect()
    }

    /// The content as a body, piece by piece.
    pub(in crate::demo::s3) fn body(&self) -> ChunksBody {
        ChunksBody { chunks: self.clone(), next: 0, left: self.len() }
    }
}

/// Content that is still coming in.
pub(in crate::demo::s3) struct Writer {
    pieces: Vec<Bytes>,
    gathered: BytesMut,
    context: Context,
    held: Held,
}

impl Writer {
    /// Nothing yet.
    pub(in crate::demo::s3) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            pieces: Vec::new(),
            gathered: BytesMut::new(),
            context: Context::new(&SHA256),
            held: Held { budget: Arc::clone(budget), octets: 0 },
        }
    }

    /// Octets so far.
    pub(in crate::demo::s3) fn len(&self) -> u64 {
        self.held.octets
    }

    /// Adds octets; `false` when the budget has no room for them.
    pub(in crate::demo::s3) fn push(&mut self, octets: &[u8]) -> bool {
        let count = octets.len() as u64;
        if !self.held.budget.reserve(count) {
            return false;
        }
        self.held.octets += count;
        self.context.update(octets);
        for part in octets.chunks(PIECE_BYTES) {
            self.gathered.extend_from_slice(part);
            if self.gathered.len() >= PIECE_BYTES {
                self.pieces.push(self.gathered.split().freeze());
            }
        }
        true
    }

    /// That was all.
    pub(in crate::demo::s3) fn finish(mut self) -> Chunks {
        if !self.gathered.is_empty() {
            // Copied to size: the gathering buffer is usually larger than what is left in it.
            self.pieces.push(Bytes::copy_from_slice(&self.gathered));
        }
        let sha256 = self.context.finish().as_ref().to_vec();
        Chunks(Arc::new(Content { pieces: self.pieces, sha256, held: self.held }))
    }
}

/// Content on its way to a reader.
pub(in crate::demo::s3) struct ChunksBody {
    chunks: Chunks,
    next: usize,
    left: u64,
}

impl Body for ChunksBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.chunks.0.pieces.get(self.next).cloned();
        self.next += 1;
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn what_goes_in_comes_out_and_is_given_back() {
        let budget = Arc::new(Budget::new(1_000_000));
        let mut writer = Writer::new(&budget);
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for part in sent.chunks(7_001) {
            assert!(writer.push(part));
        }
        assert_eq!(budget.held(), 300_000);
        let chunks = writer.finish();
        let body = chunks.body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), sent);
        let reader = chunks.body();
        drop(chunks);
        assert_eq!(budget.held(), 300_000, "a reader still holds it");
        drop(reader);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_full_budget_takes_no_more() {
        let budget = Arc::new(Budget::new(10));
        let mut writer = Writer::new(&budget);
        assert!(writer.push(&[0; 10]));
        assert!(!writer.push(&[0; 1]));
        drop(writer);
        assert_eq!(budget.held(), 0);
    }
}
