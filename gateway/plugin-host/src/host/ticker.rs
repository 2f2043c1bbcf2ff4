//! The thread that advances the epoch of all engines while plugins run.
//!
//! One thread for all engines, since an increment is an atomic add. It rests while no call is in
//! progress, so that an idle gateway wakes nobody, and it ends when the host is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

use crate::limits::TICK;

/// Ticks without a call after which the thread rests. Resting at once would cost calls that come one
/// by one a wake-up each.
const IDLE_TICKS: u32 = 200;

/// Longest rest. A wake-up cannot get lost, by the fences below; this bounds the harm if it did.
const REST: Duration = Duration::from_secs(1);

/// The running thread; stopped and joined on drop.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    resting: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the ticker going while it lives.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    /// # Errors
    /// Whatever the operating system says to a new thread.
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let join =
            thread::Builder::new().name("bascule-epoch".to_owned()).spawn(move || of_thread.run(&engines))?;
        Ok(Self { shared, thread: join.thread().clone(), join: Some(join) })
    }

    /// Counts a call in and wakes the thread if it rests.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `rest`: either we see that it rests, or it sees our call.
        fence(Ordering::SeqCst);
        if self.shared.resting.load(Ordering::Relaxed) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn run(&self, engines: &[Engine]) {
        let mut idle = 0;
        while !self.stop.load(Ordering::Relaxed) {
            thread::park_timeout(TICK);
            engines.iter().for_each(Engine::increment_epoch);
            idle = if self.calls.load(Ordering::Relaxed) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_TICKS {
                self.rest();
            }
        }
    }

    fn rest(&self) {
        self.resting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.calls.load(Ordering::Relaxed) == 0 && !self.stop.load(Ordering::Relaxed) {
            thread::park_timeout(REST);
        }
        self.resting.store(false, Ordering::Relaxed);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
        if let Some(join) = self.join.take()
            && join.join().is_err()
        {
            tracing::error!("the epoch thread ended by a panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_its_ticker() {
        let ticker = Ticker::start(vec![Engine::default()]).unwrap();
        let shared = Arc::downgrade(&ticker.shared);
        drop(ticker.running());
        drop(ticker);
        assert!(shared.upgrade().is_none(), "the thread held the last other reference");
    }

    #[test]
    fn a_resting_ticker_is_woken_by_a_call() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        while !ticker.shared.resting.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let running = ticker.running();
        while ticker.shared.resting.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        drop(running);
    }
}
