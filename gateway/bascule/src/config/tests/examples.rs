//! The examples of the contract load, and what they leave out has its documented default.

use super::load_texts;
use crate::config::{
    ApiKeyPlace, Auth, BodyKind, CachePolicy, CacheRule, Loaded, PluginSource, Role, Rung, SkipSet,
};
use bascule_plugin_host::Role as PluginRole;
use bascule_resilience::{BreakerConfig, BulkheadConfig, Trip};
use std::time::Duration;

/// The files of the contract, and one that holds every other key.
pub(super) const FILES: [(&str, &str); 7] = [
    ("weather", include_str!("texts/weather.toml")),
    ("weather-backup", include_str!("texts/weather-backup.toml")),
    ("storage", include_str!("texts/storage.toml")),
    ("everything", include_str!("texts/everything.toml")),
    ("basic", include_str!("texts/basic.toml")),
    ("bearer", include_str!("texts/bearer.toml")),
    ("components", include_str!("texts/components.toml")),
];
pub(super) const GATEWAY: &str = include_str!("texts/bascule.toml");
pub(super) const VARIABLES: [(&str, &str); 11] = [
    ("BILLING_KEY", "billing-key"),
    ("BASCULE_ADMIN_TOKEN", "admin-token"),
    ("BASCULE_VIEWER_TOKEN", "viewer-token"),
    ("OPENWEATHER_API_KEY", "weather-key"),
    ("S3_ENDPOINT_URL", "http://127.0.0.1:9000/"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "aws-secret"),
    ("CLIENT_SECRET", "client-secret"),
    ("PASSWORD", "pass-word"),
    ("TOKEN", "bearer-token"),
];

pub(super) fn loaded() -> Loaded {
    load_texts(GATEWAY, &FILES, &VARIABLES).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_example_loads() {
    let loaded = loaded();
    let config = &loaded.config;
    assert_eq!(config.integrations.len(), FILES.len());
    assert_eq!(config.admin.tokens[0].role, Role::Admin);
    assert_eq!(config.server.api_keys[0].allow, ["stripe.*"]);

    let weather = &config.integrations["weather"];
    assert!(matches!(&weather.auth, Auth::ApiKey { place: ApiKeyPlace::Query(name), .. } if name == "appid"));
    assert_eq!(weather.base_url.as_ref().unwrap().path, "/data/2.5");
    assert_eq!(weather.timeouts.whole, Duration::from_secs(5));
    assert_eq!(weather.timeouts.connect, Duration::from_secs(2));
    assert_eq!(weather.breaker.reset_after, Duration::from_secs(30), "a key beside the preset wins");
    assert!(matches!(weather.fallback[..], [Rung::Cache, Rung::Operation { .. }, Rung::Default { .. }]));
    let operation = &weather.operations["get_current"];
    assert_eq!(
        operation.cache,
        Some(CachePolicy::Rule(CacheRule {
            ttl: Duration::from_secs(600),
            negative_ttl: None,
            keep_stale: Duration::from_secs(86_400),
            stale_while_revalidate: Duration::from_secs(60),
        }))
    );
    assert_eq!(operation.body, BodyKind::None);

    let storage = &config.integrations["storage"];
    assert_eq!(storage.base_url.as_ref().unwrap().authority, "127.0.0.1:9000");
    assert!(storage.base_url.as_ref().unwrap().loopback);
    assert_eq!(storage.plugins[0].source, PluginSource::Builtin("aws-sigv4".into()));
    assert_eq!(storage.plugins[0].config["region"], "eu-central-1");
    assert_eq!(storage.operations["put_object"].body, BodyKind::Raw);
    let declared: Vec<_> =
        storage.operations["put_object"].params.declared.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(declared, ["bucket", "key"]);
}

#[test]
fn nothing_but_a_url_is_enough_and_has_the_documented_defaults() {
    let loaded = load_texts("", &[("x", "base_url = \"https://a.example\"\n")], &[]).unwrap();
    assert!(loaded.warnings.is_empty());
    let config = &loaded.config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.max_body, 10 << 20);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert!(!config.server.watch);
    assert_eq!(config.server.allow_skip, SkipSet { retry: true, circuit: true, cache: true });
    assert_eq!((config.cache.max_size, config.cache.max_entry), (64 << 20, 1 << 20));
    assert_eq!(config.telemetry.service_name, "bascule");
    assert!(config.secrets.is_empty());
    let x = &config.integrations["x"];
    assert_eq!(x.timeouts.whole, Duration::from_secs(30));
    assert_eq!(x.timeouts.connect, Duration::from_secs(10));
    assert_eq!((x.timeouts.attempt, x.timeouts.body), (None, None));
    assert_eq!(x.retry.policy, Default::default(), "the mechanism's own defaults are the documented ones");
    assert_eq!(x.retry.policy.max_attempts.get(), 3);
    assert_eq!(x.retry.on[..], [408, 429, 500, 502, 503, 504]);
    assert_eq!(x.breaker, BreakerConfig::default());
    assert!(
        matches!(&x.breaker.trip, Trip::Count { failures, window } if failures.get() == 5 && window.as_secs() == 60)
    );
    let BulkheadConfig { max, max_waiting, .. } = x.concurrency;
    assert_eq!((max.get(), max_waiting), (512, 512));
    assert!(
        x.rate_limit.is_none() && x.proxy_cache.is_none() && x.fallback.is_empty() && x.idempotency.is_none()
    );
    assert!(x.proxy && !x.allow_private);
    assert!(matches!(x.auth, Auth::None));
}

#[test]
fn a_component_is_the_one_plugin_of_its_integration() {
    let loaded = loaded();
    let report = &loaded.config.integrations["components"];
    assert_eq!((report.kind(), loaded.config.integrations["weather"].kind()), ("wasm", "rest"));
    assert_eq!(report.base_url.as_ref().unwrap().authority, "components.internal");
    let [component] = &report.plugins[..] else { panic!("{:?}", report.plugins) };
    let PluginRole::Backend { calls } = &component.role else { panic!("{:?}", component.role) };
    assert_eq!(Vec::from_iter(calls), ["everything", "weather"]);
    assert_eq!(component.config["CITIES"][1], "Lima");
    assert!(component.grants.random);
    assert_eq!((component.limits.side_requests, component.limits.wall), (10, Some(Duration::from_secs(20))));
}
