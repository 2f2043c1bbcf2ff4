//! AWS Signature Version 4, in headers or presigned, without ever seeing the keys.
//!
//! ```toml
//! [auth]
//! type = "plugin"
//! [[plugins]]
//! source = "builtin:aws-sigv4"
//! config = { service = "s3", region = "eu-central-1" }
//! credentials = { access_key_id = "${AWS_ACCESS_KEY_ID}", secret_access_key = "${AWS_SECRET_ACCESS_KEY}" }
//! ```
//!
//! The plugin reads none of its credentials. The host derives the signing key and keeps it, hashes what
//! contains a secret, and writes the access key id and the session token into the request as it is sent.
//! `session_token` is optional; an empty one counts as none.
//!
//! | `config` | default | meaning |
//! | --- | --- | --- |
//! | `service`, `region` | required | the names in the credential scope, e.g. `execute-api`, `eu-central-1` |
//! | `presign` | `false` | sign in the query instead of in headers |
//! | `expires` | `"15m"` | how long a presigned request holds; at most `"7d"` |
//! | `normalize_path` | `true`, S3 `false` | resolve `.`, `..` and empty path segments before hashing |
//! | `sign_body` | `false`, S3 `true` | send the payload hash in `x-amz-content-sha256`. S3 always sends the header; `false` makes it `UNSIGNED-PAYLOAD` |
//! | `omit_session_token` | `false` | send the session token, but do not sign it |
//!
//! S3's own rules hold for `s3`, `s3-outposts` and `s3-object-lambda`: the path is encoded once, not twice,
//! and a body that cannot be held, like a presigned one, is `UNSIGNED-PAYLOAD`. A caller's own
//! `x-amz-content-sha256` wins over all of that. Signed are all headers except those that proxies change:
//! hop-by-hop ones, `user-agent`, `accept-encoding`, `via`, `forwarded`, `x-forwarded-*`, trace context.
//!
//! # Faults
//! | code | kind | when |
//! | --- | --- | --- |
//! | `body-too-large-to-sign` | invalid-input | the body is streamed, and the service is not S3; the gateway answers 413 |
//! | `already-presigned` | invalid-input | `presign` is on and the query has a signature |
//! | `missing-credential`, `credential-denied`, `invalid-credential` | internal | a credential cannot be used |
//! | `bad-config` | internal | the configuration does not fit; refused at load already |
//!
//! At log level debug, the line `string to sign` has the string to sign and the canonical request, in which
//! `{access_key_id}` and `{session_token}` stand for what only the host knows.

mod canonical;
mod host;
mod payload;
mod scope;
mod settings;
mod signature;

use bascule_plugin::{
    AuthPatch, Body, Description, Fault, Lifecycle, RequestHead, Signer, clock, config, export, json,
};

pub use host::Host;
pub use payload::Content;
pub use settings::Settings;
pub use signature::{Request, sign};

use host::{ACCESS_KEY_ID, Gateway, SECRET_ACCESS_KEY};

struct SigV4;

impl Signer for SigV4 {
    fn sign(head: RequestHead, authority: &str, body: Option<&Body>) -> Result<AuthPatch, Fault> {
        let config = config::all();
        let settings = Settings::read(&|path| json::member(&config, path).map(str::to_owned))?;
        let body = body.map(|body| body as &dyn Content);
        let request = Request { head: &head, authority, body, now: clock::now().seconds };
        signature::sign(&settings, request, &Gateway)
    }
}

impl Lifecycle for SigV4 {
    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_config_schema(include_str!("config.schema.json"))
    }

    fn check_config() -> Result<(), Vec<String>> {
        let mut problems = Settings::problems(&config::raw);
        for name in [ACCESS_KEY_ID, SECRET_ACCESS_KEY] {
            match Gateway.has_secret(name) {
                Ok(true) => {}
                Ok(false) => problems.push(format!("`credentials` must have `{name}`")),
                Err(fault) => problems.push(fault.message),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

export!(SigV4: signer, lifecycle);
