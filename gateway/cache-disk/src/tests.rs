//! What comes back after a restart, what never does, and what happens to a file that cannot be used.

use crate::{Clock, Disk, Notice, OpenError, Options, Unsettled, pending::*, table};
use bascule_cache::{Entry, Follower, Heard, Key, KeyBuilder, Purge, Store, StoreConfig, Stored, Tags};
use parking_lot::Mutex;
use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(600);

/// Seconds that have gone by, for all that is done in a test.
#[derive(Clone)]
struct Time {
    start: Instant,
    seconds: Arc<AtomicU64>,
}

impl Time {
    fn new() -> Self {
        Self { start: Instant::now(), seconds: Arc::default() }
    }

    fn now(&self) -> (Instant, SystemTime) {
        let since = Duration::from_secs(self.seconds.load(Ordering::SeqCst));
        (self.start + since, UNIX_EPOCH + Duration::from_secs(1_700_000_000) + since)
    }

    fn pass(&self, span: Duration) {
        self.seconds.fetch_add(span.as_secs(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let time = self.clone();
        Box::new(move || time.now())
    }
}

/// A process: its store and its file.
struct Process {
    store: Arc<Store>,
    disk: Disk,
    notices: Arc<Mutex<Vec<Notice>>>,
    time: Time,
}

impl Process {
    fn start(path: &Path, time: &Time) -> Self {
        Self::sized(path, time, 16 << 20, StoreConfig::default())
    }

    fn sized(path: &Path, time: &Time, max_size: u64, config: StoreConfig) -> Self {
        let (store, notices) = (Store::new(config), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&notices);
        let options = Options { path: path.to_owned(), max_size };
        let notify = Box::new(move |notice| heard.lock().push(notice));
        let disk = Disk::start(options, Arc::clone(&store), time.clock(), notify).unwrap();
        assert!(disk.wait_restored(LONG));
        Self { store, disk, notices, time: time.clone() }
    }

    /// One whose file is written only when it is told to go on.
    fn held(path: &Path, time: &Time, config: StoreConfig) -> (Self, Sender<()>) {
        let (go_on, held) = channel();
        let (store, options) = (Store::new(config), Options { path: path.to_owned(), max_size: 64 << 20 });
        let hold = Box::new(move |_| held.recv().unwrap());
        let disk = Disk::start(options, Arc::clone(&store), time.clock(), hold).unwrap();
        (Self { store, disk, notices: Arc::default(), time: time.clone() }, go_on)
    }

    fn put(&self, name: &str, body: &str) {
        self.put_tagged(name, body, name);
    }

    fn put_tagged(&self, name: &str, body: &str, tag: &str) {
        let scope = self.store.scope("github", "get_user");
        let tags = Tags::new("github", [tag]).unwrap();
        let entry = Entry {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
            stored_at: self.time.now().0,
            age_at_store: Duration::ZERO,
            ttl: TTL,
            stale_while_revalidate: Duration::ZERO,
            keep_stale: Duration::ZERO,
            scope: scope.clone(),
        };
        assert_eq!(self.store.put_tagged(key(name), entry, tags, self.store.epoch(&scope)), Stored::Yes);
    }

    fn get(&self, name: &str) -> Option<(String, Duration)> {
        let (now, scope) = (self.time.now().0, self.store.scope("github", "get_user"));
        let entry = self.store.get(&key(name), &scope, now)?;
        Some((String::from_utf8(entry.body.to_vec()).unwrap(), entry.age(now)))
    }

    /// Waits until every purge so far is on the disk.
    fn settle(&self) -> Result<(), Unsettled> {
        let (told, settled) = channel();
        self.disk.when_settled(move |result| told.send(result).unwrap());
        settled.recv().unwrap()
    }

    /// Waits until the file holds so many keys.
    fn written(&self, entries: u64) {
        while self.disk.stats().entries != entries {
            self.settle().unwrap();
        }
    }

    /// The file as a process that is killed now leaves it.
    fn killed(self, path: &Path) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in [path.to_owned(), format!("{}-wal", path.display()).into()] {
            if name.exists() {
                fs::copy(&name, folder.path().join(name.file_name().unwrap())).unwrap();
            }
        }
        folder
    }

    fn told(&self, is: impl Fn(&Notice) -> bool) -> usize {
        self.notices.lock().iter().filter(|notice| is(notice)).count()
    }
}

fn key(name: &str) -> Key {
    KeyBuilder::new("github", "get_user").field("user", name.as_bytes()).finish()
}

fn body(found: Option<(String, Duration)>) -> Option<String> {
    found.map(|(body, _)| body)
}

#[test]
fn what_was_stored_comes_back_as_old_as_it_is_and_dies_when_it_was_to_die() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "one");
    first.put("a", "two");
    time.pass(Duration::from_secs(100));
    first.put("b", "three");
    drop(first);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    time.pass(Duration::from_secs(50));
    let second = Process::start(&path, &time);
    assert_eq!(second.get("a"), Some(("two".to_owned(), Duration::from_secs(150))));
    assert_eq!(second.get("b"), Some(("three".to_owned(), Duration::from_secs(50))));
    assert_eq!(second.disk.stats().entries, 2);
    assert_eq!(second.told(|notice| matches!(notice, Notice::Restored(done) if done.entries == 2)), 1);
    drop(second);
    time.pass(TTL - Duration::from_secs(100));
    let third = Process::start(&path, &time);
    assert_eq!((third.get("a"), body(third.get("b"))), (None, Some("three".to_owned())));
    assert_eq!(third.disk.stats().entries, 1, "what is dead is not kept");
}

