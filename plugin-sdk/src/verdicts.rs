//! Making classifications, and the rule by status code that a classifier starts from.

use std::time::Duration;

use crate::fault::millis;
use crate::{Classification, Quota, Verdict};

impl Verdict {
    /// The host's own rule: 1xx to 3xx succeed, 401 is an expired authentication, 408 and 5xx are transient
    /// except 501 and 505, 429 is throttled, everything else is rejected.
    ///
    /// ```
    /// use bascule_plugin::Verdict;
    ///
    /// assert_eq!(Verdict::by_status(304), Verdict::Success);
    /// assert_eq!(Verdict::by_status(503), Verdict::Transient);
    /// assert_eq!(Verdict::by_status(501), Verdict::Rejected);
    /// ```
    #[must_use]
    pub fn by_status(status: u16) -> Self {
        match status {
            100..=399 => Self::Success,
            401 => Self::AuthExpired,
            429 => Self::Throttled,
            501 | 505 => Self::Rejected,
            408 | 500..=599 => Self::Transient,
            _ => Self::Rejected,
        }
    }
}

impl Classification {
    /// That verdict; the breaker counts by it, and nothing is said of a quota.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self { verdict, retry_after_ms: None, breaker_failure: None, quota: None }
    }

    /// Says how long to wait before another attempt.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(millis(wait));
        self
    }

    /// Says whether the provider's breaker counts a failure, whatever the verdict.
    #[must_use]
    pub fn with_breaker_failure(mut self, counts: bool) -> Self {
        self.breaker_failure = Some(counts);
        self
    }

    /// Says what is left of the provider's quota.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.quota = Some(quota);
        self
    }
}

impl Quota {
    /// A quota of which that many calls are left.
    #[must_use]
    pub fn new(remaining: u64) -> Self {
        Self { limit: None, remaining, reset_after_ms: None }
    }

    /// Adds the size of the whole quota.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds the time until the quota is full again.
    #[must_use]
    pub fn with_reset_after(mut self, wait: Duration) -> Self {
        self.reset_after_ms = Some(millis(wait));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_judged_as_the_host_judges_them() {
        for (status, verdict) in [
            (101, Verdict::Success),
            (200, Verdict::Success),
            (302, Verdict::Success),
            (400, Verdict::Rejected),
            (401, Verdict::AuthExpired),
            (403, Verdict::Rejected),
            (408, Verdict::Transient),
            (429, Verdict::Throttled),
            (500, Verdict::Transient),
            (501, Verdict::Rejected),
            (505, Verdict::Rejected),
            (599, Verdict::Transient),
            (600, Verdict::Rejected),
        ] {
            assert_eq!(Verdict::by_status(status), verdict, "{status}");
        }
    }

    #[test]
    fn a_quota_says_only_what_it_was_told() {
        let quota = Quota::new(3).with_reset_after(Duration::from_secs(1));
        assert_eq!(quota, Quota { limit: None, remaining: 3, reset_after_ms: Some(1_000) });
    }
}
