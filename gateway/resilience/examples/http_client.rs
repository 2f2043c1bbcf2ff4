//! An HTTP client behind circuits: one for a whole service, or one per kind of endpoint.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example http_client -- http://127.0.0.1:8080
//! ```
//!
//! It wraps reqwest, but nothing here depends on which client it is. Whether an answer counts as a failure is said in one
//! place, `AppError::is_outage`: a "not found" is the caller's affair and must not open a circuit for everybody.
//! Nothing is tried twice here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest that a request takes, its answer included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Failures are counted over this time. It has to hold a threshold of calls that each run into `TIMEOUT`: over the
/// default of a minute, a silent service with one caller would never open the circuit.
const WINDOW: Duration = Duration::from_secs(300);

/// A client of one service: if one endpoint fails, the service is taken to be down.
pub struct HttpServiceClient {
    client: Client,
    base_url: String,
    circuit_breaker: CircuitBreaker,
}

/// A client whose endpoints fail on their own: the caller names the circuit.
pub struct AdvancedHttpClient {
    client: Client,
    base_url: String,
    circuit_breakers: HashMap<String, CircuitBreaker>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Nothing came back, or it broke off.
    #[error("the service cannot be reached")]
    Network(#[source] reqwest::Error),
    /// The service answered with a status that is no success.
    #[error("the service answered with status {status}")]
    HttpError { status: StatusCode, message: String },
    /// The answer is not what it should be.
    #[error("the answer cannot be read")]
    Serialization(#[source] reqwest::Error),
    /// Nobody made a circuit of that name.
    #[error("circuit breaker '{name}' not found")]
    Configuration { name: String },
    /// The circuit is open: nothing was sent.
    #[error("the service is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl HttpServiceClient {
    /// A client of the service at `base_url`, which has no slash at its end.
    pub fn new(base_url: String) -> Result<Self, AppError> {
        Self::with_clock(base_url, Arc::new(TokioClock))
    }

    /// The same by another clock: a test need not wait for a minute to see the circuit recover.
    pub fn with_clock(base_url: String, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let client = Client::builder().timeout(TIMEOUT).build()?;
        let circuit_breaker = CircuitBreaker::new("http-service")
            .failure_threshold(5)
            .timeout(Duration::from_secs(60))
            .window(WINDOW)
            .clock(clock)
            .build();
        Ok(Self { client, base_url, circuit_breaker })
    }

    /// Fetches what is at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AppError> {
        let url = format!("{}/{}", self.base_url, path);
        self.circuit_breaker
            .call_judged(AppError::is_outage, || async { read(self.client.get(&url).send().await?).await })
            .await
            .map_err(AppError::from)
    }

    /// Sends `body` to `path` as JSON.
    pub async fn post<T: Serialize, R: DeserializeOwned>(&self, path: &str, body: &T) -> Result<R, AppError> {
        let url = format!("{}/{}", self.base_url, path);
        self.circuit_breaker
            .call_judged(AppError::is_outage, || async {
                read(self.client.post(&url).json(body).send().await?).await
            })
            .await
            .map_err(AppError::from)
    }

    /// The circuit, for a status page.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit_breaker
    }
}

impl AdvancedHttpClient {
    /// A client of the service at `base_url` with the circuits `critical` and `standard`.
    pub fn new(base_url: String) -> Result<Self, AppError> {
        Self::with_clock(base_url, Arc::new(TokioClock))
    }

    /// The same by another clock.
    pub fn with_clock(base_url: String, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let mut circuit_breakers = HashMap::new();
        for (name, failures, seconds) in [("critical", 3, 30), ("standard", 5, 60)] {
            let circuit_breaker = CircuitBreaker::new(format!("http-{name}"))
                .failure_threshold(failures)
                .timeout(Duration::from_secs(seconds))
                .window(WINDOW)
                .clock(Arc::clone(&clock))
                .build();
            circuit_breakers.insert(name.to_owned(), circuit_breaker);
        }
        let client = Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { client, base_url, circuit_breakers })
    }

    /// Fetches what is at `path` through the circuit of that name.
    pub async fn get_with_breaker<T: DeserializeOwned>(
        &self,
        path: &str,
        breaker_name: &str,
    ) -> Result<T, AppError> {
        let breaker = self
            .circuit_breakers
            .get(breaker_name)
            .ok_or_else(|| AppError::Configuration { name: breaker_name.to_owned() })?;
        let url = format!("{}/{}", self.base_url, path);
        breaker
            .call_judged(AppError::is_outage, || async { read(self.client.get(&url).send().await?).await })
            .await
            .map_err(AppError::from)
    }
}

/// The value in an answer, if it is a success.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T, AppError> {
    let status = response.status();
    if !status.is_success() {
        return Err(AppError::HttpError { status, message: response.text().await.unwrap_or_default() });
    }
    Ok(response.json().await?)
}

impl AppError {
    /// Whether this says that the service is unwell. A throttled caller (429) and a bad request are not the service's
    /// fault.
    fn is_outage(&self) -> bool {
        match self {
            Self::Network(_) | Self::Serialization(_) => true,
            Self::HttpError { status, .. } => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Configuration { .. } | Self::CircuitOpen { .. } => false,
        }
    }
}

impl From<reqwest::Error> for AppError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_decode() { Self::Serialization(error) } else { Self::Network(error) }
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

#[derive(Debug, Deserialize)]
pub struct ApiResponse {
    pub status: String,
}

#[derive(Debug, Serialize)]
pub struct CreateRequest {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct CreateResponse {
    pub id: u64,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what came back")]
async fn main() -> Result<(), AppError> {
    let base_url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".into());

    let client = HttpServiceClient::new(base_url.clone())?;
    for _ in 0..7 {
        match client.get::<ApiResponse>("data").await {
            Ok(data) => println!("data: {}", data.status),
            Err(AppError::HttpError { status, message }) => println!("data: {status}: {message}"),
            Err(error) => println!("data: {error}"),
        }
    }
    match client.post::<_, CreateResponse>("create", &CreateRequest { name: "test".into() }).await {
        Ok(created) => println!("created: {}", created.id),
        Err(error) => println!("create: {error}"),
    }
    println!("circuit: {:?}", client.circuit_breaker().state());

    let client = AdvancedHttpClient::new(base_url)?;
    match client.get_with_breaker::<ApiResponse>("pay", "critical").await {
        Ok(data) => println!("pay: {}", data.status),
        Err(error) => println!("pay: {error}"),
    }
    Ok(())
}
