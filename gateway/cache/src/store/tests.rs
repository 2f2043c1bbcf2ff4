//! The store's rules: who gets an entry, what a purge reaches, and the bound in bytes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, VARY},
};

use super::*;
use crate::{
    entry::Freshness,
    key::KeyBuilder,
    rfc9111::{Exchange, Policy, Received},
    variant::Reply,
};

const TTL: Duration = Duration::from_secs(60);

fn key(name: &str) -> Key {
    KeyBuilder::new("github", "get_user").field("user", name.as_bytes()).finish()
}

fn entry(scope: &Scope, body: impl Into<Bytes>, now: Instant) -> Entry {
    Entry {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: body.into(),
        stored_at: now,
        age_at_store: Duration::ZERO,
        ttl: TTL,
        stale_while_revalidate: Duration::ZERO,
        keep_stale: TTL,
        scope: scope.clone(),
    }
}

fn put(store: &Store, name: &str, scope: &Scope, now: Instant) {
    assert_eq!(store.put(key(name), entry(scope, name.to_owned(), now), store.epoch(scope)), Stored::Yes);
}

#[test]
fn an_entry_is_given_until_it_is_dead() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "octocat", &scope, now);
    assert_eq!(store.get(&key("octocat"), &scope, now).unwrap().body, "octocat");
    let stale = store.get(&key("octocat"), &scope, now + TTL).unwrap();
    assert_eq!(stale.freshness(now + TTL), Freshness::Stale);
    assert!(store.get(&key("octocat"), &scope, now + TTL * 2).is_none());
    // It was dropped when it was met dead, and does not come back for a caller whose clock reading is older.
    assert!(store.get(&key("octocat"), &scope, now).is_none());
}

#[test]
fn an_entry_is_not_given_to_another_scope() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "octocat", &scope, now);
    assert!(store.get(&key("octocat"), &store.scope("github", "get_repo"), now).is_none());
    assert!(store.get(&key("octocat"), &scope, now).is_some());
}

#[test]
fn a_purge_reaches_at_once_what_it_names_and_nothing_else() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scopes = [("github", "a"), ("github", "b"), ("stripe", "a")].map(|(i, o)| store.scope(i, o));
    let names = ["1", "2", "3"];
    let fill = || names.iter().zip(&scopes).for_each(|(name, scope)| put(&store, name, scope, now));
    let held = || [0, 1, 2].map(|i: usize| store.get(&key(names[i]), &scopes[i], now).is_some());

    fill();
    assert!(store.purge_operation("github", "a"));
    assert_eq!(held(), [false, true, true]);
    fill();
    assert_eq!(held(), [true, true, true]);
    assert!(store.purge_integration("github"));
    assert_eq!(held(), [false, false, true]);
    assert!(!store.purge_integration("gitlab"));
    assert_eq!(held(), [false, false, true]);
}

#[test]
fn an_answer_fetched_before_a_purge_is_not_stored_after_it() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    for purge in [&(|| store.purge_operation("github", "get_user")) as &dyn Fn() -> bool, &|| {
        store.purge_integration("github")
    }] {
        let before = store.epoch(&scope);
        assert!(purge());
        assert_eq!(store.put(key("octocat"), entry(&scope, "old", now), before), Stored::Purged);
        assert!(store.get(&key("octocat"), &scope, now).is_none());
        put(&store, "octocat", &scope, now);
        assert!(store.get(&key("octocat"), &scope, now).is_some());
    }
}

#[test]
fn a_purge_in_the_middle_of_a_put_still_hides_the_answer() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let before = store.epoch(&scope);
    store.purge_operation("github", "get_user");
    // What `put` does once its look is behind it.
    let slot = Slot::of_entry(entry(&scope, "old", now), Tags::default(), before);
    assert_eq!(store.put_unless_purged(&key("octocat"), before, |_| slot), Stored::Yes);
    assert!(store.get(&key("octocat"), &scope, now).is_none());
}

