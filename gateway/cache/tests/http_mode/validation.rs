//! Validation, HEAD and invalidation: the groups `update304`, `update-head`, `conditional-etag`, `invalidation`.

use super::proxy::{Answer, Proxy, fields};
use http::HeaderMap;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Answer {
    Some((status, headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), body))
}

/// A 304 to what is conditional on this tag, else the answer whole.
fn origin(
    tag: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(&HeaderMap) -> Answer {
    move |request| {
        let matches = request.get("if-none-match").is_some_and(|asked| asked == tag);
        let all: Vec<_> = headers.iter().copied().chain([("etag", tag)]).collect();
        if matches { answer(304, &all, "") } else { answer(200, &all, "body") }
    }
}

#[test]
fn a_304_updates_what_is_stored_and_what_is_returned() {
    for (name, before, after, expected) in [
        ("test-header", "1", "2", "2"),
        ("x-content-foo", "1", "2", "2"),
        ("content-type", "text/plain", "text/plain;charset=utf-8", "text/plain;charset=utf-8"),
        ("cache-control", "max-age=2", "max-age=3600", "max-age=3600"),
        ("content-length", "4", "10", "4"),
        ("content-md5", "a", "b", "a"),
    ] {
        let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
        let lifetime = |value| if name == "cache-control" { value } else { "max-age=2" };
        let first = [("etag", "\"1\""), ("cache-control", lifetime(before)), (name, before)];
        let second = [("etag", "\"1\""), ("cache-control", lifetime(after)), (name, after)];
        proxy.call("GET", "/a", &none, |_| {
            answer(200, &first[..2 + usize::from(name != "cache-control")], "body")
        });
        proxy.wait(3);
        let renewed = proxy.call("GET", "/a", &none, |sent| {
            assert_eq!(sent["if-none-match"], "\"1\"", "304-etag-update-response-{name}");
            answer(304, &second[..2 + usize::from(name != "cache-control")], "")
        });
        assert_eq!(
            (renewed.status, renewed.text(name), &renewed.body[..]),
            (200, expected, &b"body"[..]),
            "{name}"
        );
        let again = proxy.call("GET", "/a", &none, |_| panic!("{name} was renewed"));
        assert_eq!((again.text(name), again.text("age")), (expected, "0"), "{name}");
    }
}

#[test]
fn fields_that_a_304_omits_are_kept() {
    let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
    let modified = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");
    proxy.call("GET", "/a", &none, |_| {
        answer(200, &[("cache-control", "max-age=2"), modified, ("test-header", "a")], "body")
    });
    proxy.wait(3);
    let renewed = proxy.call("GET", "/a", &none, |sent| {
        assert_eq!(sent["if-modified-since"], modified.1);
        answer(304, &[modified], "")
    });
    assert_eq!((renewed.status, renewed.text("test-header")), (200, "a"), "304-lm-use-stored-Test-Header");
}

#[test]
fn no_cache_is_stored_and_validated_each_time() {
    for lifetime in ["no-cache", "max-age=10000, no-cache"] {
        let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
        let origin = |sent: &HeaderMap| {
            let status = if sent.contains_key("if-none-match") { 304 } else { 200 };
            answer(
                status,
                &[("cache-control", lifetime), ("etag", "\"abcd\"")],
                if status == 200 { "body" } else { "" },
            )
        };
        proxy.call("GET", "/a", &none, origin);
        for _ in 0..2 {
            let outcome = proxy.call("GET", "/a", &none, origin);
            assert_eq!(
                (outcome.status, &outcome.body[..], outcome.sent.len()),
                (200, &b"body"[..], 1),
                "cc-resp-no-cache-revalidate"
            );
            assert!(outcome.sent[0].1.contains_key("if-none-match"));
        }
    }
}

#[test]
fn a_304_about_something_else_is_not_believed() {
    let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
    proxy.call("GET", "/a", &none, origin("\"1\"", &[("cache-control", "max-age=2")]));
    proxy.wait(3);
    let outcome = proxy.call("GET", "/a", &none, |sent| {
        let status = if sent.contains_key("if-none-match") { 304 } else { 200 };
        answer(
            status,
            &[("etag", "\"2\""), ("cache-control", "max-age=60")],
            if status == 200 { "new" } else { "" },
        )
    });
    assert_eq!((outcome.status, &outcome.body[..], outcome.sent.len()), (200, &b"new"[..], 2));
}

#[test]
fn a_caller_s_own_condition_is_answered_after_ours() {
    let mut proxy = Proxy::new();
    let origin = origin("\"1\"", &[("cache-control", "max-age=2")]);
    proxy.call("GET", "/a", &HeaderMap::new(), &origin);
    proxy.wait(3);
    for (asked, status) in [("\"1\"", 304), ("\"0\"", 200)] {
        let outcome = proxy.call("GET", "/a", &fields([("if-none-match", asked)]), &origin);
        assert_eq!(outcome.status, status, "{asked}");
        assert!(outcome.sent.iter().all(|(_, sent)| sent["if-none-match"] == "\"1\""));
        proxy.wait(3);
    }
    let ranged = proxy.call("GET", "/a", &fields([("range", "bytes=1-2")]), &origin);
    assert_eq!((ranged.status, &ranged.body[..]), (206, &b"od"[..]));
    assert!(!ranged.sent[0].1.contains_key("range"));
}

#[test]
fn only_the_variant_that_is_asked_for_is_validated() {
    let mut proxy = Proxy::new();
    let stored = |_: &HeaderMap| {
        answer(200, &[("cache-control", "max-age=1"), ("etag", "\"1\""), ("vary", "abc")], "body")
    };
    proxy.call("GET", "/a", &fields([("abc", "123")]), stored);
    proxy.wait(3);
    let other = proxy.call("GET", "/a", &fields([("abc", "456")]), stored);
    assert!(!other.sent[0].1.contains_key("if-none-match"), "conditional-etag-vary-headers-mismatch");
    let same = proxy.call("GET", "/a", &fields([("abc", "123")]), stored);
    assert_eq!(
        (&same.sent[0].1["abc"], &same.sent[0].1["if-none-match"]),
        (&"123".parse().unwrap(), &"\"1\"".parse().unwrap())
    );
}

#[test]
fn a_head_is_answered_from_a_stored_get_and_renews_it_when_stale() {
    for (status, update, cached, template) in [
        (200, &[("cache-control", "max-age=1000"), ("template-a", "2")][..], true, "2"),
        (200, &[("cache-control", "max-age=1000"), ("content-length", "99")], false, ""),
        (410, &[("cache-control", "max-age=1000")], false, ""),
    ] {
        let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
        proxy.call("GET", "/a", &none, |_| {
            answer(
                200,
                &[
                    ("cache-control", "max-age=2"),
                    ("content-length", "4"),
                    ("etag", "\"1\""),
                    ("template-a", "1"),
                ],
                "body",
            )
        });
        let fresh = proxy.call("HEAD", "/a", &none, |_| panic!("a fresh GET answers a HEAD"));
        assert_eq!((fresh.text("template-a"), fresh.body.len(), fresh.text("content-length")), ("1", 0, "4"));
        proxy.wait(3);
        let head = proxy.call("HEAD", "/a", &none, |_| answer(status, update, ""));
        assert_eq!((head.status, head.sent.len()), (status, 1), "head-writethrough");
        let get = proxy.call("GET", "/a", &none, |_| answer(500, &[], ""));
        assert_eq!(get.is_cached(), cached, "{status} {update:?}");
        assert_eq!(get.text("template-a"), template);
    }
}

#[test]
fn unsafe_methods_invalidate_what_they_change() {
    let fresh = |_: &HeaderMap| answer(200, &[("cache-control", "max-age=100000")], "body");
    let none = HeaderMap::new();
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for (status, cached) in [(200, false), (500, true)] {
            let mut proxy = Proxy::new();
            for path in ["/a", "/location", "/content", "/other"] {
                proxy.call("GET", path, &none, fresh);
            }
            let named = [("location", "/location"), ("content-location", "content")];
            proxy.call(method, "/a", &none, |_| answer(status, &named, ""));
            for path in ["/a", "/location", "/content"] {
                assert_eq!(
                    proxy.call("GET", path, &none, fresh).is_cached(),
                    cached,
                    "{method} {status} {path}"
                );
            }
            assert!(proxy.call("GET", "/other", &none, fresh).is_cached());
        }
    }
}

#[test]
fn an_older_answer_outlives_a_newer_one_that_must_not_be_stored() {
    let (mut proxy, none) = (Proxy::new(), HeaderMap::new());
    proxy
        .call("GET", "/a", &none, |_| answer(200, &[("cache-control", "max-age=10000"), ("a", "1")], "body"));
    proxy.call("GET", "/a", &fields([("cache-control", "no-cache")]), |_| {
        answer(200, &[("cache-control", "no-store"), ("a", "2")], "body")
    });
    let outcome = proxy.call("GET", "/a", &none, |_| panic!("cc-resp-no-store-old-new"));
    assert_eq!(outcome.text("a"), "1");
}
