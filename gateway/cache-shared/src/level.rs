//! The handle, and a look at the server.
//!
//! The decision: a look is one for all who miss the same key at the same time, and what it finds goes into the store by the
//! same door as what was fetched. What goes on behind the calls is in `keep`.

mod hearing;
mod keep;

use self::{
    hearing::Hearing,
    keep::{SEALED_MAX, hear, work},
};
use crate::{
    pending::Pending,
    purges::{self, Scripts},
    seal::Seal,
};
use bascule_cache::{Follower, Kept, Key, Restored, Scope, Store};
use bascule_shared::{CallError, Command, Reply, Shared};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{Notify, OnceCell},
    task::JoinHandle,
    time::timeout,
};

/// Keys that are asked for at a time; beyond, a miss is a miss.
const ASKED_MAX: usize = 4096;
/// Octets that an entry may have when it is decompressed.
const RECORD_MAX: usize = 16 << 20;

/// Tells the same moment by both clocks.
pub type Clock = Box<dyn Fn() -> (Instant, SystemTime) + Send + Sync>;

/// How the level is used.
pub struct Options {
    /// What entries are signed with, the same for all gateways of a group. Empty: entries are only proved to be whole.
    pub secret: Vec<u8>,
    /// The longest that one look at the server takes, all in all.
    pub timeout: Duration,
    /// What tells this gateway from the others of its group: random, without spaces.
    pub name: String,
}

/// What became of the looks at the server, and of what was to be sent, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// What was found and is in the store now.
    pub hits: u64,
    /// What was not there, or was purged.
    pub misses: u64,
    /// What was there and did not verify, or could not be read.
    pub refused: u64,
    /// Looks that had no answer in time.
    pub unanswered: u64,
    /// Changes that were sent.
    pub sent: u64,
    /// Changes that were not sent: too many at once, too large, or no server.
    pub skipped: u64,
    /// Purges that wait to be sent.
    pub purges_waiting: u64,
}

/// The second level of a store. Dropped, it follows the store no more.
pub struct Level {
    core: Arc<Core>,
    task: JoinHandle<()>,
}

struct Core {
    shared: Shared,
    store: Arc<Store>,
    options: Options,
    clock: Clock,
    seal: Seal,
    scripts: Scripts,
    pending: Arc<Pending>,
    asked: Mutex<HashMap<Key, Looking>>,
    hearing: Mutex<Hearing>,
    /// Tells that purges may have been missed.
    missed: Notify,
    /// Tells that one has been heard of.
    heard_more: Notify,
    figures: Figures,
}

/// A look at the server that several wait for.
type Looking = Arc<OnceCell<bool>>;

#[derive(Default)]
struct Figures {
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    sent: AtomicU64,
}

/// Why there is nothing to be had from the server.
enum Miss {
    Nothing,
    Refused,
    Unanswered,
}

impl From<CallError> for Miss {
    fn from(_: CallError) -> Self {
        Self::Unanswered
    }
}

impl Level {
    /// Follows the store from now on. Must be called within a tokio runtime, before anything is purged.
    pub fn start(shared: Shared, store: Arc<Store>, clock: Clock, options: Options) -> Self {
        let pending = Arc::new(Pending::default());
        store.follow(Arc::clone(&pending) as Arc<dyn Follower>);
        let notices = shared.subscribe(&shared.name(&["cache", "purges"]));
        let core = Arc::new(Core {
            seal: Seal::new(&options.secret),
            shared,
            store,
            options,
            clock,
            scripts: Scripts::new(),
            pending,
            asked: Mutex::default(),
            hearing: Mutex::new(Hearing::new()),
            missed: Notify::new(),
            heard_more: Notify::new(),
            figures: Figures::default(),
        });
        let working = Arc::clone(&core);
        let task = tokio::spawn(async move {
            tokio::join!(hear(&working, notices), work(&working));
        });
        Self { core, task }
    }

    /// Looks for what is stored under a key, and puts it into the store. True if there is something in the store now that
    /// was not; false is a miss, whatever the reason. Those who ask for the same key at the same time share one look.
    /// Cancel-safe.
    pub async fn find(&self, key: &Key, scope: &Scope) -> bool {
        let cell = {
            let mut asked = self.core.asked.lock();
            if asked.len() >= ASKED_MAX && !asked.contains_key(key) {
                return false;
            }
            Arc::clone(asked.entry(*key).or_default())
        };
        let looking = Leaving { core: &self.core, key, cell };
        *looking.cell.get_or_init(|| self.core.look(key, scope)).await
    }

