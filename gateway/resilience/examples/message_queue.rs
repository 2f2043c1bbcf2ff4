//! Publishing to a message queue behind a circuit.
//!
//! ```console
//! $ cargo run --package bascule-resilience --example message_queue
//! ```
//!
//! The broker is a stand-in within the program, so that the example needs none: put a client's connection in the place
//! of [`Broker`]. A message that was refused by the open circuit was not sent and can be kept for later; one that
//! failed may have arrived.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bascule_resilience::{CallError, CircuitBreaker, Clock, TokioClock};

/// Messages that one queue of the stand-in holds before it refuses more, as a broker's length limit does.
const QUEUE_LENGTH_MAX: usize = 1000;

/// A publisher behind a circuit.
pub struct QueueClient {
    broker: Arc<Broker>,
    circuit_breaker: CircuitBreaker,
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The broker did not take it.
    #[error("queue: {0}")]
    Queue(#[from] BrokerError),
    /// The circuit is open: nothing was sent.
    #[error("the queue is resting, try again in {retry_after:?}")]
    CircuitOpen { retry_after: Duration },
}

impl QueueClient {
    /// A publisher to that broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self::with_clock(broker, Arc::new(TokioClock))
    }

    /// The same by another clock, for tests.
    pub fn with_clock(broker: Arc<Broker>, clock: Arc<dyn Clock>) -> Self {
        let circuit_breaker = CircuitBreaker::new("message-queue")
            .failure_threshold(5)
            .timeout(Duration::from_secs(30))
            .clock(clock)
            .build();
        Self { broker, circuit_breaker }
    }

    /// Publishes a message.
    pub async fn publish(&self, exchange: &str, routing_key: &str, payload: Vec<u8>) -> Result<(), AppError> {
        self.circuit_breaker
            .call(|| async { Ok(self.broker.basic_publish(exchange, routing_key, payload).await?) })
            .await
            .map_err(AppError::from)
    }

    /// The circuit, for a status page.
    pub fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.circuit_breaker
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

/// Exchange and routing key.
type Address = (String, String);

/// A stand-in of a broker: one queue per address.
#[derive(Default)]
pub struct Broker {
    queues: Mutex<HashMap<Address, Vec<Vec<u8>>>>,
    is_down: AtomicBool,
}

/// What a broker says.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It is gone.
    #[error("connection closed")]
    Closed,
    /// Nobody takes what is published.
    #[error("queue length exceeded")]
    Full,
}

impl Broker {
    /// Takes one message.
    pub async fn basic_publish(
        &self,
        exchange: &str,
        routing_key: &str,
        payload: Vec<u8>,
    ) -> Result<(), BrokerError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(BrokerError::Closed);
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry((exchange.to_owned(), routing_key.to_owned())).or_default();
        if queue.len() >= QUEUE_LENGTH_MAX {
            return Err(BrokerError::Full);
        }
        queue.push(payload);
        Ok(())
    }

    /// Takes all messages out of a queue.
    pub fn drain(&self, exchange: &str, routing_key: &str) -> Vec<Vec<u8>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.remove(&(exchange.to_owned(), routing_key.to_owned())).unwrap_or_default()
    }

    /// Pulls the plug, or puts it back.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what came back")]
async fn main() -> Result<(), AppError> {
    let broker = Arc::new(Broker::default());
    let queue = QueueClient::new(Arc::clone(&broker));
    queue.publish("incidents", "high", b"disk full".to_vec()).await?;
    println!("published {} message", broker.drain("incidents", "high").len());

    broker.set_down(true);
    for _ in 0..6 {
        if let Err(error) = queue.publish("incidents", "high", b"disk full".to_vec()).await {
            println!("{error}");
        }
    }
    println!("circuit: {:?}", queue.circuit_breaker().state());
    Ok(())
}
