//! Configuration: TOML files and the environment in, one immutable, validated [`Config`] out.
//!
//! Four steps that do not mix: `sources` finds the files, `reader` walks each one typed by the
//! vocabulary in `keys` (which also makes the JSON Schema, so the two cannot differ), `read` turns the
//! walk into [`settings`], and `check` looks at what concerns several files. Every problem is collected
//! with its place; nothing behind this module ever looks at text again. It opens no connection and
//! loads no plugin.

mod check;
mod context;
mod diagnostic;
mod digest;
mod environment;
mod interpolate;
mod keys;
mod load;
mod read;
mod reader;
mod reference;
mod schema;
pub mod settings;
mod source;
mod sources;
mod suggest;
mod text;
mod units;

pub use context::Places;
pub use diagnostic::{Diagnostic, Problems, Severity, Sound};
pub use environment::Environment;
pub use load::{Loaded, load};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use settings::*;
pub use sources::{Sources, config_files};
pub use units::{DURATION_MAX, UnitError, format_duration, parse_duration, parse_size};

#[cfg(test)]
mod tests;
