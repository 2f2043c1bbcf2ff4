//! The handle, and the task that keeps store and server together.

use crate::{
    pending::Pending,
    purges::{self, LIFE_MAX, MISSED_MAX, Missed, Scripts},
    seal::Seal,
};
use bascule_cache::{Follower, Kept, Key, Purge, Restored, Scope, Store};
use bascule_shared::{CallError, Command, Notice, Reply, Shared, Subscription};
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
    time::{sleep, timeout},
};

/// Keys that are asked for at a time; beyond, a miss is a miss.
const ASKED_MAX: usize = 4096;
/// Octets of an entry on the server. What is larger would hold up the others on the connection.
const SEALED_MAX: usize = 1 << 20;
/// Octets that an entry may have when it is decompressed.
const RECORD_MAX: usize = 16 << 20;
/// How long a purge waits that could not be sent.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

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

/// Which purges have been heard of.
#[derive(Default)]
struct Hearing {
    /// All purges up to this number are done here; 0 before the first time.
    heard: u64,
    /// The latest that was heard of. Where some may have been missed, it says nothing of those before.
    latest: u64,
    /// When there was word of the server while nothing was missed.
    since: Option<Instant>,
    /// How often purges may have been missed, and how often that was made up for.
    gaps: u64,
    filled: u64,
}

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
            hearing: Mutex::new(Hearing { gaps: 1, ..Hearing::default() }),
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

