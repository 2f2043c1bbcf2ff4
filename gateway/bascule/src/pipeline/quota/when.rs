//! Points in time as providers write them, read as spans from now.
//!
//! | written                    | is                                                     |
//! |----------------------------|--------------------------------------------------------|
//! | a number up to 10⁹         | seconds from now (`contract.md` §6)                    |
//! | a number above 10⁹, 10¹²   | seconds, milliseconds since 1970                       |
//! | `6m0s`, `1.5s`, `20ms`     | a span, in the notation of Go that some providers use  |
//! | an HTTP-date               | that point in time                                     |

use std::time::{Duration, SystemTime};

/// A number above this is a point in time, below it a span.
const EPOCH_FROM: f64 = 1e9;
/// A number above this is a point in time in milliseconds: as seconds it would be in the year 33658.
const EPOCH_MILLIS_FROM: f64 = 1e12;

/// How long until the point in time that the text names; zero if that has passed.
pub(super) fn until(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then(|| match number {
            millis if millis > EPOCH_MILLIS_FROM => until_epoch(millis / 1000.0, now),
            seconds if seconds > EPOCH_FROM => until_epoch(seconds, now),
            seconds => span(seconds),
        });
    }
    if let Some(span) = go_duration(text) {
        return Some(span);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Seconds as a span: negative ones are none, too large ones as long as can be.
pub(super) fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

fn until_epoch(epoch: f64, now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    span(epoch - since.as_secs_f64())
}

/// `1h2m3.5s`, `20ms`: numbers with units, one after the other.
fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.find(|c: char| c.is_ascii_digit()).map_or(tail, |end| tail.split_at(end).0);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail.split_at(unit.len()).1;
    }
    (!text.is_empty()).then(|| span(seconds))
}
