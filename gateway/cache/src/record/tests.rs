//! What is written is read back, older by the time between; what is not a record is refused, whatever it is.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::{
    rfc9111::{Exchange, Policy, Received},
    scope::{Epoch, Scopes},
    store::{Restored, Store, StoreConfig, Stored},
    variant::Reply,
    {Key, KeyBuilder},
};

const DAY: Duration = Duration::from_secs(86_400);

fn scope() -> Scope {
    Scopes::default().scope("github", "get_user")
}

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let line = ("[a-c]{1,3}", "[ -~]{0,8}", any::<bool>());
    prop::collection::vec(line, 0..6).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value, sensitive) in lines {
            let mut value = HeaderValue::from_str(&value).unwrap();
            value.set_sensitive(sensitive);
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        headers
    })
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0_u64..100_000, 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n))
    ]
}

fn tags() -> impl Strategy<Value = Tags> {
    prop::collection::vec("[a-z]{1,4}", 0..5)
        .prop_map(|names| Tags::new("github", names.iter().map(String::as_str)).unwrap())
}

prop_compose! {
    fn entries(now: Instant)(
        status in 200_u16..600,
        headers in headers(),
        body in prop::collection::vec(any::<u8>(), 0..64),
        age_at_store in 0_u64..1000,
        spans in (span(), span(), span()),
        tags in tags(),
    ) -> Kept {
        let entry = Entry {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
            stored_at: now,
            age_at_store: Duration::from_secs(age_at_store),
            ttl: spans.0,
            stale_while_revalidate: spans.1,
            keep_stale: spans.2,
            scope: scope(),
        };
        Kept::new(scope(), Contents::Entry(Arc::new(entry), tags))
    }
}

/// An answer to a request in some language, mapped or not.
fn variant(language: &str, mapped: bool, body: &[u8], tags: Tags, scope: Scope, now: Instant) -> Variant {
    let request: HeaderMap =
        [(http::header::ACCEPT_LANGUAGE, HeaderValue::from_str(language).unwrap())].into_iter().collect();
    let response: HeaderMap = [
        ("cache-control", "max-age=60, stale-if-error=30"),
        ("vary", "accept-language, x-absent"),
        ("etag", "\"1\""),
    ]
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .into_iter()
    .collect();
    let received = Received { requested_at: now, received_at: now, received_on: wall() };
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        received,
    };
    let storable = exchange.storable(&Policy::default()).unwrap();
    let body = body.to_vec().into();
    let reply = if mapped {
        Reply::Mapped { status: StatusCode::NOT_FOUND, headers: HeaderMap::new(), body }
    } else {
        Reply::AsReceived(body)
    };
    Variant::new(storable, reply, scope, tags)
}

prop_compose! {
    fn variants(now: Instant)(
        all in prop::collection::vec(("[a-z]{2}", any::<bool>(), prop::collection::vec(any::<u8>(), 0..32), tags()), 1..4),
    ) -> Kept {
        let one = |(language, mapped, body, tags): (String, bool, Vec<u8>, Tags)| {
            Arc::new(variant(&language, mapped, &body, tags, scope(), now))
        };
        Kept::new(scope(), Contents::Variants(all.into_iter().map(one).collect()))
    }
}

fn any_kept(now: Instant) -> impl Strategy<Value = Kept> {
    prop_oneof![entries(now).boxed(), variants(now).boxed()]
}

fn sensitive(headers: &HeaderMap) -> Vec<bool> {
    headers.values().map(HeaderValue::is_sensitive).collect()
}

fn assert_same_entry(one: &Entry, other: &Entry) {
    assert_eq!((one.status, &one.headers, &one.body), (other.status, &other.headers, &other.body));
    assert_eq!(sensitive(&one.headers), sensitive(&other.headers));
    assert_eq!(
        (one.ttl, one.stale_while_revalidate, one.keep_stale),
        (other.ttl, other.stale_while_revalidate, other.keep_stale)
    );
    assert_eq!(
        (one.scope.integration(), one.scope.operation()),
        (other.scope.integration(), other.scope.operation())
    );
}

