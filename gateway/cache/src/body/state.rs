//! The chunks of a shared body and who stands where: the bookkeeping behind one lock.
//!
//! The decision: it wakes nobody. Each step gives back the wakers that its caller is to wake once the lock is released.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Poll, Waker},
};

use bytes::Bytes;

use super::{Abandoned, BodyError};

/// What a chunk costs beside its bytes: its handle and its heap block. Without it, a body sent byte by byte could hold many
/// times its length.
const CHUNK_OVERHEAD: usize = 96;

pub(super) struct State {
    chunks: VecDeque<Bytes>,
    /// The chunks that were dropped before the first one in `chunks`.
    dropped: u64,
    kept_bytes: usize,
    max_bytes: usize,
    end: Option<Result<(), BodyError>>,
    /// By their numbers, which are in the order of their coming.
    readers: BTreeMap<u64, Seat>,
    seats: u64,
    writer: Option<Waker>,
}

#[derive(Default)]
struct Seat {
    /// The number of the chunk that it reads next.
    next: u64,
    waker: Option<Waker>,
}

impl State {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            dropped: 0,
            kept_bytes: 0,
            max_bytes,
            end: None,
            readers: BTreeMap::new(),
            seats: 0,
            writer: None,
        }
    }

    pub(super) fn attach(&mut self) -> Option<u64> {
        if self.dropped > 0 {
            return None;
        }
        self.seats += 1;
        self.readers.insert(self.seats, Seat::default());
        Some(self.seats)
    }

    /// The next reader in order sets the pace now.
    pub(super) fn detach(&mut self, number: u64) -> Vec<Waker> {
        self.readers.remove(&number);
        self.writer.take().into_iter().collect()
    }

    /// Appends a chunk, or notes the writer's waker if there is no room.
    pub(super) fn push(
        &mut self,
        chunk: &Bytes,
        writer: &Waker,
    ) -> (Poll<Result<(), Abandoned>>, Vec<Waker>) {
        if self.dropped > 0 && self.first().is_none() {
            return (Poll::Ready(Err(Abandoned)), Vec::new());
        }
        let weight = weight(chunk);
        while self.kept_bytes.saturating_add(weight) > self.max_bytes && self.front_is_read() {
            let Some(front) = self.chunks.pop_front() else { break };
            self.kept_bytes = self.kept_bytes.saturating_sub(self::weight(&front));
            self.dropped += 1;
        }
        // A chunk that is too large by itself passes alone.
        if self.kept_bytes.saturating_add(weight) > self.max_bytes && !self.chunks.is_empty() {
            self.writer = Some(writer.clone());
            return (Poll::Pending, Vec::new());
        }
        self.kept_bytes = self.kept_bytes.saturating_add(weight);
        self.chunks.push_back(chunk.clone());
        (Poll::Ready(Ok(())), self.reader_wakers())
    }

    pub(super) fn read(
        &mut self,
        number: u64,
        waker: &Waker,
    ) -> (Poll<Option<Result<Bytes, BodyError>>>, Vec<Waker>) {
        let Some(seat) = self.readers.get_mut(&number) else { return (Poll::Ready(None), Vec::new()) };
        let Some(ahead) = seat.next.checked_sub(self.dropped) else {
            return (Poll::Ready(Some(Err(BodyError::Lagged))), Vec::new());
        };
        if let Some(chunk) = usize::try_from(ahead).ok().and_then(|ahead| self.chunks.get(ahead)) {
            seat.next += 1;
            return (Poll::Ready(Some(Ok(chunk.clone()))), self.writer.take().into_iter().collect());
        }
        match self.end {
            Some(Ok(())) => (Poll::Ready(None), Vec::new()),
            Some(Err(error)) => (Poll::Ready(Some(Err(error))), Vec::new()),
            None => {
                seat.waker = Some(waker.clone());
                (Poll::Pending, Vec::new())
            }
        }
    }

    /// The first end counts.
    pub(super) fn end(&mut self, end: Result<(), BodyError>) -> Vec<Waker> {
        self.end.get_or_insert(end);
        self.reader_wakers()
    }

    /// All chunks, if none was dropped and they fit.
    pub(super) fn whole(&self) -> Option<Vec<Bytes>> {
        let kept = self.dropped == 0 && self.kept_bytes <= self.max_bytes;
        kept.then(|| self.chunks.iter().cloned().collect())
    }

    /// The first reader who has not lost the thread.
    fn first(&self) -> Option<&Seat> {
        self.readers.values().find(|seat| seat.next >= self.dropped)
    }

    /// Without readers nothing is read: somebody may still come.
    fn front_is_read(&self) -> bool {
        self.first().is_some_and(|seat| seat.next > self.dropped)
    }

    fn reader_wakers(&mut self) -> Vec<Waker> {
        self.readers.values_mut().filter_map(|seat| seat.waker.take()).collect()
    }
}

fn weight(chunk: &Bytes) -> usize {
    chunk.len().saturating_add(CHUNK_OVERHEAD)
}
