//! A Redis cache behind a circuit.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example redis_cache -- redis://127.0.0.1/
//! ```
//!
//! Values are kept as JSON and for a limited time. A cache must not slow down what it serves: three failures open the
//! circuit, and it is probed again after ten seconds. A value that cannot be read is the program's fault, not the
//! server's. What a cache that fails is replaced with (the source, nothing) is the caller's to say.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

/// The longest that a command takes, connecting and waiting for others to connect included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Values by key, each for a while.
pub struct CacheClient {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    circuit_breaker: CircuitBreaker,
}

/// Why the cache did not serve.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The cache cannot be reached, or refused the command.
    #[error("cache: {0}")]
    Cache(#[from] RedisError),
    /// The value is not what was asked for, or cannot be kept.
    #[error("the value is not JSON of that type")]
    Serialization(#[from] serde_json::Error),
    /// The circuit is open: nothing was sent.
    #[error("the cache is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl CacheClient {
    /// A client of the cache at that address. It connects at the first call.
    pub fn new(redis_url: &str) -> Result<Self, AppError> {
        Self::with_clock(redis_url, Arc::new(TokioClock))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(redis_url: &str, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let circuit_breaker = CircuitBreaker::new("redis")
            .failure_threshold(3)
            .timeout(Duration::from_secs(10))
            .clock(clock)
            .build();
        Ok(Self { client: Client::open(redis_url)?, connection: Mutex::default(), circuit_breaker })
    }

    /// The value kept under that key, if there is one.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, AppError> {
        self.circuit_breaker
            .call_judged(AppError::is_outage, || async {
                let value: Option<String> = self.ask(async |mut redis| redis.get(key).await).await?;
                Ok(value.map(|json| serde_json::from_str(&json)).transpose()?)
            })
            .await
            .map_err(AppError::from)
    }

    /// Keeps a value for `ttl`, which is rounded up to a millisecond.
    pub async fn set<T: Serialize>(&self, key: &str, value: &T, ttl: Duration) -> Result<(), AppError> {
        self.circuit_breaker
            .call_judged(AppError::is_outage, || async {
                let json = serde_json::to_string(value)?;
                let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
                Ok(self.ask(async |mut redis| redis.pset_ex(key, json, millis).await).await?)
            })
            .await
            .map_err(AppError::from)
    }

    /// The circuit, for a status page.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit_breaker
    }

    /// Runs a command on the one connection that all callers share, and gives it up when it is broken.
    async fn ask<T>(
        &self,
        command: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let work = async { command(self.connection().await?).await };
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
        let result = tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(late);
        // Whoever has the lock is about to replace the connection, or will run into the same wall.
        if result.as_ref().is_err_and(RedisError::is_io_error)
            && let Ok(mut connection) = self.connection.try_lock()
        {
            *connection = None;
        }
        result
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = connection.as_ref() {
            return Ok(connection.clone());
        }
        // The one limit over all of it is enough.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let fresh = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(connection.insert(fresh).clone())
    }
}

impl AppError {
    /// Whether this says that the cache is unwell: out of reach, or not ready.
    fn is_outage(&self) -> bool {
        match self {
            Self::Cache(error) => matches!(
                error.kind(),
                ErrorKind::Io | ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown)
            ),
            Self::Serialization(_) | Self::CircuitOpen { .. } => false,
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
    let redis_url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1/".into());
    let cache = CacheClient::new(&redis_url)?;
    cache.set("numbers", &vec![1, 2, 3], Duration::from_secs(60)).await?;
    let numbers: Option<Vec<u32>> = cache.get("numbers").await?;
    println!("kept:    {numbers:?}");
    println!("circuit: {:?}", cache.circuit_breaker().state());
    Ok(())
}
