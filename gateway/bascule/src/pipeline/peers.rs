//! Other gateways that share a server with this one: what they are told, and what is heard of them.
//!
//! | what                       | is told, and kept on the server until it is over          | whoever hears of it                              |
//! |----------------------------|-----------------------------------------------------------|--------------------------------------------------|
//! | a circuit opened           | by the gateway whose own calls opened it                   | opens its own for the rest of that time          |
//! | a circuit closed           | is told to nobody; the word that opened it is removed      | –: each finds out by probes of its own           |
//! | the provider said to wait  | by the gateway that was told                               | holds its calls until then                       |
//! | a quota is low or spent    | by the gateway that was told                               | counts on from there                             |
//!
//! The decision behind it: a word travels once. What was heard is never told on, so that no two gateways can keep each
//! other's circuits open; every opening stands for calls that failed somewhere. What is kept on the server is for those
//! who come later or were cut off: they look when they are (again) connected.
//!
//! A word may be lost, and then each gateway finds out by itself, as it would alone. Nothing here is waited for by a call.

mod members;
mod share;
mod word;

use super::Generation;
use crate::config::SharedSettings;
use bascule_resilience::{BreakerConfig, Clock, Mode, Random, RateLimiter, Reason, State, Transition};
use bascule_shared::{CallError, Notice, Reply, Script, Shared};
use members::Members;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};
use word::{Quota, What, Word};

pub use share::Share;
pub(super) use share::Shares;

/// Words that wait to be told. More are not: whoever misses them finds out by itself.
const SAYINGS_MAX: usize = 256;

/// How long the server is waited for where there is none.
const NO_SERVER: Duration = Duration::from_millis(50);

/// Keeps a word until it is over, unless a longer one is kept, and publishes it.
const ANNOUNCE: &str = "\
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1";

/// Removes a word of one of these gateways.
const FORGET: &str = "\
local from = redis.call('GET', KEYS[1])
for _, name in ipairs(ARGV) do
  if from == name then return redis.call('DEL', KEYS[1]) end
end
return 0";

/// For every key, how many milliseconds it is kept yet, and of which gateway; 0 for none, and for words of one's own.
const LOOK_UP: &str = "\
local found = {}
for number, key in ipairs(KEYS) do
  local from = redis.call('GET', key)
  found[number] = {0, ''}
  if from and from ~= ARGV[1] then found[number] = {math.max(redis.call('PTTL', key), 0), from} end
end
return found";

/// The other gateways. Without a server there are none, and nothing is told.
pub struct Peers {
    clock: Arc<dyn Clock>,
    /// The name of this gateway among them, new with each start.
    name: String,
    /// The longest that the server takes to answer.
    timeout: Duration,
    server: OnceLock<Shared>,
    members: Mutex<Members>,
    /// By whose word circuits opened here, until they close: no more than there are circuits.
    heeded: Mutex<HashMap<String, String>>,
    /// Tells of new members.
    joined: Notify,
    sayings: mpsc::Sender<Saying>,
    waiting: Mutex<Option<mpsc::Receiver<Saying>>>,
}

/// What the task that speaks is to do.
enum Saying {
    /// Keep a word for that long, and tell it.
    Announce(Kind, Word, Duration),
    /// Tell it.
    Tell(Word),
    /// Remove what is kept of this circuit, if it is of one's own or of the other gateway.
    Closed(String, Option<String>),
}

/// What is kept on the server.
#[derive(Clone, Copy)]
enum Kind {
    Circuit,
    Hold,
}

