//! The format of recorded exchanges (`docs/plugins.md` describes it for authors).
//!
//! A document is one exchange or a list of them. It is written by people and by `--bless`: what it does not know it
//! refuses, so that a misspelt member is not an expectation that never fails. Expectations stay JSON values; they
//! are compared with answers in the same form (`answers.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};

use super::Rehearsed;
use super::octets::{Body, Octets};
use super::provider::{Provider, Recorded};
use super::section;
use crate::bindings::bascule::plugin::types::{Header, RequestHead, ResponseHead};
use crate::bindings::exports::bascule::plugin::error_mapper;
use crate::phase::Phase;
use crate::side::SideRequests;
use crate::state::CallContext;

/// Largest document, and largest sum of a component's sections: read whole, and a plugin brings it along.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Exchanges of one document; with [`STEPS_MAX`] it bounds what a rehearsal keeps.
const EXCHANGES_MAX: usize = 256;

/// Steps of one exchange. A call has one for each phase and some more for its attempts.
const STEPS_MAX: usize = 16;

/// What a text of exchanges, or a section of them, cannot be used for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Larger than 1 MiB.
    #[error("more than {} octets of exchanges", DOCUMENT_BYTES_MAX)]
    TooLarge,
    /// More than 256 exchanges, or more than 16 steps in one.
    #[error("more than {EXCHANGES_MAX} exchanges, or more than {STEPS_MAX} steps in one of them")]
    TooMany,
    /// Not JSON, or not an exchange.
    #[error("not an exchange or a list of exchanges")]
    Malformed(#[source] serde_json::Error),
    /// The component's sections cannot be found.
    #[error("the component cannot be read")]
    Component(#[source] crate::error::SourceError),
    /// There is nothing to expect of a step that was not run.
    #[error("the step {step} of `{exchange}` was not run: {why}")]
    NotRun {
        /// Name of the exchange.
        exchange: String,
        /// The step's place, from 0.
        step: usize,
        /// Why.
        why: String,
    },
}

/// One recorded call as a plugin meets it: what is given to each phase, and what it is to answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// For people.
    pub(super) name: String,
    #[serde(default)]
    pub(super) config: Map<String, Value>,
    /// Test values: they stand in files, and differences show what was signed with them.
    #[serde(default)]
    pub(super) credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) grants: Vec<String>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    /// Tokens that are held, by scope; test values too.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    /// Answers to side requests, in the order in which they are sent.
    #[serde(default)]
    pub(super) http: Vec<Recorded>,
    #[serde(default)]
    call: Call,
    /// What `clock.now` answers, in milliseconds since 1970.
    #[serde(default)]
    clock_ms: u64,
    /// Where the random octets begin.
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) steps: Vec<Step>,
}

/// The facts of the call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Call {
    integration: String,
    operation: String,
    id: String,
    credential: String,
    remaining_ms: u64,
    idempotency_key: Option<String>,
    parameters: Map<String, Value>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            integration: "rehearsal".to_owned(),
            operation: "rehearsal".to_owned(),
            id: "00000000-0000-7000-8000-000000000000".to_owned(),
            credential: "default".to_owned(),
            remaining_ms: 30_000,
            idempotency_key: None,
            parameters: Map::new(),
        }
    }
}

/// One phase of the call.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) input: Input,
    /// `None` = the phase's own: 1 for signer and classifier, which run once per attempt, else 0.
    attempt: Option<u32>,
    pub(super) expect: Option<Value>,
}

/// What a phase is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Input {
    CachePolicy {
        body: Body,
    },
    RequestMapper {
        request: Request,
        body: Body,
    },
    TokenSource {
        scope: String,
    },
    Signer {
        request: Request,
        authority: String,
        body: Option<Body>,
    },
    Classifier {
        response: Response,
        body: Option<Body>,
    },
    ResponseMapper {
        response: Response,
        body: Body,
        /// `None` = what the request mapper of this exchange handed over.
        carry: Option<Octets>,
    },
    ErrorMapper {
        cause: Cause,
        response: Option<Response>,
        body: Option<Body>,
        carry: Option<Octets>,
    },
}

/// A request head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    method: String,
    endpoint: Option<String>,
    path: String,
    query: Option<String>,
    #[serde(default)]
    headers: Vec<(String, Octets)>,
}

/// A response head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, Octets)>,
}

