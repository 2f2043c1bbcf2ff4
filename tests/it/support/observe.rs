//! Holding providers back, and looking at what a gateway does behind its callers' backs.

use super::{Answer, Gateway, Metrics, until_async};
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;

/// Waits until the condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    until_async(what, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await;
}

/// Holds providers back until it is opened.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets `count` pass.
    pub fn admit(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits to be let through.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

impl Answer {
    /// Status and problem code in one value.
    pub fn code(&self) -> (u16, String) {
        (self.status.as_u16(), self.problem())
    }
}

impl Gateway {
    /// The sum of a metric's series that carry all these labels; 0 when there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Metrics::of(&self.admin()).await.sum(name, labels)
    }

    /// Waits until a metric has at least the value.
    pub async fn reaches(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} = {value}");
        eventually(&what, async || self.metric(name, labels).await >= value).await;
    }

    /// `GET /integrations/{name}/health`.
    pub async fn health(&self, integration: &str) -> serde_json::Value {
        self.admin().get(&format!("/integrations/{integration}/health")).await.json()
    }
}