#[test]
fn a_purge_that_is_settled_survives_whatever_ends_the_process() {
    let time = Time::new();
    type Act = fn(&Store);
    let purges: [(&str, Act); 5] = [
        ("key", |store| store.purge_key(&key("a"))),
        ("removed", |store| store.remove(&key("a"))),
        ("tag", |store| store.purge_tag("github", "a")),
        ("operation", |store| assert!(store.purge_operation("github", "get_user"))),
        ("integration", |store| assert!(store.purge_integration("github"))),
    ];
    for (what, purge) in purges {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let first = Process::start(&path, &time);
        first.put("a", "one");
        first.put("b", "two");
        drop(first);
        let second = Process::start(&path, &time);
        assert_eq!(body(second.get("a")).as_deref(), Some("one"));
        purge(&second.store);
        second.settle().unwrap();
        let copy = second.killed(&path);
        let third = Process::start(&copy.path().join("cache.db"), &time);
        assert_eq!(third.get("a"), None, "purged by {what}");
        let spared = matches!(what, "key" | "removed" | "tag");
        assert_eq!(third.get("b").is_some(), spared, "purged by {what}");
    }
}

#[test]
fn what_was_written_but_not_closed_comes_back() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "one");
    first.written(1);
    let copy = first.killed(&path);
    let second = Process::start(&copy.path().join("cache.db"), &time);
    assert_eq!(body(second.get("a")).as_deref(), Some("one"));
}

#[test]
fn the_file_is_bounded_and_gives_up_what_was_stored_first() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let (path, max) = (folder.path().join("cache.db"), 1 << 20);
    let first = Process::sized(&path, &time, max, StoreConfig::default());
    for index in 0..200 {
        first.put(&format!("user {index}"), &"x".repeat(16 << 10));
        assert!(first.disk.stats().bytes <= max);
    }
    first.disk.close();
    assert!(first.disk.stats().bytes <= max);
    let held = first.disk.stats().entries;
    assert!((16..64).contains(&held), "{held} entries of 16 KiB in 1 MiB");
    // A batch more than it may hold, before the first are given up.
    assert!(fs::metadata(&path).unwrap().len() <= max + (2 << 20));
    drop(first);
    let second = Process::sized(&path, &time, max / 2, StoreConfig::default());
    assert_eq!((second.get("user 0"), second.get("user 199").is_some()), (None, true));
    drop(second);
    assert!(fs::metadata(&path).unwrap().len() <= max / 2 + (64 << 10), "a smaller bound makes it smaller");
}

#[test]
fn a_batch_that_is_too_large_is_written_in_parts() {
    const MIB: usize = 1 << 20;
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let config = || StoreConfig { max_size: 64 << 20, max_entry: 16 << 20 };
    // So that all keys are in one batch.
    let (first, go_on) = Process::held(&path, &time, config());
    for index in 0..16 {
        first.put(&format!("user {index}"), &"x".repeat(MIB));
    }
    first.put("too large", &"x".repeat(9 * MIB));
    first.put("last", "x");
    go_on.send(()).unwrap();
    first.disk.close();
    assert_eq!((first.disk.stats().entries, first.disk.stats().skipped), (17, 1));
    let second = Process::sized(&path, &time, 64 << 20, config());
    assert!((0..16).all(|index| second.get(&format!("user {index}")).is_some()));
    assert!(second.get("last").is_some() && second.get("too large").is_none());
}

