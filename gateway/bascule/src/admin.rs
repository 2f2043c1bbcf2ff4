//! The admin plane: what operators see and do. It reads state and never sits on the call path.

mod cache;
mod health;
mod outbox;
mod respond;
mod route;

use crate::{
    config::{AdminToken, Problems, Role},
    model::{Code, Problem},
    pipeline::{Generation, LiveIntegration, Services},
    server::{Handler, ServerBody},
};
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use bascule_resilience::Breaker;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use route::{Action, Route};
use std::{future::Future, pin::Pin, sync::Arc};

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The generation that is at work now.
    pub generation: u64,
    /// Integrations that were added, changed or removed.
    pub changed: Vec<String>,
}

/// What the admin plane asks of the gateway around it.
pub trait Control: Send + Sync + 'static {
    /// Loads, validates and swaps; with any problem the old configuration stays.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, Problems>> + Send>>;
}

/// Answers operators.
#[derive(Clone)]
pub struct AdminPlane {
    services: Arc<Services>,
    control: Arc<dyn Control>,
}

impl AdminPlane {
    /// An admin plane over these services.
    pub fn new(services: Arc<Services>, control: Arc<dyn Control>) -> Self {
        Self { services, control }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ServerBody>, Problem> {
        let generation = self.services.generation.load_full();
        let route = route::find(request.method(), request.uri())?;
        let operator = authorize(&generation.config.admin.tokens, request.headers(), route.role())?;
        match route {
            Route::Status => Ok(respond::json(&health::status(&self.services, &generation))),
            Route::Health(name) => {
                let integration = named(&generation, &name)?;
                Ok(respond::json(&health::health(&self.services, integration)))
            }
            Route::Metrics => Ok(respond::metrics(self.services.telemetry.scrape())),
            Route::Circuit(name, action) => {
                let integration = named(&generation, &name)?;
                let now = self.services.now();
                for breaker in circuits(integration) {
                    match action {
                        Action::Reset => breaker.reset(now),
                        Action::Open => breaker.force_open(now),
                        Action::Auto => breaker.auto(now),
                    }
                }
                tracing::info!(operator, integration = name, action = action.as_str(), "circuit set by hand");
                Ok(respond::no_content())
            }
            Route::Cache => Ok(respond::json(&cache::stats(&self.services, &generation))),
            Route::Stored(name, stored) => {
                let integration = named(&generation, &name)?;
                cache::get(&self.services, &generation, integration, stored)
                    .await
                    .map(|found| respond::json(&found))
            }
            Route::Purge(name, what) => {
                let integration = named(&generation, &name)?;
                tracing::info!(operator, integration = name, what = what.said(), "cache purged by hand");
                cache::purge(&self.services, &generation, integration, what).await?;
                Ok(respond::no_content())
            }
            Route::Outbox(listing) => Ok(respond::json(&outbox::list(&self.services, listing).await?)),
            Route::RetryQueued(id) => {
                outbox::retry(&self.services, &id).await?;
                tracing::info!(operator, id, "a queued call is tried again by hand");
                Ok(respond::no_content())
            }
            Route::RemoveQueued(id) => {
                outbox::remove(&self.services, &id).await?;
                tracing::info!(operator, id, "a queued call was removed by hand");
                Ok(respond::no_content())
            }
            Route::Reload => match self.control.reload().await {
                Ok(reloaded) => Ok(respond::json(&serde_json::json!({
                    "generation": reloaded.generation, "changed": reloaded.changed,
                }))),
                Err(problems) => {
                    tracing::warn!(operator, count = problems.iter().count(), "a reload was refused");
                    let listed = problems.to_json();
                    let list = listed.get("problems").cloned().unwrap_or_default();
                    let detail = "the new configuration has problems; the old one stays";
                    Err(Problem::new(Code::InvalidConfiguration, detail).with("problems", list))
                }
            },
        }
    }
}

impl Handler for AdminPlane {
    async fn handle(&self, request: Request<Incoming>) -> Response<ServerBody> {
        self.answer(request).await.unwrap_or_else(|problem| respond::problem(&problem))
    }
}

fn named<'a>(generation: &'a Generation, name: &str) -> Result<&'a Arc<LiveIntegration>, Problem> {
    generation.integrations.get(name).ok_or_else(|| {
        let detail = format!("no integration is called `{}`", name.escape_debug());
        Problem::new(Code::UnknownIntegration, detail)
    })
}

/// The circuits that admit an integration's calls, each once: some of its operations may have others than its own.
fn circuits(integration: &LiveIntegration) -> Vec<&Arc<Breaker>> {
    let mut circuits = vec![&integration.breaker];
    for operation in integration.operations.values() {
        if !circuits.iter().any(|known| Arc::ptr_eq(known, &operation.breaker)) {
            circuits.push(&operation.breaker);
        }
    }
    circuits
}

/// Whose token it is. Without tokens (on loopback only) everybody is an admin.
fn authorize<'a>(tokens: &'a [AdminToken], headers: &HeaderMap, needed: Role) -> Result<&'a str, Problem> {
    if tokens.is_empty() {
        return Ok("anyone on loopback");
    }
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| digest(&SHA256, token.trim().as_bytes()));
    let mut found = None;
    for known in tokens {
        let wanted = digest(&SHA256, known.token.expose().as_bytes());
        if given.is_some_and(|given| verify_slices_are_equal(given.as_ref(), wanted.as_ref()).is_ok()) {
            found = Some(known);
        }
    }
    match found {
        None => {
            Err(Problem::new(Code::Unauthenticated, "send a known token as `Authorization: Bearer TOKEN`"))
        }
        Some(known) if known.role < needed => {
            Err(Problem::new(Code::Forbidden, "this needs a token with the role `admin`"))
        }
        Some(known) => Ok(&known.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use http::HeaderValue;

    fn tokens() -> Vec<AdminToken> {
        let token = |name: &str, role| AdminToken {
            name: name.into(),
            role,
            token: Secret::new(format!("t-{name}")),
        };
        vec![token("ops", Role::Admin), token("grafana", Role::Viewer)]
    }

    fn given(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))])
    }

    #[test]
    fn roles_are_checked() {
        let tokens = tokens();
        assert_eq!(authorize(&tokens, &given("Bearer t-ops"), Role::Admin).unwrap(), "ops");
        assert_eq!(authorize(&tokens, &given("bearer t-grafana"), Role::Viewer).unwrap(), "grafana");
        let refused = |headers: &HeaderMap, role| authorize(&tokens, headers, role).unwrap_err().code;
        assert_eq!(refused(&given("Bearer t-grafana"), Role::Admin), Code::Forbidden);
        assert_eq!(refused(&given("Bearer nope"), Role::Viewer), Code::Unauthenticated);
        assert_eq!(refused(&HeaderMap::new(), Role::Viewer), Code::Unauthenticated);
        assert!(authorize(&[], &HeaderMap::new(), Role::Admin).is_ok());
    }
}
