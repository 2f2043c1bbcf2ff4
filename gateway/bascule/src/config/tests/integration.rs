//! Rules of integration files: URL, headers, auth, plugins, versions.

use super::{BASE, assert_one, integration, load_texts, problems};
use crate::config::{Auth, Problems};

#[test]
fn a_base_url_is_required_and_checked() {
    assert_one(&problems("description = \"x\"\n"), &["1: base_url: `base_url` is missing"]);
    assert_one(&problems("base_url = \"ftp://x\"\n"), &["1: base_url: `ftp` is not http or https"]);
    assert_one(&problems("base_url = \"https://x/?a=b\"\n"), &["no query and no fragment"]);
    assert_one(&problems("base_url = \"api.example.com\"\n"), &["not a URL"]);
    assert_eq!(integration("base_url = \"https://x.example/v1/\"\n").base_url.as_ref().unwrap().path, "/v1");
}

#[test]
fn credentials_in_the_url_become_basic_auth() {
    let x = integration("base_url = \"https://user:pass@x.example\"\n");
    let Auth::Basic { username, password } = &x.auth else { panic!("{:?}", x.auth) };
    assert_eq!((username.as_str(), password.expose()), ("user", "pass"));
    assert_eq!(x.base_url.as_ref().unwrap().authority, "x.example");
    assert_one(
        &problems("base_url = \"https://u:p@x.example\"\n[auth]\ntype = \"bearer\"\ntoken = \"t\"\n"),
        &["1: base_url: the URL holds credentials, and so does [auth]"],
    );
}

#[test]
fn other_types_are_not_in_this_version_and_their_keys_make_no_noise() {
    for kind in ["graphql", "grpc", "webhook", "postgres", "redis", "amqp"] {
        let found = problems(&format!("type = \"{kind}\"\nurl = \"x\"\n[queries.a]\nb = 1\n"));
        assert_one(&found, &[&format!("1: type: `{kind}` is not in this version | write one of \"rest\"")]);
    }
    assert_one(
        &problems(&format!("type = \"REST\"\n{BASE}")),
        &["`REST` is not known here | did you mean `rest`?"],
    );
}

#[test]
fn later_keys_of_integrations_are_refused_by_name() {
    for key in ["batching", "signature", "dead_letter"] {
        assert_one(
            &problems(&format!("{BASE}{key} = {{}}\n")),
            &[&format!("`{key}` is not in this version")],
        );
    }
    let found = problems(&format!("{BASE}[cache]\nshared = true\n"));
    assert_one(&found, &["`shared` is not in this version"]);
    assert_one(
        &problems(&format!("fan_out = [\"a.b\"]\n{BASE}")),
        &["1: fan_out: unknown key `fan_out` | it belongs in [operations.NAME]"],
    );
}

#[test]
fn every_auth_type_has_its_keys() {
    let auth = |lines: &str| problems(&format!("{BASE}[auth]\n{lines}\n"));
    assert_one(&auth("type = \"bearer\""), &["2: auth.token: `token` is missing"]);
    assert_one(&auth("type = \"bearer\"\ntoken = \"\""), &["4: auth.token: must not be empty"]);
    assert_one(&auth("type = \"bearer\"\ntoken = \"a\\nb\""), &["auth.token: holds a character"]);
    assert_one(
        &auth("type = \"bearer\"\ntoken = \"t\"\nusername = \"u\""),
        &["5: auth.username: `username` does not apply to auth type `bearer`"],
    );
    assert_one(&auth("type = \"api_key\"\nkey = \"k\"\nin = \"query\""), &["auth.name: `name` is missing"]);
    assert_one(&auth("type = \"api_key\"\nkey = \"k\"\nname = \"a b\""), &["auth.name: not a header name"]);
    assert_one(&auth("type = \"basic\"\nusername = \"a:b\"\npassword = \"\""), &["a user name holds no `:`"]);
    assert_eq!(auth("type = \"oauth2\"").len(), 3);
    assert_one(
        &auth("type = \"oauth2\"\ntoken_url = \"x\"\nclient_id = \"a\"\nclient_secret = \"b\""),
        &["auth.token_url: not a URL"],
    );
    assert_one(&auth("type = \"plugin\""), &["3: auth.type: no plugin is declared that could authenticate"]);
    assert_one(&auth("type = \"beerer\""), &["did you mean `bearer`?"]);
    assert_one(&auth("token = \"t\""), &["2: auth.type: `type` is missing"]);
    assert!(auth("type = \"none\"").is_empty());
}

