//! The virtual world itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::clock::{Clock, Random};
use crate::outcome::Outcome;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn time_jumps_from_timer_to_timer_and_stands_still_between() {
    let mut simulation = Simulation::new(Instant::now());
    let seen = Rc::new(RefCell::new(Vec::new()));
    for (name, wait) in [("late", 86_400), ("soon", 1), ("sooner", 0), ("soon too", 1)] {
        let (clock, seen) = (simulation.clock(), Rc::clone(&seen));
        simulation.spawn(async move {
            clock.sleep(Duration::from_secs(wait)).await;
            seen.borrow_mut().push((name, clock.elapsed().as_secs()));
        });
    }
    assert_eq!(simulation.run(), 0);
    assert_eq!(*seen.borrow(), [("sooner", 0), ("soon", 1), ("soon too", 1), ("late", 86_400)]);
}

#[test]
fn tasks_add_tasks_and_what_waits_for_nothing_is_told() {
    let mut simulation = Simulation::new(Instant::now());
    let (spawner, clock, count) = (simulation.spawner(), simulation.clock(), Rc::new(RefCell::new(0)));
    let counted = Rc::clone(&count);
    simulation.spawn(async move {
        for _ in 0..10_000 {
            let (mine, count) = (clock.clone(), Rc::clone(&counted));
            spawner.spawn(async move {
                mine.sleep(SECOND).await;
                *count.borrow_mut() += 1;
            });
            clock.sleep(SECOND).await;
        }
    });
    simulation.spawn(std::future::pending());
    assert_eq!(simulation.run(), 1, "one waits for ever");
    assert_eq!(*count.borrow(), 10_000);
    assert_eq!(simulation.clock().elapsed(), 10_000 * SECOND);
}

#[test]
fn a_timer_that_was_given_up_moves_no_time() {
    let mut simulation = Simulation::new(Instant::now());
    let clock = simulation.clock();
    simulation.spawn(async move {
        tokio::select! {
            () = clock.sleep(1000 * SECOND) => {}
            () = clock.sleep(SECOND) => {}
        }
    });
    simulation.run();
    assert_eq!(simulation.clock().elapsed(), SECOND);
}

#[test]
fn chance_is_decided_by_its_seed() {
    let draw = |seed| {
        let random = Seeded::new(seed);
        (0..1000).map(|_| random.unit()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let mean = draw(3).iter().sum::<f64>() / 1000.0;
    assert!((0.45..0.55).contains(&mean), "{mean}");
    assert!(draw(4).iter().all(|unit| (0.0..1.0).contains(unit)));
}

#[test]
fn a_provider_follows_its_script_and_counts_its_quota_by_windows() {
    let quota = Quota { limit: 2, window: 10 * SECOND, reports: true, retry_after: true };
    let script = Script::new()
        .then(100 * SECOND, Behaviour { quota: Some(quota), ..Behaviour::default() })
        .then(50 * SECOND, Behaviour::failing(Failure::Reset));
    let mut simulation = Simulation::new(Instant::now());
    let clock = simulation.clock();
    let provider = Provider::new(script, clock.clone(), Arc::new(Seeded::new(1)));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (task, answers) = (Arc::clone(&provider), Rc::clone(&seen));
    simulation.spawn(async move {
        for at in [0, 60, 100, 101, 102, 110] {
            clock.sleep_until(clock.at(Duration::from_secs(at))).await;
            let answer = task.call().await;
            answers.borrow_mut().push(answer);
        }
    });
    simulation.run();
    let seen = seen.borrow();
    assert_eq!(seen[0].outcome, Outcome::Success);
    assert_eq!(seen[1].outcome, Outcome::TRANSIENT);
    let left: Vec<_> = seen[2..].iter().map(|answer| answer.quota.unwrap().0).collect();
    assert_eq!(left, [1, 0, 0, 1]);
    let Outcome::Throttled { retry_after: Some(wait) } = seen[4].outcome else { panic!("{:?}", seen[4]) };
    assert_eq!(wait, 8 * SECOND);
    assert_eq!((provider.calls(), provider.throttled(), provider.busiest()), (6, 1, 1));
}
