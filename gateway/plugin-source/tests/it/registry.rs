//! An OCI registry in memory: manifests, blobs, tags, uploads and logins; honest unless it is told to lie.
//! The gateway's tests use it too.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{Method, Request};
use http_body_util::BodyExt;
use std::sync::Mutex;

use crate::server::{Answer, Odd, Server, answer, serve};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry and what it was asked.
pub(crate) struct Registry {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// By digest and by tag.
    pub(crate) manifests: BTreeMap<String, Bytes>,
    /// Method and path of every request, and its `Authorization`.
    pub(crate) asked: Vec<(String, Option<String>)>,
    pub(crate) login: Login,
    pub(crate) lie: Lie,
}

/// What a client has to do first.
#[derive(Default, Clone)]
pub(crate) enum Login {
    #[default]
    None,
    /// `Basic` with ada's password.
    Basic,
    /// A token, for everybody who asks.
    Token,
    /// A token, for ada.
    TokenForAda,
    /// A token from that server.
    TokenFrom(String),
}

/// How it lies.
#[derive(Default, Clone)]
pub(crate) enum Lie {
    #[default]
    None,
    /// Other octets than the digest's.
    WrongBlob,
    /// Another manifest than the digest's, or than its own header says.
    WrongManifest,
    EndlessBlob,
    StuckBlob,
    HugeManifest,
    ManifestType(&'static str),
    /// Redirects what lies under that part of the path to that place.
    Redirect(&'static str, String),
    UploadElsewhere,
}

pub(crate) fn digest(octets: &[u8]) -> String {
    format!(
        "sha256:{}",
        HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref())
    )
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = serve(move |request| shared.lock().unwrap().answer(&request), None).await;
        Self { server, state }
    }

    /// `oci://…/acme/signer` with this behind it.
    pub(crate) fn reference(&self, tail: &str) -> String {
        format!("oci://{}/acme/signer{tail}", self.host())
    }

    pub(crate) fn host(&self) -> String {
        self.server.address.to_string()
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts an artifact of such layers under a tag; gives the manifest's digest.
    pub(crate) fn put(&self, tag: &str, config: &str, layers: &[(&str, &[u8])]) -> String {
        let mut state = self.state();
        let mut descriptor = |kind: &str, octets: &[u8]| {
            state.blobs.insert(digest(octets), Bytes::copy_from_slice(octets));
            serde_json::json!({ "mediaType": kind, "digest": digest(octets), "size": octets.len() })
        };
        let config = descriptor(config, b"{}");
        let layers: Vec<_> = layers.iter().map(|(kind, octets)| descriptor(kind, octets)).collect();
        let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        state.put_manifest(tag, manifest.to_string().into())
    }

    /// Puts a plugin under a tag, as the guidance has it; gives the manifest's digest.
    pub(crate) fn put_plugin(&self, tag: &str, plugin: &[u8]) -> String {
        self.put(tag, "application/vnd.wasm.config.v0+json", &[("application/wasm", plugin)])
    }

    /// The requests so far, and forgets them.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked).into_iter().map(|(request, _)| request).collect()
    }
}

impl State {
    fn put_manifest(&mut self, name: &str, raw: Bytes) -> String {
        let digest = digest(&raw);
        self.manifests.insert(digest.clone(), raw.clone());
        self.manifests.insert(name.to_owned(), raw);
        digest
    }