#[test]
fn an_api_key_goes_into_its_default_header() {
    let x = integration(&format!("{BASE}[auth]\ntype = \"api_key\"\nkey = \"secret\"\n"));
    assert!(format!("{:?}", x.auth).contains("x-api-key"), "{:?}", x.auth);
    assert!(!format!("{x:?}").contains("secret\""), "{x:?}");
}

#[test]
fn headers_of_the_connection_are_refused() {
    for name in ["Host", "content-length", "Connection", "TE", "Transfer-Encoding", "Upgrade"] {
        let found = problems(&format!("{BASE}headers = {{ {name} = \"x\" }}\n"));
        assert_one(&found, &["belongs to the connection"]);
        let found = problems(&format!("{BASE}forward_headers = [\"{name}\"]\n"));
        assert_one(&found, &["belongs to the connection"]);
    }
    assert_one(&problems(&format!("{BASE}headers = {{ \"a b\" = \"x\" }}\n")), &["not a header name"]);
    assert_one(&problems(&format!("{BASE}headers = {{ a = \"x\\ny\" }}\n")), &["no header may carry"]);
    assert_one(&problems(&format!("{BASE}headers = {{ a = \"x\", A = \"y\" }}\n")), &["`a` is set twice"]);
}

#[test]
fn callers_credentials_are_never_forwarded() {
    for name in ["Authorization", "X-API-Key", "Cookie"] {
        let found = problems(&format!("{BASE}forward_headers = [\"{name}\"]\n"));
        assert_one(&found, &["forward_headers[0]", "never passed on"]);
    }
    assert_one(&problems(&format!("{BASE}forward_headers = [\"Bascule-Skip\"]\n")), &["the gateway's own"]);
}

#[test]
fn braces_in_an_integrations_headers_are_braces() {
    let x = integration(&format!("{BASE}headers = {{ X-Filter = \"{{a}}\" }}\n"));
    assert_eq!(x.headers[0].value.as_literal(), Some("{a}"));
}

#[test]
fn plugins_are_checked_as_far_as_the_text_goes() {
    let plugin =
        |lines: &str| problems(&format!("{BASE}[[plugins]]\n{lines}\n[operations.o]\npath = \"/\"\n"));
    let builtin = |lines: &str| plugin(&format!("source = \"builtin:x\"\n{lines}"));
    assert_one(&plugin(""), &["plugins[0].source: `source` is missing"]);
    assert_one(
        &plugin("source = \"https://x/y.wasm\""),
        &["plugins[0].source: an https:// source is not pinned"],
    );
    assert_one(&plugin("source = \"oci://x/y\""), &["`oci://x/y` names neither a tag nor a digest"]);
    assert_one(&plugin("source = \"none.wasm\""), &["there is no file `none.wasm`"]);
    assert_one(&plugin("source = \"builtin:\""), &["`builtin:` needs a name"]);
    assert_one(&builtin("sha256 = \"12\""), &["plugins[0].sha256: not a SHA-256"]);
    assert_one(&builtin("reuse = true"), &["`reuse = true` is not in this version"]);
    assert_one(
        &builtin("grants = [\"http:api\"]"),
        &["plugins[0].grants[0]: there is no endpoint `api` | write [endpoints.api] with a base_url"],
    );
    assert_one(
        &builtin("grants = [\"reveal:key\"]\ncredentials = { keys = \"x\" }"),
        &["plugins[0].grants[0]: `credentials` names no secret `key` | did you mean `keys`?"],
    );
    assert_one(&builtin("grants = [\"http\"]"), &["there is no grant `http`"]);
    assert_one(
        &builtin("grants = [\"body_read\"]"),
        &["there is no grant `body_read` | did you mean `body-read`?"],
    );
    assert_one(&builtin("grants = [\"clock\"]"), &["`clock` needs no grant"]);
    assert_one(&builtin("phases = [\"sign\"]"), &["`sign` is not known here"]);
    assert_one(&builtin("operations = [\"p\"]"), &["there is no operation `p` here | did you mean `o`?"]);
    assert_one(&builtin("limits = { memory = \"0B\" }"), &["plugins[0].limits.memory: must not be zero"]);
    assert_one(&builtin("limits = { instances = 0 }"), &["plugins[0].limits.instances: must not be zero"]);
    assert_one(
        &builtin("limits = { wall = \"11m\" }"),
        &["plugins[0].limits.wall: `wall` is higher than 10m | write at most 10m"],
    );
    assert_one(&builtin("limits = { side_requests = 101 }"), &["must lie between 1 and 100"]);
    assert_one(
        &builtin("limits.breaker.open = \"2h\""),
        &["plugins[0].limits.breaker.open: `breaker.open` is higher than 1h"],
    );
    assert_one(
        &builtin("credentials = { a = 1 }"),
        &["plugins[0].credentials.a: expected a string, found an integer"],
    );
    assert_one(&builtin("credentials = { a = \"\" }"), &["plugins[0].credentials.a: must not be empty"]);
}

