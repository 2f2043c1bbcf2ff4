//! A bounded queue with a thread of its own behind it: for lines that must never hold up a call.
//!
//! | queue | a push |
//! | --- | --- |
//! | has room | is kept and handled in order |
//! | full | is dropped and counted; the thread is told the count before the next item |
//! | closed (last handle gone) | cannot happen; what was kept is still handled, then the thread ends |
//!
//! It does not know what an item is or where it is written.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// What the thread is given.
pub(super) enum Work<T> {
    /// An item.
    Item(T),
    /// So many items found the queue full since the last such report.
    Dropped(u64),
}

/// Handle of a queue. Clones feed the same thread.
pub(super) struct Queue<T> {
    owner: Arc<Owner<T>>,
}

/// Closes the queue when the last handle goes.
struct Owner<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    /// Something to do for the thread.
    ready: Condvar,
    /// The thread has caught up a little.
    progress: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    accepted: u64,
    handled: u64,
    dropped: u64,
    /// How many of the dropped the thread has been told of.
    reported: u64,
    closed: bool,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner) }
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. `handle` runs on it and may block.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(super) fn start(
        thread_name: &str,
        capacity: usize,
        handle: impl FnMut(Work<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            capacity,
            state: Mutex::new(State {
                items: VecDeque::new(),
                accepted: 0,
                handled: 0,
                dropped: 0,
                reported: 0,
                closed: false,
            }),
            ready: Condvar::new(),
            progress: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        thread::Builder::new().name(thread_name.to_owned()).spawn(move || worker.run(handle))?;
        Ok(Self { owner: Arc::new(Owner { shared }) })
    }

    /// Keeps the item if there is room. Never waits for the thread's work.
    pub(super) fn push(&self, item: T) {
        let shared = &self.owner.shared;
        let mut state = shared.state.lock();
        if state.items.len() >= shared.capacity {
            state.dropped += 1;
            return;
        }
        state.items.push_back(item);
        state.accepted += 1;
        drop(state);
        shared.ready.notify_one();
    }

    /// How many items were dropped altogether.
    pub(super) fn dropped(&self) -> u64 {
        self.owner.shared.state.lock().dropped
    }

    /// Waits until everything pushed so far is handled or reported, for at most `limit`. Blocks the thread.
    pub(super) fn flush(&self, limit: Duration) {
        let shared = &self.owner.shared;
        let deadline = Instant::now() + limit;
        let mut state = shared.state.lock();
        let (accepted, dropped) = (state.accepted, state.dropped);
        while state.handled < accepted || state.reported < dropped {
            if shared.progress.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }
}

impl<T> Shared<T> {
    fn run(&self, mut handle: impl FnMut(Work<T>)) {
        let mut batch = VecDeque::new();
        loop {
            let (unreported, closed) = {
                let mut state = self.state.lock();
                while state.items.is_empty() && state.reported == state.dropped && !state.closed {
                    self.ready.wait(&mut state);
                }
                std::mem::swap(&mut batch, &mut state.items);
                (state.dropped - state.reported, state.closed)
            };
            if unreported > 0 {
                handle(Work::Dropped(unreported));
                self.state.lock().reported += unreported;
                self.progress.notify_all();
            }
            if batch.is_empty() && closed {
                return;
            }
            for item in batch.drain(..) {
                handle(Work::Item(item));
                self.state.lock().handled += 1;
                self.progress.notify_all();
            }
        }
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_full_queue_drops_counts_and_reports() {
        let (release, gate) = mpsc::channel::<()>();
        let (entered, inside) = mpsc::channel();
        let (seen, work) = mpsc::channel();
        let queue = Queue::start("queue-test", 4, move |item| {
            entered.send(()).unwrap();
            gate.recv().unwrap();
            seen.send(item).unwrap();
        })
        .unwrap();
        queue.push(0);
        inside.recv().unwrap();
        for item in 1..=10 {
            queue.push(item);
        }
        assert_eq!(queue.dropped(), 6);
        for _ in 0..6 {
            release.send(()).unwrap();
        }
        queue.flush(Duration::from_secs(10));
        let order: Vec<_> = work
            .try_iter()
            .map(|work| match work {
                Work::Item(item) => item,
                Work::Dropped(count) => -i64::try_from(count).unwrap(),
            })
            .collect();
        assert_eq!(order, [0, -6, 1, 2, 3, 4]);
    }

    #[test]
    fn what_was_kept_is_handled_after_the_last_handle_is_gone() {
        let (seen, work) = mpsc::channel();
        let queue = Queue::start("queue-test", 100, move |item| {
            if let Work::Item(item) = item {
                seen.send(item).unwrap();
            }
        })
        .unwrap();
        for item in 0..50 {
            queue.push(item);
        }
        drop(queue);
        assert_eq!(work.iter().collect::<Vec<i32>>(), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_flush_of_a_stuck_queue_gives_up() {
        let (release, gate) = mpsc::channel::<()>();
        let queue = Queue::start("queue-test", 4, move |_| gate.recv().unwrap_or_default()).unwrap();
        queue.push(1);
        queue.flush(Duration::from_millis(20));
        drop(release);
    }
}
