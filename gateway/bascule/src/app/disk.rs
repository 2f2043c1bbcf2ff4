//! The file that keeps stored answers over a restart.
//!
//! The decision: nothing that is wrong with it keeps the gateway from starting or serving. It is told in the log, and
//! calls go on without it.

use super::plugins::describe;
use crate::{config::Config, pipeline::Services};
use bascule_cache_disk::{Disk, Notice};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How long a start waits for what is in the file. What is not restored by then comes while calls are served.
const RESTORE_MAX: Duration = Duration::from_secs(5);

/// Opens the file of the configuration, if it names one, and restores what is in it. Blocks.
pub(super) fn open_disk(services: &Arc<Services>, config: &Config) {
    let Some(options) = config.cache.disk.clone() else { return };
    let clock = Arc::clone(&services.clock);
    let path = options.path.display().to_string();
    let started = Disk::start(
        options,
        Arc::clone(&services.cache),
        Box::new(move || (clock.now(), SystemTime::now())),
        Box::new(move |notice| tell(&path, &notice)),
    );
    match started {
        Ok(disk) => {
            disk.wait_restored(RESTORE_MAX);
            // A start is made once.
            let _ = services.cache_disk.set(Arc::new(disk));
        }
        Err(error) => tracing::warn!(%error, "no thread for the cache's file; the cache begins empty"),
    }
}

/// Writes what is pending and closes the file, for at most so long.
pub(super) async fn close_disk(services: &Services, most: Duration) {
    let Some(disk) = services.cache_disk.get().map(Arc::clone) else { return };
    let closing = tokio::task::spawn_blocking(move || disk.close());
    if tokio::time::timeout(most, closing).await.is_err() {
        tracing::warn!("the cache's file is slow to take what is pending; the rest of it is left out");
    }
}

fn tell(path: &str, notice: &Notice) {
    match notice {
        Notice::Restored(done) => {
            let (entries, bytes, refused) = (done.entries, done.bytes, done.refused);
            tracing::info!(path, entries, bytes, refused, "stored answers were restored");
        }
        Notice::Damaged { error, moved_to } => {
            let (error, moved_to) = (describe(error), moved_to.display());
            tracing::warn!(path, error, %moved_to, "the cache's file is damaged; a new one begins empty");
        }
        Notice::Unusable(error) => {
            tracing::warn!(
                path,
                error = describe(error),
                "the cache's file cannot be used; the cache goes without it"
            );
        }
        Notice::GivenUp(error) => {
            let error = describe(error);
            tracing::warn!(
                path,
                error,
                "the cache's file could not be written and was given up; the cache goes without it"
            );
        }
        Notice::Back => tracing::info!(path, "the cache's file can be used again"),
    }
}
