//! The stores of two gateways, and a real server between them.

use crate::{Level, LevelStats, Options};
use bascule_cache::{Entry, Key, KeyBuilder, Scope, Store, StoreConfig, Stored, Tags};
use bascule_shared::{Command, Reply, Server, Shared, testing::RedisServer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

const TTL: Duration = Duration::from_secs(600);
/// The longest that a test waits for anything: a busy machine needs seconds.
const PATIENCE: Duration = Duration::from_secs(40);

struct Gateway {
    store: Arc<Store>,
    scope: Scope,
    level: Level,
    shared: Shared,
    /// Seconds by which its clock is ahead.
    ahead: Arc<AtomicU64>,
}

impl Gateway {
    async fn start(server: &RedisServer, name: &str) -> Self {
        Self::with(server, name, "one secret for all").await
    }

    async fn with(server: &RedisServer, name: &str, secret: &str) -> Self {
        let mut options = bascule_shared::Options::new(|| 0.5);
        // A busy machine is not what is tested.
        options.timeout = Duration::from_secs(10);
        let shared = Shared::start(Server::parse(&server.url()).unwrap(), options);
        let store = Store::new(StoreConfig { max_entry: 32 << 20, ..StoreConfig::default() });
        let scope = store.scope("github", "get_user");
        let options =
            Options { secret: secret.into(), timeout: Duration::from_secs(10), name: name.to_owned() };
        let ahead = Arc::new(AtomicU64::new(0));
        let by = Arc::clone(&ahead);
        let clock = Box::new(move || {
            let ahead = Duration::from_secs(by.load(Ordering::SeqCst));
            (Instant::now() + ahead, SystemTime::now() + ahead)
        });
        let level = Level::start(shared.clone(), Arc::clone(&store), clock, options);
        until("connected", async || shared.is_connected() && !level.is_behind()).await;
        Self { store, scope, level, shared, ahead }
    }

    fn put(&self, name: &str, body: &str) -> Stored {
        self.put_since(name, body, self.store.epoch(&self.scope))
    }

    fn put_since(&self, name: &str, body: &str, epoch: bascule_cache::Epoch) -> Stored {
        let entry = Entry {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
            stored_at: Instant::now(),
            age_at_store: Duration::ZERO,
            ttl: TTL,
            stale_while_revalidate: Duration::ZERO,
            keep_stale: Duration::ZERO,
            scope: self.scope.clone(),
        };
        self.store.put_tagged(key(name), entry, Tags::new("github", [name]).unwrap(), epoch)
    }

    fn get(&self, name: &str) -> Option<String> {
        let entry = self.store.get(&key(name), &self.scope, Instant::now())?;
        Some(String::from_utf8(entry.body.to_vec()).unwrap())
    }

    async fn find(&self, name: &str) -> bool {
        self.level.find(&key(name), &self.scope).await
    }

    /// Waits until the server has the entry of a key.
    async fn sent(&self, name: &str) {
        until("sent", async || self.entry(name).await != Reply::Nil).await;
    }

    async fn entry(&self, name: &str) -> Reply {
        self.shared.call(Command::new("GET").arg(entry_name(name))).await.unwrap()
    }

    fn stats(&self) -> LevelStats {
        self.level.stats()
    }
}

fn entry_name(name: &str) -> Vec<u8> {
    [b"bascule:cache:entry:", &key(name).as_bytes()[..]].concat()
}

fn key(name: &str) -> Key {
    KeyBuilder::new("github", "get_user").field("user", name.as_bytes()).finish()
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not {what} in time");
}

#[tokio::test]
async fn what_one_gateway_stored_the_other_finds() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    assert!(!two.find("a").await);
    one.put("a", &"body".repeat(1000));
    one.sent("a").await;
    assert!(two.find("a").await);
    assert_eq!(two.get("a").unwrap(), "body".repeat(1000));
    let entry = one.entry("a").await.into_bytes().unwrap();
    assert!(entry.len() < 1000, "compressed: {}", entry.len());
    let left = one.shared.call(Command::new("PTTL").arg(entry_name("a"))).await.unwrap().integer().unwrap();
    assert!((1..=600_000).contains(&left), "it lives as long as it is of use: {left}");
    assert_eq!((two.stats().hits, two.stats().misses), (1, 1));
    // A thousand at once are one look.
    let (before, looks) = (two.shared.health().answered, (0..1000).map(|_| two.find("b")));
    let mut looks: Vec<_> = looks.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        looks.retain_mut(|look| look.as_mut().poll(cx).is_pending());
        if looks.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!(two.shared.health().answered - before, 1);
}