#[test]
fn maintenance_frees_what_is_purged_and_then_what_is_dead() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let (old, kept) = (store.scope("github", "old"), store.scope("github", "kept"));
    for index in 0..100 {
        put(&store, &format!("old {index}"), &old, now);
        put(&store, &format!("kept {index}"), &kept, now);
    }
    let full = store.stats();
    assert_eq!(full.entries, 200);
    store.purge_operation("github", "old");
    drop(old);
    store.run_maintenance(now);
    assert_eq!(store.stats().entries, 100);
    assert!(store.stats().bytes < full.bytes);
    store.run_maintenance(now + TTL * 2);
    assert_eq!((store.stats().entries, store.stats().bytes, store.stats().evictions), (0, 0, 0));
    assert!(kept.is(&store.scope("github", "kept")));
}

#[test]
fn remove_drops_one_key() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "a", &scope, now);
    put(&store, "b", &scope, now);
    store.remove(&key("a"));
    assert!(store.get(&key("a"), &scope, now).is_none());
    assert!(store.get(&key("b"), &scope, now).is_some());
}

#[test]
fn an_entry_over_the_limit_is_refused_and_leaves_the_old_one() {
    let (store, now) = (Store::new(StoreConfig { max_size: 1 << 20, max_entry: 10_000 }), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "a", &scope, now);
    let overhead = entry(&scope, "", now).weight();
    let of = |weight: usize| entry(&scope, vec![0; weight - overhead], now);
    assert_eq!(store.put(key("a"), of(10_001), store.epoch(&scope)), Stored::TooLarge);
    assert_eq!(store.get(&key("a"), &scope, now).unwrap().body, "a");
    assert_eq!(store.put(key("a"), of(10_000), store.epoch(&scope)), Stored::Yes);
    assert_eq!(store.get(&key("a"), &scope, now).unwrap().weight(), 10_000);
}

#[test]
fn what_is_stored_keeps_no_read_buffer_alive() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let read_buffer = Bytes::from(vec![b'x'; 64 << 10]);
    let answer = entry(&scope, read_buffer.slice(..10), now);
    assert_eq!(store.put(key("a"), answer, store.epoch(&scope)), Stored::Yes);
    assert!(read_buffer.is_unique());
    assert_eq!(store.get(&key("a"), &scope, now).unwrap().body, "xxxxxxxxxx");
}

#[test]
fn a_size_of_zero_stores_nothing() {
    for cfg in
        [StoreConfig { max_size: 0, max_entry: 1 << 20 }, StoreConfig { max_size: 1 << 20, max_entry: 0 }]
    {
        let (store, now) = (Store::new(cfg), Instant::now());
        let scope = store.scope("github", "get_user");
        assert_eq!(store.max_entry(), 0);
        assert_eq!(store.put(key("a"), entry(&scope, "", now), store.epoch(&scope)), Stored::TooLarge);
        assert!(store.get(&key("a"), &scope, now).is_none());
    }
}

#[test]
fn a_flood_of_distinct_keys_stays_within_the_size() {
    let max_size = 1 << 20;
    let (store, now) = (Store::new(StoreConfig { max_size, max_entry: 1 << 16 }), Instant::now());
    let scope = store.scope("github", "get_user");
    let mut held_most = 0;
    for index in 0..5_000_usize {
        let answer = entry(&scope, vec![0; index * 37 % 60_000], now);
        assert_eq!(store.put(key(&index.to_string()), answer, store.epoch(&scope)), Stored::Yes);
        if index % 50 == 0 {
            held_most = held_most.max(store.stats().bytes);
        }
    }
    assert!(held_most <= max_size, "held {held_most} bytes");
    let stats = store.stats();
    let found = (0..5_000_usize).filter_map(|index| store.get(&key(&index.to_string()), &scope, now));
    assert_eq!(stats.bytes, found.map(|entry| entry.weight() as u64).sum::<u64>());
    assert!(stats.bytes > max_size - (1 << 16), "{stats:?}");
    assert_eq!((stats.capacity, stats.evictions + stats.entries), (max_size, 5_000));
}

#[test]
fn a_flood_does_not_push_out_what_is_asked_for_often() {
    let (store, now) = (Store::new(StoreConfig { max_size: 1 << 20, max_entry: 1 << 16 }), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "popular", &scope, now);
    for index in 0..5_000_usize {
        if index % 10 == 0 {
            assert!(store.get(&key("popular"), &scope, now).is_some(), "after {index} others");
        }
        store.put(key(&index.to_string()), entry(&scope, vec![0; 5_000], now), store.epoch(&scope));
    }
}

