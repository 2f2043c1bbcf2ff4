//! Everything around a call at once: circuit, retries, hedging, time limits, a bulkhead, a rate limit, and what was
//! answered last when nothing else helps.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example guarded_client -- http://127.0.0.1:8080
//! ```
//!
//! The guard is put together once; a call through it is one line. Its circuit comes from a registry, so that one health
//! map tells of it and of all others.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Mutex;
use std::time::Duration;

use bascule_resilience::{
    Attempt, BulkheadConfig, Guard, GuardError, HedgeConfig, Outcome, RateLimiterConfig, RateWindow,
    Registry, RetryPolicy,
};
use reqwest::{Client, StatusCode};

/// Prices by article, from a service that is not always there.
pub struct PriceClient {
    client: Client,
    base_url: String,
    guard: Guard,
    last: Mutex<HashMap<String, String>>,
}

/// Why there is no price.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing came back, or it broke off.
    #[error("the service cannot be reached")]
    Network(#[from] reqwest::Error),
    /// The service answered with a status that is no success.
    #[error("the service answered with status {0}")]
    Status(StatusCode),
    /// There was no answer, and none is known from before.
    #[error("no price is known")]
    Unknown(#[source] GuardError<Box<AppError>>),
}

impl PriceClient {
    /// A client whose circuit is the registry's `prices`.
    pub fn new(base_url: String, circuits: &Registry) -> Self {
        let some = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let a_second = RateWindow { requests: some(50), window: Duration::from_secs(1), burst: some(50) };
        let guard = Guard::new("prices")
            .circuit(&circuits.get("prices"))
            .retry(RetryPolicy::default())
            .hedge(HedgeConfig::default())
            .attempt_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(3))
            .bulkhead(BulkheadConfig {
                max: NonZeroUsize::MIN.saturating_add(31),
                ..BulkheadConfig::default()
            })
            .rate_limit(
                RateLimiterConfig { windows: vec![a_second], ..RateLimiterConfig::default() },
                Duration::from_millis(200),
            )
            .build();
        Self { client: Client::new(), base_url, guard, last: Mutex::default() }
    }

    /// The price of an article; the last one known while the service is away.
    pub async fn price(&self, article: &str) -> Result<String, AppError> {
        let answered = self.guard.call_judged(judge, |attempt| self.ask(article, attempt)).await;
        match answered {
            Ok(price) => {
                self.remember(article, &price);
                Ok(price)
            }
            // A refusal is an answer: the article is not theirs, and an old price would be wrong.
            Err(GuardError::Failed(AppError::Status(status))) if status.is_client_error() => {
                Err(AppError::Status(status))
            }
            Err(error) => self.known(article).ok_or_else(|| AppError::Unknown(boxed(error))),
        }
    }

    async fn ask(&self, article: &str, _attempt: Attempt) -> Result<String, AppError> {
        let answer = self.client.get(format!("{}/prices/{article}", self.base_url)).send().await?;
        if !answer.status().is_success() {
            return Err(AppError::Status(answer.status()));
        }
        Ok(answer.text().await?)
    }

    fn remember(&self, article: &str, price: &str) {
        if let Ok(mut last) = self.last.lock() {
            last.insert(article.to_owned(), price.to_owned());
        }
    }

    fn known(&self, article: &str) -> Option<String> {
        self.last.lock().ok()?.get(article).cloned()
    }
}

/// What a result says about the service: a "not found" is no outage, a 429 is no failure.
fn judge(result: &Result<String, AppError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(AppError::Status(StatusCode::TOO_MANY_REQUESTS)) => Outcome::Throttled { retry_after: None },
        Err(AppError::Status(status)) if status.is_client_error() => Outcome::Rejected,
        Err(_) => Outcome::TRANSIENT,
    }
}

fn boxed(error: GuardError<AppError>) -> GuardError<Box<AppError>> {
    match error {
        GuardError::CircuitOpen(refused) => GuardError::CircuitOpen(refused),
        GuardError::Overloaded(overloaded) => GuardError::Overloaded(overloaded),
        GuardError::Limited(limited) => GuardError::Limited(limited),
        GuardError::Timeout { after } => GuardError::Timeout { after },
        GuardError::Failed(error) => GuardError::Failed(Box::new(error)),
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what came back")]
async fn main() {
    let circuits = Registry::default();
    let base_url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let prices = PriceClient::new(base_url, &circuits);
    for _ in 0..7 {
        match prices.price("apple").await {
            Ok(price) => println!("{price}"),
            Err(error) => println!("{error}"),
        }
    }
    for (name, health) in circuits.health() {
        println!("{name}: {} ({})", health.status, health.state);
    }
}