#[tokio::test]
async fn what_was_changed_moved_or_written_by_others_is_a_miss() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    one.put("a", "body");
    one.sent("a").await;
    let good = one.entry("a").await.into_bytes().unwrap();
    let set = async |name: &str, octets: &[u8]| {
        one.shared.call(Command::new("SET").arg(entry_name(name)).arg(octets)).await.unwrap();
    };
    let mut changed = good.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    set("a", &changed).await;
    set("b", &good).await;
    set("c", b"not an entry").await;
    for name in ["a", "b", "c"] {
        assert!(!two.find(name).await && two.get(name).is_none(), "{name}");
    }
    assert_eq!(two.stats().refused, 3);
    set("a", &good).await;
    assert!(two.find("a").await);
    let other = Gateway::with(&server, "other", "another secret").await;
    assert!(!other.find("a").await);
    assert_eq!(other.stats().refused, 1);
}

#[tokio::test]
async fn a_purge_reaches_the_other_gateway_and_what_the_server_holds() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    type Act = fn(&Store);
    let purges: [(&str, Act); 4] = [
        ("key", |store| store.purge_key(&key("a"))),
        ("tag", |store| store.purge_tag("github", "a")),
        ("operation", |store| assert!(store.purge_operation("github", "get_user"))),
        ("integration", |store| assert!(store.purge_integration("github"))),
    ];
    for (what, purge) in purges {
        assert_eq!(one.put("a", what), Stored::Yes);
        one.sent("a").await;
        until("found", async || two.find("a").await).await;
        assert_eq!(two.get("a").as_deref(), Some(what));
        // A fetch that began before the purge, on the gateway that did not make it.
        let epoch = two.store.epoch(&two.scope);
        purge(&one.store);
        until(what, async || two.get("a").is_none()).await;
        assert_eq!(two.put_since("a", "late", epoch), Stored::Purged, "{what}");
        until("announced", async || one.stats().purges_waiting == 0).await;
        assert!(!two.find("a").await, "{what}");
        one.shared.call(Command::new("DEL").arg(entry_name("a"))).await.unwrap();
    }
    // The gateway that made them goes on to store at once, and is believed.
    one.store.purge_key(&key("a"));
    one.put("a", "new");
    one.sent("a").await;
    until("found again", async || two.find("a").await).await;
    assert_eq!(two.get("a").as_deref(), Some("new"));
}

#[tokio::test]
async fn what_a_gateway_purged_it_does_not_bring_back_while_the_purge_waits_to_be_sent() {
    let server = RedisServer::start().await.unwrap();
    let one = Gateway::start(&server, "one").await;
    one.put("a", "old");
    one.sent("a").await;
    // They are sent one after the other, so that the last one is not on the server when it is looked at.
    for number in 0..500 {
        one.store.purge_tag("github", &format!("other {number}"));
    }
    one.store.purge_key(&key("a"));
    assert!(!one.find("a").await);
    assert!(one.stats().purges_waiting > 0, "it was looked at too late");
    until("announced", async || one.stats().purges_waiting == 0).await;
    assert!(!one.find("a").await);
}

