//! The reader against texts as the host writes them, and against broken ones.

use super::*;

#[test]
fn members_are_found_past_nested_values_and_tricky_strings() {
    let text = r#" {"a":{"x":"}"},"b":"say \"hi\", {ok}" , "c":[1,[2,3],"]"], "d":-1.5e3,"é":"ü","":0} "#;
    assert_eq!(member(text, "a"), Some(r#"{"x":"}"}"#));
    assert_eq!(member(text, "b").and_then(string).as_deref(), Some(r#"say "hi", {ok}"#));
    assert_eq!(member(text, "c"), Some(r#"[1,[2,3],"]"]"#));
    assert_eq!(member(text, "d").and_then(f64::from_json), Some(-1500.0));
    assert_eq!(member(text, "é").and_then(string).as_deref(), Some("ü"));
    assert_eq!(member(text, ""), Some("0"));
    assert_eq!(member(text, "x"), None);
}

#[test]
fn the_last_of_two_members_wins_and_escaped_names_match() {
    assert_eq!(member(r#"{"a":1,"a":2}"#, "a"), Some("2"));
    assert_eq!(member(r#"{"\u0061":1}"#, "a"), Some("1"));
}

#[test]
fn broken_text_yields_nothing() {
    for text in ["", "{", "[]", "{\"a\"", "{\"a\":}", "{\"a\":[1}", "null", "{\"a\":\"x}"] {
        assert_eq!(member(text, "a"), None, "{text}");
    }
    for text in ["", "\"", "a", "\"\\\"", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"a\"b\""] {
        assert_eq!(string(text), None, "{text}");
    }
}

#[test]
fn strings_survive_quoting() {
    for text in ["", "plain", "quote \" back \\ slash /", "line\nfeed\r\t", "\u{1}\u{1f}", "ü€😀"] {
        assert_eq!(string(&quote(text)).as_deref(), Some(text));
    }
    assert_eq!(string(r#""\ud83d\ude00\u00fc\b\f\/""#).as_deref(), Some("😀ü\u{8}\u{c}/"));
}

#[test]
fn scalars_are_strict() {
    assert_eq!(bool::from_json("true"), Some(true));
    assert_eq!(bool::from_json("\"true\""), None);
    assert_eq!(u64::from_json("-1"), None);
    assert_eq!(i64::from_json("-1"), Some(-1));
    assert_eq!(f64::from_json("NaN"), None);
    assert_eq!(f64::from_json("2"), Some(2.0));
}

#[test]
fn durations_are_those_of_the_configuration() {
    for (text, ms) in
        [("250ms", 250), ("30s", 30_000), ("15m", 900_000), ("2h", 7_200_000), ("7d", 604_800_000)]
    {
        assert_eq!(Duration::from_json(&quote(text)), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in
        ["\"\"", "\"s\"", "\"15\"", "\"1.5s\"", "\"-1s\"", "15", "\"15 m\"", "\"99999999999999999999d\""]
    {
        assert_eq!(Duration::from_json(text), None, "{text}");
    }
}
