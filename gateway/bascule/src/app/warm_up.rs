//! Fetching what the configuration wants to have in the cache before anybody asks.
//!
//! The calls are made at the start and, of integrations that a reload changed, after it: a few at a time, with low
//! priority. The decision: nobody waits for them. The gateway is ready meanwhile, a call that fails is a line in the log,
//! and whoever asks for its answer fetches it.

use crate::{
    model::{IntegrationName, Payload},
    pipeline::{Call, Generation, Input, LiveIntegration, Origin, Services, handle},
};
use bascule_resilience::Priority;
use http_body_util::BodyExt;
use std::{collections::HashMap, sync::Arc};
use tokio::{sync::Notify, task::JoinSet};

/// Calls at a time: the provider has others to serve.
const AT_A_TIME: usize = 4;

/// Warms the cache up now and after every change of the configuration, until the gateway ends.
pub(super) async fn keep_warm(services: Arc<Services>, changed: Arc<Notify>) {
    let mut warmed: HashMap<IntegrationName, [u8; 32]> = HashMap::new();
    loop {
        let generation = services.generation.load_full();
        warmed.retain(|name, _| generation.integrations.contains_key(name));
        let mut calls = Vec::new();
        for (name, integration) in &generation.integrations {
            let digest = integration.settings.digest;
            if warmed.insert(name.clone(), digest) != Some(digest) {
                calls.extend(wanted(&services, &generation, integration));
            }
        }
        if !calls.is_empty() {
            warm_up(calls).await;
        }
        drop(generation);
        changed.notified().await;
    }
}

/// The calls that an integration's operations list.
fn wanted(
    services: &Arc<Services>,
    generation: &Arc<Generation>,
    integration: &Arc<LiveIntegration>,
) -> Vec<Call> {
    let mut calls = Vec::new();
    for operation in integration.operations.values() {
        for params in operation.declared.iter().flat_map(|declared| &declared.warm_up) {
            let input = Input::Declared { params: params.clone(), texts: false, body: None };
            let call = Call::by_gateway(services, generation, integration, operation, input, Origin::WarmUp);
            calls.push(Call { priority: Some(Priority::Low), ..call });
        }
    }
    calls
}

async fn warm_up(calls: Vec<Call>) {
    let all = calls.len();
    let mut failed = 0;
    let mut under_way = JoinSet::new();
    for call in calls {
        if under_way.len() >= AT_A_TIME {
            failed += failure(under_way.join_next().await);
        }
        under_way.spawn(fetch(call));
    }
    while let Some(ended) = under_way.join_next().await {
        failed += failure(Some(ended));
    }
    tracing::info!(calls = all, failed, "the cache was warmed up");
}

fn failure(ended: Option<Result<bool, tokio::task::JoinError>>) -> usize {
    usize::from(!matches!(ended, Some(Ok(true))))
}

/// Whether the answer was had; where it is in the cache already, that is where it comes from.
async fn fetch(call: Call) -> bool {
    let operation = Arc::clone(&call.operation);
    let why = match handle(call).await.result {
        Ok(answer) if answer.status.is_success() => match answer.body {
            Payload::Full(_) => return true,
            // It is stored when it is whole, which takes somebody who reads it.
            Payload::Stream(mut body) => loop {
                match body.frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error.to_string(),
                    None => return true,
                }
            },
        },
        Ok(answer) => format!("the answer was {}", answer.status.as_u16()),
        Err(problem) => problem.code.as_str().to_owned(),
    };
    tracing::warn!(operation = %operation.full_name, why, "an answer was not had to warm the cache up with");
    false
}