#[test]
fn putting_a_key_again_replaces_its_weight() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    for size in [5_000, 100, 20_000] {
        store.put(key("a"), entry(&scope, vec![0; size], now), store.epoch(&scope));
    }
    assert_eq!(store.stats().bytes, entry(&scope, vec![0; 20_000], now).weight() as u64);
    assert_eq!(store.stats().entries, 1);
}

#[test]
fn a_purged_tag_takes_all_that_has_it_and_nothing_else() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let tags = |names: &[&'static str]| Tags::new("github", names.iter().copied()).unwrap();
    for (name, names) in [("1", &["a", "b"][..]), ("2", &["b"]), ("3", &["c"]), ("4", &[])] {
        let answer = entry(&scope, name, now);
        assert_eq!(store.put_tagged(key(name), answer, tags(names), store.epoch(&scope)), Stored::Yes);
    }
    let held = || ["1", "2", "3", "4"].map(|name| store.get(&key(name), &scope, now).is_some());
    store.purge_tag("gitlab", "b");
    assert_eq!(held(), [true, true, true, true]);
    store.purge_tag("github", "a");
    assert_eq!(held(), [false, true, true, true]);
    let before = store.epoch(&scope);
    store.purge_tag("github", "b");
    assert_eq!(held(), [false, false, true, true]);
    // An answer whose fetch began before is purged by a tag that was not known then.
    assert_eq!(store.put_tagged(key("1"), entry(&scope, "1", now), tags(&["b"]), before), Stored::Purged);
    assert_eq!(store.put_tagged(key("1"), entry(&scope, "1", now), tags(&["c"]), before), Stored::Yes);
}

#[test]
fn a_purged_key_is_gone_and_stays_gone_for_what_was_being_fetched() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    put(&store, "a", &scope, now);
    put(&store, "b", &scope, now);
    let before = store.epoch(&scope);
    store.purge_key(&key("a"));
    assert!(store.get(&key("a"), &scope, now).is_none());
    assert!(store.get(&key("b"), &scope, now).is_some());
    assert_eq!(store.put(key("a"), entry(&scope, "old", now), before), Stored::Purged);
    // Also past the first look, as in a purge between that and the insertion.
    let slot = Slot::of_entry(entry(&scope, "old", now), Tags::default(), before);
    assert_eq!(store.put_unless_purged(&key("a"), before, |_| slot), Stored::Purged);
    put(&store, "a", &scope, now);
    assert!(store.get(&key("a"), &scope, now).is_some());
}

#[test]
fn fetches_come_together_anew_after_a_purge_of_what_they_may_bring() {
    let store = Store::new(StoreConfig::default());
    let (scope, key) = (store.scope("i", "o"), key("a"));
    let mut together = vec![store.fetch_key(&key, &scope)];
    assert_eq!(store.fetch_key(&key, &scope), together[0]);
    let unconcerned: [&dyn Fn(); 3] =
        [&|| assert!(!store.purge_operation("i", "other")), &|| store.remove(&key), &|| {
            store.purge_address("i", "http://x/")
        }];
    for purge in unconcerned {
        purge();
        assert_eq!(store.fetch_key(&key, &scope), together[0]);
    }
    let purges: [&dyn Fn(); 4] = [
        &|| assert!(store.purge_integration("i")),
        &|| assert!(store.purge_operation("i", "o")),
        &|| store.purge_key(&key),
        &|| store.purge_tag("j", "any"),
    ];
    for purge in purges {
        purge();
        let next = store.fetch_key(&key, &scope);
        assert!(!together.contains(&next));
        together.push(next);
    }
}

#[test]
fn a_flood_of_one_integration_leaves_the_working_set_of_another() {
    let max_size = 1 << 20;
    let (store, now) = (Store::new(StoreConfig { max_size, max_entry: 1 << 16 }), Instant::now());
    let (quiet, noisy) = (store.scope("quiet", "get"), store.scope("noisy", "get"));
    // Within its half, and never asked for again while the flood lasts.
    let working_set: Vec<_> = (0..200).map(|index| format!("quiet {index}")).collect();
    working_set.iter().for_each(|name| put(&store, name, &quiet, now));
    let before = store.stats_of("quiet");
    assert!(before.bytes < max_size / 2, "{before:?}");
    for index in 0..20_000_usize {
        let key = key(&format!("noisy {}", index % 2_000));
        if store.get(&key, &noisy, now).is_none() {
            store.put(key, entry(&noisy, vec![0; 3_000], now), store.epoch(&noisy));
        }
    }
    assert!(store.stats_of("noisy").evictions > 1_000);
    assert_eq!(store.stats_of("quiet"), before);
    assert!(working_set.iter().all(|name| store.get(&key(name), &quiet, now).is_some()));
    // Alone it may have everything.
    store.purge_integration("quiet");
    store.run_maintenance(now);
    (0..1_000_usize).for_each(|index| {
        store.put(key(&format!("new {index}")), entry(&noisy, vec![0; 3_000], now), store.epoch(&noisy));
    });
    assert!(store.stats_of("noisy").bytes > max_size - (1 << 16));
    assert_eq!(store.stats_of("quiet").bytes, 0);
}

