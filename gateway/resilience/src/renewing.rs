//! A value that has an end and is fetched anew before it: an access token, a lease, a signed key.
//!
//! The decision: a fetch belongs to nobody who waits for it. It is a task of its own, one at a time, and all who need
//! its result share it, be it a value or a failure. So a caller who leaves takes nothing from the others, and a
//! thousand callers without a value cost the provider one request, not a thousand, and not one after the other either.
//!
//! ```text
//!        fetched          80 % of the life           the end
//!   ────────┼───────────────────┼───────────────────────┼──────────────────►
//!           │ the value is used │ still used, while one │ never used again:
//!           │                   │ fetch runs on the side│ callers wait for the fetch
//! ```
//!
//! A renewal that fails early is tried again after a pause, and the old value serves until its end and not a moment
//! longer, whatever became of the renewal. A failure is told to those who waited for it and is not remembered: whoever
//! comes later has it tried again. (To hold back after many failures is a circuit breaker's work, inside of the fetch.)
//!
//! It keeps one value. It does not judge values either: whoever finds that one is refused calls
//! [`invalidate`](Renewing::invalidate).

mod builder;
mod fetching;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::fetching::Fetching;
use crate::clock::Clock;
use crate::spawn::Spawn;
use crate::sync::{Mutex, watch};

pub use self::builder::RenewingBuilder;

/// A value that renews itself. Clones share it.
///
/// ```
/// use std::time::Duration;
/// use bascule_resilience::{Fresh, Renewing};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let token = Renewing::new(|| async {
///     // Here whoever grants the token is asked; the life is what the answer says.
///     Ok::<_, std::fmt::Error>(Fresh { value: "t1".to_owned(), life: Duration::from_secs(3600) })
/// })
/// .build();
/// assert_eq!(token.get().await.unwrap(), "t1");
///
/// token.invalidate(&"t1".to_owned()); // it was refused, so the next call has it fetched anew
/// assert_eq!(token.get().await.unwrap(), "t1");
/// # }
/// ```
pub struct Renewing<T, E> {
    core: Arc<Core<T, E>>,
}

