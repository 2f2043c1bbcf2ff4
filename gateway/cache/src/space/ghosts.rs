//! Which keys were given up lately: those that come back were given up too early.
//!
//! The decision: a table of digits of keys, each at the place that other digits of it tell, and the later one in place of
//! the earlier. It never grows, and what it forgets or confuses costs one entry a worse place in a queue.

use crate::key::Key;

/// As many as entries of this weight would fit.
const BYTES_PER_GHOST: u64 = 1024;
/// Between 1 KiB and 256 KiB.
const GHOSTS_MIN: u64 = 256;
const GHOSTS_MAX: u64 = 1 << 16;

pub(super) struct Ghosts(Box<[u32]>);

impl Ghosts {
    pub(super) fn new(max: u64) -> Self {
        let number = (max / BYTES_PER_GHOST).clamp(GHOSTS_MIN, GHOSTS_MAX);
        Self(std::iter::repeat_n(0, usize::try_from(number).unwrap_or_default()).collect())
    }

    pub(super) fn note(&mut self, key: &Key) {
        let (place, digits) = self.at(key);
        if let Some(ghost) = self.0.get_mut(place) {
            *ghost = digits;
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        let (place, digits) = self.at(key);
        self.0.get(place) == Some(&digits)
    }

    fn at(&self, key: &Key) -> (usize, u32) {
        let place = key.prefix() % self.0.len().max(1) as u64;
        // Zero is an empty place.
        let digits = u32::try_from(key.prefix() >> 32).unwrap_or_default() | 1;
        (usize::try_from(place).unwrap_or_default(), digits)
    }
}
