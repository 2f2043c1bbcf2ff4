//! What goes on behind the calls: purges are heard of, what was missed is made up for, and changes are sent.
//!
//! The decision: one thing after the other, on one task. What was missed is made up for before anything is sent.

use super::{Core, RECORD_MAX, score_of};
use crate::purges::{self, LIFE_MAX, MISSED_MAX, Missed};
use bascule_cache::{Key, Purge};
use bascule_shared::{CallError, Command, Notice, Reply, Subscription};
use std::{
    collections::HashSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// Octets of an entry on the server. What is larger would hold up the others on the connection.
pub(super) const SEALED_MAX: usize = 1 << 20;
/// How long a purge waits that could not be sent.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl Core {
    /// Sends what is there now under a key that changed.
    async fn send(&self, key: &Key) -> Result<(), CallError> {
        if !self.shared.is_connected() {
            // It could not be sent, and need not be written down.
            return Err(CallError::Away);
        }
        // Before the look into the store: what is there then was not purged by any purge up to this number.
        let heard = self.hearing.lock().heard();
        let (now, wall) = (self.clock)();
        // What nobody would read is not even compressed.
        let kept = self.store.kept(key, now).filter(|kept| kept.weight() <= RECORD_MAX as u64);
        let life = kept.as_ref().map_or(Duration::ZERO, |kept| kept.life(now)).min(LIFE_MAX).as_millis();
        let record = kept.map(|kept| kept.encode(now, wall)).filter(|record| record.len() <= RECORD_MAX);
        let sealed = record.map(|record| self.seal.close(key, heard, &record));
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
                if self.hearing.lock().is_past(number) {
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
        let behind = self.hearing.lock().behind();
        let (mut number, mut missed) = self.missed_since(behind.heard).await?;
        if number < behind.heard {
            // The server lost its set, and its clock is behind: all numbers are others.
            (number, missed) = self.missed_since(0).await?;
        }
        let now = (self.clock)().0;
        // The server forgets older ones.
        if behind.too_long(now) || missed.len() > MISSED_MAX {
            self.store.purge_elsewhere(&Purge::Everything);
        } else {
            if behind.heard == 0 {
                self.drop_old(now);
            }
            let texts = missed.into_iter().filter_map(Reply::into_bytes);
            self.apply(texts.filter_map(|text| purges::moved(std::str::from_utf8(&text).ok()?)));
        }
        self.hearing.lock().caught_up(behind, number, now);
        Ok(())
    }

    /// The number of the last purge, and what was purged after this one: [`MISSED_MAX`] at most, and one more.
    async fn missed_since(&self, heard: u64) -> Result<(u64, Vec<Reply>), CallError> {
        let arguments = [heard.to_string(), MISSED_MAX.to_string(), self.purges()];
        let told = self.shared.run(&self.scripts.missed, &[self.purges()], &arguments).await?;
        let told = told.into_list().unwrap_or_default();
        let [number, missed] = <[Reply; 2]>::try_from(told).map_err(|_| CallError::Unexpected)?;
        let number = score_of(&number).ok_or(CallError::Unexpected)?;
        Ok((number, missed.into_list().unwrap_or_default()))
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
    pub(super) fn gap(&self) {
        self.hearing.lock().gap();
        self.missed.notify_one();
        self.heard_more.notify_one();
    }

    pub(super) fn is_behind(&self) -> bool {
        self.hearing.lock().is_behind()
    }

    fn apply(&self, missed: impl IntoIterator<Item = Missed>) {
        let mut counters = HashSet::new();
        for missed in missed {
            match missed {
                Missed::One(purge) => self.store.purge_elsewhere(&purge),
                Missed::Keys(counter) => drop(counters.insert(counter)),
            }
        }
        // The keys that are held, and one for each counter that stands for those that are being fetched.
        let held = if counters.is_empty() {
            Vec::new()
        } else {
            self.store.keys(|key| counters.contains(&key.counter()))
        };
        for key in counters.iter().map(|counter| purges::key_of(*counter)).chain(held) {
            self.store.purge_elsewhere(&Purge::Key(key));
        }
    }

    fn hear(&self, message: &[u8]) {
        let now = (self.clock)().0;
        let parsed = std::str::from_utf8(message).ok().and_then(purges::parse);
        // What is not understood was perhaps a purge. Until then, all were heard.
        let Some((number, who, missed)) = parsed else {
            self.hearing.lock().listened(now);
            return self.gap();
        };
        if who != self.options.name {
            self.apply([missed]);
        }
        if !self.hearing.lock().hear(number, now) {
            return self.gap();
        }
        self.heard_more.notify_one();
    }
}

/// Hears of the purges of others, until the server's handle is gone.
pub(super) async fn hear(core: &Core, mut notices: Subscription) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Message(message) => core.hear(&message),
            Notice::Interrupted => core.hearing.lock().listened((core.clock)().0),
            Notice::Gap => core.gap(),
        }
    }
}

/// Catches up and sends, one after the other. Purges are sent before keys: a key that is sent after one is what is there
/// after it.
pub(super) async fn work(core: &Core) {
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
