//! How old an answer was when it arrived (RFC 9111 §4.2.3).
//!
//! The decision: only this first step needs wall clocks, the origin's in `Date` and our own. From then on an answer ages
//! by the monotonic clock, so that no step of ours makes it younger or older.

use std::time::{Duration, Instant, SystemTime};

use http::{
    HeaderMap,
    header::{AGE, DATE},
};

use super::{
    dates::{date, span},
    list::seconds,
};

/// When an answer was asked for and when its head was there.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// When the request was sent.
    pub requested_at: Instant,
    /// When the head of the answer was there.
    pub received_at: Instant,
    /// The same moment by the calendar.
    pub received_on: SystemTime,
}

impl Received {
    /// How old an answer with these headers was at [`received_at`](Self::received_at): the larger one of what `Date`
    /// says, and of what `Age` says with the whole time of the exchange added. None if `Age` is there and cannot be read,
    /// so that nobody knows.
    #[must_use]
    pub fn initial_age(&self, headers: &HeaderMap) -> Option<Duration> {
        let apparent = date(headers, &DATE).map_or(Duration::ZERO, |date| span(date, self.received_on));
        let exchange = self.received_at.saturating_duration_since(self.requested_at);
        Some(apparent.max(age(headers)?.saturating_add(exchange)))
    }
}

/// What `Age` says; zero without one.
///
/// One number is an age, and nothing else is. Where §5.1 would have the first one of several taken, and what is no number
/// ignored, the answer passes for stale here, as one with any other unreadable word on its freshness does (§4.2.1): it has
/// been in another cache already, for who knows how long.
fn age(headers: &HeaderMap) -> Option<Duration> {
    let mut lines = headers.get_all(AGE).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Some(Duration::ZERO),
        (Some(line), None) => seconds(line.as_bytes().trim_ascii()),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::rfc9111::dates::format;

    fn received(exchange: u64) -> Received {
        let requested_at = Instant::now();
        Received {
            requested_at,
            received_at: requested_at + Duration::from_secs(exchange),
            received_on: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        }
    }

    fn headers(age: &[&'static str], date_offset: Option<i64>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in age {
            headers.append(AGE, HeaderValue::from_static(line));
        }
        if let Some(offset) = date_offset {
            let on = Duration::from_secs(1_700_000_000_u64.saturating_add_signed(offset));
            headers.insert(DATE, format(SystemTime::UNIX_EPOCH + on).unwrap());
        }
        headers
    }

    #[test]
    fn takes_the_larger_of_age_and_date() {
        for (age, date_offset, exchange, expected) in [
            (&[][..], None, 0, 0),
            (&[], Some(0), 3, 3),
            (&["30"], Some(0), 0, 30),
            (&["30"], Some(-40), 3, 40),
            (&["30"], Some(40), 3, 33),
            (&["25"], Some(-10), 0, 25),
        ] {
            let found = received(exchange).initial_age(&headers(age, date_offset));
            assert_eq!(found, Some(Duration::from_secs(expected)), "{age:?} {date_offset:?} {exchange}");
        }
    }

    #[test]
    fn one_number_is_an_age_and_nothing_else_is() {
        for (lines, expected) in [
            (&[][..], Some(0)),
            (&["7200"], Some(7200)),
            (&[" 007 "], Some(7)),
            (&["99999999999"], Some(1 << 31)),
            (&["7200,0"], None),
            (&["0,7200"], None),
            (&["0", "0"], None),
            (&["7200, 7200"], None),
            (&["7200;foo=bar"], None),
            (&["abc"], None),
            (&["-7200"], None),
            (&["7200.0"], None),
            (&[""], None),
        ] {
            let headers = headers(lines, None);
            assert_eq!(age(&headers), expected.map(Duration::from_secs), "{lines:?}");
            assert_eq!(received(0).initial_age(&headers).is_none(), expected.is_none(), "{lines:?}");
        }
    }

    #[test]
    fn a_clock_that_was_read_in_the_wrong_order_adds_nothing() {
        let mut received = received(5);
        std::mem::swap(&mut received.requested_at, &mut received.received_at);
        assert_eq!(received.initial_age(&HeaderMap::new()), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn never_less_than_each_of_its_parts(age in 0_u64..1 << 40, offset in -1_000_000_i64..1_000_000, exchange in 0_u64..1000) {
            let mut headers = headers(&[], Some(offset));
            headers.insert(AGE, HeaderValue::from(age));
            let found = received(exchange).initial_age(&headers).unwrap();
            prop_assert!(found >= Duration::from_secs(exchange));
            prop_assert!(found >= Duration::from_secs(age.min(1 << 31)));
            prop_assert!(found >= Duration::from_secs(u64::try_from(-offset).unwrap_or(0)));
        }
    }
}