    #[cfg(test)]
    pub(crate) fn is_behind(&self) -> bool {
        self.core.is_behind()
    }

    /// What became of it all so far.
    pub fn stats(&self) -> LevelStats {
        let (figures, pending) = (&self.core.figures, &self.core.pending);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LevelStats {
            hits: count(&figures.hits),
            misses: count(&figures.misses),
            refused: count(&figures.refused),
            unanswered: count(&figures.unanswered),
            sent: count(&figures.sent),
            skipped: pending.skipped(),
            purges_waiting: pending.purges() as u64,
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends a look for those who come later: when it is done, or when nobody waits for it any more.
struct Leaving<'a> {
    core: &'a Core,
    key: &'a Key,
    cell: Looking,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut asked = self.core.asked.lock();
        let same = asked.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        // The map's and this one.
        let last = Arc::strong_count(&self.cell) <= 2;
        if same && (last || self.cell.initialized()) {
            asked.remove(self.key);
        }
    }
}

impl Core {
    async fn look(&self, key: &Key, scope: &Scope) -> bool {
        let looked = timeout(self.options.timeout, self.fetch(key, scope)).await;
        let (counter, found) = match looked.unwrap_or(Err(Miss::Unanswered)) {
            Ok(()) => (&self.figures.hits, true),
            Err(Miss::Nothing) => (&self.figures.misses, false),
            Err(Miss::Refused) => (&self.figures.refused, false),
            Err(Miss::Unanswered) => (&self.figures.unanswered, false),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    async fn fetch(&self, key: &Key, scope: &Scope) -> Result<(), Miss> {
        // Before the first look, so that a purge meanwhile is noticed.
        let epoch = self.store.epoch(scope);
        // No more than an entry may have, whatever somebody put there.
        let asked = Command::new("GETRANGE").arg(self.entry(key)).number(0).number(SEALED_MAX as u64);
        let sealed = self.shared.call(asked).await?.into_bytes().filter(|sealed| !sealed.is_empty());
        let sealed = sealed.ok_or(Miss::Nothing)?;
        let (heard, record) = self.seal.open(key, &sealed, RECORD_MAX).map_err(|_| Miss::Refused)?;
        let (now, wall) = (self.clock)();
        let kept = Kept::decode(&record, scope, now, wall).map_err(|_| Miss::Refused)?;
        // What waits to be sent is not on the server yet; what is sent from here on, the counters show.
        if self.pending.covers(key, &kept) || self.was_purged(key, &kept, heard).await? {
            return Err(Miss::Nothing);
        }
        match self.store.restore(key, kept, epoch, now) {
            Restored::Yes | Restored::Known => Ok(()),
            Restored::Dead | Restored::TooLarge | Restored::Purged => Err(Miss::Nothing),
        }
    }

    /// Whether anything that it belongs to was purged since its gateway heard of purge number `heard`.
    async fn was_purged(&self, key: &Key, kept: &Kept, heard: u64) -> Result<bool, Miss> {
        let asked = Command::new("ZMSCORE").arg(self.purges());
        let counters = purges::counters(key, kept);
        let asked = counters.iter().fold(asked, |command, counter| command.arg(counter));
        let scores = self.shared.call(asked).await?.into_list().ok_or(Miss::Refused)?;
        // The server gave the set up: the next one to catch up begins it anew.
        if matches!(scores.first(), None | Some(Reply::Nil)) {
            self.gap();
            return Ok(true);
        }
        // What is no number is as good as a purge.
        let later =
            |score: &Reply| *score != Reply::Nil && score_of(score).is_none_or(|number| number > heard);
        Ok(scores.iter().any(later))
    }

    fn entry(&self, key: &Key) -> Vec<u8> {
        let mut name = self.shared.name(&["cache", "entry", ""]).into_bytes();
        name.extend_from_slice(key.as_bytes());
        name
    }

    fn purges(&self) -> String {
        self.shared.name(&["cache", "purges"])
    }
}

fn score_of(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Bytes(text) => {
            let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            // Microseconds since 1970 are whole numbers of a double for some centuries.
            Some(number as u64)
        }
        other => other.integer().and_then(|number| u64::try_from(number).ok()),
    }
}
