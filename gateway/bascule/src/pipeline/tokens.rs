//! Tokens of a plugin's token source: one for each scope, held by the host and never shown to a plugin again.
//!
//! Each lives in a cell like OAuth 2's: one fetch at a time whoever waits, renewed early, used until its end, and
//! asked for anew after the provider refused it. A fetch belongs to no call; it is a task of its own with a time of
//! its own, so a caller who leaves takes nothing from the others, and its side requests are no call's either.

use super::{phases::DEFAULT_PROFILE, side::SideEndpoints};
use crate::{
    model::Secret,
    upstream::{FETCH_LIMIT, TokenCell, fresh},
};
use bascule_plugin_host::{CallContext, Plugin, PluginError, SecretBytes, Tokens};
use bascule_resilience::{Clock, Deadline, Fresh, Priority, RenewError};
use std::{sync::Arc, time::SystemTime};

/// What a token is fetched with.
pub struct TokenMaker {
    /// The token source.
    pub plugin: Arc<Plugin>,
    /// The integration whose tokens they are.
    pub integration: Arc<str>,
    /// Where its side requests go; none without the grant.
    pub side: Option<Arc<SideEndpoints>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The tokens of one token source, by scope.
pub struct PluginTokens {
    cells: Vec<(String, Arc<TokenCell<PluginError>>)>,
}

impl PluginTokens {
    /// Holds one token for each of these scopes. Nothing is fetched before a call needs it.
    pub fn new(maker: TokenMaker, scopes: &[String]) -> Arc<Self> {
        let maker = Arc::new(maker);
        let cell = |scope: &String| (scope.clone(), cell(&maker, scope));
        Arc::new(Self { cells: scopes.iter().map(cell).collect() })
    }

    /// A valid token for each scope, in their order. Cancel-safe: fetches that were begun go on for the others.
    ///
    /// # Errors
    /// That of the first scope whose token cannot be had.
    pub(super) async fn get(&self) -> Result<Vec<Secret>, RenewError<PluginError>> {
        let mut tokens = Vec::with_capacity(self.cells.len());
        for (_, cell) in &self.cells {
            tokens.push(cell.get().await?);
        }
        Ok(tokens)
    }

    /// Forgets these tokens; newer ones stay. Which of them was refused, the provider does not say.
    pub(super) fn invalidate(&self, tokens: &[Secret]) {
        for ((_, cell), token) in self.cells.iter().zip(tokens) {
            cell.invalidate(token);
        }
    }

    /// These tokens under the names by which a signer has them put in.
    pub(super) fn named(&self, tokens: &[Secret]) -> Tokens {
        let named =
            |((scope, _), token): (&(String, _), &Secret)| (scope.clone(), SecretBytes::new(token.expose()));
        self.cells.iter().zip(tokens).map(named).collect()
    }
}

fn cell(maker: &Arc<TokenMaker>, scope: &str) -> Arc<TokenCell<PluginError>> {
    let (fetching, wanted) = (Arc::clone(maker), scope.to_owned());
    let fetch = move || {
        let (maker, scope) = (Arc::clone(&fetching), wanted.clone());
        async move { maker.fetch(&scope).await }
    };
    let (maker, scope) = (Arc::clone(maker), scope.to_owned());
    TokenCell::by(fetch, move |error| {
        let (integration, plugin) = (&*maker.integration, maker.plugin.name());
        let reason = match error {
            RenewError::Failed(error) => error.to_string(),
            other => other.to_string(),
        };
        tracing::warn!(integration, plugin, scope, reason, "no token could be had");
    })
}

impl TokenMaker {
    async fn fetch(&self, scope: &str) -> Result<Fresh<Secret>, PluginError> {
        let deadline = Deadline::after(self.clock.now(), FETCH_LIMIT);
        let context = CallContext {
            integration: Arc::clone(&self.integration),
            operation: "".into(),
            call_id: uuid::Uuid::now_v7().to_string().into(),
            credential: DEFAULT_PROFILE.into(),
            attempt: 0,
            remaining: FETCH_LIMIT,
            idempotency_key: None,
            parameters: "{}".into(),
            now: SystemTime::now(),
            tokens: Tokens::default(),
            side: self.side.as_ref().map(|side| side.sender(&self.plugin, deadline, Priority::default())),
        };
        let token = self.plugin.fetch_token(&context, scope).await?;
        let text = String::from_utf8_lossy(token.value.expose());
        Ok(fresh(Secret::new(text), token.expires_in))
    }
}
