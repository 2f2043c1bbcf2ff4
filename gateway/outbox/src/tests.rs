//! The queue as its users meet it, over real files.

mod files;
mod model;

use crate::{Answer, Bounds, Call, Ending, EnqueueError, Entry, Outbox, Place, Removed, Retried, State};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use uuid::Uuid;

pub(super) struct Queue {
    pub(super) outbox: Outbox,
    pub(super) folder: TempDir,
}

impl Queue {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { outbox: Outbox::open(&folder.path().join("outbox.db"), at(0)).unwrap(), folder }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("outbox.db")
    }

    fn queued(&self, key: &str, now: u64) -> Uuid {
        self.outbox.enqueue(call(key), &Bounds::default(), at(now)).unwrap().id
    }

    fn claimed(&self, now: u64) -> Vec<Entry> {
        self.outbox.claim(place("o"), 10, at(now)).unwrap()
    }

    fn entry(&self, id: Uuid) -> Entry {
        self.outbox.get(id).unwrap().unwrap()
    }
}

/// Some time, in seconds.
pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

pub(super) fn place(operation: &str) -> Place {
    Place { integration: "i".into(), operation: operation.into() }
}

pub(super) fn call(key: &str) -> Call {
    Call {
        place: place("o"),
        key: key.into(),
        caller: Some("billing".into()),
        params: "{\"a\":1}".into(),
        headers: "[]".into(),
        body: Some(b"body".to_vec()),
    }
}

pub(super) fn answer(body: &[u8]) -> Answer {
    Answer { status: 201, content_type: Some("text/plain".into()), body: body.to_vec(), cut: false }
}

#[test]
fn answers_that_came_meanwhile_are_forgotten_when_they_outgrow_the_bounds() {
    let queue = Queue::new();
    for key in ["a", "b", "c"] {
        queue.queued(key, 1);
    }
    for entry in queue.claimed(1) {
        queue.outbox.finish(entry.id, Ending::Done(answer(&[b'x'; 4096])), at(2)).unwrap();
    }
    let bounds = Bounds { max_size: 10_000, ..Bounds::default() };
    queue.outbox.tidy(&bounds, at(3)).unwrap();
    let left: Vec<String> =
        queue.outbox.list(None, None, 9).unwrap().entries.into_iter().map(|entry| entry.call.key).collect();
    assert_eq!(left, ["b", "c"], "the oldest gives way");
}

