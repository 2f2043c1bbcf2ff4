//! `CDN-Cache-Control`: directives for shared caches in front of an origin, apart from what it tells everybody else
//! (RFC 9213).
//!
//! The decision: a targeted field is a structured dictionary or nothing. If it cannot be parsed, if it is empty, or if a
//! directive that is known here has a value of another type, the whole field is ignored and `Cache-Control` counts
//! (§2.1). A valid one replaces `Cache-Control` and `Expires` altogether (§2.2).
//!
//! It does not take the field out of what is passed on: other caches further down may be its targets, too.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::directives::ResponseDirectives;

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives of a valid targeted field.
pub(super) fn directives(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut lines = headers.get_all(&CDN_CACHE_CONTROL).into_iter();
    let mut text = lines.next()?.as_bytes().to_vec();
    for line in lines {
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.as_bytes());
    }
    let members: Dictionary = Parser::new(&text).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut demanded = ResponseDirectives { targeted: true, ..ResponseDirectives::default() };
    for (name, value) in &members {
        let name = name.as_str();
        match (kind(name), value) {
            (Kind::Unknown, _) => {}
            (Kind::Flag | Kind::Fields, ListEntry::Item(Item { bare_item: BareItem::Boolean(set), .. })) => {
                if *set {
                    demanded.add(name.as_bytes(), None);
                }
            }
            (Kind::Fields, ListEntry::Item(Item { bare_item: BareItem::String(fields), .. })) => {
                demanded.add(name.as_bytes(), Some(fields.as_str().as_bytes()));
            }
            (Kind::Seconds, ListEntry::Item(Item { bare_item: BareItem::Integer(seconds), .. })) => {
                demanded.add(name.as_bytes(), Some(seconds.to_string().as_bytes()));
            }
            _ => return None,
        }
    }
    Some(demanded)
}

enum Kind {
    Flag,
    /// A flag, or the names of the fields that it is for.
    Fields,
    Seconds,
    Unknown,
}

fn kind(name: &str) -> Kind {
    match name {
        "no-store" | "public" | "must-revalidate" | "proxy-revalidate" | "must-understand" => Kind::Flag,
        "no-cache" | "private" => Kind::Fields,
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => Kind::Seconds,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, header::CACHE_CONTROL};

    use super::*;

    fn of(lines: &[&'static str]) -> Option<ResponseDirectives> {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=7"));
        for line in lines {
            headers.append(CDN_CACHE_CONTROL, HeaderValue::from_static(line));
        }
        directives(&headers)
    }

    #[test]
    fn a_valid_dictionary_is_read_over_all_its_lines() {
        let read = of(&["max-age=600, foobar", r#"private="a, b", must-revalidate;x=1"#]).unwrap();
        assert_eq!(read.max_age, Some(Duration::from_secs(600)));
        assert_eq!(read.private_fields, ["a", "b"]);
        assert!(read.must_revalidate && read.targeted && !read.private);
        assert_eq!(of(&["max-age=99999999999"]).unwrap().max_age, Some(Duration::from_secs(1 << 31)));
    }

    #[test]
    fn a_negative_lifetime_is_stale() {
        assert_eq!(of(&["max-age=-5"]).unwrap().max_age, Some(Duration::ZERO));
    }

    #[test]
    fn a_flag_that_is_false_is_not_set() {
        assert!(!of(&["no-store=?0, max-age=5"]).unwrap().no_store);
    }

    #[test]
    fn what_is_no_dictionary_or_of_another_type_is_ignored_as_a_whole() {
        for line in [
            "",
            "max-age=10000, &&&&&",
            r#"max-age="10000""#,
            "max-age=1.5",
            "max-age",
            "max-age =100",
            "max-age= 100",
            "MaX-aGe=3600",
            "no-store=1",
            "private=(a b)",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(of(&[]), None);
    }
}
