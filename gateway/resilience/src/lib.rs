//! Resilience for calls of things that fail: circuit breaker, retry policy and budget, rate limit, bulkhead, deadline.
//!
//! The mechanisms know nothing of HTTP, plugins or configuration files; a database client can be wrapped in them as well
//! as an HTTP one. They read no clock and roll no dice: time and chance are passed in, so that a day of failures is
//! tested in a millisecond. What waits by itself is given a [`Clock`] to be woken by.
//!
//! | to …                                                     | use                                    |
//! |----------------------------------------------------------|----------------------------------------|
//! | stop calling what keeps failing                          | [`Breaker`], or [`CircuitBreaker`] to wrap a call |
//! | try again, at growing distances, within a deadline       | [`RetryPolicy`], [`Attempts`], [`RetryBudget`] |
//! | ask once more while an answer is slow to come            | [`hedged`]                             |
//! | send no more than was agreed, and heed a 429             | [`RateLimiter`]                        |
//! | have one budget for several processes                    | [`SharedBudget`]                       |
//! | have no more than so many calls at a time, the important ones first | [`Bulkhead`]                |
//! | find out how many that should be                         | [`AdaptiveLimit`]                      |
//! | hand down the time that is left                          | [`Deadline`]                           |
//! | keep a token that ends, fetched once for all             | [`Renewing`]                           |
//! | ask them all whether an attempt, or a hedge, may be made | [`Leave`]                              |
//! | have all of these around a call, in one line             | [`Guard`]                              |
//! | show how a dependency fares                              | [`HealthStatus`], [`HealthStats`]      |
//!
//! # A circuit around a call
//!
//! ```
//! use std::time::Duration;
//! use bascule_resilience::{CallError, CircuitBreaker};
//!
//! async fn query() -> Result<u32, std::io::Error> {
//!     Ok(42)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let db = CircuitBreaker::new("postgresql")
//!     .failure_threshold(5)
//!     .success_threshold(2)
//!     .timeout(Duration::from_secs(30))
//!     .build();
//!
//! match db.call(|| async { query().await }).await {
//!     Ok(rows) => assert_eq!(rows, 42),
//!     Err(error) if error.is_circuit_open() => println!("not even tried: {error}"),
//!     Err(CallError::Failed(error)) => println!("tried and failed: {error}"),
//!     Err(other) => println!("{other}"),
//! }
//! assert!(db.is_closed().await);
//! # }
//! ```
//!
//! # The mechanisms by themselves
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bascule_resilience::{Breaker, BreakerConfig, Next, RetryPolicy, State};
//!
//! let breaker = Breaker::new(BreakerConfig::default(), |change| println!("{} -> {}", change.from, change.to));
//! let now = Instant::now();
//! for _ in 0..5 {
//!     let permit = breaker.acquire(now, 0.5).expect("closed");
//!     permit.failure(now, Duration::from_millis(20), 0.5);
//! }
//! assert_eq!(breaker.state(now), State::Open);
//! assert_eq!(breaker.check(now).unwrap_err().retry_after, Duration::from_secs(30));
//! assert_eq!(breaker.state(now + Duration::from_secs(30)), State::HalfOpen, "time for a probe");
//!
//! let asked = Some(Duration::from_secs(2));
//! assert_eq!(RetryPolicy::default().next(1, asked, None, 0.5), Next::Wait(Duration::from_secs(2)));
//! ```

pub mod breaker;
pub mod bulkhead;
pub mod clock;
pub mod deadline;
pub mod guard;
pub mod health;
pub mod hedge;
pub mod leave;
pub mod library;
pub mod outcome;
pub mod presets;
pub mod priority;
pub mod rate_limit;
pub mod renewing;
pub mod retry;
pub mod shared_budget;
pub mod simulation;
mod span;
pub mod spawn;
mod sync;
mod thread;
mod window;

pub use breaker::{
    AfterReopen, Breaker, BreakerConfig, BreakerSnapshot, ConfigProblem, Mode, Permit, Reason, Refused,
    Reopen, RetryPhase, Settled, SlowCall, State, Transition, Trip,
};
pub use bulkhead::{AdaptiveLimit, Algorithm, Ask, Bulkhead, BulkheadConfig, BulkheadPermit, Overloaded};
pub use clock::{Clock, Random, Sleep, SystemRandom, TokioClock};
pub use deadline::Deadline;
pub use guard::{Attempt, Guard, GuardBuilder, GuardError, Request, Verdict};
pub use health::{HealthSnapshot, HealthStats};
pub use hedge::{HedgeAfter, HedgeConfig, Hedged, hedged};
pub use leave::{AttemptRefused, HedgeRefused, Leave};
pub use library::{CallError, CircuitBreaker, CircuitBreakerBuilder, Health, HealthStatus, Registry, Stats};
pub use outcome::Outcome;
pub use presets::Preset;
pub use priority::Priority;
pub use rate_limit::{
    Demand, Forecast, ForecastOf, LedgerEntry, Limited, LimitedBy, QUOTA_RESET_MAX, QuotaReport, RateLimiter,
    RateLimiterConfig, RateWindow,
};
pub use renewing::{Fresh, RenewError, Renewing, RenewingBuilder};
pub use retry::{
    Around, Attempted, Attempts, BudgetConfig, Jitter, Next, RetryBudget, RetryPolicy, StopReason,
};
pub use shared_budget::{Drawn, Portion, SharedBudget, TokenRequest, TokenSource};
pub use spawn::{Spawn, Task, TokioSpawn};
