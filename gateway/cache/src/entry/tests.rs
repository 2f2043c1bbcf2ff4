//! Freshness by example and by generated instants; weight and compaction.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use proptest::prelude::*;

use super::*;
use crate::scope::Scopes;

fn entry(stored_at: Instant, ttl: Duration, swr: Duration, keep: Duration) -> Entry {
    Entry {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        stored_at,
        age_at_store: Duration::ZERO,
        ttl,
        stale_while_revalidate: swr,
        keep_stale: keep,
        scope: Scopes::default().scope("github", "get_user"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check(entry: &Entry, after: Duration, freshness: Freshness, ttl_left: i64) {
    let now = entry.stored_at + after;
    assert_eq!((entry.freshness(now), entry.ttl_left(now)), (freshness, ttl_left), "after {after:?}");
}

#[test]
fn goes_from_fresh_through_revalidate_and_stale_to_dead() {
    let entry = entry(Instant::now(), seconds(10), seconds(5), seconds(60));
    check(&entry, seconds(0), Freshness::Fresh, 10);
    check(&entry, Duration::from_millis(9_999), Freshness::Fresh, 0);
    check(&entry, seconds(10), Freshness::Revalidate, 0);
    check(&entry, Duration::from_millis(10_001), Freshness::Revalidate, -1);
    check(&entry, seconds(15), Freshness::Stale, -5);
    check(&entry, Duration::from_millis(69_999), Freshness::Stale, -60);
    check(&entry, seconds(70), Freshness::Dead, -60);
}

#[test]
fn a_span_of_zero_is_off() {
    let none = entry(Instant::now(), seconds(10), seconds(0), seconds(0));
    check(&none, seconds(10), Freshness::Dead, 0);
    let nothing = entry(Instant::now(), seconds(0), seconds(0), seconds(0));
    check(&nothing, seconds(0), Freshness::Dead, 0);
}

#[test]
fn revalidation_may_outlast_the_fallback() {
    let entry = entry(Instant::now(), seconds(10), seconds(30), seconds(5));
    check(&entry, seconds(39), Freshness::Revalidate, -29);
    check(&entry, seconds(40), Freshness::Dead, -30);
}

#[test]
fn the_age_on_arrival_counts() {
    let mut entry = entry(Instant::now(), seconds(10), seconds(0), seconds(60));
    entry.age_at_store = seconds(8);
    check(&entry, seconds(1), Freshness::Fresh, 1);
    check(&entry, seconds(2), Freshness::Stale, 0);
    assert_eq!(entry.age(entry.stored_at + seconds(2)), seconds(10));
}

#[test]
fn a_now_from_before_the_store_is_taken_as_the_moment_of_storing() {
    let earlier = Instant::now();
    let entry = entry(earlier + seconds(100), seconds(10), seconds(0), seconds(0));
    assert_eq!(entry.age(earlier), Duration::ZERO);
    assert_eq!(entry.freshness(earlier), Freshness::Fresh);
}

#[test]
fn the_extremes_of_every_span_saturate() {
    let mut entry = entry(Instant::now(), Duration::MAX, Duration::MAX, Duration::MAX);
    check(&entry, seconds(1), Freshness::Fresh, i64::MAX);
    entry.age_at_store = Duration::MAX;
    check(&entry, seconds(1), Freshness::Revalidate, 0);
    entry.ttl = Duration::ZERO;
    check(&entry, seconds(1), Freshness::Dead, i64::MIN);
}

#[test]
fn the_weight_grows_with_headers_and_body_and_is_never_zero() {
    let mut entry = entry(Instant::now(), seconds(1), seconds(0), seconds(0));
    let empty = entry.weight();
    assert!(empty >= size_of::<Entry>() + size_of::<Key>());
    entry.body = Bytes::from(vec![0; 1000]);
    assert_eq!(entry.weight(), empty + 1000);
    entry.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert!(entry.weight() > empty + 1000 + "content-typeapplication/json".len());
}

#[test]
fn compaction_leaves_the_buffers_behind_that_the_parts_were_cut_from() {
    let read_buffer = Bytes::from(b"Bearer secret\r\n\r\nbody".to_vec());
    let mut entry = entry(Instant::now(), seconds(1), seconds(0), seconds(0));
    let mut value = HeaderValue::from_maybe_shared(read_buffer.slice(..13)).unwrap();
    value.set_sensitive(true);
    entry.headers.append(AUTHORIZATION, value);
    entry.headers.append(AUTHORIZATION, HeaderValue::from_static("second"));
    entry.body = read_buffer.slice(17..);
    assert!(!read_buffer.is_unique());

    let entry = entry.compacted();
    assert!(read_buffer.is_unique());
    assert_eq!(entry.body, "body");
    let values: Vec<_> = entry.headers.get_all(AUTHORIZATION).iter().collect();
    assert_eq!(values, ["Bearer secret", "second"]);
    assert_eq!(values.iter().map(|value| value.is_sensitive()).collect::<Vec<_>>(), [true, false]);
}

fn any_span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0_u64..200, 0_u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => any::<u64>().prop_map(Duration::from_secs),
    ]
}

proptest! {
    #[test]
    fn freshness_and_ttl_only_ever_fall(
        spans in [any_span(), any_span(), any_span(), any_span()],
        steps in prop::collection::vec(0_u64..100_000, 1..12),
    ) {
        let [age, ttl, swr, keep] = spans;
        let stored_at = Instant::now();
        let mut entry = entry(stored_at, ttl, swr, keep);
        entry.age_at_store = age;
        let mut now = stored_at;
        let mut last = (entry.freshness(now), entry.ttl_left(now), entry.age(now));
        for step in steps {
            now += Duration::from_millis(step);
            let this = (entry.freshness(now), entry.ttl_left(now), entry.age(now));
            prop_assert!(this.0 >= last.0);
            prop_assert!(this.1 <= last.1);
            prop_assert!(this.2 >= last.2);
            last = this;
        }
    }

    #[test]
    fn freshness_agrees_with_the_age(
        spans in [any_span(), any_span(), any_span(), any_span()],
        after in 0_u64..400_000,
    ) {
        let [age, ttl, swr, keep] = spans;
        let mut entry = entry(Instant::now(), ttl, swr, keep);
        entry.age_at_store = age;
        let now = entry.stored_at + Duration::from_millis(after);
        // Nanoseconds in 128 bits hold the sum of any two spans, so nothing saturates but the age itself.
        let lived = (age.as_nanos() + u128::from(after) * 1_000_000).min(Duration::MAX.as_nanos());
        let until = |span: Duration| ttl.as_nanos() + span.as_nanos();
        let expected = if lived < ttl.as_nanos() {
            Freshness::Fresh
        } else if lived < until(swr) {
            Freshness::Revalidate
        } else if lived < until(keep) {
            Freshness::Stale
        } else {
            Freshness::Dead
        };
        prop_assert_eq!(entry.freshness(now), expected);
        match expected {
            Freshness::Fresh => prop_assert!(entry.ttl_left(now) >= 0),
            _ => prop_assert!(entry.ttl_left(now) <= 0),
        }
    }
}
