//! Rehearsals: recorded exchanges played to the real plugin in the real sandbox.
//!
//! An exchange (`exchange.rs`) says what each phase is given and what it answers. The rehearsed plugin shares the
//! compiled code of the loaded one and nothing else: configuration, credentials and grants are the exchange's
//! own test values, its clock stands still, its random octets come from a seed, and neither its log nor its
//! failures reach anybody. So a rehearsal says something about the version and nothing about the gateway
//! around it, and it cannot disturb calls beyond the instances that it uses.
//!
//! What is not here: where exchanges come from (beside the component's own section), and what a difference means.

mod answers;
mod compare;
mod exchange;
mod octets;
mod provider;
mod section;
mod stage;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime;
use tokio::time::{sleep, timeout};

pub use compare::Difference;
pub use exchange::{Exchange, ExchangeError};

use crate::error::PluginError;
use crate::phase::Phase;
use crate::plugin::Plugin;
use crate::state::CallContext;
use exchange::{Input, Step};
use provider::Provider;

/// Longest that all exchanges of one plugin may take. A reload waits for them, and so does whoever asked for it.
pub const REHEARSAL_MAX: Duration = Duration::from_secs(10);

/// How long a step waits before it asks again for an instance, when calls hold them all.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// A rehearsal cannot be held at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// There is no thread or no runtime to hold it on.
    #[error("there is nothing to hold the rehearsal on")]
    Stage(#[source] io::Error),
    /// A bug: the runner broke down.
    #[error("the rehearsal broke off")]
    BrokeOff,
}

/// What became of all exchanges, one entry for each of their steps, in their order.
#[derive(Debug, Clone, Default)]
pub struct Rehearsal {
    /// The steps.
    pub steps: Vec<Rehearsed>,
}

/// What became of one step.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// Name of the exchange.
    pub exchange: String,
    /// The step's place in its exchange, from 0.
    pub step: usize,
    /// The phase that was run.
    pub phase: Phase,
    /// What the plugin did, in the form of an expectation; `None` when the step was not run.
    pub got: Option<Value>,
    /// What a person should know besides: why the plugin failed, or why the step was not run.
    pub note: Option<String>,
    /// Where that is not what the exchange expects. Empty = as expected.
    pub differences: Vec<Difference>,
}

impl Rehearsal {
    /// Whether every step went as its exchange expects.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.steps.iter().all(Rehearsed::passed)
    }

    /// The text of a document of exchanges with what the plugin did as its expectations. `document` is what
    /// the rehearsed exchanges were read from, all of them and no others.
    ///
    /// # Errors
    /// [`ExchangeError`] when the document is none; [`ExchangeError::NotRun`] when a step was not run, so
    /// that there is nothing to expect of it.
    pub fn blessed(&self, document: &[u8]) -> Result<String, ExchangeError> {
        exchange::blessed(document, &self.steps)
    }
}

impl Rehearsed {
    /// Whether the step went as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    fn of(exchange: &Exchange, step: usize, phase: Phase) -> Self {
        Self { exchange: exchange.name.clone(), step, phase, got: None, note: None, differences: Vec::new() }
    }

    fn not_run(self, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { differences: vec![Difference::not_run(&why)], note: Some(why), ..self }
    }

    fn ran(self, got: Value, note: Option<String>, expect: Option<&Value>) -> Self {
        Self { differences: compare::differences(expect, &got), got: Some(got), note, ..self }
    }
}

impl Plugin {
    /// Plays the exchanges to this plugin's code, one after the other, within [`REHEARSAL_MAX`].
    ///
    /// Blocks until all is done, on a thread of its own: it may be called wherever blocking is allowed, with or
    /// without a runtime.
    ///
    /// # Errors
    /// [`RehearsalError`] when it cannot be held. What the plugin does wrong is in the [`Rehearsal`].
    pub fn rehearse(&self, exchanges: &[Exchange]) -> Result<Rehearsal, RehearsalError> {
        if exchanges.is_empty() {
            return Ok(Rehearsal::default());
        }
        let hold = || -> io::Result<Rehearsal> {
            let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
            Ok(runtime.block_on(all(self, exchanges)))
        };
        thread::scope(|scope| {
            let held = thread::Builder::new().name("bascule-rehearsal".to_owned()).spawn_scoped(scope, hold);
            let held = held.map_err(RehearsalError::Stage)?.join();
            held.map_err(|_panic| RehearsalError::BrokeOff)?.map_err(RehearsalError::Stage)
        })
    }
}

