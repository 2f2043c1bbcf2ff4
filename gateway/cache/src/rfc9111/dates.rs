//! Dates in header fields.
//!
//! The decision: a date that cannot be read is none (RFC 9110 §5.6.7 knows three formats, and all three are read). What
//! its absence means is said by whoever asks.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The date of the first line of a field. None if there is no such field, or no date in it.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse(headers.get(name)?)
}

pub(super) fn parse(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// None for a time that no `HeaderValue` can hold, which a calendar of four digits does not know.
pub(super) fn format(time: SystemTime) -> Option<HeaderValue> {
    // The formatter knows no time before 1970, nor after 9999.
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if since >= END_OF_CALENDAR {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()
}

/// The first second of the year 10000.
const END_OF_CALENDAR: Duration = Duration::from_secs(253_402_300_800);

/// From `earlier` to `later`, zero if it is the other way round.
pub(super) fn span(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_three_formats_and_nothing_else() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(&HeaderValue::from_static(text)), Some(time), "{text}");
        }
        for text in ["0", "-1", "", "foo", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 8:49:37 GMT"] {
            assert_eq!(parse(&HeaderValue::from_static(text)), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_and_what_cannot_be_written_is_none() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse(&format(time).unwrap()), Some(time));
        assert!(format(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_none());
        assert!(format(SystemTime::UNIX_EPOCH + END_OF_CALENDAR).is_none());
        assert!(format(SystemTime::UNIX_EPOCH + END_OF_CALENDAR - Duration::from_secs(1)).is_some());
    }
}
