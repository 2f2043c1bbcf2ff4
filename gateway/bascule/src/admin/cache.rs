//! What is stored, told and dropped for operators.

use super::{
    health::rounded,
    route::{Stored, What},
};
use crate::{
    model::{Code, Problem},
    pipeline::{Generation, LiveIntegration, Place, Services},
    telemetry::CacheLookups,
};
use bascule_cache::StoreStats;
use bascule_cache_disk::Disk;
use bascule_cache_shared::Level;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use std::{ops::Add, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// How long the answer to a purge waits for the disk. A healthy one takes some milliseconds, and seconds to overwrite a
/// large file.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// The store, whole and by integration.
pub(super) fn stats(services: &Services, generation: &Generation) -> Value {
    let mut listed: Vec<&Arc<LiveIntegration>> = generation.integrations.values().collect();
    listed.sort_unstable_by(|a, b| a.settings.name.cmp(&b.settings.name));
    let all = listed.iter().map(|integration| lookups(integration)).fold(CacheLookups::default(), Add::add);
    let of = |integration: &&Arc<LiveIntegration>| {
        with(of_integration(services, integration), "name", integration.settings.name.as_str().into())
    };
    let integrations: Vec<Value> = listed.iter().map(of).collect();
    let whole = services.cache.stats();
    let told = with(figures(whole, all), "capacity", whole.capacity.into());
    let told = with(told, "fetches_in_flight", services.flights.in_flight().into());
    let told = match services.cache_disk.get().map(|disk| disk.stats()) {
        Some(disk) => {
            let figures = json!({ "entries": disk.entries, "bytes": disk.bytes, "skipped": disk.skipped });
            with(told, "disk", figures)
        }
        None => told,
    };
    let told = match services.cache_shared.get().map(Level::stats) {
        Some(level) => {
            let figures = json!({
                "hits": level.hits, "misses": level.misses, "refused": level.refused, "unanswered": level.unanswered,
                "sent": level.sent, "skipped": level.skipped, "purges_waiting": level.purges_waiting,
            });
            with(told, "shared", figures)
        }
        None => told,
    };
    with(told, "integrations", integrations.into())
}

/// What is stored of an integration, and how its lookups ended.
pub(super) fn of_integration(services: &Services, integration: &LiveIntegration) -> Value {
    figures(services.cache.stats_of(integration.settings.name.as_str()), lookups(integration))
}

fn lookups(integration: &LiveIntegration) -> CacheLookups {
    let operations = integration.operations.values().chain([&integration.proxy]);
    operations.map(|operation| operation.metrics.cache_lookups()).fold(CacheLookups::default(), Add::add)
}

fn figures(held: StoreStats, lookups: CacheLookups) -> Value {
    json!({
        "entries": held.entries,
        "bytes": held.bytes,
        "evictions": held.evictions,
        "hits": lookups.hits,
        "stale": lookups.stale,
        "misses": lookups.misses,
        "coalesced": lookups.coalesced,
        "hit_ratio": lookups.hit_ratio().map(rounded),
    })
}

/// The head of what is stored for a call.
///
/// # Errors
/// `not-found` where nothing is.
pub(super) async fn get(
    services: &Arc<Services>,
    generation: &Arc<Generation>,
    integration: &Arc<LiveIntegration>,
    stored: Stored,
) -> Result<Value, Problem> {
    let place = place(services, generation, integration, stored).await?;
    let Some(answer) = place.look() else {
        let of = place.one_of_several_by().map(|by| format!(" without {by}")).unwrap_or_default();
        return Err(Problem::new(Code::NotFound, format!("nothing is stored for this call{of}")));
    };
    Ok(json!({
        "status": answer.status.as_u16(),
        "headers": listed(&answer.headers),
        "length": answer.length,
        "age": answer.age.as_secs(),
        "ttl": answer.ttl,
    }))
}

/// Drops what is named, so that it stays gone however the process ends.
///
/// # Errors
/// `unknown-operation`, what is wrong with a call's parameters, and `internal` where the cache's file cannot be written in
/// time: the purge has taken effect, but may come back with the next start.
pub(super) async fn purge(
    services: &Arc<Services>,
    generation: &Arc<Generation>,
    integration: &Arc<LiveIntegration>,
    what: What,
) -> Result<(), Problem> {
    let name = integration.settings.name.as_str();
    match what {
        What::All => drop(services.cache.purge_integration(name)),
        What::Tag(tag) => services.cache.purge_tag(name, &tag),
        What::Call(stored) => {
            let place = place(services, generation, integration, stored).await?;
            if let Some(by) = place.one_of_several_by() {
                let detail = format!(
                    "answers of this operation are told apart by {by} too, which cannot be named here; \
                     leave out the parameters to drop all of them"
                );
                return Err(Problem::new(Code::InvalidParameters, detail));
            }
            place.purge();
        }
        What::Operation(operation)
            if integration.operations.contains_key(operation.as_str())
                || operation == integration.proxy.name.as_str() =>
        {
            services.cache.purge_operation(name, &operation);
        }
        What::Operation(operation) => {
            let detail = format!("`{name}` has no operation `{}`", operation.escape_debug());
            return Err(Problem::new(Code::UnknownOperation, detail));
        }
    }
    settle(services).await
}

/// Waits until the purge is on the disk.
async fn settle(services: &Services) -> Result<(), Problem> {
    match services.cache_disk.get() {
        Some(disk) => settled(disk, SETTLE_MAX).await,
        None => Ok(()),
    }
}

/// The same, for at most so long. May be dropped at any time: nothing waits on its behalf.
async fn settled(disk: &Disk, most: Duration) -> Result<(), Problem> {
    let (told, settled) = oneshot::channel();
    // Whoever asked may have gone away.
    disk.when_settled(move |result| drop(told.send(result)));
    let why = match tokio::time::timeout(most, settled).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => "its way to the disk broke off".to_owned(),
        Err(_) => format!("the file of the cache has not taken it within {most:?}"),
    };
    tracing::warn!(why, "what was purged may come back with the next start");
    let detail =
        format!("the purge has taken effect, but {why}; what was purged may come back with the next start");
    Err(Problem::new(Code::Internal, detail))
}

