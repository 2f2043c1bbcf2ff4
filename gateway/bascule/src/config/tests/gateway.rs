//! Rules of `bascule.toml`.

use super::{assert_one, gateway_problems, load_texts};
use crate::config::{JournalSettings, OutboxSettings, SkipSet, Sources, load};
use bascule_cache_disk::Options as CacheDisk;
use bascule_outbox::Bounds;
use std::{num::NonZeroU32, time::Duration};

#[test]
fn off_loopback_something_must_say_who_may_call() {
    assert_one(
        &gateway_problems("[server]\nlisten = \"0.0.0.0:8080\"\n"),
        &["2: server.listen: 0.0.0.0:8080 is not loopback", "allow_anonymous = true"],
    );
    let anonymous =
        load_texts("[server]\nlisten = \"0.0.0.0:80\"\nallow_anonymous = true\n", &[], &[]).unwrap();
    assert_eq!(anonymous.config.server.allow_skip, SkipSet::default());
    let keys = "[server]\nlisten = \"[::]:80\"\nauth.api_keys = [{ name = \"a\", key = \"k\" }]\n";
    assert_eq!(load_texts(keys, &[], &[]).unwrap().config.server.api_keys.len(), 1);
}

#[test]
fn skipping_is_open_on_loopback_without_auth_only() {
    let with_keys = "[server]\nauth.api_keys = [{ name = \"a\", key = \"k\" }]\n";
    assert_eq!(load_texts(with_keys, &[], &[]).unwrap().config.server.allow_skip, SkipSet::default());
    let some = format!("{with_keys}allow_skip = [\"cache\"]\n");
    let skip = load_texts(&some, &[], &[]).unwrap().config.server.allow_skip;
    assert_eq!(skip, SkipSet { cache: true, ..SkipSet::default() });
}

#[test]
fn the_admin_plane_needs_tokens_off_loopback() {
    assert_one(
        &gateway_problems("[admin]\nlisten = \"10.0.0.1:8081\"\n"),
        &["2: admin.listen: 10.0.0.1:8081 is not loopback and there are no `tokens`"],
    );
}

#[test]
fn callers_have_names_keys_and_patterns() {
    let found = gateway_problems(
        "[server.auth]\napi_keys = [\n  { name = \"a\", key = \"\" },\n  { name = \"a\", key = \"k\" },\n  \
         { name = \"b\", key = \"k\", allow = [\"a.b.c\", \"a b\", \"*.get_*\", \"*\"] },\n  { key = \"z\", allow = [] },\n]\n",
    );
    let want = [
        "3: server.auth.api_keys[0].key: must not be empty",
        "4: server.auth.api_keys[1].name: the name is taken",
        "5: server.auth.api_keys[2].allow[0]: `a.b.c` is not a pattern",
        "5: server.auth.api_keys[2].allow[1]: `a b` is not a pattern",
        "5: server.auth.api_keys[2].key: another entry of the list has the same value",
        "6: server.auth.api_keys[3].allow: an empty list lets the caller do nothing",
        "6: server.auth.api_keys[3].name: `name` is missing",
    ];
    for part in want {
        assert!(found.iter().any(|one| one.starts_with(part)), "{part} is not in {found:#?}");
    }
    assert_eq!(found.len(), want.len(), "{found:#?}");
}

#[test]
fn a_pattern_that_names_no_integration_is_a_warning() {
    let gateway = "[server]\nauth.api_keys = [{ name = \"a\", key = \"k\", allow = [\"strpe.*\", \"stripe\", \"*.x\"] }]\n";
    let loaded = load_texts(gateway, &[("stripe", super::BASE)], &[]).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message, "there is no integration `strpe`");
    assert_eq!(warnings[0].help, "did you mean `stripe`?");
    assert_eq!(warnings[0].line(), 2);
}

#[test]
fn addresses_are_checked_and_advised() {
    assert_one(&gateway_problems("[server]\nlisten = \"localhost:8080\"\n"), &["write \"127.0.0.1:8080\""]);
    assert_one(&gateway_problems("[server]\nlisten = \":8080\"\n"), &["write \"0.0.0.0:8080\""]);
    assert_one(&gateway_problems("[server]\nlisten = 8080\n"), &["expected a string, found an integer"]);
    assert_one(
        &gateway_problems("[admin]\nlisten = \"127.0.0.1:8080\"\n"),
        &["both planes listen on the same address"],
    );
    assert!(
        gateway_problems("[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n")
            .is_empty()
    );
}

