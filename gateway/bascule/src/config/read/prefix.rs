//! `--env PREFIX`: an integration from variables alone.

use super::{
    base_url,
    limits::concurrency,
    policies::{at_least_one, default_timeouts},
    retry::default_retry,
};
use crate::{
    config::{
        diagnostic::Diagnostic,
        digest::fingerprint_of,
        environment::Environment,
        settings::{Auth, FallbackCauses, Integration, RetrySettings, Timeouts},
        units::parse_duration,
    },
    model::{IntegrationName, Secret},
};
use bascule_resilience::{BreakerConfig, Priority, Trip};
use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

/// What stands for the file in messages.
pub(crate) const ENVIRONMENT: &str = "environment";

/// The variables that are read, after the prefix and `_`.
const VARIABLES: [&str; 8] = [
    "BASE_URL",
    "TIMEOUT",
    "CONNECT_TIMEOUT",
    "MAX_RETRIES",
    "RETRY_DELAY",
    "CIRCUIT_THRESHOLD",
    "CIRCUIT_TIMEOUT",
    "TOKEN",
];

struct Variables<'a> {
    prefix: &'a str,
    set: BTreeMap<&'static str, String>,
    found: Vec<Diagnostic>,
}

/// Builds the integration that the variables of a prefix describe.
///
/// # Errors
/// Every problem, each naming its variable.
pub(crate) fn from_environment(
    prefix: &str,
    environment: &Environment,
    secrets: &mut std::collections::BTreeSet<String>,
) -> Result<Integration, Vec<Diagnostic>> {
    let name = integration_name(prefix)?;
    let get = |variable: &'static str| {
        let value = environment.get(&format!("{prefix}_{variable}"))?;
        (!value.is_empty()).then_some((variable, value))
    };
    let set: BTreeMap<_, _> = VARIABLES.into_iter().filter_map(get).collect();
    let mut variables = Variables { prefix, set, found: Vec::new() };
    let digest =
        fingerprint_of(name.as_str(), variables.set.iter().map(|(field, value)| (*field, value.as_str())));
    let integration = build(&mut variables, name, digest);
    if let Some(Integration {
        auth: Auth::Bearer { token: secret } | Auth::Basic { password: secret, .. },
        ..
    }) = &integration
        && secret.expose().len() >= 4
    {
        secrets.insert(secret.expose().to_owned());
    }
    match integration {
        Some(integration) if variables.found.is_empty() => Ok(integration),
        _ => Err(variables.found),
    }
}

fn integration_name(prefix: &str) -> Result<IntegrationName, Vec<Diagnostic>> {
    let upper = prefix.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let name = IntegrationName::new(&prefix.to_ascii_lowercase()).ok().filter(|_| upper);
    name.ok_or_else(|| {
        let message = format!("`{prefix}` is not a prefix of variables");
        vec![Diagnostic::new(
            ENVIRONMENT,
            "--env",
            message,
            "use capital letters, digits and `_`: --env STRIPE",
        )]
    })
}

fn build(variables: &mut Variables<'_>, name: IntegrationName, digest: [u8; 32]) -> Option<Integration> {
    let base = match variables.set.get("BASE_URL").cloned() {
        Some(url) => match base_url::parse(&url) {
            Ok(base) => Some(base),
            Err(why) => {
                variables.problem(
                    "BASE_URL",
                    why,
                    "write \"https://host\", with a port and a path prefix if need be",
                );
                None
            }
        },
        None => {
            variables.problem("BASE_URL", "is not set".to_owned(), "set it to the URL of the API");
            None
        }
    };
    let retry = retry(variables);
    let breaker = breaker(variables);
    let timeouts = timeouts(variables);
    let base = base?;
    Some(Integration {
        name,
        description: String::new(),
        base_url: Some(base.url),
        endpoints: BTreeMap::new(),
        headers: Vec::new(),
        timeouts,
        fallback: Arc::from([]),
        fallback_on: FallbackCauses::all(),
        forward_headers: Vec::new(),
        proxy: true,
        allow_private: false,
        auth: auth(variables, base.user_info),
        retry,
        breaker,
        shared_breaker: None,
        breaker_announced: false,
        rate_limit: None,
        concurrency: concurrency(None),
        priority: Priority::default(),
        hedge: None,
        plugins: Vec::new(),
        idempotency: None,
        errors: Arc::default(),
        proxy_cache: None,
        operations: BTreeMap::new(),
        file: PathBuf::from(ENVIRONMENT),
        digest,
    })
}