impl Hearing {
    fn is_behind(&self) -> bool {
        self.gaps != self.filled
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
        if self.was_purged(key, &kept, heard).await? {
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

    /// Sends what is there now under a key that changed.
    async fn send(&self, key: &Key) -> Result<(), CallError> {
        // Before the look into the store: what is there then was not purged by any purge up to this number.
        let heard = self.hearing.lock().heard;
        let (now, wall) = (self.clock)();
        let kept = self.store.kept(key, now);
        let life = kept.as_ref().map_or(Duration::ZERO, |kept| kept.life(now)).min(LIFE_MAX).as_millis();
        let sealed = kept.map(|kept| self.seal.close(key, heard, &kept.encode(now, wall)));
        let command = match sealed.filter(|sealed| sealed.len() <= SEALED_MAX && life > 0) {
            Some(sealed) => {
                let set = Command::new("SET").arg(self.entry(key)).arg(sealed).arg("PX");
                set.number(u64::try_from(life).unwrap_or(u64::MAX))
            }
            // Evicted, removed, or too large: what was there before is not the newest.
            None => Command::new("DEL").arg(self.entry(key)),
        };
        self.shared.call(command).await.map(drop)
    }

    /// Sends a purge. Returns its number.
    async fn announce(&self, purge: &Purge) -> Result<u64, CallError> {
        let what = format!("{} {}", self.options.name, purges::text(purge));
        let retention = LIFE_MAX.as_micros().saturating_mul(2).to_string();
        let arguments = [purges::counter(purge), self.purges(), what, retention];
        let number = self.shared.run(&self.scripts.note, &[self.purges()], &arguments).await?;
        score_of(&number).ok_or(CallError::Unexpected)
    }

    /// Waits until that purge has come back, and with it all before it: what is sent with an earlier number is of no use. A
    /// message that is lost is a gap, which ends the wait as well.
    async fn until_heard(&self, number: u64) {
        let heard = async {
            loop {
                let more = self.heard_more.notified();
                let done = {
                    let hearing = self.hearing.lock();
                    hearing.latest >= number || hearing.is_behind()
                };
                if done {
                    return;
                }
                more.await;
            }
        };
        // Later, it is heard of all the same.
        let _ = timeout(self.options.timeout, heard).await;
    }

    /// Makes up for purges that were missed.
    async fn catch_up(&self) -> Result<(), CallError> {
        let (heard, since, gaps) = {
            let hearing = self.hearing.lock();
            (hearing.heard, hearing.since, hearing.gaps)
        };
        let arguments = [heard.to_string(), MISSED_MAX.to_string(), self.purges()];
        let told = self.shared.run(&self.scripts.missed, &[self.purges()], &arguments).await?;
        let told = told.into_list().unwrap_or_default();
        let [number, missed] = <[Reply; 2]>::try_from(told).map_err(|_| CallError::Unexpected)?;
        let number = score_of(&number).ok_or(CallError::Unexpected)?;
        let missed = missed.into_list().unwrap_or_default();
        let now = (self.clock)().0;
        // The server forgets older ones.
        let too_long = since.is_some_and(|since| now.saturating_duration_since(since) > LIFE_MAX);
        if too_long || missed.len() > MISSED_MAX {
            self.store.purge_elsewhere(&Purge::Everything);
        } else {
            if heard == 0 {
                self.drop_old(now);
            }
            let texts = missed.into_iter().filter_map(Reply::into_bytes);
            let moved = texts.filter_map(|text| purges::moved(std::str::from_utf8(&text).ok()?));
            moved.for_each(|missed| self.apply(&missed));
        }
        let mut hearing = self.hearing.lock();
        // What was published since the connection is there was heard, without a gap from this number on.
        hearing.heard = hearing.heard.max(number).max(hearing.latest);
        (hearing.filled, hearing.since) = (gaps, Some(now));
        Ok(())
    }

    /// What another process left on the disk may be older than what the server remembers of purges.
    fn drop_old(&self, now: Instant) {
        for key in self.store.keys(|_| true) {
            if self.store.kept(&key, now).is_some_and(|kept| kept.age(now) > LIFE_MAX) {
                self.store.purge_elsewhere(&Purge::Key(key));
            }
        }
    }

    /// Purges may have been missed.
    fn gap(&self) {
        self.hearing.lock().gaps += 1;
        self.missed.notify_one();
        self.heard_more.notify_one();
    }

    fn is_behind(&self) -> bool {
        self.hearing.lock().is_behind()
    }

    fn apply(&self, missed: &Missed) {
        match missed {
            Missed::One(purge) => self.store.purge_elsewhere(purge),
            Missed::Keys(place) => {
                for key in self.store.keys(|key| purges::place(key) == *place) {
                    self.store.purge_elsewhere(&Purge::Key(key));
                }
            }
        }
    }

    fn hear(&self, message: &[u8]) {
        let parsed = std::str::from_utf8(message).ok().and_then(purges::parse);
        // What is not understood was perhaps a purge.
        let Some((number, who, missed)) = parsed else { return self.gap() };
        if who != self.options.name {
            self.apply(&missed);
        }
        let now = (self.clock)().0;
        let mut hearing = self.hearing.lock();
        hearing.latest = hearing.latest.max(number);
        if !hearing.is_behind() {
            hearing.heard = hearing.heard.max(number);
            hearing.since = Some(now);
        }
        drop(hearing);
        self.heard_more.notify_one();
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

/// Hears of the purges of others, until the server's handle is gone.
async fn hear(core: &Core, mut notices: Subscription) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Message(message) => core.hear(&message),
            Notice::Gap => core.gap(),
        }
    }
}

/// Catches up and sends, one after the other. Purges are sent before keys: a key that is sent after one is what is there
/// after it.
async fn work(core: &Core) {
    loop {
        if core.is_behind() {
            if core.catch_up().await.is_err() {
                sleep(AGAIN_AFTER).await;
            }
            continue;
        }
        tokio::select! {
            () = core.pending.changed() => {}
            () = core.missed.notified() => continue,
        }
        if let Some(purge) = core.pending.purge() {
            match core.announce(&purge).await {
                Ok(number) => {
                    core.pending.sent();
                    core.until_heard(number).await;
                }
                Err(_) => {
                    core.pending.not_sent();
                    sleep(AGAIN_AFTER).await;
                }
            }
        } else if let Some(key) = core.pending.key() {
            match core.send(&key).await {
                Ok(()) => drop(core.figures.sent.fetch_add(1, Ordering::Relaxed)),
                Err(_) => core.pending.skip(),
            }
        }
    }
}
