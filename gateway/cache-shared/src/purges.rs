//! Purges as the server keeps them: a sorted set of what was purged, by the number of its last purge.
//!
//! Numbers are microseconds of the server's clock, and always go up. `0` is the beginning of the set: what was stored before
//! it belongs to a set that is lost, and is not used, so that a server that gave the set up to save memory does not bring
//! back what was purged.
//!
//! The decision: keys and tags share counters, as in the store, so that the set stays small; and what was purged longer ago
//! than any entry may live is forgotten.

use bascule_cache::{Kept, Key, Purge};
use bascule_shared::Script;
use std::time::Duration;

/// The longest that an entry is kept on the server.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(86_400);
/// How many purges that were missed are made up for one by one; beyond, everything is purged.
pub(crate) const MISSED_MAX: usize = 256;

const BEGINNING: &str = "0";
const EVERYTHING: &str = "*";

/// Numbers a purge, keeps it, and publishes `ARGV[3]` with the number before it.
const NOTE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local top = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local number = now
if top[2] then
  number = math.max(now, tonumber(top[2]) + 1)
else
  redis.call('ZADD', KEYS[1], number, '0')
end
redis.call('ZADD', KEYS[1], number, ARGV[1])
local old = string.format('%.0f', now - tonumber(ARGV[4]))
local first = redis.call('ZSCORE', KEYS[1], '0')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', old)
redis.call('ZADD', KEYS[1], 'NX', first, '0')
local text = string.format('%.0f', number)
redis.call('PUBLISH', ARGV[2], text .. ' ' .. ARGV[3])
return text
";

/// The number of the last purge, and what was purged after the number `ARGV[1]`: at most `ARGV[2]` and one more. A set that is
/// begun anew is published, for what gateways send with numbers from before it is not used.
const MISSED: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then
  local time = redis.call('TIME')
  local first = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('ZADD', KEYS[1], first, '0')
  redis.call('PUBLISH', ARGV[3], first .. ' - 0')
end
local top = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local missed = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2] + 1)
return {string.format('%.0f', tonumber(top[2])), missed}
";

/// The scripts that work on the set.
pub(crate) struct Scripts {
    pub(crate) note: Script,
    pub(crate) missed: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self { note: Script::new(NOTE), missed: Script::new(MISSED) }
    }
}

/// What is to be purged in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    One(Purge),
    /// All keys of a counter.
    Keys(u16),
}

/// The counter of a purge.
pub(crate) fn counter(purge: &Purge) -> String {
    match purge {
        Purge::Everything => EVERYTHING.to_owned(),
        Purge::Integration(integration) => format!("i:{integration}"),
        Purge::Operation { integration, operation } => format!("o:{integration}.{operation}"),
        Purge::Tag(number) => format!("t:{number}"),
        Purge::Key(key) => format!("k:{}", key.counter()),
    }
}

/// What a counter that has moved stands for. None for the beginning: a server that lost its memory says nothing of purges.
pub(crate) fn moved(counter: &str) -> Option<Missed> {
    let one = |purge| Some(Missed::One(purge));
    if counter == EVERYTHING {
        return one(Purge::Everything);
    }
    let (kind, name) = counter.split_once(':')?;
    match kind {
        "i" => one(Purge::Integration(name.into())),
        "o" => {
            let (integration, operation) = name.split_once('.')?;
            one(Purge::Operation { integration: integration.into(), operation: operation.into() })
        }
        "t" => one(Purge::Tag(name.parse().ok()?)),
        "k" => Some(Missed::Keys(name.parse().ok()?)),
        _ => None,
    }
}

/// The counters of everything that an entry belongs to, the beginning first: a set without that one is lost.
pub(crate) fn counters(key: &Key, kept: &Kept) -> Vec<String> {
    let (integration, operation) = (kept.scope().integration(), kept.scope().operation());
    let mut counters = vec![
        BEGINNING.to_owned(),
        EVERYTHING.to_owned(),
        format!("i:{integration}"),
        format!("o:{integration}.{operation}"),
        format!("k:{}", key.counter()),
    ];
    counters.extend(kept.tags().iter().map(|number| format!("t:{number}")));
    counters
}

/// A key that has this counter.
pub(crate) fn key_of(counter: u16) -> Key {
    let mut bytes = [0; 32];
    let [first, second] = counter.to_le_bytes();
    (bytes[0], bytes[1]) = (first, second);
    Key::from_bytes(bytes)
}

/// A purge as it is published: as its counter, but a key is told whole.
pub(crate) fn text(purge: &Purge) -> String {
    match purge {
        Purge::Key(key) => {
            let digits: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("k:{digits}")
        }
        other => counter(other),
    }
}

/// What was published: the number, who did, and what is to be purged.
pub(crate) fn parse(message: &str) -> Option<(u64, &str, Missed)> {
    let mut parts = message.splitn(3, ' ');
    let (number, who, what) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let missed = match what.strip_prefix("k:") {
        Some(digits) => Missed::One(Purge::Key(key(digits)?)),
        None => moved(what)?,
    };
    Some((number, who, missed))
}

fn key(digits: &str) -> Option<Key> {
    let mut bytes = [0; 32];
    if digits.len() != bytes.len() * 2 {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(Key::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bascule_cache::KeyBuilder;

    #[test]
    fn what_is_published_is_read_back() {
        let key = KeyBuilder::new("i", "o").finish();
        let operation = Purge::Operation { integration: "shop".into(), operation: "get_user".into() };
        for purge in
            [operation, Purge::Everything, Purge::Integration("shop".into()), Purge::Tag(17), Purge::Key(key)]
        {
            let message = format!("1700000000000000 me {}", text(&purge));
            assert_eq!(parse(&message), Some((1_700_000_000_000_000, "me", Missed::One(purge))));
        }
        assert_eq!(moved(&counter(&Purge::Key(key))), Some(Missed::Keys(key.counter())));
        assert_eq!([0, 1, 258, u16::MAX].map(|counter| key_of(counter).counter()), [0, 1, 258, u16::MAX]);
        for broken in ["", "5 me 0", "5", "5 me", "x me i:a", "5 me k:12", "5 me t:100000", "5 me z:1"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
