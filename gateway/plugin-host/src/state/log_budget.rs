//! How much one call may log.
//!
//! Lines beyond the cap are counted and dropped; one last line says how many. The last error line is
//! kept, since a panic hook writes the reason of the trap that follows.

use crate::limits::{LOG_BYTES_MAX, LOG_LINES_MAX};

/// Longest part of an error line that is kept for the report of a trap.
const LAST_ERROR_BYTES_MAX: usize = 512;

/// What a call has logged so far.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    lines: usize,
    bytes: usize,
    dropped: u32,
    last_error: Option<String>,
}

impl LogBudget {
    /// Counts a line of so many octets in; `false` = drop it.
    pub(crate) fn admit(&mut self, bytes: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        if self.lines >= LOG_LINES_MAX || sum > LOG_BYTES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        self.lines += 1;
        self.bytes = sum;
        true
    }

    /// Keeps an error line for the report of a trap that may follow.
    pub(crate) fn remember(&mut self, message: &str) {
        self.last_error = Some(cut(message, LAST_ERROR_BYTES_MAX).to_owned());
    }

    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The lines dropped since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }
}

/// The text up to so many octets, cut between characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_octets_are_capped_and_the_rest_counted() {
        let mut log = LogBudget::default();
        assert_eq!((0..40).filter(|_| log.admit(10)).count(), LOG_LINES_MAX);
        assert_eq!((log.take_dropped(), log.take_dropped()), (8, 0));
        let mut log = LogBudget::default();
        assert!(log.admit(LOG_BYTES_MAX - 1) && !log.admit(2) && log.admit(1));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("a€b", 3), cut("a€b", 4), cut("ab", 9)), ("a", "a€", "ab"));
    }
}
