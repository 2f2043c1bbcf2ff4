//! What an unsafe request makes invalid (RFC 9111 §4.4).
//!
//! The decision: the URIs, not the keys. Whoever builds the keys of a cache knows which ones belong to a URI, and
//! [purges](crate::Store::purge_key) them; that also stops the fetches that were under way.
//!
//! Other variants need no care: they are under the same key.

use http::{
    HeaderMap, HeaderName, Method, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
};
use url::Url;

/// The URIs whose stored answers an exchange has made invalid: none after a safe method or an error; else the target
/// itself, and what `Location` and `Content-Location` name of the same origin. A name of another origin is ignored, since
/// one origin must not empty the cache of another.
///
/// `target` is the absolute URI that was asked for; of any other, only itself is given back.
#[must_use]
pub fn invalidated(method: &Method, status: StatusCode, target: &Uri, response: &HeaderMap) -> Vec<Uri> {
    let changed_something = status.is_success() || status.is_redirection();
    if method.is_safe() || !changed_something {
        return Vec::new();
    }
    let mut all = vec![target.clone()];
    if let Ok(base) = Url::parse(&target.to_string()) {
        all.extend([LOCATION, CONTENT_LOCATION].iter().filter_map(|name| same_origin(&base, response, name)));
    }
    all
}

fn same_origin(base: &Url, response: &HeaderMap, name: &HeaderName) -> Option<Uri> {
    let mut named = base.join(response.get(name)?.to_str().ok()?).ok()?;
    named.set_fragment(None);
    (named.origin() == base.origin()).then(|| Uri::try_from(named.as_str()).ok())?
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(
        method: &str,
        status: u16,
        location: Option<&'static str>,
        content_location: Option<&'static str>,
    ) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(LOCATION, location), (CONTENT_LOCATION, content_location)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let target = Uri::from_static("https://api.example/things/1?x=y");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        invalidated(&method, StatusCode::from_u16(status).unwrap(), &target, &headers)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const TARGET: &str = "https://api.example/things/1?x=y";

    #[test]
    fn an_unsafe_method_that_did_not_fail_makes_its_target_invalid() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            assert_eq!(of(method, 200, None, None), [TARGET], "{method}");
            assert_eq!(of(method, 303, None, None), [TARGET], "{method}");
            for failed in [400, 404, 500] {
                assert!(of(method, failed, None, None).is_empty(), "{method} {failed}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(of(method, 200, Some("/x"), None).is_empty(), "{method}");
        }
    }

    #[test]
    fn and_what_it_names_of_the_same_origin() {
        assert_eq!(
            of("POST", 201, Some("2"), Some("/all#top")),
            [TARGET, "https://api.example/things/2", "https://api.example/all"]
        );
        assert_eq!(
            of("POST", 201, Some("https://api.example:443/a"), None),
            [TARGET, "https://api.example/a"]
        );
        for foreign in [
            "https://other.example/a",
            "http://api.example/a",
            "https://api.example:8443/a",
            "//other.example/",
        ] {
            assert_eq!(of("POST", 201, Some(foreign), None), [TARGET], "{foreign}");
        }
        assert_eq!(of("POST", 201, Some("https://["), None), [TARGET]);
    }
}
