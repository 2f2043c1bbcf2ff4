//! Calls out of the outbox, when their provider is back.
//!
//! One task looks at the outbox whenever something changed, and four times a second while calls wait. Per operation it
//! starts them in the order in which they were queued, as many at a time as `outbox.concurrency` says, and only while
//! the operation's circuit is closed; through one that is not, a single call goes as its probe. A call that fails for
//! now waits longer each time, and no longer once the circuit has closed; it holds up nobody meanwhile. Every delivery
//! is a whole call of the pipeline with the key, the parameters and the headers of the first, without its ladder.
//!
//! ```text
//! the call ended with                                    the entry is
//! an answer that is final (success, most 4xx)            done
//! a failure that may pass                                waiting, 1 s to 15 min longer; dead after give_up_after
//! no attempt, because a circuit or limit refused         waiting, and the try is not counted
//! a response mapper's failure: the effect has happened   dead
//! ```
//!
//! A killed process leaves entries behind that were being delivered; the next one delivers them again, with the same
//! key. So a provider may see a call twice, and the key tells it so.

mod deliver;
mod judge;

use crate::{
    config::{Config, OutboxSettings},
    pipeline::{Queue, Services, gone, placed},
};
use bascule_outbox::{Bounds, Entry, Error, Lane, Outbox, Place, State};
use bascule_resilience as resilience;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{sleep, timeout},
};
use uuid::Uuid;

/// How often circuits and times are looked at while calls wait.
const TICK: Duration = Duration::from_millis(250);
/// When to ask again after the file could not be read: a broken disk fills no log.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often old entries are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// Deliveries at a time when the configuration has no outbox any more and the open one is emptied.
const CONCURRENCY: usize = 8;

/// Delivers until told to stop, then lets what is under way end within `drain`; says whether it could. What could not
/// is delivered again by the next process.
pub async fn run(services: Arc<Services>, mut stop: watch::Receiver<bool>, drain: Duration) -> bool {
    let queue = tokio::select! {
        () = stopped(&mut stop) => return true,
        queue = services.outbox.wait() => Arc::clone(queue),
    };
    let mut worker = Worker {
        services: Arc::clone(&services),
        queue,
        running: JoinSet::new(),
        under_way: HashMap::new(),
        away: HashSet::new(),
        turn: 0,
        tidied: None,
    };
    loop {
        let pause = worker.begin().await;
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(ended) = worker.running.join_next_with_id() => worker.ended(ended).await,
            () = worker.queue.woken() => {}
            () = sleep(pause) => {}
        }
    }
    let all = async {
        while let Some(ended) = worker.running.join_next_with_id().await {
            worker.ended(ended).await;
        }
    };
    timeout(drain, all).await.is_ok()
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Worker {
    services: Arc<Services>,
    queue: Arc<Queue>,
    running: JoinSet<()>,
    /// What the tasks deliver.
    under_way: HashMap<Id, UnderWay>,
    /// Operations whose circuit was not closed when it was looked at last.
    away: HashSet<Place>,
    /// Which operation comes first, in turn.
    turn: usize,
    tidied: Option<Instant>,
}

/// An entry that is being delivered.
struct UnderWay {
    id: Uuid,
    place: Place,
    tries: u32,
}