#[tokio::test]
async fn what_was_purged_while_a_gateway_was_cut_off_is_purged_there_afterwards() {
    let mut server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    for gateway in [&one, &two] {
        gateway.put("a", "old");
        gateway.put("b", "stays");
    }
    one.sent("b").await;
    server.stop();
    until("away", async || !one.shared.is_connected() && !two.shared.is_connected()).await;
    // Without the server each goes on alone.
    assert!(!one.find("c").await);
    // What is being fetched meanwhile, and one that nobody holds.
    let epoch = two.store.epoch(&two.scope);
    one.store.purge_key(&key("e"));
    one.store.purge_key(&key("a"));
    assert_eq!((one.get("a"), two.get("a").as_deref()), (None, Some("old")));
    assert!(one.stats().purges_waiting == 2 && one.stats().unanswered == 1);
    server.restart().await.unwrap();
    until("purged", async || two.get("a").is_none()).await;
    for name in ["a", "e"] {
        assert_eq!(two.put_since(name, "late", epoch), Stored::Purged, "{name}");
    }
    assert_eq!(two.get("b").as_deref(), Some("stays"), "a server that lost its memory costs nothing else");
    one.put("d", "after");
    one.sent("d").await;
    until("used again", async || two.find("d").await).await;
}

#[tokio::test]
async fn a_server_that_gave_up_its_purges_brings_nothing_back() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    one.put("a", "old");
    one.sent("a").await;
    one.shared.call(Command::new("DEL").arg("bascule:cache:purges")).await.unwrap();
    assert!(!two.find("a").await);
    // The set begins again, later than the entry.
    until("caught up", async || !two.level.is_behind()).await;
    assert!(!two.find("a").await);
}

#[tokio::test]
async fn a_lost_connection_after_a_day_without_a_purge_costs_nothing() {
    let mut server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    two.put("a", "stays");
    two.put("b", "goes");
    two.ahead.store(25 * 3600, Ordering::SeqCst);
    server.stop();
    until("away", async || !one.shared.is_connected() && !two.shared.is_connected()).await;
    one.store.purge_key(&key("b"));
    server.restart().await.unwrap();
    until("caught up", async || two.get("b").is_none() && !two.level.is_behind()).await;
    assert_eq!(two.get("a").as_deref(), Some("stays"));
}

#[tokio::test]
async fn a_message_with_a_number_that_nobody_gave_does_not_disable_purges() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    let forged = format!("{} x t:0", u64::MAX);
    one.put("b", "goes");
    two.shared.publish("bascule:cache:purges", &forged).await.unwrap();
    two.store.purge_key(&key("b"));
    // What was published before it was heard as well.
    until("heard", async || one.get("b").is_none() && !one.level.is_behind()).await;
    one.put("a", "old");
    one.sent("a").await;
    one.store.purge_key(&key("a"));
    until("announced", async || one.stats().purges_waiting == 0).await;
    assert!(!two.find("a").await);
}

#[tokio::test]
async fn a_server_that_lost_its_set_and_whose_clock_is_behind_is_asked_for_all_it_has() {
    let server = RedisServer::start().await.unwrap();
    let (one, two) = (Gateway::start(&server, "one").await, Gateway::start(&server, "two").await);
    two.put("a", "old");
    let command = async |command: Command| one.shared.call(command).await.unwrap();
    let set = "bascule:cache:purges";
    // Begun anew long ago by its clock, and something was purged that was not heard of.
    command(Command::new("DEL").arg(set)).await;
    command(Command::new("ZADD").arg(set).number(5).arg("0").number(6).arg("i:github")).await;
    one.shared.publish(set, "something may have been missed").await.unwrap();
    until("purged", async || two.get("a").is_none()).await;
}

#[tokio::test]
async fn what_is_too_large_to_be_read_is_not_sent_however_small_it_gets() {
    let server = RedisServer::start().await.unwrap();
    let one = Gateway::start(&server, "one").await;
    assert_eq!(one.put("large", &"x".repeat(17 << 20)), Stored::Yes);
    one.put("b", "sent after it");
    one.sent("b").await;
    assert_eq!(one.entry("large").await, Reply::Nil);
}
