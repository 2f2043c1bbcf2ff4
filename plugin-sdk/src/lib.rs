//! Write plugins for the Bascule integration gateway in Rust: one trait per phase.
//!
//! A plugin is a library that takes part in chosen phases of a call. Implement the trait of each phase,
//! name them in [`export!`], build for `wasm32-unknown-unknown`:
//!
//! ```
//! use bascule_plugin::{AuthPatch, Body, Fault, RequestHead, Signer, export, secret};
//!
//! struct VendorKey;
//!
//! impl Signer for VendorKey {
//!     /// Sends `Authorization: Key <secret>`; the plugin itself never sees the secret.
//!     fn sign(_: RequestHead, _: &str, _: Option<&Body>) -> Result<AuthPatch, Fault> {
//!         Ok(AuthPatch::new().header("authorization", secret("api_key").with_lead("Key ")))
//!     }
//! }
//!
//! export!(VendorKey: signer);
//! # fn main() {}
//! ```
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//! [dependencies]
//! bascule-plugin = "0.1"
//! [profile.release]
//! opt-level = 3
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = "debuginfo"         # keeps names, so that the host can say where a plugin panicked
//! ```
//!
//! and a `build.rs` that keeps the stack, and with it each instance, small:
//!
//! ```no_run
//! println!("cargo::rustc-link-arg-cdylib=-zstack-size=65536");
//! ```
//!
//! That line fails the native link of a cdylib, so guard it by `CARGO_CFG_TARGET_ARCH` being `wasm32`.
//! The core module that cargo writes is what the gateway loads; no further tool is needed.
//!
//! # What a plugin can do
//! A plugin starts fresh for every phase call: nothing in its memory outlives one, and associated functions
//! without `self` say so. What has to last goes into [`state`]. What it may ask of the host are the modules [`context`], [`config`],
//! [`parameters`], [`clock`] and [`log`], open to every plugin, and [`crypto`], [`random`], [`http`],
//! [`state`], [`telemetry`] and [`secrets`], which the operator grants. Only what the code really calls
//! becomes an import, so a plugin's import list says truthfully what it can do.
//!
//! # Tests
//! Natively there is no host: calling any function of it aborts the process. Keep the logic in functions
//! of plain values and test those with `cargo test`; `export!` is silent off wasm, so such tests link.
//!
//! # Features
//! - `lean` (default): an allocator for short lives. Switch it off to bring your own.
//! - `panic-log`: writes the text of a panic to the log before the trap, for about 1 µs per call.
#![warn(missing_docs)]

mod alloc;
pub mod config;
pub mod encode;
mod enter;
mod export;
mod fault;
mod fields;
#[doc(hidden)]
#[rustfmt::skip]
pub mod generated;
mod glue;
mod headers;
pub mod http;
pub mod json;
pub mod log;
mod messages;
pub mod parameters;
mod phases;
pub mod secrets;
pub mod state;
pub mod telemetry;
pub mod time;
mod verdicts;

pub use fields::{plain, secret, token};
pub use headers::HeaderLines;
pub use phases::{
    CachePolicy, Classifier, ErrorMapper, Lifecycle, RequestMapper, ResponseMapper, Signer, TokenSource,
};

pub use generated::classifier_world::exports::bascule::plugin::classifier::{Classification, Quota, Verdict};
pub use generated::error_mapper_world::exports::bascule::plugin::error_mapper::Cause;
pub use generated::imports::bascule::plugin::types::{
    Body, BodyError, Fault, FaultKind, Field, FieldValue, Hash, Header, Reply, RequestHead, ResponseHead,
    SecretInsert,
};
pub use generated::imports::bascule::plugin::{clock, context, crypto, random};
pub use generated::lifecycle_world::exports::bascule::plugin::lifecycle::Description;
pub use generated::request_mapper_world::exports::bascule::plugin::request_mapper::{
    MappedRequest, Mapping, OutgoingBody,
};
pub use generated::signer_world::exports::bascule::plugin::signer::AuthPatch;
pub use generated::token_source_world::exports::bascule::plugin::token_source::Token;