#[test]
fn a_wide_purge_needs_no_more_than_a_small_log() {
    const MIB: u64 = 1 << 20;
    type Act = fn(&Store);
    let purges: [(Act, u64); 3] = [
        (|store| store.purge_tag("github", "many"), 1),
        (|store| assert!(store.purge_operation("github", "get_user")), 0),
        (|store| assert!(store.purge_integration("github")), 0),
    ];
    for (purge, left) in purges {
        let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
        let path = folder.path().join("cache.db");
        let config = || StoreConfig { max_size: 64 * MIB, max_entry: 16 * MIB };
        let first = Process::sized(&path, &time, 64 * MIB, config());
        for index in 0..64 {
            first.put_tagged(&index.to_string(), &"x".repeat(384 << 10), "many");
        }
        first.put("other", "x");
        first.disk.close();
        let first = Process::sized(&path, &time, 64 * MIB, config());
        assert_eq!(first.disk.stats().entries, 65);
        purge(&first.store);
        first.settle().unwrap();
        assert_eq!(first.disk.stats().entries, left);
        let log = fs::metadata(folder.path().join("cache.db-wal")).unwrap().len();
        assert!(log < 8 * MIB, "a log of {log} octets");
        let copy = first.killed(&path);
        let second = Process::sized(&copy.path().join("cache.db"), &time, 64 * MIB, config());
        assert_eq!(second.store.stats().entries, left);
    }
}

#[test]
fn a_purge_that_leaves_nothing_gives_the_room_back() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    for index in 0..32 {
        first.put(&index.to_string(), &"the body that is looked for".repeat(4096));
    }
    first.written(32);
    assert!(first.store.purge_integration("github"));
    first.settle().unwrap();
    let file = fs::read(&path).unwrap();
    assert!(file.len() < 128 << 10, "{} octets", file.len());
    assert!(!file.windows(8).any(|window| window == b"the body"));
    first.put("a", "one");
    drop(first);
    let second = Process::start(&path, &time);
    assert_eq!((body(second.get("a")).as_deref(), second.disk.stats().entries), (Some("one"), 1));
}

#[test]
fn the_newest_that_fit_are_restored() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    for index in 0..64 {
        first.put(&format!("user {index}"), &"x".repeat(4096));
    }
    drop(first);
    let small = StoreConfig { max_size: 64 << 10, max_entry: 64 << 10 };
    let second = Process::sized(&path, &time, 16 << 20, small);
    let stats = second.store.stats();
    assert!(stats.entries >= 8 && stats.evictions == 0, "{stats:?}");
    assert!(second.get("user 63").is_some() && second.get("user 0").is_none());
    assert_eq!(second.disk.stats().entries, 64, "the others are in the file yet");
}

/// Overwrites some octets of a file.
fn scribble(path: &Path, at: u64, octets: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(octets).unwrap();
}

#[test]
fn a_damaged_file_is_moved_aside_and_begun_anew() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    for (at, octets) in [(0, 16), (100, 8000)] {
        let first = Process::start(&path, &time);
        first.put("a", "one");
        drop(first);
        scribble(&path, at, &vec![0xA5; octets]);
        let second = Process::start(&path, &time);
        assert_eq!(second.get("a"), None);
        let aside = folder.path().join("cache.db.damaged");
        assert_eq!(
            second.told(|notice| matches!(notice, Notice::Damaged { moved_to, .. } if *moved_to == aside)),
            1
        );
        assert!(aside.is_file());
        second.put("b", "two");
        drop(second);
        assert_eq!(body(Process::start(&path, &time).get("b")).as_deref(), Some("two"));
    }
}

#[test]
fn an_answer_that_is_not_what_was_written_is_not_given() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "the body that is looked for");
    first.put("b", "another");
    drop(first);
    let mut file = Vec::new();
    fs::File::open(&path).unwrap().read_to_end(&mut file).unwrap();
    let at = file.windows(8).position(|window| window == b"the body").unwrap();
    scribble(&path, at as u64, b"The");
    let second = Process::start(&path, &time);
    assert_eq!((second.get("a"), body(second.get("b")).as_deref()), (None, Some("another")));
    assert_eq!(
        second.told(
            |notice| matches!(notice, Notice::Restored(done) if (done.entries, done.refused) == (1, 1))
        ),
        1
    );
}

