//! Fallback ladders within and across integrations.

use super::{BASE, assert_one, integration, listed, load_texts, operation_problems, problems};
use crate::config::Rung;
use crate::model::Cause;

#[test]
fn a_bare_cache_is_a_ladder_of_one() {
    let x = integration(&format!(
        "fallback = \"cache\"\ncache = {{ ttl = \"1m\" }}\n{BASE}[operations.o]\npath = \"/\"\n"
    ));
    assert!(matches!(x.fallback[..], [Rung::Cache]));
    assert!(matches!(x.operations["o"].fallback[..], [Rung::Cache]));
}

#[test]
fn rungs_are_one_thing_each() {
    let rung = |rung: &str| problems(&format!("fallback = [{rung}]\n{BASE}"));
    assert_one(&rung("{}"), &["fallback[0]: a rung has one of `operation`, `default` and `queue`"]);
    assert_one(&rung("{ operation = \"o\", default = 1 }"), &["one of `operation`, `default` and `queue`"]);
    assert_one(&rung("{ queue = true, default = 1 }"), &["one of `operation`, `default` and `queue`"]);
    assert_one(&rung("{ default = 1, params = {} }"), &["`params` does not apply to a rung with `default`"]);
    assert_one(&rung("\"cahce\""), &["did you mean `cache`?"]);
    assert_one(&rung("3"), &["fallback[0]: expected a table, found an integer"]);
    assert_one(&rung("{ default = 1, status = 700 }"), &["between 200 and 599"]);
    assert_one(&rung("{ default = 1 }, { default = 2 }"), &["fallback[1]: this rung is never reached"]);
    assert_one(&problems(&format!("fallback = {{ default = 1 }}\n{BASE}")), &["fallback = [ … ]"]);
    assert!(rung(&["\"cache\""; 9].join(", ")).iter().any(|one| one.contains("at most 8 rungs")));
}

#[test]
fn calls_are_queued_by_operations_that_may_be_repeated() {
    const RUNG: &str = "fallback = [{ queue = true }]\n";
    let queueing = |lines: &str| {
        let text = format!("{BASE}[operations.o]\npath = \"/\"\n{lines}");
        load_texts("[outbox]\n", &[("x", &text)], &[])
    };
    let keyed = format!("method = \"POST\"\nidempotency = {{}}\n{RUNG}");
    let loaded = queueing(&keyed).unwrap();
    assert!(matches!(loaded.config.integrations["x"].operations["o"].fallback[..], [Rung::Queue]));
    let refused = |lines: &str| listed(queueing(lines));
    assert_one(&refused(RUNG), &["4: operations.o.fallback: GET changes nothing that could be done later"]);
    assert_one(
        &refused(&format!("method = \"POST\"\n{RUNG}")),
        &["5: operations.o.fallback: a queued call may be sent more than once", "declare idempotency = {"],
    );
    assert_one(
        &refused(&keyed.replace("true", "false")),
        &["operations.o.fallback[0].queue: a rung that does not queue does nothing"],
    );
    let whole = format!("{RUNG}{BASE}[operations.o]\npath = \"/\"\n");
    let found = listed(load_texts("[outbox]\n", &[("x", &whole)], &[]));
    assert_one(&found, &["1: fallback[0].queue: calls are queued by operation", "below [operations.NAME]"]);
    assert_one(
        &operation_problems(&format!("path = \"/\"\n{keyed}")),
        &["6: operations.o.fallback[0].queue: there is no outbox", "`[outbox]` and `path = \"outbox.db\"`"],
    );
}

#[test]
fn a_default_is_any_json() {
    let x = integration(&format!(
        "fallback = [{{ default = {{ a = [1, true, \"x\"] }}, status = 203 }}]\n{BASE}"
    ));
    let Rung::Default { body, status } = &x.fallback[0] else { panic!() };
    assert_eq!((body, status.as_u16()), (&serde_json::json!({"a": [1, true, "x"]}), 203));
}

#[test]
fn rungs_must_name_operations_that_exist() {
    let ladder = |target: &str| {
        operation_problems(&format!("path = \"/\"\nfallback = [{{ operation = \"{target}\" }}]\n"))
    };
    assert_one(
        &ladder("y.o"),
        &["4: operations.o.fallback[0].operation: there is no integration `y`", "did you mean `x`?"],
    );
    assert_one(&ladder("x.oo"), &["`x` has no operation `oo` | did you mean `o`?"]);
    assert_one(&ladder("x.proxy"), &["cannot be called `proxy`"]);
    assert_one(&ladder("a.b.c"), &["is not a name"]);
}

