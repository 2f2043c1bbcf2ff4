//! What happens before each phase: with the feature `panic-log`, a panic's text is sent to the log.
//!
//! Without the feature this is nothing, and a panic is a bare trap whose frames the host names.

/// Sets up the instance; cheap to call again.
#[inline]
pub(crate) fn enter() {
    #[cfg(all(feature = "panic-log", target_arch = "wasm32"))]
    log_panics();
}

#[cfg(all(feature = "panic-log", target_arch = "wasm32"))]
fn log_panics() {
    use std::sync::atomic::{AtomicBool, Ordering};

    // A flag rather than `Once`, which costs an instance more than the hook itself.
    static DONE: AtomicBool = AtomicBool::new(false);

    if !DONE.swap(true, Ordering::Relaxed) {
        std::panic::set_hook(Box::new(|info| crate::log::error(&info.to_string(), &[])));
    }
}
