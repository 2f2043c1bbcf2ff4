//! Which measurements a plugin may make: each new time series costs the gateway memory for good.
//!
//! A plugin chooses names, label names and label values, so all three are bounded per plugin name and
//! kept over swaps. What is known passes; what is new passes while there is room; the rest is dropped.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use parking_lot::RwLock;

/// Names of measurements of one plugin.
pub(crate) const NAMES_MAX: usize = 64;

/// Names of labels of one plugin.
pub(crate) const LABELS_MAX: usize = 8;

/// Combinations of a name with label values of one plugin.
pub(crate) const SERIES_MAX: usize = 512;

/// Octets of a name of a measurement, label or attribute.
const NAME_BYTES_MAX: usize = 64;

/// How a measurement is summed up. A name has one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Count,
    Observation,
}

/// The time series of one plugin.
#[derive(Default)]
pub(crate) struct Series {
    known: RwLock<Known>,
    hasher: RandomState,
}

#[derive(Default)]
struct Known {
    names: HashMap<Box<str>, Kind>,
    labels: HashSet<Box<str>>,
    /// Hashes of name and labels: a collision lets one more series pass, and nobody can aim at one.
    series: HashSet<u64>,
}

impl Series {
    /// Whether that measurement may be made.
    pub(crate) fn admit(&self, kind: Kind, name: &str, labels: &[(String, String)]) -> bool {
        let series = self.hasher.hash_one((kind, name, labels));
        if self.known.read().series.contains(&series) {
            return true;
        }
        let well_formed = labels.len() <= LABELS_MAX
            && is_name(name)
            && labels.iter().all(|(label, _)| is_name(label))
            && labels.iter().map(|(label, _)| label).collect::<HashSet<_>>().len() == labels.len();
        well_formed && self.known.write().admit(series, kind, name, labels)
    }
}

impl Known {
    fn admit(&mut self, series: u64, kind: Kind, name: &str, labels: &[(String, String)]) -> bool {
        let new_labels = labels.iter().filter(|(label, _)| !self.labels.contains(label.as_str())).count();
        let fits = match self.names.get(name) {
            Some(known) => *known == kind,
            None => self.names.len() < NAMES_MAX,
        };
        if !fits || self.labels.len() + new_labels > LABELS_MAX || self.series.len() >= SERIES_MAX {
            return false;
        }
        self.names.insert(name.into(), kind);
        self.labels.extend(labels.iter().map(|(label, _)| Box::from(label.as_str())));
        self.series.insert(series);
        true
    }
}

/// Whether a measurement, label or attribute may be called that.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'.');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_labels_and_series_are_bounded_and_the_known_still_pass() {
        let series = Series::default();
        let count = |name: &str, pairs: &[(&str, &str)]| series.admit(Kind::Count, name, &labels(pairs));
        let names = (0..100).filter(|n| count(&format!("n{n}"), &[])).count();
        assert_eq!(names, NAMES_MAX);
        let values = (0..1000).filter(|n| count("n0", &[("v", &n.to_string())])).count();
        assert_eq!(values, SERIES_MAX - NAMES_MAX);
        assert!(count("n63", &[]) && count("n0", &[("v", "0")]) && !count("n64", &[]));

        let series = Series::default();
        let admitted = (0..20).filter(|n| series.admit(Kind::Count, "n", &labels(&[(&format!("l{n}"), "")])));
        assert_eq!(admitted.count(), LABELS_MAX);
    }

    #[test]
    fn a_name_has_one_kind_and_a_label_one_value() {
        let series = Series::default();
        assert!(series.admit(Kind::Count, "n", &[]) && !series.admit(Kind::Observation, "n", &[]));
        assert!(!series.admit(Kind::Count, "n", &labels(&[("a", "1"), ("a", "2")])));
    }

    #[test]
    fn only_plain_names_pass() {
        assert!(is_name("cards.declined_2") && is_name(&"n".repeat(NAME_BYTES_MAX)));
        for name in ["", "Cards", "a-b", "a b", "ä", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(name), "{name}");
            assert!(!Series::default().admit(Kind::Count, name, &[]));
        }
    }
}