#[test]
fn a_row_that_cannot_be_read_costs_no_other() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    for name in ["a", "b", "c", "d"] {
        first.put(name, name);
    }
    drop(first);
    let broken = [
        "UPDATE entries SET key = x'00' WHERE seq = 1",
        "UPDATE entries SET integration = CAST(x'ff' AS TEXT) WHERE seq = 2",
        "UPDATE entries SET operation = CAST(x'ff' AS TEXT) WHERE seq = 3",
    ];
    rusqlite::Connection::open(&path).unwrap().execute_batch(&broken.join(";")).unwrap();
    let second = Process::start(&path, &time);
    assert_eq!(
        second.told(
            |notice| matches!(notice, Notice::Restored(done) if (done.entries, done.refused) == (1, 3))
        ),
        1
    );
    assert_eq!((body(second.get("d")).as_deref(), second.disk.stats().entries), (Some("d"), 1));
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let text = folder.path().join("notes.txt");
    fs::write(&text, "nothing to do with caches\n".repeat(100)).unwrap();
    let other = folder.path().join("calls.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE calls (id INTEGER)").unwrap();
    for path in [text, other] {
        let before = fs::read(&path).unwrap();
        let process = Process::start(&path, &time);
        assert_eq!(process.told(|notice| matches!(notice, Notice::Unusable(OpenError::Foreign { .. }))), 1);
        process.put("a", "one");
        process.store.purge_key(&key("a"));
        process.settle().unwrap();
        drop(process);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn the_second_owner_goes_without_and_takes_over_later() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "one");
    let second = Process::start(&path, &time);
    assert_eq!(second.told(|notice| matches!(notice, Notice::Unusable(OpenError::InUse { .. }))), 1);
    second.put("b", "two");
    second.settle().unwrap();
    assert_eq!((body(second.get("b")).as_deref(), second.disk.stats().skipped), (Some("two"), 1));
    drop(first);
    time.pass(LONG);
    second.put("c", "three");
    second.disk.close();
    assert_eq!(second.disk.stats().entries, 1);
    drop(second);
    let third = Process::start(&path, &time);
    assert_eq!(
        (third.get("a"), third.get("b"), body(third.get("c")).as_deref()),
        (None, None, Some("three")),
        "what it may have purged before is gone"
    );
}

#[test]
fn a_purge_holds_though_another_process_has_the_file() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let old = Process::start(&path, &time);
    old.put("a", "one");
    let new = Process::start(&path, &time);
    new.store.purge_key(&key("a"));
    new.settle().unwrap();
    // It is killed before it can open the file: nothing more is heard of it.
    std::mem::forget(new.disk);
    // The old one ends in order: what it had stored is in the file.
    drop(old);
    let next = Process::start(&path, &time);
    assert_eq!((next.get("a"), next.disk.stats().entries), (None, 0));
    next.put("b", "two");
    drop(next);
    assert_eq!(body(Process::start(&path, &time).get("b")).as_deref(), Some("two"), "once is enough");
}

#[test]
fn a_purge_that_cannot_even_leave_a_mark_is_an_error_until_it_can() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let old = Process::start(&path, &time);
    old.put("a", "one");
    let new = Process::start(&path, &time);
    let mark = folder.path().join("cache.db-purged");
    fs::create_dir(&mark).unwrap();
    new.store.purge_key(&key("a"));
    assert!(new.settle().is_err());
    fs::remove_dir(&mark).unwrap();
    assert!(new.settle().is_ok() && mark.is_file());
    drop((old, new));
    assert_eq!(Process::start(&path, &time).get("a"), None);
    assert!(!mark.exists());
}

#[test]
fn a_file_that_cannot_be_written_is_given_up_once_and_purges_hold() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "one");
    drop(first);
    // Whoever else changes the file's tables is as good as a disk that refuses.
    rusqlite::Connection::open(&path).unwrap().execute_batch("ALTER TABLE tags RENAME TO gone").unwrap();
    let second = Process::start(&path, &time);
    for index in 0..4 {
        second.put(&format!("user {index}"), "x");
        second.store.purge_tag("github", "a");
        second.settle().unwrap();
    }
    assert_eq!(second.told(|notice| matches!(notice, Notice::GivenUp(_))), 1);
    assert!(!path.exists(), "what purges cannot reach is gone");
    assert!(second.disk.stats().skipped >= 1 && second.get("user 1").is_some());
    time.pass(LONG);
    second.put("b", "two");
    drop(second);
    assert_eq!(body(Process::start(&path, &time).get("b")).as_deref(), Some("two"));
}

