//! A request mapper that imports `random`, which needs a grant: the request header `x-random` holds 8 octets in hex.

use bascule_plugin::{
    Body, Fault, MappedRequest, Mapping, RequestHead, RequestMapper, encode, export, random,
};

struct WantsRandom;

impl RequestMapper for WantsRandom {
    fn map_request(mut draft: RequestHead, _: &Body) -> Result<Mapping, Fault> {
        draft.set_header("x-random", encode::hex(&random::bytes(8)));
        Ok(MappedRequest::unchanged(draft).into())
    }
}

export!(WantsRandom: request_mapper);
