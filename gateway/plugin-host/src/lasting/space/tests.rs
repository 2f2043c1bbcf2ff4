//! The space beside a model that knows nothing of indices, and its promises one by one.

use std::thread;

use proptest::prelude::*;

use super::*;

const LIMITS: StateLimits = StateLimits { entries: 4, bytes: 64 };

fn place(credential: &str, key: &str) -> Place {
    Place { credential: credential.into(), key: key.into() }
}

/// What was asked for, over a few keys so that operations meet.
#[derive(Debug, Clone)]
enum Operation {
    Get(u8),
    Put { key: u8, size: u8, ttl: Option<u8>, expected: Expected },
    Add { key: u8, delta: i64, ttl: Option<u8> },
    Remove(u8),
    Wait(u8),
}

/// Which version a put asks for.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Any,
    Absent,
    Current,
    Stale,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0..6_u8;
    let ttl = prop::option::of(0..20_u8);
    let expected = prop_oneof![
        3 => Just(Expected::Any),
        1 => Just(Expected::Absent),
        2 => Just(Expected::Current),
        1 => Just(Expected::Stale),
    ];
    prop_oneof![
        key.clone().prop_map(Operation::Get),
        (key.clone(), 0..40_u8, ttl.clone(), expected)
            .prop_map(|(key, size, ttl, expected)| Operation::Put { key, size, ttl, expected }),
        (key.clone(), prop_oneof![-5..5_i64, Just(i64::MAX)], ttl)
            .prop_map(|(key, delta, ttl)| Operation::Add { key, delta, ttl }),
        key.prop_map(Operation::Remove),
        (0..10_u8).prop_map(Operation::Wait),
    ]
}

/// A list of entries, searched and swept whole each time.
#[derive(Default)]
struct Model {
    entries: Vec<(u8, Vec<u8>, u64, Option<u64>)>,
    now: u64,
    versions: u64,
}

impl Model {
    fn find(&self, key: u8) -> Option<&(u8, Vec<u8>, u64, Option<u64>)> {
        self.entries.iter().find(|entry| entry.0 == key)
    }

    fn sweep(&mut self) {
        let now = self.now;
        self.entries.retain(|entry| entry.3.is_none_or(|expires| expires > now));
    }

    fn store(&mut self, key: u8, value: Vec<u8>, expires: Option<u64>) -> Result<u64, Refusal> {
        let others: Vec<_> = self.entries.iter().filter(|entry| entry.0 != key).cloned().collect();
        let bytes: usize = others.iter().map(|entry| 1 + entry.1.len()).sum();
        if others.len() + 1 > LIMITS.entries || bytes + 1 + value.len() > LIMITS.bytes {
            return Err(Refusal::Full);
        }
        self.versions += 1;
        self.entries = others;
        self.entries.push((key, value, self.versions, expires));
        Ok(self.versions)
    }

    fn after(&self, ttl: Option<u8>) -> Option<u64> {
        ttl.map(|ttl| self.now + u64::from(ttl))
    }
}

