//! A request mapper that takes memory without end, except for the operation `calm`, where it changes nothing.
//!
//! For the memory limit. It writes to what it takes, so that the pages are really there, and takes whole
//! mebibytes, so that it meets the memory limit long before the CPU limit.

use bascule_plugin::{Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, context, export};

const CHUNK: usize = 1024 * 1024;

struct Hog;

impl RequestMapper for Hog {
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        if context::operation() != "calm" {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; CHUNK]);
                // Without this the compiler may find that nobody ever looks at the hoard.
                std::hint::black_box(&hoard);
            }
        }
        Ok(MappedRequest::unchanged(draft).into())
    }
}

export!(Hog: request_mapper);
