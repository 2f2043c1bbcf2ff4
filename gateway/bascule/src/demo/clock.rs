//! The time as the stand-ins see it, and the two ways in which they write it.
//!
//! Passed in, so that recorded requests with old dates can be checked. Only UTC and whole seconds:
//! none of the imitated APIs needs more.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const SECONDS_PER_DAY: u64 = 86_400;

/// Tells the time.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    pub(crate) fn system() -> Self {
        Self(Arc::new(SystemTime::now))
    }

    /// A clock that stands still at `epoch` seconds.
    #[cfg(test)]
    pub(crate) fn fixed(epoch: u64) -> Self {
        Self(Arc::new(move || UNIX_EPOCH + Duration::from_secs(epoch)))
    }

    /// Seconds since 1970.
    pub(crate) fn epoch(&self) -> u64 {
        (self.0)().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

/// `20130524T000000Z` as seconds since 1970; `None` when it is no such time, or one before 1970.
pub(crate) fn parse_basic(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..16) != Some("Z") {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let sane =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour <= 23 && minute <= 59 && second <= 60;
    let days = sane.then(|| days_from_civil(year, month, day))??;
    Some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
}

/// Seconds since 1970 as `2013-05-24T00:00:00.000Z`, the way that S3 writes times in its documents.
pub(crate) fn format_extended(epoch: u64) -> String {
    let (year, month, day) = civil_from_days(epoch / SECONDS_PER_DAY);
    let second = epoch % SECONDS_PER_DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Seconds since 1970 as an HTTP date.
pub(crate) fn format_http(epoch: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(epoch))
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last of its year.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = (month + 9) % 12;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    // 719,469 is what the expression above gives for 1970-01-01.
    days.checked_sub(719_469)
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_times_are_read_and_nonsense_is_not() {
        assert_eq!(parse_basic("19700101T000000Z"), Some(0));
        assert_eq!(parse_basic("20130524T000000Z"), Some(1_369_353_600));
        assert_eq!(parse_basic("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(parse_basic("20240229T235959Z"), Some(1_709_251_199));
        for text in
            ["", "20130524", "20131324T000000Z", "20130524T250000Z", "2013052+T000000Z", "19691231T000000Z"]
        {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for epoch in [0, 951_782_400, 1_369_353_600, 1_709_251_199, 1_735_689_599, 4_107_542_400] {
            let basic: String =
                format_extended(epoch).replace(".000", "").chars().filter(|c| !"-:".contains(*c)).collect();
            assert_eq!(parse_basic(&basic), Some(epoch), "{basic}");
        }
        assert_eq!(format_extended(1_369_353_600), "2013-05-24T00:00:00.000Z");
    }
}
