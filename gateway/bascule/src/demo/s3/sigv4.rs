//! Verifies AWS Signature Version 4, in the `Authorization` header and in presigned addresses.
//!
//! Written from AWS's documentation alone, so that it can judge the signer: the two share no code. What was
//! presented is read first ([`Presented`]), then checked against what should have been. The service is a
//! parameter, so that AWS's own test suite (which signs for a service of its own) applies.

mod presented;

pub(crate) use super::canonical::{Head, PathRule};
pub(super) use presented::Presented;

use super::{canonical, fault::Fault};
use crate::demo::clock;
use aws_lc_rs::{digest, hmac};

/// How far the request's clock may be away from ours, as at AWS.
const SKEW_MAX_SECONDS: u64 = 15 * 60;
/// What stands for the hash of a body that was not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What a service asks for.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its name in the scope.
    pub(crate) name: &'static str,
    /// How it reads paths.
    pub(crate) path: PathRule,
    /// Whether every `x-amz-*` header must be signed.
    pub(crate) strict_headers: bool,
}

impl Service {
    /// S3.
    pub(crate) fn s3() -> Self {
        Self { name: "s3", path: PathRule::Object, strict_headers: true }
    }
}

/// Knows one access key.
#[derive(Clone)]
pub(crate) struct Verifier {
    /// Its public half.
    pub(crate) access_key_id: String,
    /// Its secret half.
    pub(crate) secret_access_key: String,
    /// The region in the scope.
    pub(crate) region: String,
    /// The service.
    pub(crate) service: Service,
}

/// What the request says of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Its SHA-256, in lower-case hexadecimal.
    Hash(String),
    /// Nothing.
    Unsigned,
}

impl Payload {
    /// What an S3 request says: `x-amz-content-sha256` as header, or, presigned, as a query field or not at all.
    pub(super) fn declared(head: &Head<'_>, presented: &Presented) -> Result<Self, Fault> {
        let in_header =
            head.headers.get("x-amz-content-sha256").map(|value| value.to_str().unwrap_or_default());
        let in_query =
            presented.is_in_query().then(|| query_field(head.query, "X-Amz-Content-Sha256")).flatten();
        let text = match (in_header.map(str::to_owned).or(in_query), presented.is_in_query()) {
            (Some(text), _) => text,
            (None, true) => return Ok(Self::Unsigned),
            (None, false) => {
                return Err(Fault::InvalidRequest(
                    "Missing required header for this request: x-amz-content-sha256",
                ));
            }
        };
        if text == UNSIGNED {
            return Ok(Self::Unsigned);
        }
        let hexadecimal = text.len() == 64 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if hexadecimal && !text.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return Ok(Self::Hash(text));
        }
        Err(Fault::InvalidArgument(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value: bodies signed chunk by chunk are not taken here",
        ))
    }

    /// The last line of the canonical request.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Hash(hash) => hash,
            Self::Unsigned => UNSIGNED,
        }
    }
}

impl Verifier {
    /// Checks scope, time and signature of a request.
    ///
    /// # Errors
    /// The [`Fault`] that S3 gives, in S3's order: who, where, when, and only then the signature.
    pub(super) fn verify(
        &self,
        head: &Head<'_>,
        presented: &Presented,
        payload: &str,
        now: u64,
    ) -> Result<(), Fault> {
        if presented.access_key_id != self.access_key_id {
            return Err(Fault::InvalidAccessKeyId);
        }
        self.check_scope(presented)?;
        presented.check_time(now)?;
        self.check_headers(head, presented)?;
        let (canonical_request, string_to_sign) = self.string_to_sign(head, presented, payload);
        let expected = self.signature(presented, &string_to_sign);
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            expected.as_bytes(),
            presented.signature.as_bytes(),
        );
        same.map_err(|_| Fault::SignatureDoesNotMatch { string_to_sign, canonical_request })
    }

    /// The canonical request and the string to sign that is made of it.
    fn string_to_sign(&self, head: &Head<'_>, presented: &Presented, payload: &str) -> (String, String) {
        let canonical = canonical::request(head, self.service.path, &presented.signed_headers, payload);
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256\n{}\n{}/{}/{}/aws4_request\n{}",
            presented.time,
            presented.date,
            presented.region,
            presented.service,
            hex(digest::digest(&digest::SHA256, &canonical).as_ref()),
        );
        (String::from_utf8_lossy(&canonical).into_owned(), string_to_sign)
    }

    fn check_scope(&self, presented: &Presented) -> Result<(), Fault> {
        if presented.region != self.region {
            return Err(presented.malformed("the region is wrong"));
        }
        if presented.service != self.service.name {
            return Err(presented.malformed("incorrect service"));
        }
        Ok(())
    }

    /// A header that was added or changed on the way must not pass as the caller's.
    fn check_headers(&self, head: &Head<'_>, presented: &Presented) -> Result<(), Fault> {
        let signed = |name: &str| presented.signed_headers.split(';').any(|known| known == name);
        if !signed("host") {
            return Err(Fault::AccessDenied("The host header must be signed."));
        }
        let strict = self.service.strict_headers;
        if strict
            && head.headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !signed(name.as_str()))
        {
            return Err(Fault::AccessDenied(
                "There were headers present in the request which were not signed",
            ));
        }
        Ok(())
    }

    fn signature(&self, presented: &Presented, string_to_sign: &str) -> String {
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.secret_access_key).as_bytes());
        for part in [presented.date.as_str(), &presented.region, &presented.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        hex(hmac::sign(&key, string_to_sign.as_bytes()).as_ref())
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The first query entry of that name, decoded; none when it is no UTF-8.
fn query_field(query: &str, name: &str) -> Option<String> {
    canonical::entries(query)
        .find(|(key, _)| key == name.as_bytes())
        .and_then(|(_, value)| String::from_utf8(value).ok())
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