#[test]
fn zeros_and_wrong_sizes_are_refused() {
    let found = gateway_problems(
        "[server]\nmax_body = \"0B\"\ndrain_timeout = \"0s\"\n[cache]\nmax_size = \"1KiB\"\n[telemetry]\nsample = 1.5\n",
    );
    let want = [
        "2: server.max_body: must not be zero",
        "3: server.drain_timeout: must not be zero",
        "5: cache.max_size: one entry may not weigh more than all together",
        "7: telemetry.sample: must lie between 0 and 1",
    ];
    assert_eq!(found.len(), want.len(), "{found:#?}");
    for (found, want) in found.iter().zip(want) {
        assert!(found.starts_with(want), "{found}");
    }
}

#[test]
fn a_journal_has_a_folder_and_bounds() {
    let config = |text: &str| load_texts(text, &[], &[]).unwrap().config.journal;
    assert_eq!(config(""), None);
    let expected = JournalSettings { folder: "nowhere/calls".into(), max_file: 16 << 20, max_files: 8 };
    assert_eq!(config("[journal]\nfolder = \"calls\"\n"), Some(expected));
    let found = gateway_problems("[journal]\nmax_file = \"1KiB\"\nmax_files = 0\n");
    let want = [
        "1: journal.folder: `folder` is missing",
        "2: journal.max_file: a file of the journal holds at least 16KiB",
        "3: journal.max_files: must",
    ];
    assert_eq!(found.len(), want.len(), "{found:#?}");
    for (found, want) in found.iter().zip(want) {
        assert!(found.starts_with(want), "{found}");
    }
    assert_one(&gateway_problems("[journal]\nfolder = \" \"\n"), &["journal.folder: must not be empty"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[journal]\nfolder = \"{}\"\n", file.path().display());
    assert_one(&gateway_problems(&text), &["2: journal.folder", "is not a folder"]);
}

#[test]
fn a_store_may_be_kept_in_a_file_of_its_own() {
    let disk = |text: &str| load_texts(text, &[], &[]).unwrap().config.cache.disk;
    assert_eq!(disk("[cache]\n"), None);
    let of = |path: &str, max_size| Some(CacheDisk { path: path.into(), max_size });
    assert_eq!(disk("[cache.disk]\n"), of("nowhere/cache.db", 256 << 20));
    assert_eq!(
        disk("[cache]\ndisk = { path = \"/var/c.db\", max_size = \"1MiB\" }\n"),
        of("/var/c.db", 1 << 20)
    );
    assert_one(&gateway_problems("[cache.disk]\npath = \" \"\n"), &["2: cache.disk.path: ` ` is not a file"]);
    let same = gateway_problems("[cache.disk]\npath = \"x.db\"\n[outbox]\npath = \"x.db\"\n");
    assert_one(&same, &["cache: the cache and the outbox are in the same file"]);
}

#[test]
fn an_outbox_is_a_file_with_bounds() {
    let config = |text: &str| load_texts(text, &[], &[]).unwrap().config.outbox;
    assert_eq!(config(""), None);
    let bounds = Bounds::default();
    let concurrency = NonZeroU32::new(8).unwrap();
    let expected = OutboxSettings { path: "nowhere/outbox.db".into(), bounds, concurrency };
    assert_eq!(config("[outbox]\n"), Some(expected.clone()));
    let text = "[outbox]\npath = \"/var/lib/calls.db\"\nmax_entries = 5\ngive_up_after = \"1h\"\n";
    let bounds = Bounds { max_entries: 5, give_up_after: Duration::from_secs(3600), ..bounds };
    assert_eq!(config(text), Some(OutboxSettings { path: "/var/lib/calls.db".into(), bounds, concurrency }));
    let found = gateway_problems("[outbox]\npath = \"\"\nmax_entries = 0\nmax_body = \"1GiB\"\n");
    let want = [
        "2: outbox.path: `` is not a file",
        "3: outbox.max_entries: must",
        "4: outbox.max_body: one call may not weigh more than all together",
    ];
    assert_eq!(found.len(), want.len(), "{found:#?}");
    for (found, want) in found.iter().zip(want) {
        assert!(found.starts_with(want), "{found}");
    }
}

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    assert_one(&gateway_problems("[server]\ninbound = {}\n"), &["`inbound` is not in this version"]);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    assert_one(
        &gateway_problems("[server]\nlisten_on = \"x\"\nserver_timng = true\n")[1..],
        &["3: server.server_timng: unknown key `server_timng` | did you mean `server_timing`?"],
    );
    assert_one(
        &gateway_problems("listen = \"x\"\n"),
        &["unknown key `listen` | it belongs in [server] or [admin]"],
    );
    assert_one(&gateway_problems("[nonsense]\n"), &["unknown key `nonsense` | known here: server, admin"]);
}

