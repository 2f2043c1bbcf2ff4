//! A small number for every thread, for state that is spread so that threads do not meet at it.
//!
//! A thread gets the smallest number that no living thread has, and gives it back when it ends: as long as there are no
//! more threads than places, no two of them share one, however many came and went before. Beyond 64 threads at a
//! time numbers are handed out in turn and not given back. To share a place costs speed only.

#[cfg(any(feature = "loom", feature = "shuttle"))]
mod explored;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod real;

#[cfg(any(feature = "loom", feature = "shuttle"))]
use self::explored::NUMBER;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
use self::real::NUMBER;

/// The present thread's number. A thread that is ending, and has none any more, is number 0.
pub(crate) fn number() -> usize {
    NUMBER.try_with(|number| number.shown.get()).unwrap_or(0)
}

/// Gives the present thread another number, for tests that decide who meets whom.
#[cfg(test)]
pub(crate) fn pin(to: usize) {
    NUMBER.with(|number| number.shown.set(to));
}

#[cfg(all(test, not(any(feature = "loom", feature = "shuttle"))))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_gives_its_number_to_the_next() {
        // Other tests' threads come and go meanwhile: only what holds whatever they do can be asked.
        let mine = number();
        assert_eq!(number(), mine, "it stays the same");
        for _ in 0..1000 {
            let other = std::thread::spawn(number).join().unwrap();
            assert_ne!(other, mine, "nobody else has it while this thread lives");
            assert!(other < 200, "numbers are given back: {other}");
        }
    }
}
