//! Where plugins come from: references, publishers' keys, registries.

use super::{BASE, assert_one, gateway_problems, load_texts, problems};
use crate::config::{PluginSource, Sources, load};
use std::fs;

/// The problems of one plugin table, whose first line is line 3.
fn plugin(lines: &str) -> Vec<String> {
    problems(&format!("{BASE}[[plugins]]\n{lines}\n"))
}

const PIN: &str = "sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"";

#[test]
fn remote_sources_are_references_and_are_named_after_their_last_part() {
    let name = |source: &str| {
        let text = format!("{BASE}[[plugins]]\nsource = \"{source}\"\n{PIN}\n");
        let loaded =
            load_texts("", &[("x", &text)], &[("V", "1.2")]).unwrap_or_else(|found| panic!("{found}"));
        let integration = &loaded.config.integrations["x"];
        assert!(integration.has_remote_plugins());
        assert!(matches!(integration.plugins[0].source, PluginSource::Remote(_)));
        integration.plugins[0].source.name()
    };
    assert_eq!(name("oci://registry.example/acme/signer.v2:${V}"), "signer.v2");
    assert_eq!(name("https://example.com/a/signer.wasm?v=1"), "signer");
    assert_one(
        &plugin("source = \"oci://registry.example/x\""),
        &["3: plugins[0].source", "neither a tag nor a digest"],
    );
    assert_one(&plugin("source = \"ftp://x/y\""), &["`ftp://` is no source"]);
    assert_one(
        &plugin("source = \"https://x/y\""),
        &["3: plugins[0].source: an https:// source is not pinned"],
    );
}

#[test]
fn a_source_whose_query_may_be_a_secret_is_refused() {
    let text = format!("{BASE}[[plugins]]\nsource = \"https://x/y?token=${{T}}\"\n{PIN}\n");
    let found = load_texts("", &[("x", &text)], &[("T", "s3cret-token")]).unwrap_err().to_string();
    assert!(found.contains("may hold a secret") && !found.contains("s3cret-token"), "{found}");
}

#[test]
fn publishers_are_public_keys_in_files_and_builtins_have_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("integrations")).unwrap();
    fs::write(folder.path().join("bascule.toml"), "").unwrap();
    fs::write(folder.path().join("p.wasm"), "").unwrap();
    // RFC 8410, 10.1.
    let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    fs::write(folder.path().join("ada.pem"), key).unwrap();
    let read = |keys: &str| {
        let text = format!("{BASE}[[plugins]]\nsource = \"p.wasm\"\nsigned_by = {keys}\n");
        fs::write(folder.path().join("integrations/x.toml"), text).unwrap();
        load(&Sources { path: Some(folder.path().to_owned()), ..Sources::default() })
    };
    let loaded = read("[\"ada.pem\"]").unwrap();
    let keys = &loaded.config.integrations["x"].plugins[0].signed_by;
    assert_eq!(keys.iter().map(|key| key.name()).collect::<Vec<_>>(), ["ada.pem"]);
    let refused = |keys: &str| read(keys).unwrap_err().to_string();
    assert!(refused("[]").contains("an empty list trusts nobody"));
    assert!(refused("[\"eve.pem\"]").contains("there is no file `eve.pem`"));
    assert!(refused("[\"p.wasm\"]").contains("`p.wasm` holds no PUBLIC KEY in PEM"));
    let found = plugin("source = \"builtin:github\"\nsigned_by = []");
    assert!(found.iter().any(|one| one.contains("carries no signature")), "{found:?}");
}

#[test]
fn registries_are_called_as_references_call_them() {
    let text = "[plugins]\nlocked = true\n[registries.\"Registry.EXAMPLE:443\"]\nusername = \"ada\"\npassword = \"love-lace\"\n";
    let config = load_texts(text, &[], &[]).unwrap().config;
    assert!(config.source_rules.locked);
    let registry = &config.source_rules.registries["registry.example"];
    let login = registry.login.as_ref().unwrap();
    assert_eq!((login.username.as_str(), login.password.expose()), ("ada", "love-lace"));
    assert!(!registry.allow_private);
    assert_eq!(config.source_rules.lock, std::path::Path::new("nowhere/bascule.lock"));
    assert!(config.secrets.iter().any(|secret| secret.expose() == "love-lace"), "it is redacted everywhere");
    assert_one(
        &gateway_problems("[registries.\"r.example\"]\nusername = \"ada\"\n"),
        &["2: registries.\"r.example\".username: `username` without `password` | write both, or neither"],
    );
    assert_one(&gateway_problems("[registries.\"https://r.example\"]\n"), &["is no host", "[registries."]);
    assert_one(
        &gateway_problems("[registries.\"r.example\"]\n[registries.\"R.example\"]\n"),
        &["`r.example` is declared twice"],
    );
}
