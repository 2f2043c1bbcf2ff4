//! A request mapper that panics, except for the operation `calm`, where it changes nothing.
//!
//! The SDK's feature `panic-log` is on for these guests, so the text arrives at the log before the trap.

use bascule_plugin::{Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, context, export};

struct Trap;

impl RequestMapper for Trap {
    #[expect(clippy::panic, reason = "panicking is what this guest is for")]
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        let operation = context::operation();
        if operation != "calm" {
            panic!("the trap guest panics for `{operation}`");
        }
        Ok(MappedRequest::unchanged(draft).into())
    }
}

export!(Trap: request_mapper);
