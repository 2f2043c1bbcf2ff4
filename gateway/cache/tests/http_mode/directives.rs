//! What origins demand and callers ask: the groups `cc-response`, `cdn-cache-control`, `cc-request`, `pragma`, `auth`.

use super::{
    proxy::{Proxy, fields},
    suite::{
        Fields, MONTH, Request,
        Value::{Date, Text},
        check, check_requests, twice,
    },
};

#[test]
fn response_directives() {
    check(
        true,
        &[
            (
                "cc-resp-must-revalidate-fresh",
                200,
                &[("cache-control", Text("max-age=10000, must-revalidate")), ("etag", Text("\"abcd\""))],
            ),
            (
                "pragma-response-no-cache",
                200,
                &[("cache-control", Text("max-age=3600")), ("pragma", Text("no-cache"))],
            ),
        ],
    );
    check(
        false,
        &[
            ("cc-resp-private-shared", 200, &[("cache-control", Text("private, max-age=3600"))]),
            ("cc-resp-no-store", 200, &[("cache-control", Text("no-store"))]),
            ("cc-resp-no-store-case-insensitive", 200, &[("cache-control", Text("No-StOrE"))]),
            (
                "cc-resp-no-store-fresh",
                200,
                &[
                    ("cache-control", Text("max-age=10000, no-store")),
                    ("expires", Date(10000)),
                    ("date", Date(0)),
                ],
            ),
            (
                "cc-resp-no-cache",
                200,
                &[
                    ("cache-control", Text("max-age=10000, no-cache")),
                    ("expires", Date(10000)),
                    ("date", Date(0)),
                ],
            ),
            (
                "cc-resp-no-cache-case-insensitive",
                200,
                &[("cache-control", Text("max-age=10000, No-CaChE")), ("expires", Date(10000))],
            ),
            ("cc-resp-must-revalidate-stale", 200, &[("cache-control", Text("max-age=2, must-revalidate"))]),
        ],
    );
    let without = twice(
        200,
        &[],
        &[
            ("cache-control", Text("no-cache=\"a, b\"")),
            ("a", Text("1")),
            ("c", Text("3")),
            ("cache-control", Text("max-age=3600")),
        ],
        &[],
    );
    assert!(without.is_cached() && without.text("c") == "3" && without.text("a").is_empty());
    let kept = twice(
        200,
        &[],
        &[
            ("connection", Text("a, b")),
            ("a", Text("1")),
            ("c", Text("3")),
            ("cache-control", Text("max-age=3600")),
        ],
        &[],
    );
    assert!(
        kept.is_cached()
            && kept.text("c") == "3"
            && kept.text("a").is_empty()
            && kept.text("connection").is_empty()
    );
}

