//! Obtains all plugins of a configuration within one bound of time.
//!
//! Whoever builds a generation blocks, in whatever runtime or none: so the fetching has a thread and a small
//! runtime of its own, which end with it. What is not there in time is told, and left behind.

use super::{Content, Found, advice::advice};
use crate::app::plugins::describe;
use bascule_plugin_source::{Floating, Lock, Obtained, SourceError, Sources, Wanted};
use std::{collections::BTreeMap, io, sync::Arc, thread, time::Duration};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// Time for all of a configuration's plugins. One alone has a minute, so this suffices where servers answer.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Plugins that are fetched at the same time: each is held whole, and registries count connections.
const AT_A_TIME: usize = 8;

/// What each of them is.
pub(super) fn obtain_all(
    sources: Sources,
    lock: Lock,
    floating: Floating,
    all: BTreeMap<String, Wanted>,
) -> BTreeMap<String, Result<Content, Found>> {
    let keys: Vec<String> = all.keys().cloned().collect();
    let obtained = apart(within(TIME_MAX, sources, lock, floating, all));
    let (mut contents, missing) = match obtained {
        Ok(contents) => (contents, format!("not obtained within {} s", TIME_MAX.as_secs())),
        Err(error) => (BTreeMap::new(), format!("nothing could be obtained: {error}")),
    };
    for key in keys {
        let found = || Err((missing.clone(), "see whether its server answers, and try again".to_owned()));
        contents.entry(key).or_insert_with(found);
    }
    contents
}

/// Runs a future to its end on a thread of its own.
fn apart<T: Send>(work: impl Future<Output = T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let done = runtime.block_on(work);
            // A name that does not resolve holds up nobody.
            runtime.shutdown_background();
            Ok(done)
        });
        worker.join().unwrap_or_else(|_panic| Err(io::Error::other("the thread broke off")))
    })
}

/// What could be obtained in that time, or why not.
async fn within(
    time: Duration,
    sources: Sources,
    lock: Lock,
    floating: Floating,
    all: BTreeMap<String, Wanted>,
) -> BTreeMap<String, Result<Content, Found>> {
    let deadline = Instant::now() + time;
    let shared = Arc::new((sources, lock, Semaphore::new(AT_A_TIME)));
    let mut tasks = JoinSet::new();
    for (key, wanted) in all {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let (sources, lock, places) = &*shared;
            let _place = places.acquire().await;
            let obtained = sources.obtain(&wanted, lock, floating).await;
            (key, told(&wanted, obtained))
        });
    }
    let mut contents = BTreeMap::new();
    while let Ok(Some(ended)) = timeout_at(deadline, tasks.join_next()).await {
        contents.extend(ended);
    }
    contents
}

/// Says in the log what is run from elsewhere; makes a problem of an error.
fn told(wanted: &Wanted, obtained: Result<Obtained, SourceError>) -> Result<Content, Found> {
    let obtained = obtained.map_err(|error| (describe(&error), advice(&error).to_owned()))?;
    let (source, sha256) = (&wanted.reference, obtained.sha256);
    let signer = obtained.signer.as_deref().unwrap_or("not asked");
    if obtained.floats {
        tracing::warn!(%source, %sha256, signer, "plugin by a tag that is not locked: the next start may run another");
    } else if source.is_remote() {
        tracing::info!(%source, %sha256, signer, "plugin from elsewhere");
    }
    Ok(Content { octets: obtained.content, digest: obtained.sha256 })
}
