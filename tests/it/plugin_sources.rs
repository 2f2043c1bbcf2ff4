//! Plugins from registries and https servers: published, locked, signed, refused and run, with the real binary.

use crate::{
    registry::{Login, Registry},
    server::{answer, serve, tls},
    support::{Provider, Served, config_folder, guest, reply, run},
};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{Ed25519KeyPair, KeyPair},
};
use bascule_plugin_host::PluginHost;
use data_encoding::BASE64;
use http::Method;
use serde_json::json;
use std::{fs, path::Path};
use tempfile::TempDir;

const BASE: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A machine of its own: a configuration, and a folder for what is fetched.
struct Place {
    config: TempDir,
    cache: TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    /// One integration with that plugin table; what `echo` and `wants-random` need is granted.
    fn new(gateway: &str, url: &str, plugin: &str) -> Self {
        let place = Self {
            config: config_folder(&format!("{BASE}{gateway}"), &[]),
            cache: tempfile::tempdir().unwrap(),
        };
        place.write("shop", url, plugin);
        place
    }

    fn write(&self, name: &str, url: &str, plugin: &str) {
        let text = format!(
            "base_url = \"{url}\"\n[[plugins]]\n{plugin}\ngrants = [\"random\"]\n[operations.get]\npath = \"/x\"\n"
        );
        fs::write(self.path(&format!("integrations/{name}.toml")), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.config.path().join(name)
    }

    fn env<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [("XDG_CACHE_HOME", self.cache.path().to_str().unwrap())]
            .into_iter()
            .chain(more.iter().copied())
            .collect()
    }

    /// Runs a command on this configuration.
    async fn on(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let config = ["--config", self.config.path().to_str().unwrap()];
        self.run(&[arguments, &config].concat(), env).await
    }

    async fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = run(arguments, &self.env(env)).await;
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    async fn serve(&self) -> Served {
        Served::start(self.config.path(), &[], &self.env(&[])).await
    }

    /// A new key pair: `NAME.key` and `NAME.pem` in the configuration's folder.
    fn publisher(&self, name: &str) -> String {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let pem = |kind: &str, der: &[u8]| {
            format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64.encode(der))
        };
        let key = self.path(&format!("{name}.key"));
        fs::write(&key, pem("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref())).unwrap();
        fs::write(self.path(&format!("{name}.pem")), pem("PUBLIC KEY", public.as_ref())).unwrap();
        key.to_str().unwrap().to_owned()
    }
}

impl Ran {
    /// The command must have ended so, and told all of these.
    #[track_caller]
    fn expect(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.out.contains(part) || self.err.contains(part), "{part:?} is not told: {self:?}");
        }
        self
    }
}

fn source(reference: &str) -> String {
    format!("source = \"{reference}\"")
}

