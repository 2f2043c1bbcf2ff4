//! The examples, compiled once more as modules: what is tested is what is shown.

#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/file_system.rs"]
pub mod file_system;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/guarded_client.rs"]
pub mod guarded_client;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/http_client.rs"]
pub mod http_client;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/llm_fallback.rs"]
pub mod llm_fallback;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/message_queue.rs"]
pub mod message_queue;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/migration.rs"]
pub mod migration;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/postgresql.rs"]
pub mod postgresql;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/redis_cache.rs"]
pub mod redis_cache;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../../examples/several_providers.rs"]
pub mod several_providers;
