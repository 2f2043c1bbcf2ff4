//! The bindings as `wit-bindgen` 0.63.0 wrote them from `wit/plugin.wit`: host functions, and one module per phase.
//!
//! They are committed, so that authors compile no procedural macro and need no generator. They are not
//! edited: `cargo xtask bindings` writes them anew after a change of the WIT, and its check refuses stale
//! ones. The worlds of the phases share the types of `imports`, so a `Fault` is the same type everywhere.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::allow_attributes_without_reason,
    reason = "generated code: the canonical ABI is raw pointers, and its style is the generator's"
)]

pub mod cache_policy_world;
pub mod classifier_world;
pub mod error_mapper_world;
pub mod imports;
pub mod lifecycle_world;
pub mod request_mapper_world;
pub mod response_mapper_world;
pub mod signer_world;
pub mod token_source_world;