fn auth(variables: &mut Variables<'_>, in_url: Option<(String, Secret)>) -> Auth {
    match (variables.set.get("TOKEN").cloned(), in_url) {
        (Some(token), in_url) => {
            if in_url.is_some() {
                let message = "the URL holds credentials, and a token is set too".to_owned();
                variables.problem("BASE_URL", message, "remove one of them");
            }
            if http::HeaderValue::from_str(&token).is_err() {
                variables.problem("TOKEN", "holds a character that no header may carry".to_owned(), "");
            }
            Auth::Bearer { token: Secret::new(token) }
        }
        (None, Some((username, password))) => Auth::Basic { username, password },
        (None, None) => Auth::None,
    }
}

fn timeouts(variables: &mut Variables<'_>) -> Timeouts {
    let base = default_timeouts();
    Timeouts {
        whole: variables.duration("TIMEOUT").unwrap_or(base.whole),
        connect: variables.duration("CONNECT_TIMEOUT").unwrap_or(base.connect),
        ..base
    }
}

fn retry(variables: &mut Variables<'_>) -> RetrySettings {
    let mut retry = default_retry();
    if let Some(retries) = variables.number("MAX_RETRIES") {
        retry.policy.max_attempts = at_least_one(retries.saturating_add(1));
    }
    if let Some(delay) = variables.duration("RETRY_DELAY") {
        retry.policy.base_delay = delay;
        retry.policy.max_delay = retry.policy.max_delay.max(delay);
    }
    retry
}

fn breaker(variables: &mut Variables<'_>) -> BreakerConfig {
    let mut breaker = BreakerConfig::default();
    if let Some(failures) = variables.number("CIRCUIT_THRESHOLD") {
        match (NonZeroU32::new(failures), &mut breaker.trip) {
            (Some(threshold), Trip::Count { failures, .. }) => *failures = threshold,
            _ => variables.problem(
                "CIRCUIT_THRESHOLD",
                "must not be zero".to_owned(),
                "leave it unset for its default",
            ),
        }
    }
    breaker.reset_after = variables.duration("CIRCUIT_TIMEOUT").unwrap_or(breaker.reset_after);
    breaker
}

impl Variables<'_> {
    fn problem(&mut self, variable: &str, message: String, help: &str) {
        self.found.push(Diagnostic::new(ENVIRONMENT, format!("{}_{variable}", self.prefix), message, help));
    }

    /// A duration; here, and only here, a bare number is one of seconds.
    fn duration(&mut self, variable: &'static str) -> Option<Duration> {
        let text = self.set.get(variable)?.clone();
        let bare = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        match parse_duration(&if bare { format!("{text}s") } else { text.clone() }) {
            Ok(span) if !span.is_zero() => return Some(span),
            Ok(_) => self.problem(variable, "must not be zero".to_owned(), "leave it unset for its default"),
            Err(error) => {
                self.problem(variable, format!("`{text}` is {error}"), "write 30, \"30s\" or \"250ms\"")
            }
        }
        None
    }

    fn number(&mut self, variable: &'static str) -> Option<u32> {
        /// More than anyone means.
        const NUMBER_MAX: u32 = 100_000;
        let text = self.set.get(variable)?.clone();
        let number = text.parse().ok().filter(|number| *number <= NUMBER_MAX);
        if number.is_none() {
            self.problem(variable, format!("`{text}` is not a number from 0 to {NUMBER_MAX}"), "write 3");
        }
        number
    }
}
