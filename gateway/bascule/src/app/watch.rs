//! Loading changed files without being asked: `server.watch`.
//!
//! Every second the files are looked at by time, size and place on the disk. A change is taken once nothing has
//! changed for one look more, so that a file that is just being written is left alone, and only if the contents
//! differ from those that were taken last. It then goes the way of any reload: all or nothing.
//!
//! A configuration that is refused is tried again now and then, since what it lacks (a plugin that is yet to be
//! copied) need not be among the files that the running one knows. What is wrong is logged when it changes.

use super::{control::Reloader, exchanges::exchange_files};
use crate::{
    admin::Control,
    config::{Config, PluginSource, Sources, config_files},
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::MissedTickBehavior;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two tries of a configuration that is refused.
const RETRY: u32 = 30;
/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// Looks for changes while the configuration asks for it. Runs until it is aborted; that leaves a reload that has
/// begun to end by itself.
pub(super) async fn watch(control: Arc<Reloader>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = Watcher::default();
    loop {
        ticks.tick().await;
        let config = Arc::clone(&control.services.generation.load().config);
        if !config.server.watch {
            watcher = Watcher::default();
            continue;
        }
        let sources = control.sources.clone();
        // Files are read: not on a worker thread.
        let look = move || {
            let due = watcher.look(&files(&sources, &config));
            (watcher, due)
        };
        let Ok((looked, due)) = tokio::task::spawn_blocking(look).await else { return };
        watcher = looked;
        if due {
            let refused = control.reload().await.err().map(|problems| problems.to_string());
            if let Some(news) = watcher.tried(refused) {
                tracing::error!("changed files are refused; the old configuration stays: {news}");
            }
        }
    }
}

/// The files of a configuration, and those of the plugins that it runs.
fn files(sources: &Sources, config: &Config) -> Vec<PathBuf> {
    let mut files = config_files(sources);
    files.push(config.source_rules.lock.clone());
    for plugin in config.integrations.values().flat_map(|integration| &integration.plugins) {
        if let PluginSource::File(file) = &plugin.source {
            files.push(file.clone());
            if !plugin.signed_by.is_empty() {
                files.push(file.with_added_extension("sig"));
            }
        }
        for path in &plugin.exchanges {
            // A folder that is gone is noticed by the files that are gone with it.
            files.extend(exchange_files(path).unwrap_or_default());
        }
    }
    files
}

/// What tells a file from what it was before, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

/// Files by name; none for those that are not there.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What is known of the files.
#[derive(Default)]
struct Watcher {
    /// At the last look.
    seen: Option<Stamps>,
    /// When they were taken last, with their contents.
    taken: Option<(Stamps, [u8; 32])>,
    /// Looks since a reload was refused.
    refused: Option<u32>,
    /// What was wrong then.
    said: String,
}

impl Watcher {
    /// Whether it is time for a reload. The first look takes things as they are: they have just been loaded.
    fn look(&mut self, files: &[PathBuf]) -> bool {
        let stamps = stamps(files);
        let settled = self.seen.replace(stamps.clone()).is_some_and(|seen| seen == stamps);
        let Some((taken, contents)) = &self.taken else {
            let contents = contents(&stamps);
            self.taken = Some((stamps, contents));
            return false;
        };
        if !settled {
            return false;
        }
        if *taken == stamps {
            return self.retry();
        }
        let (before, now) = (*contents, self::contents(&stamps));
        self.taken = Some((stamps, now));
        before != now
    }

    fn retry(&mut self) -> bool {
        let Some(looks) = &mut self.refused else { return false };
        *looks += 1;
        *looks % RETRY == 0
    }

    /// Notes how a reload went; returns what was wrong if that is news.
    fn tried(&mut self, refused: Option<String>) -> Option<String> {
        self.refused = refused.as_ref().map(|_| 0);
        let said = refused.unwrap_or_default();
        if said == self.said {
            return None;
        }
        self.said.clone_from(&said);
        Some(said).filter(|said| !said.is_empty())
    }
}

fn stamps(files: &[PathBuf]) -> Stamps {
    let stamp = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok();
        let stamp = metadata.map(|metadata| Stamp {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            inode: metadata.ino(),
        });
        (file.clone(), stamp)
    };
    files.iter().map(stamp).collect()
}

/// SHA-256 over names and contents. What cannot be read counts as empty; the reload will say so.
fn contents(stamps: &Stamps) -> [u8; 32] {
    let mut all = Context::new(&SHA256);
    for (file, stamp) in stamps {
        let mut one = Context::new(&SHA256);
        if let Some(mut file) = stamp.and_then(|_| File::open(file).ok()) {
            let mut chunk = vec![0; CHUNK];
            while let Ok(count @ 1..) = file.read(&mut chunk) {
                one.update(chunk.get(..count).unwrap_or_default());
            }
        }
        // Digests are of one length, so that no two lists of files give the same octets.
        all.update(aws_lc_rs::digest::digest(&SHA256, file.as_os_str().as_encoded_bytes()).as_ref());
        all.update(one.finish().as_ref());
    }
    let mut octets = [0; 32];
    octets.iter_mut().zip(all.finish().as_ref()).for_each(|(to, from)| *to = *from);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("a", "1");
            folder
        }

        /// Writes a file as a new one, so that it is told by its place whatever the clock's grain.
        fn write(&self, name: &str, text: &str) {
            let next = self.0.path().join("next");
            fs::write(&next, text).unwrap();
            fs::rename(next, self.0.path().join(name)).unwrap();
        }

        fn look(&self, watcher: &mut Watcher) -> bool {
            watcher.look(&["a", "b"].map(|name| self.0.path().join(name)))
        }
    }

    #[test]
    fn a_change_is_taken_when_it_has_settled_and_once() {
        let (folder, mut watcher) = (Folder::new(), Watcher::default());
        assert!(!folder.look(&mut watcher) && !folder.look(&mut watcher));
        folder.write("a", "2");
        assert!(!folder.look(&mut watcher), "it may still be written");
        folder.write("a", "22");
        assert!(!folder.look(&mut watcher), "and it was");
        assert!(folder.look(&mut watcher));
        assert!((0..100).all(|_| !folder.look(&mut watcher)));
        folder.write("b", "new");
        assert!(!folder.look(&mut watcher));
        assert!(folder.look(&mut watcher), "a file that was not there");
    }

    #[test]
    fn a_file_that_says_the_same_is_no_change() {
        let (folder, mut watcher) = (Folder::new(), Watcher::default());
        assert!(!folder.look(&mut watcher));
        folder.write("a", "1");
        assert!((0..5).all(|_| !folder.look(&mut watcher)));
    }

    #[test]
    fn what_was_refused_is_tried_again_and_said_once() {
        let (folder, mut watcher) = (Folder::new(), Watcher::default());
        assert!(!folder.look(&mut watcher));
        let bad = || Some("bad".to_owned());
        assert_eq!(watcher.tried(bad()), bad());
        let tries = (0..RETRY * 2).filter(|_| folder.look(&mut watcher)).count();
        assert_eq!(tries, 2);
        assert_eq!(watcher.tried(bad()), None);
        assert_eq!(watcher.tried(Some("worse".to_owned())), Some("worse".to_owned()));
        assert_eq!(watcher.tried(None), None);
        assert!((0..RETRY * 2).all(|_| !folder.look(&mut watcher)), "all is well");
        assert_eq!(watcher.tried(bad()), bad(), "it is news again");
    }
}