proptest! {
    #[test]
    fn every_history_is_that_of_a_simple_list(history in prop::collection::vec(operation(), 1..80)) {
        let (space, mut model) = (Space::new(LIMITS), Model::default());
        let start = Instant::now();
        for operation in history {
            let now = start + Duration::from_millis(model.now);
            let at = |key: u8| place("p", &key.to_string());
            let millis = |ttl: Option<u8>| ttl.map(|ttl| Duration::from_millis(ttl.into()));
            model.sweep();
            match operation {
                Operation::Wait(span) => model.now += u64::from(span),
                Operation::Get(key) => {
                    let expected = model.find(key).map(|entry| (entry.1.clone(), entry.2));
                    prop_assert_eq!(space.get(&at(key), now).map(|(v, n)| (v.to_vec(), n)), expected);
                }
                Operation::Remove(key) => {
                    space.remove(&at(key), now);
                    model.entries.retain(|entry| entry.0 != key);
                }
                Operation::Put { key, size, ttl, expected } => {
                    let current = model.find(key).map_or(0, |entry| entry.2);
                    let version = match expected {
                        Expected::Any => None,
                        Expected::Absent => Some(0),
                        Expected::Current => Some(current),
                        Expected::Stale => Some(current + 1),
                    };
                    let value = vec![b'x'; size.into()];
                    let told = match version {
                        Some(version) if version != current => Err(Refusal::Conflict),
                        _ => { let expires = model.after(ttl); model.store(key, value.clone(), expires) }
                    };
                    prop_assert_eq!(space.put(at(key), value.into(), millis(ttl), version, now), told);
                }
                Operation::Add { key, delta, ttl } => {
                    let found = model.find(key).cloned();
                    let number = match &found {
                        None => Some(0),
                        Some(entry) => String::from_utf8_lossy(&entry.1).parse::<i64>().ok(),
                    };
                    let told = match number.and_then(|number| number.checked_add(delta)) {
                        None => Err(Refusal::Conflict),
                        Some(sum) => {
                            let expires = found.map_or(model.after(ttl), |entry| entry.3);
                            model.store(key, sum.to_string().into_bytes(), expires).map(|_| sum)
                        }
                    };
                    prop_assert_eq!(space.add(at(key), delta, millis(ttl), now), told);
                }
            }
            let entries = space.entries.lock();
            let bytes: usize = entries.by_place.iter().map(|(place, entry)| size(place, &entry.value)).sum();
            prop_assert_eq!(entries.bytes, bytes);
            let expiring = entries.by_place.values().filter(|entry| entry.expires.is_some()).count();
            prop_assert_eq!(entries.by_deadline.len(), expiring);
        }
    }
}

#[test]
fn a_swap_counts_every_thread_once() {
    const THREADS: u64 = 4;
    const TURNS: u64 = 500;
    let space = Space::new(StateLimits::default());
    let now = Instant::now();
    let turn = || loop {
        let (value, version) = space.get(&place("p", "sum"), now).unwrap_or((Bytes::from("0"), 0));
        let sum = number(&value).unwrap() + 1;
        if space.put(place("p", "sum"), sum.to_string().into(), None, Some(version), now).is_ok() {
            return;
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..TURNS).for_each(|_| turn()));
            scope.spawn(|| assert!((0..TURNS).all(|_| space.add(place("p", "count"), 1, None, now).is_ok())));
        }
    });
    let all = (THREADS * TURNS) as i64;
    assert_eq!(number(&space.get(&place("p", "sum"), now).unwrap().0), Some(all));
    assert_eq!(space.add(place("p", "count"), 0, None, now), Ok(all));
}

#[test]
fn keys_and_values_are_bounded_and_profiles_apart() {
    let space = Space::new(StateLimits::default());
    let now = Instant::now();
    let put = |key: String, value: usize| space.put(place("p", &key), vec![0; value].into(), None, None, now);
    assert_eq!(put("k".repeat(KEY_BYTES_MAX + 1), 0), Err(Refusal::TooLarge));
    assert_eq!(put("k".into(), VALUE_BYTES_MAX + 1), Err(Refusal::TooLarge));
    assert!(put("k".repeat(KEY_BYTES_MAX), VALUE_BYTES_MAX).is_ok());
    let long = place("p", &"k".repeat(KEY_BYTES_MAX + 1));
    assert_eq!(space.add(long, 1, None, now), Err(Refusal::TooLarge));
    space.put(place("a", "x"), "1".into(), None, None, now).unwrap();
    assert!(space.get(&place("b", "x"), now).is_none());
}

#[test]
fn what_has_expired_makes_room() {
    let space = Space::new(LIMITS);
    let now = Instant::now();
    let ttl = Some(Duration::from_secs(1));
    for key in ["a", "b", "c", "d"] {
        space.put(place("p", key), "x".into(), ttl, None, now).unwrap();
    }
    assert_eq!(space.put(place("p", "e"), "x".into(), None, None, now), Err(Refusal::Full));
    let later = now + Duration::from_secs(1);
    space.put(place("p", "e"), "x".into(), None, None, later).unwrap();
    let entries = space.entries.lock();
    assert_eq!((entries.by_place.len(), entries.by_deadline.len(), entries.bytes), (1, 0, 2));
}