/// Equal but for their age.
fn assert_same(one: &Kept, other: &Kept) {
    match (&one.contents, &other.contents) {
        (Contents::Entry(one, tags), Contents::Entry(other, others)) => {
            assert_same_entry(one, other);
            assert_eq!(tags, others);
        }
        (Contents::Variants(one), Contents::Variants(other)) => {
            assert_eq!(one.len(), other.len());
            for (one, other) in one.iter().zip(other) {
                assert_same_entry(one.reply(), other.reply());
                assert_eq!(one.own_head(), other.own_head());
                let initial_age = one.terms().initial_age;
                assert_eq!(*one.terms(), crate::rfc9111::Terms { initial_age, ..*other.terms() });
                assert_eq!(
                    (one.selecting(), one.made_on(), one.tags()),
                    (other.selecting(), other.made_on(), other.tags())
                );
            }
        }
        _ => panic!("an entry is no variants"),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_older_by_the_time_between(
        (now, kept) in Just(Instant::now()).prop_flat_map(|now| (Just(now), any_kept(now))),
        until in 0_u64..5000,
        between in 0_u64..1_000_000,
    ) {
        let (until, between) = (Duration::from_secs(until), Duration::from_secs(between));
        let octets = kept.encode(now + until, wall());
        // Another process: its instants have nothing to do with the first one's.
        let later = now + DAY * 3;
        let read = Kept::decode(&octets, &scope(), later, wall() + between).unwrap();
        assert_same(&kept, &read);
        prop_assert_eq!(read.age(later), kept.age(now) + until + between);
        prop_assert_eq!(read.tags(), kept.tags());
        prop_assert_eq!(read.life(later), kept.life(now + until + between));
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_younger(
        (now, kept) in Just(Instant::now()).prop_flat_map(|now| (Just(now), any_kept(now))),
        back in 0_u64..120,
    ) {
        let octets = kept.encode(now, wall());
        match Kept::decode(&octets, &scope(), now, wall() - Duration::from_secs(back)) {
            Ok(read) => {
                prop_assert!(back <= 60);
                prop_assert_eq!(read.age(now), kept.age(now));
            }
            Err(error) => {
                prop_assert!(back > 60);
                prop_assert_eq!(error, RecordError::Future);
            }
        }
    }

    #[test]
    fn no_octets_are_too_odd_to_be_refused(octets in prop::collection::vec(any::<u8>(), 0..256), version in any::<bool>()) {
        let octets = if version { [&[VERSION], &*octets].concat() } else { octets };
        // Whatever it says, it says so without a panic and without asking for more memory than there is.
        let _ = Kept::decode(&octets, &scope(), Instant::now(), wall());
    }

    #[test]
    fn a_record_that_is_cut_or_goes_on_is_refused_and_a_changed_one_never_panics(
        (now, kept) in Just(Instant::now()).prop_flat_map(|now| (Just(now), any_kept(now))),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let octets = kept.encode(now, wall());
        let at = at.index(octets.len());
        prop_assert!(Kept::decode(&octets[..at], &scope(), now, wall()).is_err());
        prop_assert!(Kept::decode(&[&octets[..], &[to]].concat(), &scope(), now, wall()).is_err());
        let mut changed = octets;
        changed[at] = to;
        let _ = Kept::decode(&changed, &scope(), now, wall());
    }
}

#[test]
fn a_record_of_another_operation_or_version_is_told_from_one_that_is_broken() {
    let now = Instant::now();
    let one = variant("de", false, b"x", Tags::default(), scope(), now);
    let octets = Kept::new(scope(), Contents::Variants(vec![Arc::new(one)])).encode(now, wall());
    let other = Scopes::default().scope("github", "get_repo");
    let read = |octets: &[u8], scope: &Scope| Kept::decode(octets, scope, now, wall()).err();
    assert_eq!(read(&octets, &other), Some(RecordError::OtherScope));
    assert_eq!(read(&[2], &scope()), Some(RecordError::Version(2)));
    assert_eq!(read(&[], &scope()), Some(RecordError::Malformed));
}

fn key(name: &str) -> Key {
    KeyBuilder::new("github", "get_user").field("user", name.as_bytes()).finish()
}

fn in_language(language: &'static str) -> HeaderMap {
    [(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static(language))].into_iter().collect()
}

/// What another process wrote of these languages, as `store` reads it.
fn written(store: &Store, languages: &[(&str, &str)], now: Instant) -> Kept {
    let first = Store::new(StoreConfig::default());
    let scope = first.scope("github", "get_user");
    for (language, body) in languages {
        let one = variant(
            language,
            false,
            body.as_bytes(),
            Tags::new("github", ["t"]).unwrap(),
            scope.clone(),
            now,
        );
        assert_eq!(first.put_variant(key("a"), one, first.epoch(&scope)), Stored::Yes);
    }
    let octets = first.kept(&key("a"), now).unwrap().encode(now, wall());
    Kept::decode(&octets, &store.scope("github", "get_user"), now, wall()).unwrap()
}

#[test]
fn what_is_restored_stands_beside_what_is_held_and_never_in_its_place() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let own = variant("de", false, b"own", Tags::default(), scope.clone(), now);
    store.put_variant(key("a"), own, store.epoch(&scope));
    let kept = written(&store, &[("de", "old"), ("fr", "vieux")], now);
    assert_eq!(store.restore(&key("a"), kept.clone(), store.epoch(&scope), now), Restored::Yes);
    assert_eq!(store.restore(&key("a"), kept, store.epoch(&scope), now), Restored::Known);
    let body =
        |language| store.select(&key("a"), &scope, &in_language(language), now).unwrap().reply().body.clone();
    assert_eq!((body("de"), body("fr")), ("own".into(), "vieux".into()));
}

#[test]
fn what_was_purged_while_it_was_read_is_not_restored() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let kept = written(&store, &[("de", "old")], now);
    let purges: [&dyn Fn(); 4] = [
        &|| store.purge_key(&key("a")),
        &|| store.purge_tag("github", "t"),
        &|| assert!(store.purge_operation("github", "get_user")),
        &|| assert!(store.purge_integration("github")),
    ];
    for purge in purges {
        let epoch = store.epoch(&scope);
        purge();
        assert_eq!(store.restore(&key("a"), kept.clone(), epoch, now), Restored::Purged);
        assert_eq!(store.restore(&key("a"), kept.clone(), Epoch::START, now), Restored::Purged);
    }
    assert!(store.kept(&key("a"), now).is_none());
    assert_eq!(store.restore(&key("a"), kept.clone(), store.epoch(&scope), now + DAY * 2), Restored::Dead);
    let tiny = Store::new(StoreConfig { max_size: 64, max_entry: 64 });
    let scope = tiny.scope("github", "get_user");
    assert_eq!(tiny.restore(&key("a"), kept, tiny.epoch(&scope), now), Restored::TooLarge);
}
