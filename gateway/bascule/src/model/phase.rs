//! What a call's time is spent on: the phases of the deadline ledger, and a sum for each.
//!
//! A call is in exactly one phase at any time, so that the sums add up to the call's duration. When a call goes from
//! one phase to the next is the pipeline's knowledge.

use std::time::Duration;

/// What a call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallPhase {
    /// Reading, authenticating and validating the request.
    Accept,
    /// Looking in the cache and answering from it.
    Cache,
    /// Waiting for another call's fetch of the same thing.
    Coalesced,
    /// Waiting for a place among the integration's calls.
    Queue,
    /// Waiting for a token of the rate limits.
    Limiter,
    /// Waiting for an access token.
    Token,
    /// In a plugin's hook.
    Plugin,
    /// An exchange with the provider, judging it, and what follows until the next phase begins.
    Attempt,
    /// Waiting before another attempt.
    Backoff,
    /// From the launch of a second attempt beside the first to the end of their race.
    Hedge,
    /// While the branches of a fan-out run at once.
    FanOut,
    /// In the fallback ladder, save what its operations spend in the other phases.
    Fallback,
    /// Passing the answer's body on to the caller.
    Body,
}

impl CallPhase {
    /// All of them, in the order of a call.
    pub const ALL: [Self; 13] = [
        Self::Accept,
        Self::Cache,
        Self::Coalesced,
        Self::Queue,
        Self::Limiter,
        Self::Token,
        Self::Plugin,
        Self::Attempt,
        Self::Backoff,
        Self::Hedge,
        Self::FanOut,
        Self::Fallback,
        Self::Body,
    ];

    /// The name in `deadline_spent_seconds{phase}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Cache => "cache",
            Self::Coalesced => "coalesced",
            Self::Queue => "queue",
            Self::Limiter => "limiter",
            Self::Token => "token",
            Self::Plugin => "plugin",
            Self::Attempt => "attempt",
            Self::Backoff => "backoff",
            Self::Hedge => "hedge",
            Self::FanOut => "fan_out",
            Self::Fallback => "fallback",
            Self::Body => "body",
        }
    }
}

/// How long a call was in each phase, in whole nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent([u64; CallPhase::ALL.len()]);

impl Spent {
    /// Adds to a phase. A phase holds some 580 years; what is beyond is cut off.
    pub fn add(&mut self, phase: CallPhase, span: Duration) {
        if let Some(sum) = self.0.get_mut(phase as usize) {
            *sum = sum.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// How long the call was in that phase.
    pub fn on(&self, phase: CallPhase) -> Duration {
        Duration::from_nanos(self.0.get(phase as usize).copied().unwrap_or(0))
    }

    /// The phases in which time was spent, in the order of a call.
    pub fn phases(&self) -> impl Iterator<Item = (CallPhase, Duration)> {
        CallPhase::ALL.into_iter().map(|phase| (phase, self.on(phase))).filter(|(_, span)| !span.is_zero())
    }

    /// All phases together: the call's duration.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.iter().fold(0, |sum, phase| sum.saturating_add(*phase)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_phase_has_a_place_and_a_name_of_its_own() {
        let mut spent = Spent::default();
        for (index, phase) in CallPhase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
            spent.add(phase, Duration::from_nanos(1 << index));
        }
        assert_eq!(spent.total(), Duration::from_nanos((1 << CallPhase::ALL.len()) - 1));
        assert!(CallPhase::ALL.into_iter().all(|phase| spent.on(phase).as_nanos() == 1 << (phase as u32)));
        let names: BTreeSet<&str> = CallPhase::ALL.into_iter().map(CallPhase::as_str).collect();
        assert_eq!(names.len(), CallPhase::ALL.len());
    }

    #[test]
    fn only_phases_with_time_are_listed() {
        let mut spent = Spent::default();
        spent.add(CallPhase::Body, Duration::from_millis(2));
        spent.add(CallPhase::Queue, Duration::ZERO);
        assert_eq!(spent.phases().collect::<Vec<_>>(), [(CallPhase::Body, Duration::from_millis(2))]);
    }
}
