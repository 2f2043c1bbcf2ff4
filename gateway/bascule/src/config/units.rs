//! Durations and sizes as people write them: `250ms`, `30s`, `10MiB`.
//!
//! One number, one unit, nothing else: `1h30m`, `1.5s` and a bare `30` are refused, because every
//! file then reads the same way. Whether zero makes sense is the caller's question.

use std::time::Duration;

/// Longest duration: about ten years. Adding it to an `Instant` never overflows.
pub const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Units of durations, largest first, with their length in milliseconds.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];
/// Units of sizes with their length in octets.
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A text that is no duration or no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number and a unit of time.
    #[error("not a duration")]
    NotADuration,
    /// Not a number and a unit of size.
    #[error("not a size")]
    NotASize,
    /// Over [`DURATION_MAX`].
    #[error("longer than 3650d")]
    TooLong,
    /// Over what a size can be.
    #[error("too large")]
    TooLarge,
}

/// The duration that `250ms`, `30s`, `15m`, `2h` or `7d` stand for.
///
/// # Errors
/// [`UnitError::NotADuration`] for anything but digits and one of these units,
/// [`UnitError::TooLong`] beyond [`DURATION_MAX`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::NotADuration)?;
    let millis = scale(unit, &DURATION_UNITS).ok_or(UnitError::NotADuration)?;
    let number: u64 = number.parse().map_err(|_| UnitError::TooLong)?;
    let span = number.checked_mul(millis).map(Duration::from_millis).ok_or(UnitError::TooLong)?;
    if span > DURATION_MAX { Err(UnitError::TooLong) } else { Ok(span) }
}

/// The octets that `512B`, `64KiB`, `10MiB` or `1GiB` stand for.
///
/// # Errors
/// [`UnitError::NotASize`] for anything but digits and one of these units, [`UnitError::TooLarge`]
/// when the number does not fit 63 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::NotASize)?;
    let octets = scale(unit, &SIZE_UNITS).ok_or(UnitError::NotASize)?;
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    let size = number.checked_mul(octets).ok_or(UnitError::TooLarge)?;
    if size > i64::MAX as u64 { Err(UnitError::TooLarge) } else { Ok(size) }
}

/// The duration in the largest unit that needs no fraction; what is below a millisecond is cut off.
pub fn format_duration(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let fitting = DURATION_UNITS.iter().find(|(_, length)| millis.is_multiple_of(*length));
    let (unit, length) = fitting.copied().unwrap_or(("ms", 1));
    format!("{}{unit}", millis / length)
}

fn split(text: &str) -> Option<(&str, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    if at == 0 { None } else { text.split_at_checked(at) }
}

fn scale(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, length)| *length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1.5s", "1h30m", "30 s", "30S", "30sec", "٣s"] {
            assert_eq!(parse_duration(text), Err(UnitError::NotADuration), "{text}");
        }
        assert_eq!(parse_duration("4000d"), Err(UnitError::TooLong));
        assert_eq!(parse_duration("99999999999999999999d"), Err(UnitError::TooLong));
    }

    #[test]
    fn sizes_are_a_number_and_a_binary_unit() {
        for (text, octets) in [("512B", 512), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(octets), "{text}");
        }
        for text in ["", "10", "10MB", "10mib", "KiB"] {
            assert_eq!(parse_size(text), Err(UnitError::NotASize), "{text}");
        }
        assert_eq!(parse_size("9999999999GiB"), Err(UnitError::TooLarge));
    }

    #[test]
    fn durations_print_in_the_largest_unit_that_fits() {
        for text in ["250ms", "1500ms", "30s", "90s", "15m", "2h", "36h", "7d", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(format_duration(Duration::from_micros(1_500_900)), "1500ms");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0u64..=315_360_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
