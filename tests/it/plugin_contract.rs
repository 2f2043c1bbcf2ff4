//! The contract seen from a plugin that the SDK made: every import that takes a grant, in the real host.

use crate::support::guest;
use bascule_plugin_host::{
    CallContext, Grants, HostBody, HostConfig, LogLevel, Observer, Plugin, PluginError, PluginHost,
    PluginSpec, RequestHead, ResponseHead, SecretBytes, SideFuture, SideRequest, SideRequests, SideResponse,
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// The provider's login: answers with that status and document, and keeps what it was sent.
struct Provider {
    status: u16,
    document: &'static str,
    seen: Mutex<Vec<SideRequest>>,
}

impl SideRequests for Provider {
    fn send(&self, request: SideRequest) -> SideFuture<'_> {
        self.seen.lock().unwrap().push(request);
        let head = ResponseHead { status: self.status, headers: Vec::new() };
        Box::pin(async move { Ok(SideResponse { head, body: self.document.into() }) })
    }
}

#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl Observer for Counted {
    fn log(&self, _: &str, _: &str, _: LogLevel, _: &str, _: &[(String, String)]) {}
    fn call(&self, _: &str, _: &str, _: Duration, _: Option<&'static str>) {}

    fn count(&self, _: &str, _: &CallContext, name: &str, value: u64, labels: &[(String, String)]) {
        self.0.lock().unwrap().push(format!("{name} {value} {labels:?}"));
    }
}

fn login() -> (Arc<Plugin>, Arc<Counted>) {
    let counted = Arc::new(Counted::default());
    let host = PluginHost::new(HostConfig { observer: counted.clone(), ..HostConfig::default() }).unwrap();
    let mut spec = PluginSpec::new("login", std::fs::read(guest("login")).unwrap());
    spec.grants = Grants::parse(["http:login", "state", "telemetry"]).unwrap();
    spec.credentials.insert("client_secret".into(), SecretBytes::from("p&ss word"));
    (host.load(spec).unwrap(), counted)
}

fn context(side: Option<Arc<dyn SideRequests>>) -> CallContext {
    CallContext {
        integration: "shop".into(),
        operation: "get".into(),
        call_id: "call".into(),
        credential: "default".into(),
        attempt: 1,
        remaining: Duration::from_secs(5),
        idempotency_key: None,
        parameters: r#"{"q":"shoes"}"#.into(),
        now: SystemTime::UNIX_EPOCH,
        tokens: [("read".to_owned(), SecretBytes::from("held-token"))].into_iter().collect(),
        side,
    }
}

#[tokio::test]
async fn a_provider_with_an_odd_login_is_logged_in_to() {
    let (plugin, counted) = login();
    let document = r#"{"data":{"accessToken":"fresh-token","ttl":3600}}"#;
    let provider = Arc::new(Provider { status: 200, document, seen: Mutex::default() });
    let token = plugin.fetch_token(&context(Some(provider.clone())), "read").await.unwrap();
    assert_eq!(token.value.expose(), b"fresh-token");
    assert_eq!(token.expires_in, Some(Duration::from_secs(3600)));
    let seen = provider.seen.lock().unwrap();
    assert_eq!((seen[0].endpoint.as_str(), seen[0].head.path.as_str()), ("login", "/session"));
    let body = seen[0].body.as_ref().unwrap();
    assert_eq!(body.bytes, "grant=service&scope=read&secret=p%26ss%20word");
    assert!(body.secret && !format!("{seen:?}").contains("p%26ss"));
    assert_eq!(*counted.0.lock().unwrap(), [r#"logins 1 [("status", "200")]"#]);
}

#[tokio::test]
async fn a_login_that_fails_is_the_plugins_fault_or_the_hosts_refusal() {
    let (plugin, _) = login();
    let refused = Arc::new(Provider { status: 401, document: "{}", seen: Mutex::default() });
    for (side, code) in [(Some(refused as Arc<dyn SideRequests>), "login-refused"), (None, "http-denied")] {
        let error = plugin.fetch_token(&context(side), "read").await.unwrap_err();
        let PluginError::Fault(fault) = error else { panic!("{error:?}") };
        assert_eq!(fault.code, code);
    }
}

#[tokio::test]
async fn the_token_is_sent_and_the_key_is_the_plugins() {
    let (plugin, _) = login();
    let head = RequestHead {
        method: "GET".into(),
        endpoint: None,
        path: "/".into(),
        query: None,
        headers: Vec::new(),
    };
    let patch = plugin.sign(&context(None), head, "host", None).await.unwrap();
    assert_eq!(patch.headers[0].1.bytes, "Bearer held-token");
    let key = plugin.key_material(&context(None), HostBody::bytes("")).await.unwrap();
    assert_eq!(key.as_deref(), Some(&b"shoes"[..]));
}
