//! Budgets that gateways have together: the script that keeps them, and what calls take from it.
//!
//! The script is the generic cell rate algorithm in the time of the server, so that the gateways' clocks do not matter.
//! One key per budget holds, per window, the time at which its bucket is full again; it is gone when all are. A budget
//! whose provider asked to wait gives nothing until then.

use super::{Peers, key, millis};
use crate::{
    config::RateLimit,
    pipeline::{mechanisms, quota::Quotas},
};
use bascule_resilience::{
    Demand, Drawn, Limited, LimitedBy, Portion, Priority, RateLimiterConfig, SharedBudget, TokenRequest,
    TokenSource, TokioSpawn,
};
use bascule_shared::{Reply, Script};
use parking_lot::Mutex;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// KEYS: the budget, the hold. ARGV: least, most, the milliseconds that a hold may last, then per window the microseconds
/// between two tokens, the burst, and how much of it is reserved. A hold that would last longer is made shorter. Answers with what is granted and, for nothing, the microseconds to wait and whether it is the
/// provider's hold.
const TAKE: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('PTTL', KEYS[2])
if held > tonumber(ARGV[3]) then
  held = tonumber(ARGV[3])
  redis.call('PEXPIRE', KEYS[2], held)
end
if held > 0 then return {0, held * 1000, 1} end
local least, granted = tonumber(ARGV[1]), tonumber(ARGV[2])
local full, wait, kept = {}, 0, 0
for window = 1, (#ARGV - 3) / 3 do
  local interval = tonumber(ARGV[window * 3 + 1])
  local burst = tonumber(ARGV[window * 3 + 2])
  local usable = burst - tonumber(ARGV[window * 3 + 3])
  local at = tonumber(redis.call('HGET', KEYS[1], window) or '0')
  at = math.min(math.max(at, now), now + burst * interval)
  full[window] = at
  local room = math.floor((usable * interval - (at - now)) / interval + 0.000001)
  if room < least then wait = math.max(wait, at - now + (least - usable) * interval) end
  granted = math.min(granted, room)
end
if granted < least then return {0, math.ceil(wait), 0} end
for window = 1, #full do
  local at = full[window] + granted * tonumber(ARGV[window * 3 + 1])
  redis.call('HSET', KEYS[1], window, string.format('%.2f', at))
  kept = math.max(kept, at - now)
end
redis.call('PEXPIRE', KEYS[1], math.ceil(kept / 1000) + 1)
return {granted, 0, 0}";

/// How far apart words about quotas are, unless one has been used up meanwhile.
const QUOTAS_APART: Duration = Duration::from_millis(100);

/// What a hold must be longer by to be told again.
const HOLDS_APART: Duration = Duration::from_millis(100);

/// A budget that an integration, or one operation, has together with other gateways.
pub struct Share {
    name: String,
    budget: Arc<SharedBudget>,
    config: RateLimiterConfig,
    max_wait: Duration,
    reset_max: Duration,
    peers: Arc<Peers>,
    told: Mutex<Told>,
}

/// What was told of the provider's words lately.
#[derive(Default)]
struct Told {
    held_until: Option<Instant>,
    /// When a quota was told of, and whether it was spent.
    quota: Option<(Instant, bool)>,
}

impl Share {
    /// The share that a setting asks for, if it does.
    pub fn new(name: &str, limit: Option<&RateLimit>, peers: &Arc<Peers>) -> Option<Arc<Self>> {
        let limit = limit.filter(|limit| limit.shared)?;
        let script = Script::new(TAKE);
        let reset_max = mechanisms::quota_reset_max(Some(limit));
        let source = Source {
            name: name.to_owned(),
            script,
            config: limit.limiter.clone(),
            longest_hold: reset_max,
            peers: Arc::clone(peers),
        };
        let clock = Arc::clone(&peers.clock);
        Some(Arc::new(Self {
            name: name.to_owned(),
            budget: SharedBudget::new(source, &limit.limiter, peers.timeout, clock, Arc::new(TokioSpawn)),
            config: limit.limiter.clone(),
            max_wait: limit.max_wait,
            reset_max,
            peers: Arc::clone(peers),
            told: Mutex::default(),
        }))
    }

    /// Tells other gateways what the provider said to this one: until when calls are held, and which quotas are low.
    pub(in crate::pipeline) fn tell(&self, held_until: Option<Instant>, quotas: &Quotas, now: Instant) {
        if self.peers.server().is_none() {
            return;
        }
        let mut told = self.told.lock();
        if let Some(until) =
            held_until.filter(|until| told.held_until.is_none_or(|told| *until > told + HOLDS_APART))
        {
            told.held_until = Some(until);
            self.peers.held(&self.name, until.saturating_duration_since(now));
        }
        let before = told.quota;
        for report in quotas.iter() {
            let spent = report.remaining == 0;
            let low = spent || report.limit.is_some_and(|limit| report.remaining <= limit / 10);
            let known =
                before.is_some_and(|(at, was_spent)| now < at + QUOTAS_APART && (was_spent || !spent));
            let Some(reset) = report.renewed_in() else { continue };
            if low && !known {
                told.quota = Some((now, spent));
                let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                let quota = super::Quota {
                    name: report.name.clone(),
                    remaining: report.remaining,
                    limit: report.limit,
                    window_ms: report.window.map(millis),
                    reset_ms: millis(reset.min(self.reset_max)),
                };
                self.peers.quota(&self.name, quota);
            }
        }
    }
}

/// The shares that an attempt takes from.
pub(in crate::pipeline) struct Shares<'a> {
    /// In the order in which they are asked.
    pub(in crate::pipeline) all: [Option<&'a Arc<Share>>; 2],
    /// What is taken from each.
    pub(in crate::pipeline) demand: Demand,
}

/// What was taken.
pub(in crate::pipeline) struct Taken<'a> {
    from: Vec<&'a Arc<Share>>,
    demand: Demand,
}