#[test]
fn a_purge_that_reaches_no_file_and_cannot_remove_it_is_an_error() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    // A folder in its place can be neither opened, nor read, nor removed as a file.
    let path = folder.path().join("cache.db");
    fs::create_dir(&path).unwrap();
    let process = Process::start(&path, &time);
    assert_eq!(process.told(|notice| matches!(notice, Notice::Unusable(_))), 1);
    process.put("a", "one");
    process.store.purge_key(&key("a"));
    assert!(process.settle().is_err() && process.get("a").is_none());
    fs::remove_dir(&path).unwrap();
    assert!(process.settle().is_ok());
}

#[test]
fn a_key_too_many_is_skipped_and_a_purge_too_many_becomes_one_of_everything() {
    let pending = Pending::default();
    let numbered = |index: usize| KeyBuilder::new("i", "o").field("n", &index.to_be_bytes()).finish();
    for index in 0..KEYS_MAX + 10 {
        pending.stored(&numbered(index));
        pending.stored(&numbered(0));
    }
    assert_eq!(pending.skipped(), 10);
    for index in 0..=PURGES_MAX {
        pending.purged(&Purge::Key(numbered(index)), Heard::Here);
    }
    pending.purged(&Purge::Tag(1), Heard::Here);
    let work = pending.take().unwrap();
    assert!(work.everything && work.purges.is_empty());
    pending.purged(&Purge::Tag(1), Heard::Here);
    pending.purged(&Purge::Tag(1), Heard::Here);
    assert_eq!(pending.take().unwrap().purges, [Purge::Tag(1)]);
    pending.close();
    let mut keys = work.keys.len() + 64;
    while let Some(work) = pending.take() {
        keys += work.keys.len();
    }
    assert_eq!(keys, KEYS_MAX, "what is pending is written before the end");
}

#[test]
fn a_purge_after_the_file_was_closed_is_not_forgotten() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let path = folder.path().join("cache.db");
    let first = Process::start(&path, &time);
    first.put("a", "one");
    first.disk.close();
    first.store.purge_key(&key("a"));
    drop(first);
    let second = Process::start(&path, &time);
    assert_eq!(second.get("a"), None);
    second.put("b", "two");
    second.disk.close();
    second.put("c", "three");
    drop(second);
    let third = Process::start(&path, &time);
    assert_eq!(
        (body(third.get("b")).as_deref(), third.get("c")),
        (Some("two"), None),
        "only a purge does that"
    );
    // Nor is one beside a file of somebody else.
    let other = folder.path().join("notes.txt");
    fs::write(&other, "nothing to do with caches").unwrap();
    let fourth = Process::start(&other, &time);
    fourth.disk.close();
    fourth.store.purge_key(&key("a"));
    assert!(!folder.path().join("notes.txt-purged").exists());
}

#[test]
fn those_who_wait_for_a_slow_file_are_bounded() {
    let (folder, time) = (tempfile::tempdir().unwrap(), Time::new());
    let (process, go_on) = Process::held(&folder.path().join("cache.db"), &time, StoreConfig::default());
    let (told, settled) = channel();
    for _ in 0..=WAITING_MAX {
        let told = told.clone();
        process.disk.when_settled(move |result| told.send(result).unwrap());
    }
    assert!(matches!(settled.try_recv(), Ok(Err(Unsettled::Crowded))));
    assert!(settled.try_recv().is_err(), "the others wait");
    go_on.send(()).unwrap();
    assert!((0..WAITING_MAX).all(|_| settled.recv().unwrap().is_ok()));
    process.disk.close();
    assert!(matches!(process.settle(), Err(Unsettled::Closed)));
}

#[test]
fn a_digest_is_of_the_key_and_the_record() {
    let of = |name, record: &[u8]| table::digest(&key(name), record).as_ref().to_vec();
    assert_eq!(of("a", b"x"), of("a", b"x"));
    assert!(of("a", b"x") != of("b", b"x") && of("a", b"x") != of("a", b"y"));
}
