//! The examples as files: that they are TOML, that they show every family of keys, and that the demo sets every
//! variable that they need. Whether their meaning is right is checked where configuration is loaded.

use super::*;
use std::collections::BTreeSet;

fn documents() -> Vec<(&'static str, toml::Table)> {
    FILES
        .iter()
        .map(|(path, text)| (*path, text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))))
        .collect()
}

/// `${NAME}` and `${NAME:-default}`: the name, and whether there is a default.
fn variables() -> BTreeSet<(String, bool)> {
    let mut found = BTreeSet::new();
    for (_, text) in FILES {
        // Comments hold examples of variables that nobody sets.
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for reference in line.split("${").skip(1) {
                let (inner, _) = reference.split_once('}').unwrap();
                let name = inner.split(":-").next().unwrap();
                found.insert((name.to_owned(), inner.contains(":-")));
            }
        }
    }
    found
}

#[test]
fn together_they_show_every_family_of_keys() {
    let mut seen = BTreeSet::new();
    for (path, document) in documents() {
        for (key, value) in &document {
            seen.insert(key.clone());
            if path != "bascule.toml" && key == "operations" {
                let operations = value.as_table().unwrap().values();
                seen.extend(operations.flat_map(|operation| {
                    operation.as_table().unwrap().keys().map(|key| format!("operations.{key}"))
                }));
            }
        }
    }
    let families = "server admin telemetry cache type description base_url headers timeout connect_timeout read_timeout \
                    fallback idempotency auth retry circuit_breaker rate_limit concurrency plugins operations \
                    operations.method operations.path operations.query operations.params operations.body \
                    operations.cache operations.errors operations.description";
    for family in families.split_whitespace() {
        assert!(seen.contains(family), "no example shows `{family}`");
    }
}

#[tokio::test]
async fn the_demo_sets_every_variable_and_no_other() {
    let fleet = Fleet::start().await.unwrap();
    let config = config(&fleet, Pace::Tour).unwrap();
    let set: BTreeSet<&str> = config.env.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = variables();
    for (name, _) in &wanted {
        assert!(set.contains(name.as_str()), "the demo does not set {name}");
    }
    for name in set {
        assert!(wanted.iter().any(|(known, _)| known == name), "no example reads {name}");
    }
}

#[test]
fn whatever_is_not_a_credential_has_a_default() {
    let without: Vec<String> =
        variables().into_iter().filter(|(_, default)| !default).map(|(name, _)| name).collect();
    let credentials = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "BASCULE_ADMIN_TOKEN",
        "BASCULE_VIEWER_TOKEN",
        "GITHUB_TOKEN",
        "OPENWEATHER_API_KEY",
        "STRIPE_SECRET_KEY",
    ];
    assert_eq!(without, credentials);
}

#[test]
fn the_readme_names_every_variable() {
    let readme = include_str!("../../../../../examples/README.md");
    for (name, _) in variables() {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}