async fn all(plugin: &Plugin, exchanges: &[Exchange]) -> Rehearsal {
    let mut steps = Vec::new();
    let done = async {
        for exchange in exchanges {
            one(plugin, exchange, &mut steps).await;
        }
    };
    // Guests yield at every tick, so that the time limit is met even by those that never end.
    let in_time = timeout(REHEARSAL_MAX, done).await.is_ok();
    if !in_time {
        let places = exchanges.iter().flat_map(|exchange| {
            let steps = exchange.steps.iter().enumerate();
            steps.map(move |(index, step)| Rehearsed::of(exchange, index, step.input.phase()))
        });
        let why = format!("the rehearsal took longer than {} s", REHEARSAL_MAX.as_secs());
        let missing: Vec<Rehearsed> = places.skip(steps.len()).map(|step| step.not_run(&*why)).collect();
        steps.extend(missing);
    }
    Rehearsal { steps }
}

/// One exchange. Its steps share what the host keeps for a plugin, as the phases of a call do.
async fn one(plugin: &Plugin, exchange: &Exchange, steps: &mut Vec<Rehearsed>) {
    let rehearsed = stage::plugin(plugin, exchange);
    let provider = Arc::new(Provider::new(&exchange.http));
    let mut carry = Vec::new();
    for (index, step) in exchange.steps.iter().enumerate() {
        let entry = Rehearsed::of(exchange, index, step.input.phase());
        steps.push(match &rehearsed {
            Ok(plugin) if !plugin.has(step.input.phase()) => {
                entry.not_run("the plugin does not export this phase")
            }
            Ok(plugin) => {
                let (mut got, note) = run(plugin, &exchange.context(step, &provider), step, &mut carry).await;
                let requests = provider.take_requests();
                if let (Some(got), false) = (got.as_object_mut(), requests.is_empty()) {
                    got.insert("requests".to_owned(), requests.into());
                }
                entry.ran(got, note, step.expect.as_ref())
            }
            Err(error) => entry.not_run(error.to_string()),
        });
    }
}

/// What the plugin did, in the form of an expectation, and why if it failed.
async fn run(
    plugin: &Plugin,
    ctx: &CallContext,
    step: &Step,
    carry: &mut Vec<u8>,
) -> (Value, Option<String>) {
    loop {
        match attempt(plugin, ctx, step, carry).await {
            Ok(got) => return (got, None),
            // Calls have all instances, which says nothing about the plugin. The whole rehearsal has a time limit.
            Err(PluginError::Busy) => sleep(BUSY_WAIT).await,
            Err(PluginError::Fault(fault)) => return (json!({ "fault": answers::fault(&fault) }), None),
            Err(error) => return (json!({ "failure": error.kind() }), Some(error.to_string())),
        }
    }
}

async fn attempt(
    plugin: &Plugin,
    ctx: &CallContext,
    step: &Step,
    carried: &mut Vec<u8>,
) -> Result<Value, PluginError> {
    let expect = step.expect.as_ref();
    match &step.input {
        Input::CachePolicy { body } => {
            let material = plugin.key_material(ctx, body.host_body()).await?;
            Ok(answers::key_material(material.as_deref()))
        }
        Input::TokenSource { scope } => Ok(answers::token(&plugin.fetch_token(ctx, scope).await?)),
        Input::RequestMapper { request, body } => {
            let mapping = plugin.map_request(ctx, request.head(), body.host_body()).await?;
            if let Some(carry) = answers::carry(&mapping) {
                *carried = carry.to_vec();
            }
            Ok(answers::mapping(&mapping, expect))
        }
        Input::Signer { request, authority, body } => {
            let body = body.as_ref().map(octets::Body::host_body);
            Ok(answers::patch(&plugin.sign(ctx, request.head(), authority, body).await?))
        }
        Input::Classifier { response, body } => {
            let body = body.as_ref().map(octets::Body::host_body);
            Ok(answers::classification(&plugin.classify(ctx, response.head(), body).await?))
        }
        Input::ResponseMapper { response, body, carry } => {
            let carry = carry.as_ref().map_or_else(|| carried.clone(), |given| given.0.clone());
            let reply = plugin.map_response(ctx, response.head(), body.host_body(), carry).await?;
            Ok(json!({ "reply": answers::reply(&reply, expect.and_then(|expect| expect.get("reply"))) }))
        }
        Input::ErrorMapper { cause, response, body, carry } => {
            let carry = carry.as_ref().map_or_else(|| carried.clone(), |given| given.0.clone());
            let head = response.as_ref().map(exchange::Response::head);
            let body = body.as_ref().map(octets::Body::host_body);
            let fault = plugin.map_error(ctx, cause.0, head, body, carry).await?;
            Ok(json!({ "fault": answers::fault(&fault) }))
        }
    }
}
