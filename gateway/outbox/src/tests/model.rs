//! Generated histories, compared step by step with a queue in plain memory.

use super::{answer, at, call, place};
use crate::{Bounds, Ending, EnqueueError, Outbox, State};
use proptest::prelude::*;
use std::time::Duration;
use uuid::Uuid;

const BOUNDS: Bounds = Bounds {
    max_entries: 4,
    max_size: u64::MAX,
    max_body: 100,
    retention: Duration::from_secs(50),
    give_up_after: Duration::from_secs(20),
};

#[derive(Clone, Debug)]
enum Step {
    Enqueue { key: u8, content: u8 },
    Claim { max: u32 },
    Finish { at: usize, done: bool },
    Later { at: usize, wait: u64 },
    PutBack { at: usize },
    Retry { at: usize },
    Remove { at: usize },
    Tidy,
    Reopen,
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..6_usize;
    prop_oneof![
        4 => (0..6_u8, 0..2_u8).prop_map(|(key, content)| Step::Enqueue { key, content }),
        3 => (1..3_u32).prop_map(|max| Step::Claim { max }),
        2 => (at(), any::<bool>()).prop_map(|(at, done)| Step::Finish { at, done }),
        2 => (at(), 0..9_u64).prop_map(|(at, wait)| Step::Later { at, wait }),
        1 => at().prop_map(|at| Step::PutBack { at }),
        1 => at().prop_map(|at| Step::Retry { at }),
        1 => at().prop_map(|at| Step::Remove { at }),
        2 => Just(Step::Tidy),
        1 => Just(Step::Reopen),
        3 => (1..15_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

#[derive(Clone, Debug)]
struct Known {
    id: Uuid,
    key: u8,
    content: u8,
    state: State,
    since: u64,
    next: u64,
    tries: u32,
    finished: u64,
}

/// What the queue should hold, the oldest first.
#[derive(Default)]
struct Model {
    now: u64,
    entries: Vec<Known>,
}

impl Model {
    fn enqueue(&mut self, outbox: &Outbox, key: u8, content: u8) {
        let mut wanted = call(&key.to_string());
        wanted.params = content.to_string();
        let got = outbox.enqueue(wanted, &BOUNDS, at(self.now));
        let now = self.now;
        if let Some(known) = self.entries.iter_mut().find(|known| known.key == key) {
            if known.content != content {
                assert!(matches!(got, Err(EnqueueError::Conflict)));
                return;
            }
            if known.state == State::Dead {
                (known.state, known.since, known.next) = (State::Waiting, now, now);
            }
            let got = got.unwrap();
            assert_eq!((got.id, got.state, got.new), (known.id, known.state, false));
            return;
        }
        if self.entries.len() >= 4 {
            let done = self.entries.iter().enumerate().filter(|(_, known)| known.state == State::Done);
            let Some((first, _)) = done.min_by_key(|(index, known)| (known.finished, *index)) else {
                assert!(matches!(got, Err(EnqueueError::Full { entries: 4, .. })));
                return;
            };
            self.entries.remove(first);
        }
        let id = got.unwrap().id;
        let state = State::Waiting;
        self.entries.push(Known { id, key, content, state, since: now, next: now, tries: 0, finished: 0 });
    }

    fn claim(&mut self, outbox: &Outbox, max: u32) {
        let now = self.now;
        let due = self.entries.iter_mut().filter(|known| known.state == State::Waiting && known.next <= now);
        let mut wanted = Vec::new();
        for known in due.take(max as usize) {
            (known.state, known.tries) = (State::Running, known.tries + 1);
            wanted.push(known.id);
        }
        let got = outbox.claim(place("o"), max, at(now)).unwrap();
        assert_eq!(got.iter().map(|entry| entry.id).collect::<Vec<_>>(), wanted);
    }

    /// The entry that a step is about, and whether it runs.
    fn pick(&mut self, index: usize) -> Option<(&mut Known, bool)> {
        let known = self.entries.get_mut(index)?;
        let running = known.state == State::Running;
        Some((known, running))
    }

    fn apply(&mut self, outbox: &Outbox, step: &Step) {
        let now = self.now;
        match *step {
            Step::Enqueue { key, content } => self.enqueue(outbox, key, content),
            Step::Claim { max } => self.claim(outbox, max),
            Step::Finish { at: index, done } => {
                let Some((known, running)) = self.pick(index) else { return };
                let ending = if done {
                    Ending::Done(answer(b"yes"))
                } else {
                    Ending::Dead { error: "no".into(), answer: None }
                };
                assert_eq!(outbox.finish(known.id, ending, at(now)).unwrap(), running);
                if running {
                    known.state = if done { State::Done } else { State::Dead };
                    known.finished = now;
                }
            }
            Step::Later { at: index, wait } => {
                let Some((known, running)) = self.pick(index) else { return };
                let got =
                    outbox.retry_later(known.id, "503".into(), at(now + wait), &BOUNDS, at(now)).unwrap();
                if running {
                    let old = known.since + 20 <= now;
                    known.state = if old { State::Dead } else { State::Waiting };
                    (known.next, known.finished) = (now + wait, if old { now } else { known.finished });
                }
                assert_eq!(got, running.then_some(known.state));
            }
            Step::PutBack { at: index } => {
                let Some((known, running)) = self.pick(index) else { return };
                assert_eq!(outbox.put_back(known.id, at(now)).unwrap(), running);
                if running {
                    (known.state, known.next, known.tries) = (State::Waiting, now, known.tries - 1);
                }
            }
            Step::Retry { at: index } => {
                let Some((known, _)) = self.pick(index) else { return };
                outbox.retry(known.id, at(now)).unwrap();
                if matches!(known.state, State::Waiting | State::Dead) {
                    (known.state, known.since, known.next) = (State::Waiting, now, now);
                }
            }
            Step::Remove { at: index } => {
                let Some((known, running)) = self.pick(index) else { return };
                outbox.remove(known.id).unwrap();
                if !running {
                    self.entries.remove(index);
                }
            }
            Step::Tidy => {
                outbox.tidy(&BOUNDS, at(now)).unwrap();
                for known in &mut self.entries {
                    if known.state == State::Waiting && known.since + 20 <= now {
                        (known.state, known.finished) = (State::Dead, now);
                    }
                }
                self.entries.retain(|known| !known.state.is_final() || known.finished + 50 > now);
            }
            Step::Pass { seconds } => self.now += seconds,
            Step::Reopen => {}
        }
    }

    /// What an open does to what was running.
    fn reopened(&mut self) {
        for known in self.entries.iter_mut().filter(|known| known.state == State::Running) {
            (known.state, known.next) = (State::Waiting, self.now);
        }
    }

    fn compare(&self, outbox: &Outbox) {
        let page = outbox.list(None, None, 100).unwrap();
        let got: Vec<_> = page.entries.iter().map(|entry| (entry.id, entry.state, entry.tries)).collect();
        let wanted: Vec<_> = self.entries.iter().map(|known| (known.id, known.state, known.tries)).collect();
        assert_eq!(got, wanted);
        for state in State::ALL {
            let levels = outbox.levels();
            let shown: u64 =
                levels.iter().filter(|level| level.state == state).map(|level| level.entries).sum();
            assert_eq!(shown, self.entries.iter().filter(|known| known.state == state).count() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_history_ends_as_in_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let mut outbox = Outbox::open(&path, at(0)).unwrap();
        let mut model = Model::default();
        for step in &steps {
            if matches!(step, Step::Reopen) {
                drop(outbox);
                outbox = Outbox::open(&path, at(model.now)).unwrap();
                model.reopened();
            }
            model.apply(&outbox, step);
            model.compare(&outbox);
        }
    }
}
