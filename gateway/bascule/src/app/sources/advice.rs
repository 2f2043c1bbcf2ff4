//! What to do about a source that is not taken.

use bascule_plugin_source::{FetchError, SourceError};
use http::StatusCode;

/// The advice that goes with an error's message, which says what is wrong.
pub(super) fn advice(error: &SourceError) -> &'static str {
    match error {
        SourceError::Fetch { source, .. } => of_fetch(source),
        SourceError::Unpinned { .. } => "`sha256sum FILE` prints the digest",
        SourceError::NotLocked { .. } => {
            "`bascule plugin lock` writes bascule.lock; or write its digest: @sha256:…"
        }
        SourceError::Digest { by: "locked", .. } => "if the new one is meant, run `bascule plugin lock`",
        SourceError::Digest { .. } => "if the new one is meant, write its digest as `sha256`",
        SourceError::NotSigned { .. } => {
            "ask the publisher for a signature, or name the key that signed it in `signed_by`"
        }
        SourceError::File { .. } | SourceError::TooLarge { .. } => {
            "paths are relative to the folder of bascule.toml"
        }
        SourceError::Store(_) => "let the gateway's user write to its cache folder",
        _ => "see `bascule plugin verify`",
    }
}

fn of_fetch(error: &FetchError) -> &'static str {
    match error {
        FetchError::EgressDenied { .. } => {
            "a server in a private network is declared: [registries.\"HOST\"] allow_private = true in bascule.toml"
        }
        FetchError::Login { .. }
        | FetchError::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. } => {
            "write a login into bascule.toml: [registries.\"HOST\"] username = \"…\", password = \"${…}\""
        }
        FetchError::Status { status: StatusCode::NOT_FOUND, .. } => {
            "see whether it was published under that name"
        }
        FetchError::Unreachable { .. } | FetchError::Timeout { .. } => {
            "what is locked or pinned and was fetched once starts without a network"
        }
        FetchError::Manifest { .. } | FetchError::MediaType { .. } => {
            "`bascule plugin push` publishes plugins as they are expected here"
        }
        _ => "see whether its server is the one that is meant",
    }
}