/// Why no attempt succeeded, by its name in the WIT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause(pub(super) error_mapper::Cause);

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What every step has is taken out first: a tagged enum that refuses unknown members cannot be flattened.
        let mut members = Map::deserialize(deserializer)?;
        let attempt = members.remove("attempt").map(serde_json::from_value).transpose();
        let expect = members.remove("expect").filter(|expect| !expect.is_null());
        let input = serde_json::from_value(Value::Object(members)).map_err(D::Error::custom)?;
        Ok(Self { input, attempt: attempt.map_err(D::Error::custom)?, expect })
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Self(match name.as_str() {
            "response" => error_mapper::Cause::Response,
            "timeout" => error_mapper::Cause::Timeout,
            "dns" => error_mapper::Cause::Dns,
            "connect" => error_mapper::Cause::Connect,
            "tls" => error_mapper::Cause::Tls,
            "reset" => error_mapper::Cause::Reset,
            "protocol" => error_mapper::Cause::Protocol,
            "circuit-open" => error_mapper::Cause::CircuitOpen,
            "rate-limited" => error_mapper::Cause::RateLimited,
            "overloaded" => error_mapper::Cause::Overloaded,
            "auth" => error_mapper::Cause::Auth,
            _ => return Err(D::Error::custom(format!("`{name}` is no cause"))),
        }))
    }
}

impl Exchange {
    /// The exchanges of a document: a JSON object is one, an array is a list of them.
    ///
    /// # Errors
    /// [`ExchangeError`] for a text that is no document, or one beyond the bounds.
    pub fn read(document: &[u8]) -> Result<Vec<Self>, ExchangeError> {
        let exchanges: Vec<Self> = match parse(document)? {
            list @ Value::Array(_) => serde_json::from_value(list),
            one => serde_json::from_value(one).map(|exchange| vec![exchange]),
        }
        .map_err(ExchangeError::Malformed)?;
        check_counts(&exchanges)?;
        Ok(exchanges)
    }

    /// The exchanges that a plugin file brings along in its sections `bascule:exchanges`; each is a document.
    ///
    /// # Errors
    /// [`ExchangeError`] when a section holds no document, or all of them go beyond the bounds.
    pub fn embedded(file: &[u8]) -> Result<Vec<Self>, ExchangeError> {
        let mut all = Vec::new();
        for document in section::documents(file)? {
            all.extend(Self::read(document)?);
        }
        check_counts(&all)?;
        Ok(all)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a step's phase may ask for; side requests are answered by `provider`.
    pub(super) fn context(&self, step: &Step, provider: &Arc<Provider>) -> CallContext {
        let call = &self.call;
        CallContext {
            integration: call.integration.as_str().into(),
            operation: call.operation.as_str().into(),
            call_id: call.id.as_str().into(),
            credential: call.credential.as_str().into(),
            attempt: step.attempt.unwrap_or_else(|| step.input.usual_attempt()),
            remaining: Duration::from_millis(call.remaining_ms),
            idempotency_key: call.idempotency_key.as_deref().map(Arc::from),
            parameters: Value::Object(call.parameters.clone()).to_string().into(),
            now: SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock_ms.min(CLOCK_MS_MAX)),
            tokens: self.tokens.iter().map(|(scope, token)| (scope.clone(), token.as_str().into())).collect(),
            side: Some(Arc::clone(provider) as Arc<dyn SideRequests>),
        }
    }
}

/// The year 9999: a clock beyond it is a mistake, and adding it must not overflow.
const CLOCK_MS_MAX: u64 = 253_402_300_799_999;

fn check_counts(exchanges: &[Exchange]) -> Result<(), ExchangeError> {
    let many = exchanges.len() > EXCHANGES_MAX;
    match many || exchanges.iter().any(|exchange| exchange.steps.len() > STEPS_MAX) {
        true => Err(ExchangeError::TooMany),
        false => Ok(()),
    }
}

fn parse(document: &[u8]) -> Result<Value, ExchangeError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(ExchangeError::TooLarge);
    }
    serde_json::from_slice(document).map_err(ExchangeError::Malformed)
}

impl Input {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::CachePolicy { .. } => Phase::CachePolicy,
            Self::RequestMapper { .. } => Phase::RequestMapper,
            Self::TokenSource { .. } => Phase::TokenSource,
            Self::Signer { .. } => Phase::Signer,
            Self::Classifier { .. } => Phase::Classifier,
            Self::ResponseMapper { .. } => Phase::ResponseMapper,
            Self::ErrorMapper { .. } => Phase::ErrorMapper,
        }
    }

    fn usual_attempt(&self) -> u32 {
        u32::from(matches!(self, Self::Signer { .. } | Self::Classifier { .. }))
    }
}

