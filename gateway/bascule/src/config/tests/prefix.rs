//! `--env PREFIX`.

use super::BASE;
use crate::config::{Auth, Environment, Loaded, Problems, Sources, load};
use bascule_resilience::Trip;
use std::{fs, time::Duration};

fn with(prefixes: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("integrations")).unwrap();
    fs::write(folder.path().join("bascule.toml"), "").unwrap();
    fs::write(folder.path().join("integrations/taken.toml"), BASE).unwrap();
    load(&Sources {
        path: Some(folder.path().to_owned()),
        env_prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        env: Environment::from_map(variables.iter().copied()),
    })
}

fn messages(result: Result<Loaded, Problems>) -> Vec<String> {
    let problems = result.err().unwrap_or_default();
    problems.iter().map(|one| format!("{}: {}: {}", one.file.display(), one.key, one.message)).collect()
}

#[test]
fn an_integration_comes_from_variables_alone() {
    let loaded = with(
        &["STRIPE"],
        &[
            ("STRIPE_BASE_URL", "https://api.stripe.com/v1"),
            ("STRIPE_TIMEOUT", "12"),
            ("STRIPE_CONNECT_TIMEOUT", "500ms"),
            ("STRIPE_MAX_RETRIES", "4"),
            ("STRIPE_RETRY_DELAY", "1s"),
            ("STRIPE_CIRCUIT_THRESHOLD", "7"),
            ("STRIPE_CIRCUIT_TIMEOUT", "60s"),
            ("STRIPE_TOKEN", "sk_test"),
        ],
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.config.integrations.contains_key("taken"), "joined to the files");
    let stripe = &loaded.config.integrations["stripe"];
    assert_eq!(stripe.timeouts.whole, Duration::from_secs(12));
    assert_eq!(stripe.timeouts.connect, Duration::from_millis(500));
    assert_eq!(stripe.retry.policy.max_attempts.get(), 5);
    assert_eq!(stripe.retry.policy.base_delay, Duration::from_secs(1));
    assert!(matches!(stripe.breaker.trip, Trip::Count { failures, .. } if failures.get() == 7));
    assert_eq!(stripe.breaker.reset_after, Duration::from_secs(60));
    assert!(matches!(&stripe.auth, Auth::Bearer { token } if token.expose() == "sk_test"));
    assert!(stripe.proxy);
    assert!(loaded.config.secrets.iter().any(|secret| secret.expose() == "sk_test"));
}

#[test]
fn no_retries_is_one_attempt_and_unset_is_the_default() {
    let loaded =
        with(&["A"], &[("A_BASE_URL", "https://a"), ("A_MAX_RETRIES", "0"), ("A_TIMEOUT", "")]).unwrap();
    let a = &loaded.config.integrations["a"];
    assert_eq!(a.retry.policy.max_attempts.get(), 1);
    assert_eq!(a.timeouts.whole, Duration::from_secs(30));
    assert!(matches!(a.auth, Auth::None));
}

#[test]
fn problems_name_their_variable() {
    let found = messages(with(
        &["A"],
        &[
            ("A_TIMEOUT", "soon"),
            ("A_CONNECT_TIMEOUT", "0"),
            ("A_MAX_RETRIES", "x"),
            ("A_CIRCUIT_THRESHOLD", "0"),
        ],
    ));
    assert_eq!(
        found,
        [
            "environment: A_BASE_URL: is not set",
            "environment: A_CIRCUIT_THRESHOLD: must not be zero",
            "environment: A_CONNECT_TIMEOUT: must not be zero",
            "environment: A_MAX_RETRIES: `x` is not a number from 0 to 100000",
            "environment: A_TIMEOUT: `soon` is not a duration",
        ]
    );
}

#[test]
fn names_that_exist_twice_are_problems() {
    let found = messages(with(&["TAKEN"], &[("TAKEN_BASE_URL", "https://a")]));
    assert!(found[0].contains("--env TAKEN declares `taken`, and so does"), "{found:?}");
    let found = messages(with(&["A", "A"], &[("A_BASE_URL", "https://a")]));
    assert_eq!(found.len(), 1, "{found:?}");
    let found = messages(with(&["my-api"], &[]));
    assert!(found[0].contains("`my-api` is not a prefix"), "{found:?}");
}
