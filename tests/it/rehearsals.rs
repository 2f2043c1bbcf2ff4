//! Recorded exchanges: those of the shipped plugins, the gate before a version goes live, and the author's tool.

use crate::support::{
    Gateway, Provider, config_folder, guest, reply, run, shipped,
    wat::{append_exchanges, write_version},
};
use bascule::app::StartError;
use bascule_plugin_host::{Exchange, HostConfig, PluginHost};
use http::Method;
use serde_json::{Value, json};
use std::{fs, path::Path};

fn recorded(plugin: &str) -> Vec<Exchange> {
    let folder = format!("{}/../plugins/{plugin}/exchanges", env!("CARGO_MANIFEST_DIR"));
    let files = bascule::app::exchange_files(Path::new(&folder)).unwrap();
    files.iter().flat_map(|file| Exchange::read(&fs::read(file).unwrap()).unwrap()).collect()
}

#[test]
fn every_shipped_plugin_does_what_its_exchanges_say_and_brings_them_along() {
    let host = PluginHost::new(HostConfig::default()).unwrap();
    for name in ["aws-sigv4", "github", "openweather"] {
        let octets = shipped(name);
        let exchanges = recorded(name);
        let embedded = Exchange::embedded(&octets).unwrap();
        let names = |exchanges: &[Exchange]| -> Vec<String> {
            exchanges.iter().map(|exchange| exchange.name().to_owned()).collect()
        };
        assert_eq!(names(&embedded), names(&exchanges), "{name}: `cargo xtask plugins` puts them in");
        let plugin = host.load_unconfigured(name, octets).unwrap();
        let rehearsal = plugin.rehearse(&embedded).unwrap();
        assert!(rehearsal.passed() && !rehearsal.steps.is_empty(), "{name}: {rehearsal:#?}");
        let rehearsed: Vec<_> = rehearsal.steps.iter().map(|step| step.phase).collect();
        for phase in plugin.phases() {
            assert!(rehearsed.contains(&phase), "{name}: nothing is recorded of {phase}");
        }
    }
}

#[test]
fn the_providers_answers_to_side_requests_and_held_tokens_are_recorded_too() {
    let text = include_str!("../data/exchanges/session-login.json");
    let host = PluginHost::new(HostConfig::default()).unwrap();
    let plugin = host.load_unconfigured("session-login", fs::read(guest("session-login")).unwrap()).unwrap();
    let rehearse = |text: &str| plugin.rehearse(&Exchange::read(text.as_bytes()).unwrap()).unwrap();
    assert!(rehearse(text).passed(), "{:#?}", rehearse(text));
    // Neither what is asked nor what is answered may change unnoticed.
    for (from, to, steps) in
        [("pass=p%20w", "pass=p", 2), ("\"held\"\n", "\"other\"\n", 1), ("1800000", "1", 1)]
    {
        assert!(text.contains(from), "{from}");
        let changed = match from {
            // The second of the two: what is expected.
            "\"held\"\n" => {
                text.rsplit_once(from).map(|(before, after)| format!("{before}{to}{after}")).unwrap()
            }
            _ => text.replace(from, to),
        };
        let failed = rehearse(&changed).steps.iter().filter(|step| !step.passed()).count();
        assert_eq!(failed, steps, "{from}");
    }
}

/// An exchange that expects a version.
fn expecting(version: &str) -> Value {
    json!({"name": "a signed get", "steps": [{
        "phase": "signer", "request": {"method": "GET", "path": "/"}, "authority": "host",
        "expect": {"patch": {"headers": [["x-version", version]]}}
    }]})
}

fn shop(url: &str, more: &str) -> String {
    format!(
        "base_url = \"{url}\"\n[[plugins]]\nsource = \"mine.wasm\"\n{more}[operations.get]\npath = \"/x\"\n"
    )
}

