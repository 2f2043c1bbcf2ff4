//! Conditions and ranges of callers, by table.

use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'static str, &'static str)];

const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

fn headers(fields: Fields<'_>) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn to(request: Fields<'_>, stored: Fields<'_>) -> Answer {
    Answer::to(&Method::GET, &headers(request), StatusCode::OK, &headers(stored), 11)
}

#[test]
fn a_caller_s_conditions_are_answered() {
    let tagged = [("etag", "\"1\""), ("last-modified", THEN)];
    for (request, stored, expected) in [
        (&[("if-none-match", "\"1\"")][..], &tagged[..], Answer::NotModified),
        (&[("if-none-match", "W/\"1\"")], &tagged, Answer::NotModified),
        (&[("if-none-match", "\"2\"")], &tagged, Answer::Whole),
        // The tag decides alone.
        (&[("if-none-match", "\"1\""), ("if-modified-since", EARLIER)], &tagged, Answer::NotModified),
        (&[("if-none-match", "\"2\""), ("if-modified-since", LATER)], &tagged, Answer::Whole),
        (&[("if-modified-since", THEN)], &tagged, Answer::NotModified),
        (&[("if-modified-since", LATER)], &tagged, Answer::NotModified),
        (&[("if-modified-since", EARLIER)], &tagged, Answer::Whole),
        (&[("if-modified-since", "foo")], &tagged, Answer::Whole),
        (&[("if-modified-since", LATER)], &[("date", THEN)], Answer::NotModified),
        (&[("if-modified-since", EARLIER)], &[("date", THEN)], Answer::Whole),
        (&[("if-modified-since", LATER)], &[], Answer::Whole),
        // A condition goes before a range.
        (&[("if-none-match", "\"1\""), ("range", "bytes=0-1")], &tagged, Answer::NotModified),
    ] {
        assert_eq!(to(request, stored), expected, "{request:?} of {stored:?}");
    }
    for status in [404, 301, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let request = headers(&[("if-none-match", "\"1\""), ("range", "bytes=0-1")]);
        assert_eq!(Answer::to(&Method::GET, &request, status, &headers(&tagged), 11), Answer::Whole);
    }
}

#[test]
fn one_range_is_cut_out_and_all_else_is_answered_whole() {
    for (range, expected) in [
        ("bytes=0-1", Answer::Part(0..2)),
        ("bytes=1-", Answer::Part(1..11)),
        ("bytes=-1", Answer::Part(10..11)),
        ("bytes=-99", Answer::Part(0..11)),
        ("bytes=5-99999999999999999999999", Answer::Part(5..11)),
        ("Bytes = 3-3", Answer::Part(3..4)),
        ("bytes=11-", Answer::NotSatisfiable),
        ("bytes=99999999999999999999999-", Answer::NotSatisfiable),
        ("bytes=-0", Answer::NotSatisfiable),
        ("bytes=3-2", Answer::Whole),
        ("bytes=-", Answer::Whole),
        ("bytes=a-b", Answer::Whole),
        ("bytes=+1-2", Answer::Whole),
        ("bytes=0-1,3-4", Answer::Whole),
        ("lines=0-1", Answer::Whole),
        ("bytes", Answer::Whole),
    ] {
        assert_eq!(to(&[("range", range)], &[]), expected, "{range}");
    }
    let range = headers(&[("range", "bytes=0-1")]);
    let (empty, none) = (HeaderMap::new(), 0);
    assert_eq!(Answer::to(&Method::HEAD, &range, StatusCode::OK, &empty, 11), Answer::Whole);
    assert_eq!(Answer::to(&Method::GET, &range, StatusCode::OK, &empty, none), Answer::Whole);
}

#[test]
fn a_range_applies_only_to_the_representation_that_it_names() {
    let stored = [("etag", "\"1\""), ("last-modified", EARLIER), ("date", THEN)];
    for (condition, stored, expected) in [
        ("\"1\"", &stored[..], Answer::Part(0..2)),
        ("W/\"1\"", &stored, Answer::Whole),
        ("\"2\"", &stored, Answer::Whole),
        (EARLIER, &stored, Answer::Part(0..2)),
        (THEN, &stored, Answer::Whole),
        ("W/\"1\"", &[("etag", "W/\"1\"")], Answer::Whole),
        // Within a second of the answer, there may have been two of that date.
        (THEN, &[("last-modified", THEN), ("date", THEN)], Answer::Whole),
        ("\"1\"", &[], Answer::Whole),
    ] {
        assert_eq!(to(&[("range", "bytes=0-1"), ("if-range", condition)], stored), expected, "{condition}");
    }
}

#[test]
fn head_and_body_of_each_answer_agree() {
    let stored = headers(&[
        ("content-length", "11"),
        ("content-type", "text/plain"),
        ("etag", "\"1\""),
        ("vary", "a"),
    ]);
    let body = Bytes::from_static(b"01234567890");
    let names = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers(&stored, body.len()).keys().map(ToString::to_string).collect();
        names.sort();
        names.join(" ")
    };
    let part = Answer::Part(1..3);
    assert_eq!(part.status(StatusCode::OK), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body(&body), "12");
    let fields = part.headers(&stored, body.len());
    assert_eq!(
        (&fields["content-range"], &fields["content-length"]),
        (&HeaderValue::from_static("bytes 1-2/11"), &HeaderValue::from_static("2"))
    );

    assert_eq!(names(&Answer::NotModified), "etag vary");
    assert!(Answer::NotModified.body(&body).is_empty());
    assert_eq!(Answer::NotModified.status(StatusCode::OK), StatusCode::NOT_MODIFIED);

    assert_eq!(names(&Answer::NotSatisfiable), "content-length content-range etag vary");
    assert_eq!(Answer::NotSatisfiable.headers(&stored, 11)["content-range"], "bytes */11");

    assert_eq!((Answer::Whole.headers(&stored, 11), Answer::Whole.body(&body)), (stored, body));
    assert_eq!(Answer::Whole.status(StatusCode::NO_CONTENT), StatusCode::NO_CONTENT);
}

proptest! {
    #[test]
    fn a_part_lies_within_the_body(range in "(bytes=)?[0-9]{0,3}-?[0-9]{0,3}(,1-2)?", length in 0_usize..400) {
        let request: HeaderMap = [(RANGE, HeaderValue::try_from(range).unwrap())].into_iter().collect();
        if let Answer::Part(part) = Answer::to(&Method::GET, &request, StatusCode::OK, &HeaderMap::new(), length) {
            prop_assert!(part.start < part.end && part.end <= length);
        }
    }
}
