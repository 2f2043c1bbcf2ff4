//! The connection against a real server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what is wrong here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use bascule_shared::testing::{RedisServer, Relay};
use bascule_shared::{CallError, Command, Notice, Options, Reply, Script, Server, Shared, Subscription};
use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// Long enough for a busy machine; what waits for a condition ends as soon as it holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for `localhost`, and its key.
const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tls");

/// A bound that a busy machine keeps when the server is well.
const WELL: Duration = Duration::from_secs(10);

fn open(url: &str, options: impl FnOnce(&mut Options)) -> Shared {
    let mut all = Options::new(|| 0.5);
    all.timeout = WELL;
    options(&mut all);
    Shared::start(Server::parse(url).unwrap(), all)
}

async fn connected(shared: &Shared) {
    until(|| shared.is_connected()).await;
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it does not come to that");
}

fn octets(text: &'static str) -> Reply {
    Reply::Bytes(Bytes::from_static(text.as_bytes()))
}

async fn next(subscription: &mut Subscription) -> Notice {
    timeout(PATIENCE, subscription.next()).await.expect("nothing comes").unwrap()
}

#[tokio::test]
async fn commands_are_answered() {
    let server = RedisServer::start().await.unwrap();
    let shared = open(&server.url(), |options| options.prefix = "mine".to_owned());
    connected(&shared).await;
    let key = shared.name(&["cache", "{a}"]);
    assert_eq!(key, "mine:cache:{a}");
    assert_eq!(shared.call(Command::new("GET").arg(&key)).await, Ok(Reply::Nil));
    let set = Command::new("SET").arg(&key).arg([0, 255, b'\r', b'\n']).arg("PX").number(60_000);
    assert_eq!(shared.call(set).await, Ok(octets("OK")));
    let got = shared.call(Command::new("GET").arg(&key)).await.unwrap();
    assert_eq!(got.into_bytes().unwrap().as_ref(), [0, 255, b'\r', b'\n']);
    let refused = shared.call(Command::new("INCR").arg(&key)).await;
    assert_eq!(refused, Err(CallError::Refused { code: "ERR".to_owned() }));
    let health = shared.health();
    assert!(health.connected && health.answered == 4 && health.connections == 1, "{health:?}");
}

#[tokio::test]
async fn a_script_runs_also_on_a_server_that_forgot_it() {
    let mut server = RedisServer::start().await.unwrap();
    let shared = open(&server.url(), |_| {});
    let script = Script::new("return {KEYS[1], tonumber(ARGV[1]) + 1}");
    for _ in 0..2 {
        connected(&shared).await;
        for _ in 0..2 {
            let reply = shared.run(&script, &["k"], &["41"]).await;
            assert_eq!(reply, Ok(Reply::List(vec![octets("k"), Reply::Integer(42)])));
        }
        server.restart().await.unwrap();
        until(|| shared.health().connections == 2 || !shared.is_connected()).await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_costs_nothing_and_is_used_when_it_is_back() {
    let mut server = RedisServer::start().await.unwrap();
    let shared = open(&server.url(), |_| {});
    connected(&shared).await;
    server.stop();
    until(|| !shared.is_connected()).await;
    for _ in 0..10_000 {
        assert_eq!(shared.call(Command::new("PING")).await, Err(CallError::Away));
    }
    assert!(shared.health().problem.is_some());
    server.restart().await.unwrap();
    connected(&shared).await;
    assert_eq!(shared.call(Command::new("PING")).await, Ok(octets("PONG")));
    assert_eq!(shared.health().turned_away, 10_000);
}

#[tokio::test]
async fn calls_that_are_out_when_the_server_dies_end_at_once() {
    let mut server = RedisServer::start().await.unwrap();
    let shared = open(&server.url(), |options| options.timeout = PATIENCE * 10);
    connected(&shared).await;
    let waiting = shared.clone();
    let call =
        tokio::spawn(async move { waiting.call(Command::new("BLPOP").arg("nothing").number(0)).await });
    let unanswered =
        async { while shared.call(Command::new("PING")).await.is_ok() && !call.is_finished() {} };
    // The blocking command holds the connection: this PING is not answered either.
    assert!(timeout(Duration::from_millis(100), unanswered).await.is_err());
    server.stop();
    assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap(), Err(CallError::Lost));
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_few_timeouts_and_then_nothing() {
    let server = RedisServer::start().await.unwrap();
    let relay = Relay::start(&server).await.unwrap();
    let shared = open(&relay.url(), |options| options.timeout = Duration::from_millis(200));
    connected(&shared).await;
    relay.hold(true);
    let mut timed_out = 0;
    let since = Instant::now();
    loop {
        match shared.call(Command::new("PING")).await {
            Err(CallError::TimedOut) => timed_out += 1,
            Err(CallError::Away) => break,
            other => panic!("{other:?}"),
        }
        assert!(since.elapsed() < PATIENCE, "it is never given up");
    }
    assert!((1..=5).contains(&timed_out), "{timed_out} calls had to wait");
    // It goes on to accept connections, and that is not taken for life.
    until(|| shared.health().problem.is_some_and(|problem| problem.contains("within"))).await;
    assert!(!shared.is_connected());
    relay.hold(false);
    connected(&shared).await;
}

#[tokio::test]
async fn more_calls_than_may_be_out_are_turned_away_at_once() {
    let server = RedisServer::start().await.unwrap();
    let relay = Relay::start(&server).await.unwrap();
    let shared = open(&relay.url(), |options| options.unanswered_max = 4);
    connected(&shared).await;
    relay.hold(true);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let shared = shared.clone();
        calls.spawn(async move { shared.call(Command::new("PING")).await });
    }
    for _ in 0..4 {
        assert_eq!(calls.join_next().await.unwrap().unwrap(), Err(CallError::Busy));
    }
    relay.hold(false);
    while let Some(result) = calls.join_next().await {
        assert_eq!(result.unwrap(), Ok(octets("PONG")));
    }
}

#[tokio::test]
async fn callers_that_leave_do_not_add_up() {
    let server = RedisServer::start().await.unwrap();
    let relay = Relay::start(&server).await.unwrap();
    let shared = open(&relay.url(), |options| options.unanswered_max = 4);
    connected(&shared).await;
    relay.hold(true);
    for _ in 0..4 {
        let call = shared.call(Command::new("PING"));
        assert!(timeout(Duration::from_millis(1), call).await.is_err());
    }
    assert_eq!(shared.call(Command::new("PING")).await, Err(CallError::Busy));
    relay.hold(false);
    // The heartbeat's answer says that all before it were answered, too.
    let shared = &shared;
    let answered = async {
        while shared.call(Command::new("PING")).await.is_err() {
            sleep(Duration::from_millis(5)).await
        }
    };
    timeout(PATIENCE, answered).await.expect("it is busy for ever");
}

#[tokio::test]
async fn what_is_published_is_heard_and_gaps_are_told() {
    let mut server = RedisServer::start().await.unwrap();
    let (one, other) = (open(&server.url(), |_| {}), open(&server.url(), |_| {}));
    let mut heard = one.subscribe("c");
    assert_eq!(next(&mut heard).await, Notice::Gap);
    connected(&other).await;
    other.publish("c", "first").await.unwrap();
    assert_eq!(next(&mut heard).await, Notice::Message(Bytes::from_static(b"first")));
    let mut second = one.subscribe("c");
    assert_eq!(next(&mut second).await, Notice::Gap);
    assert_eq!(next(&mut heard).await, Notice::Gap);
    server.restart().await.unwrap();
    assert_eq!(next(&mut heard).await, Notice::Interrupted);
    assert_eq!(next(&mut heard).await, Notice::Gap);
    until(|| other.health().connections == 2 && other.is_connected()).await;
    other.publish("c", "second").await.unwrap();
    assert_eq!(next(&mut heard).await, Notice::Message(Bytes::from_static(b"second")));
}

#[tokio::test]
async fn logins_and_databases_are_used_and_a_refused_login_is_named() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]).await.unwrap();
    let right = open(&format!("{}?db=3&pass=hunter2", server.url()), |_| {});
    connected(&right).await;
    assert_eq!(right.call(Command::new("SET").arg("k").arg("v")).await, Ok(octets("OK")));
    let elsewhere = open(&format!("{}?db=2&pass=hunter2", server.url()), |_| {});
    connected(&elsewhere).await;
    assert_eq!(elsewhere.call(Command::new("GET").arg("k")).await, Ok(Reply::Nil));
    for url in [server.url(), format!("{}?pass=hunter3", server.url())] {
        let wrong = open(&url, |_| {});
        until(|| wrong.health().problem.is_some()).await;
        let problem = wrong.health().problem.unwrap();
        assert_eq!(problem, "the login was refused");
        assert!(!wrong.is_connected());
    }
}

