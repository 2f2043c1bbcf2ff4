//! `oci://registry/repository:tag`, by the grammar of the OCI distribution specification.
//!
//! Everything is checked before it becomes part of a URL, so that no part can say more than its own.
//! A registry on this machine is spoken to without TLS, any other with it; there is no third way.

use std::fmt;

use url::{Host, Url};

use super::ReferenceError;
use crate::digest::Digest;

/// Longest repository and tag, as the specification has it.
const REPOSITORY_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// An artifact of a registry, by tag, by digest, or by digest with a tag as a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl OciReference {
    /// `text` is the whole reference, for messages; `rest` what stands behind `oci://`.
    pub(super) fn parse(text: &str, rest: &str) -> Result<Self, ReferenceError> {
        let wrong =
            |part, found: &str| ReferenceError::Oci { text: text.to_owned(), found: found.to_owned(), part };
        let (registry, path) = rest.split_once('/').ok_or_else(|| wrong("registry and repository", rest))?;
        let registry = normal_registry(registry).ok_or_else(|| wrong("registry", registry))?;
        let (path, digest) = match path.split_once('@') {
            None => (path, None),
            Some((path, digest)) => {
                (path, Some(digest.parse().map_err(|_| wrong("digest (sha256 only)", digest))?))
            }
        };
        let (repository, tag) = match path.split_once(':') {
            None => (path, None),
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some((_, tag)) => return Err(wrong("tag", tag)),
        };
        if !is_repository(repository) {
            return Err(wrong("repository", repository));
        }
        if tag.is_none() && digest.is_none() {
            return Err(ReferenceError::Bare { text: text.to_owned() });
        }
        Ok(Self { registry, repository: repository.to_owned(), tag, digest })
    }

    /// Host, and port if it is not the usual one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; of no consequence when there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What the registry is asked for: the digest if there is one, otherwise the tag.
    pub(crate) fn asked(&self) -> String {
        self.digest.map(|digest| digest.to_string()).or_else(|| self.tag.clone()).unwrap_or_default()
    }

    /// `…/v2/REPOSITORY/TAIL` of the registry. The tail is one of ours: never a caller's text unchecked.
    pub(crate) fn url(&self, tail: &str) -> Option<Url> {
        let host = &self.registry;
        let scheme = if is_loopback(host) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/v2/{}/{tail}", self.repository)).ok()
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Host and port in lower case, without the port that the scheme implies.
fn normal_registry(registry: &str) -> Option<String> {
    let scheme = if is_loopback(registry) { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://{registry}/")).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    let host = url.host_str().filter(|_| bare && url.query().is_none() && url.fragment().is_none())?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether a host, with or without a port, is this machine by its very name.
fn is_loopback(registry: &str) -> bool {
    Url::parse(&format!("https://{registry}/")).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|octet| word(octet) || matches!(octet, b'.' | b'-'))
}

/// Parts of `[a-z0-9]+` joined by `.`, `_`, `__` or dashes, with slashes between.
fn is_repository(repository: &str) -> bool {
    repository.len() <= REPOSITORY_MAX && repository.split('/').all(is_repository_part)
}

fn is_repository_part(part: &str) -> bool {
    let is_word = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
    let joints = part
        .split(|c: char| c.is_ascii() && is_word(c as u8))
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|octet| octet == b'-'));
    ends && joints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    fn parse(text: &str) -> Result<OciReference, ReferenceError> {
        Reference::parse(text).map(|reference| match reference {
            Reference::Oci(oci) => oci,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn parts_are_found_and_written_back() {
        let digest = Digest::of(b"x");
        for text in [
            "oci://registry.example/acme/signer:1.2".to_owned(),
            "oci://registry.example:5000/a/b__c/d-e.f:_x".to_owned(),
            format!("oci://[::1]:5000/a@{digest}"),
            format!("oci://registry.example/acme/signer:1.2@{digest}"),
        ] {
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
        let both = parse(&format!("oci://Registry.EXAMPLE:443/acme/signer:1.2@{digest}")).unwrap();
        assert_eq!(
            (both.registry(), both.repository(), both.tag()),
            ("registry.example", "acme/signer", Some("1.2"))
        );
        assert_eq!(both.asked(), digest.to_string(), "the digest is what counts");
    }

    #[test]
    fn only_registries_on_this_machine_are_spoken_to_without_tls() {
        let url = |registry: &str| parse(&format!("oci://{registry}/a:1")).unwrap().url("tags/list").unwrap();
        for local in ["localhost", "127.0.0.1:5000", "[::1]:5000", "localhost:443"] {
            assert_eq!(url(local).scheme(), "http", "{local}");
        }
        assert_eq!(url("localhost:443").port(), Some(443));
        for remote in ["registry.example", "localhost.example.com", "10.0.0.1:5000", "128.0.0.1"] {
            assert_eq!(url(remote).scheme(), "https", "{remote}");
        }
        assert_eq!(url("registry.example").as_str(), "https://registry.example/v2/a/tags/list");
    }

    #[test]
    fn each_wrong_part_is_named() {
        let wrong = |text: &str| match parse(text).unwrap_err() {
            ReferenceError::Oci { part, .. } => part,
            other => panic!("{other}"),
        };
        assert_eq!(wrong("oci://registry.example"), "registry and repository");
        for registry in [
            "",
            "user@registry.example",
            "registry.example:x",
            "a b",
            "registry.example?x",
            "registry.example#",
        ] {
            assert_eq!(wrong(&format!("oci://{registry}/a:1")), "registry", "{registry}");
        }
        for repository in
            ["", "A", "a//b", "a/", ".a", "a..b", "a___b", "-a", "a-", "a b", "../a", "é", "a?b"]
        {
            assert_eq!(
                wrong(&format!("oci://registry.example/{repository}:1")),
                "repository",
                "{repository}"
            );
        }
        for tag in ["", ".a", "a/b", "a b", "a:b", &"x".repeat(129)] {
            assert_eq!(wrong(&format!("oci://registry.example/a:{tag}")), "tag", "{tag}");
        }
        for digest in ["", "sha256:00", "sha512:00", "md5:00"] {
            assert_eq!(
                wrong(&format!("oci://registry.example/a@{digest}")),
                "digest (sha256 only)",
                "{digest}"
            );
        }
        assert!(matches!(parse("oci://registry.example/a"), Err(ReferenceError::Bare { .. })));
    }
}
