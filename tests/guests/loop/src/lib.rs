//! A request mapper that never ends for the operation `loop`, and changes nothing for any other.
//!
//! For the CPU limit: the loop calls no host function, so only the clock of the epochs can end it.

use bascule_plugin::{Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, context, export};

struct Loop;

impl RequestMapper for Loop {
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        if context::operation() == "loop" {
            loop {
                std::hint::spin_loop();
            }
        }
        Ok(MappedRequest::unchanged(draft).into())
    }
}

export!(Loop: request_mapper);
