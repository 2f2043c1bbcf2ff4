//! A client before and after it was put behind a circuit: what changes are three places.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example migration -- http://127.0.0.1:8080
//! ```
//!
//! The call itself stays as it was, and so does the signature: `From<CallError<AppError>>` folds the circuit's refusal
//! into the error that callers know already. An `Arc` around the circuit does no harm, although clones of it share
//! the circuit anyway.

use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker};
use serde::Deserialize;

/// The longest that a request takes. A circuit opens for calls that fail, not for calls that never end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Before: every caller waits for a service that is down.
pub struct OldServiceClient {
    client: reqwest::Client,
    base_url: String,
}

/// After.
pub struct NewServiceClient {
    client: reqwest::Client,
    base_url: String,
    circuit_breaker: Arc<CircuitBreaker>, // added
}

/// What the service knows.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Data {
    pub value: u64,
}

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The service gave no answer.
    #[error("the service gave no answer")]
    Network(#[from] reqwest::Error),
    /// The circuit is open: nothing was sent. (Added.)
    #[error("the service is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl OldServiceClient {
    /// A client of the service at `base_url`.
    pub fn new(base_url: String) -> Self {
        Self { client: reqwest::Client::new(), base_url }
    }

    /// The data.
    pub async fn fetch_data(&self) -> Result<Data, AppError> {
        let response = self
            .client
            .get(format!("{}/data", self.base_url))
            .timeout(TIMEOUT)
            .send()
            .await?
            .error_for_status()?;
        Ok(response.json().await?)
    }
}

impl NewServiceClient {
    /// A client of the service at `base_url`.
    pub fn new(base_url: String) -> Self {
        Self {
            client: reqwest::Client::new(),
            base_url,
            // Added.
            circuit_breaker: Arc::new(
                CircuitBreaker::new("service-api")
                    .failure_threshold(5)
                    .timeout(Duration::from_secs(60))
                    .build(),
            ),
        }
    }

    /// The data.
    pub async fn fetch_data(&self) -> Result<Data, AppError> {
        // The same call, wrapped.
        self.circuit_breaker
            .call(|| async {
                let response = self
                    .client
                    .get(format!("{}/data", self.base_url))
                    .timeout(TIMEOUT)
                    .send()
                    .await?
                    .error_for_status()?;
                Ok(response.json().await?)
            })
            .await
            .map_err(AppError::from)
    }
}

impl From<CallError<AppError>> for AppError {
    fn from(error: CallError<AppError>) -> Self {
        match error {
            CallError::CircuitOpen(refused) => Self::CircuitOpen { retry_after: refused.retry_after },
            CallError::Failed(error) => error,
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what came back")]
async fn main() {
    let base_url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let (before, after) = (OldServiceClient::new(base_url.clone()), NewServiceClient::new(base_url));
    for _ in 0..7 {
        println!("before: {:?}", before.fetch_data().await.map(|data| data.value).map_err(|e| e.to_string()));
        println!("after:  {:?}", after.fetch_data().await.map(|data| data.value).map_err(|e| e.to_string()));
    }
}
