//! What is still to be written: keys that changed, and purges.
//!
//! The decision: both are bounded, and differ in what happens beyond. A key too many is skipped and counted: it is one miss
//! after the next start. A purge too many makes all of them a purge of everything: that costs more misses, and is never
//! forgotten, not even when it comes after the file was closed.
//!
//! Purges are taken before keys, whatever came first. That is right because a purge has taken effect in the store before it
//! comes here, and what a key stands for is read from the store after that.

use crate::{Unsettled, mark};
use bascule_cache::{Follower, Heard, Key, Purge};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
};

/// Keys that wait, about 2 MiB with their index: some seconds of what a disk takes.
pub(crate) const KEYS_MAX: usize = 16_384;
/// Purges that wait.
pub(crate) const PURGES_MAX: usize = 4096;
/// Who waits for purges to be on the disk; some may have gone away since.
pub(crate) const WAITING_MAX: usize = 1024;
/// Keys that are taken at a time: they share a transaction, which a purge may have to wait for.
const TAKEN_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    keys: VecDeque<Key>,
    /// The same keys.
    known: HashSet<Key>,
    purges: Vec<Purge>,
    everything: bool,
    waiting: Vec<Waiting>,
    skipped: u64,
    closed: bool,
    /// The file that nobody writes any more and that no purge has missed yet.
    left: Option<PathBuf>,
}

/// Somebody who waits for the purges so far to be on the disk.
pub(crate) type Waiting = Box<dyn FnOnce(Result<(), Unsettled>) + Send>;

/// What is to be written together.
#[derive(Default)]
pub(crate) struct Work {
    /// Nothing that is in the file is to stay.
    pub(crate) everything: bool,
    pub(crate) purges: Vec<Purge>,
    pub(crate) keys: Vec<Key>,
    pub(crate) waiting: Vec<Waiting>,
}

impl Work {
    /// Whether something in the file is to go.
    pub(crate) fn purges(&self) -> bool {
        self.everything || !self.purges.is_empty()
    }
}

impl Pending {
    /// Waits for something to do. None when there is nothing and there will be nothing any more.
    pub(crate) fn take(&self) -> Option<Work> {
        let mut state = self.state.lock();
        while state.is_empty() && !state.closed {
            self.changed.wait(&mut state);
        }
        if state.is_empty() {
            return None;
        }
        let count = state.keys.len().min(TAKEN_MAX);
        let keys: Vec<Key> = state.keys.drain(..count).collect();
        for key in &keys {
            state.known.remove(key);
        }
        Some(Work {
            everything: std::mem::take(&mut state.everything),
            purges: std::mem::take(&mut state.purges),
            keys,
            waiting: std::mem::take(&mut state.waiting),
        })
    }

    /// Takes back keys of what was taken last: they go on first. None is skipped, even if that is one batch more than there
    /// may be, for an older record of it may be in the file.
    pub(crate) fn put_back(&self, keys: &[Key]) {
        let mut state = self.state.lock();
        for key in keys.iter().rev() {
            if state.known.insert(*key) {
                state.keys.push_front(*key);
            }
        }
    }

    /// Tells `waiting` when the purges so far are on the disk, or at once that nobody will.
    pub(crate) fn wait(&self, waiting: Waiting) {
        let refused = self.change(|state| {
            let why = match state.waiting.len() {
                _ if state.closed => Unsettled::Closed,
                WAITING_MAX.. => Unsettled::Crowded,
                _ => {
                    state.waiting.push(waiting);
                    return None;
                }
            };
            Some((waiting, why))
        });
        if let Some((waiting, why)) = refused {
            waiting(Err(why));
        }
    }

    /// What is pending is still taken, and nothing that comes later.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Nobody takes any more. The first purge that comes after what was taken leaves a mark beside the file, if one is given:
    /// the process is about to end, and this is all that can be done for it.
    pub(crate) fn end(&self, file: Option<&Path>) {
        let missed = self.change(|state| {
            state.left = file.map(Path::to_owned);
            state.purges()
        });
        if missed {
            self.miss();
        }
    }

    fn miss(&self) {
        let left = self.change(|state| state.left.take());
        // The one wait of a follower, for two syncs. Nobody is left who could be told that it failed.
        let _ = left.map(|file| mark::leave(&file));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Counts what was not written.
    pub(crate) fn skip(&self, keys: usize) {
        self.state.lock().skipped += keys as u64;
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.state.lock().skipped
    }

    fn purge(&self, purge: Purge) {
        let ended = self.change(|state| {
            state.purge(purge);
            state.left.is_some()
        });
        if ended {
            self.miss();
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let changed = change(&mut self.state.lock());
        self.changed.notify_one();
        changed
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.purges() && self.waiting.is_empty()
    }

    fn purges(&self) -> bool {
        self.everything || !self.purges.is_empty()
    }

    fn purge(&mut self, purge: Purge) {
        if self.everything || self.purges.last() == Some(&purge) {
            return;
        }
        if purge == Purge::Everything || self.purges.len() >= PURGES_MAX {
            self.everything = true;
            self.purges = Vec::new();
        } else {
            self.purges.push(purge);
        }
    }
}

impl Follower for Pending {
    fn stored(&self, key: &Key) {
        self.change(|state| {
            if state.known.contains(key) {
                return;
            }
            if state.closed || state.keys.len() >= KEYS_MAX {
                state.skipped += 1;
                return;
            }
            state.known.insert(*key);
            state.keys.push_back(*key);
        });
    }

    /// What is in the file must not outlive it, so this is no key that may be skipped.
    fn removed(&self, key: &Key) {
        self.purge(Purge::Key(*key));
    }

    fn purged(&self, purge: &Purge, _heard: Heard) {
        self.purge(purge.clone());
    }
}
