//! Where problems are reported, and how they look.

use super::{BASE, assert_one, listed, load_texts, problems};
use crate::config::{Diagnostic, Severity};
use std::path::Path;

#[test]
fn every_problem_is_reported_at_once_in_file_order() {
    let found = listed(load_texts(
        "[server]\nlisten = 1\n",
        &[
            ("b", "base_url = 1\ntimeout = \"x\"\nproxi = true\n[operations.o]\nmethod = \"GET\"\n"),
            ("a", "base_url = \"https://a\"\n[auth]\ntype = \"nope\"\n"),
        ],
        &[],
    ));
    let starts: Vec<String> =
        found.iter().map(|one| one.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        starts,
        ["2 server.listen", "3 auth.type", "1 base_url", "2 timeout", "3 proxi", "4 operations.o.path"]
    );
}

#[test]
fn a_top_level_key_below_a_table_is_told_where_to_go() {
    assert_one(
        &problems("# c\n\n[auth]\ntype = \"none\"\nbase_url = \"https://x\"\n"),
        &[
            "5: auth.base_url: unknown key `base_url` | move it above line 3: top-level keys stand before the first [table]",
        ],
    );
    assert_one(
        &problems(&format!("{BASE}[operations.o]\npath = \"/\"\nproxy = false\n[retry]\n")),
        &["4: operations.o.proxy", "move it above line 2"],
    );
    assert_one(
        &problems(&format!("{BASE}[operations.o]\npath = \"/\"\n[operations.o.auth]\ntype = \"none\"\n")),
        &["`auth` belongs at the top level: write it as [auth]"],
    );
}

#[test]
fn a_problem_looks_like_this() {
    let problems = load_texts("", &[("x", &format!("{BASE}timeout = \"5 s\"\n"))], &[]).unwrap_err();
    let want = "error: timeout: `5 s` is not a duration\n \
                --> integrations/x.toml:2:11\n  \
                |\n2 | timeout = \"5 s\"\n  \
                |           ^^^^^\n  \
                |\n  \
                = help: write a number and a unit: \"250ms\", \"30s\", \"15m\", \"2h\" or \"7d\"\n\n\
                1 problem\n";
    assert_eq!(problems.render_human(false), want);
    let json = problems.to_json();
    assert_eq!(json["problems"][0]["line"], 2);
    assert_eq!(json["problems"][0]["column"], 11);
    assert_eq!(json["problems"][0]["file"], "integrations/x.toml");
    assert_eq!(json["problems"][0]["key"], "timeout");
}

#[test]
fn all_syntax_errors_are_reported_and_the_rest_is_still_read() {
    let found = problems(
        "base_url = \"https://x\"\ntimeout = = 1\nproxi = true\nread_timeout = \"0s\"\nx = [1,,2]\n",
    );
    assert!(found.iter().any(|one| one.starts_with("2: : not TOML: ")), "{found:#?}");
    assert!(found.iter().any(|one| one.starts_with("5: : not TOML: ")), "{found:#?}");
    assert!(found.iter().any(|one| one.starts_with("3: proxi: unknown key")), "{found:#?}");
    assert!(found.iter().any(|one| one.starts_with("4: read_timeout: must not be zero")), "{found:#?}");
    assert!(
        !found.iter().any(|one| one.contains("missing")),
        "what seems missing may be unreadable: {found:#?}"
    );
}

#[test]
fn a_key_given_twice_is_a_problem() {
    assert!(problems(&format!("{BASE}timeout = \"1s\"\ntimeout = \"2s\"\n"))[0].contains("duplicate key"));
}

#[test]
fn places_of_keys_are_known() {
    let loaded = load_texts(
        "",
        &[(
            "x",
            &format!(
                "{BASE}[retry]\nmax_attempts = 2\n[operations.o]\npath = \"/\"\ncache = {{ ttl = \"1s\" }}\n"
            ),
        )],
        &[],
    )
    .unwrap();
    let find = |key: &str| loaded.places.find(&loaded.warnings, Path::new("integrations/x.toml"), key);
    assert_eq!(find("retry.max_attempts"), Some((3, 1)));
    assert_eq!(find("operations.o.cache"), Some((6, 1)));
    assert_eq!(find("operations.o.cache.ttl"), Some((6, 11)));
    assert_eq!(find("operations.o.retry"), None);
}

#[test]
fn warnings_do_not_stop_a_configuration() {
    let loaded = load_texts("", &[("x", &format!("proxy = false\n{BASE}"))], &[]).unwrap();
    let warning: Vec<&Diagnostic> = loaded.warnings.iter().collect();
    assert_eq!(warning.len(), 1);
    assert_eq!(warning[0].severity, Severity::Warning);
    assert!(loaded.warnings.render_human(false).starts_with("warning: proxy: nothing can be called"));
}