/// The gateway over a folder that has the plugin already.
async fn refused(exchanges: &str, prepare: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let text = shop("http://127.0.0.1:9", exchanges)
        .replace("mine.wasm", &folder.path().join("mine.wasm").display().to_string())
        .replace("FOLDER", &folder.path().display().to_string());
    match Gateway::try_with(&Gateway::base(""), &[("shop", &text)], &[]).await {
        Err(StartError::Configuration(problems)) => {
            problems.iter().map(|one| format!("{}:{} {}", one.key, one.line(), one.message)).collect()
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("this version should not go live"),
    }
}

#[tokio::test]
async fn a_version_that_does_otherwise_does_not_start() {
    let found = refused("", |folder| {
        write_version(folder, "mine", "1");
        append_exchanges(folder, "mine", &json!([expecting("1"), expecting("2")]));
    })
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
    for part in [
        "plugins[0].source:3",
        "\"a signed get\"",
        "signer",
        "/patch/headers/0/1",
        "expected \"2\", got \"1\"",
    ] {
        assert!(found[0].contains(part), "{part}: {found:?}");
    }
}

#[tokio::test]
async fn exchanges_that_the_configuration_names_are_asked_too() {
    let prepare = |folder: &Path| {
        write_version(folder, "mine", "1");
        fs::write(folder.join("a.json"), expecting("1").to_string()).unwrap();
        fs::write(folder.join("b.json"), expecting("3").to_string()).unwrap();
        fs::write(folder.join("c.txt"), "nothing of the kind").unwrap();
    };
    let found = refused("exchanges = [\"FOLDER\"]\n", prepare).await;
    assert!(found[0].contains("expected \"3\", got \"1\""), "{found:?}");
    let found = refused("exchanges = [\"FOLDER/a.json\", \"FOLDER/c.txt\"]\n", prepare).await;
    assert!(found[0].contains("c.txt: not an exchange"), "{found:?}");
    let found = refused("exchanges = [\"FOLDER/none.json\"]\n", prepare).await;
    assert!(
        found[0].contains("plugins[0].exchanges[0]") && found[0].contains("no file or folder"),
        "{found:?}"
    );
}

#[tokio::test]
async fn at_a_reload_the_old_version_stays_until_the_new_one_passes() {
    let provider = Provider::new(|_| reply(200, &[], "{}")).await;
    let gateway = Gateway::start(&[]).await;
    write_version(gateway.folder(), "mine", "1");
    gateway.rewrite("shop", &shop(&provider.url(), ""));
    let reload = async || gateway.admin().send(Method::POST, "/config/reload", "").await;
    assert_eq!(reload().await.status, 200);
    write_version(gateway.folder(), "mine", "2");
    append_exchanges(gateway.folder(), "mine", &expecting("two"));
    let answer = reload().await;
    assert_eq!(answer.status, 422);
    let problem = answer.json();
    let message = problem["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("expected \"two\", got \"2\""), "{message}");
    let version = async || {
        assert_eq!(gateway.data().get("/v1/shop/get").await.status, 200);
        provider.last().header("x-version").to_owned()
    };
    assert_eq!(version().await, "1");
    write_version(gateway.folder(), "mine", "2");
    append_exchanges(gateway.folder(), "mine", &expecting("2"));
    assert_eq!(reload().await.status, 200);
    assert_eq!(version().await, "2");
}

#[tokio::test]
async fn authors_see_every_difference_and_bless_what_is_right() {
    let folder = config_folder("", &[]);
    write_version(folder.path(), "mine", "7");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (plugin, file) = (path("mine.wasm"), path("get.json"));
    let test = async |more: &[&str]| {
        let output = run(&[&["plugin", "test", &*plugin], more].concat(), &[]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (status, text) = test(&[]).await;
    assert!(status == Some(1) && text.contains("there are no exchanges"), "{status:?} {text}");
    fs::write(&file, expecting("6").to_string()).unwrap();
    let (status, text) = test(&["--exchanges", &file]).await;
    assert_eq!(status, Some(1), "{text}");
    for part in [
        "a signed get",
        "signer",
        "differs",
        "/patch/headers/0/1: expected \"6\", got \"7\"",
        "0 as recorded, 1 not",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (status, text) = test(&["--exchanges", &file, "--bless"]).await;
    assert!(status == Some(0) && text.contains("get.json: written"), "{text}");
    let (status, text) = test(&["--exchanges", &path("")]).await;
    assert!(status == Some(0) && text.contains("1 as recorded, 0 not"), "{text}");
    assert_eq!(test(&["--bless"]).await.0, Some(2), "nothing to write to");
}
