//! Waiting for what must come true, instead of sleeping and hoping.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Longest wait; far more than anything takes, so that only what never comes true fails.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Looks until there is something.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until_async(what, || std::future::ready(look())).await
}

/// The same for looks that take their time.
pub async fn until_async<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "never happened: {what}");
        tokio::time::sleep(EVERY).await;
    }
}
