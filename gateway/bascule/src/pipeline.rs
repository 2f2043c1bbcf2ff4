//! The life of a call.
//!
//! [`handle`] never fails: it runs the stages, and where they end without an answer it walks the
//! fallback ladder, asks the error mappers, and otherwise hands the failure to the caller. The stages
//! are plain async functions in the order of `run` and `fetch`; none knows the one before it.
//!
//! ```text
//! run:    validate → queued already? → cache policy → cache lookup ─ hit ──────────────→ answer
//!                                                       └ miss, one fetch per key
//! fetch:  admit → map request → attempts (limit → sign → send → classify)×n → map response → store
//! handle: … → fallback ladder → error mapping → answer or problem
//! ```
//!
//! The fetch of a fan-out is other calls, side by side, each with all of the above.
//!
//! A fetch that goes through the cache is a task of its own, so that it outlives the caller who
//! started it while others wait for it; everything else ends when the caller leaves.

mod admit;
mod attempts;
mod auth;
mod backend;
mod call;
mod classify;
mod decode;
mod failure;
mod fallback;
mod fan_out;
mod fetch;
mod held;
mod http_cache;
mod live;
mod lookup;
mod mapping;
pub mod mechanisms;
mod peers;
mod phases;
mod progress;
mod queue;
mod quota;
mod reply;
mod request;
mod respond;
mod shared_breaker;
mod side;
mod stored;
mod tags;
mod tokens;
mod validate;

pub use call::{Call, Input, InputBody, Origin, ProxyRequest};
pub use failure::Failure;
pub use fan_out::Room;
pub use held::{Held, REPLAY_BUFFER, SIGN_BUFFER, hold};
pub use http_cache::{Coming, Kept, Upstream};
pub use live::{
    BoundPlugin, Flights, Generation, IDEMPOTENCY_KEY, LiveIntegration, LiveOperation, LivePlugin, Policy,
    Services, Swapped,
};
pub use peers::{Peers, Share};
pub use phases::Phases;
pub use progress::{Looked, Overlap, Progress, Totals};
pub use queue::{Queue, gone, placed, restore, show};
pub use quota::QuotaNumbers;
pub(crate) use quota::retry_after;
pub use reply::{Landing, Reply};
pub use shared_breaker::SharedBreaker;
pub use side::{DEFAULT_ENDPOINT, SideEndpoint, SideEndpoints};
pub use stored::{Place, StoredAnswer};
pub use tokens::{PluginTokens, TokenMaker};

use crate::{
    config::CachePolicy,
    model::{Answer, CacheStatus, Cause, Problem},
};
use bascule_cache::Key;
use fetch::fetch;
use queue::{Entered, KeyInFlight};

/// How a call ended.
#[derive(Debug)]
pub struct Ended {
    /// What the caller gets.
    pub result: Result<Answer, Box<Problem>>,
    /// Why there was no answer of the provider's; set for answers from the ladder too.
    pub failure: Option<&'static str>,
    /// The ladder's word for that; none where no fallback applies.
    pub cause: Option<Cause>,
    /// The rung that answered instead.
    pub rung: Option<&'static str>,
}

/// Runs a call to its end. Dropping the future cancels the call's own work.
pub async fn handle(mut call: Call) -> Ended {
    let (mut held, mut found) = (None, None);
    match run(&mut call, &mut held, &mut found).await {
        Ok(answer) => Ended { result: Ok(answer), failure: None, cause: None, rung: None },
        Err(failure) => fallback::descend(call, *failure, found).await,
    }
}

/// `held` keeps the caller's idempotency key while the call is under way, its ladder included; `found` is set to the key
/// of the call's answer in the cache, which the ladder looks for once more.
async fn run(
    call: &mut Call,
    held: &mut Option<KeyInFlight>,
    found: &mut Option<Key>,
) -> Result<Answer, Box<Failure>> {
    validate::parameters(call)?;
    match queue::enter(call).await? {
        Entered::Free(key) => *held = key,
        Entered::Queued(answer) => return Ok(*answer),
    }
    call.ensure_idempotency_key();
    if call.depth == 0 {
        call.progress.safe(call.is_safe());
    }
    if let Some(CachePolicy::Http(rule)) = call.operation.policy.cache
        && !call.skip.cache
    {
        return http_cache::through(call, rule).await;
    }
    *found = lookup::key(call).await;
    if let Some(key) = *found {
        return lookup::through_cache(call, key).await;
    }
    let reply = fetch(call.take_fetch(None)).await?;
    Ok(reply.into_answer(CacheStatus::Bypass))
}
