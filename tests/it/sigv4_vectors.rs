//! AWS's own test suite for Signature Version 4, through the compiled plugin in the real host.
//!
//! Per case and form (headers, query) the string to sign, the signature and the whole signed request are
//! compared. The plugin never sees the keys; the host fills them in, so the request is exact to the octet.

use crate::support::shipped;
use bascule_plugin_host::{
    AuthPatch, CallContext, Header, HostBody, HostConfig, LogLevel, Observer, Plugin, PluginHost, PluginSpec,
    RequestHead, SecretBytes,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// 2015-08-30T12:36:00Z, the time of every case.
const NOW: Duration = Duration::from_secs(1_440_938_160);

/// The cases stand beside the plugin, whose own tests use them too.
const SUITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/aws-sigv4/tests/vectors");

/// Keeps the string to sign, which the plugin logs at debug.
#[derive(Default)]
struct Listener {
    string_to_sign: Mutex<Option<String>>,
}

impl Observer for Listener {
    fn log(&self, _: &str, _: &str, level: LogLevel, message: &str, fields: &[(String, String)]) {
        if matches!(level, LogLevel::Debug) && message == "string to sign" {
            let found = fields.iter().find(|(name, _)| name == "string_to_sign");
            *self.string_to_sign.lock() = found.map(|(_, value)| value.clone());
        }
    }

    fn call(&self, _: &str, _: &str, _: Duration, _: Option<&'static str>) {}
}

/// A request as the suite writes it. A line that begins with a blank goes on with the value before.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: String,
}

impl Message {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end_matches('\n'), ""));
        let (line, lines) = head.split_once('\n').unwrap_or((head, ""));
        let (method, target) = line.strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for line in lines.lines() {
            match line.split_once(':').filter(|_| !line.starts_with(' ')) {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.into())),
                None => {
                    let (_, value) = headers.last_mut().unwrap();
                    value.push(b'\n');
                    value.extend(line.bytes());
                }
            }
        }
        Self { method: method.into(), path: path.into(), query, headers, body: body.into() }
    }

    fn head(&self) -> RequestHead {
        let line = |(name, value): &(String, Vec<u8>)| Header { name: name.clone(), value: value.clone() };
        RequestHead {
            method: self.method.clone(),
            endpoint: None,
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.iter().map(line).collect(),
        }
    }

    fn host(&self) -> String {
        let (_, value) = self.headers.iter().find(|(name, _)| name == "host").unwrap();
        String::from_utf8(value.clone()).unwrap()
    }

    /// The request as the host would send it.
    fn signed(mut self, patch: &AuthPatch) -> Self {
        for (name, value) in &patch.headers {
            self.headers.retain(|(known, _)| known != name);
            self.headers.push((name.clone(), value.bytes.to_vec()));
        }
        for (name, value) in &patch.query {
            let pair = format!("{name}={}", std::str::from_utf8(&value.bytes).unwrap());
            self.query = Some(match self.query.take() {
                Some(query) => format!("{query}&{pair}"),
                None => pair,
            });
        }
        self.sorted()
    }

    /// Headers by name: where the signer puts its own is of no meaning.
    fn sorted(mut self) -> Self {
        self.headers.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }
}

struct Suite {
    host: Arc<PluginHost>,
    listener: Arc<Listener>,
    octets: Vec<u8>,
}

impl Suite {
    fn new() -> Self {
        let listener = Arc::new(Listener::default());
        let config = HostConfig {
            instances: 4,
            cache_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sigv4")),
            observer: listener.clone(),
            ..HostConfig::default()
        };
        Self { host: PluginHost::new(config).unwrap(), listener, octets: shipped("aws-sigv4") }
    }

    fn plugin(&self, context: &Value, presign: bool) -> Arc<Plugin> {
        let mut spec = PluginSpec::new("aws-sigv4", self.octets.clone());
        spec.config = json!({
            "service": context["service"],
            "region": context["region"],
            "presign": presign,
            "expires": format!("{}s", context["expiration_in_seconds"]),
            "normalize_path": context["normalize"],
            "sign_body": context["sign_body"],
        });
        if let Some(omit) = context.get("omit_session_token") {
            spec.config["omit_session_token"] = omit.clone();
        }
        for (name, value) in context["credentials"].as_object().unwrap() {
            let name = if name == "token" { "session_token" } else { name };
            spec.credentials.insert(name.to_owned(), SecretBytes::from(value.as_str().unwrap()));
        }
        self.host.load(spec).unwrap()
    }

    /// Whether the case comes out right; what does not is said on standard error.
    async fn passes(&self, folder: &Path, form: &str) -> bool {
        let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let expected = |name: &str| file(&format!("{form}-{name}.txt"));
        let context: Value = serde_json::from_str(&file("context.json")).unwrap();
        assert_eq!(context["timestamp"], "2015-08-30T12:36:00Z");
        let message = Message::parse(&file("request.txt"));
        let body = Some(HostBody::bytes(message.body.clone())).filter(|_| !message.body.is_empty());
        let plugin = self.plugin(&context, form == "query");
        let patch = plugin.sign(&call(), message.head(), &message.host(), body).await.unwrap();

        let carrier = match form {
            "query" => patch.query.last(),
            _ => patch.headers.iter().find(|(name, _)| name == "authorization"),
        };
        let carrier = String::from_utf8(carrier.unwrap().1.bytes.to_vec()).unwrap();
        let ours = (
            self.listener.string_to_sign.lock().take().unwrap(),
            // `…, Signature=HEX` in the header, the value itself in the query.
            carrier.rsplit('=').next().unwrap().to_owned(),
            message.signed(&patch),
        );
        let theirs = (
            expected("string-to-sign"),
            expected("signature").trim().to_owned(),
            Message::parse(&expected("signed-request")).sorted(),
        );
        if ours != theirs {
            eprintln!("{} {form}:\n  ours   {ours:?}\n  theirs {theirs:?}", folder.display());
        }
        ours == theirs
    }
}

fn call() -> CallContext {
    CallContext {
        integration: "storage".into(),
        operation: "get".into(),
        call_id: "call".into(),
        credential: "default".into(),
        attempt: 1,
        remaining: Duration::from_secs(5),
        idempotency_key: None,
        parameters: "{}".into(),
        now: SystemTime::UNIX_EPOCH + NOW,
        tokens: Default::default(),
        side: None,
    }
}

#[tokio::test]
async fn every_case_of_the_suite_is_signed_to_the_octet_in_headers_and_in_the_query() {
    let mut cases: Vec<PathBuf> = fs::read_dir(SUITE)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("context.json").is_file())
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 38, "cases of the suite");
    let suite = Suite::new();
    let mut passed = [0, 0];
    for (form, passed) in ["header", "query"].into_iter().zip(&mut passed) {
        for case in &cases {
            *passed += usize::from(suite.passes(case, form).await);
        }
    }
    println!("header {}/38 query {}/38", passed[0], passed[1]);
    assert_eq!(passed, [38, 38]);
}
