//! What a `source` of the configuration points at, parsed once.
//!
//! | written | is |
//! | --- | --- |
//! | `plugins/signer.wasm` | a file; whose folder it is relative to is the caller's to know |
//! | `builtin:aws-sigv4` | a plugin that the caller brings along |
//! | `https://host/path` | a file behind TLS; it has to be pinned |
//! | `oci://registry/repository:tag` | an artifact of a registry, by a name that may move |
//! | `oci://registry/repository@sha256:…` | the same, by its manifest's digest |
//!
//! With a tag *and* a digest, the digest is what counts and the tag is a note to the reader, as everywhere
//! else where such references are written. A reference with neither is refused: `latest` is nobody's choice.

mod oci;

use std::fmt;
use std::path::PathBuf;

use url::Url;

pub use oci::OciReference;

/// A `source`, parsed. [`Display`](fmt::Display) gives the form that stands in the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A file, as it was written.
    File(PathBuf),
    /// The name behind `builtin:`.
    Builtin(String),
    /// A file behind TLS: no user name, no fragment.
    Https(Url),
    /// An artifact of a registry.
    Oci(OciReference),
}

/// A text that is no reference. Texts are for the person who wrote the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing at all, or nothing behind `builtin:`.
    #[error("a source is a file, `builtin:NAME`, `https://…` or `oci://registry/repository:tag`")]
    Empty,
    /// `http://`.
    #[error("`{text}` would be fetched without TLS; use https")]
    PlainHttp {
        /// The text.
        text: String,
    },
    /// A scheme that nothing here fetches.
    #[error("`{scheme}://` is no source; use a file, https:// or oci://")]
    UnknownScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// An URL that cannot be read, has no host, or holds a user name or fragment.
    #[error("`{text}` is not a usable URL: {reason}")]
    Url {
        /// The text, without a password.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A part of an `oci://` reference that the distribution specification does not allow.
    #[error("`{text}`: `{found}` is not a valid {part}")]
    Oci {
        /// The text.
        text: String,
        /// The part that is wrong.
        found: String,
        /// What it should have been.
        part: &'static str,
    },
    /// Neither tag nor digest.
    #[error("`{text}` names neither a tag nor a digest; add `:TAG` or `@sha256:…`")]
    Bare {
        /// The text.
        text: String,
    },
}

impl Reference {
    /// What the text points at. Nothing is looked up.
    ///
    /// # Errors
    /// [`ReferenceError`], one variant per mistake.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if let Some(name) = text.strip_prefix("builtin:") {
            return if name.is_empty() {
                Err(ReferenceError::Empty)
            } else {
                Ok(Self::Builtin(name.to_owned()))
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() {
                Err(ReferenceError::Empty)
            } else {
                Ok(Self::File(PathBuf::from(text)))
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "https" => https(text).map(Self::Https),
            "oci" => OciReference::parse(text, rest).map(Self::Oci),
            "http" => Err(ReferenceError::PlainHttp { text: text.to_owned() }),
            _ => Err(ReferenceError::UnknownScheme { scheme: scheme.to_owned() }),
        }
    }

    /// Whether it is fetched over a network, and so has its place in the lock file.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Https(_) | Self::Oci(_))
    }
}

fn https(text: &str) -> Result<Url, ReferenceError> {
    let wrong = |text: &str, reason| Err(ReferenceError::Url { text: text.to_owned(), reason });
    let Ok(url) = Url::parse(text) else { return wrong(text, "it cannot be read") };
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not shown: it may hold a password.
        return wrong(url.host_str().unwrap_or_default(), "it holds a user name or password");
    }
    if url.fragment().is_some() {
        return wrong(text, "it has a fragment, which no server sees");
    }
    Ok(url)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::Https(url) => write!(f, "{url}"),
            Self::Oci(oci) => write!(f, "{oci}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Reference::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn files_builtins_and_urls_are_told_apart() {
        assert_eq!(Reference::parse("a/b.wasm"), Ok(Reference::File("a/b.wasm".into())));
        assert_eq!(Reference::parse("/x:y"), Ok(Reference::File("/x:y".into())));
        assert_eq!(Reference::parse("builtin:github"), Ok(Reference::Builtin("github".into())));
        let url = Reference::parse("HTTPS://Example.com/p.wasm?v=1").unwrap();
        assert_eq!(url.to_string(), "https://example.com/p.wasm?v=1");
        assert!(url.is_remote() && !Reference::parse("x.wasm").unwrap().is_remote());
    }

    #[test]
    fn what_cannot_be_a_source_is_refused_with_what_to_write() {
        let form = "a source is a file, `builtin:NAME`, `https://…` or `oci://registry/repository:tag`";
        assert_eq!((error(""), error("builtin:")), (form.to_owned(), form.to_owned()));
        assert_eq!(error("http://x/y"), "`http://x/y` would be fetched without TLS; use https");
        assert_eq!(error("ftp://x/y"), "`ftp://` is no source; use a file, https:// or oci://");
        assert_eq!(
            error("https://x/y#z"),
            "`https://x/y#z` is not a usable URL: it has a fragment, which no server sees"
        );
        assert_eq!(error("https://"), "`https://` is not a usable URL: it cannot be read");
    }

    #[test]
    fn a_password_in_an_url_is_refused_and_not_shown() {
        let shown = error("https://ada:secret@example.com/p.wasm");
        assert!(shown.contains("user name or password") && !shown.contains("secret"), "{shown}");
    }
}