/// A variant for the requests whose `foo` is this.
fn variant(scope: &Scope, foo: &str, body: &str, lifetime: u64, now: Instant, made: u64) -> Variant {
    let request = asking(foo);
    let response: HeaderMap = [
        (VARY, HeaderValue::from_static("foo")),
        (CACHE_CONTROL, HeaderValue::try_from(format!("max-age={lifetime}")).unwrap()),
    ]
    .into_iter()
    .collect();
    let received_on = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + made);
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        received: Received { requested_at: now, received_at: now, received_on },
    };
    let reply = Reply::AsReceived(body.to_owned().into());
    Variant::new(exchange.storable(&Policy::default()).unwrap(), reply, scope.clone(), Tags::default())
}

fn asking(foo: &str) -> HeaderMap {
    [(HeaderName::from_static("foo"), HeaderValue::from_str(foo).unwrap())].into_iter().collect()
}

#[test]
fn each_request_gets_its_variant_and_says_why_there_is_none() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let (scope, other) = (store.scope("github", "get_user"), store.scope("github", "other"));
    let select = |foo: &str, scope| {
        store.select(&key("u"), scope, &asking(foo), now).map(|found| found.reply().body.clone())
    };
    assert_eq!(select("1", &scope), Err(Forward::UriMiss));
    for (foo, body) in [("1", "one"), ("2", "two")] {
        let epoch = store.epoch(&scope);
        assert_eq!(store.put_variant(key("u"), variant(&scope, foo, body, 60, now, 0), epoch), Stored::Yes);
    }
    assert_eq!(select("1", &scope).unwrap(), "one");
    assert_eq!(select("2", &scope).unwrap(), "two");
    assert_eq!(select("3", &scope), Err(Forward::VaryMiss));
    assert_eq!(select("1", &other), Err(Forward::UriMiss));
    // The same requests' later answer takes the place of the one before, whatever their dates say.
    let before = store.stats().bytes;
    store.put_variant(key("u"), variant(&scope, "1", "tre", 60, now, 9), store.epoch(&scope));
    store.put_variant(key("u"), variant(&scope, "1", "uno", 60, now, 0), store.epoch(&scope));
    assert_eq!(store.stats().bytes, before);
    assert_eq!((select("1", &scope).unwrap(), select("2", &scope).unwrap()), ("uno".into(), "two".into()));
    assert_eq!(store.stats().entries, 1);
    // They are no answer by rule, and the other way round.
    assert!(store.get(&key("u"), &scope, now).is_none());
    put(&store, "u", &scope, now);
    assert_eq!(select("1", &scope), Err(Forward::UriMiss));
    assert_eq!(store.get(&key("u"), &scope, now).unwrap().body, "u");
}

#[test]
fn the_newest_of_several_that_match_is_given() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let language = HeaderName::from_static("accept-language");
    let mut request = asking("1");
    request.insert(&language, HeaderValue::from_static("de"));
    store.put_variant(key("u"), variant(&scope, "1", "newer", 60, now, 9), store.epoch(&scope));
    let response: HeaderMap =
        [(VARY, HeaderValue::from_name(language)), (CACHE_CONTROL, HeaderValue::from_static("max-age=60"))]
            .into_iter()
            .collect();
    let received_on = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let exchange = Exchange {
        method: &Method::GET,
        request: &request,
        status: StatusCode::OK,
        response: &response,
        received: Received { requested_at: now, received_at: now, received_on },
    };
    let older = Variant::new(
        exchange.storable(&Policy::default()).unwrap(),
        Reply::AsReceived("older".into()),
        scope.clone(),
        Tags::default(),
    );
    store.put_variant(key("u"), older, store.epoch(&scope));
    assert_eq!(store.select(&key("u"), &scope, &request, now).ok().unwrap().reply().body, "newer");
}

