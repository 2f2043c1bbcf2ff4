//! What if: journalled traffic against another configuration, in virtual time.
//!
//! The mechanisms are the real ones, put together by a [`Guard`](bascule_resilience::Guard) as the configuration says;
//! only the provider is a model. It gives each call the very attempts that were recorded for it, and for attempts that
//! were never made what it gave others at that time. So what did happen is replayed, what would have happened is
//! assumed, and the report says how much of it was.
//!
//! ```text
//! journal ─► load ─► calls at their times ─► mechanisms (settings) ─► provider (model) ─► figures ─► report
//! ```
//!
//! It answers no calls, runs no plugins, opens no connection and reads no clock: the same journal, configuration and
//! seed give the same report. `docs/simulate.md` tells what it leaves out.

mod circuit;
mod figures;
mod human;
mod load;
mod mechanisms;
mod provider;
mod recorded;
mod replay;
mod report;
mod usage;

pub use load::{CALLS_MAX, Journal, Unusable, load};
pub use replay::simulate;
pub use report::Report;

#[cfg(test)]
mod tests;
