//! A million histories of calls that overlap, in a tight loop: what must hold whatever the order.
//!
//! The reference model proves that each step does the right thing; this proves by sheer number that no order of steps
//! breaks what a dependency relies on. It is told by the permits alone, not by what the breaker says of itself: in no
//! half-open phase are more probes out at a time than allowed, and whoever is let through while the circuit is not
//! closed is a probe.

use std::num::NonZeroU32;

use super::*;

/// Steps per history: enough to trip, wait, probe, lose and reopen.
const STEPS: u32 = 10;

/// xorshift64*: small, fast, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }

    fn below_len(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// What the histories have reached, so that a test that tests nothing is noticed.
#[derive(Default)]
struct Reached {
    probes: u64,
    most_out: usize,
    refused: u64,
    closed_again: u64,
    expired: u64,
}

fn explore(probes: u32, max_half_open: Option<Duration>, histories: u32, seed: u64) -> Reached {
    let config = BreakerConfig {
        trip: Trip::Consecutive { failures: NonZeroU32::MIN },
        reset_after: Duration::from_secs(2),
        half_open_probes: NonZeroU32::new(probes).unwrap(),
        half_open_successes: NonZeroU32::new(2).unwrap(),
        max_half_open,
        ..BreakerConfig::default()
    };
    let breaker = Breaker::new(config, |_| ());
    let mut dice = Dice(seed);
    let mut now = Instant::now();
    let mut reached = Reached::default();
    let mut out: Vec<(Permit<&Breaker>, u64)> = Vec::new();
    let mut settled: Vec<Settled<&Breaker>> = Vec::new();
    for _ in 0..histories {
        // Each history begins with a circuit that has tripped; permits of older ones may still be out.
        breaker.reset(now);
        breaker.enter(now, 0.5).unwrap().failure(now, Duration::ZERO, 0.5);
        now += Duration::from_secs(2);
        for _ in 0..STEPS {
            let chosen = dice.below_len(out.len().max(1));
            match dice.below(16) {
                0..=6 => match breaker.enter(now, 0.5) {
                    Ok(permit) => {
                        let generation = breaker.snapshot(now).generation;
                        assert_eq!(permit.is_probe(), breaker.state(now) == State::HalfOpen);
                        reached.probes += u64::from(permit.is_probe());
                        out.push((permit, generation));
                        // Permits tell by their generation which half-open phase they belong to.
                        let of_phase =
                            |(permit, of): &&(Permit<&Breaker>, u64)| permit.is_probe() && *of == generation;
                        let together = out.iter().filter(of_phase).count();
                        assert!(together <= probes as usize, "{together} probes out");
                        reached.most_out = reached.most_out.max(together);
                    }
                    Err(refused) => {
                        assert_ne!(refused.state, State::Closed);
                        reached.refused += 1;
                    }
                },
                7..=9 if !out.is_empty() => {
                    let before = breaker.state(now);
                    settled.push(out.swap_remove(chosen).0.success(now, Duration::ZERO, 0.5));
                    let closed = before == State::HalfOpen && breaker.state(now) == State::Closed;
                    reached.closed_again += u64::from(closed);
                }
                10 if !out.is_empty() => {
                    settled.push(out.swap_remove(chosen).0.failure(now, Duration::ZERO, 0.5))
                }
                11 if !out.is_empty() => settled.push(out.swap_remove(chosen).0.neutral(now)),
                12 if !out.is_empty() => drop(out.swap_remove(chosen)),
                13 => drop(settled.pop().map(|settled| settled.late_failure(now, 0.5))),
                14 => {
                    let before = breaker.snapshot(now);
                    now += Duration::from_millis(dice.below(2_500));
                    let expired = before.state == State::HalfOpen && breaker.state(now) == State::Open;
                    reached.expired += u64::from(expired);
                }
                _ => {}
            }
        }
        settled.truncate(4);
        if out.len() > 8 {
            out.clear();
        }
    }
    reached
}

fn check(probes: u32, max_half_open: Option<Duration>, seed: u64) {
    const HISTORIES: u32 = 250_000;
    let reached = explore(probes, max_half_open, HISTORIES, seed);
    assert_eq!(reached.most_out, probes as usize, "as many as are allowed do go out together");
    let seldom = u64::from(HISTORIES) / 100;
    assert!(reached.probes > u64::from(HISTORIES), "{} probes", reached.probes);
    assert!(reached.refused > seldom && reached.closed_again > seldom, "a history that goes nowhere");
    assert_eq!(reached.expired > seldom, max_half_open.is_some());
}

#[test]
fn no_history_has_more_than_its_one_probe_out() {
    check(1, None, 0x9E37_79B9_7F4A_7C15);
}

#[test]
fn no_history_has_more_than_its_one_probe_out_when_half_open_expires() {
    check(1, Some(Duration::from_secs(1)), 0xD1B5_4A32_D192_ED03);
}

#[test]
fn no_history_has_more_than_its_three_probes_out() {
    check(3, None, 0x8CB9_2BA7_2F3D_8DD7);
}

#[test]
fn no_history_has_more_than_its_three_probes_out_when_half_open_expires() {
    check(3, Some(Duration::from_secs(1)), 0x2545_F491_4F6C_DD1D);
}
