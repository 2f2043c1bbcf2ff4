//! A request mapper that floods the log: 1,000 warnings of about 100 octets, then an unchanged request.
//!
//! For the log budget (32 lines, 8 KiB per phase): the lines are numbered, so a test can say where it was cut.

use bascule_plugin::{Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, export, log};

const LINES: u32 = 1_000;

struct Logs;

impl RequestMapper for Logs {
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        for number in 0..LINES {
            let padding = "x".repeat(80);
            log::warn("one of many lines", &[("number", &number.to_string()), ("padding", &padding)]);
        }
        Ok(MappedRequest::unchanged(draft).into())
    }
}

export!(Logs: request_mapper);
