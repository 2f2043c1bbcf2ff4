//! The cases that ask twice: an answer, a pause of three seconds, and whether the second one comes from the cache.

use super::proxy::{Outcome, Proxy, fields};

/// A field as it is, or a date so many seconds from now.
#[derive(Clone, Copy)]
pub(crate) enum Value {
    Text(&'static str),
    Date(i64),
}
use Value::{Date, Text};

pub(crate) type Fields = &'static [(&'static str, Value)];
pub(crate) type Request = &'static [(&'static str, &'static str)];

pub(crate) fn twice(status: u16, first: Request, answer: Fields, second: Request) -> Outcome {
    let mut proxy = Proxy::new();
    let origin = |proxy: &Proxy| {
        let text = |value: &Value| match value {
            Text(text) => (*text).to_owned(),
            Date(offset) => proxy.date(*offset),
        };
        let headers = answer.iter().map(|(name, value)| (*name, text(value))).collect();
        Some((status, headers, "01234567890"))
    };
    let now = origin(&proxy);
    assert!(!proxy.call("GET", "/a", &fields(first.iter().copied()), |_| now.clone()).is_cached());
    proxy.wait(3);
    let now = origin(&proxy);
    proxy.call("GET", "/a", &fields(second.iter().copied()), |_| now.clone())
}

#[track_caller]
pub(crate) fn check(cached: bool, cases: &[(&str, u16, Fields)]) {
    for (name, status, answer) in cases {
        assert_eq!(twice(*status, &[], answer, &[]).is_cached(), cached, "{name}");
    }
}

#[track_caller]
pub(crate) fn check_requests(cached: bool, cases: &[(&str, Request, Fields, Request)]) {
    for (name, first, answer, second) in cases {
        assert_eq!(twice(200, first, answer, second).is_cached(), cached, "{name}");
    }
}

pub(crate) const MONTH: i64 = 30 * 24 * 60 * 60;

#[test]
fn freshness() {
    check(
        true,
        &[
            ("freshness-max-age", 200, &[("cache-control", Text("max-age=3600"))]),
            (
                "freshness-max-age-expires",
                200,
                &[("cache-control", Text("max-age=3600")), ("expires", Date(-10000)), ("date", Date(0))],
            ),
            (
                "freshness-max-age-expires-invalid",
                200,
                &[("cache-control", Text("max-age=3600")), ("expires", Text("0")), ("date", Date(0))],
            ),
            ("freshness-s-maxage-shared", 200, &[("cache-control", Text("s-maxage=3600"))]),
            (
                "freshness-max-age-s-maxage-shared-shorter",
                200,
                &[("cache-control", Text("max-age=1, s-maxage=3600"))],
            ),
            ("freshness-expires-future", 200, &[("expires", Date(MONTH)), ("date", Date(0))]),
            ("freshness-expires-invalid-date", 200, &[("expires", Date(10)), ("date", Text("foo"))]),
        ],
    );
    check(
        false,
        &[
            ("freshness-none", 200, &[]),
            ("freshness-max-age-0", 200, &[("cache-control", Text("max-age=0"))]),
            (
                "freshness-max-age-age",
                200,
                &[("date", Date(0)), ("cache-control", Text("max-age=10")), ("age", Text("15"))],
            ),
            (
                "freshness-max-age-0-expires",
                200,
                &[("expires", Date(10000)), ("cache-control", Text("max-age=0")), ("date", Date(0))],
            ),
            (
                "freshness-max-age-s-maxage-shared-longer",
                200,
                &[("cache-control", Text("max-age=3600, s-maxage=1"))],
            ),
            (
                "freshness-max-age-s-maxage-shared-longer-multiple",
                200,
                &[("cache-control", Text("max-age=3600")), ("cache-control", Text("s-maxage=1"))],
            ),
            ("freshness-expires-past", 200, &[("expires", Date(-MONTH)), ("date", Date(0))]),
            ("freshness-expires-present", 200, &[("expires", Date(0)), ("date", Date(0))]),
            ("freshness-expires-old-date", 200, &[("expires", Date(300)), ("date", Date(400))]),
            ("freshness-expires-invalid", 200, &[("expires", Text("0")), ("date", Date(0))]),
            (
                "freshness-expires-age-slow-date",
                200,
                &[("date", Date(-10)), ("expires", Date(10)), ("age", Text("25"))],
            ),
            (
                "freshness-expires-age-fast-date",
                200,
                &[("date", Date(10)), ("expires", Date(20)), ("age", Text("15"))],
            ),
            (
                "freshness-expires-invalid-1-digit-hour",
                200,
                &[("expires", Text("Thu, 18 Aug 2050 2:01:18 GMT")), ("date", Date(0))],
            ),
        ],
    );
}

#[test]
fn age_parse() {
    let of = |age: &'static [&'static str]| {
        let age = age.iter().map(|line| ("age", Text(line)));
        let all: Vec<_> =
            [("date", Date(0)), ("cache-control", Text("max-age=10000"))].into_iter().chain(age).collect();
        twice(200, &[], Vec::leak(all), &[]).is_cached()
    };
    for age in [
        &["abc"][..],
        &["-7200"],
        &["7200.0"],
        &["7200,0"],
        &["7200", "0"],
        &["0", "7200"],
        &["0, 0"],
        &["0", "0"],
        &["3600, 3600"],
        &["7200;foo=bar"],
    ] {
        assert!(!of(age), "age-parse {age:?}");
    }
    assert!(of(&["7200"]) && !of(&["10000"]));
    // `age-parse-prefix` alone wants the first one of several to count.
    assert!(!of(&["0,7200"]));
}