impl<'a> Shares<'a> {
    /// Takes from all, waiting where that is allowed. None: there was nothing to take from, and no wait.
    ///
    /// # Errors
    /// By the first that has something against it; what the others gave is given back.
    pub(in crate::pipeline) async fn acquire(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<Taken<'a>>, Limited> {
        let mut taken = None;
        for share in self.members() {
            let taken = taken.get_or_insert_with(|| Taken { from: Vec::new(), demand: self.demand });
            match share.budget.acquire(self.demand, share.max_wait, deadline).await {
                Ok(Drawn::Granted) => taken.from.push(share),
                Ok(Drawn::Alone) => {}
                Err(limited) => {
                    taken.give_back();
                    return Err(limited);
                }
            }
        }
        Ok(taken)
    }

    /// Takes from all if that needs no wait, else from none.
    pub(in crate::pipeline) fn try_acquire(&self, now: Instant) -> Option<Taken<'a>> {
        let mut taken = Taken { from: Vec::new(), demand: self.demand };
        for share in self.members() {
            match share.budget.try_acquire(self.demand, now) {
                Some(Drawn::Granted) => taken.from.push(share),
                Some(Drawn::Alone) => {}
                None => {
                    taken.give_back();
                    return None;
                }
            }
        }
        Some(taken)
    }

    /// Those whose budget could ever pay for it: what none can pay is refused by the gateway's own limiter.
    fn members(&self) -> impl Iterator<Item = &'a Arc<Share>> {
        let Demand { cost, priority } = self.demand;
        self.all.into_iter().flatten().filter(move |share| share.config.can_ever(cost, priority))
    }
}

impl Taken<'_> {
    /// Gives back what was taken: the attempt is not made.
    pub(in crate::pipeline) fn give_back(&self) {
        for share in &self.from {
            share.budget.give_back(self.demand, share.peers.clock.now());
        }
    }
}

/// The script on the server.
struct Source {
    name: String,
    script: Script,
    config: RateLimiterConfig,
    /// A hold on the server that lasts longer is not believed.
    longest_hold: Duration,
    peers: Arc<Peers>,
}

impl Source {
    async fn ask(&self, request: TokenRequest) -> Portion {
        let Some(server) = self.peers.server() else { return Portion::Away };
        let tagged = format!("{{{}}}", self.name);
        let keys = [server.name(&["limit", &tagged]), key(server, super::Kind::Hold, &self.name)];
        let mut arguments =
            vec![request.least.to_string(), request.most.to_string(), millis(self.longest_hold).to_string()];
        for window in &self.config.windows {
            let interval = window.window.as_secs_f64() * 1e6 / f64::from(window.requests.get());
            let reserved = match request.priority {
                Priority::High => 0,
                Priority::Normal | Priority::Low => window.reserved(self.config.reserve),
            };
            arguments.extend([format!("{interval:.6}"), window.burst.to_string(), reserved.to_string()]);
        }
        let Ok(Reply::List(answer)) = server.run(&self.script, &keys, &arguments).await else {
            return Portion::Away;
        };
        let number =
            |at: usize| answer.get(at).and_then(Reply::integer).and_then(|number| u64::try_from(number).ok());
        let by = if number(2) == Some(1) { LimitedBy::Hold } else { LimitedBy::Budget };
        match (number(0), number(1)) {
            (Some(granted @ 1..), _) => Portion::Granted(granted),
            (Some(0), Some(micros)) => Portion::Refused { retry_after: Duration::from_micros(micros), by },
            _ => Portion::Away,
        }
    }
}

impl TokenSource for Source {
    fn take(&self, request: TokenRequest) -> Pin<Box<dyn Future<Output = Portion> + Send + '_>> {
        Box::pin(self.ask(request))
    }

    fn is_away(&self) -> bool {
        self.peers.server().is_none_or(|server| !server.is_connected())
    }
}
