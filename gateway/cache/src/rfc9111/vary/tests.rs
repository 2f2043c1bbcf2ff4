//! Matching by table: the cases are those of the public suite's groups `vary` and `vary-parse`.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'static str, &'static str)];

fn headers(fields: Fields<'_>) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        })
        .collect()
}

#[track_caller]
fn check(vary: &'static str, stored: Fields<'_>, asked: Fields<'_>, expected: bool) {
    let selecting = Selecting::of(&headers(&[("vary", vary)]), &headers(stored)).unwrap();
    assert_eq!(selecting.matches(&headers(asked)), expected, "{vary}: {stored:?} for {asked:?}");
}

#[test]
fn a_request_matches_with_the_same_values_and_no_others() {
    check("Foo", &[("foo", "1")], &[("foo", "1")], true);
    check("Foo", &[("foo", "1")], &[("foo", "2")], false);
    check("Foo", &[("foo", "1")], &[], false);
    check("Foo", &[], &[("foo", "1")], false);
    check("Foo", &[], &[("foo", "")], false);
    check("Foo", &[], &[], true);
    check("Foo", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")], true);
    check("Foo, Bar, Baz", &[("foo", "1"), ("baz", "7")], &[("baz", "7"), ("foo", "1")], true);
    check("Foo, Bar, Baz", &[("foo", "1"), ("baz", "7")], &[("foo", "1"), ("baz", "7"), ("bar", "a")], false);
    check("", &[("foo", "1")], &[], true);
}

#[test]
fn lines_are_joined_and_space_around_commas_does_not_count() {
    check("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true);
    check("Foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true);
    check("Foo", &[("foo", "1,2")], &[("foo", "2,1")], false);
    check("Foo", &[("foo", "a")], &[("foo", "A")], false);
    check("Foo", &[("foo", "\"1,2\"")], &[("foo", "\"1, 2\"")], false);
}

#[test]
fn what_negotiates_is_compared_by_meaning() {
    check("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "de, en")], true);
    check("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "eN, De")], true);
    check(
        "Accept-Language",
        &[("accept-language", "en;q=0.5, de")],
        &[("accept-language", "de,en; q=0.5")],
        true,
    );
    check("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "en, en")], false);
    check(
        "Accept-Language",
        &[("accept-language", "en, en, de")],
        &[("accept-language", "en, de, de")],
        false,
    );
    check(
        "Accept-Encoding",
        &[("accept-encoding", "gzip, br")],
        &[("accept-encoding", "br"), ("accept-encoding", "gzip")],
        true,
    );
    check("Accept", &[("accept", "text/html, text/plain")], &[("accept", "text/plain, text/html")], true);
    check("Accept", &[("accept", "a/b;v=X")], &[("accept", "a/b;v=x")], false);
}

#[test]
fn what_can_never_match_is_no_selection() {
    for vary in ["*", "*, *", ", *", "*, Foo", "Foo, *", "a b"] {
        assert_eq!(Selecting::of(&headers(&[("vary", vary)]), &HeaderMap::new()), None, "{vary}");
    }
    assert_eq!(Selecting::of(&headers(&[("vary", ""), ("vary", "*")]), &HeaderMap::new()), None);
    let many: HeaderMap =
        (0..=NAMES_MAX).map(|index| (VARY, HeaderValue::try_from(format!("x-{index}")).unwrap())).collect();
    assert_eq!(Selecting::of(&many, &HeaderMap::new()), None);
}

#[test]
fn the_same_names_in_another_order_are_the_same_selection() {
    let request = headers(&[("a", "1"), ("b", "2")]);
    let of = |vary| Selecting::of(&headers(&[("vary", vary)]), &request).unwrap();
    assert_eq!(of("a, b"), of("B, A, a"));
    assert!(of("a, b").weight() > of("a").weight());
}

#[test]
fn a_list_too_long_to_be_sorted_is_still_the_same_as_itself() {
    let line = (0..2 * UNORDERED_MAX).map(|index| format!("l{index}")).collect::<Vec<_>>().join(",");
    let request: HeaderMap = [(ACCEPT_LANGUAGE, HeaderValue::try_from(line).unwrap())].into_iter().collect();
    let selecting = Selecting::of(&headers(&[("vary", "accept-language")]), &request).unwrap();
    assert!(selecting.matches(&request));
}

proptest! {
    #[test]
    fn whoever_selected_an_answer_matches_it(
        name in prop::sample::select(vec!["foo", "accept", "accept-language"]),
        lines in prop::collection::vec("[a-cA-C,; \"]{0,8}", 0..4),
    ) {
        let name = HeaderName::from_static(name);
        let request: HeaderMap =
            lines.iter().map(|line| (name.clone(), HeaderValue::try_from(line).unwrap())).collect();
        let mut response = HeaderMap::new();
        response.insert(VARY, HeaderValue::from_name(name));
        prop_assert!(Selecting::of(&response, &request).unwrap().matches(&request));
    }
}
