//! Counting over the recent past in bounded memory.
//!
//! Two forms, because two questions are asked. "How many failures in the last minute?" is answered exactly, by the
//! instants themselves ([`RecentFailures`]): there are never more of them than the threshold. "What share of all calls?"
//! is answered by a ring of buckets ([`Buckets`]), whose size does not depend on the traffic.
//!
//! Neither knows why something is counted, and neither reads a clock. Time that stands still or runs backwards counts
//! as the latest time seen.

mod buckets;
mod recent;

pub(crate) use buckets::Buckets;
pub(crate) use recent::RecentFailures;

use std::time::Duration;

/// The shortest window that is counted over. A window of zero would forget everything at once, which would make a
/// limit of nothing into no limit at all.
pub(crate) const WINDOW_MIN: Duration = Duration::from_millis(1);
