//! Several parts in one budget: what they may send together, who waits, and what happens without the source.

use std::num::NonZeroU32;

use parking_lot::Mutex as Lock;
use proptest::prelude::*;
use tokio::task::yield_now;

use super::hand::TERM;
use super::*;
use crate::clock::TokioClock;
use crate::rate_limit::RateWindow;
use crate::spawn::TokioSpawn;

const SECOND: Duration = Duration::from_secs(1);
const ANSWERS: Duration = Duration::from_millis(50);
const ONE: Demand = Demand { cost: NonZeroU32::MIN, priority: Priority::Normal };

/// One GCRA for all, in memory: what a server's script does.
#[derive(Clone)]
struct Server(Arc<Lock<State>>);

struct State {
    interval: Duration,
    burst: u32,
    reserved: u32,
    full_at: Instant,
    away: bool,
    /// How long an answer takes.
    takes: Duration,
    questions: usize,
}

impl Server {
    fn new(config: &RateLimiterConfig) -> Self {
        let window = config.windows[0];
        Self(Arc::new(Lock::new(State {
            interval: window.window / window.requests.get(),
            burst: window.burst.get(),
            reserved: (f64::from(window.burst.get()) * config.reserve) as u32,
            full_at: TokioClock.now(),
            away: false,
            takes: Duration::ZERO,
            questions: 0,
        })))
    }

    fn part(&self, config: &RateLimiterConfig) -> Arc<SharedBudget> {
        SharedBudget::new(self.clone(), config, ANSWERS, Arc::new(TokioClock), Arc::new(TokioSpawn))
    }

    fn decide(&self, request: TokenRequest) -> Portion {
        let mut state = self.0.lock();
        state.questions += 1;
        if state.away {
            return Portion::Away;
        }
        let now = TokioClock.now();
        let full_at = state.full_at.max(now);
        let reserved = if request.priority == Priority::High { 0 } else { state.reserved };
        let slack = state.interval * (state.burst - reserved);
        let debt = full_at - now;
        let room = slack.saturating_sub(debt).as_nanos() / state.interval.as_nanos();
        let granted = (room as u64).min(request.most);
        if granted < request.least {
            let least = state.interval * u32::try_from(request.least).unwrap();
            return Portion::Refused {
                retry_after: (debt + least).saturating_sub(slack),
                by: LimitedBy::Budget,
            };
        }
        state.full_at = full_at + state.interval * u32::try_from(granted).unwrap();
        Portion::Granted(granted)
    }
}

impl TokenSource for Server {
    fn take(&self, request: TokenRequest) -> Pin<Box<dyn Future<Output = Portion> + Send + '_>> {
        Box::pin(async move {
            let takes = self.0.lock().takes;
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            self.decide(request)
        })
    }

    fn is_away(&self) -> bool {
        self.0.lock().away
    }
}

/// A server whose answers do not come.
struct Silent(Server);

impl TokenSource for Silent {
    fn take(&self, _: TokenRequest) -> Pin<Box<dyn Future<Output = Portion> + Send + '_>> {
        Box::pin(async {
            tokio::time::sleep(ANSWERS).await;
            self.0.0.lock().questions += 1;
            Portion::Away
        })
    }

    fn is_away(&self) -> bool {
        false
    }
}

fn config(requests: u32, window: Duration, burst: u32) -> RateLimiterConfig {
    let some = |n| NonZeroU32::new(n).unwrap();
    RateLimiterConfig {
        windows: vec![RateWindow { requests: some(requests), window, burst: some(burst) }],
        reserve: 0.0,
    }
}

async fn at_once(part: &Arc<SharedBudget>) -> bool {
    part.acquire(ONE, Duration::ZERO, None).await.is_ok()
}