#[test]
fn the_variants_of_a_key_are_bounded_and_the_oldest_go_first() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    for index in 0..100 {
        store.put_variant(
            key("u"),
            variant(&scope, &index.to_string(), "x", 60, now, 0),
            store.epoch(&scope),
        );
    }
    let held = |index: usize| store.select(&key("u"), &scope, &asking(&index.to_string()), now).is_ok();
    assert_eq!((0..100).filter(|index| held(*index)).collect::<Vec<_>>(), (84..100).collect::<Vec<_>>());

    let (small, size) = (Store::new(StoreConfig { max_size: 100_000, max_entry: 20_000 }), 15_000);
    let scope = small.scope("github", "get_user");
    for index in 0..3 {
        let big = variant(&scope, &index.to_string(), &"x".repeat(size), 60, now, 0);
        assert_eq!(small.put_variant(key("u"), big, small.epoch(&scope)), Stored::Yes);
    }
    // A quarter of the whole holds one of them and not two.
    assert!(small.stats().bytes < 25_000);
    assert!(small.select(&key("u"), &scope, &asking("2"), now).is_ok());
}

#[test]
fn one_variant_dies_or_is_purged_without_the_others() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    for (foo, lifetime) in [("short", 10), ("long", 60)] {
        store.put_variant(key("u"), variant(&scope, foo, foo, lifetime, now, 0), store.epoch(&scope));
    }
    let held = |foo: &str, after: u64| {
        store.select(&key("u"), &scope, &asking(foo), now + Duration::from_secs(after)).is_ok()
    };
    assert!(held("short", 9) && !held("short", 10) && held("long", 10));
    let both = store.stats().bytes;
    store.run_maintenance(now + Duration::from_secs(10));
    assert!(store.stats().bytes < both && store.stats().entries == 1 && held("long", 10));

    let before = store.epoch(&scope);
    store.purge_operation("github", "get_user");
    assert!(!held("long", 0));
    assert_eq!(store.put_variant(key("u"), variant(&scope, "x", "x", 9, now, 0), before), Stored::Purged);
    // A new variant does not bring back the purged one.
    store.put_variant(key("u"), variant(&scope, "new", "new", 60, now, 0), store.epoch(&scope));
    assert!(held("new", 0) && !held("long", 0));
    store.purge_key(&key("u"));
    assert!(!held("new", 0) && store.stats().bytes == 0);
}

#[test]
fn a_variant_over_the_limit_is_refused_and_compaction_leaves_buffers_behind() {
    let (store, now) = (Store::new(StoreConfig { max_size: 1 << 20, max_entry: 5_000 }), Instant::now());
    let scope = store.scope("github", "get_user");
    let big = variant(&scope, "1", &"x".repeat(5_000), 60, now, 0);
    assert_eq!(store.put_variant(key("u"), big, store.epoch(&scope)), Stored::TooLarge);
    assert_eq!(store.select(&key("u"), &scope, &asking("1"), now).err(), Some(Forward::UriMiss));
}

/// What a follower heard, in order.
#[derive(Default)]
struct Told(parking_lot::Mutex<Vec<String>>);

impl Follower for Told {
    fn stored(&self, key: &Key) {
        self.0.lock().push(format!("stored {key}"));
    }

    fn removed(&self, key: &Key) {
        self.0.lock().push(format!("removed {key}"));
    }

    fn purged(&self, purge: &Purge, heard: Heard) {
        let text = match purge {
            Purge::Everything => "purged everything".to_owned(),
            Purge::Integration(name) => format!("purged {name}"),
            Purge::Operation { integration, operation } => format!("purged {integration}.{operation}"),
            Purge::Tag(number) => format!("purged tag {number}"),
            Purge::Key(key) => format!("purged key {key}"),
        };
        self.0.lock().push(if heard == Heard::Elsewhere { format!("{text}, elsewhere") } else { text });
    }
}