impl Request {
    pub(super) fn head(&self) -> RequestHead {
        RequestHead {
            method: self.method.clone(),
            endpoint: self.endpoint.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: headers(&self.headers),
        }
    }
}

impl Response {
    pub(super) fn head(&self) -> ResponseHead {
        ResponseHead { status: self.status, headers: headers(&self.headers) }
    }
}

fn headers(lines: &[(String, Octets)]) -> Vec<Header> {
    let header = |(name, value): &(String, Octets)| Header { name: name.clone(), value: value.0.clone() };
    lines.iter().map(header).collect()
}

/// See [`super::Rehearsal::blessed`]. Works on the text's own value, so that everything else stays as its
/// author wrote it.
pub(super) fn blessed(document: &[u8], steps: &[Rehearsed]) -> Result<String, ExchangeError> {
    let mut document = parse(document)?;
    let exchanges = match &mut document {
        Value::Array(exchanges) => exchanges.iter_mut().collect(),
        one => vec![one],
    };
    let places = exchanges.into_iter().flat_map(|exchange| {
        let steps = exchange.get_mut("steps").and_then(Value::as_array_mut);
        steps.into_iter().flatten().filter_map(Value::as_object_mut)
    });
    for (place, step) in places.zip(steps) {
        let got = step.got.clone().ok_or_else(|| ExchangeError::NotRun {
            exchange: step.exchange.clone(),
            step: step.step,
            why: step.note.clone().unwrap_or_default(),
        })?;
        place.insert("expect".to_owned(), got);
    }
    Ok(format!("{document:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(step: Value) -> Result<Vec<Exchange>, ExchangeError> {
        Exchange::read(json!({"name": "x", "steps": [step]}).to_string().as_bytes())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let signer = json!({"phase": "signer", "request": {"method": "GET", "path": "/"}, "authority": "a"});
        assert!(one(signer.clone()).is_ok());
        let with = |name: &str| {
            let mut step = signer.clone();
            step[name] = json!("x");
            one(step)
        };
        for name in ["expected", "cause", "bdoy", "attempt"] {
            assert!(matches!(with(name), Err(ExchangeError::Malformed(_))), "{name}");
        }
        let unknown =
            json!([{"name": "x", "steps": [], "http": [{"response": {"status": 200}, "header": []}]}]);
        assert!(matches!(Exchange::read(unknown.to_string().as_bytes()), Err(ExchangeError::Malformed(_))));
        for document in ["{", "7", r#"{"name": "x"}"#, r#"{"name": "x", "steps": [], "clok_ms": 1}"#] {
            assert!(
                matches!(Exchange::read(document.as_bytes()), Err(ExchangeError::Malformed(_))),
                "{document}"
            );
        }
        let cause = json!({"phase": "error-mapper", "cause": "boredom"});
        assert!(one(cause).is_err_and(|error| format!("{error:?}").contains("boredom")));
    }

    #[test]
    fn a_document_is_bounded() {
        let classifier = json!({"phase": "classifier", "response": {"status": 200}});
        let exchange = |steps| json!({"name": "x", "steps": vec![classifier.clone(); steps]});
        let read = |exchanges, steps| {
            Exchange::read(json!(vec![exchange(steps); exchanges]).to_string().as_bytes())
                .map(|all| all.len())
        };
        assert!(matches!((read(EXCHANGES_MAX, 1), read(1, STEPS_MAX)), (Ok(EXCHANGES_MAX), Ok(1))));
        assert!(matches!(read(EXCHANGES_MAX + 1, 1), Err(ExchangeError::TooMany)));
        assert!(matches!(read(1, STEPS_MAX + 1), Err(ExchangeError::TooMany)));
        assert!(matches!(Exchange::read(&vec![b' '; DOCUMENT_BYTES_MAX + 1]), Err(ExchangeError::TooLarge)));
    }

    #[test]
    fn attempts_are_counted_as_calls_count_them() {
        let attempt = |step| {
            let exchange = one(step).unwrap().remove(0);
            exchange.context(&exchange.steps[0], &Arc::new(Provider::new(&exchange.http))).attempt
        };
        let classifier = json!({"phase": "classifier", "response": {"status": 200}});
        assert_eq!(attempt(classifier.clone()), 1);
        let mut third = classifier;
        third["attempt"] = json!(3);
        assert_eq!(attempt(third), 3);
        assert_eq!(attempt(json!({"phase": "error-mapper", "cause": "dns"})), 0);
    }
}
