//! S3's errors: code, status, message, and the XML document that carries them.

use crate::demo::web::{self, Answer};
use http::{Method, StatusCode, request::Parts};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// No signature, a header left out of it, or a presigned address before or after its time.
    #[error("{0}")]
    AccessDenied(&'static str),
    /// The `Authorization` header cannot be read, or names another region or service.
    #[error("The authorization header is malformed; {0}")]
    AuthorizationHeaderMalformed(&'static str),
    /// The same for the fields of a presigned address.
    #[error("{0}")]
    AuthorizationQueryParametersError(&'static str),
    /// Nobody has this access key id.
    #[error("The AWS Access Key Id you provided does not exist in our records.")]
    InvalidAccessKeyId,
    /// The signature is another one; with what was signed here, for comparison.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    SignatureDoesNotMatch {
        /// The string to sign.
        string_to_sign: String,
        /// The canonical request that it is made of.
        canonical_request: String,
    },
    /// The request's time is more than 15 minutes away from ours.
    #[error("The difference between the request time and the current time is too large.")]
    RequestTimeTooSkewed,
    /// The body is not the one whose hash was signed.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    XAmzContentSha256Mismatch,
    /// The body ended early, or was longer than announced.
    #[error("You did not provide the number of bytes specified by the Content-Length HTTP header.")]
    IncompleteBody,
    /// One object would be too large.
    #[error("Your proposed upload exceeds the maximum allowed object size.")]
    EntityTooLarge,
    /// The store is full.
    #[error("Please reduce your request rate.")]
    SlowDown,
    /// No such object.
    #[error("The specified key does not exist.")]
    NoSuchKey,
    /// No such bucket.
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    /// A key of more than 1024 octets.
    #[error("Your key is too long")]
    KeyTooLong,
    /// Something in the request is wrong.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// Something in the request is missing.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// Nothing here answers that.
    #[error("The specified method is not allowed against this resource.")]
    MethodNotAllowed,
}

impl Fault {
    /// S3's code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied(_) => "AccessDenied",
            Self::AuthorizationHeaderMalformed(_) => "AuthorizationHeaderMalformed",
            Self::AuthorizationQueryParametersError(_) => "AuthorizationQueryParametersError",
            Self::InvalidAccessKeyId => "InvalidAccessKeyId",
            Self::SignatureDoesNotMatch { .. } => "SignatureDoesNotMatch",
            Self::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Self::XAmzContentSha256Mismatch => "XAmzContentSHA256Mismatch",
            Self::IncompleteBody => "IncompleteBody",
            Self::EntityTooLarge => "EntityTooLarge",
            Self::SlowDown => "SlowDown",
            Self::NoSuchKey => "NoSuchKey",
            Self::NoSuchBucket => "NoSuchBucket",
            Self::KeyTooLong => "KeyTooLongError",
            Self::InvalidArgument(_) => "InvalidArgument",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
        }
    }

    /// The status that goes with the code.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::AccessDenied(_)
            | Self::InvalidAccessKeyId
            | Self::SignatureDoesNotMatch { .. }
            | Self::RequestTimeTooSkewed => StatusCode::FORBIDDEN,
            Self::NoSuchKey | Self::NoSuchBucket => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::AuthorizationHeaderMalformed(_)
            | Self::AuthorizationQueryParametersError(_)
            | Self::XAmzContentSha256Mismatch
            | Self::IncompleteBody
            | Self::EntityTooLarge
            | Self::KeyTooLong
            | Self::InvalidArgument(_)
            | Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer; without a body for HEAD.
    pub(super) fn answer(&self, head: &Parts) -> Answer {
        if head.method == Method::HEAD {
            return web::empty(self.status());
        }
        let mut details = element("Resource", head.uri.path());
        if let Self::SignatureDoesNotMatch { string_to_sign, canonical_request } = self {
            details.push_str(&element("StringToSign", string_to_sign));
            details.push_str(&element("CanonicalRequest", canonical_request));
        }
        document(self.status(), self.code(), &self.to_string(), &details)
    }
}

/// An error document; `details` are further elements.
pub(super) fn document(status: StatusCode, code: &str, message: &str, details: &str) -> Answer {
    let (code, message) = (element("Code", code), element("Message", message));
    let document =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{code}{message}{details}</Error>");
    web::typed(status, "application/xml", document)
}

/// An XML element with a text in it.
pub(super) fn element(name: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}
