//! `${…}` in every kind of value, and which texts become secrets.

use super::{BASE, assert_one, integration, listed, load_texts};
use serde_json::{Map, json};

fn secrets(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let loaded = load_texts("", &[("x", text)], variables).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.secrets.iter().map(|secret| secret.expose().to_owned()).collect()
}

#[test]
fn a_missing_variable_is_named_with_the_key_that_wants_it() {
    let found = listed(load_texts("", &[("x", &format!("{BASE}timeout = \"${{T}}\"\n"))], &[]));
    assert_one(
        &found,
        &["2: timeout: the environment variable `T` is not set | set T, or give a default: `${T:-…}`"],
    );
}

#[test]
fn typed_texts_take_references_and_messages_do_not_show_them() {
    let text = format!("{BASE}timeout = \"${{T}}\"\n");
    let loaded = load_texts("", &[("x", &text)], &[("T", "7s")]).unwrap();
    assert_eq!(loaded.config.integrations["x"].timeouts.whole.as_secs(), 7);
    let found = listed(load_texts("", &[("x", &text)], &[("T", "hunter2")]));
    assert_one(&found, &["timeout: `${T}` is not a duration"]);
    let found = listed(load_texts("", &[("x", "base_url = \"${U}\"\n")], &[("U", "https://hunter2@x/?y")]));
    assert_one(&found, &["no query"]);
    assert!(!found[0].contains("hunter2"));
}

#[test]
fn a_value_never_changes_the_structure() {
    let text = format!("{BASE}description = \"${{D}}\"\n");
    let loaded = load_texts("", &[("x", &text)], &[("D", "x\"\nproxy = false\n[auth]")]).unwrap();
    assert!(loaded.config.integrations["x"].proxy);
}

#[test]
fn inserted_braces_are_no_placeholders() {
    let text = format!(
        "{BASE}[operations.o]\npath = \"/{{id}}\"\nheaders = {{ X-A = \"{{id}} ${{V}}\" }}\nquery = {{ q = \"${{V}}\" }}\n"
    );
    let loaded = load_texts("", &[("x", &text)], &[("V", "{other}")]).unwrap();
    let o = &loaded.config.integrations["x"].operations["o"];
    let params: Map<_, _> = json!({"id": 5}).as_object().cloned().unwrap();
    assert_eq!(o.headers[0].value.render(&params).unwrap(), "5 {other}");
    assert_eq!(o.query[0].value.as_literal(), Some("{other}"));
    assert!(o.headers[0].secret && o.query[0].secret);
}

#[test]
fn what_is_written_plainly_is_no_secret() {
    let x = integration(&format!("{BASE}headers = {{ accept = \"text/plain\" }}\n"));
    assert!(!x.headers[0].secret);
    assert!(secrets(&format!("{BASE}description = \"${{D}}\"\n"), &[("D", "harmless")]).is_empty());
}

#[test]
fn secrets_are_collected_whatever_their_origin() {
    let text = "base_url = \"https://${U}:url-password@x.example\"\n\
        headers = { X-A = \"Bearer ${H}\", X-B = \"${NONE:-fallback}\" }\n\
        [[plugins]]\nsource = \"builtin:p\"\nconfig = { region = \"${R}\", token = \"config-token\" }\n\
        credentials = { a = \"literal-credential\", b = \"abc\" }\n\
        [operations.o]\npath = \"/\"\nquery = { k = \"${Q}\" }\n";
    let found =
        secrets(text, &[("U", "url-user"), ("H", "header-secret"), ("Q", "query secret"), ("R", "region-1")]);
    let mut want = vec![
        "url-user",
        "url-password",
        "header-secret",
        "config-token",
        "literal-credential",
        "query secret",
        "query%20secret",
    ];
    want.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut sorted = found.clone();
    sorted.sort();
    want.sort();
    assert_eq!(sorted, want);
    assert!(found.windows(2).all(|pair| pair[0].len() >= pair[1].len()), "the longest is scrubbed first");
}

#[test]
fn files_are_secrets_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s");
    std::fs::write(&file, "from-a-file\n").unwrap();
    let text = format!("{BASE}description = \"${{file:{}}}\"\n", file.display());
    assert_eq!(secrets(&text, &[]), ["from-a-file"]);
}

#[test]
fn nothing_printed_shows_a_literal_secret() {
    let text = "base_url = \"https://user:hunter2@x/?q\"\n[auth]\ntype = \"bearer\"\ntoken = \"hunter2\" \nfoo = 1\n";
    let problems = load_texts("", &[("x", text)], &[]).unwrap_err();
    let shown = format!("{}{}", problems.render_human(false), problems.to_json());
    assert!(!shown.contains("hunter2"), "{shown}");
    let broken = "base_url = \"https://x\"\n[auth]\ntype = \"bearer\"\ntoken = \"hunter2\n";
    let problems = load_texts("", &[("x", broken)], &[]).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"), "{problems}");
}