fn octets(path: impl AsRef<Path>) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// Which of the two plugins signed the last request.
async fn signed_by_which(served: &Served, provider: &Provider) -> &'static str {
    let answer = served.data().get("/v1/shop/get").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    match (provider.last().header("x-signed"), provider.last().header("x-random").len()) {
        ("1", 0) => "echo",
        ("", 16) => "wants-random",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_published_and_locked_runs_until_it_is_locked_anew_and_without_its_registry() {
    let (registry, provider) = (Registry::start().await, Provider::new(|_| reply(200, &[], "{}")).await);
    let tag = registry.reference(":1");
    let place = Place::new("", &provider.url(), &source(&tag));
    place.run(&["plugin", "push", &guest("echo"), &tag], &[]).await.expect(0, &["@sha256:", "sha256 = \""]);
    place.on(&["check"], &[]).await.expect(0, &["ok: 1 integration", "the tag may mean another plugin"]);
    place.on(&["plugin", "verify"], &[]).await.expect(1, &["is not in the lock file"]);
    place.on(&["plugin", "lock"], &[]).await.expect(0, &[&format!("+ {tag}"), "1 locked, written"]);
    place.on(&["plugin", "lock"], &[]).await.expect(0, &["1 locked, nothing changed"]);
    place.on(&["plugin", "verify"], &[]).await.expect(0, &["ok: 1 plugins"]);
    let checked = place.on(&["check"], &[]).await;
    assert!(!checked.expect(0, &[]).err.contains("warning"), "{checked:?}");

    // The tag moves. Nobody follows it until it is locked again.
    place.run(&["plugin", "push", &guest("wants-random"), &tag], &[]).await.expect(0, &[]);
    let served = place.serve().await;
    assert_eq!(signed_by_which(&served, &provider).await, "echo");
    place.on(&["plugin", "verify"], &[]).await.expect(1, &["was locked as sha256:"]);
    let reload = async || served.admin().send(Method::POST, "/config/reload", "").await.json();
    assert_eq!(reload().await, json!({"generation": 2, "changed": []}));
    place.on(&["plugin", "lock"], &[]).await.expect(0, &[&format!("~ {tag}"), "was sha256:"]);
    assert_eq!(reload().await, json!({"generation": 3, "changed": ["shop"]}));
    assert_eq!(signed_by_which(&served, &provider).await, "wants-random");
    served.signal("TERM").await;
    assert_eq!(served.ended().await.0, Some(0));

    drop(registry);
    let served = place.serve().await;
    assert_eq!(signed_by_which(&served, &provider).await, "wants-random");
}

#[tokio::test]
async fn a_tag_that_nothing_holds_is_refused_where_that_is_wanted() {
    let registry = Registry::start().await;
    let tag = registry.reference(":1");
    let place = Place::new("[plugins]\nlocked = true\n", "http://127.0.0.1:9", &source(&tag));
    place.run(&["plugin", "push", &guest("echo"), &tag], &[]).await.expect(0, &[]);
    let refused = ["integrations/shop.toml:3:10", "is not locked", "bascule plugin lock"];
    place.on(&["serve"], &[]).await.expect(78, &refused);
    place.on(&["plugin", "lock"], &[]).await.expect(0, &[]);
    place.on(&["check"], &[]).await.expect(0, &[]);
    // What cannot be understood is not taken for empty.
    fs::write(place.path("bascule.lock"), "version = 9\n").unwrap();
    place.on(&["serve"], &[]).await.expect(78, &["bascule.lock", "has format 9"]);
}

#[tokio::test]
async fn only_what_a_named_publisher_signed_is_run() {
    let registry = Registry::start().await;
    let (tag, echo) = (registry.reference(":1"), guest("echo"));
    let place = Place::new("", "http://127.0.0.1:9", "");
    let (ada, eve) = (place.publisher("ada"), place.publisher("eve"));
    let signed = |source: &str| format!("source = \"{source}\"\nsigned_by = [\"ada.pem\"]");
    place.write("shop", "http://127.0.0.1:9", &signed(&tag));
    let refused = ["shop.toml:3:10", "no valid signature by `ada.pem` (sha256:"];
    place.run(&["plugin", "push", &echo, &tag], &[]).await.expect(0, &[]);
    place.on(&["serve"], &[]).await.expect(78, &refused);
    place.run(&["plugin", "push", &echo, &tag, "--sign", &eve], &[]).await.expect(0, &["signed by sha256:"]);
    place.on(&["serve"], &[]).await.expect(78, &refused).expect(78, &["signatures found: 1"]);
    place.on(&["plugin", "lock"], &[]).await.expect(1, &["no valid signature", "stays as it was"]);
    place.run(&["plugin", "push", &echo, &tag, "--sign", &ada], &[]).await.expect(0, &[]);
    place.on(&["check"], &[]).await.expect(0, &["ok: 1 integration"]);

    // A file has its signature beside it.
    fs::copy(&echo, place.path("echo.wasm")).unwrap();
    place.write("shop", "http://127.0.0.1:9", &signed("echo.wasm"));
    place.on(&["serve"], &[]).await.expect(78, &refused);
    let file = place.path("echo.wasm");
    let sign = ["plugin", "sign", file.to_str().unwrap(), "--key", &ada];
    place.run(&sign, &[]).await.expect(0, &["echo.wasm.sig: signed by sha256:"]);
    place.on(&["check"], &[]).await.expect(0, &["ok: 1 integration"]);
    fs::copy(guest("trap"), &file).unwrap();
    place.on(&["serve"], &[]).await.expect(78, &refused);
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_every_source_at_once() {
    let registry = Registry::start().await;
    let echo = guest("echo");
    let wrong_pin = "0".repeat(64);
    let place =
        Place::new("", "http://127.0.0.1:9", &format!("source = \"{echo}\"\nsha256 = \"{wrong_pin}\""));
    place.write("gone", "http://127.0.0.1:9", &source(&registry.reference(":gone")));
    place.write("inside", "http://127.0.0.1:9", &source("oci://10.0.0.1:5000/acme/signer:1"));
    place.write("typo", "http://127.0.0.1:9", "souce = \"x\"");
    let checked = place.on(&["check"], &[]).await;
    checked.expect(1, &["shop.toml:3:10", &wrong_pin, "sha256:", "is pinned"]);
    checked.expect(1, &["gone.toml:3:10", "404 Not Found", "published under that name"]);
    checked.expect(
        1,
        &["inside.toml:3:10", "resolves to 10.0.0.1, which is not allowed", "allow_private = true"],
    );
    checked.expect(1, &["typo.toml:3:1", "did you mean `source`?"]);
}

#[tokio::test]
async fn a_registry_gets_its_login_and_nobody_else_sees_it() {
    let registry = Registry::start().await;
    registry.state().login = Login::Basic;
    let tag = registry.reference(":1");
    let place = Place::new("", "http://127.0.0.1:9", &source(&tag));
    let login = [("BASCULE_REGISTRY_USERNAME", "ada"), ("BASCULE_REGISTRY_PASSWORD", "lovelace")];
    let push = ["plugin", "push", &guest("echo"), &tag];
    place.run(&push, &[]).await.expect(1, &["wants credentials"]);
    place.run(&push, &login).await.expect(0, &[]);
    place.on(&["serve"], &[]).await.expect(78, &["wants credentials", "[registries.\"HOST\"]"]);
    let table = |password: &str| {
        let host = registry.host();
        format!("{BASE}[registries.\"{host}\"]\nusername = \"ada\"\npassword = \"{password}\"\n")
    };
    fs::write(place.path("bascule.toml"), table("${REGISTRY_PASSWORD}")).unwrap();
    let checked = place.on(&["check"], &[("REGISTRY_PASSWORD", "lovelace")]).await;
    checked.expect(0, &["ok: 1 integration"]);
    fs::write(place.path("bascule.toml"), table("byron-byron")).unwrap();
    let checked = place.on(&["check"], &[]).await;
    checked.expect(1, &["401 Unauthorized", "[registries.\"HOST\"]"]);
    assert!(!checked.err.contains("byron-byron"), "{checked:?}");
}

#[tokio::test]
async fn a_plugin_can_be_looked_at_and_taken_home() {
    let registry = Registry::start().await;
    let tag = registry.reference(":1");
    let place = Place::new("", "http://127.0.0.1:9", "");
    place.run(&["plugin", "push", &guest("echo"), &tag], &[]).await.expect(0, &[]);
    let inspected = place.run(&["plugin", "inspect", &tag], &[]).await;
    inspected.expect(0, &["bascule:plugin/signer@0.1.0"]);
    let file = place.path("taken.wasm");
    let (file, digest) = (file.to_str().unwrap(), PluginHost::digest_of(&octets(guest("echo"))));
    let pull = ["plugin", "pull", &tag, "--output", file, "--sha256", &digest];
    place.run(&pull, &[]).await.expect(0, &[&digest, "manifest sha256:"]);
    assert_eq!(octets(file), octets(guest("echo")));
    fs::remove_file(file).unwrap();
    let other = "0".repeat(64);
    let pull = ["plugin", "pull", &tag, "--output", file, "--sha256", &other];
    place.run(&pull, &[]).await.expect(1, &["is pinned"]);
    assert!(!Path::new(file).exists(), "what is refused is not written");
}

#[tokio::test]
async fn a_file_behind_https_is_what_its_pin_says() {
    let echo = octets(guest("echo"));
    let digest = PluginHost::digest_of(&echo);
    let server =
        serve(move |_| answer(200, &[("content-type", "application/wasm")], echo.clone()), Some(tls().0))
            .await;
    let url = format!("https://localhost:{}/echo.wasm", server.address.port());
    let pinned = |digest: &str| format!("source = \"{url}\"\nsha256 = \"{digest}\"");
    let place = Place::new("", "http://127.0.0.1:9", &pinned(&digest));
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tls/cert.pem");
    let trusting = [("SSL_CERT_FILE", certificate)];
    place.on(&["serve"], &[]).await.expect(78, &["shop.toml:3:10", "cannot be trusted"]);
    place.on(&["check"], &trusting).await.expect(0, &["ok: 1 integration"]);
    place.write("shop", "http://127.0.0.1:9", &pinned(&"0".repeat(64)));
    place.on(&["serve"], &trusting).await.expect(78, &["shop.toml:3:10", "is pinned"]);
}
