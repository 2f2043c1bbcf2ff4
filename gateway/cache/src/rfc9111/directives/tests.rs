//! Reading directives, by table: the cases are those of the public suite's groups `cc-parse`, `cc-request`, `pragma`.

use http::HeaderValue;

use super::*;

fn headers(name: HeaderName, lines: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(&name, HeaderValue::from_static(line));
    }
    headers
}

fn response(lines: &[&'static str]) -> ResponseDirectives {
    ResponseDirectives::of(&headers(CACHE_CONTROL, lines))
}

fn request(line: &'static str) -> RequestDirectives {
    RequestDirectives::of(&headers(CACHE_CONTROL, &[line]))
}

const fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[test]
fn a_lifetime_is_read_from_what_is_valid_and_zero_otherwise() {
    for (lines, expected) in [
        (&["max-age=3600"][..], secs(3600)),
        (&["MaX-aGe=3600"], secs(3600)),
        (&["foobar, max-age=3600"], secs(3600)),
        (&["max-age=003600"], secs(3600)),
        (&["max-age=\"3600\""], secs(3600)),
        (&["max-age=99999999999"], secs(1 << 31)),
        (&["max-age=1800, max-age=1"], secs(1800)),
        (&["max-age=1", "max-age=1800"], secs(1)),
        (&["extension=\"max-age=3600\", max-age=1"], secs(1)),
        (&["max-age=1, extension=\"max-age=3600\""], secs(1)),
        (&["max-age='3600'"], secs(0)),
        (&["max-age =3600"], secs(0)),
        (&["max-age= 3600"], secs(0)),
        (&["max-age=3600.0"], secs(0)),
        (&["max-age=a3600"], secs(0)),
        (&["max-age=3600a"], secs(0)),
        (&["max-age=-3600"], secs(0)),
        (&["max-age"], secs(0)),
        (&["max-age="], secs(0)),
        (&["no-store"], None),
        (&[], None),
    ] {
        assert_eq!(response(lines).max_age, expected, "{lines:?}");
    }
}

#[test]
fn flags_are_read_in_any_case_and_place() {
    let all =
        response(&["No-StOrE , public,must-revalidate", "proxy-revalidate, must-understand, s-maxage=5"]);
    assert!(all.no_store && all.public && all.must_revalidate && all.proxy_revalidate && all.must_understand);
    assert_eq!(all.s_maxage, secs(5));
    assert!(!all.no_cache && !all.private && !all.targeted);
}

#[test]
fn a_directive_with_fields_is_about_them_alone() {
    let named = response(&["no-cache=\"Set-Cookie, x-a\", private=x-b"]);
    assert_eq!(named.no_cache_fields, ["set-cookie", "x-a"]);
    assert_eq!(named.private_fields, ["x-b"]);
    assert!(!named.no_cache && !named.private);
    for whole in ["no-cache", "no-cache=\"\"", "no-cache=\"a b\"", "no-cache=\"a\", no-cache", "no-cache="] {
        assert!(response(&[whole]).no_cache, "{whole}");
    }
}

#[test]
fn what_forbids_stale_use() {
    for (line, never) in [
        ("max-age=1", false),
        ("public", false),
        ("stale-if-error=5", false),
        ("must-revalidate", true),
        ("proxy-revalidate", true),
        ("s-maxage=2", true),
        ("no-cache", true),
        ("no-cache=\"a\"", false),
    ] {
        assert_eq!(response(&[line]).never_stale(), never, "{line}");
    }
}

#[test]
fn a_request_may_ask_for_everything_at_once() {
    let asked = request("no-store, only-if-cached, max-age=1, min-fresh=2, max-stale=3, stale-if-error=4");
    let expected = RequestDirectives {
        no_cache: false,
        no_store: true,
        only_if_cached: true,
        max_age: secs(1),
        min_fresh: secs(2),
        max_stale: secs(3),
        stale_if_error: secs(4),
    };
    assert_eq!(asked, expected);
    assert_eq!(request("max-stale").max_stale, Some(Duration::MAX));
    assert_eq!(request("max-stale=x, max-age=x"), RequestDirectives::default());
}

#[test]
fn pragma_counts_only_without_cache_control_and_only_in_requests() {
    let mut headers = headers(PRAGMA, &["foo, No-Cache"]);
    assert!(RequestDirectives::of(&headers).no_cache);
    assert!(!ResponseDirectives::of(&headers).no_cache);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert!(!RequestDirectives::of(&headers).no_cache);
}