#[tokio::test]
async fn tls_without_settings_is_a_problem_with_a_name() {
    let shared = open("rediss://127.0.0.1:1/", |_| {});
    until(|| shared.health().problem.is_some()).await;
    assert!(!shared.is_connected());
}

#[tokio::test]
async fn tls_is_the_callers_own() {
    let server = RedisServer::start().await.unwrap();
    let relay = Relay::start(&server).await.unwrap();
    let certificate = CertificateDer::from_pem_file(format!("{TLS}/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/key.pem")).unwrap();
    let terms = ServerConfig::builder().with_no_client_auth();
    let terms = Arc::new(terms.with_single_cert(vec![certificate.clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://localhost:{}", listener.local_addr().unwrap().port());
    let plain = relay.url().trim_start_matches("redis://").to_owned();
    let terminator = tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(terms);
        while let Ok((client, _)) = listener.accept().await {
            // A client that does not trust us ends the handshake.
            let Ok(mut client) = acceptor.accept(client).await else { continue };
            let mut server = TcpStream::connect(&plain).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    let trusting =
        |roots| Some(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()));
    let wary = open(&url, |options| options.tls = trusting(RootCertStore::empty()));
    until(|| wary.health().problem.is_some()).await;
    assert!(!wary.is_connected());
    drop(wary);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let shared = open(&url, |options| options.tls = trusting(roots));
    connected(&shared).await;
    assert_eq!(shared.call(Command::new("PING")).await, Ok(octets("PONG")));
    terminator.abort();
}

#[tokio::test]
async fn dropping_the_last_handle_ends_subscriptions_and_closes_the_connection() {
    let server = RedisServer::start().await.unwrap();
    let shared = open(&server.url(), |_| {});
    let watcher = open(&server.url(), |_| {});
    let mut heard = shared.subscribe("c");
    assert_eq!(next(&mut heard).await, Notice::Gap);
    connected(&watcher).await;
    let listening = async || {
        let list = watcher.call(Command::new("PUBSUB").arg("NUMSUB").arg("c")).await.unwrap();
        list.into_list().unwrap()[1].integer().unwrap()
    };
    assert_eq!(listening().await, 1);
    drop(shared);
    assert_eq!(timeout(PATIENCE, heard.next()).await.unwrap(), None);
    timeout(PATIENCE, async { while listening().await > 0 {} }).await.expect("the connection stays");
}
