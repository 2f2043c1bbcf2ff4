//! The generated `Guest` traits, implemented for whatever implements this crate's own.
//!
//! Each entry runs [`enter`] first, the one place where something can be set up for every phase.

use crate::enter::enter;
use crate::generated::{
    cache_policy_world, classifier_world, error_mapper_world, lifecycle_world, request_mapper_world,
    response_mapper_world, signer_world, token_source_world,
};
use crate::{
    AuthPatch, Body, CachePolicy, Cause, Classification, Classifier, Description, ErrorMapper, Fault,
    Lifecycle, Mapping, Reply, RequestHead, RequestMapper, ResponseHead, ResponseMapper, Signer, Token,
    TokenSource,
};

impl<T: Lifecycle> lifecycle_world::exports::bascule::plugin::lifecycle::Guest for T {
    fn describe() -> Description {
        enter();
        <T as Lifecycle>::describe()
    }

    fn check_config() -> Result<(), Vec<String>> {
        enter();
        <T as Lifecycle>::check_config()
    }
}

impl<T: RequestMapper> request_mapper_world::exports::bascule::plugin::request_mapper::Guest for T {
    fn map_request(draft: RequestHead, input: &Body) -> Result<Mapping, Fault> {
        enter();
        <T as RequestMapper>::map_request(draft, input)
    }
}

impl<T: CachePolicy> cache_policy_world::exports::bascule::plugin::cache_policy::Guest for T {
    fn key_material(input: &Body) -> Option<Vec<u8>> {
        enter();
        <T as CachePolicy>::key_material(input)
    }
}

impl<T: Signer> signer_world::exports::bascule::plugin::signer::Guest for T {
    fn sign(head: RequestHead, authority: String, body: Option<&Body>) -> Result<AuthPatch, Fault> {
        enter();
        <T as Signer>::sign(head, &authority, body)
    }
}

impl<T: TokenSource> token_source_world::exports::bascule::plugin::token_source::Guest for T {
    fn fetch_token(scope: String) -> Result<Token, Fault> {
        enter();
        <T as TokenSource>::fetch_token(&scope)
    }
}

impl<T: Classifier> classifier_world::exports::bascule::plugin::classifier::Guest for T {
    fn classify(head: ResponseHead, body: Option<&Body>) -> Classification {
        enter();
        <T as Classifier>::classify(head, body)
    }
}

impl<T: ResponseMapper> response_mapper_world::exports::bascule::plugin::response_mapper::Guest for T {
    fn map_response(head: ResponseHead, body: &Body, carry: Vec<u8>) -> Result<Reply, Fault> {
        enter();
        <T as ResponseMapper>::map_response(head, body, carry)
    }
}

impl<T: ErrorMapper> error_mapper_world::exports::bascule::plugin::error_mapper::Guest for T {
    fn map_error(cause: Cause, head: Option<ResponseHead>, body: Option<&Body>, carry: Vec<u8>) -> Fault {
        enter();
        <T as ErrorMapper>::map_error(cause, head, body, carry)
    }
}
