//! The fallback ladder against a reference model: generated configurations, and calls of all their operations.
//!
//! One gateway serves a whole generated configuration, so thousands of ladders are climbed in seconds. Of every call
//! the status, the source, the body, the number of attempts and all requests that arrived upstream are compared with
//! what the model says. Calls go one after the other: what concurrency does to ladders is not asked here.

mod model;
mod plan;
mod upstream;

use crate::support::{Answer, Client, Gateway, Metrics, refused_url};
use bytes::Bytes;
use http::Method;
use model::{Model, Said};
use plan::{Call, Plan, SHORT};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::{cell::RefCell, collections::BTreeMap, time::Duration};
use upstream::Upstream;

/// Generated configurations, each of [`plan::OPERATIONS`] operations and [`plan::CALLS`] calls.
const CONFIGURATIONS: u32 = 16;

#[test]
fn ladders_answer_as_the_model_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // What came to pass, so that a generator that has become one-sided is noticed.
    let seen: RefCell<BTreeMap<String, u32>> = RefCell::default();
    let config = Config {
        cases: CONFIGURATIONS,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config)
        .run(&plan::plan(), |plan| runtime.block_on(agrees(&plan, &seen)).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    for kind in ["cache", "stale", "operation", "default", "upstream", "problem", "3 deep"] {
        assert!(seen.get(kind).is_some_and(|count| *count >= 30), "hardly any {kind}: {seen:#?}");
    }
}

/// Runs a plan through a gateway and through the model; the first difference ends it.
async fn agrees(plan: &Plan, seen: &RefCell<BTreeMap<String, u32>>) -> Result<(), String> {
    let (_reserved, refused) = refused_url();
    let upstream = Upstream::start(plan).await;
    let integrations = plan.integrations(&upstream.url(), &refused);
    let texts: Vec<(&str, &str)> = integrations.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let gateway = Gateway::with(&Gateway::base(""), &texts, &[]).await;
    let mut model = Model::new(plan);
    upstream.all_is_well(true);
    for call in plan.priming() {
        compare(&gateway, &upstream, plan, &mut model, call, true).await?;
    }
    upstream.all_is_well(false);
    for call in &plan.calls {
        let said = compare(&gateway, &upstream, plan, &mut model, *call, false).await?;
        let kind = said.source.split(':').next().unwrap_or_default();
        let kind = if kind.is_empty() { "problem" } else { kind };
        *seen.borrow_mut().entry(kind.to_owned()).or_default() += 1;
        *seen.borrow_mut().entry(format!("{} deep", model.deepest)).or_default() += 1;
    }
    let metrics = Metrics::of(&gateway.admin()).await;
    for (rung, count) in &model.rungs {
        let counted = metrics.sum("fallback_total", &[("rung", rung)]);
        if counted != f64::from(*count) {
            return Err(format!("fallback_total of {rung} is {counted}, not {count}"));
        }
    }
    gateway.stop().await;
    Ok(())
}

/// Makes one call on both sides.
async fn compare(
    gateway: &Gateway,
    upstream: &Upstream,
    plan: &Plan,
    model: &mut Model<'_>,
    call: Call,
    priming: bool,
) -> Result<Said, String> {
    let (expected, sent) = model.call(call, priming);
    let answer = made(gateway.data(), &plan.name(call.operation), call, priming).await;
    let got = said(&answer);
    let arrived = upstream.take();
    if got != expected || arrived != sent {
        let ladder = plan.shown(call.operation);
        return Err(format!(
            "{call:?}, priming: {priming}\nexpected {expected:?} and upstream {sent:?}\n\
             got      {got:?} and upstream {arrived:?}\n{ladder}"
        ));
    }
    // What was stored for a short while has expired before the next call.
    if model.stored_shortly {
        tokio::time::sleep(SHORT + Duration::from_millis(1)).await;
    }
    Ok(expected)
}

async fn made(client: Client, name: &str, call: Call, priming: bool) -> Answer {
    let mut skips = Vec::new();
    skips.extend(call.skip_cache.then_some("cache"));
    // Entries of operations whose circuit is open must come from somewhere.
    skips.extend(priming.then_some("circuit"));
    let client = if skips.is_empty() { client } else { client.header("bascule-skip", &skips.join(", ")) };
    let path = name.replace('.', "/");
    client.send(Method::GET, &format!("/v1/{path}?n={}", call.n), Bytes::new()).await
}

fn said(answer: &Answer) -> Said {
    let problem = answer.problem();
    Said {
        status: answer.status.as_u16(),
        source: answer.header("bascule-source").to_owned(),
        body: if problem.is_empty() { answer.text() } else { problem },
        attempts: answer.header("bascule-attempts").parse().unwrap_or(u32::MAX),
    }
}
