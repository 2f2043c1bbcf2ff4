//! What a 304 and a HEAD do to a stored answer, by the public suite's groups `update304` and `update-head`.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::{
    rfc9111::{Forward, Received},
    scope::Scopes,
};

type Fields<'a> = &'a [(&'static str, &'static str)];

fn headers(fields: Fields<'_>) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn received(at: Instant, after: u64) -> Received {
    let now = at + Duration::from_secs(after);
    let received_on = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + after);
    Received { requested_at: now, received_at: now, received_on }
}

fn exchange<'a>(
    method: &'a Method,
    status: u16,
    request: &'a HeaderMap,
    response: &'a HeaderMap,
    received: Received,
) -> Exchange<'a> {
    Exchange { method, request, status: StatusCode::from_u16(status).unwrap(), response, received }
}

fn stored(response: Fields<'_>, reply: impl FnOnce(Bytes) -> Reply, start: Instant) -> Variant {
    let (request, response) = (HeaderMap::new(), headers(response));
    let storable = exchange(&Method::GET, 200, &request, &response, received(start, 0))
        .storable(&Policy::default())
        .unwrap();
    let scope = Scopes::default().scope("github", "get_user");
    Variant::new(storable, reply("body".into()), scope, Tags::default())
}

fn renewed(
    variant: &Variant,
    method: &Method,
    status: u16,
    update: Fields<'_>,
    start: Instant,
) -> Result<Variant, NotRenewed> {
    let (request, update) = (HeaderMap::new(), headers(update));
    variant.renewed(&exchange(method, status, &request, &update, received(start, 100)), &Policy::default())
}

#[test]
fn a_304_renews_fields_and_freshness_and_leaves_the_body_where_it_is() {
    let start = Instant::now();
    let old = stored(
        &[("cache-control", "max-age=2"), ("etag", "\"1\""), ("a", "1"), ("b", "1"), ("content-length", "4")],
        Reply::AsReceived,
        start,
    )
    .compacted();
    let then = start + Duration::from_secs(100);
    assert_eq!(old.use_at(then, &RequestDirectives::default()), Use::Validate(Forward::Stale));

    let new = renewed(
        &old,
        &Method::GET,
        304,
        &[("cache-control", "max-age=3600"), ("a", "2"), ("content-length", "9"), ("age", "5")],
        start,
    )
    .unwrap();
    assert_eq!(new.use_at(then, &RequestDirectives::default()), Use::Fresh);
    assert_eq!(new.age(then), Duration::from_secs(5));
    let fields = &new.reply().headers;
    assert_eq!(
        [&fields["a"], &fields["b"], &fields["content-length"], &fields["etag"]],
        ["2", "1", "4", "\"1\""]
    );
    assert!(!fields.contains_key("age"));
    assert_eq!(new.compacted().reply().body.as_ptr(), old.reply().body.as_ptr());
}

#[test]
fn a_message_about_something_else_renews_nothing() {
    let start = Instant::now();
    let old = stored(
        &[("cache-control", "max-age=2"), ("etag", "\"1\""), ("content-length", "4")],
        Reply::AsReceived,
        start,
    );
    for (method, status, update) in [
        (Method::GET, 304, [("etag", "\"2\"")]),
        (Method::GET, 200, [("etag", "\"1\"")]),
        (Method::HEAD, 200, [("content-length", "5")]),
        (Method::HEAD, 410, [("etag", "\"1\"")]),
    ] {
        assert_eq!(
            renewed(&old, &method, status, &update, start).err(),
            Some(NotRenewed::Other),
            "{method} {status}"
        );
    }
}

#[test]
fn a_304_that_forbids_storing_says_so() {
    let start = Instant::now();
    let old = stored(&[("cache-control", "max-age=2"), ("etag", "\"1\"")], Reply::AsReceived, start);
    let refused = renewed(&old, &Method::GET, 304, &[("cache-control", "no-store")], start);
    assert_eq!(refused.err(), Some(NotRenewed::NotStored(NotStored::NoStore)));
}

#[test]
fn a_head_renews_what_it_agrees_with() {
    let start = Instant::now();
    let old = stored(
        &[("cache-control", "max-age=2"), ("etag", "\"1\""), ("template-a", "1")],
        Reply::AsReceived,
        start,
    );
    let new =
        renewed(&old, &Method::HEAD, 200, &[("cache-control", "max-age=1000"), ("template-a", "2")], start)
            .unwrap();
    assert_eq!(new.reply().headers["template-a"], "2");
    assert_eq!((new.reply().status, &new.reply().body), (StatusCode::OK, &Bytes::from("body")));
    assert_eq!(new.terms().lifetime, Duration::from_secs(1000));
}

#[test]
fn a_mapped_reply_keeps_its_own_head_but_for_the_dates() {
    let start = Instant::now();
    let mapped = |_| Reply::Mapped {
        status: StatusCode::CREATED,
        headers: headers(&[
            ("content-type", "application/json"),
            ("cache-control", "max-age=2"),
            ("etag", "\"mine\""),
        ]),
        body: "{}".into(),
    };
    let old = stored(&[("cache-control", "max-age=2"), ("etag", "\"1\""), ("a", "1")], mapped, start);
    let weight = old.weight();
    let mut request = headers(&[("if-none-match", "\"mine\""), ("range", "bytes=0-0")]);
    // The caller's condition is about the reply, ours is about the origin's answer.
    assert_eq!(old.answer(&Method::GET, &request), Answer::NotModified);
    assert!(old.make_conditional(&mut request));
    assert_eq!(request, headers(&[("if-none-match", "\"1\"")]));

    let new =
        renewed(&old, &Method::GET, 304, &[("cache-control", "max-age=60"), ("a", "2")], start).unwrap();
    assert_eq!(
        new.reply().headers,
        headers(&[
            ("content-type", "application/json"),
            ("cache-control", "max-age=60"),
            ("etag", "\"mine\"")
        ])
    );
    assert_eq!((new.reply().status, &new.reply().body[..]), (StatusCode::CREATED, &b"{}"[..]));
    assert_eq!(new.head().1["a"], "2");
    // The origin's head is weighed beside the reply.
    assert!(weight > old.reply().weight() + headers_weight(old.head().1));
}

#[test]
fn compaction_leaves_the_buffers_of_head_and_reply_behind() {
    let start = Instant::now();
    let buffer = Bytes::from(b"max-age=60 text body".to_vec());
    let value = |range| HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap();
    let response: HeaderMap = [(CACHE_CONTROL, value(0..10))].into_iter().collect();
    let reply: HeaderMap = [(HeaderName::from_static("content-type"), value(11..15))].into_iter().collect();
    let request = HeaderMap::new();
    let storable = exchange(&Method::GET, 200, &request, &response, received(start, 0))
        .storable(&Policy::default())
        .unwrap();
    let scope = Scopes::default().scope("github", "get_user");
    let reply = Reply::Mapped { status: StatusCode::OK, headers: reply, body: buffer.slice(16..) };
    let variant = Variant::new(storable, reply, scope, Tags::default());
    drop(response);
    assert!(!buffer.is_unique());
    let compacted = variant.compacted();
    assert!(buffer.is_unique());
    assert_eq!(
        (&compacted.reply().body[..], &compacted.head().1[CACHE_CONTROL]),
        (&b"body"[..], &HeaderValue::from_static("max-age=60"))
    );
}
