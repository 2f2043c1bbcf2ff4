//! The names by which stored answers can be dropped together.
//!
//! A provider tags its answers with `Cache-Tag` (names between commas) or `Surrogate-Key` (between spaces), as CDNs have
//! it. An answer with more names than an entry can have is not stored, since it could not be dropped by all of them.

use bascule_cache::{Tags, TooManyTags};
use http::{HeaderMap, HeaderName};

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The tags of an answer with these headers; `address` is one more.
///
/// # Errors
/// More tags than an entry can have.
pub(super) fn tags(
    integration: &str,
    headers: &HeaderMap,
    address: Option<&str>,
) -> Result<Tags, TooManyTags> {
    let named = |name: &HeaderName, between: fn(char) -> bool| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(move |line| line.split(between)).map(str::trim).filter(|tag| !tag.is_empty()).collect()
    };
    let mut names: Vec<&str> = named(&CACHE_TAG, |letter| letter == ',');
    names.extend(named(&SURROGATE_KEY, char::is_whitespace));
    Tags::new(integration, names.into_iter().chain(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(name: HeaderName, value: &str) -> Result<Tags, TooManyTags> {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        tags("shop", &headers, None)
    }

    #[test]
    fn both_headers_name_tags() {
        let expected = Tags::new("shop", ["a b", "c"]).unwrap();
        assert_eq!(of(CACHE_TAG, "a b, c,,").unwrap(), expected);
        assert_eq!(of(SURROGATE_KEY, " x  y ").unwrap(), Tags::new("shop", ["x", "y"]).unwrap());
        assert_eq!(tags("shop", &HeaderMap::new(), Some("u")).unwrap(), Tags::new("shop", ["u"]).unwrap());
    }

    #[test]
    fn too_many_are_refused_as_a_whole() {
        let many: Vec<String> = (0..64).map(|number| format!("tag-{number}")).collect();
        assert!(of(CACHE_TAG, &many.join(",")).is_err());
    }
}
