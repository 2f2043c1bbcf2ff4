//! The signature itself: canonical request, string to sign, and where the result goes.

use std::time::Duration;

use bascule_plugin::{AuthPatch, Fault, Field, FieldValue, RequestHead, SecretInsert, secret};

use crate::canonical;
use crate::canonical::headers::SignedHeaders;
use crate::canonical::query::{self, Pair, Value};
use crate::host::{ACCESS_KEY_ID, Host, SESSION_TOKEN};
use crate::payload::{self, Content};
use crate::scope::Scope;
use crate::settings::Settings;
use bascule_plugin::encode::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TOKEN_HEADER: &str = "x-amz-security-token";

/// What is signed.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The request as it goes over the wire.
    pub head: &'a RequestHead,
    /// The value of the `Host` header.
    pub authority: &'a str,
    /// The body, if there is one.
    pub body: Option<&'a dyn Content>,
    /// Seconds since 1970.
    pub now: i64,
}

/// The headers, or the query fields, that sign the request.
///
/// # Errors
/// `body-too-large-to-sign`, `already-presigned` (both invalid-input), or what the host refuses.
pub fn sign(settings: &Settings, request: Request<'_>, host: &dyn Host) -> Result<AuthPatch, Fault> {
    let signing = Signing {
        scope: Scope::new(settings, request.now),
        payload: payload::hash(settings, &request.head.headers, request.body)?,
        token: host.has_secret(SESSION_TOKEN)?.then(|| secret(SESSION_TOKEN)),
        settings,
        request,
        host,
    };
    match settings.presign {
        Some(expires) => signing.in_query(expires),
        None => signing.in_headers(),
    }
}

/// One signature in the making.
struct Signing<'a> {
    settings: &'a Settings,
    request: Request<'a>,
    host: &'a dyn Host,
    scope: Scope,
    /// The payload hash, or the word that stands for it.
    payload: Vec<u8>,
    token: Option<SecretInsert>,
}

impl Signing<'_> {
    fn in_headers(&self) -> Result<AuthPatch, Fault> {
        let head = self.request.head;
        let mut signed = SignedHeaders::new(&head.headers, self.request.authority);
        let mut patch = AuthPatch::new();
        if let Some(token) = &self.token {
            match self.settings.omit_session_token {
                true => signed.remove(TOKEN_HEADER),
                false => signed.set_secret(TOKEN_HEADER, token.clone()),
            }
            patch = patch.header(TOKEN_HEADER, token.clone());
        }
        signed.set("x-amz-date", self.scope.timestamp.as_bytes());
        patch = patch.header("x-amz-date", self.scope.timestamp.as_str());
        let sends_hash = self.settings.is_s3() || self.settings.sign_body;
        if sends_hash && canonical::single(&head.headers, payload::HEADER).is_none() {
            signed.set(payload::HEADER, &self.payload);
            patch = patch.header(payload::HEADER, FieldValue::Plain(self.payload.clone()));
        }
        let signature = self.signature(&[], &signed)?;
        let credential = secret(ACCESS_KEY_ID).with_lead(format!("{ALGORITHM} Credential=")).with_suffix(
            format!("/{}, SignedHeaders={}, Signature={signature}", self.scope.text, signed.names()),
        );
        Ok(patch.header("authorization", credential))
    }

    fn in_query(&self, expires: Duration) -> Result<AuthPatch, Fault> {
        let head = self.request.head;
        if let Some(name) = head.query.as_deref().and_then(query::reserved_name) {
            let message = format!("the query has `{name}` already: it is presigned");
            return Err(Fault::invalid_input("already-presigned", message));
        }
        let signed = SignedHeaders::new(&head.headers, self.request.authority);
        // The order of AWS's own tools; the canonical query is sorted anyway.
        let mut pairs = vec![
            Pair::new(query::ALGORITHM, ALGORITHM),
            Pair::secret(
                query::CREDENTIAL,
                secret(ACCESS_KEY_ID).with_suffix(format!("/{}", self.scope.text)),
            ),
            Pair::new(query::DATE, &self.scope.timestamp),
            Pair::new(query::SIGNED_HEADERS, &signed.names()),
            Pair::new(query::EXPIRES, &expires.as_secs().to_string()),
        ];
        let token = self.token.clone().map(|token| Pair::secret(query::SECURITY_TOKEN, token));
        let unsigned = if self.settings.omit_session_token {
            token
        } else {
            pairs.extend(token);
            None
        };
        let signature = self.signature(&pairs, &signed)?;
        pairs.extend(unsigned);
        pairs.push(Pair::new(query::SIGNATURE, &signature));
        Ok(AuthPatch { headers: Vec::new(), query: pairs.into_iter().map(field).collect() })
    }

    fn signature(&self, added_query: &[Pair], signed: &SignedHeaders) -> Result<String, Fault> {
        let head = self.request.head;
        let canonical = canonical::request(self.settings, head, added_query, signed, &self.payload);
        let digest = hex(&self.host.sha256(&canonical)?);
        let string_to_sign = format!("{ALGORITHM}\n{}\n{}\n{digest}", self.scope.timestamp, self.scope.text);
        self.host.trace(&string_to_sign, &canonical);
        let path = [&*self.scope.date, &self.settings.region, &self.settings.service, "aws4_request"];
        Ok(hex(&self.host.mac(path, string_to_sign.as_bytes())?))
    }
}

fn field(pair: Pair) -> Field {
    match pair.value {
        Value::Text(octets) => Field::new(pair.name, FieldValue::Plain(octets)),
        Value::Secret(insert) => Field::new(pair.name, insert),
    }
}
