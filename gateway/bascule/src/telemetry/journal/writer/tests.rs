//! Rotation, bounds, and disks that fail.

use super::*;
use crate::telemetry::journal::{Journalled, VERSION, read};
use std::path::Path;

const SECOND: Duration = Duration::from_secs(1);

fn settings(folder: &Path, max_file: u64, max_files: u32) -> JournalSettings {
    JournalSettings { folder: folder.to_owned(), max_file, max_files }
}

fn call(time: u64) -> Work<CallRecord> {
    Work::Item(CallRecord {
        v: VERSION,
        time,
        time_us: 0,
        integration: "shop".into(),
        operation: "get".into(),
        priority: "normal".into(),
        safe: true,
        timeout_ms: 30_000,
        status: 200,
        source: Some("upstream".into()),
        ended: "success".into(),
        refused: None,
        cache: "bypass".into(),
        elapsed_ms: 1.0,
        queued_ms: 0.0,
        attempts: Vec::new(),
        more: 0,
    })
}

/// Calls by their time, dropped ones as negative numbers.
fn written(folder: &Path) -> Vec<i64> {
    let tell = |found| match found {
        Journalled::Call(record) => i64::try_from(record.time).unwrap(),
        Journalled::Dropped(count) => -i64::try_from(count).unwrap(),
        Journalled::Unreadable(found) => panic!("{found}"),
    };
    read(folder).unwrap().map(tell).collect()
}

fn files(folder: &Path) -> Vec<u64> {
    let size = |name: &Name| fs::metadata(folder.join(name.to_string())).unwrap().len();
    list(folder).unwrap().iter().map(size).collect()
}

#[test]
fn files_are_bounded_in_size_and_number_and_the_oldest_goes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "kept").unwrap();
    let mut writer = Writer::new(settings(folder.path(), 1000, 3));
    let (now, wall) = (Instant::now(), SystemTime::now());
    for time in 1..=100 {
        writer.handle(&call(time), now, wall);
        let files = files(folder.path());
        assert!(files.len() <= 3 && files.iter().all(|size| *size <= 1000), "{files:?}");
    }
    let written = written(folder.path());
    assert_eq!(*written.last().unwrap(), 100);
    assert!(written.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the newest, without a gap: {written:?}");
    assert!(folder.path().join("mine.txt").exists());
}

#[test]
fn a_restart_appends_to_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_758);
    for time in 1..=3 {
        let mut writer = Writer::new(settings(folder.path(), 100_000, 8));
        writer.probe().unwrap();
        // Without a record there is no file.
        assert_eq!(files(folder.path()).len(), time as usize - 1);
        writer.handle(&call(time), Instant::now(), wall);
    }
    let names: Vec<String> = list(folder.path()).unwrap().iter().map(Name::to_string).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[2], "journal-20261121T120558Z-0003.jsonl");
    assert_eq!(written(folder.path()), [1, 2, 3]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the probe leaves nothing");
}

#[test]
fn what_the_queue_dropped_is_told_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(settings(folder.path(), 100_000, 8));
    for work in [call(1), Work::Dropped(6), call(2)] {
        writer.handle(&work, Instant::now(), SystemTime::now());
    }
    assert_eq!(written(folder.path()), [1, -6, 2]);
}

#[test]
fn an_unusable_folder_costs_records_a_pause_and_one_warning_a_minute() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("journal");
    fs::write(&folder, "in the way").unwrap();
    let mut writer = Writer::new(settings(&folder, 100_000, 8));
    assert!(writer.probe().is_err());
    let (begun, wall) = (Instant::now(), SystemTime::now());
    writer.handle(&call(1), begun, wall);
    let warned = writer.warned;
    assert!(warned.is_some());
    fs::remove_file(&folder).unwrap();
    writer.handle(&call(2), begun + SECOND / 2, wall);
    assert!(!folder.exists(), "nothing is tried during the pause");
    fs::write(&folder, "in the way again").unwrap();
    writer.handle(&call(3), begun + 2 * SECOND, wall);
    assert_eq!(writer.warned, warned, "once a minute");
    fs::remove_file(&folder).unwrap();
    writer.handle(&call(4), begun + 4 * SECOND, wall);
    writer.handle(&call(5), begun + 4 * SECOND, wall);
    assert_eq!(written(&folder), [-3, 4, 5]);
}

#[test]
fn a_half_written_line_is_cut_off_when_the_disk_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(settings(folder.path(), 100_000, 8));
    let (begun, wall) = (Instant::now(), SystemTime::now());
    writer.handle(&call(1), begun, wall);
    // What a disk that fills up in the middle of a line leaves.
    let open = writer.open.as_mut().unwrap();
    open.file.write_all(b"{\"v\":1,\"ti").unwrap();
    open.torn = true;
    writer.handle(&call(2), begun, wall);
    assert_eq!(written(folder.path()), [1, 2]);
    assert_eq!(files(folder.path()).len(), 1, "a failure begins no file");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_costs_records_and_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(settings(folder.path(), 100_000, 2));
    let (begun, wall) = (Instant::now(), SystemTime::now());
    writer.handle(&call(1), begun, wall);
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let healthy = std::mem::replace(&mut writer.open.as_mut().unwrap().file, full);
    writer.handle(&call(2), begun, wall);
    writer.handle(&call(3), begun, wall);
    assert_eq!((writer.lost, files(folder.path()).len()), (2, 1));
    writer.open.as_mut().unwrap().file = healthy;
    writer.handle(&call(4), begun + 2 * SECOND, wall);
    assert_eq!(written(folder.path()), [1, -2, 4]);
    assert_eq!((writer.lost, files(folder.path()).len()), (0, 1));
}

#[test]
fn who_clears_the_folder_gets_a_new_file() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("journal");
    let mut writer = Writer::new(settings(&folder, 100_000, 8));
    let (begun, wall) = (Instant::now(), SystemTime::now());
    writer.handle(&call(1), begun, wall);
    fs::remove_dir_all(&folder).unwrap();
    writer.handle(&call(2), begun + 2 * SECOND, wall);
    assert_eq!(written(&folder), [2]);
}