#[test]
fn a_follower_hears_of_what_was_stored_and_purged_and_of_nothing_else() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let (heard, other) = (Arc::new(Told::default()), Arc::new(Told::default()));
    let scope = store.scope("github", "get_user");
    store.follow(Arc::clone(&heard) as Arc<dyn Follower>);
    store.follow(Arc::clone(&other) as Arc<dyn Follower>);
    let epoch = store.epoch(&scope);
    put(&store, "a", &scope, now);
    let kept = store.kept(&key("a"), now).unwrap();
    assert!(store.kept(&key("b"), now).is_none() && store.kept(&key("a"), now + TTL * 2).is_none());
    store.remove(&key("a"));
    assert_eq!(store.restore(&key("a"), kept, epoch, now), Restored::Yes);
    store.purge_key(&key("a"));
    assert_eq!(store.put(key("a"), entry(&scope, "x", now), epoch), Stored::Purged);
    store.purge_tag("github", "t");
    store.purge_operation("github", "get_user");
    // Nothing of it is held here, but it may be elsewhere.
    assert!(!store.purge_integration("gitlab"));
    let (a, tag) = (key("a"), tags::counter("github", "t"));
    let expected = [
        format!("stored {a}"),
        format!("removed {a}"),
        format!("purged key {a}"),
        format!("purged tag {tag}"),
        "purged github.get_user".to_owned(),
        "purged gitlab".to_owned(),
    ];
    assert_eq!(*heard.0.lock(), expected);
    assert_eq!(*other.0.lock(), expected, "all of them hear it");
}

#[test]
fn a_purge_from_elsewhere_does_what_one_of_here_does_and_is_told_as_such() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let (told, scope) = (Arc::new(Told::default()), store.scope("github", "get_user"));
    let purges = [
        Purge::Everything,
        Purge::Integration("github".into()),
        Purge::Operation { integration: "github".into(), operation: "get_user".into() },
        Purge::Tag(tags::counter("github", "t")),
        Purge::Key(key("a")),
    ];
    store.follow(Arc::clone(&told) as Arc<dyn Follower>);
    for purge in purges {
        let (epoch, tags) = (store.epoch(&scope), Tags::new("github", ["t"]).unwrap());
        assert_eq!(store.put_tagged(key("a"), entry(&scope, "x", now), tags.clone(), epoch), Stored::Yes);
        assert_eq!(store.keys(|found| *found == key("a")), [key("a")]);
        store.purge_elsewhere(&purge);
        assert!(store.get(&key("a"), &scope, now).is_none(), "{purge:?}");
        assert!(told.0.lock().last().unwrap().ends_with("elsewhere"));
        assert_eq!(store.put_tagged(key("a"), entry(&scope, "x", now), tags, epoch), Stored::Purged);
    }
}

#[test]
fn the_younger_of_two_answers_by_rule_stays() {
    let (store, now) = (Store::new(StoreConfig::default()), Instant::now());
    let scope = store.scope("github", "get_user");
    let (old, young) = (entry(&scope, "old", now), entry(&scope, "young", now + TTL));
    let restored = |entry: Entry, store: &Store| {
        let first = Store::new(StoreConfig::default());
        let (key, at) = (key("a"), entry.stored_at);
        first.put(key, entry, first.epoch(&scope));
        store.restore(&key, first.kept(&key, at).unwrap(), store.epoch(&scope), now + TTL)
    };
    assert_eq!(restored(old.clone(), &store), Restored::Yes);
    assert_eq!(restored(young, &store), Restored::Yes);
    assert_eq!(restored(old, &store), Restored::Known);
    assert_eq!(store.get(&key("a"), &scope, now + TTL).unwrap().body, "young");
}

#[test]
fn to_look_at_what_is_kept_is_no_use_of_it() {
    // Room for a few: what is asked for again stays, what is only copied goes first.
    let store = Store::new(StoreConfig { max_size: 16 << 10, max_entry: 16 << 10 });
    let (scope, now) = (store.scope("github", "get_user"), Instant::now());
    put(&store, "used", &scope, now);
    put(&store, "copied", &scope, now);
    assert!(store.get(&key("used"), &scope, now).is_some());
    assert!(store.kept(&key("copied"), now).is_some());
    for index in 0..64 {
        put(&store, &format!("flood {index}"), &scope, now);
    }
    assert!(store.get(&key("used"), &scope, now).is_some());
    assert!(store.get(&key("copied"), &scope, now).is_none());
}