#[test]
fn small_budgets_have_nothing_in_hand_and_large_ones_a_fraction() {
    assert_eq!(spare(&config(10, SECOND, 10)), 0);
    assert_eq!(spare(&config(100, SECOND, 100)), 0);
    assert_eq!(spare(&config(1000, SECOND, 1000)), 31);
    assert_eq!(spare(&config(60_000, 60 * SECOND, 60_000)), 100);
    assert_eq!(spare(&config(1_000_000, SECOND, 1_000_000)), 1024);
    assert_eq!(spare(&RateLimiterConfig::default()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_small_budget_is_shared_to_the_token() {
    let config = config(10, SECOND, 10);
    let server = Server::new(&config);
    let parts = [server.part(&config), server.part(&config)];
    let mut went = 0;
    for turn in 0..40 {
        went += usize::from(at_once(&parts[turn % 2]).await);
    }
    assert_eq!(went, 10);
    let refused = parts[0].acquire(ONE, Duration::ZERO, None).await;
    assert_eq!(refused, Err(Limited { retry_after: SECOND / 10, by: LimitedBy::Budget }));
    let questions = server.0.lock().questions;
    assert!(!at_once(&parts[0]).await);
    assert_eq!(server.0.lock().questions, questions, "a refusal is remembered");
    tokio::time::advance(SECOND / 10).await;
    assert!(at_once(&parts[1]).await && !at_once(&parts[0]).await);
}

#[tokio::test(start_paused = true)]
async fn a_large_budget_is_asked_for_ahead_of_need() {
    let config = config(1000, SECOND, 1000);
    let server = Server::new(&config);
    let part = server.part(&config);
    for _ in 0..310 {
        assert!(at_once(&part).await);
        yield_now().await;
    }
    let questions = server.0.lock().questions;
    assert!((10..=32).contains(&questions), "{questions} questions for 310 calls");
}

#[tokio::test(start_paused = true)]
async fn who_may_wait_goes_in_order_when_the_time_has_come() {
    let config = config(10, SECOND, 1);
    let server = Server::new(&config);
    let part = server.part(&config);
    assert!(at_once(&part).await);
    let since = TokioClock.now();
    let order = Arc::new(Lock::new(Vec::new()));
    let mut calls = Vec::new();
    for number in 0..3 {
        let (part, order) = (Arc::clone(&part), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            part.acquire(ONE, 10 * SECOND, None).await.unwrap();
            order.lock().push((number, TokioClock.now().duration_since(since).as_millis() / 100));
        }));
        yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*order.lock(), [(0, 1), (1, 2), (2, 3)]);
    let late = part.acquire(ONE, 10 * SECOND, Some(TokioClock.now() + SECOND / 20)).await;
    assert!(late.is_err(), "the deadline comes first");
}

#[tokio::test(start_paused = true)]
async fn one_question_asks_for_all_who_wait() {
    let config = config(1000, SECOND, 100);
    let server = Server::new(&config);
    server.0.lock().takes = ANSWERS * 4 / 5;
    let part = server.part(&config);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let part = Arc::clone(&part);
            tokio::spawn(async move { part.acquire(ONE, Duration::ZERO, None).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(Drawn::Granted), "nobody is refused for having to ask");
    }
    assert!(server.0.lock().questions <= 2);
}

#[tokio::test(start_paused = true)]
async fn without_the_source_every_call_goes_on() {
    let config = config(1, SECOND, 1);
    let server = Server::new(&config);
    let part = server.part(&config);
    server.0.lock().away = true;
    for _ in 0..100 {
        assert_eq!(part.acquire(ONE, Duration::ZERO, None).await, Ok(Drawn::Alone));
        assert_eq!(part.try_acquire(ONE, TokioClock.now()), Some(Drawn::Alone));
    }
    server.0.lock().away = false;
    assert!(at_once(&part).await);
    assert!(!at_once(&part).await, "it counts again as soon as it is back");
    assert_eq!(part.try_acquire(ONE, TokioClock.now()), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_refused_binds_nobody_once_it_is_away() {
    let config = config(1, Duration::from_secs(3600), 1);
    let server = Server::new(&config);
    let part = server.part(&config);
    assert!(at_once(&part).await);
    assert!(!at_once(&part).await);
    server.0.lock().away = true;
    assert_eq!(part.acquire(ONE, Duration::ZERO, None).await, Ok(Drawn::Alone));
    server.0.lock().away = false;
    assert!(!at_once(&part).await);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_answer_stops_nobody() {
    let config = config(1, SECOND, 1);
    let server = Server::new(&config);
    let silent = Silent(server.clone());
    let part = SharedBudget::new(silent, &config, ANSWERS, Arc::new(TokioClock), Arc::new(TokioSpawn));
    let since = TokioClock.now();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let part = Arc::clone(&part);
            tokio::spawn(async move { part.acquire(ONE, Duration::ZERO, None).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(Drawn::Alone));
    }
    assert!(TokioClock.now().duration_since(since) <= 2 * ANSWERS);
    assert_eq!(server.0.lock().questions, 1, "one question is enough to know");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_lapses_and_what_is_given_back_can_be_used() {
    let config = config(1, 60 * SECOND, 1);
    let server = Server::new(&config);
    let part = server.part(&config);
    assert!(at_once(&part).await);
    part.give_back(ONE, TokioClock.now());
    assert!(at_once(&part).await);
    part.give_back(ONE, TokioClock.now());
    tokio::time::advance(TERM).await;
    assert!(!at_once(&part).await);
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_for_high_priority() {
    let mut config = config(10, SECOND, 10);
    config.reserve = 0.3;
    let server = Server::new(&config);
    let part = server.part(&config);
    let mut went = 0;
    while at_once(&part).await {
        went += 1;
    }
    assert_eq!(went, 7);
    let high = ONE.at(Priority::High);
    for _ in 0..3 {
        assert_eq!(part.acquire(high, Duration::ZERO, None).await, Ok(Drawn::Granted));
    }
    assert!(part.acquire(high, Duration::ZERO, None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_reserve_gives_is_not_for_those_who_wait() {
    let mut config = config(10, SECOND, 10);
    config.reserve = 0.3;
    let server = Server::new(&config);
    let part = server.part(&config);
    while at_once(&part).await {}
    let patient = Arc::clone(&part);
    let waiting = tokio::spawn(async move { patient.acquire(ONE, 10 * SECOND, None).await });
    yield_now().await;
    assert!(part.acquire(ONE.at(Priority::High), Duration::ZERO, None).await.is_ok());
    assert!(!at_once(&part).await, "nothing of the reserve is in hand");
    assert_eq!(waiting.await.unwrap(), Ok(Drawn::Granted));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_to_a_heavy_call_is_not_refused_to_a_light_one() {
    let config = config(10, SECOND, 10);
    let server = Server::new(&config);
    let part = server.part(&config);
    let heavy = Demand { cost: NonZeroU32::new(8).unwrap(), ..ONE };
    assert!(part.acquire(heavy, Duration::ZERO, None).await.is_ok());
    assert!(part.acquire(heavy, Duration::ZERO, None).await.is_err());
    let questions = server.0.lock().questions;
    assert!(part.acquire(heavy, Duration::ZERO, None).await.is_err());
    assert_eq!(server.0.lock().questions, questions, "it is remembered for its like");
    assert!(at_once(&part).await && at_once(&part).await && !at_once(&part).await);
}

#[test]
fn a_hold_concerns_calls_of_every_cost() {
    let now = Instant::now();
    let mut hand = Hand::empty(now);
    let heavy = Demand { cost: NonZeroU32::new(8).unwrap(), ..ONE };
    hand.refuse(heavy, SECOND, LimitedBy::Hold, now);
    assert_eq!(hand.refusal(ONE, now), Some((now + SECOND, LimitedBy::Hold)));
    assert_eq!(hand.refusal(ONE, now + SECOND), None);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_is_not_asked_for() {
    let config = config(10, SECOND, 1);
    let server = Server::new(&config);
    let part = server.part(&config);
    assert!(at_once(&part).await);
    for _ in 0..5 {
        let gone = part.acquire(ONE, 10 * SECOND, None);
        assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
    }
    assert_eq!(part.wanted.load(Ordering::Relaxed), 0);
    assert!(part.acquire(ONE, SECOND, None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_for_calls_that_leave_is_let_go_of() {
    let config = config(100, SECOND, 100);
    let server = Server::new(&config);
    server.0.lock().takes = ANSWERS / 2;
    let part = server.part(&config);
    let call = || {
        let part = Arc::clone(&part);
        tokio::spawn(async move { part.acquire(ONE, SECOND, None).await })
    };
    // The first asks for itself, the second then for all of them.
    let calls: Vec<_> = (0..50).map(|_| call()).collect();
    tokio::time::sleep(ANSWERS * 3 / 4).await;
    for call in &calls[2..] {
        call.abort();
    }
    for call in calls.into_iter().take(2) {
        assert_eq!(call.await.unwrap(), Ok(Drawn::Granted));
    }
    assert_eq!(server.0.lock().questions, 2);
    assert_eq!(
        part.try_acquire(ONE, TokioClock.now()),
        None,
        "nothing is in hand: the budget is a small one"
    );
}

#[test]
fn what_comes_later_makes_nothing_last_longer() {
    let now = Instant::now();
    let mut hand = Hand::empty(now);
    hand.put(5, now);
    hand.put(3, now + TERM / 2);
    hand.put(1, now + TERM * 3 / 4);
    assert_eq!(hand.take(2, now + TERM * 3 / 4), Some(7));
    assert_eq!(hand.take(0, now + TERM), Some(4));
    hand.put(2, now + TERM);
    hand.keep(5, now + TERM);
    assert_eq!(hand.take(6, now + TERM), None);
    assert_eq!(hand.take(0, now + TERM * 3 / 2), Some(2));
    assert_eq!(hand.take(0, now + TERM * 2), Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever arrives where, and leaves when: in every span, all parts together send no more than the budget allows and
    /// what each may have had in hand.
    #[test]
    fn parts_together_keep_to_the_budget(
        requests in 5u32..2000,
        burst in 1u32..600,
        takes in 0u64..40,
        arrivals in prop::collection::vec(
            (prop_oneof![9 => 0u64..2, 1 => 0u64..400], 0usize..3, 1u32..4, 0u64..200, 0u64..120),
            1..400,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let config = config(requests, SECOND, burst);
            let server = Server::new(&config);
            server.0.lock().takes = Duration::from_millis(takes);
            let parts: Vec<_> = (0..3).map(|_| server.part(&config)).collect();
            let start = TokioClock.now();
            let sent = Arc::new(Lock::new(Vec::new()));
            let mut calls = tokio::task::JoinSet::new();
            for (step, part, cost, max_wait, leaves) in arrivals {
                tokio::time::sleep(Duration::from_millis(step)).await;
                let demand = Demand { cost: NonZeroU32::new(cost).unwrap(), ..ONE };
                let (part, sent) = (Arc::clone(&parts[part]), Arc::clone(&sent));
                let max_wait = Duration::from_millis(max_wait);
                calls.spawn(tokio::time::timeout(Duration::from_millis(leaves), async move {
                    if part.acquire(demand, max_wait, None).await == Ok(Drawn::Granted) {
                        sent.lock().push((TokioClock.now().duration_since(start), u64::from(cost)));
                    }
                }));
                yield_now().await;
            }
            while calls.join_next().await.is_some() {}
            let sent = sent.lock();
            // A call that costs more than is in hand leaves that there while it asks: two of its three tokens.
            let ahead = 3 * (u64::from(spare(&config)) + 2);
            for (first, (from, _)) in sent.iter().enumerate() {
                let mut total = 0;
                for (to, cost) in &sent[first..] {
                    total += cost;
                    let allowed = f64::from(burst) + f64::from(requests) * (*to - *from).as_secs_f64();
                    assert!(total as f64 <= allowed + ahead as f64 + 1e-6, "{total} of {allowed} and {ahead}");
                }
            }
        });
    }
}
