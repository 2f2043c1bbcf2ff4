//! From settings to mechanisms: the one place that says which limiter and which bulkhead a setting means.
//!
//! The gateway that serves and the simulation that asks "what if" build theirs here, so that the two cannot differ.
//! Breakers are not among them: what is told of their transitions is each one's own.

use crate::config::RateLimit;
use bascule_resilience::{Bulkhead, BulkheadConfig, QUOTA_RESET_MAX, RateLimiter};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The limiter of a setting; without one it limits only what the provider says.
pub fn limiter(limit: Option<&RateLimit>, now: Instant) -> Arc<RateLimiter> {
    RateLimiter::new(limit.map(|limit| limit.limiter.clone()).unwrap_or_default(), now)
}

/// How long calls may queue for a token.
pub fn max_wait(limit: Option<&RateLimit>) -> Duration {
    limit.map_or(Duration::ZERO, |limit| limit.max_wait)
}

/// Longest hold that a quota header may cause.
pub fn quota_reset_max(limit: Option<&RateLimit>) -> Duration {
    limit.map_or(QUOTA_RESET_MAX, |limit| limit.quota_reset_max)
}

/// The limit of calls at a time.
pub fn bulkhead(limit: &BulkheadConfig) -> Arc<Bulkhead> {
    Bulkhead::new(limit.clone())
}
