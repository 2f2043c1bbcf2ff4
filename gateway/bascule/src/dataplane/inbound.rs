//! How many calls each caller may make: one bucket per key that has a limit, by the governor crate.
//!
//! It comes before everything that costs something, and knows nothing of the integrations' own limits. Buckets are kept
//! by the caller's name over reloads, as long as their limit stays the same; names that the configuration no longer has
//! are forgotten with the next new one.

use super::callers::Caller;
use crate::{
    config::ApiKey,
    model::{Code, Problem},
};
use bascule_resilience::RateWindow;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// The buckets of all callers.
#[derive(Default)]
pub(super) struct Inbound {
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

struct Bucket {
    window: RateWindow,
    limiter: DefaultDirectRateLimiter,
}

impl Inbound {
    /// Lets one call of the caller in.
    ///
    /// # Errors
    /// `rate-limited` with the time until the next one, when the caller has had its share.
    pub(super) fn admit(&self, keys: &[ApiKey], caller: &Caller) -> Result<(), Problem> {
        let (Some(name), Some(window)) = (&caller.name, caller.limit) else { return Ok(()) };
        let mut buckets = self.buckets.lock();
        let known = buckets.get(name).is_some_and(|bucket| bucket.window == window);
        if !known {
            buckets.retain(|name, _| keys.iter().any(|key| *key.name == **name));
            buckets.insert(Arc::clone(name), Bucket { window, limiter: RateLimiter::direct(quota(window)) });
        }
        let Some(bucket) = buckets.get(name) else { return Ok(()) };
        bucket.limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail =
                format!("this key may make {} calls in {} s", window.requests, window.window.as_secs_f64());
            Problem::new(Code::RateLimited, detail).retry_after(wait)
        })
    }
}

fn quota(window: RateWindow) -> Quota {
    let period = (window.window / window.requests.get()).max(Duration::from_nanos(1));
    // A period over zero always makes a quota; one a second is the strictest thing to fall back on.
    Quota::with_period(period)
        .unwrap_or_else(|| Quota::per_second(std::num::NonZeroU32::MIN))
        .allow_burst(window.burst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn window(requests: u32) -> RateWindow {
        let requests = NonZeroU32::new(requests).unwrap();
        RateWindow { requests, window: Duration::from_secs(3600), burst: requests }
    }

    fn caller(name: &str, limit: Option<RateWindow>) -> Caller {
        Caller { name: Some(name.into()), limit, ..Caller::default() }
    }

    #[test]
    fn each_caller_has_a_bucket_of_its_own_and_a_new_limit_begins_anew() {
        let inbound = Inbound::default();
        let (a, b, free) = (caller("a", Some(window(2))), caller("b", Some(window(1))), caller("c", None));
        assert!(inbound.admit(&[], &a).is_ok() && inbound.admit(&[], &a).is_ok());
        let refused = inbound.admit(&[], &a).unwrap_err();
        assert_eq!(refused.code, Code::RateLimited);
        assert!(refused.retry_after.is_some_and(|wait| wait > Duration::from_secs(1700)));
        // The names are not in this configuration: the first bucket is forgotten for the second.
        assert!(inbound.admit(&[], &b).is_ok());
        assert_eq!(inbound.buckets.lock().len(), 1);
        assert!(inbound.admit(&[], &caller("b", Some(window(3)))).is_ok());
        for _ in 0..100 {
            assert!(inbound.admit(&[], &free).is_ok());
        }
    }
}
