//! The payload hash: the last line of the canonical request.
//!
//! The digest is the host's; the body never comes into the sandbox. What is not held by the host cannot be
//! hashed before it is sent: S3 takes `UNSIGNED-PAYLOAD` then, other services have no such word.

use bascule_plugin::{BodyError, Fault, Header};

use crate::canonical::single;
use crate::settings::Settings;
use bascule_plugin::encode::hex;

/// The header that tells the payload hash to the service.
pub(crate) const HEADER: &str = "x-amz-content-sha256";

/// The SHA-256 of nothing.
pub(crate) const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A body as far as signing looks at it.
pub trait Content {
    /// Its length, when known.
    fn size(&self) -> Option<u64>;
    /// Its SHA-256.
    ///
    /// # Errors
    /// When the host does not hold the body.
    fn sha256(&self) -> Result<Vec<u8>, BodyError>;
}

/// The payload hash of a request, as it stands in the canonical request and in [`HEADER`].
///
/// A caller that sent the header knows better, for example when it signs chunk by chunk.
pub(crate) fn hash(
    settings: &Settings,
    headers: &[Header],
    body: Option<&dyn Content>,
) -> Result<Vec<u8>, Fault> {
    if let Some(given) = single(headers, HEADER) {
        return Ok(given.to_vec());
    }
    // S3's presigned requests never cover the body: who signs them usually does not have it.
    if settings.is_s3() && (settings.presign.is_some() || !settings.sign_body) {
        return Ok(UNSIGNED.into());
    }
    let Some(body) = body.filter(|body| body.size() != Some(0)) else { return Ok(EMPTY.into()) };
    match body.sha256() {
        Ok(digest) => Ok(hex(&digest).into_bytes()),
        Err(BodyError::NotReplayable | BodyError::TooLarge(_)) if settings.is_s3() => Ok(UNSIGNED.into()),
        Err(BodyError::NotReplayable | BodyError::TooLarge(_)) => Err(Fault::invalid_input(
            "body-too-large-to-sign",
            format!(
                "{} wants a signature over the whole body, which is too large to be held",
                settings.service
            ),
        )),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Fake(Option<u64>, Result<Vec<u8>, BodyError>);

    impl Content for Fake {
        fn size(&self) -> Option<u64> {
            self.0
        }

        fn sha256(&self) -> Result<Vec<u8>, BodyError> {
            self.1.clone()
        }
    }

    fn hashed(settings: &Settings, headers: &[Header], body: &Fake) -> Result<String, Fault> {
        hash(settings, headers, Some(body)).map(|hash| String::from_utf8(hash).unwrap())
    }

    fn held() -> Fake {
        Fake(Some(2), Ok(vec![0xab, 0xcd]))
    }

    fn stream() -> Fake {
        Fake(None, Err(BodyError::NotReplayable))
    }

    #[test]
    fn a_held_body_is_hashed_and_an_empty_one_is_known() {
        let settings = Settings::test("execute-api", "x");
        assert_eq!(hashed(&settings, &[], &held()).unwrap(), "abcd");
        assert_eq!(hashed(&settings, &[], &Fake(Some(0), Err(BodyError::Denied))).unwrap(), EMPTY);
        assert_eq!(hash(&settings, &[], None).unwrap(), EMPTY.as_bytes());
    }

    #[test]
    fn a_stream_is_unsigned_for_s3_and_a_fault_elsewhere() {
        assert_eq!(hashed(&Settings::test("s3", "x"), &[], &stream()).unwrap(), UNSIGNED);
        let fault = hashed(&Settings::test("execute-api", "x"), &[], &stream()).unwrap_err();
        assert_eq!(fault.code, "body-too-large-to-sign");
        assert_eq!(fault.kind, bascule_plugin::FaultKind::InvalidInput);
    }

    #[test]
    fn the_callers_own_hash_wins() {
        let headers = [Header::new(HEADER, " STREAMING-UNSIGNED-PAYLOAD-TRAILER ")];
        let hash = hashed(&Settings::test("s3", "x"), &headers, &held()).unwrap();
        assert_eq!(hash, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    }

    #[test]
    fn s3_leaves_the_body_out_when_presigning_or_told_to() {
        let presigning = Settings { presign: Some(Duration::from_secs(1)), ..Settings::test("s3", "x") };
        assert_eq!(hashed(&presigning, &[], &held()).unwrap(), UNSIGNED);
        let told = Settings { sign_body: false, ..Settings::test("s3", "x") };
        assert_eq!(hashed(&told, &[], &held()).unwrap(), UNSIGNED);
    }
}
