//! The canonical path.
//!
//! The head has the path as it goes over the wire, already percent-encoded once. AWS encodes that text again;
//! S3 alone signs the path as encoded once, and never normalised, since `a//b` and `a/./b` are names of objects.

use std::borrow::Cow;

use crate::settings::Settings;
use bascule_plugin::encode::{percent_decode, percent_encode};

/// Appends the canonical form of a path.
pub(crate) fn write(settings: &Settings, path: &str, out: &mut Vec<u8>) {
    let path = if settings.normalize_path { Cow::Owned(normalized(path)) } else { Cow::Borrowed(path) };
    let path: &str = if path.is_empty() { "/" } else { &path };
    if settings.is_s3() {
        percent_encode(&percent_decode(path), b"/", out);
    } else {
        percent_encode(path.as_bytes(), b"/", out);
    }
}

/// The path without `.`, `..` and empty segments. It ends in a slash where the given one does.
fn normalized(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut out = format!("/{}", kept.join("/"));
    if path.ends_with('/') && !kept.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(service: &str, path: &str) -> String {
        let mut out = Vec::new();
        write(&Settings::test(service, "us-east-1"), path, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dots_and_empty_segments_are_resolved() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/..", "/"),
            ("/../a", "/a"),
            ("/a/./b//c/", "/a/b/c/"),
            ("/a/../../b", "/b"),
        ] {
            assert_eq!(normalized(path), expected, "{path}");
        }
    }

    #[test]
    fn services_encode_the_wire_path_again() {
        assert_eq!(canonical("execute-api", "/a%20b/c"), "/a%2520b/c");
        assert_eq!(canonical("execute-api", "/a:b"), "/a%3Ab");
    }

    #[test]
    fn s3_encodes_once_and_keeps_every_segment() {
        assert_eq!(canonical("s3", "/bucket//a/./b%20c/ü!"), "/bucket//a/./b%20c/%C3%BC%21");
        assert_eq!(canonical("s3", "/b/a%2fb%7e"), "/b/a/b~");
    }
}