#[test]
fn cdn_cache_control() {
    check(
        true,
        &[
            ("cdn-max-age", 200, &[("cdn-cache-control", Text("max-age=3600"))]),
            ("cdn-max-age-max-plus", 200, &[("cdn-cache-control", Text("max-age=99999999999"))]),
            ("cdn-max-age-extension", 200, &[("cdn-cache-control", Text("foobar, max-age=3600"))]),
            (
                "cdn-max-age-expires",
                200,
                &[("cdn-cache-control", Text("max-age=3600")), ("expires", Date(-10000)), ("date", Date(0))],
            ),
            (
                "cdn-max-age-short-cc-max-age",
                200,
                &[("cache-control", Text("max-age=1")), ("cdn-cache-control", Text("max-age=3600"))],
            ),
            (
                "cdn-fresh-cc-nostore",
                200,
                &[("cache-control", Text("no-store")), ("cdn-cache-control", Text("max-age=10000"))],
            ),
        ],
    );
    check(
        false,
        &[
            (
                "cdn-max-age-age",
                200,
                &[("date", Date(0)), ("cdn-cache-control", Text("max-age=3600")), ("age", Text("7200"))],
            ),
            (
                "cdn-max-age-space-before-equals",
                200,
                &[("cache-control", Text("max-age=1")), ("cdn-cache-control", Text("max-age =100"))],
            ),
            ("cdn-max-age-0", 200, &[("cdn-cache-control", Text("max-age=0"))]),
            (
                "cdn-max-age-0-expires",
                200,
                &[("cdn-cache-control", Text("max-age=0")), ("expires", Date(10000)), ("date", Date(0))],
            ),
            (
                "cdn-max-age-long-cc-max-age",
                200,
                &[("cache-control", Text("max-age=3600")), ("cdn-cache-control", Text("max-age=1"))],
            ),
            (
                "cdn-private",
                200,
                &[("cdn-cache-control", Text("private")), ("cache-control", Text("max-age=10000"))],
            ),
            (
                "cdn-no-cache",
                200,
                &[("cdn-cache-control", Text("no-cache")), ("cache-control", Text("max-age=10000"))],
            ),
            (
                "cdn-no-store-cc-fresh",
                200,
                &[("cache-control", Text("max-age=10000")), ("cdn-cache-control", Text("no-store"))],
            ),
            (
                "cdn-cc-invalid-sh-type-unknown",
                200,
                &[("cdn-cache-control", Text("max-age=10000, &&&&&")), ("cache-control", Text("no-store"))],
            ),
            (
                "cdn-cc-invalid-sh-type-wrong",
                200,
                &[("cdn-cache-control", Text("max-age=\"10000\"")), ("cache-control", Text("no-store"))],
            ),
        ],
    );
}

#[test]
fn request_directives() {
    const HOUR: Fields = &[("cache-control", Text("max-age=3600"))];
    check_requests(
        false,
        &[
            ("ccreq-ma0", &[], HOUR, &[("cache-control", "max-age=0")]),
            ("ccreq-ma1", &[], HOUR, &[("cache-control", "max-age=1")]),
            (
                "ccreq-magreaterage",
                &[],
                &[("cache-control", Text("max-age=3600")), ("age", Text("1800"))],
                &[("cache-control", "max-age=600")],
            ),
            (
                "ccreq-min-fresh",
                &[],
                &[("cache-control", Text("max-age=1500"))],
                &[("cache-control", "min-fresh=2000")],
            ),
            (
                "ccreq-min-fresh-age",
                &[],
                &[("cache-control", Text("max-age=1500")), ("age", Text("1000"))],
                &[("cache-control", "min-fresh=1000")],
            ),
            ("ccreq-no-cache", &[], HOUR, &[("cache-control", "no-cache")]),
            ("pragma-request-no-cache", &[], HOUR, &[("pragma", "no-cache")]),
        ],
    );
    check_requests(
        true,
        &[
            (
                "ccreq-max-stale",
                &[],
                &[("cache-control", Text("max-age=1")), ("etag", Text("\"1\""))],
                &[("cache-control", "max-stale=1000")],
            ),
            ("pragma-request-extension", &[], HOUR, &[("pragma", "unrecognised-extension")]),
        ],
    );
    let mut proxy = Proxy::new();
    let only = fields([("cache-control", "only-if-cached")]);
    let outcome = proxy.call("GET", "/a", &only, |_| panic!("ccreq-oic"));
    assert_eq!((outcome.status, outcome.is_cached()), (504, true));
}

#[test]
fn authorization_and_cookies() {
    const SECRET: Request = &[("authorization", "FOO")];
    check_requests(
        false,
        &[("other-authorization", SECRET, &[("expires", Date(MONTH)), ("date", Date(0))], &[])],
    );
    check_requests(
        true,
        &[
            ("other-authorization-public", SECRET, &[("cache-control", Text("max-age=3600, public"))], &[]),
            (
                "other-authorization-must-revalidate",
                SECRET,
                &[("cache-control", Text("max-age=3600, must-revalidate"))],
                &[],
            ),
            ("other-authorization-smaxage", SECRET, &[("cache-control", Text("s-maxage=3600"))], &[]),
            ("other-cookie", &[], &[("cache-control", Text("max-age=3600"))], &[("cookie", "a=b")]),
        ],
    );
}
