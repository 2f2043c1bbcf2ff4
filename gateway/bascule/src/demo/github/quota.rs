//! GitHub's primary rate limit: so many requests an hour, then 403 until the hour is over.

use crate::demo::web::{self, Answer};
use serde_json::{Value, json};

/// Requests per window, GitHub's number for a signed-in user.
const LIMIT: u32 = 5000;
/// The window.
const WINDOW_SECONDS: u64 = 3600;

/// What is left, and until when.
#[derive(Clone)]
pub(super) struct Quota {
    remaining: u32,
    reset: u64,
}

impl Quota {
    /// A window that begins now.
    pub(super) fn full(now: u64) -> Self {
        Self { remaining: LIMIT, reset: now + WINDOW_SECONDS }
    }

    /// Begins a new window when the old one is over.
    pub(super) fn renew(&mut self, now: u64) {
        if now >= self.reset {
            *self = Self::full(now);
        }
    }

    /// Takes one request; `false` when none is left.
    pub(super) fn spend(&mut self) -> bool {
        match self.remaining.checked_sub(1) {
            Some(left) => {
                self.remaining = left;
                true
            }
            None => false,
        }
    }

    /// What is left in this window.
    pub(super) fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Sets what is left in this window; at most the limit.
    pub(super) fn set_remaining(&mut self, remaining: u32) {
        self.remaining = remaining.min(LIMIT);
    }

    /// The body of `GET /rate_limit`.
    pub(super) fn report(&self) -> Value {
        let core = json!({
            "limit": LIMIT,
            "used": LIMIT - self.remaining,
            "remaining": self.remaining,
            "reset": self.reset,
        });
        json!({ "resources": { "core": core }, "rate": core })
    }

    /// Adds the headers that tell clients where they stand.
    pub(super) fn stamp(&self, mut answer: Answer) -> Answer {
        web::set(&mut answer, "x-ratelimit-limit", LIMIT);
        web::set(&mut answer, "x-ratelimit-remaining", self.remaining);
        web::set(&mut answer, "x-ratelimit-used", LIMIT - self.remaining);
        web::set(&mut answer, "x-ratelimit-reset", self.reset);
        web::set(&mut answer, "x-ratelimit-resource", "core");
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_quota_comes_back_when_its_window_is_over() {
        let mut quota = Quota::full(1_000);
        quota.set_remaining(1);
        assert!(quota.spend());
        assert!(!quota.spend());
        quota.renew(1_000 + WINDOW_SECONDS - 1);
        assert!(!quota.spend());
        quota.renew(1_000 + WINDOW_SECONDS);
        assert!(quota.spend());
        assert_eq!(quota.remaining(), LIMIT - 1);
    }
}
