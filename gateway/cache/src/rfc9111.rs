//! The rules of HTTP caching for a shared cache, as functions of header fields, spans and times that are passed in.
//!
//! | file | rule |
//! | --- | --- |
//! | `list`, `directives`, `targeted` | reading `Cache-Control` (RFC 9111 §5.2), `Pragma` (§5.4), `CDN-Cache-Control` (RFC 9213) |
//! | `age`, `dates`, `freshness` | the age on arrival (§4.2.3), the lifetime (§4.2.1) and the guess at one (§4.2.2) |
//! | `exchange`, `fields` | what may be stored (§3, §3.5), on which terms, and which fields of it (§3.1) |
//! | `vary` | which requests an answer is for (§4.1) |
//! | `reuse` | fresh, stale or to be validated (§4, §4.2.4, §5.2.1; RFC 5861) |
//! | `validators`, `fields` | our conditional requests (§4.3.1), 304 and HEAD (§3.2, §4.3.3 to §4.3.5) |
//! | `answer` | the caller's conditions and ranges (§4.3.2; RFC 9110 §13, §14) |
//! | `invalidation` | what unsafe requests make invalid (§4.4) |
//! | `cache_status` | what is told of all that (RFC 9211) |
//!
//! The decision: the text is read when an answer arrives. What a hit needs of it is in [`Terms`] and [`Selecting`], and
//! nothing here waits, stores or reads a clock. [`Variant`](crate::Variant) puts the rules together.
//!
//! ```
//! use std::time::{Duration, Instant, SystemTime};
//! use bascule_cache::rfc9111::{Exchange, Policy, Received, RequestDirectives, Use};
//! use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CACHE_CONTROL};
//!
//! # fn main() -> Result<(), bascule_cache::rfc9111::NotStored> {
//! let now = Instant::now();
//! let response: HeaderMap =
//!     [(CACHE_CONTROL, HeaderValue::from_static("max-age=60, stale-while-revalidate=30"))].into_iter().collect();
//! let exchange = Exchange {
//!     method: &Method::GET,
//!     request: &HeaderMap::new(),
//!     status: StatusCode::OK,
//!     response: &response,
//!     received: Received { requested_at: now, received_at: now, received_on: SystemTime::UNIX_EPOCH },
//! };
//! let storable = exchange.storable(&Policy::default())?;
//! let asked = RequestDirectives::default();
//! assert_eq!(storable.terms().use_at(Duration::from_secs(59), &asked), Use::Fresh);
//! assert_eq!(storable.terms().use_at(Duration::from_secs(61), &asked), Use::StaleAndRefresh);
//! # Ok(())
//! # }
//! ```

mod age;
mod answer;
mod cache_status;
mod dates;
mod directives;
mod exchange;
mod fields;
mod freshness;
mod invalidation;
mod list;
mod reuse;
mod targeted;
mod validators;
mod vary;

#[cfg(test)]
mod oracle;

pub use self::{
    age::Received,
    answer::Answer,
    cache_status::{CacheStatus, Forward, Handling},
    directives::{RequestDirectives, ResponseDirectives},
    exchange::{Exchange, NotStored, Policy, Storable, Terms},
    invalidation::invalidated,
    reuse::Use,
    validators::is_for_the_origin,
    vary::Selecting,
};
pub(crate) use self::{
    fields::updated,
    validators::{is_about, make_conditional},
};
