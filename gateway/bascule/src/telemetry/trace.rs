//! Traces: W3C trace context in and out, one SERVER span per call, its attempts and plugins below it.
//!
//! Spans are built directly as what the exporter takes, without a tracer or a context stack: the
//! pipeline owns its [`CallSpan`] and hands out children; only what a plugin asks of its host while it
//! runs finds its span by the task ([`HookSpan`]). Ids exist for every call,
//! since headers, problems and logs name them; everything else exists only for sampled calls that
//! somebody collects. Nothing here exports: finished spans go to a `SpanSink`.

mod children;
mod context;
mod current;
mod recording;
mod span;
mod state;

pub use children::{AttemptSpan, PluginSpan};
pub use context::TraceContext;
pub use current::HookSpan;
pub use span::CallSpan;

pub(super) use recording::SpanSink;
pub(super) use span::Origin;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
