//! Tags: names given to entries when they are stored, by which they can be purged together.
//!
//! The decision: a tag is one of a fixed number of counters, found by its hash. So a purge by tag takes the same short
//! time however many entries carry it, and tags that come from a provider's answers cannot fill memory. The price: two tags
//! may share a counter, and then the purge of one drops the other's entries, too. With 8192 counters that is one more miss
//! in rare cases, and never an entry that stays.
//!
//! A counter's number is the same in every process: entries that are kept elsewhere are found by it.

use crate::key::KeyBuilder;

/// The counters of all tags, 64 KiB.
pub(crate) const COUNTERS: usize = 8192;

/// The tags of one entry. Each is looked at on every hit.
pub const TAGS_MAX: usize = 32;

/// The tags of one entry, at most [`TAGS_MAX`]. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Box<[u16]>);

/// More tags than an entry can have. To leave some out would leave entries behind when they are purged, so do not store
/// the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry can have {TAGS_MAX} tags and no more")]
pub struct TooManyTags;

impl Tags {
    /// The tags of an entry of this integration; another integration's tags of the same names are others.
    ///
    /// # Errors
    /// [`TooManyTags`] for more than [`TAGS_MAX`] different ones.
    pub fn new<'a>(integration: &str, names: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManyTags> {
        let mut counters = Vec::new();
        for name in names {
            let counter = counter(integration, name);
            if counters.contains(&counter) {
                continue;
            }
            if counters.len() >= TAGS_MAX {
                return Err(TooManyTags);
            }
            counters.push(counter);
        }
        Ok(Self(counters.into()))
    }

    pub(crate) fn counters(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied().map(usize::from)
    }

    /// The numbers of their counters.
    pub(crate) fn numbers(&self) -> &[u16] {
        &self.0
    }

    /// What [`numbers`](Self::numbers) gave. None for more than an entry can have, and for what is no counter.
    pub(crate) fn of_numbers(numbers: Vec<u16>) -> Option<Self> {
        let known = numbers.iter().all(|number| usize::from(*number) < COUNTERS);
        (known && numbers.len() <= TAGS_MAX).then(|| Self(numbers.into()))
    }

    pub(crate) fn weight(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// Where the counter of a tag is.
pub(crate) fn counter(integration: &str, name: &str) -> u16 {
    let digest = KeyBuilder::new(integration, "").field("tag", name.as_bytes()).finish();
    // The remainder is smaller than the number of counters, which 16 bits hold.
    u16::try_from(digest.prefix() % COUNTERS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_the_same_tag_within_an_integration() {
        let of = |integration, names: &[&'static str]| Tags::new(integration, names.iter().copied()).unwrap();
        assert_eq!(of("github", &["a", "a"]), of("github", &["a"]));
        assert_ne!(of("github", &["a"]), of("gitlab", &["a"]));
        assert_ne!(of("github", &["a"]), of("github", &["b"]));
        assert_eq!(of("github", &[]), Tags::default());
    }

    #[test]
    fn a_number_is_the_same_in_every_process() {
        assert_eq!([counter("github", "user-7"), counter("stripe", "user-7")], [1500, 2215]);
    }

    #[test]
    fn too_many_are_refused_rather_than_forgotten() {
        let names: Vec<_> = (0..TAGS_MAX + 8).map(|index| format!("tag {index}")).collect();
        assert_eq!(Tags::new("i", names.iter().map(String::as_str)), Err(TooManyTags));
        let some = Tags::new("i", names.iter().take(TAGS_MAX).map(String::as_str)).unwrap();
        assert!(some.weight() <= TAGS_MAX * 2 && some.counters().all(|counter| counter < COUNTERS));
    }
}