#[test]
fn what_was_forgotten_is_not_in_the_files_either() {
    let queue = Queue::new();
    let secret = "a text that stands nowhere else";
    let mut call = call("k");
    call.headers = secret.into();
    queue.outbox.enqueue(call, &Bounds::default(), at(1)).unwrap();
    let entry = queue.claimed(1).remove(0);
    queue.outbox.finish(entry.id, Ending::Done(answer(b"ok")), at(2)).unwrap();
    let folder = queue.folder;
    drop(queue.outbox);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn an_entry_goes_from_waiting_to_done_and_forgets_what_the_caller_sent() {
    let queue = Queue::new();
    let id = queue.queued("k", 1);
    let waiting = queue.entry(id);
    assert_eq!((waiting.state, waiting.tries, waiting.created), (State::Waiting, 0, at(1)));
    assert_eq!(waiting.call, call("k"));
    let running = queue.claimed(1);
    assert_eq!((running[0].id, running[0].state, running[0].tries), (id, State::Running, 1));
    assert!(queue.claimed(1).is_empty(), "nothing is taken twice");
    assert!(queue.outbox.finish(id, Ending::Done(answer(b"made")), at(2)).unwrap());
    let done = queue.entry(id);
    assert_eq!((done.state, done.finished, done.answer), (State::Done, Some(at(2)), Some(answer(b"made"))));
    assert_eq!((&*done.call.params, &*done.call.headers, done.call.body), ("", "", None));
    assert!(!queue.outbox.finish(id, Ending::Done(answer(b"again")), at(3)).unwrap(), "it has ended");
}

#[test]
fn a_key_comes_again_as_the_same_entry_or_is_refused() {
    let queue = Queue::new();
    let bounds = Bounds::default();
    let enqueue = |call: Call| queue.outbox.enqueue(call, &bounds, at(5));
    let first = enqueue(call("k")).unwrap();
    assert!(first.new);
    let again = enqueue(Call { headers: "[\"other\"]".into(), ..call("k") }).unwrap();
    assert_eq!((again.id, again.new, again.state), (first.id, false, State::Waiting));
    for other in [
        Call { params: "{}".into(), ..call("k") },
        Call { body: None, ..call("k") },
        Call { body: Some(b"bodyz".to_vec()), ..call("k") },
        Call { caller: None, ..call("k") },
    ] {
        assert!(matches!(enqueue(other.clone()), Err(EnqueueError::Conflict)), "{other:?}");
        assert!(matches!(queue.outbox.find(other), Err(EnqueueError::Conflict)));
    }
    assert!(enqueue(Call { place: place("p"), ..call("k") }).unwrap().new, "each operation has its keys");
    queue.claimed(5);
    queue.outbox.finish(first.id, Ending::Done(answer(b"")), at(6)).unwrap();
    let done = enqueue(call("k")).unwrap();
    assert_eq!((done.id, done.state), (first.id, State::Done), "what is done is not done again");
    assert_eq!(queue.outbox.find(call("k")).unwrap().map(|entry| entry.id), Some(first.id));
    assert_eq!(queue.outbox.find(call("unknown")).unwrap(), None);
}

#[test]
fn the_dead_are_revived_by_their_key_and_by_hand() {
    let queue = Queue::new();
    let dead = || Ending::Dead { error: "no use".into(), answer: Some(answer(b"why")) };
    let id = queue.queued("k", 0);
    queue.claimed(0);
    assert_eq!(queue.outbox.retry(id, at(0)).unwrap(), Retried::Refused(State::Running));
    queue.outbox.finish(id, dead(), at(1)).unwrap();
    assert_eq!(queue.entry(id).last_error.as_deref(), Some("no use"));
    assert_eq!(queue.entry(id).call, call("k"), "it may have to be sent again");
    assert_eq!(queue.queued("k", 100_000), id);
    let revived = queue.entry(id);
    assert_eq!((revived.state, revived.next_try, revived.finished), (State::Waiting, at(100_000), None));
    // Its age begins anew: a day after its creation it is not given up.
    assert_eq!(queue.outbox.tidy(&Bounds::default(), at(100_001)).unwrap().given_up, 0);
    queue.claimed(100_000);
    queue.outbox.finish(id, dead(), at(100_002)).unwrap();
    assert_eq!(queue.outbox.retry(id, at(100_003)).unwrap(), Retried::Waiting);
    assert_eq!(queue.entry(id).answer, None);
    assert_eq!(queue.outbox.retry(Uuid::nil(), at(0)).unwrap(), Retried::Unknown);
}

#[test]
fn what_failed_waits_and_holds_up_nobody() {
    let queue = Queue::new();
    let ids: Vec<Uuid> = ["a", "b", "c"].map(|key| queue.queued(key, 0)).to_vec();
    let order: Vec<Uuid> = queue.claimed(0).iter().map(|entry| entry.id).collect();
    assert_eq!(order, ids, "in the order in which they were queued");
    let bounds = Bounds::default();
    let later = queue.outbox.retry_later(ids[0], "503".into(), at(60), &bounds, at(1)).unwrap();
    assert_eq!(later, Some(State::Waiting));
    assert!(queue.outbox.put_back(ids[1], at(1)).unwrap());
    assert_eq!(queue.entry(ids[1]).tries, 0, "it was not tried after all");
    assert_eq!(queue.claimed(1).iter().map(|entry| entry.id).collect::<Vec<_>>(), [ids[1]]);
    let lanes = queue.outbox.lanes().unwrap();
    assert_eq!((lanes.len(), lanes[0].next_try), (1, at(60)));
    assert_eq!(queue.outbox.hasten(place("o"), at(2)).unwrap(), 1);
    assert_eq!(queue.claimed(2)[0].tries, 2);
    assert_eq!(queue.entry(ids[0]).last_error.as_deref(), Some("503"));
}

#[test]
fn what_is_too_old_is_dead_and_what_was_finished_long_ago_is_forgotten() {
    let queue = Queue::new();
    let bounds = Bounds::default();
    let day = 24 * 3600;
    let (waiting, running) = (queue.queued("w", 10), queue.queued("r", 10));
    queue.claimed(10);
    queue.outbox.put_back(waiting, at(10)).unwrap();
    assert_eq!(queue.outbox.tidy(&bounds, at(9 + day)).unwrap(), crate::Tidied::default());
    assert_eq!(queue.outbox.tidy(&bounds, at(10 + day)).unwrap().given_up, 1);
    assert!(queue.entry(waiting).last_error.unwrap().contains("before it could be tried"));
    let late = queue.outbox.retry_later(running, "503".into(), at(11 + day), &bounds, at(10 + day)).unwrap();
    assert_eq!(late, Some(State::Dead));
    assert_eq!(queue.entry(running).last_error.as_deref(), Some("503"));
    assert_eq!(queue.outbox.tidy(&bounds, at(9 + 8 * day)).unwrap().forgotten, 0);
    assert_eq!(queue.outbox.tidy(&bounds, at(10 + 8 * day)).unwrap().forgotten, 2);
    assert_eq!(queue.outbox.get(waiting).unwrap(), None);
}

#[test]
fn bounds_hold_and_only_what_is_done_makes_room() {
    let queue = Queue::new();
    let bounds = Bounds { max_entries: 2, ..Bounds::default() };
    let enqueue = |key: &str, bounds: &Bounds| queue.outbox.enqueue(call(key), bounds, at(0));
    let first = enqueue("a", &bounds).unwrap().id;
    enqueue("b", &bounds).unwrap();
    assert!(matches!(enqueue("c", &bounds), Err(EnqueueError::Full { entries: 2, .. })));
    queue.claimed(0);
    queue.outbox.finish(first, Ending::Dead { error: "x".into(), answer: None }, at(0)).unwrap();
    assert!(enqueue("c", &bounds).is_err(), "a dead letter is nothing to lose quietly");
    queue.outbox.retry(first, at(0)).unwrap();
    queue.claimed(0);
    queue.outbox.finish(first, Ending::Done(answer(b"x")), at(0)).unwrap();
    assert!(enqueue("c", &bounds).unwrap().new);
    assert_eq!(queue.outbox.get(first).unwrap(), None);
    let tight = Bounds { max_size: 2_000, ..Bounds::default() };
    assert!(enqueue("d", &tight).is_ok());
    assert!(matches!(enqueue("e", &tight), Err(EnqueueError::Full { entries: 3, .. })), "octets count");
    let small = Bounds { max_body: 10, ..Bounds::default() };
    assert!(matches!(enqueue("f", &small), Err(EnqueueError::TooLarge { octets: 11, max: 10 })));
}

#[test]
fn a_long_answer_is_cut() {
    let queue = Queue::new();
    let id = queue.queued("k", 0);
    queue.claimed(0);
    let long = vec![b'x'; crate::ANSWER_MAX + 1];
    queue.outbox.finish(id, Ending::Done(answer(&long)), at(1)).unwrap();
    let kept = queue.entry(id).answer.unwrap();
    assert_eq!((kept.body.len(), kept.cut), (crate::ANSWER_MAX, true));
}

#[test]
fn operators_page_through_the_queue_and_remove_what_does_not_run() {
    let queue = Queue::new();
    let ids: Vec<Uuid> = (0..5).map(|n| queue.queued(&n.to_string(), n)).collect();
    let page = queue.outbox.list(None, None, 2).unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[..2]);
    let rest = queue.outbox.list(None, page.next, 3).unwrap();
    assert_eq!((rest.entries.len(), rest.next), (3, None));
    queue.outbox.claim(place("o"), 1, at(9)).unwrap();
    let running = queue.outbox.list(Some(State::Running), None, 9).unwrap();
    assert_eq!(running.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(queue.outbox.remove(ids[0]).unwrap(), Removed::Running);
    assert_eq!(queue.outbox.remove(ids[1]).unwrap(), Removed::Gone);
    assert_eq!(queue.outbox.remove(ids[1]).unwrap(), Removed::Unknown);
    assert_eq!(queue.outbox.abandon(place("o"), "gone".into(), at(9)).unwrap(), 3);
    assert_eq!(queue.entry(ids[4]).last_error.as_deref(), Some("gone"));
    let level = |state| queue.outbox.levels().iter().find(|level| level.state == state).map(|l| l.entries);
    assert_eq!(
        (level(State::Running), level(State::Dead), level(State::Waiting)),
        (Some(1), Some(3), Some(0))
    );
}
