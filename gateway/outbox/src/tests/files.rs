//! The file: who may open it, and what it holds when its owner goes without a word.

use super::{Queue, answer, at, call, place};
use crate::{Bounds, Ending, OpenError, Outbox, State};
use rusqlite::Connection;
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, thread};

#[test]
fn what_was_accepted_survives_a_killed_process_and_what_ran_is_to_run_again() {
    let queue = Queue::new();
    let bounds = Bounds::default();
    let enqueue = |key: &str| queue.outbox.enqueue(call(key), &bounds, at(0)).unwrap().id;
    let [done, running, waiting] = ["done", "running", "waiting"].map(enqueue);
    queue.outbox.claim(place("o"), 2, at(0)).unwrap();
    queue.outbox.finish(done, Ending::Done(answer(b"made")), at(1)).unwrap();
    // The files as they are on the disk now: nobody has closed them.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["outbox.db", "outbox.db-wal"] {
        fs::copy(queue.folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    let after = Outbox::open(&crashed.path().join("outbox.db"), at(7)).unwrap();
    let entry = |id| after.get(id).unwrap().unwrap();
    assert_eq!((entry(done).state, entry(waiting).state), (State::Done, State::Waiting));
    let again = entry(running);
    assert_eq!((again.state, again.next_try, again.tries), (State::Waiting, at(7), 1));
    assert_eq!(again.call, call("running"), "with the same key");
    assert_eq!(after.claim(place("o"), 9, at(7)).unwrap().len(), 2);
}

#[test]
fn a_second_owner_is_refused_until_the_first_has_gone() {
    let queue = Queue::new();
    let refused = Outbox::open(&queue.path(), at(0)).err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().ends_with("outbox.db` is in use by another process"));
    let path = queue.path();
    drop(queue.outbox);
    assert!(Outbox::open(&path, at(0)).is_ok());
}

#[test]
fn only_its_owner_reads_the_file() {
    let queue = Queue::new();
    let mode =
        |name: &str| fs::metadata(queue.folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("outbox.db"), mode("outbox.db-wal")), (0o600, 0o600));
}

#[test]
fn damaged_and_newer_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rubbish.db");
    fs::write(&path, "this is no database, however long one looks at it".repeat(100)).unwrap();
    let refused = Outbox::open(&path, at(0)).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    let path = folder.path().join("newer.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let refused = Outbox::open(&path, at(0)).err().unwrap();
    assert!(matches!(refused, OpenError::Newer { found: 7, known: 1, .. }), "{refused}");
    let nowhere = Outbox::open(&folder.path().join("no/such/folder.db"), at(0)).err().unwrap();
    assert!(matches!(nowhere, OpenError::Create { .. }), "{nowhere}");
}

#[test]
fn damage_inside_the_file_is_found_at_open() {
    let queue = Queue::new();
    for n in 0..200 {
        queue.outbox.enqueue(call(&n.to_string()), &Bounds::default(), at(n)).unwrap();
    }
    let path = queue.path();
    drop(queue.outbox);
    let mut octets = fs::read(&path).unwrap();
    let middle = octets.len() / 2;
    octets[middle..middle + 4096].fill(0xA5);
    fs::write(&path, octets).unwrap();
    let refused = Outbox::open(&path, at(0)).err().unwrap();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[test]
fn many_threads_share_the_writer_and_every_answer_is_a_commit() {
    let queue = Queue::new();
    let outbox = Arc::new(queue.outbox);
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                for n in 0..25 {
                    outbox.enqueue(call(&format!("{thread}-{n}")), &Bounds::default(), at(n)).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(outbox.levels()[0].entries, 200);
    assert_eq!(outbox.claim(place("o"), 1000, at(100)).unwrap().len(), 200);
}
