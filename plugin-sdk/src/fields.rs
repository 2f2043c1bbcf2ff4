//! Header and query fields, of plain text or of secrets that the host puts in while it writes.

use crate::{AuthPatch, Field, FieldValue, SecretInsert};

/// A value as it is.
#[must_use]
pub fn plain(value: impl Into<Vec<u8>>) -> FieldValue {
    FieldValue::Plain(value.into())
}

/// The secret of that name in the plugin's `credentials`, put in by the host; the plugin never sees it.
///
/// The result on the wire is `lead ++ encode(prefix ++ secret ++ suffix)`:
///
/// ```
/// use bascule_plugin::secret;
///
/// let basic = secret("password").with_lead("Basic ").with_prefix("user:").in_base64();
/// assert!(basic.base64);
/// ```
#[must_use]
pub fn secret(name: impl Into<String>) -> SecretInsert {
    SecretInsert {
        lead: String::new(),
        prefix: String::new(),
        secret: name.into(),
        suffix: String::new(),
        base64: false,
        percent_encode: false,
    }
}

/// The token for that scope that the gateway got from a token source, put in by the host.
///
/// ```
/// use bascule_plugin::{AuthPatch, token};
///
/// let patch = AuthPatch::new().header("authorization", token("read").with_lead("Bearer "));
/// ```
#[must_use]
pub fn token(scope: &str) -> SecretInsert {
    secret(format!("token:{scope}"))
}

impl SecretInsert {
    /// Puts a text in front of everything, outside the encoding.
    #[must_use]
    pub fn with_lead(mut self, lead: impl Into<String>) -> Self {
        self.lead = lead.into();
        self
    }

    /// Puts a text directly before the secret, inside the encoding.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Puts a text directly after the secret, inside the encoding.
    #[must_use]
    pub fn with_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// Encodes prefix, secret and suffix in base64.
    #[must_use]
    pub fn in_base64(mut self) -> Self {
        self.base64 = true;
        self
    }

    /// Percent-encodes all but unreserved characters, after base64 if that is on too.
    #[must_use]
    pub fn percent_encoded(mut self) -> Self {
        self.percent_encode = true;
        self
    }
}

impl From<SecretInsert> for FieldValue {
    fn from(insert: SecretInsert) -> Self {
        Self::Secret(insert)
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        plain(text)
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        plain(text)
    }
}

impl Field {
    /// A field of that name.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl AuthPatch {
    /// A patch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { headers: Vec::new(), query: Vec::new() }
    }

    /// Adds a header, or replaces the one of that name.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.headers.push(Field::new(name, value));
        self
    }

    /// Appends a query field. Name and plain value must be percent-encoded already.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.query.push(Field::new(name, value));
        self
    }
}

impl Default for AuthPatch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_dressed() {
        let insert = secret("token").with_lead("Bearer ").with_prefix("<").with_suffix(">").percent_encoded();
        assert_eq!((insert.lead.as_str(), insert.prefix.as_str()), ("Bearer ", "<"));
        assert_eq!((insert.secret.as_str(), insert.suffix.as_str()), ("token", ">"));
        assert!(insert.percent_encode && !insert.base64);
    }

    #[test]
    fn a_token_is_a_secret_of_its_scope() {
        assert_eq!(token("read write").secret, "token:read write");
    }

    #[test]
    fn a_patch_keeps_the_order_of_its_fields() {
        let patch = AuthPatch::new().query("b", "1").query("a", secret("s")).header("x", plain(vec![0xff]));
        let names: Vec<&str> = patch.query.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(patch.headers, [Field { name: "x".into(), value: FieldValue::Plain(vec![0xff]) }]);
    }
}
