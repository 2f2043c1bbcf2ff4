//! How much one call may log.
//!
//! Lines beyond the cap are counted and dropped; one last line says how many. The last error line is
//! kept, since a panic hook writes the reason of the trap that follows.

/// Longest part of an error line that is kept for the report of a trap.
const LAST_ERROR_BYTES_MAX: usize = 512;

/// What a call has logged so far.
#[derive(Debug)]
pub(crate) struct LogBudget {
    lines_left: usize,
    bytes_left: usize,
    dropped: u32,
    last_error: Option<String>,
}

impl LogBudget {
    /// That many lines, and octets of them together.
    pub(crate) fn new(lines: usize, bytes: usize) -> Self {
        Self { lines_left: lines, bytes_left: bytes, dropped: 0, last_error: None }
    }

    /// Counts a line of so many octets in; `false` = drop it.
    pub(crate) fn admit(&mut self, bytes: usize) -> bool {
        let (Some(lines), Some(bytes)) = (self.lines_left.checked_sub(1), self.bytes_left.checked_sub(bytes))
        else {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        };
        (self.lines_left, self.bytes_left) = (lines, bytes);
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
        let mut log = LogBudget::new(32, 8000);
        assert_eq!((0..40).filter(|_| log.admit(10)).count(), 32);
        assert_eq!((log.take_dropped(), log.take_dropped()), (8, 0));
        let mut log = LogBudget::new(32, 8000);
        assert!(log.admit(7999) && !log.admit(2) && log.admit(1));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("a€b", 3), cut("a€b", 4), cut("ab", 9)), ("a", "a€", "ab"));
    }
}