impl Worker {
    /// Begins what may begin now. Returns when to look again at the latest.
    async fn begin(&mut self) -> Duration {
        self.tidy().await;
        if !self.queue.levels().iter().any(|level| level.state == State::Waiting && level.entries > 0) {
            self.away.clear();
            return TIDY_EVERY;
        }
        let lanes: Result<_, Error> = self.queue.ask(|outbox| outbox.lanes()).await;
        let mut lanes = match lanes {
            Ok(lanes) => lanes,
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be asked");
                return ASK_AGAIN;
            }
        };
        self.away.retain(|place| lanes.iter().any(|lane| lane.place == *place));
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % lanes.len().max(1);
        lanes.rotate_left(first);
        let mut left = lanes.len();
        for lane in lanes {
            // An equal share of what is free for each that comes yet, so that none keeps the others from starting.
            let share = self.free().div_ceil(left.max(1));
            left = left.saturating_sub(1);
            self.begin_lane(lane, share).await;
        }
        TICK
    }

    fn free(&self) -> usize {
        let generation = self.services.generation.load();
        concurrency(&generation.config).saturating_sub(self.running.len())
    }

    async fn begin_lane(&mut self, lane: Lane, share: usize) {
        let Lane { place, mut next_try } = lane;
        let generation = self.services.generation.load_full();
        let Some((_, operation)) = placed(&generation, &place) else {
            let reason = gone(&place);
            tracing::warn!(operation = %shown(&place), "queued calls of an operation that is gone are given up");
            self.tell(move |outbox| outbox.abandon(place, reason, SystemTime::now()).map(drop)).await;
            return;
        };
        let now = self.services.now();
        let room = if operation.breaker.state(now) == resilience::State::Closed {
            if self.away.remove(&place) {
                let place = place.clone();
                self.tell(move |outbox| outbox.hasten(place, SystemTime::now()).map(drop)).await;
                next_try = SystemTime::UNIX_EPOCH;
            }
            share
        } else {
            self.away.insert(place.clone());
            let alone = !self.under_way.values().any(|delivery| delivery.place == place);
            usize::from(alone && operation.breaker.check(now).is_ok()).min(share)
        };
        let wall = SystemTime::now();
        if room == 0 || next_try > wall {
            return;
        }
        let max = u32::try_from(room).unwrap_or(u32::MAX);
        let claimed: Result<_, Error> =
            self.queue.ask(move |outbox| outbox.claim(place, max, SystemTime::now())).await;
        match claimed {
            Ok(entries) => entries.into_iter().for_each(|entry| self.deliver(entry)),
            Err(error) => tracing::warn!(%error, "the outbox could not be asked"),
        }
    }

    fn deliver(&mut self, entry: Entry) {
        let delivery = UnderWay { id: entry.id, place: entry.call.place.clone(), tries: entry.tries };
        let work = deliver::deliver(Arc::clone(&self.services), Arc::clone(&self.queue), entry);
        let task = self.running.spawn(work);
        self.under_way.insert(task.id(), delivery);
    }

    /// A delivery has ended. One that broke down is a bug, and is tried again like any failure.
    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, broke) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), true),
        };
        let Some(UnderWay { id, place, tries }) = self.under_way.remove(&id) else { return };
        if broke {
            tracing::error!(%id, operation = %shown(&place), "a delivery broke down");
            let next = SystemTime::now() + judge::backoff(tries, self.services.unit());
            let bounds = bounds(&self.services.generation.load().config);
            let error = "an internal error; the gateway's log has the details".to_owned();
            let queue = Arc::clone(&self.queue);
            self.running.spawn(async move {
                let later = move |outbox: &Outbox| {
                    outbox.retry_later(id, error.clone(), next, &bounds, SystemTime::now()).map(drop)
                };
                deliver::write(&queue, later).await;
            });
        }
    }

    async fn tidy(&mut self) {
        let now = self.services.now();
        if self.tidied.is_some_and(|at| now.saturating_duration_since(at) < TIDY_EVERY) {
            return;
        }
        self.tidied = Some(now);
        let bounds = bounds(&self.services.generation.load().config);
        self.tell(move |outbox| {
            let tidied = outbox.tidy(&bounds, SystemTime::now())?;
            if tidied.given_up > 0 {
                tracing::warn!(
                    entries = tidied.given_up,
                    "queued calls were given up: their time has passed"
                );
            }
            Ok(())
        })
        .await;
    }

    /// Work whose failure changes nothing: it is done again when it is due again.
    async fn tell(&self, work: impl FnOnce(&Outbox) -> Result<(), Error> + Send + 'static) {
        if let Err(error) = self.queue.ask(work).await {
            tracing::warn!(%error, "the outbox could not be asked");
        }
    }
}

fn bounds(config: &Config) -> Bounds {
    config.outbox.as_ref().map_or_else(Bounds::default, |settings| settings.bounds)
}

fn concurrency(config: &Config) -> usize {
    let declared = |settings: &OutboxSettings| settings.concurrency.get() as usize;
    config.outbox.as_ref().map_or(CONCURRENCY, declared)
}

fn shown(place: &Place) -> String {
    format!("{}.{}", place.integration, place.operation)
}
