//! A language-model call with a rule for when the model is unavailable.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example llm_fallback -- http://127.0.0.1:8080
//! ```
//!
//! The rule answers only when the circuit is open. A call that was made and failed is told as it is, so that the first
//! failures are seen; from the fifth on the caller gets the rule's answer at once. The answer says where it came from.

use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Failures are counted over this time. It has to hold five calls that each run into the timeout of a slow model: over
/// the default of a minute, a silent one with one caller would never open the circuit.
const WINDOW: Duration = Duration::from_secs(300);

/// Where the model is, and how long an answer may take.
pub struct ConnectionConfig {
    pub endpoint: String,
    pub timeout: Duration,
}

/// What the model wants to be shown. Not printable, so that no log has it.
pub struct Credentials {
    pub api_key: String,
}

/// What the model, or the rule, makes of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnomalyAnalysis {
    pub is_anomalous: bool,
    pub confidence: f64,
    pub anomaly_type: String,
    pub details: Option<String>,
}

/// A plain client of the model, as its provider may ship it: it knows nothing of circuits.
pub struct SentinelClient {
    http: reqwest::Client,
    config: ConnectionConfig,
    credentials: Credentials,
}

/// The same client behind a circuit.
pub struct ResilientSentinelClient {
    client: SentinelClient,
    circuit_breaker: CircuitBreaker,
}

/// Why there is no analysis.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The model did not answer, or with a failure, or not in time.
    #[error("the model gave no answer")]
    Model(#[from] reqwest::Error),
    /// The circuit is open: nothing was sent.
    #[error("the model is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl SentinelClient {
    /// A client that does not connect yet.
    pub fn new(config: ConnectionConfig, credentials: Credentials) -> Result<Self, AppError> {
        let http = reqwest::Client::builder().timeout(config.timeout).build()?;
        Ok(Self { http, config, credentials })
    }

    /// Asks the model whether the data shows something unusual.
    pub async fn analyze_anomaly(&self, data: Value) -> Result<AnomalyAnalysis, AppError> {
        let url = format!("{}/v1/analyze", self.config.endpoint);
        let request =
            self.http.post(url).bearer_auth(&self.credentials.api_key).json(&json!({ "data": data }));
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

impl ResilientSentinelClient {
    /// A client with a circuit of its own.
    pub fn new(config: ConnectionConfig, credentials: Credentials) -> Result<Self, AppError> {
        Self::with_clock(config, credentials, Arc::new(TokioClock))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(
        config: ConnectionConfig,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AppError> {
        let circuit_breaker = CircuitBreaker::new("sentinel-llm")
            .failure_threshold(5)
            .timeout(Duration::from_secs(60))
            .window(WINDOW)
            .success_threshold(2)
            .clock(clock)
            .build();
        Ok(Self { client: SentinelClient::new(config, credentials)?, circuit_breaker })
    }

    /// The model's analysis, or the rule's while the model is unavailable.
    pub async fn analyze_anomaly_with_fallback(&self, data: Value) -> Result<AnomalyAnalysis, AppError> {
        match self.circuit_breaker.call(|| self.client.analyze_anomaly(data)).await {
            Ok(analysis) => Ok(analysis),
            Err(error) if error.is_circuit_open() => Ok(Self::rule_based_analysis()),
            Err(error) => Err(AppError::from(error)),
        }
    }

    /// The circuit, for a status page.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit_breaker
    }

    /// The simplest rule there is: nothing is known, so nothing is wrong. A better one looks at the data.
    fn rule_based_analysis() -> AnomalyAnalysis {
        AnomalyAnalysis {
            is_anomalous: false,
            confidence: 0.5,
            anomaly_type: "unknown".to_owned(),
            details: Some("Fallback analysis - LLM unavailable".to_owned()),
        }
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
async fn main() -> Result<(), AppError> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let config = ConnectionConfig { endpoint, timeout: Duration::from_secs(30) };
    let credentials = Credentials { api_key: std::env::var("SENTINEL_API_KEY").unwrap_or_default() };
    let sentinel = ResilientSentinelClient::new(config, credentials)?;
    for _ in 0..7 {
        match sentinel.analyze_anomaly_with_fallback(json!({ "error_rate": 0.4 })).await {
            Ok(analysis) => println!("{analysis:?}"),
            Err(error) => println!("{error}"),
        }
    }
    println!("circuit: {:?}", sentinel.circuit_breaker().state());
    Ok(())
}
