//! Secrets in every place where a configuration can hold one, and not one of them in anything printed.
//!
//! The real binary runs at the most talkative level; calls succeed and fail in every way; then its
//! output, its problems and all that the admin plane says are searched.

use crate::support::{Provider, Served, config_folder, guest, reply, run};
use http::Method;
use serde_json::json;

/// In every secret. No word of the gateway's has it.
const CANARY: &str = "c4n4ry";

const BASE: &str = r#"
[server]
listen = "127.0.0.1:0"
server_timing = true
auth.api_keys = [{ name = "billing", key = "${INBOUND_KEY}" }, { name = "none", key = "c4n4ry-inbound-2", allow = ["none.*"] }]
[admin]
listen = "127.0.0.1:0"
tokens = [{ name = "ops", role = "admin", token = "${ADMIN_TOKEN}" }]
[journal]
folder = "calls"
"#;

const ENV: [(&str, &str); 11] = [
    ("INBOUND_KEY", "c4n4ry-inbound"),
    ("ADMIN_TOKEN", "c4n4ry-admin"),
    ("BEARER", "c4n4ry-bearer/+=&\"x"),
    ("APPID", "c4n4ry appid/+&%"),
    ("PASSWORD", "c4n4ry:password"),
    ("CLIENT_SECRET", "c4n4ry/client+secret"),
    ("SECRET_ACCESS_KEY", "c4n4ry/secret+access+key"),
    ("HEADER", "c4n4ry-header"),
    ("URL_PASSWORD", "c4n4ry-of-the-url"),
    ("QUERY", "c4n4ry query"),
    // Everything that may touch a call; the compiler's own traces would only flood the log.
    (
        "RUST_LOG",
        "trace,cranelift=off,regalloc2=off,wasmtime=off,wasmparser=off,wit_component=off,wit_parser=off",
    ),
];

/// `user:c4n4ry:password` in base64, and a part that tells it whatever stands around it.
const BASIC: &str = "dXNlcjpjNG40cnk6cGFzc3dvcmQ=";

fn integration(url: &str, head: &str, more: &str) -> String {
    format!(
        r#"
base_url = "{url}"
timeout = "300ms"
{head}
[retry]
max_attempts = 2
base_delay = "1ms"
{more}
[operations.ok]
path = "/ok"
query = {{ n = "{{n}}" }}
params.n = {{ type = "integer" }}
[operations.kept]
path = "/ok"
cache = "1h"
[operations.down]
path = "/down"
[operations.slow]
path = "/slow"
[operations.none]
path = "/none"
errors."404" = {{ status = 404, code = "nothing" }}
"#
    )
}

async fn provider() -> Provider {
    Provider::slow(|request| async move {
        let target = request.target.split('?').next().unwrap_or_default().to_owned();
        match target.as_str() {
            "/slow" => std::future::pending().await,
            "/down" => reply(500, &[], ""),
            "/none" => reply(404, &[], ""),
            // A token endpoint that quotes what it was sent.
            "/token-bad" => reply(400, &[("content-type", "application/json")], {
                let sent = String::from_utf8_lossy(&request.body).into_owned();
                json!({"error": "invalid_client", "error_description": sent}).to_string()
            }),
            "/token" => reply(
                200,
                &[("content-type", "application/json")],
                r#"{"access_token":"c4n4ry-access-token","token_type":"bearer","expires_in":3600}"#,
            ),
            _ => reply(200, &[], "{}"),
        }
    })
    .await
}

