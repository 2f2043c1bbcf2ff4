//! Numbers for a provider's quotas, for records that hold nothing which a provider wrote.
//!
//! A quota keeps its number for as long as the gateway runs, also when an answer speaks of only some of them: what is
//! replayed by these numbers is learnt as it was.

use crate::telemetry::journal::QUOTAS_MAX;
use parking_lot::Mutex;

/// Longest name that is remembered, in octets. Headers may be much longer, and no provider's quota is called so.
const NAME_MAX: usize = 128;

/// The quotas of one integration, in the order in which they were first heard of.
#[derive(Debug, Default)]
pub struct QuotaNumbers(Mutex<Vec<String>>);

impl QuotaNumbers {
    /// The number of the quota of that name; none when there are more than [`QUOTAS_MAX`] names, which is no provider's
    /// way but one that makes them up.
    pub(in crate::pipeline) fn of(&self, name: &str) -> Option<u8> {
        if name.len() > NAME_MAX {
            return None;
        }
        let mut names = self.0.lock();
        let index = names.iter().position(|known| known == name).unwrap_or(names.len());
        if index == names.len() {
            if index == QUOTAS_MAX {
                return None;
            }
            names.push(name.to_owned());
        }
        u8::try_from(index).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_keeps_its_number_and_names_that_are_made_up_get_none() {
        let numbers = QuotaNumbers::default();
        assert_eq!([numbers.of("day"), numbers.of(""), numbers.of("day")], [Some(0), Some(1), Some(0)]);
        assert_eq!(numbers.of(&"x".repeat(NAME_MAX + 1)), None);
        let given: Vec<_> = (0..9).filter_map(|n| numbers.of(&format!("made up {n}"))).collect();
        assert_eq!(given.len(), QUOTAS_MAX - 2);
        assert_eq!(numbers.of(""), Some(1));
    }
}
