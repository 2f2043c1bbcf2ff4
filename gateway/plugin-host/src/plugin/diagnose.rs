//! What the end of a guest means: from the engine's error to a [`PluginError`].
//!
//! Our own stops are known by their type, the pool's refusals by theirs; what is left is a trap of the
//! guest. Names in the backtrace tell a panic from other traps without any text of the guest.

use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::time::TimeLimit;
use crate::error::{PluginError, TimeoutKind};
use crate::state::log_budget::cut;
use crate::state::{State, Stop};

/// Longest message of a trap: it goes into one log line.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The outcome, and whether the plugin is to blame for it.
pub(super) fn diagnose(error: &Error, state: &State, limit: TimeLimit) -> (PluginError, bool) {
    match error.downcast_ref::<Stop>() {
        Some(Stop::Cpu) => {
            return (PluginError::TimedOut { kind: TimeoutKind::Cpu, limit: limit.cpu }, true);
        }
        Some(Stop::Wall) => {
            return (PluginError::TimedOut { kind: TimeoutKind::Wall, limit: limit.wall }, true);
        }
        Some(Stop::Queued) => return (PluginError::Busy, false),
        Some(Stop::Memory { limit, all }) => {
            return (PluginError::OutOfMemory { limit: *limit }, !all);
        }
        Some(Stop::Misuse(_)) | None => {}
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return (PluginError::Busy, false);
    }
    if state.limiter.refused() && error.downcast_ref::<Trap>().is_some() {
        return (PluginError::OutOfMemory { limit: state.shared.limits.memory }, true);
    }
    (PluginError::Trapped { message: message(error, state) }, true)
}

fn message(error: &Error, state: &State) -> String {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let names: Vec<String> = backtrace.map(names).unwrap_or_default();
    let panicked = names.iter().any(|name| is_panic_machinery(name));
    let place = names.iter().find(|name| !is_panic_machinery(name));
    let mut message = match (panicked, place) {
        (true, Some(place)) => format!("panicked in {place}"),
        (true, None) => "panicked".to_owned(),
        (false, Some(place)) => format!("{} in {place}", error.root_cause()),
        (false, None) => error.root_cause().to_string(),
    };
    if let Some(line) = state.log.last_error() {
        message.push_str(": ");
        message.push_str(line);
    }
    cut(&state.secrets().redact(message), MESSAGE_BYTES_MAX).to_owned()
}

/// Function names from the innermost frame outwards, demangled.
fn names(backtrace: &WasmBacktrace) -> Vec<String> {
    let demangled = |name| format!("{:#}", rustc_demangle::demangle(name));
    backtrace.frames().iter().filter_map(|frame| frame.func_name().map(demangled)).collect()
}

/// Functions of Rust's standard library between a panic and the code that panicked.
fn is_panic_machinery(name: &str) -> bool {
    const PARTS: [&str; 6] =
        ["rust_begin_unwind", "rust_panic", "core::panicking", "std::panicking", "panic_unwind", "__rust_"];
    // `unwrap_failed`, `expect_failed`, `panic_bounds_check` and their like.
    const ENDS: [&str; 3] = ["unwrap_failed", "expect_failed", "panic_bounds_check"];
    PARTS.iter().any(|part| name.contains(part))
        || ENDS.iter().any(|end| name.ends_with(end))
        || name.contains("::__rustc::")
        || name.contains("end_short_backtrace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_library_is_told_from_the_author() {
        let std = [
            "__rustc[1]::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "core::panicking::panic_bounds_check",
            "core::result::unwrap_failed",
            "std::panicking::begin_panic_handler::{{closure}}",
            "std::sys::backtrace::__rust_end_short_backtrace",
        ];
        assert!(std.iter().all(|name| is_panic_machinery(name)));
        assert!(!is_panic_machinery("<my_plugin::P as bascule_plugin_sdk::Signer>::sign"));
    }
}
