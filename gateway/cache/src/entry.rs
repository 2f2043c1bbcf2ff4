//! One remembered answer and the arithmetic of its age.
//!
//! The decision: an entry carries spans (`ttl` and how long it may be used after it), never a point in time at which
//! it ends. All questions are asked with a `now`, and every sum saturates, so that no configured span and no clock
//! reading can make them panic.
//!
//! ```text
//! age   0 ........ ttl ................ ttl + stale_while_revalidate ...... ttl + keep_stale ....
//!       | Fresh    | Revalidate         | Stale                            | Dead
//! ```
//!
//! The bounds are exclusive: at an age of exactly `ttl` the entry is no longer fresh, and a span of zero means off.
//! Where `keep_stale` is the shorter one, an entry is dead when `stale_while_revalidate` ends.
//!
//! It does not work out a lifetime from response headers: the spans are given by whoever stores the entry, by rule or,
//! for a [`Variant`](crate::Variant), by [`rfc9111`](crate::rfc9111).

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{key::Key, scope::Scope};

/// What an entry costs beside its key, headers and body: the struct itself behind its reference counts, and its
/// places in the store's map and queue, which both grow by doubling. Without it, a flood of empty answers would fill memory for free.
const ENTRY_OVERHEAD: usize = 768;

/// What one place in a header map's table costs (name and value handles, hash, index), used or not.
const HEADER_PLACE: usize = 112;

/// What one header costs outside of the table: two heap blocks and, for a repeated name, its link.
const HEADER_OVERHEAD: usize = 96;

/// One stored answer: the reply as the caller gets it, and how long it may be used.
///
/// It has no `Debug`: bodies and headers do not belong in logs.
#[derive(Clone)]
pub struct Entry {
    /// The status of the mapped reply.
    pub status: StatusCode,
    /// The headers of the mapped reply, without those that must not be replayed; the store takes them as they are.
    pub headers: HeaderMap,
    /// The whole body of the mapped reply.
    pub body: Bytes,
    /// When the answer was stored.
    pub stored_at: Instant,
    /// How old the answer was then: what other caches on the way had added. Zero by rule.
    pub age_at_store: Duration,
    /// The age up to which the entry is fresh.
    pub ttl: Duration,
    /// How long after `ttl` it may be answered with while it is being refreshed. Zero: never.
    pub stale_while_revalidate: Duration,
    /// How long after `ttl` it is kept as a fallback for failed calls. Zero: not at all.
    pub keep_stale: Duration,
    /// The operation that it belongs to, which is what purges name.
    pub scope: Scope,
}

/// What an entry may be used for, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Answer with it.
    Fresh,
    /// Answer with it and refresh it in the background.
    Revalidate,
    /// Only in place of a failed call.
    Stale,
    /// For nothing; the store gives no such entry away.
    Dead,
}

impl Entry {
    /// How old the answer is at `now`, in the sense of the `Age` header. A `now` before `stored_at` adds nothing.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.age_at_store.saturating_add(now.saturating_duration_since(self.stored_at))
    }

    /// Whole seconds until the entry is no longer fresh, rounded down, as `Cache-Status` has it in `ttl`: never
    /// negative while the entry is fresh, and negative as soon as it has been stale for any time at all.
    #[must_use]
    pub fn ttl_left(&self, now: Instant) -> i64 {
        let age = self.age(now);
        match self.ttl.checked_sub(age) {
            Some(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            None => {
                let over = age.saturating_sub(self.ttl);
                let seconds = over.as_secs().saturating_add(u64::from(over.subsec_nanos() > 0));
                i64::try_from(seconds).map_or(i64::MIN, |seconds| -seconds)
            }
        }
    }

    /// What the entry may be used for at `now`. It never gets better as time goes on.
    #[must_use]
    pub fn freshness(&self, now: Instant) -> Freshness {
        let age = self.age(now);
        let Some(stale_for) = age.checked_sub(self.ttl) else { return Freshness::Fresh };
        if stale_for < self.stale_while_revalidate {
            Freshness::Revalidate
        } else if stale_for < self.keep_stale {
            Freshness::Stale
        } else {
            Freshness::Dead
        }
    }

    /// How long it is of use yet.
    pub(crate) fn life(&self, now: Instant) -> Duration {
        let after = self.stale_while_revalidate.max(self.keep_stale);
        self.ttl.saturating_add(after).saturating_sub(self.age(now))
    }

    /// The bytes that the entry is charged for: key, headers, body and a fixed overhead. Rather too much than too
    /// little, because the sum over all entries is what bounds the store's memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        headers_weight(&self.headers)
            .saturating_add(self.body.len())
            .saturating_add(size_of::<Key>())
            .saturating_add(ENTRY_OVERHEAD)
    }

    /// The same entry in memory of its own.
    ///
    /// A body or header value is often a small slice of a connection's read buffer and keeps all of that buffer
    /// alive; kept as they are, a few hundred tiny answers could hold many times their weight.
    pub(crate) fn compacted(mut self) -> Self {
        self.body = Bytes::copy_from_slice(&self.body);
        compact_values(&mut self.headers);
        self
    }
}

/// The bytes that a header map occupies outside of its own struct.
pub(crate) fn headers_weight(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| HEADER_OVERHEAD.saturating_add(name.as_str().len()).saturating_add(value.len()))
        .fold(headers.capacity().saturating_mul(HEADER_PLACE), usize::saturating_add)
}

/// Moves the values of a header map into memory of their own.
pub(crate) fn compact_values(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

#[cfg(test)]
mod tests;
