//! A guest that lets requests and answers pass as they are.
//!
//! For what has to hold with a plugin in the path: the host shows it everything, and nothing may come of that.

use bascule_plugin::{
    Body, Fault, MappedRequest, Mapping, Reply, RequestHead, RequestMapper, ResponseHead, ResponseMapper,
    export,
};

struct Pass;

impl RequestMapper for Pass {
    fn map_request(draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        Ok(MappedRequest::unchanged(draft).into())
    }
}

impl ResponseMapper for Pass {
    fn map_response(head: ResponseHead, _: &Body, _: Vec<u8>) -> Result<Reply, Fault> {
        Ok(Reply { status: head.status, headers: head.headers, body: None })
    }
}

export!(Pass: request_mapper, response_mapper);
