//! The library as the integration guide uses it: the crate's examples run against real servers that go down and come
//! back, and the guide's own tests.
//!
//! | file        | what it runs                                                    | against                     |
//! |-------------|-----------------------------------------------------------------|-----------------------------|
//! | `breaker`   | the guide's own unit tests, nearly verbatim                     | –                           |
//! | `http`      | `http_client`, `migration`                                      | a scripted HTTP server      |
//! | `guarded`   | `guarded_client`                                                | a scripted HTTP server      |
//! | `llm`       | `llm_fallback`, `several_providers`                             | scripted HTTP servers       |
//! | `database`  | `postgresql`                                                    | a PostgreSQL of its own     |
//! | `cache`     | `redis_cache`                                                   | a Redis of its own          |
//! | `silence`   | all that go over the network                                    | a port that never answers   |
//! | `storage`   | `file_system`, `message_queue`                                  | a folder; the stand-in      |
//!
//! Servers are real and time is not: circuits get a clock that the test moves, so that nobody waits for a minute to see
//! one recover. A server that is not installed fails its tests; `cargo xtask test` installs it.

mod breaker;
mod cache;
mod database;
pub mod examples;
mod guarded;
mod http;
mod llm;
mod silence;
mod storage;
#[expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test's support fails its test")]
mod support;
