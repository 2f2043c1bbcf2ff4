//! Fairness, order of eviction and accounts, with values that are nothing but a weight and an owner.

use proptest::prelude::*;

use super::*;
use crate::key::KeyBuilder;

#[derive(Clone, Debug, PartialEq)]
struct Load(&'static str, u64);

impl Occupant for Load {
    fn weight(&self) -> u64 {
        self.1
    }

    fn owner(&self) -> &str {
        self.0
    }
}

fn key(owner: &str, index: usize) -> Key {
    KeyBuilder::new(owner, "o").field("index", &index.to_be_bytes()).finish()
}

fn put(space: &Space<Load>, owner: &'static str, index: usize, weight: u64) {
    space.edit(&key(owner, index), |_| Edit::Put(Load(owner, weight)));
}

fn held(space: &Space<Load>, owner: &str, index: usize) -> bool {
    space.read(&key(owner, index), |_| ()).is_some()
}

/// The tickets of an owner, and how much memory his queues have.
fn tickets(space: &Space<Load>, owner: &str) -> usize {
    space.ledger.lock().shares.get(owner).map_or(0, Share::tickets)
}

#[test]
fn whoever_holds_the_most_gives_way() {
    let space = Space::new(1000);
    (0..10).for_each(|index| put(&space, "small", index, 10));
    (0..90).for_each(|index| put(&space, "large", index, 10));
    assert_eq!(space.holdings().bytes, 1000);
    // A third one's entries push out those of the largest until all are within a third.
    (0..200).for_each(|index| put(&space, "new", index, 10));
    assert_eq!(space.holdings_of("small").bytes, 100);
    assert_eq!(space.holdings_of("large").bytes, 450);
    assert_eq!(space.holdings_of("new").bytes, 450);
    assert!((0..10).all(|index| held(&space, "small", index)));
}

#[test]
fn what_is_asked_for_again_outlives_what_is_not() {
    let space = Space::new(10_000);
    (0..20).for_each(|index| put(&space, "a", index, 100));
    assert!((0..20).all(|index| held(&space, "a", index)));
    (1_000..3_000).for_each(|index| put(&space, "a", index, 100));
    assert!((0..20).all(|index| held(&space, "a", index)), "a flood pushed out what was in use");
}

#[test]
fn what_comes_back_after_it_was_given_up_goes_to_the_better_queue() {
    let space = Space::new(1_000);
    // 30 keys in turn: a queue would have given up each of them by the time that it comes again.
    for round in 0..40 {
        for index in 0..30 {
            if !held(&space, "a", index) {
                put(&space, "a", index, 50);
            } else if round > 20 {
                return;
            }
        }
    }
    panic!("nothing of a cycle larger than the space is ever held");
}

#[test]
fn a_value_that_is_put_again_keeps_its_place_and_changes_its_weight() {
    let space = Space::new(1_000);
    for weight in [100, 900, 10] {
        put(&space, "a", 1, weight);
        assert_eq!(space.holdings(), Holdings { entries: 1, bytes: weight, evictions: 0 });
    }
    assert_eq!(tickets(&space, "a"), 1);
}

#[test]
fn what_is_heavier_than_everything_is_not_kept() {
    let space = Space::new(1_000);
    put(&space, "a", 1, 10);
    put(&space, "b", 1, 1_001);
    assert!(!held(&space, "b", 1) && space.holdings().bytes <= 1_000);
}

#[test]
fn a_key_can_change_its_owner() {
    let space = Space::new(1_000);
    let shared = key("a", 1);
    space.edit(&shared, |_| Edit::Put(Load("a", 10)));
    space.edit(&shared, |_| Edit::Put(Load("b", 20)));
    assert_eq!((space.holdings_of("a").bytes, space.holdings_of("b").bytes), (0, 20));
    assert_eq!(space.holdings().entries, 1);
}

#[test]
fn an_edit_sees_what_is_there() {
    let space = Space::new(1_000);
    put(&space, "a", 1, 10);
    space.edit(&key("a", 1), |value| {
        assert_eq!(value, Some(&Load("a", 10)));
        Edit::Leave
    });
    assert!(held(&space, "a", 1));
    space.edit(&key("a", 1), |_| Edit::Remove);
    assert!(!held(&space, "a", 1));
    space.edit(&key("a", 1), |value| {
        assert_eq!(value, None);
        Edit::Remove
    });
    assert_eq!(space.holdings(), Holdings::default());
}

#[test]
fn removed_keys_leave_no_tickets_to_pile_up() {
    let space = Space::new(1 << 20);
    (0..100).for_each(|index| put(&space, "a", index, 10));
    for round in 0..10_000 {
        put(&space, "a", 1_000 + round, 10);
        space.edit(&key("a", 1_000 + round), |_| Edit::Remove);
        assert!(tickets(&space, "a") <= 2 * 100 + 2, "{}", tickets(&space, "a"));
    }
    assert_eq!(space.holdings().entries, 100);
}

#[test]
fn a_sweep_edits_what_matches_and_forgets_empty_owners() {
    let space = Space::new(1 << 20);
    (0..50).for_each(|index| put(&space, "a", index, 10));
    (0..50).for_each(|index| put(&space, "b", index, if index % 2 == 0 { 20 } else { 30 }));
    space.sweep(
        |load| load.0 == "a" || load.1 == 20,
        |load| if load.0 == "a" { Edit::Remove } else { Edit::Put(Load("b", 5)) },
    );
    assert_eq!(space.holdings(), Holdings { entries: 50, bytes: 25 * 30 + 25 * 5, evictions: 0 });
    assert_eq!(space.ledger.lock().shares.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize, u64),
    Read(usize, usize),
    Remove(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, index) = (0_usize..3, 0_usize..20);
    prop_oneof![
        3 => (owner.clone(), index.clone(), 1_u64..600).prop_map(|(owner, index, weight)| Step::Put(owner, index, weight)),
        2 => (owner.clone(), index.clone()).prop_map(|(owner, index)| Step::Read(owner, index)),
        1 => (owner, index).prop_map(|(owner, index)| Step::Remove(owner, index)),
    ]
}

proptest! {
    /// Whatever is done: the accounts agree with the map, the bound holds, and nobody within his part loses anything.
    #[test]
    fn accounts_agree_and_the_part_of_each_is_his_own(steps in prop::collection::vec(step(), 1..100)) {
        const OWNERS: [&str; 3] = ["a", "b", "c"];
        let space = Space::new(3_000);
        for step in steps {
            let before = OWNERS.map(|owner| space.holdings_of(owner));
            match step {
                Step::Put(owner, index, weight) => put(&space, OWNERS[owner], index, weight),
                Step::Read(owner, index) => {
                    held(&space, OWNERS[owner], index);
                }
                Step::Remove(owner, index) => space.edit(&key(OWNERS[owner], index), |_| Edit::Remove),
            }
            let all = space.holdings();
            prop_assert!(all.bytes <= 3_000);
            for (owner, before) in OWNERS.iter().zip(before) {
                let weighed: u64 = (0..20).filter_map(|index| space.shards.of(&key(owner, index)).read().get(&key(owner, index)).map(|place| place.value.1)).sum();
                let now = space.holdings_of(owner);
                prop_assert_eq!(now.bytes, weighed);
                // The weight that is put counts towards the part of whoever puts it.
                prop_assert!(before.bytes > 1_000 - 600 || now.evictions == before.evictions || now.bytes + 600 > 1_000);
            }
            let sum: u64 = OWNERS.iter().map(|owner| space.holdings_of(owner).bytes).sum();
            prop_assert_eq!(all.bytes, sum);
        }
    }
}
