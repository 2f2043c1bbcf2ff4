//! What the gateway remembers between calls: mapped replies, weighed in bytes, and one fetch per key at a time.
//!
//! Parts that know nothing of each other's callers:
//!
//! | part | answers |
//! | --- | --- |
//! | [`Key`] | which calls may share an answer |
//! | [`Store`] and [`Entry`] | is there an answer, and how fresh is it |
//! | [`rfc9111`] and [`Variant`] | the same by the rules of HTTP, for answers that say themselves how they may be used |
//! | [`Coalescer`] | who fetches it when there is none, and who waits |
//! | [`Kept`] and [`Follower`] | how what is stored outlives the process, and who hears of changes |
//! | [`SharedBody`] | how those who wait read a body that is still coming |
//!
//! The one decision behind all of them: **time is passed in**. No rule here reads a clock, so every rule can be
//! tried with generated instants. The eviction of the store is by weight alone; an entry's end is arithmetic on the
//! `now` that the caller brings.
//!
//! What this crate does not do: for an [`Entry`] it decides neither which answers may be stored nor which fields of them
//! (hop-by-hop fields and `Set-Cookie` are the caller's to remove); it never decides which fields belong to a key; and it
//! speaks to no network.
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//! use bascule_cache::{Coalescer, Entry, Fetched, Freshness, KeyBuilder, Landed, Store, StoreConfig, Stored};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::new(StoreConfig::default());
//! let scope = store.scope("github", "get_user");
//! let flights = Coalescer::<http::StatusCode>::new(1024);
//! let key = KeyBuilder::new("github", "get_user").field("params", br#"{"user":"octocat"}"#).finish();
//!
//! let now = Instant::now();
//! assert!(store.get(&key, &scope, now).is_none());
//! let flight = flights.join(key, now, || {
//!     let (store, scope) = (Arc::clone(&store), scope.clone());
//!     async move {
//!         let epoch = store.epoch(&scope); // before the fetch, so that a purge meanwhile is noticed
//!         let stored = store.put(
//!             key,
//!             Entry {
//!                 status: http::StatusCode::OK,
//!                 headers: http::HeaderMap::new(),
//!                 body: "octocat".into(),
//!                 stored_at: now,
//!                 age_at_store: Duration::ZERO,
//!                 ttl: Duration::from_secs(600),
//!                 stale_while_revalidate: Duration::from_secs(60),
//!                 keep_stale: Duration::ZERO,
//!                 scope,
//!             },
//!             epoch,
//!         );
//!         assert_eq!(stored, Stored::Yes);
//!         Fetched::Shared(Arc::new(http::StatusCode::OK))
//!     }
//! })?;
//! assert!(flight.is_leader());
//! assert!(matches!(flight.land().await, Landed::Shared(status) if *status == http::StatusCode::OK));
//!
//! let entry = store.get(&key, &scope, now).ok_or("stored a moment ago")?;
//! assert_eq!(entry.freshness(now), Freshness::Fresh);
//! assert_eq!(entry.freshness(now + Duration::from_secs(620)), Freshness::Revalidate);
//!
//! store.purge_operation("github", "get_user");
//! assert!(store.get(&key, &scope, now).is_none());
//! # Ok(())
//! # }
//! ```

mod body;
mod coalesce;
mod entry;
mod follow;
mod key;
mod purges;
mod record;
pub mod rfc9111;
mod scope;
mod space;
mod store;
mod sync;
mod tags;
mod variant;

pub use body::{Abandoned, BodyError, BodyReader, BodyWriter, SharedBody, shared_body};
pub use coalesce::{Coalescer, Fetched, Flight, Herald, JoinError, Landed, REFRESHES_MAX};
pub use entry::{Entry, Freshness};
pub use follow::{Follower, Heard, Purge};
pub use key::{Key, KeyBuilder};
pub use record::{Kept, RecordError};
pub use scope::{Epoch, Scope};
pub use store::{Restored, Store, StoreConfig, StoreStats, Stored};
pub use tags::{TAGS_MAX, Tags, TooManyTags};
pub use variant::{NotRenewed, Reply, Variant};
