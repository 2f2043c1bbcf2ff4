//! What is made of an attempt's result: its outcome, and what only the client knows about it.
//!
//! Most judges return an [`Outcome`], which is a verdict that says nothing else. The rest is for rules that go by more
//! than the outcome: lists of what is retried, and requests that never left.

use crate::outcome::Outcome;

/// What an attempt came to, for the retry rule too. Made from an [`Outcome`], it says: sent, listed, in time, no quota spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it came to.
    pub outcome: Outcome,
    /// Whether the dependency may have seen it. What it has not seen is retried even where repeating does harm.
    pub sent: bool,
    /// Whether the caller's rule retries such a failure. Read for throttled and transient outcomes.
    pub listed: bool,
    /// Whether a time limit of the client's own ended it: the next attempt may be given another one.
    pub timed_out: bool,
    /// Whether the answer said that a quota is spent: what it asks for is then obeyed for up to `quota_reset_max`, and
    /// not only for the retry rule's `retry_after_max`. Read for throttled outcomes.
    pub quota_spent: bool,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, sent: true, listed: true, timed_out: false, quota_spent: false }
    }
}