async fn place(
    services: &Arc<Services>,
    generation: &Arc<Generation>,
    integration: &Arc<LiveIntegration>,
    Stored { operation, params }: Stored,
) -> Result<Place, Problem> {
    let found = Place::find(services, generation, integration, &operation, params).await;
    let found = found.map_err(|problem| *problem)?;
    found.ok_or_else(|| Problem::new(Code::NotFound, "such calls go past the cache"))
}

/// Several lines of one name are one list.
fn listed(headers: &HeaderMap) -> Map<String, Value> {
    let lines = |name: &http::HeaderName| {
        let values = headers.get_all(name).iter();
        let texts: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        Value::from(texts.join(", "))
    };
    headers.keys().map(|name| (name.as_str().to_owned(), lines(name))).collect()
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(name.to_owned(), value);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use bascule_cache::{Store, StoreConfig};
    use bascule_cache_disk::Options;
    use std::{
        sync::mpsc::channel,
        time::{Instant, SystemTime},
    };

    #[tokio::test]
    async fn a_purge_that_a_slow_disk_does_not_take_in_time_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { path: folder.path().join("cache.db"), max_size: 1 << 20 };
        let (go_on, held) = channel();
        // The thread that writes stands still until it is told to go on.
        let hold = Box::new(move |_| held.recv().unwrap());
        let clock = Box::new(|| (Instant::now(), SystemTime::now()));
        let disk = Disk::start(options, Store::new(StoreConfig::default()), clock, hold).unwrap();
        let problem = settled(&disk, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(problem.code, Code::Internal);
        assert!(problem.detail.contains("within 1ms; what was purged may come back"), "{}", problem.detail);
        go_on.send(()).unwrap();
        assert!(settled(&disk, Duration::from_secs(600)).await.is_ok());
        disk.close();
        let problem = settled(&disk, Duration::from_secs(600)).await.unwrap_err();
        assert!(problem.detail.contains("is closed"), "{}", problem.detail);
    }
}
