//! What plugins may call: one file per imported interface, all implemented on the store's state.
//!
//! The linker gets every interface of this version, whatever a plugin was granted: what a plugin may
//! import was checked when it was loaded, with a better message than a link error gives. Functions
//! whose use needs a grant still check it, so that a slip there cannot become a hole here.

mod body;
mod crypto;
mod facts;
mod http;
mod log;
mod random;
mod secrets;
mod state;
pub(crate) mod telemetry;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::bascule::plugin;
use crate::state::State;

/// Adds all host functions of this version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    plugin::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::context::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::config::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::random::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::crypto::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::secrets::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::http::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::state::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    plugin::telemetry::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}
