//! Who runs what a mechanism starts on the side.
//!
//! The decision: work that outlives the call which began it is handed to a [`Spawn`] that was passed in, as time and
//! chance are, so that the mechanisms belong to no runtime and a test can run the work wherever it likes. There is no
//! handle to wait on: whoever needs to know leaves a word inside of the task.

use std::future::Future;
use std::pin::Pin;

/// Work that runs on the side.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs tasks. Every function or closure that takes a [`Task`] is one.
///
/// ```
/// use std::sync::Arc;
/// use bascule_resilience::{Spawn, Task};
///
/// // Another runtime is one line: `|task: Task| drop(other_runtime::spawn(task))`.
/// let (queue, tasks) = std::sync::mpsc::channel::<Task>();
/// let spawn: Arc<dyn Spawn> = Arc::new(move |task: Task| drop(queue.send(task)));
/// spawn.spawn(Box::pin(async {}));
/// assert!(tasks.recv().is_ok());
/// ```
pub trait Spawn: Send + Sync {
    /// Begins to run `task` and returns at once. A task that is dropped instead of being run to its end counts as
    /// failed, and whoever waits for its result is told so.
    fn spawn(&self, task: Task);
}

/// Runs tasks on the tokio runtime that the caller is in; panics outside of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSpawn;

impl Spawn for TokioSpawn {
    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }
}

impl<F> Spawn for F
where
    F: Fn(Task) + Send + Sync,
{
    fn spawn(&self, task: Task) {
        self(task);
    }
}