#[test]
fn status_and_heuristic() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        check(
            true,
            &[(
                "status-fresh",
                status,
                &[("expires", Date(100_000)), ("last-modified", Date(0)), ("date", Date(0))],
            )],
        );
        check(
            false,
            &[(
                "status-stale",
                status,
                &[("expires", Date(-5000)), ("last-modified", Date(-100_000)), ("date", Date(0))],
            )],
        );
    }
    const DAY_OLD: Fields = &[("last-modified", Date(-24 * 60 * 60)), ("date", Date(0))];
    for (status, cached) in [
        (200, true),
        (201, false),
        (202, false),
        (203, true),
        (204, true),
        (403, false),
        (404, true),
        (405, true),
        (410, true),
        (414, true),
        (501, true),
        (502, false),
        (503, false),
        (504, false),
        (599, false),
    ] {
        check(cached, &[("heuristic", status, DAY_OLD)]);
    }
    check(
        true,
        &[(
            "heuristic-599-cached",
            599,
            &[("last-modified", Date(-24 * 60 * 60)), ("date", Date(0)), ("cache-control", Text("public"))],
        )],
    );
}

#[test]
fn vary() {
    const VARY: Fields = &[("cache-control", Text("max-age=5000")), ("vary", Text("Foo"))];
    const VARY_3: Fields = &[("cache-control", Text("max-age=5000")), ("vary", Text("Foo, Bar, Baz"))];
    check_requests(
        true,
        &[
            ("vary-match", &[("foo", "1")], VARY, &[("foo", "1")]),
            ("vary-cache-key", &[("foo", "1"), ("other", "2")], VARY, &[("foo", "1"), ("other", "3")]),
            ("vary-3-omit", &[("foo", "1"), ("baz", "789")], VARY_3, &[("foo", "1"), ("baz", "789")]),
            ("vary-normalise-combine", &[("foo", "1, 2")], VARY, &[("foo", "1"), ("foo", "2")]),
            ("vary-normalise-space", &[("foo", "1,2")], VARY, &[("foo", " 1, 2 ")]),
        ],
    );
    check_requests(
        false,
        &[
            ("vary-no-match", &[("foo", "1")], VARY, &[("foo", "2")]),
            ("vary-omit-stored", &[], VARY, &[("foo", "1")]),
            ("vary-omit", &[("foo", "1")], VARY, &[]),
            (
                "vary-3-order",
                &[("foo", "1"), ("bar", "abc"), ("baz", "789")],
                VARY_3,
                &[("foo", "1"), ("baz", "789"), ("bar", "abcde")],
            ),
            (
                "vary-star",
                &[("foo", "1")],
                &[("cache-control", Text("max-age=5000")), ("vary", Text("*"))],
                &[("foo", "1")],
            ),
            (
                "vary-syntax-foo-star",
                &[("foo", "1")],
                &[("cache-control", Text("max-age=5000")), ("vary", Text("Foo, *"))],
                &[("foo", "1")],
            ),
            (
                "vary-syntax-empty-star-lines",
                &[],
                &[("cache-control", Text("max-age=5000")), ("vary", Text("")), ("vary", Text("*"))],
                &[],
            ),
        ],
    );
}

#[test]
fn conditions_and_ranges_of_the_caller() {
    let tagged: Fields = &[
        ("cache-control", Text("max-age=100000")),
        ("etag", Text("\"abcdef\"")),
        ("last-modified", Date(-3000)),
        ("date", Date(0)),
    ];
    let plain: Fields = &[("cache-control", Text("max-age=3600"))];
    for (name, answer, request, status, body) in [
        ("conditional-304-etag", tagged, &[("if-none-match", "\"1234\", \"abcdef\"")] as Request, 304, ""),
        (
            "conditional-lm-fresh-no-lm",
            plain,
            &[("if-modified-since", "Wed, 01 Jan 2031 00:00:00 GMT")],
            304,
            "",
        ),
        ("partial-store-complete-reuse-partial", plain, &[("range", "bytes=0-1")], 206, "01"),
        ("partial-store-complete-reuse-partial-no-last", plain, &[("range", "bytes=1-")], 206, "1234567890"),
        ("partial-store-complete-reuse-partial-suffix", plain, &[("range", "bytes=-1")], 206, "0"),
    ] {
        let outcome = twice(200, &[], answer, request);
        assert_eq!(
            (outcome.is_cached(), outcome.status, &outcome.body[..]),
            (true, status, body.as_bytes()),
            "{name}"
        );
        assert_eq!(outcome.text("age"), "3", "{name}");
    }
    assert_eq!(twice(200, &[], tagged, &[("if-none-match", "\"abcdef\"")]).text("etag"), "\"abcdef\"");
    // What is for the origin goes there.
    assert!(!twice(200, &[], tagged, &[("if-match", "\"abcdef\"")]).is_cached());
}

#[test]
fn age_and_date_of_what_is_reused() {
    let aged = twice(
        200,
        &[],
        &[("cache-control", Text("max-age=600")), ("date", Date(0)), ("age", Text("30"))],
        &[],
    );
    assert_eq!((aged.is_cached(), aged.text("age")), (true, "33"));
    let dated = twice(200, &[], &[("expires", Date(MONTH)), ("date", Date(0))], &[]);
    assert_eq!(dated.text("date"), Proxy::new().date(0));
    assert_eq!(dated.text("expires"), Proxy::new().date(MONTH));
    assert_eq!(
        twice(200, &[], &[("cache-control", Text("max-age=9"))], &[]).text("date"),
        Proxy::new().date(0)
    );
}
