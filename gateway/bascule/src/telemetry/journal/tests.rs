//! The journal as telemetry keeps it.

use super::*;
use crate::telemetry::{LAST_EXPORTS, LogFormat, Redactor, Telemetry, tests::settings};
use std::{fs, path::Path};

fn keeping(folder: &Path, max_files: u32) -> JournalSettings {
    JournalSettings { folder: folder.to_owned(), max_file: 16 << 10, max_files }
}

fn telemetry() -> Telemetry {
    let sink = Box::new(io::sink());
    Telemetry::start_with(&settings(None), LogFormat::Json, Redactor::default(), None, sink, LAST_EXPORTS)
        .unwrap()
}

fn call(time: u64) -> CallRecord {
    let line = format!(
        r#"{{"v":1,"time":{time},"integration":"a","operation":"x","priority":"normal","safe":true,"timeout_ms":1,"status":200,"ended":"success","cache":"hit","elapsed_ms":1,"queued_ms":0,"attempts":[]}}"#
    );
    serde_json::from_str(&line).unwrap()
}

fn times(folder: &Path) -> Vec<u64> {
    let time = |found| match found {
        Journalled::Call(record) => record.time,
        other => panic!("{other:?}"),
    };
    read(folder).unwrap().map(time).collect()
}

#[tokio::test]
async fn what_was_journalled_is_there_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry();
    assert!(!telemetry.keeps_journal());
    telemetry.journal(call(1));
    telemetry.keep_journal(Some(&keeping(folder.path(), 8))).unwrap();
    assert!(telemetry.keeps_journal());
    for time in 2..=500 {
        telemetry.journal(call(time));
    }
    telemetry.shutdown().await;
    assert_eq!(times(folder.path()), (2..=500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reload_goes_on_changes_or_ends_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let telemetry = telemetry();
    telemetry.keep_journal(Some(&keeping(&first, 8))).unwrap();
    telemetry.journal(call(1));
    telemetry.keep_journal(Some(&keeping(&first, 8))).unwrap();
    telemetry.journal(call(2));
    fs::write(folder.path().join("file"), "").unwrap();
    let error = telemetry.keep_journal(Some(&keeping(&folder.path().join("file"), 8))).unwrap_err();
    assert!(matches!(error, JournalError::Folder { .. }), "{error}");
    telemetry.journal(call(3));
    // The former journal's thread is known to have ended when its folder is whole.
    telemetry.inner.journal.load().as_ref().unwrap().flush(Duration::from_secs(60));
    telemetry.keep_journal(Some(&keeping(&second, 8))).unwrap();
    telemetry.journal(call(4));
    telemetry.inner.journal.load().as_ref().unwrap().flush(Duration::from_secs(60));
    telemetry.keep_journal(None).unwrap();
    assert!(!telemetry.keeps_journal());
    telemetry.journal(call(5));
    assert_eq!((times(&first), times(&second)), (vec![1, 2, 3], vec![4]));
    assert_eq!(fs::read_dir(&first).unwrap().count(), 1, "the same settings, the same file");
}

#[test]
fn disabled_telemetry_keeps_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::disabled();
    telemetry.keep_journal(Some(&keeping(folder.path(), 8))).unwrap();
    assert!(!telemetry.keeps_journal());
}
