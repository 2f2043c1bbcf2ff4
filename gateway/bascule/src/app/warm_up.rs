//! Fetching what the configuration wants to have in the cache before anybody asks.
//!
//! The calls are made at the start and, of integrations that a reload changed, after it: a few at a time, with low
//! priority. The decision: nobody waits for them. The gateway is ready meanwhile, a call that fails is a line in the log,
//! and whoever asks for its answer fetches it.

use crate::{
    model::{BodyError, IntegrationName, Payload},
    pipeline::{Call, Generation, Input, LiveIntegration, Origin, Services, handle},
};
use bascule_resilience::Priority;
use http_body_util::BodyExt;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

/// Calls at a time: the provider has others to serve.
const AT_A_TIME: usize = 4;

/// Longest that one answer may take beyond its call's own time: what streams on for longer is none to keep.
const BODY_MAX: Duration = Duration::from_secs(60);

/// Warms the cache up now and after every change of the configuration, until the gateway ends. A change ends the round that
/// is under way: its calls are of the configuration before.
pub(super) async fn keep_warm(services: Arc<Services>, changed: Arc<Notify>) {
    let mut warmed: HashMap<IntegrationName, Weak<LiveIntegration>> = HashMap::new();
    loop {
        let generation = services.generation.load_full();
        warmed.retain(|name, _| generation.integrations.contains_key(name));
        let is_new = |(name, integration): &(&IntegrationName, &Arc<LiveIntegration>)| {
            !warmed.get(*name).is_some_and(|before| before.ptr_eq(&Arc::downgrade(integration)))
        };
        let new: Vec<_> = generation.integrations.iter().filter(is_new).collect();
        let calls: Vec<Call> =
            new.iter().flat_map(|(_, integration)| wanted(&services, &generation, integration)).collect();
        let done = new.into_iter().map(|(name, integration)| (name.clone(), Arc::downgrade(integration)));
        let done: Vec<_> = done.collect();
        drop(generation);
        tokio::select! {
            () = warm_up(calls) => warmed.extend(done),
            () = changed.notified() => continue,
        }
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
    if calls.is_empty() {
        return;
    }
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
            Payload::Stream(mut body) => {
                let read = async {
                    while let Some(frame) = body.frame().await {
                        frame?;
                    }
                    Ok::<_, BodyError>(())
                };
                match timeout(BODY_MAX, read).await {
                    Ok(Ok(())) => return true,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "its body takes too long".to_owned(),
                }
            }
        },
        Ok(answer) => format!("the answer was {}", answer.status.as_u16()),
        Err(problem) => problem.code.as_str().to_owned(),
    };
    tracing::warn!(operation = %operation.full_name, why, "an answer was not had to warm the cache up with");
    false
}
