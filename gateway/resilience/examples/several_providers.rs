//! Several providers, each behind a circuit of its own: their health in one map, and what to do with more than one.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example several_providers -- http://127.0.0.1:8080
//! ```
//!
//! | with several sources       | do                                                                |
//! |----------------------------|-------------------------------------------------------------------|
//! | they say the same          | [`fetch_with_fallbacks`](Sources::fetch_with_fallbacks): primary, secondary, cache |
//! | each knows a part          | [`fetch_from_multiple_sources`](MultiLlmClient::fetch_from_multiple_sources): all at once, keep what came |
//!
//! The chain goes on only from an open circuit. Another error is told at once: it may be the caller's own, and the
//! first failures of a provider ought to be seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, HealthStatus, TokioClock};
use reqwest::Client;
use serde::{Deserialize, Serialize};

/// The longest that a provider may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Failures are counted over this time. It has to hold a threshold of calls that each run into `TIMEOUT`: over the
/// default of a minute, a silent provider with one caller would never open the circuit.
const WINDOW: Duration = Duration::from_secs(300);

/// What a provider knows about something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub source: String,
    pub text: String,
}

/// Where the providers are.
pub struct Config {
    pub sentinel: String,
    pub shield: String,
    pub edge_agent: String,
    pub governance: String,
}

/// One provider behind its circuit.
pub struct ResilientClient {
    client: Client,
    base_url: String,
    circuit_breaker: CircuitBreaker,
}

/// Four language models, none of which brings down another.
pub struct MultiLlmClient {
    pub sentinel: ResilientClient,
    pub shield: ResilientClient,
    pub edge_agent: ResilientClient,
    pub governance: ResilientClient,
}

/// The same data from several places.
pub struct Sources {
    pub primary: ResilientClient,
    pub secondary: ResilientClient,
    /// What was known when the program started; the last resort.
    pub cache: HashMap<String, Data>,
}

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The provider did not answer, or with a failure.
    #[error("the provider gave no answer")]
    Provider(#[from] reqwest::Error),
    /// The circuit is open: nothing was sent.
    #[error("the provider is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
    /// No source had anything.
    #[error("no data available")]
    NoDataAvailable,
}

impl ResilientClient {
    /// A client of the provider at `base_url`, with a circuit of that name.
    pub fn new(name: &str, base_url: &str, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let circuit_breaker = CircuitBreaker::new(name)
            .failure_threshold(5)
            .timeout(Duration::from_secs(60))
            .window(WINDOW)
            .success_threshold(2)
            .clock(clock)
            .build();
        let client = Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { client, base_url: base_url.to_owned(), circuit_breaker })
    }

    /// What the provider knows about `key`. The error still says whether it was asked at all.
    pub async fn get(&self, key: &str) -> Result<Data, CallError<AppError>> {
        let url = format!("{}/{}", self.base_url, key);
        self.circuit_breaker
            .call(|| async { Ok(self.client.get(url).send().await?.error_for_status()?.json().await?) })
            .await
    }
}

impl MultiLlmClient {
    /// All four; each has its own circuit.
    pub fn new(config: &Config) -> Result<Self, AppError> {
        Self::with_clock(config, &(Arc::new(TokioClock) as Arc<dyn Clock>))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, AppError> {
        Ok(Self {
            sentinel: ResilientClient::new("sentinel", &config.sentinel, Arc::clone(clock))?,
            shield: ResilientClient::new("shield", &config.shield, Arc::clone(clock))?,
            edge_agent: ResilientClient::new("edge_agent", &config.edge_agent, Arc::clone(clock))?,
            governance: ResilientClient::new("governance", &config.governance, Arc::clone(clock))?,
        })
    }

    /// How each of them fares. Nothing is sent for it.
    pub async fn health_check(&self) -> BTreeMap<String, HealthStatus> {
        let mut health = BTreeMap::new();
        for provider in [&self.sentinel, &self.shield, &self.edge_agent, &self.governance] {
            let circuit_breaker = &provider.circuit_breaker;
            health.insert(circuit_breaker.name().to_owned(), circuit_breaker.health_check().await);
        }
        health
    }

    /// What any of them knows about `key`, all asked at once.
    pub async fn fetch_from_multiple_sources(&self, key: &str) -> Result<Vec<Data>, AppError> {
        let (sentinel, shield, edge_agent, governance) = tokio::join!(
            self.sentinel.get(key),
            self.shield.get(key),
            self.edge_agent.get(key),
            self.governance.get(key),
        );
        let data: Vec<Data> = [sentinel, shield, edge_agent, governance].into_iter().flatten().collect();
        if data.is_empty() { Err(AppError::NoDataAvailable) } else { Ok(data) }
    }
}

impl Sources {
    /// What the first source that is not resting knows about `key`.
    pub async fn fetch_with_fallbacks(&self, key: &str) -> Result<Data, AppError> {
        match self.primary.get(key).await {
            Err(error) if error.is_circuit_open() => {}
            result => return result.map_err(AppError::from),
        }
        match self.secondary.get(key).await {
            Err(error) if error.is_circuit_open() => {}
            result => return result.map_err(AppError::from),
        }
        self.cache.get(key).cloned().ok_or(AppError::NoDataAvailable)
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
    let base_url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let [sentinel, shield, edge_agent, governance] =
        ["sentinel", "shield", "edge_agent", "governance"].map(|name| format!("{base_url}/{name}"));
    let models = MultiLlmClient::new(&Config { sentinel, shield, edge_agent, governance })?;
    for _ in 0..5 {
        match models.fetch_from_multiple_sources("weather").await {
            Ok(data) => println!("{} of 4 answered", data.len()),
            Err(error) => println!("{error}"),
        }
    }
    for (name, health) in models.health_check().await {
        println!("{name:<12} {:?} (circuit {:?})", health.status, health.state);
    }

    let known = Data { source: "cache".into(), text: "it rained yesterday".into() };
    let sources = Sources {
        primary: models.sentinel,
        secondary: models.shield,
        cache: HashMap::from([("weather".into(), known)]),
    };
    match sources.fetch_with_fallbacks("weather").await {
        Ok(data) => println!("{}: {}", data.source, data.text),
        Err(error) => println!("{error}"),
    }
    Ok(())
}
