//! Whether a stored answer may be used for a request (RFC 9111 §4, §4.2.4, §5.2.1; RFC 5861).
//!
//! ```text
//! age   0 ........ lifetime ........ + stale_while_revalidate ........ + stale_if_error, keep_stale ....
//!       | Fresh    | StaleAndRefresh | Validate, and if that fails, the stale answer    | Validate
//! ```
//!
//! A request can only ask for less than is allowed, but for `max-stale` and `stale-if-error`, which the origin can forbid.
//!
//! The decision: a pure function of spans. It is asked with an age, never with a clock.

use std::time::Duration;

use super::{cache_status::Forward, directives::RequestDirectives, exchange::Terms};

/// What to do with a stored answer that a request selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Answer with it.
    Fresh,
    /// Answer with it, and refresh it in the background.
    StaleAndRefresh,
    /// Answer with it, because the caller said that stale will do.
    Stale,
    /// Do not answer with it before the origin has been asked. With `only-if-cached`: answer 504 instead.
    Validate(Forward),
}

impl Terms {
    /// What to do with the answer at `age` for a request with these directives. The same request gets nothing better later.
    #[must_use]
    pub fn use_at(&self, age: Duration, request: &RequestDirectives) -> Use {
        let left = self.lifetime.saturating_sub(age);
        let stale_for = age.checked_sub(self.lifetime);
        let not_wanted = request.no_cache
            || request.max_age.is_some_and(|most| age > most)
            || request.min_fresh.is_some_and(|least| left < least);
        match stale_for {
            None if not_wanted => Use::Validate(Forward::Request),
            None => Use::Fresh,
            Some(_) if not_wanted || self.never_stale => Use::Validate(Forward::Stale),
            // Who names an age, but no staleness, wants nothing stale (§5.2.1.1).
            Some(stale_for)
                if stale_for < self.stale_while_revalidate
                    && (request.max_age.is_none() || request.max_stale.is_some()) =>
            {
                Use::StaleAndRefresh
            }
            Some(stale_for) if request.max_stale.is_some_and(|most| stale_for <= most) => Use::Stale,
            Some(_) => Use::Validate(Forward::Stale),
        }
    }

    /// Whether the answer may be used at `age` in place of an error (RFC 5861 §4): a failed connection, or 500, 502, 503,
    /// 504. The origin or the caller must have said so; what the configuration allows is
    /// [`fallback_at`](Self::fallback_at).
    #[must_use]
    pub fn in_place_of_error_at(&self, age: Duration, request: &RequestDirectives) -> bool {
        let asked = request.stale_if_error.filter(|_| !self.never_stale).unwrap_or_default();
        age < self.lifetime.saturating_add(self.stale_if_error.max(asked))
    }

    /// Whether the answer may be used at `age` by the rung `cache` of a fallback ladder.
    #[must_use]
    pub fn fallback_at(&self, age: Duration) -> bool {
        age < self.lifetime.saturating_add(self.keep_stale)
    }
}

#[cfg(test)]
mod tests;
