//! What signing asks of the host, as a trait: the plugin has the real one, the tests one with known keys.

use bascule_plugin::crypto::{self, CryptoError, Encoding, Key};
use bascule_plugin::encode::hex;
use bascule_plugin::{Body, BodyError, Fault, FieldValue, Hash, log, secret};

use crate::canonical;
use crate::payload::{self, Content};

/// The names of the credentials.
pub(crate) const ACCESS_KEY_ID: &str = "access_key_id";
pub(crate) const SECRET_ACCESS_KEY: &str = "secret_access_key";
pub(crate) const SESSION_TOKEN: &str = "session_token";

/// Use of secrets that the plugin cannot read.
pub trait Host {
    /// Whether a credential of that name is configured and not empty.
    ///
    /// # Errors
    /// A fault when the host refuses to say.
    fn has_secret(&self, name: &str) -> Result<bool, Fault>;

    /// The SHA-256 of a text, its holes filled with secrets.
    ///
    /// # Errors
    /// A fault when a secret is missing or not granted.
    fn sha256(&self, parts: &[FieldValue]) -> Result<Vec<u8>, Fault>;

    /// The HMAC-SHA-256 of `data` under the key derived from `AWS4` and the secret access key along `path`.
    ///
    /// # Errors
    /// A fault when the secret is missing or not granted.
    fn mac(&self, path: [&str; 4], data: &[u8]) -> Result<Vec<u8>, Fault>;

    /// Tells whoever debugs signatures what was signed.
    fn trace(&self, string_to_sign: &str, canonical_request: &[FieldValue]);
}

/// The gateway.
pub(crate) struct Gateway;

impl Host for Gateway {
    fn has_secret(&self, name: &str) -> Result<bool, Fault> {
        // Hashing is the one use of a secret that fails without a trace when there is none.
        match crypto::hash_parts(Hash::Sha256, &[secret(name).into()]) {
            // `${AWS_SESSION_TOKEN:-}` yields an empty text where there is none.
            Ok(digest) => Ok(hex(&digest) != payload::EMPTY),
            Err(CryptoError::UnknownKey) => Ok(false),
            Err(error) => Err(fault(error, name)),
        }
    }

    fn sha256(&self, parts: &[FieldValue]) -> Result<Vec<u8>, Fault> {
        crypto::hash_parts(Hash::Sha256, parts).map_err(|error| fault(error, ACCESS_KEY_ID))
    }

    fn mac(&self, path: [&str; 4], data: &[u8]) -> Result<Vec<u8>, Fault> {
        derive_and_mac(path, data).map_err(|error| fault(error, SECRET_ACCESS_KEY))
    }

    fn trace(&self, string_to_sign: &str, canonical_request: &[FieldValue]) {
        if log::enabled(log::Level::Debug) {
            let canonical_request = canonical::describe(canonical_request);
            let fields =
                [("string_to_sign", string_to_sign), ("canonical_request", canonical_request.as_str())];
            log::debug("string to sign", &fields);
        }
    }
}

fn derive_and_mac(path: [&str; 4], data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let root = Key::open(SECRET_ACCESS_KEY, Encoding::Raw, b"AWS4")?;
    let steps = path.map(|step| step.as_bytes().to_vec());
    root.derive_path(Hash::Sha256, &steps)?.mac(Hash::Sha256, data)
}

fn fault(error: CryptoError, name: &str) -> Fault {
    match error {
        CryptoError::UnknownKey => {
            Fault::internal("missing-credential", format!("`credentials` has no `{name}`"))
        }
        CryptoError::Denied => {
            Fault::internal("credential-denied", format!("the credential `{name}` may not be used so"))
        }
        CryptoError::InvalidKey => Fault::internal("invalid-credential", format!("`{name}` is not a key")),
        CryptoError::Unsupported => {
            Fault::internal("unsupported-crypto", format!("the host cannot do this with `{name}`"))
        }
    }
}

impl Content for Body {
    fn size(&self) -> Option<u64> {
        Body::size(self)
    }

    fn sha256(&self) -> Result<Vec<u8>, BodyError> {
        self.digest(Hash::Sha256)
    }
}
