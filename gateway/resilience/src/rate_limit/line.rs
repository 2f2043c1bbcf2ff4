//! The line of calls that wait for tokens.
//!
//! High before normal before low, and within a priority in the order of arrival. Only the head watches the tokens; all
//! others watch their own patience and are woken when the head leaves. That keeps the order, and one token that comes
//! free wakes one call. The line is bounded. It holds wakers and never wakes by itself: its caller does, once no lock
//! is held.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::priority::Priority;

/// Most calls in line. At a usual rate they could wait for minutes; more would only use memory and time out.
pub(super) const WAITING_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Line {
    high: Queue,
    normal: Queue,
    low: Queue,
    next: u64,
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    priority: Priority,
    id: u64,
}

#[derive(Debug, Default)]
struct Queue {
    places: VecDeque<Place>,
    /// The sum of what the places want.
    cost: u64,
}

#[derive(Debug)]
struct Place {
    id: u64,
    cost: u64,
    until: Instant,
    waker: Option<Waker>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.queues().map(|queue| queue.places.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues().all(|queue| queue.places.is_empty())
    }

    /// Takes a place behind all of the same priority; `None` when the line is full.
    pub(super) fn join(&mut self, priority: Priority, cost: u64, until: Instant) -> Option<Ticket> {
        if self.len() >= WAITING_MAX {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let queue = self.queue(priority);
        queue.cost += cost;
        queue.places.push_back(Place { id, cost, until, waker: None });
        Some(Ticket { priority, id })
    }

    /// Gives the place up. Returns who has to be woken: the new head, if the head has left.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let was_head = self.is_head(ticket);
        let queue = self.queue(ticket.priority);
        let index = queue.index(ticket.id)?;
        let place = queue.places.remove(index)?;
        queue.cost = queue.cost.saturating_sub(place.cost);
        if was_head { self.head_waker() } else { None }
    }

    pub(super) fn is_head(&self, ticket: Ticket) -> bool {
        self.head().is_some_and(|place| place.id == ticket.id)
    }

    /// The head's waker, to be woken because something has changed.
    pub(super) fn head_waker(&self) -> Option<Waker> {
        self.head()?.waker.clone()
    }

    /// Remembers whom to wake.
    pub(super) fn watch(&mut self, ticket: Ticket, waker: &Waker) {
        let queue = self.queue(ticket.priority);
        let place = queue.index(ticket.id).and_then(|index| queue.places.get_mut(index));
        if let Some(place) = place {
            match &mut place.waker {
                Some(known) => known.clone_from(waker),
                None => place.waker = Some(waker.clone()),
            }
        }
    }

    /// Tokens wanted by all whom a newcomer of this priority would stand behind.
    pub(super) fn ahead_of_newcomer(&self, priority: Priority) -> u64 {
        let (high, normal, low) = (self.high.cost, self.normal.cost, self.low.cost);
        match priority {
            Priority::High => high,
            Priority::Normal => high + normal,
            Priority::Low => high + normal + low,
        }
    }

    /// Tokens wanted by all who stand before this place.
    pub(super) fn ahead_of(&self, ticket: Ticket) -> u64 {
        let higher = match ticket.priority {
            Priority::High => 0,
            Priority::Normal => self.high.cost,
            Priority::Low => self.high.cost + self.normal.cost,
        };
        let places = match ticket.priority {
            Priority::High => &self.high.places,
            Priority::Normal => &self.normal.places,
            Priority::Low => &self.low.places,
        };
        higher + places.iter().take_while(|place| place.id != ticket.id).map(|place| place.cost).sum::<u64>()
    }

    /// Those whose patience ends before `until`, and the head.
    pub(super) fn impatient(&self, until: Instant) -> Vec<Waker> {
        let places = self.queues().flat_map(|queue| &queue.places);
        let impatient = places.filter(|place| place.until < until).filter_map(|place| place.waker.clone());
        impatient.chain(self.head_waker()).collect()
    }

    fn head(&self) -> Option<&Place> {
        self.queues().find_map(|queue| queue.places.front())
    }

    fn queues(&self) -> impl Iterator<Item = &Queue> {
        [&self.high, &self.normal, &self.low].into_iter()
    }

    fn queue(&mut self, priority: Priority) -> &mut Queue {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

impl Queue {
    /// Ids grow along the queue.
    fn index(&self, id: u64) -> Option<usize> {
        self.places.binary_search_by_key(&id, |place| place.id).ok()
    }
}
