//! No text makes the loader panic, and whatever it says has a place in the file.

use super::{
    examples::{FILES, GATEWAY, VARIABLES},
    load_texts,
};
use proptest::prelude::*;

fn check(gateway: &str, integration: &str) {
    let result = load_texts(gateway, &[("x", integration)], &VARIABLES);
    let problems = result.map_or_else(|problems| problems, |loaded| loaded.warnings);
    for one in &problems {
        if let Some(span) = &one.span {
            assert!(span.start <= span.end, "{one:?}");
        }
        assert!(!one.message.is_empty());
    }
    let _ = problems.render_human(true);
    let _ = problems.to_json();
}

/// A real file with a piece replaced: reaches much deeper than noise does.
fn spoilt() -> impl Strategy<Value = String> {
    let pieces = "[a-z_=\"'\\[\\]{}0-9.,#$\n ä-]{0,12}";
    (0..FILES.len(), any::<prop::sample::Index>(), 0usize..24, pieces).prop_map(
        |(file, at, length, piece)| {
            let chars: Vec<char> = FILES[file].1.chars().collect();
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            chars[..start].iter().copied().chain(piece.chars()).chain(chars[end..].iter().copied()).collect()
        },
    )
}

/// Known keys with values of any type.
fn mistyped() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "base_url",
        "timeout",
        "headers",
        "fallback",
        "fallback_on",
        "auth",
        "retry",
        "circuit_breaker",
        "rate_limit",
        "cache",
        "concurrency",
        "endpoints",
        "plugins",
        "operations.o",
        "operations.o.params",
        "operations.o.query",
        "operations.o.cache",
        "operations.o.path",
        "errors",
        "idempotency",
        "forward_headers",
        "operations",
        "type",
    ]);
    let values = prop::sample::select(vec![
        "1",
        "-1",
        "1.5",
        "nan",
        "true",
        "\"\"",
        "\"x\"",
        "\"5s\"",
        "\"${A\"",
        "[]",
        "{}",
        "[1]",
        "[{}]",
        "[\"a\"]",
        "{ a = 1 }",
        "{ a = {} }",
        "1979-05-27",
        "99999999999999999999",
        "0xffffffffffffffffff",
        "{ type = \"basic\" }",
        "{ ttl = 1 }",
        "{ source = 1 }",
        "[{ operation = \"x.o\" }]",
        "\"/{a...}\"",
        "{ \"404\" = {} }",
    ]);
    prop::collection::vec((keys, values), 0..6)
        .prop_map(|lines| lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn noise_never_panics(text in "[\\PC\n]{0,200}") {
        check(&text, &text);
    }

    #[test]
    fn spoilt_files_never_panic(text in spoilt()) {
        check(GATEWAY, &text);
        check(&text, &text);
    }

    #[test]
    fn mistyped_values_never_panic(text in mistyped()) {
        check(&text, &text);
    }
}