impl Peers {
    /// No peers yet, where there is to be such a server.
    pub fn new(settings: Option<&SharedSettings>, clock: Arc<dyn Clock>, random: &dyn Random) -> Arc<Self> {
        let (sayings, waiting) = mpsc::channel(SAYINGS_MAX);
        let part = || (random.unit() * f64::from(u32::MAX)) as u32;
        Arc::new(Self {
            clock,
            name: format!("{:08x}{:08x}", part(), part()),
            timeout: settings.map_or(NO_SERVER, |settings| settings.timeout),
            server: OnceLock::new(),
            members: Mutex::default(),
            heeded: Mutex::default(),
            joined: Notify::new(),
            sayings,
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// The server, if there is one.
    pub fn server(&self) -> Option<&Shared> {
        self.server.get()
    }

    /// From here on there is this server. Only the first one counts; [`run`](Self::run) has to follow.
    pub fn connect(&self, server: Shared) {
        let _ = self.server.set(server);
    }

    /// Takes note of what a configuration shares.
    pub fn know(&self, generation: &Generation) {
        let members = Members::of(generation);
        self.heeded.lock().retain(|name, _| members.circuits.contains_key(name));
        let before = std::mem::replace(&mut *self.members.lock(), members);
        drop(before);
        self.joined.notify_one();
    }

    /// Tells what is to be told and heeds what is heard, for as long as it is not dropped. Returns at once where there is
    /// no server.
    pub async fn run(&self) {
        let (Some(server), Some(mut sayings)) = (self.server.get(), self.waiting.lock().take()) else {
            return;
        };
        let mut heard = server.subscribe(&self.channel(server));
        loop {
            tokio::select! {
                Some(saying) = sayings.recv() => {
                    // Who cannot be told finds out alone; the connection keeps count of its failures.
                    let _ = self.say(server, saying).await;
                }
                () = self.joined.notified() => self.catch_up(server).await,
                notice = heard.next() => match notice {
                    Some(Notice::Message(text)) => self.hear(&text),
                    Some(Notice::Interrupted) => {}
                    Some(Notice::Gap) => self.catch_up(server).await,
                    None => return,
                },
            }
        }
    }

    /// A circuit of this gateway changed. Called by the breaker: does not wait.
    pub fn circuit_changed(&self, name: &str, transition: &Transition) {
        if self.server.get().is_none() {
            return;
        }
        let Some(breaker) = self.members.lock().circuits.get(name).cloned() else { return };
        match (transition.to, transition.reason) {
            (State::Closed, _) => {
                let heeded = self.heeded.lock().remove(name);
                self.enqueue(Saying::Closed(name.to_owned(), heeded));
            }
            (
                State::Open,
                Reason::Tripped | Reason::TooSlow | Reason::ProbeFailed | Reason::HalfOpenExpired,
            ) => {
                let now = self.clock.now();
                let found = breaker.snapshot(now);
                let left = found.next_probe_at.map(|until| until.saturating_duration_since(now));
                // One that only observes refuses nothing, and has nobody else refuse anything.
                if let (Mode::Auto, Some(left)) = (found.mode, left.filter(|left| !left.is_zero())) {
                    let word = self.word(name, What::Opened { ms: millis(left) });
                    self.enqueue(Saying::Announce(Kind::Circuit, word, left));
                }
            }
            // What an operator does to one gateway, and what was heard of another.
            (State::Open | State::HalfOpen, _) => {}
        }
    }

    /// The provider said to wait.
    fn held(&self, name: &str, left: Duration) {
        let word = self.word(name, What::Held { ms: millis(left) });
        self.enqueue(Saying::Announce(Kind::Hold, word, left));
    }

    /// The provider said what is left of a quota.
    fn quota(&self, name: &str, quota: Quota) {
        self.enqueue(Saying::Tell(self.word(name, What::Quota(quota))));
    }

    fn word(&self, about: &str, what: What) -> Word {
        Word { from: self.name.clone(), about: about.to_owned(), what }
    }

    fn enqueue(&self, saying: Saying) {
        if self.sayings.try_send(saying).is_err() {
            tracing::debug!("other gateways are not told: too much is waiting to be told");
        }
    }

    async fn say(&self, server: &Shared, saying: Saying) -> Result<(), CallError> {
        match saying {
            Saying::Announce(kind, word, left) => {
                let arguments =
                    [self.name.clone(), millis(left).to_string(), self.channel(server), word.to_text()];
                let key = key(server, kind, &word.about);
                server.run(&Script::new(ANNOUNCE), &[key], &arguments).await.map(drop)
            }
            Saying::Tell(word) => server.publish(&self.channel(server), word.to_text()).await,
            Saying::Closed(name, heeded) => {
                let whose: Vec<_> = [Some(self.name.clone()), heeded].into_iter().flatten().collect();
                let key = key(server, Kind::Circuit, &name);
                server.run(&Script::new(FORGET), &[key], &whose).await.map(drop)
            }
        }
    }

    fn hear(&self, text: &[u8]) {
        let Some(word) = Word::read(text).filter(|word| word.from != self.name) else { return };
        let now = self.clock.now();
        match word.what {
            What::Opened { ms } => self.open(&word.about, word.from, ms, now),
            What::Held { ms } => {
                if let Some((limiter, longest)) = self.limit(&word.about) {
                    limiter.hold_until(now + Duration::from_millis(ms).min(longest), now);
                }
            }
            What::Quota(quota) => {
                if let Some((limiter, longest)) = self.limit(&word.about) {
                    limiter.observe_quota(&quota.report(longest, now), now);
                }
            }
        }
    }

    fn limit(&self, name: &str) -> Option<(Arc<RateLimiter>, Duration)> {
        let members = self.members.lock();
        members.limits.get(name).map(|limit| (Arc::clone(&limit.limiter), limit.longest))
    }

    fn open(&self, name: &str, from: String, ms: u64, now: Instant) {
        // The breaker tells of it, which looks for its name here: not under the lock.
        let breaker = self.members.lock().circuits.get(name).cloned();
        if let Some(breaker) = breaker {
            let left = Duration::from_millis(ms).min(longest_stay(breaker.config()));
            if breaker.open_elsewhere(now + left, now) {
                self.heeded.lock().insert(name.to_owned(), from);
            }
        }
    }

    /// Looks at what is kept of the circuits: words may have been missed.
    async fn catch_up(&self, server: &Shared) {
        let names: Vec<String> = self.members.lock().circuits.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let keys: Vec<String> = names.iter().map(|name| key(server, Kind::Circuit, name)).collect();
        let Ok(Reply::List(found)) = server.run(&Script::new(LOOK_UP), &keys, &[&self.name]).await else {
            return;
        };
        let now = self.clock.now();
        for (name, found) in names.iter().zip(found) {
            let Some([left, from]) = found.into_list().and_then(|found| <[Reply; 2]>::try_from(found).ok())
            else {
                continue;
            };
            let ms = left.integer().and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
            let from = from.into_bytes().and_then(|from| String::from_utf8(from.into()).ok());
            if let (Some(ms), Some(from)) = (ms, from) {
                self.open(name, from, ms, now);
            }
        }
    }

    fn channel(&self, server: &Shared) -> String {
        server.name(&["told"])
    }
}

/// The names of one kind share a hash tag, so that one script may look at all of them.
fn key(server: &Shared, kind: Kind, name: &str) -> String {
    match kind {
        Kind::Circuit => server.name(&["{circuits}", name]),
        // Beside the budget of the same name.
        Kind::Hold => server.name(&["hold", &format!("{{{name}}}")]),
    }
}

/// The longest that a circuit stays open by its own rules: others' words are believed up to it.
fn longest_stay(config: &BreakerConfig) -> Duration {
    let reopened = config.reopen.as_ref().map_or(Duration::ZERO, |reopen| reopen.max_interval);
    config.reset_after.max(reopened)
}

/// Whole milliseconds, at least one.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
