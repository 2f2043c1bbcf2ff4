//! A stream that notices when it makes no progress.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// What has moved over a connection, seen from outside of it.
pub struct Traffic {
    opened: Instant,
    /// Milliseconds from `opened` to the last octet in either direction.
    last_ms: AtomicU64,
    /// Octets read.
    read: AtomicU64,
}

impl Traffic {
    fn new() -> Arc<Self> {
        Arc::new(Self { opened: Instant::now(), last_ms: AtomicU64::new(0), read: AtomicU64::new(0) })
    }

    fn moved(&self) {
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    /// When the last octet moved.
    pub fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Octets read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// Ends with [`io::ErrorKind::TimedOut`] when no octet could be written for `limit`. The clock runs
/// only while a write is pending, so idle pooled connections are not touched; reads are not limited
/// here, because silence means different things before, in and after an answer.
pub struct StallGuard<S> {
    stream: S,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs until the peer has said something.
    silent: Option<Pin<Box<Sleep>>>,
    traffic: Arc<Traffic>,
}

/// What a peer must have sent before it counts as having said something: the length of the HTTP/2
/// preface, which servers wait for without a clock of their own.
const FIRST_OCTETS: u64 = 24;

impl<S> StallGuard<S> {
    /// Guards a stream against writes that stall for `limit`.
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, stalled: None, silent: None, traffic: Traffic::new() }
    }

    /// Also ends with [`io::ErrorKind::TimedOut`] when the peer does not begin to speak within `limit`.
    #[must_use]
    pub fn expecting_words_within(mut self, limit: Duration) -> Self {
        self.silent = Some(Box::pin(sleep(limit)));
        self
    }

    /// What has moved, for a view from outside.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            self.traffic.moved();
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        if stalled.as_mut().poll(cx).is_ready() {
            self.stalled = None;
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let octets = buf.filled().len().saturating_sub(before);
        if octets > 0 {
            self.traffic.moved();
            let total = self.traffic.read.fetch_add(octets as u64, Ordering::Relaxed) + octets as u64;
            if total >= FIRST_OCTETS {
                self.silent = None;
            }
        }
        if read.is_pending()
            && let Some(silent) = &mut self.silent
            && silent.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A flush that finds nothing to do is no progress, so it is not counted.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_write() {
        let (near, _far) = tokio::io::duplex(16);
        let mut guarded = StallGuard::new(near, Duration::from_secs(3));
        let error = guarded.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_no_stall() {
        let (near, mut far) = tokio::io::duplex(16);
        let reader = tokio::spawn(async move {
            let mut total = 0;
            let mut buffer = [0; 8];
            while let Ok(read @ 1..) = far.read(&mut buffer).await {
                total += read;
                sleep(Duration::from_secs(2)).await;
            }
            total
        });
        let mut guarded = StallGuard::new(near, Duration::from_secs(3));
        guarded.write_all(&[0; 64]).await.unwrap();
        drop(guarded);
        assert_eq!(reader.await.unwrap(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_let_go_and_one_that_spoke_is_not() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut guarded =
            StallGuard::new(near, Duration::from_secs(3)).expecting_words_within(Duration::from_secs(1));
        far.write_all(b"PRI").await.unwrap();
        let error = guarded.read_exact(&mut [0; 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (near, mut far) = tokio::io::duplex(64);
        let mut guarded =
            StallGuard::new(near, Duration::from_secs(3)).expecting_words_within(Duration::from_secs(1));
        far.write_all(&[b'x'; 24]).await.unwrap();
        guarded.read_exact(&mut [0; 24]).await.unwrap();
        let later = tokio::time::timeout(Duration::from_secs(60), guarded.read_u8()).await;
        assert!(later.is_err(), "an idle connection is kept");
    }

    #[tokio::test]
    async fn octets_read_are_counted() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut guarded = StallGuard::new(near, Duration::from_secs(3));
        let traffic = guarded.traffic();
        far.write_all(b"abc").await.unwrap();
        guarded.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(traffic.read(), 3);
    }
}
