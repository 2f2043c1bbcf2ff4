//! What a request presents as its signature: read from the `Authorization` header or from the query.
//!
//! Reading says nothing about truth; only the time is judged here, since its rule differs between the two.

use super::{Fault, Head, SKEW_MAX_SECONDS, clock, query_field};
use http::header::AUTHORIZATION;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// A presigned address lives at most a week.
const EXPIRES_MAX_SECONDS: u64 = 7 * 24 * 3600;

/// A signature and what it claims to cover.
#[derive(Debug)]
pub(in crate::demo::s3) struct Presented {
    /// Whose key.
    pub(super) access_key_id: String,
    /// The day in the scope, `20130524`.
    pub(super) date: String,
    /// The region in the scope.
    pub(super) region: String,
    /// The service in the scope.
    pub(super) service: String,
    /// The request's time, `20130524T000000Z`.
    pub(super) time: String,
    /// Names of the signed headers, joined by `;`.
    pub(super) signed_headers: String,
    /// The signature in hexadecimal.
    pub(super) signature: String,
    /// For presigned addresses: how many seconds they live.
    expires: Option<u64>,
}

impl Presented {
    /// Reads it from the header or, when there is none, from the query.
    pub(in crate::demo::s3) fn find(head: &Head<'_>) -> Result<Self, Fault> {
        let mut headers = head.headers.get_all(AUTHORIZATION).iter();
        let presigned = query_field(head.query, "X-Amz-Algorithm");
        match (headers.next(), headers.next(), presigned) {
            (None, _, None) => Err(Fault::AccessDenied("Access Denied")),
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                Err(Fault::InvalidArgument("Only one auth mechanism allowed"))
            }
            (Some(value), None, None) => Self::from_header(head, value.to_str().unwrap_or_default()),
            (None, _, Some(algorithm)) => Self::from_query(head, &algorithm),
        }
    }

    fn from_header(head: &Head<'_>, value: &str) -> Result<Self, Fault> {
        let fields = value
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or(Fault::InvalidArgument("Unsupported Authorization Type"))?;
        let field = |name: &'static str| {
            let found = fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or(Fault::AuthorizationHeaderMalformed("a field is missing"))
        };
        let time = head.headers.get("x-amz-date").and_then(|time| time.to_str().ok());
        let time =
            time.ok_or(Fault::AccessDenied("AWS authentication requires a valid x-amz-date header"))?;
        let malformed = Fault::AuthorizationHeaderMalformed("the Credential is mal-formed");
        Self::read(field("Credential")?, time, field("SignedHeaders")?, field("Signature")?, None)
            .ok_or(malformed)
    }

    fn from_query(head: &Head<'_>, algorithm: &str) -> Result<Self, Fault> {
        let wrong = Fault::AuthorizationQueryParametersError;
        if algorithm != ALGORITHM {
            return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let field = |name| {
            query_field(head.query, name).ok_or(wrong(
                "Query-string authentication version 4 requires X-Amz-Credential, X-Amz-Signature, X-Amz-Date, \
                 X-Amz-SignedHeaders and X-Amz-Expires",
            ))
        };
        let expires = field("X-Amz-Expires")?.parse().ok().filter(|s| (1..=EXPIRES_MAX_SECONDS).contains(s));
        let expires = expires.ok_or(wrong("X-Amz-Expires must be between 1 and 604800 seconds"))?;
        Self::read(
            &field("X-Amz-Credential")?,
            &field("X-Amz-Date")?,
            &field("X-Amz-SignedHeaders")?,
            &field("X-Amz-Signature")?,
            Some(expires),
        )
        .ok_or(wrong("Error parsing the X-Amz-Credential parameter"))
    }

    fn read(
        credential: &str,
        time: &str,
        headers: &str,
        signature: &str,
        expires: Option<u64>,
    ) -> Option<Self> {
        // From the right, since only the access key id could ever hold a slash.
        let mut parts = credential.rsplitn(5, '/');
        parts.next().filter(|last| *last == "aws4_request")?;
        let (service, region, date) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            access_key_id: parts.next()?.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            time: time.to_owned(),
            signed_headers: headers.to_owned(),
            signature: signature.to_owned(),
            expires,
        })
    }

    /// Whether it came in the query.
    pub(in crate::demo::s3) fn is_in_query(&self) -> bool {
        self.expires.is_some()
    }

    /// The fault for a scope that does not fit.
    pub(super) fn malformed(&self, reason: &'static str) -> Fault {
        if self.is_in_query() {
            Fault::AuthorizationQueryParametersError(reason)
        } else {
            Fault::AuthorizationHeaderMalformed(reason)
        }
    }

    /// Whether the request is of now.
    pub(super) fn check_time(&self, now: u64) -> Result<(), Fault> {
        let signed =
            clock::parse_basic(&self.time).ok_or(self.malformed("the date is not ISO 8601 basic"))?;
        if !self.time.starts_with(&self.date) {
            return Err(self.malformed("the day of the scope is not the day of the request"));
        }
        match self.expires {
            None if signed.abs_diff(now) > SKEW_MAX_SECONDS => Err(Fault::RequestTimeTooSkewed),
            Some(_) if signed > now + SKEW_MAX_SECONDS => {
                Err(Fault::AccessDenied("Request is not yet valid"))
            }
            Some(expires) if now > signed + expires => Err(Fault::AccessDenied("Request has expired")),
            _ => Ok(()),
        }
    }
}
