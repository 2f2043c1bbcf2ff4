//! A PostgreSQL client behind a circuit.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example postgresql -- "host=localhost user=postgres"
//! ```
//!
//! It wraps tokio-postgres; a pool goes in the place of `DatabaseClient::client`. What the server says about a
//! statement (a duplicate key, a syntax error) is neutral: only a server that is gone, silent or unable to work opens
//! the circuit. A statement is never sent twice, so that an insert whose answer was lost is not made again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, Row};

/// The longest that a call takes, connecting and waiting for others to connect included. Without it a silent server
/// would hold its callers for ever, and the circuit would never hear of it. Ten of them fit into the minute over which
/// failures are counted.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Classes of SQLSTATE that say that the server cannot work: connection lost, out of resources, shut down by its
/// operator, error of its system, error of its own.
const OUTAGE_CLASSES: [&str; 5] = ["08", "53", "57", "58", "XX"];

/// Incidents in a database.
pub struct DatabaseClient {
    config: Config,
    connection: Mutex<Option<Arc<Client>>>,
    circuit_breaker: CircuitBreaker,
}

/// A row of the table `incidents`.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    pub id: String,
    pub title: String,
    pub severity: String,
    pub created_at: SystemTime,
}

/// Which incidents are asked for.
pub struct IncidentFilter {
    pub severity: String,
    pub start_time: SystemTime,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database cannot be reached, or refused the statement.
    #[error("database: {0}")]
    Database(#[from] tokio_postgres::Error),
    /// It did not answer in time.
    #[error("the database did not answer within {CALL_TIMEOUT:?}")]
    Timeout,
    /// There is no such incident.
    #[error("no incident {id}")]
    NotFound { id: String },
    /// The circuit is open: nothing was sent.
    #[error("the database is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl DatabaseClient {
    /// A client of the database that `database_url` names. It connects at the first call.
    pub fn new(database_url: &str) -> Result<Self, AppError> {
        Self::with_clock(database_url, Arc::new(TokioClock))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(database_url: &str, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let circuit_breaker = CircuitBreaker::new("postgresql")
            .failure_threshold(10)
            .timeout(Duration::from_secs(30))
            .clock(clock)
            .build();
        Ok(Self { config: database_url.parse()?, connection: Mutex::default(), circuit_breaker })
    }

    /// Makes the table if it is not there.
    pub async fn create_table(&self) -> Result<(), AppError> {
        let statement = "CREATE TABLE IF NOT EXISTS incidents \
             (id text PRIMARY KEY, title text NOT NULL, severity text NOT NULL, created_at timestamptz NOT NULL)";
        self.run(async { Ok(self.client().await?.batch_execute(statement).await?) }).await
    }

    /// The incident of that id.
    pub async fn get_incident(&self, incident_id: &str) -> Result<Incident, AppError> {
        self.run(async {
            let statement = "SELECT id, title, severity, created_at FROM incidents WHERE id = $1";
            let row = self.client().await?.query_opt(statement, &[&incident_id]).await?;
            Incident::from_row(&row.ok_or_else(|| AppError::NotFound { id: incident_id.to_owned() })?)
        })
        .await
    }

    /// Stores an incident that is not there yet.
    pub async fn insert_incident(&self, incident: &Incident) -> Result<(), AppError> {
        self.run(async {
            let statement = "INSERT INTO incidents (id, title, severity, created_at) VALUES ($1, $2, $3, $4)";
            let Incident { id, title, severity, created_at } = incident;
            self.client().await?.execute(statement, &[id, title, severity, created_at]).await?;
            Ok(())
        })
        .await
    }

    /// All incidents that the filter names, the oldest first.
    pub async fn query_incidents(&self, filter: &IncidentFilter) -> Result<Vec<Incident>, AppError> {
        self.run(async {
            let statement = "SELECT id, title, severity, created_at FROM incidents \
                 WHERE severity = $1 AND created_at > $2 ORDER BY created_at";
            let IncidentFilter { severity, start_time } = filter;
            let rows = self.client().await?.query(statement, &[severity, start_time]).await?;
            rows.iter().map(Incident::from_row).collect()
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
            let Ok(result) = tokio::time::timeout(CALL_TIMEOUT, work).await else {
                // Whoever has the lock is about to replace the connection, or will run into the same wall.
                if let Ok(mut connection) = self.connection.try_lock() {
                    *connection = None;
                }
                return Err(AppError::Timeout);
            };
            result
        };
        self.circuit_breaker.call_judged(AppError::is_outage, || in_time).await.map_err(AppError::from)
    }

    /// The connection, made anew if the last one broke. Callers that come meanwhile wait for the same one.
    async fn client(&self) -> Result<Arc<Client>, AppError> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = connection.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (client, io) = self.config.connect(NoTls).await?;
        // It ends by itself once the last client of this connection is dropped; what broke it is told to the callers.
        tokio::spawn(async move { io.await.ok() });
        Ok(Arc::clone(connection.insert(Arc::new(client))))
    }
}

impl Incident {
    fn from_row(row: &Row) -> Result<Self, AppError> {
        Ok(Self {
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            severity: row.try_get("severity")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

impl AppError {
    /// Whether this says that the database is unwell.
    fn is_outage(&self) -> bool {
        match self {
            Self::Database(error) => match error.code() {
                Some(state) => state.code().get(..2).is_some_and(|class| OUTAGE_CLASSES.contains(&class)),
                None => true,
            },
            Self::Timeout => true,
            Self::NotFound { .. } | Self::CircuitOpen { .. } => false,
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
    let database_url = std::env::args().nth(1).unwrap_or_else(|| "host=localhost user=postgres".into());
    let database = DatabaseClient::new(&database_url)?;
    database.create_table().await?;

    let start_time = SystemTime::now();
    let id =
        format!("{:x}", start_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos());
    let created_at = start_time + Duration::from_millis(1);
    let incident = Incident { id, title: "disk full".into(), severity: "high".into(), created_at };
    database.insert_incident(&incident).await?;
    println!("stored:  {:?}", database.get_incident(&incident.id).await?);

    let filter = IncidentFilter { severity: "high".into(), start_time };
    println!("found:   {}", database.query_incidents(&filter).await?.len());
    println!("circuit: {:?}", database.circuit_breaker().state());
    Ok(())
}