fn oauth(provider: &str, path: &str) -> String {
    format!(
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{provider}{path}\"\nclient_id = \"me\"\nclient_secret = \"${{CLIENT_SECRET}}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_found_in_anything_that_is_printed() {
    let provider = provider().await;
    let url = provider.url();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "c4n4ry-of-a-file\n").unwrap();
    let with_user = url.replacen("http://", "http://user:${URL_PASSWORD}@", 1);
    let aws = "[auth]\ntype = \"plugin\"\n[[plugins]]\nsource = \"builtin:aws-sigv4\"\n\
        config = { service = \"s3\", region = \"x\" }\n\
        credentials = { access_key_id = \"c4n4ry-key-id\", secret_access_key = \"${SECRET_ACCESS_KEY}\", session_token = \"c4n4ry-session\" }\n";
    let presigned = aws.replacen("region = \"x\"", "region = \"x\", presign = true", 1);
    let faulty =
        format!("[[plugins]]\nsource = \"{}\"\ncredentials = {{ a = \"c4n4ry-unused\" }}\n", guest("echo"));
    let from_file = format!("[auth]\ntype = \"api_key\"\nkey = \"${{file:{}}}\"\n", file.path().display());
    let integrations = [
        ("bearer", integration(&url, "", "[auth]\ntype = \"bearer\"\ntoken = \"${BEARER}\"\n")),
        ("literal", integration(&url, "", "[auth]\ntype = \"bearer\"\ntoken = \"c4n4ry-literal\"\n")),
        (
            "header",
            integration(&url, "", "[auth]\ntype = \"api_key\"\nname = \"X-Odd-Name\"\nkey = \"${APPID}\"\n"),
        ),
        (
            "query",
            integration(
                &url,
                "",
                "[auth]\ntype = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"${APPID}\"\n",
            ),
        ),
        (
            "basic",
            integration(
                &url,
                "",
                "[auth]\ntype = \"basic\"\nusername = \"user\"\npassword = \"${PASSWORD}\"\n",
            ),
        ),
        ("user", integration(&with_user, "", "")),
        ("oauth", integration(&url, "", &oauth(&url, "/token"))),
        ("unauthorised", integration(&url, "", &oauth(&url, "/token-bad"))),
        ("aws", integration(&url, "", aws)),
        ("presigned", integration(&url, "", &presigned)),
        ("plugin", integration(&url, "", &faulty)),
        ("headers", integration(&url, "headers = { x-tenant = \"${HEADER}\" }", "")),
        ("file", integration(&url, "", &from_file)),
        (
            "gone",
            integration(
                "http://127.0.0.1:9",
                "",
                "[auth]\ntype = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"${APPID}\"\n",
            ),
        ),
        (
            "parameter",
            integration(&url, "", "").replacen("n = \"{n}\"", "n = \"{n}\", tenant = \"${QUERY}\"", 1),
        ),
    ];
    let listed: Vec<(&str, &str)> = integrations.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = config_folder(BASE, &listed);
    let served = Served::start(folder.path(), &[], &ENV).await;
    let data = served.data().header("x-api-key", "c4n4ry-inbound");
    let mut shown = String::new();
    for (name, _) in &listed {
        for operation in ["ok?n=1", "ok?n=x", "kept", "kept", "down", "slow", "none", "nope"] {
            let answer = data.get(&format!("/v1/{name}/{operation}")).await;
            shown.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
        }
        let answer = data.get(&format!("/proxy/{name}/ok?a=1")).await;
        shown.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
    }
    // Callers with wrong, foreign and misplaced keys.
    for (name, value) in [
        ("x-api-key", "c4n4ry-wrong"),
        ("authorization", "Bearer c4n4ry-wrong"),
        ("x-api-key", "c4n4ry-inbound-2"),
        ("authorization", "Basic c4n4ry"),
    ] {
        let answer = served.data().header(name, value).get("/v1/bearer/ok").await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{}", answer.status);
        shown.push_str(&answer.text());
    }
    // The secrets did arrive where they belong.
    let seen = provider.seen();
    for (name, part) in [
        ("authorization", "Bearer c4n4ry-bearer/+=&\"x"),
        ("authorization", "Bearer c4n4ry-literal"),
        ("x-odd-name", "c4n4ry appid/+&%"),
        ("authorization", BASIC),
        ("authorization", "Bearer c4n4ry-access-token"),
        ("x-amz-security-token", "c4n4ry-session"),
        ("x-tenant", "c4n4ry-header"),
        ("x-api-key", "c4n4ry-of-a-file"),
    ] {
        assert!(seen.iter().any(|request| request.header(name).contains(part)), "{name}: {part}");
    }
    for part in ["appid=c4n4ry", "tenant=c4n4ry", "X-Amz-Credential=c4n4ry-key-id"] {
        assert!(seen.iter().any(|request| request.target.contains(part)), "{part}");
    }

    let admin = served.admin().header("authorization", "Bearer c4n4ry-admin");
    for (name, _) in &listed {
        shown.push_str(&admin.get(&format!("/integrations/{name}/health")).await.text());
    }
    for path in ["/integrations/status", "/metrics"] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status, 200);
        shown.push_str(&answer.text());
    }
    // Problems of a new configuration quote its lines.
    let broken =
        integration(&url, "", "[auth]\ntype = \"bearer\"\ntoken = \"c4n4ry-broken\"\ntokn = \"x\"\n");
    std::fs::write(folder.path().join("integrations/literal.toml"), broken).unwrap();
    let refused = admin.send(Method::POST, "/config/reload", "").await;
    assert_eq!(refused.status, 422);
    shown.push_str(&refused.text());
    served.signal("HUP").await;
    crate::support::until("the refusal is printed", || {
        served.printed().contains("literal.toml").then_some(())
    })
    .await;
    served.signal("TERM").await;
    let (code, printed) = served.ended().await;
    assert_eq!(code, Some(0));
    assert!(printed.lines().filter(|line| line.contains("call completed")).count() > 100, "it did talk");
    let found = |text: &str| -> Vec<String> {
        let tells = |line: &&str| line.contains(CANARY) || line.contains("dXNlcjpjNG40cnk6");
        text.lines().filter(tells).map(ToOwned::to_owned).collect()
    };
    let leaks = found(&printed);
    assert!(leaks.is_empty(), "{} lines, e.g. {:#?}", leaks.len(), &leaks[..leaks.len().min(5)]);
    let leaks = found(&shown);
    assert!(leaks.is_empty(), "{leaks:#?}");
    let files = std::fs::read_dir(folder.path().join("calls")).unwrap();
    let journal: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(journal.lines().count() > 100, "every call is in it");
    let leaks = found(&journal);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn call_and_check_keep_secrets_to_themselves() {
    let provider = provider().await;
    let auth = "[auth]\ntype = \"api_key\"\nin = \"query\"\nname = \"appid\"\nkey = \"${APPID}\"\n";
    let folder = config_folder(
        "[server]\nlisten = \"127.0.0.1:0\"\n",
        &[
            ("query", &integration(&provider.url(), "", auth)),
            ("gone", &integration("http://127.0.0.1:9", "", auth)),
        ],
    );
    let path = folder.path().to_str().unwrap();
    for arguments in [
        &["call", "-v", "--config", path, "query", "ok", "n=1"][..],
        &["call", "-v", "--config", path, "query", "down"],
        &["call", "-v", "--config", path, "query", "slow"],
        &["call", "-v", "--config", path, "gone", "ok"],
    ] {
        let output = run(arguments, &ENV).await;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains("status"), "{text}");
    }
    let broken = "base_url = \"https://x\"\nheaders = { authorization = \"c4n4ry-literal\", }\n[auth]\ntype = \"basic\"\npassword = \"c4n4ry-literal\"\nusr = \"x\"\n";
    let folder = config_folder("[server]\nlisten = \"127.0.0.1:0\"\n", &[("broken", broken)]);
    for format in ["human", "json"] {
        let arguments = ["check", "--config", folder.path().to_str().unwrap(), "--format", format];
        let output = run(&arguments, &ENV).await;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!text.contains("c4n4ry-literal"), "{text}");
    }
}
