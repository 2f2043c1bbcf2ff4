//! The words that every layer speaks: names, secrets, problems, outcomes, answers.
//!
//! Nothing here does I/O, reads a clock or knows another module of the gateway.

mod answer;
mod http_rules;
mod names;
mod outcome;
mod phase;
mod problem;
mod secret;

pub use answer::{Answer, BodyError, CacheStatus, Payload, Source, StreamBody};
pub use bascule_resilience::Outcome;
pub use http_rules::{
    end_to_end, has_dot_segment, is_hop_by_hop, is_well_encoded, named_by_connection, strip_hop_by_hop,
};
pub use names::{BreakerName, IntegrationName, InvalidName, OperationName};
pub use outcome::{Cause, TimeoutKind};
pub use phase::{CallPhase, Spent};
pub use problem::{Code, PROBLEM_JSON, ParameterError, Place, Problem};
pub use secret::Secret;

/// `User-Agent` of requests that do not bring their own.
pub const USER_AGENT: &str = concat!("bascule/", env!("CARGO_PKG_VERSION"));
