//! The phases as traits: implement one for each phase that the plugin takes part in.
//!
//! Every function is associated, without `self`: the host makes a fresh instance for each call of a phase,
//! so a value could carry nothing over. The traits differ from the generated ones in borrowing their input
//! and in having documentation of their own; `glue` ties the two together.

use crate::{
    AuthPatch, Body, Cause, Classification, Description, Fault, Mapping, Reply, RequestHead, ResponseHead,
    Token,
};

/// `lifecycle`: run at load and at a change of the configuration, never on the path of a call.
pub trait Lifecycle {
    /// The plugin's name, version, and the JSON Schema of its `config`.
    fn describe() -> Description;

    /// Checks the plugin's configuration; the default accepts any.
    ///
    /// # Errors
    /// One text for each problem; any problem refuses the load.
    fn check_config() -> Result<(), Vec<String>> {
        Ok(())
    }
}

/// `request-mapper`: once per call, after a cache miss and admission.
pub trait RequestMapper {
    /// The request to send, or an answer that needs none.
    ///
    /// `draft` is what the declared operation yields without a plugin, its path relative to the endpoint;
    /// `input` is the caller's body, for JSON operations the validated parameters.
    ///
    /// # Errors
    /// A fault of the plugin's choice; it is never retried and does not count against the provider.
    fn map_request(draft: RequestHead, input: &Body) -> Result<Mapping, Fault>;
}

/// `cache-policy`: once per call, where caching is on.
pub trait CachePolicy {
    /// The part of the cache key that depends on the input, at most 4 KiB; `None` keeps the call out of the
    /// cache. It takes the place of the parameters; integration, operation, credential profile and plugin stay
    /// in the key. A failure is a warning in the log, and the key is made of all parameters.
    fn key_material(input: &Body) -> Option<Vec<u8>>;
}

/// `signer`: once per attempt, as the last step before the wire.
pub trait Signer {
    /// The headers and query fields that authenticate the request.
    ///
    /// `head` is complete: nothing changes after this. `authority` is what the `Host` header will say.
    /// `body` is `None` for a request without a body.
    ///
    /// # Errors
    /// Any fault; the request is then not sent, and the caller gets `signing-failed`.
    fn sign(head: RequestHead, authority: &str, body: Option<&Body>) -> Result<AuthPatch, Fault>;
}

/// `token-source`: when the host holds no valid bearer token for a scope.
pub trait TokenSource {
    /// A token and how long it lives. Most sources obtain it by [`http`](crate::http); signers put it in by
    /// [`token`](crate::token).
    ///
    /// # Errors
    /// A fault; the host may keep using an older token until that expires.
    fn fetch_token(scope: &str) -> Result<Token, Fault>;
}

/// `classifier`: once per attempt that yielded a response.
pub trait Classifier {
    /// What the answer means for retry, breaker and limiter.
    ///
    /// `body` is there only where the configuration lets the host hold it.
    /// [`Verdict::by_status`](crate::Verdict::by_status) is the rule that the host itself would apply.
    fn classify(head: ResponseHead, body: Option<&Body>) -> Classification;
}

/// `response-mapper`: once per call, on the response that was judged a success.
pub trait ResponseMapper {
    /// The answer to the caller; it is also what the cache stores.
    ///
    /// `carry` is what the request mapper handed over.
    ///
    /// # Errors
    /// A fault; the caller gets 502 and is told that the third party did carry out the request.
    fn map_response(head: ResponseHead, body: &Body, carry: Vec<u8>) -> Result<Reply, Fault>;
}

/// `error-mapper`: once per call, when no attempt succeeded.
pub trait ErrorMapper {
    /// The fault that tells the caller what went wrong, in the integration's own codes.
    ///
    /// `head` and `body` are there when `cause` is [`Cause::Response`].
    fn map_error(cause: Cause, head: Option<ResponseHead>, body: Option<&Body>, carry: Vec<u8>) -> Fault;
}