#[test]
fn a_plugins_file_stands_beside_the_configuration_and_its_place_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("integrations")).unwrap();
    std::fs::write(folder.path().join("bascule.toml"), "").unwrap();
    std::fs::write(folder.path().join("p.wasm"), "").unwrap();
    let text = format!("{BASE}[[plugins]]\nsource = \"p.wasm\"\n");
    std::fs::write(folder.path().join("integrations/x.toml"), &text).unwrap();
    let sources = crate::config::Sources { path: Some(folder.path().to_owned()), ..Default::default() };
    let loaded = crate::config::load(&sources).unwrap();
    let plugin = &loaded.config.integrations["x"].plugins[0];
    assert_eq!(plugin.source, crate::config::PluginSource::File(folder.path().join("p.wasm")));
    assert_eq!(&text[plugin.origin.span.clone()], "\"p.wasm\"");
    let mut later: Problems = loaded.warnings.about_the_same_files();
    later.push(crate::config::Diagnostic::at(&plugin.origin, "exports nothing", "build it again"));
    let shown = later.render_human(false);
    assert!(shown.contains("plugins[0].source: exports nothing") && shown.contains("x.toml:3:10"), "{shown}");
}

#[test]
fn grants_and_limits_of_a_plugin_are_read_and_a_revealed_secret_is_warned_about() {
    let text = format!(
        "{BASE}[[plugins]]\nsource = \"builtin:x\"\ncredentials = {{ key = \"a-secret\" }}\n\
         grants = [\"state\", \"http:login\", \"reveal:key\"]\nlimits.breaker.failures = 2\n\
         [endpoints.login]\nbase_url = \"https://login.example.com\"\n"
    );
    let loaded = load_texts("", &[("x", &text)], &[]).unwrap();
    let plugin = &loaded.config.integrations["x"].plugins[0];
    assert!(plugin.grants.state && !plugin.grants.random);
    assert!(plugin.grants.http.contains("login") && plugin.grants.reveal.contains("key"));
    assert_eq!((plugin.limits.breaker.failures, plugin.limits.breaker.min_calls), (2, 20));
    let warnings: Vec<String> = loaded.warnings.iter().map(|found| found.message.clone()).collect();
    assert_eq!(warnings, ["the plugin may read the secret `key` as it is, and give it away"]);
}

#[test]
fn a_token_source_is_asked_for_scopes() {
    let auth = |lines: &str| {
        let text = format!("{BASE}[auth]\ntype = \"plugin\"\n{lines}\n[[plugins]]\nsource = \"builtin:x\"\n");
        integration(&text).auth.clone()
    };
    assert!(matches!(auth(""), crate::config::Auth::Plugin { scopes } if scopes == [""]));
    let several = auth("scopes = [\"write\", \"read\", \"write\"]");
    assert!(matches!(several, crate::config::Auth::Plugin { scopes } if scopes == ["read", "write"]));
}

#[test]
fn endpoints_hold_no_credentials() {
    let found = problems(&format!("{BASE}[endpoints.up]\nbase_url = \"https://u:p@x\"\n"));
    assert_one(&found, &["3: endpoints.up.base_url: an endpoint's URL holds no credentials"]);
    assert!(
        integration(&format!("{BASE}[endpoints.up]\nbase_url = \"https://x\"\n"))
            .endpoints
            .contains_key("up")
    );
}

#[test]
fn names_of_operations_follow_the_pattern() {
    assert_one(
        &problems(&format!("{BASE}[operations.proxy]\npath = \"/\"\n")),
        &["operations.proxy", "cannot be called `proxy`"],
    );
    assert_one(&problems(&format!("{BASE}[operations.\"a b\"]\npath = \"/\"\n")), &["`a b` is not a name"]);
}

#[test]
fn what_changes_an_answer_changes_the_digest_and_nothing_else_does() {
    let digest = |text: &str, token: &str| {
        let loaded = load_texts("", &[("x", text)], &[("T", token)]).unwrap();
        loaded.config.integrations["x"].digest
    };
    let one = "base_url = \"https://a\" # c\n[auth]\ntype = \"bearer\"\ntoken = \"${T}\"\n";
    let same = "auth = { token = \"${T}\", type = \"bearer\" }\nbase_url = 'https://a'\n";
    assert_eq!(digest(one, "t1"), digest(same, "t1"));
    assert_ne!(digest(one, "t1"), digest(one, "t2"));
    assert_ne!(digest(one, "t1"), digest(&one.replace("//a", "//b"), "t1"));
}