/// A value as its source gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh<T> {
    /// The value.
    pub value: T,
    /// How long it may be used, counted from the moment at which the fetch returns it. Zero: it has ended already,
    /// and nobody gets it. More than 30 years are cut to that.
    pub life: Duration,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError<E> {
    /// The fetch that this caller waited for failed.
    #[error("the value could not be fetched")]
    Failed(#[source] E),
    /// The fetch took longer than it may.
    #[error("the fetch took too long")]
    TimedOut,
    /// The fetch panicked.
    #[error("the fetch panicked")]
    Panicked,
    /// Whoever was to run the fetch dropped it, as a runtime does that is shut down.
    #[error("the fetch was dropped before it ended")]
    Dropped,
    /// A value came and had ended by the time this caller looked at it.
    #[error("the value ended as soon as it was fetched")]
    Ended,
}

type Fetch<T, E> = Pin<Box<dyn Future<Output = Result<Fresh<T>, E>> + Send>>;
type Source<T, E> = Box<dyn Fn() -> Fetch<T, E> + Send + Sync>;
/// Who is told of failures.
type Told<E> = Box<dyn Fn(&RenewError<E>) + Send + Sync>;
/// What a fetch came to, for all who waited.
type Landed<T, E> = Result<Arc<Held<T>>, RenewError<E>>;
type Sender<T, E> = watch::Sender<Option<Arc<Landed<T, E>>>>;
type Receiver<T, E> = watch::Receiver<Option<Arc<Landed<T, E>>>>;

struct Core<T, E> {
    source: Source<T, E>,
    told: Told<E>,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawn>,
    renew_at: f64,
    retry_pause: Duration,
    fetch_timeout: Duration,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    held: Option<Arc<Held<T>>>,
    /// When the next early renewal may begin.
    renew: Instant,
    /// The fetch that is under way.
    fetching: Option<Receiver<T, E>>,
}

struct Held<T> {
    value: T,
    end: Instant,
}

/// What a caller finds. The sender is there when the caller has to begin a fetch.
enum Look<T, E> {
    Valid(Arc<Held<T>>, Option<Sender<T, E>>),
    Awaited(Receiver<T, E>, Option<Sender<T, E>>),
}

impl<T, E> Renewing<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Describes a value that `fetch` gets. Nothing is fetched before somebody asks.
    ///
    /// `fetch` is called inside of the task that runs it, at most once at a time, and dropped when it exceeds its time.
    #[expect(
        clippy::new_ret_no_self,
        reason = "as with a circuit, `new` begins the description and `build` ends it"
    )]
    pub fn new<F, Fut>(fetch: F) -> RenewingBuilder<T, E>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Fresh<T>, E>> + Send + 'static,
    {
        RenewingBuilder::new(Box::new(move || Box::pin(fetch())))
    }

    /// A value that is valid now: at once when there is one, else after one fetch, one's own or another's.
    ///
    /// Waits no longer than a fetch may take. Cancel-safe: a fetch that was begun goes on for the others, and its
    /// value is there for the next caller.
    ///
    /// # Errors
    /// [`RenewError`] when there is no valid value and the fetch that was waited for brought none.
    pub async fn get(&self) -> Result<T, RenewError<E>>
    where
        T: Clone,
        E: Clone,
    {
        let mut arrival = match self.core.look(self.core.clock.now()) {
            Look::Valid(held, renewal) => {
                self.begin(renewal);
                return Ok(held.value.clone());
            }
            Look::Awaited(arrival, fetch) => {
                self.begin(fetch);
                arrival
            }
        };
        let landed = match arrival.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone(),
            Err(_) => None,
        };
        match landed.as_deref() {
            // The wait for a turn on the processor may have been longer than a short life.
            Some(Ok(held)) if self.core.clock.now() < held.end => Ok(held.value.clone()),
            Some(Ok(_)) => Err(RenewError::Ended),
            Some(Err(error)) => Err(error.clone()),
            None => Err(RenewError::Dropped),
        }
    }

    /// Forgets `value` if it is the one that is held; a newer one stays. For a value that was refused before its end.
    ///
    /// A fetch that is under way goes on, and callers wait for what it brings.
    pub fn invalidate(&self, value: &T)
    where
        T: PartialEq,
    {
        // Compared and dropped outside of the lock: both are the caller's code.
        let Some(held) = self.core.held().filter(|held| held.value == *value) else { return };
        let forgotten = self.core.forget(&held);
        drop(forgotten);
    }

    fn begin(&self, sender: Option<Sender<T, E>>) {
        if let Some(sender) = sender {
            let fetching = Fetching::new(Arc::clone(&self.core), sender);
            self.core.spawner.spawn(Box::pin(fetching.run()));
        }
    }
}

impl<T, E> Core<T, E> {
    /// One step under the lock: whoever finds that a fetch is due is the only one who does.
    fn look(&self, now: Instant) -> Look<T, E> {
        let mut state = self.state.lock();
        match (&state.held, &state.fetching) {
            (Some(held), fetching) if now < held.end => {
                let held = Arc::clone(held);
                let due = fetching.is_none() && now >= state.renew;
                Look::Valid(held, due.then(|| state.start().0))
            }
            (_, Some(arrival)) => Look::Awaited(arrival.clone(), None),
            (_, None) => {
                let (sender, arrival) = state.start();
                Look::Awaited(arrival, Some(sender))
            }
        }
    }

    fn held(&self) -> Option<Arc<Held<T>>> {
        self.state.lock().held.clone()
    }

    fn forget(&self, held: &Arc<Held<T>>) -> Option<Arc<Held<T>>> {
        let mut state = self.state.lock();
        let same = state.held.as_ref().is_some_and(|current| Arc::ptr_eq(current, held));
        if same { state.held.take() } else { None }
    }

    /// The end of the fetch: what it brought is held, and the next one may begin. Gives back what was held before.
    fn settle(&self, landed: &Landed<T, E>, renew: Instant) -> Option<Arc<Held<T>>> {
        let mut state = self.state.lock();
        state.fetching = None;
        state.renew = renew;
        match landed {
            Ok(held) => state.held.replace(Arc::clone(held)),
            Err(_) => None,
        }
    }
}

impl<T, E> State<T, E> {
    fn start(&mut self) -> (Sender<T, E>, Receiver<T, E>) {
        let (sender, arrival) = watch::channel(None);
        self.fetching = Some(arrival.clone());
        (sender, arrival)
    }
}

impl<T, E> Clone for Renewing<T, E> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
