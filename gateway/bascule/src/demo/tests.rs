//! The demo as a whole, with gateways that do not do what it describes.

use super::*;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_fails_every_step_and_is_still_shut_down() {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    let mut out = Vec::new();
    let result = run(DemoOptions { once: true }, &mut out, |config| async move {
        assert!(config.files.iter().any(|(path, _)| path.ends_with("bascule.toml")));
        let token = config.env.iter().find(|(name, _)| name == "BASCULE_ADMIN_TOKEN").unwrap().1.clone();
        let shutdown: Shutdown =
            Box::new(move || Box::pin(async move { seen.store(true, Ordering::Release) }));
        Ok(RunningGateway { data: nowhere().await, admin: nowhere().await, admin_token: token, shutdown })
    })
    .await;
    let text = String::from_utf8(out).unwrap();
    assert!(!result.unwrap(), "{text}");
    assert!(text.contains("FAILED  a mapped call"), "{text}");
    // The one step that does not go through the gateway.
    assert!(text.contains("ok      the signature counts"), "{text}");
    assert!(stopped.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_gateway_that_does_not_start_is_an_error() {
    let mut out = Vec::new();
    let result =
        run(DemoOptions { once: true }, &mut out, |_| async { anyhow::bail!("bad configuration") }).await;
    assert_eq!(format!("{:#}", result.unwrap_err()), "cannot start the gateway: bad configuration");
}

#[tokio::test]
async fn a_person_gets_addresses_and_a_command_for_every_mechanism() {
    let fleet = Fleet::start().await.unwrap();
    let place =
        tour::Place { data: nowhere().await, admin: nowhere().await, admin_token: "token".to_owned() };
    let mut out = Vec::new();
    commands::print(&place, &fleet, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        "/v1/GitHubAPI/get_user",
        "/proxy/GitHubAPI/",
        "fail_next",
        r#"{"outage":true}"#,
        r#"{"outage":false}"#,
        "lose_answers",
        "put_object",
        "get_object",
        "/integrations/status",
        &place.data.to_string(),
        &fleet.s3.address().to_string(),
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
