//! What one phase of a plugin costs: the median of many calls on fresh instances.
//!
//! `phase_cost FILE PHASE [CALLS]`, with 20,000 calls unless said otherwise. The call is a plain one: six
//! headers, a body of 256 octets, and credentials under the names that our own signers use. Answers of
//! the plugin do not matter, but calls that trap or pass a limit end the measurement.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use bascule_plugin_host::{
    CallContext, Cause, Grants, Header, HostBody, HostConfig, Phase, Plugin, PluginError, PluginHost,
    PluginSpec, RequestHead, ResponseHead, Tokens,
};

const CALLS: usize = 20_000;

/// Calls before the measurement: caches, branch predictors and the pool's warm slots.
const WARM_UP: usize = 500;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(phase)) = (arguments.next(), arguments.next()) else {
        return usage("phase_cost FILE PHASE [CALLS]");
    };
    let Some(phase) = Phase::from_name(&phase) else { return usage("no such phase") };
    let calls = arguments.next().and_then(|calls| calls.parse().ok()).unwrap_or(CALLS);
    match measure(&file, phase, calls) {
        Ok(line) => {
            let written = writeln!(std::io::stdout(), "{line}");
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => usage(&error.to_string()),
    }
}

fn usage(text: &str) -> ExitCode {
    // There is nobody left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(2)
}

fn measure(file: &str, phase: Phase, calls: usize) -> Result<String, Box<dyn std::error::Error>> {
    let host = PluginHost::new(HostConfig { engines: NonZeroUsize::MIN, ..HostConfig::default() })?;
    let mut spec = PluginSpec::new(file, std::fs::read(file)?);
    spec.grants = Grants::parse(["random", "body-read", "state", "telemetry", "http:default"])?;
    spec.config = serde_json::json!({ "service": "s3", "region": "us-east-1" });
    for (name, value) in [
        ("access_key_id", "AKIDEXAMPLE"),
        ("secret_access_key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("signing_secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
    ] {
        spec.credentials.insert(name.to_owned(), value.into());
    }
    let plugin = host.load(spec)?;
    if !plugin.has(phase) {
        return Err(format!("{file} does not export {phase}").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let context = context();
        for _ in 0..WARM_UP {
            call(&plugin, &context, phase).await?;
        }
        let mut nanos = Vec::with_capacity(calls);
        for _ in 0..calls {
            let started = Instant::now();
            call(&plugin, &context, phase).await?;
            nanos.push(started.elapsed().as_nanos());
        }
        nanos.sort_unstable();
        let at = |share: usize| {
            let index = nanos.len() * share / 1000;
            nanos.get(index).map_or(0.0, |nanos| *nanos as f64 / 1000.0)
        };
        let pooled = if host.pooled() { "pooled" } else { "on demand" };
        Ok(format!(
            "{phase}: median {:.1} µs, p99 {:.1} µs, {calls} calls, instances {pooled}",
            at(500),
            at(990)
        ))
    })
}

/// One call; a fault or an answer that cannot be used is an answer here.
async fn call(plugin: &Plugin, ctx: &CallContext, phase: Phase) -> Result<(), PluginError> {
    let body = HostBody::bytes(vec![b'x'; 256]);
    let request = || RequestHead {
        method: "PUT".into(),
        endpoint: None,
        path: "/bucket/key".into(),
        query: Some("a=1&b=2".into()),
        headers: headers(),
    };
    let response = || ResponseHead { status: 200, headers: headers() };
    let failure = match phase {
        Phase::CachePolicy => plugin.key_material(ctx, body).await.err(),
        Phase::RequestMapper => plugin.map_request(ctx, request(), body).await.err(),
        Phase::TokenSource => plugin.fetch_token(ctx, "read").await.err(),
        Phase::Signer => plugin.sign(ctx, request(), "bucket.s3.amazonaws.com", Some(body)).await.err(),
        Phase::Classifier => plugin.classify(ctx, response(), None).await.err(),
        Phase::ResponseMapper => plugin.map_response(ctx, response(), body, Vec::new()).await.err(),
        Phase::ErrorMapper => {
            plugin.map_error(ctx, Cause::Response, Some(response()), Some(body), Vec::new()).await.err()
        }
    };
    match failure {
        None | Some(PluginError::Fault(_) | PluginError::BadAnswer { .. }) => Ok(()),
        Some(failure) => Err(failure),
    }
}

fn headers() -> Vec<Header> {
    let pairs = [
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("host", "bucket.s3.amazonaws.com"),
        ("user-agent", "bascule/0.1"),
        ("x-request-id", "0193-4b1c"),
        ("content-length", "256"),
    ];
    pairs.map(|(name, value)| Header { name: name.into(), value: value.into() }).into()
}

fn context() -> CallContext {
    CallContext {
        integration: "storage".into(),
        operation: "put_object".into(),
        call_id: "0193-4b1c".into(),
        credential: "default".into(),
        attempt: 1,
        remaining: Duration::from_secs(5),
        idempotency_key: None,
        parameters: r#"{"bucket":"bucket","key":"key"}"#.into(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        tokens: Tokens::default(),
        side: None,
    }
}