#[test]
fn ladders_never_lead_back() {
    assert_one(
        &operation_problems("path = \"/\"\nfallback = [{ operation = \"o\" }]\n"),
        &["4: operations.o.fallback[0].operation: this ladder leads back to `x.o` | a ladder must end"],
    );
    let one = |target: &str| {
        format!("{BASE}[operations.o]\npath = \"/\"\nfallback = [{{ operation = \"{target}\" }}]\n")
    };
    let found = listed(load_texts("", &[("a", &one("b.o")), ("b", &one("a.o"))], &[]));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|one| one.contains("leads back to")));
}

#[test]
fn an_inherited_ladder_may_name_an_operation_that_has_one_of_its_own() {
    let text = |own: &str| {
        format!(
            "fallback = [{{ operation = \"backup\" }}]\n{BASE}[operations.get]\npath = \"/\"\n[operations.backup]\npath = \"/b\"\n{own}"
        )
    };
    assert_one(
        &problems(&text("")),
        &[
            "1: fallback[0].operation: this ladder leads back to `x.backup`",
            "give it a `fallback` of its own",
        ],
    );
    assert!(problems(&text("fallback = []\n")).is_empty());
}

#[test]
fn ladders_lead_at_most_three_operations_deep() {
    let chain = |last: usize| {
        let operations: String = (0..=last)
            .map(|n| {
                let ladder = if n < last {
                    format!("fallback = [{{ operation = \"o{}\" }}]\n", n + 1)
                } else {
                    String::new()
                };
                format!("[operations.o{n}]\npath = \"/\"\n{ladder}")
            })
            .collect();
        problems(&format!("{BASE}{operations}"))
    };
    assert!(chain(3).is_empty());
    assert_one(
        &chain(4),
        &["4: operations.o0.fallback[0].operation: this ladder leads more than 3 operations deep"],
    );
}

#[test]
fn parameters_of_a_rung_are_checked_on_both_sides() {
    let ladder = |params: &str| {
        problems(&format!(
            "{BASE}[operations.a]\npath = \"/{{id}}\"\nfallback = [{{ operation = \"b\", params = {{ {params} }} }}]\n[operations.b]\npath = \"/{{key}}\"\n"
        ))
    };
    assert!(ladder("key = \"{id}\"").is_empty());
    assert_one(&ladder("kye = \"{id}\""), &["`x.b` has no parameter `kye` | did you mean `key`?"]);
    assert_one(&ladder("key = \"{idd}\""), &["`idd` is not a declared parameter"]);
    assert_one(&ladder("key = \"{id\""), &["operations.a.fallback[0].params: a `{` is not closed"]);
}

#[test]
fn causes_are_named_and_inherited() {
    let x = integration(&format!(
        "fallback_on = [\"timeout\"]\n{BASE}[operations.o]\npath = \"/\"\n[operations.p]\npath = \"/\"\nfallback_on = [\"connect\"]\n"
    ));
    assert!(x.operations["o"].fallback_on.contains(Cause::Timeout));
    assert!(!x.operations["o"].fallback_on.contains(Cause::Connect));
    assert!(x.operations["p"].fallback_on.contains(Cause::Connect));
    assert_one(
        &problems(&format!("fallback_on = [\"timeouts\"]\n{BASE}")),
        &["fallback_on[0]", "did you mean `timeout`?"],
    );
    let words: Vec<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_one(
        &problems(&format!("fallback_on = []\n{BASE}")),
        &["fallback_on: nothing would start the ladder | leave it out for all causes; fallback = [] is"],
    );
    let all = format!("fallback_on = {words:?}\n{BASE}");
    assert!(problems(&all).is_empty(), "every cause can be named");
}

#[test]
fn a_cache_rung_without_a_cache_is_a_warning() {
    assert_one(&operation_problems("path = \"/\"\nfallback = [\"cache\"]\n"), &["nothing is cached here"]);
    assert_one(&problems(&format!("fallback = \"cache\"\n{BASE}")), &["nothing is cached here"]);
}
