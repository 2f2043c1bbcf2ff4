//! Who is in flight and who waits: the bookkeeping behind one lock.
//!
//! The decision: all counts of a flight live in the same map as the flight itself, so that boarding, leaving and
//! landing each are one step that no other can come between. In particular the last one to leave takes the key out
//! in that same step, before the task knows of it, so nobody can board a fetch that is about to be aborted.
//!
//! It spawns, wakes and drops nothing of the caller's.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Instant,
};

use super::{
    JoinError, REFRESHES_MAX,
    flight::{Arrival, Handover, Seat},
    marks::Marks,
};
use crate::{
    key::Key,
    sync::{AbortHandle, watch},
};

type Sender<T> = watch::Sender<Option<Arrival<T>>>;
type Receiver<T> = watch::Receiver<Option<Arrival<T>>>;

pub(super) struct Table<T, P> {
    flights: HashMap<Key, Course<T, P>>,
    /// How many of the flights nobody started for himself.
    refreshes: usize,
    marks: Marks,
}

/// One fetch under way.
pub(super) struct Course<T, P> {
    handover: Arc<Handover<P>>,
    arrival: Receiver<T>,
    kind: Kind,
    waiters: usize,
    pub(super) abort: Option<AbortHandle>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Led,
    LeaderLeft,
    Refresh,
}

/// What a caller needs for its seat.
pub(super) enum Boarding<T, P> {
    Leader(Arc<Handover<P>>, Sender<T>, Receiver<T>),
    Waiter(Arc<Handover<P>>, Receiver<T>),
}

impl<T, P> Table<T, P> {
    pub(super) fn new() -> Self {
        Self { flights: HashMap::new(), refreshes: 0, marks: Marks::default() }
    }

    pub(super) fn board(
        &mut self,
        key: Key,
        now: Instant,
        max_waiters: usize,
    ) -> Result<Boarding<T, P>, JoinError> {
        if self.marks.contains(&key, now) {
            return Err(JoinError::NotShared);
        }
        if let Some(course) = self.flights.get_mut(&key) {
            if course.waiters >= max_waiters {
                return Err(JoinError::Full);
            }
            course.waiters += 1;
            return Ok(Boarding::Waiter(Arc::clone(&course.handover), course.arrival.clone()));
        }
        let (handover, sender, arrival) = self.start(key, Kind::Led);
        Ok(Boarding::Leader(handover, sender, arrival))
    }

    pub(super) fn board_refresh(&mut self, key: Key, now: Instant) -> Option<(Arc<Handover<P>>, Sender<T>)> {
        let refused = self.marks.contains(&key, now)
            || self.flights.contains_key(&key)
            || self.refreshes >= REFRESHES_MAX;
        if refused {
            return None;
        }
        self.refreshes += 1;
        let (handover, sender, _) = self.start(key, Kind::Refresh);
        Some((handover, sender))
    }

    fn start(&mut self, key: Key, kind: Kind) -> (Arc<Handover<P>>, Sender<T>, Receiver<T>) {
        let handover = Arc::new(Handover::new());
        let (sender, arrival) = watch::channel(None);
        let course = Course {
            handover: Arc::clone(&handover),
            arrival: arrival.clone(),
            kind,
            waiters: 0,
            abort: None,
        };
        self.flights.insert(key, course);
        (handover, sender, arrival)
    }

    /// Remembers how to stop the task, unless it has ended already.
    pub(super) fn own(&mut self, key: &Key, handover: &Arc<Handover<P>>, abort: AbortHandle) {
        if let Some(course) = self.flights.get_mut(key).filter(|course| course.is(handover)) {
            course.abort = Some(abort);
        }
    }

    /// Takes this very flight out; None if it is out already, even when the key is in flight again.
    pub(super) fn take(&mut self, key: &Key, handover: &Arc<Handover<P>>) -> Option<Course<T, P>> {
        let Entry::Occupied(found) = self.flights.entry(*key) else { return None };
        if !found.get().is(handover) {
            return None;
        }
        let course = found.remove();
        if course.kind == Kind::Refresh {
            self.refreshes -= 1;
        }
        Some(course)
    }

    /// Gives up one seat. Takes the flight out and gives it back if that was the last one.
    pub(super) fn leave(
        &mut self,
        key: &Key,
        handover: &Arc<Handover<P>>,
        seat: Seat,
    ) -> Option<Course<T, P>> {
        let course = self.flights.get_mut(key).filter(|course| course.is(handover))?;
        match seat {
            Seat::Leader => course.kind = Kind::LeaderLeft,
            Seat::Waiter => course.waiters -= 1,
        }
        let abandoned = course.kind == Kind::LeaderLeft && course.waiters == 0;
        if abandoned { self.take(key, handover) } else { None }
    }

    pub(super) fn mark(&mut self, key: Key) {
        self.marks.note(key);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn abort_handles(&mut self) -> impl Iterator<Item = AbortHandle> {
        self.flights.drain().filter_map(|(_, course)| course.abort)
    }
}

impl<T, P> Course<T, P> {
    /// Whether the one who started the fetch still waits for it.
    pub(super) fn is_led(&self) -> bool {
        self.kind == Kind::Led
    }

    fn is(&self, handover: &Arc<Handover<P>>) -> bool {
        Arc::ptr_eq(&self.handover, handover)
    }
}