    fn answer(&mut self, request: &Request<Bytes>) -> Answer {
        let path = request.uri().path().to_owned();
        let authorization = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
        self.asked.push((format!("{} {path}", request.method()), authorization.clone()));
        if path == "/token" {
            return self.token(request, authorization);
        }
        if let Some(refusal) = self.refusal(request, authorization) {
            return refusal;
        }
        if let Lie::Redirect(part, to) = &self.lie
            && path.contains(*part)
        {
            return answer(307, &[("location", to)], "");
        }
        let Some(tail) = path.strip_prefix("/v2/acme/signer/") else { return answer(404, &[], "") };
        match (request.method().clone(), tail.split_once('/').unwrap_or((tail, ""))) {
            (Method::GET | Method::HEAD, ("manifests", name)) => self.manifest(name),
            (Method::GET | Method::HEAD, ("blobs", name)) => self.blob(name),
            (Method::PUT, ("manifests", name)) => {
                let digest = self.put_manifest(name, request.body().clone());
                answer(201, &[("docker-content-digest", &digest)], "")
            }
            (Method::POST, ("blobs", "uploads/")) => {
                let elsewhere = matches!(self.lie, Lie::UploadElsewhere);
                let to = if elsewhere {
                    "http://localhost:9/x"
                } else {
                    "/v2/acme/signer/blobs/uploads/1?state=a"
                };
                answer(202, &[("location", to)], "")
            }
            (Method::PUT, ("blobs", "uploads/1")) => self.upload(request),
            _ => answer(405, &[], ""),
        }
    }

    fn upload(&mut self, request: &Request<Bytes>) -> Answer {
        let expected = format!("state=a&digest={}", digest(request.body()).replace(':', "%3A"));
        if request.uri().query() != Some(&expected) {
            return answer(400, &[], "");
        }
        self.blobs.insert(digest(request.body()), request.body().clone());
        answer(201, &[], "")
    }

    fn manifest(&self, name: &str) -> Answer {
        let Some(raw) = self.manifests.get(name) else { return answer(404, &[], "") };
        let said = digest(raw);
        let headers = [("content-type", MANIFEST), ("docker-content-digest", said.as_str())];
        match &self.lie {
            Lie::WrongManifest => {
                let other =
                    String::from_utf8_lossy(raw).replace("\"schemaVersion\":2", "\"schemaVersion\": 2");
                answer(200, &headers, other)
            }
            Lie::HugeManifest => answer(200, &headers[..1], vec![b' '; 2 << 20]),
            Lie::ManifestType(kind) => answer(200, &[("content-type", kind)], raw.clone()),
            _ => answer(200, &headers, raw.clone()),
        }
    }

    fn blob(&self, name: &str) -> Answer {
        let Some(octets) = self.blobs.get(name) else { return answer(404, &[], "") };
        match &self.lie {
            Lie::WrongBlob => answer(200, &[], vec![0; octets.len()]),
            Lie::EndlessBlob => answer(200, &[], "").map(|_| Odd::Endless.boxed()),
            Lie::StuckBlob => answer(200, &[], "").map(|_| Odd::Stuck { said: false }.boxed()),
            _ => answer(200, &[], octets.clone()),
        }
    }

    /// A 401, unless the request carries what the login gives.
    fn refusal(&self, request: &Request<Bytes>, authorization: Option<String>) -> Option<Answer> {
        let writes = !request.method().is_safe();
        let host = request.headers().get("host").unwrap().to_str().unwrap();
        let (expected, challenge) = match &self.login {
            Login::None => return None,
            Login::Basic => (vec![ada()], "Basic realm=\"acme\"".to_owned()),
            Login::Token | Login::TokenForAda => {
                let full = "Bearer repository:acme/signer:pull,push".to_owned();
                let pull = "Bearer repository:acme/signer:pull".to_owned();
                let tokens = if writes { vec![full] } else { vec![full, pull] };
                (tokens, format!("Bearer realm=\"http://{host}/token\",service=\"acme\""))
            }
            Login::TokenFrom(server) => (Vec::new(), format!("Bearer realm=\"{server}\"")),
        };
        if authorization.is_some_and(|authorization| expected.contains(&authorization)) {
            return None;
        }
        Some(answer(401, &[("www-authenticate", &challenge)], ""))
    }

    /// The token is the scope that was asked for.
    fn token(&self, request: &Request<Bytes>, authorization: Option<String>) -> Answer {
        if matches!(self.login, Login::TokenForAda) && authorization != Some(ada()) {
            return answer(401, &[], "");
        }
        let query = request.uri().query().unwrap();
        let pairs: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(pairs["service"], "acme");
        answer(200, &[], serde_json::json!({ "token": pairs["scope"] }).to_string())
    }
}

fn ada() -> String {
    format!("Basic {}", BASE64.encode(b"ada:lovelace"))
}
