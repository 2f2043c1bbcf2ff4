//! Objects on storage that can go away (a network mount, an object store) behind a circuit.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example file_system -- /mnt/storage
//! ```
//!
//! It keeps a bucket as a folder; for an object store put its client in the place of the two calls of `tokio::fs`. An
//! object that is not there is neutral, a mount that is not there is an outage. A dead network mount does not fail, it
//! hangs: hence the time limit inside the circuit, without which the circuit would never hear of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};
use tokio::fs;

/// The longest that reading or writing one object takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Failures are counted over this time. It has to hold a threshold of calls that each run into `TIMEOUT`: over the
/// default of a minute, a silent mount with one caller would never open the circuit.
const WINDOW: Duration = Duration::from_secs(300);

/// Objects of one bucket.
pub struct ResilientStorage {
    bucket: PathBuf,
    circuit_breaker: CircuitBreaker,
}

/// Why an object was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The storage failed, or did not answer in time.
    #[error("storage: {0}")]
    Storage(#[from] io::Error),
    /// There is no such object.
    #[error("no object {key}")]
    NotFound { key: String },
    /// The key is no plain name.
    #[error("{key} cannot be the name of an object")]
    BadKey { key: String },
    /// The circuit is open: nothing was tried.
    #[error("the storage is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl ResilientStorage {
    /// Storage in the folder `bucket`, which is there while the storage is.
    pub fn new(bucket: PathBuf) -> Self {
        Self::with_clock(bucket, Arc::new(TokioClock))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(bucket: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let circuit_breaker = CircuitBreaker::new("storage")
            .failure_threshold(5)
            .timeout(Duration::from_secs(60))
            .window(WINDOW)
            .clock(clock)
            .build();
        Self { bucket, circuit_breaker }
    }

    /// The object of that key.
    pub async fn get_object(&self, key: &str) -> Result<Vec<u8>, AppError> {
        let path = self.path(key)?;
        self.run(async {
            match fs::read(&path).await {
                // Without the bucket every object seems to be missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::metadata(&self.bucket).await?;
                    Err(AppError::NotFound { key: key.to_owned() })
                }
                result => Ok(result?),
            }
        })
        .await
    }

    /// Stores an object, whole or not at all.
    pub async fn put_object(&self, key: &str, data: &[u8]) -> Result<(), AppError> {
        let path = self.path(key)?;
        let unfinished = self.bucket.join(format!(".{key}.unfinished"));
        self.run(async {
            fs::write(&unfinished, data).await?;
            Ok(fs::rename(&unfinished, &path).await?)
        })
        .await
    }

    /// The circuit, for a status page.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit_breaker
    }

    /// Does `work` through the circuit, within its time.
    async fn run<T>(&self, work: impl Future<Output = Result<T, AppError>>) -> Result<T, AppError> {
        let in_time = async {
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(late)
        };
        let is_outage = |error: &AppError| matches!(error, AppError::Storage(_));
        self.circuit_breaker.call_judged(is_outage, || in_time).await.map_err(AppError::from)
    }

    /// Where an object lies. A key that leads out of the bucket is refused before anything is tried.
    fn path(&self, key: &str) -> Result<PathBuf, AppError> {
        let is_plain = !key.starts_with('.') && Path::new(key).file_name().is_some_and(|name| name == key);
        if is_plain { Ok(self.bucket.join(key)) } else { Err(AppError::BadKey { key: key.to_owned() }) }
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
    let bucket = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let storage = ResilientStorage::new(bucket);
    storage.put_object("bascule-example.txt", b"kept").await?;
    let data = storage.get_object("bascule-example.txt").await?;
    println!("read {} bytes, circuit {:?}", data.len(), storage.circuit_breaker().state());
    Ok(())
}
