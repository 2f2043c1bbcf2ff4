//! The traps that gateways and resilience libraries have fallen into, each with a test named after it.
//!
//! All of them run against the real binary over real sockets, so that nothing between a mechanism and a caller can
//! undo what the mechanism's own tests prove. What makes a test fail is said where its name does not.
//!
//! | the trap                                          | the test                                                                        |
//! |---------------------------------------------------|---------------------------------------------------------------------------------|
//! | half-open admitting every concurrent caller       | `circuit::half_open_never_admits_every_concurrent_caller`                       |
//! | a dropped probe stalling recovery                 | `circuit::a_dropped_probe_does_not_stall_recovery`                              |
//! | late successes closing an open circuit            | `circuit::late_successes_never_close_an_open_circuit`                           |
//! | a 404 tripping the breaker                        | `circuit::a_404_never_trips_the_breaker`                                        |
//! | 429 counted as a failure instead of a cool-off    | `throttling::a_429_is_a_cool_off_and_never_counted_as_a_failure`                |
//! | Retry-After ignored, or obeyed without a clamp    | `throttling::retry_after_is_neither_ignored_nor_obeyed_without_a_clamp`         |
//! | an accept error killing the server                | `listener::an_accept_error_does_not_kill_the_server`                            |
//! | a TLS handshake inside the accept loop            | `listener::a_tls_handshake_is_never_inside_the_accept_loop`                     |
//! | a zero limit meaning unlimited                    | `config::a_zero_limit_never_means_unlimited`                                    |
//! | unswept per-key maps                              | `cache::per_key_maps_are_swept`                                                 |
//! | unknown configuration keys ignored                | `config::unknown_configuration_keys_are_never_ignored`                          |
//! | a trapped plugin staying dead                     | `plugins::a_trapped_plugin_does_not_stay_dead`                                  |
//! | memory growing with every plugin reload           | `plugins::memory_does_not_grow_with_every_plugin_reload`                        |
//! | an old token used after the identity provider failed | `credentials::an_old_token_is_never_used_after_the_identity_provider_failed` |
//! | fifty concurrent misses making fifty upstream calls | `cache::fifty_concurrent_misses_make_one_upstream_call`                       |
//! | headers changed after signing                     | `credentials::headers_are_never_changed_after_signing`                          |

mod cache;
mod circuit;
mod config;
mod credentials;
mod listener;
mod plugins;
mod signature;
mod throttling;

use crate::support::{Answer, Client, Gateway, Metrics, Served, config_folder};
use http::Method;
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

/// The gateway in a process of its own, with the integration `api`. Its folder goes with it.
struct Bascule {
    served: Served,
    folder: TempDir,
}

impl Bascule {
    async fn start(api: &str) -> Self {
        Self::with("", api).await
    }

    /// The same with more in `bascule.toml`.
    async fn with(gateway: &str, api: &str) -> Self {
        let folder = config_folder(&Gateway::base(gateway), &[("api", api)]);
        Self { served: Served::start(folder.path(), &[], &[]).await, folder }
    }

    fn data(&self) -> Client {
        self.served.data()
    }

    async fn call(&self, operation: &str, params: Value) -> Answer {
        self.data().post(&format!("/v1/api/{operation}"), &params).await
    }

    async fn get(&self) -> Answer {
        self.call("get", json!({})).await
    }

    async fn metrics(&self) -> Metrics {
        Metrics::of(&self.served.admin()).await
    }

    async fn health(&self) -> Value {
        self.served.admin().get("/integrations/api/health").await.json()
    }

    /// `closed`, `open` or `half-open`.
    async fn circuit(&self) -> String {
        self.health().await["circuit_state"].as_str().expect("a state").to_owned()
    }

    /// Replaces the integration's file and reads it anew.
    async fn reload(&self, api: &str) -> Answer {
        fs::write(self.folder.path().join("integrations/api.toml"), api).expect("a writable folder");
        self.served.admin().send(Method::POST, "/config/reload", "").await
    }

    /// A figure of the process's memory, in octets.
    fn memory(&self, figure: &str) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.served.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("the figure");
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") * 1024
    }

    /// How many regions of code the process has mapped.
    fn code_regions(&self) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.served.id())).expect("a running process");
        maps.lines().filter(|line| line.contains(" r-xp ")).count()
    }
}

fn circuit_open() -> (u16, String) {
    (503, "circuit-open".to_owned())
}

fn limited() -> (u16, String) {
    (429, "rate-limited".to_owned())
}

fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("seconds")
}