#[test]
fn redacted_names_are_lower_case() {
    let config = load_texts("[telemetry]\nredact = [\"X-Pin\"]\n", &[], &[]).unwrap().config;
    assert_eq!(config.telemetry.redact, ["x-pin"]);
}

#[test]
fn tls_files_stand_beside_the_configuration_and_exist() {
    let found = gateway_problems("[server]\ntls = { cert = \"a.pem\", client_ca = \"c.pem\" }\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].starts_with("2: server.tls.cert: there is no file `a.pem`")
            || found[0].contains("`key` is missing")
    );
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.pem", "a.key"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let write = |more: &str| {
        let text = format!("[server]\ntls = {{ cert = \"a.pem\", key = \"a.key\"{more} }}\n");
        std::fs::write(folder.path().join("bascule.toml"), text).unwrap();
        load(&Sources { path: Some(folder.path().to_owned()), ..Sources::default() })
    };
    let tls = write("").unwrap().config.server.tls.unwrap();
    assert_eq!(
        (tls.cert, tls.key, tls.client_ca),
        (folder.path().join("a.pem"), folder.path().join("a.key"), None)
    );
    assert!(write(", client_ca = \"none.pem\"").is_err());
}

#[test]
fn a_shared_server_is_read_and_its_password_is_a_secret() {
    let text = "[cache]\nshared = \"rediss://joe:${PASSWORD}@cache.example/2\"\nshared_timeout = \"20ms\"\n\
                shared_key = \"0123456789abcdef\"\nshared_prefix = \"mine\"\n";
    let config = load_texts(text, &[], &[("PASSWORD", "hunter2")]).unwrap().config;
    let shared = config.cache.shared.clone().unwrap();
    assert_eq!(shared.server.to_string(), "rediss://cache.example:6379/2");
    assert_eq!((shared.timeout, shared.prefix.as_str()), (Duration::from_millis(20), "mine"));
    assert!(config.secrets.iter().any(|secret| secret.expose() == "hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let local = load_texts("[cache]\nshared = \"unix:///run/redis.sock\"\n", &[], &[]).unwrap().config;
    let local = local.cache.shared.unwrap();
    assert_eq!((local.key, local.timeout), (None, Duration::from_millis(50)));
}

#[test]
fn a_shared_server_elsewhere_needs_a_key_and_the_keys_beside_it_need_the_server() {
    assert_one(
        &gateway_problems("[cache]\nshared = \"redis://cache.example\"\n"),
        &["2: cache.shared: the server is on another machine", "add shared_key"],
    );
    assert_one(
        &gateway_problems("[cache]\nshared = \"redis://localhost\"\nshared_key = \"short\"\n"),
        &["3: cache.shared_key: must have at least 16 characters"],
    );
    assert_one(
        &gateway_problems("[cache]\nshared_prefix = \"mine\"\n"),
        &["2: cache.shared_prefix: there is no server that is shared"],
    );
    let found = gateway_problems("[cache]\nshared = \"cache.example:hunter2\"\n");
    assert_one(&found, &["2: cache.shared: the URL", "redis://host:6379"]);
    assert!(!found[0].contains("hunter2"), "{found:?}");
}
