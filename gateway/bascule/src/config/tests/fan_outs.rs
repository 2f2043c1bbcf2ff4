//! Fan-outs: what may stand beside `fan_out`, and what they suppose of their branches.

use super::{BASE, assert_one, listed, load_texts, problems};
use crate::config::{CachePolicy, Integration};
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// Operations to fan out to: `get` needs a city, `all` takes nothing, `set` changes something.
const TARGETS: &str = "[operations.get]\npath = \"/{city}\"\nparams.units = {}\nquery = { u = \"{units}\" }\n\
                       [operations.all]\npath = \"/all\"\n[operations.set]\nmethod = \"POST\"\npath = \"/set\"\n\
                       [operations.put]\nmethod = \"PUT\"\npath = \"/put\"\nbody = \"raw\"\n";

fn text(lines: &str) -> String {
    format!("{BASE}[operations.o]\n{lines}\n{TARGETS}")
}

fn found(lines: &str) -> Vec<String> {
    problems(&text(lines))
}

fn loaded(lines: &str) -> Arc<Integration> {
    let loaded = load_texts("", &[("x", &text(lines))], &[]).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    Arc::clone(&loaded.config.integrations["x"])
}

#[test]
fn branches_are_read_in_their_order() {
    let x = loaded(
        "params.city = { required = true }\ntimeout = \"3s\"\ncache = \"1m\"\ndescription = \"both\"\n\
         fan_out = [\"get\", { operation = \"x.get\", params = { city = \"{city}, DE\", units = 1 } }]",
    );
    let o = &x.operations["o"];
    let branches = o.fan_out.as_ref().unwrap();
    assert_eq!(branches.len(), 2);
    assert_eq!((branches[0].integration.as_str(), branches[0].operation.as_str()), ("x", "get"));
    assert!(branches[0].params.is_none());
    let params = branches[1].params.clone().map(serde_json::Value::Object);
    assert_eq!(params, Some(json!({"city": "{city}, DE", "units": 1})));
    assert_eq!(
        (o.timeouts.whole.as_secs(), o.cache.and_then(CachePolicy::rule).unwrap().ttl.as_secs()),
        (3, 60)
    );
    assert_eq!((&o.method, o.description.as_str()), (&Method::GET, "both"));
}

#[test]
fn what_concerns_a_provider_is_the_branches_own() {
    for line in [
        "method = \"GET\"",
        "path = \"/\"",
        "query = {}",
        "headers = {}",
        "body = \"none\"",
        "attempt_timeout = \"1s\"",
        "connect_timeout = \"1s\"",
        "read_timeout = \"1s\"",
        "retry = {}",
        "retry_safe = true",
        "circuit_breaker = {}",
        "rate_limit = {}",
        "idempotency = {}",
        "errors.\"404\" = { code = \"gone\" }",
        "forward_headers = []",
    ] {
        let key = line.split([' ', '.']).next().unwrap();
        assert_one(
            &found(&format!("fan_out = [\"all\"]\n{line}")),
            &[
                &format!(
                    "4: operations.o.{key}: `{key}` does not apply to a fan-out: its branches have their own"
                ),
                "remove it",
            ],
        );
    }
    assert_one(&found("fan_out = [\"all\"]\nbatching = {}"), &["`batching` is not in this version"]);
    assert_one(&found("fan_out = [\"all\"]\npth = 1"), &["unknown key `pth` | did you mean `path`?"]);
    let purging = "fan_out = [\"all\"]\ncache = { purges = [\"get\"] }";
    assert_one(&found(purging), &["operations.o.cache: `purges` and `negative_ttl` do not apply"]);
    let negative = "fan_out = [\"all\"]\ncache = { ttl = \"1m\", negative_ttl = \"1s\" }";
    assert_one(&found(negative), &["`purges` and `negative_ttl` do not apply"]);
    let by_http = "fan_out = [\"all\"]\ncache = \"http\"";
    assert_one(&found(by_http), &["operations.o.cache: the answers of a fan-out say nothing about caching"]);
}

#[test]
fn there_are_one_to_sixteen_branches() {
    assert_one(&found("fan_out = []"), &["3: operations.o.fan_out: a fan-out has 1 to 16 branches"]);
    let many = format!("fan_out = [{}]", ["\"all\""; 17].join(", "));
    assert_one(&found(&many), &["a fan-out has 1 to 16 branches"]);
    assert_one(&found("fan_out = \"all\""), &["expected a list", "put it in brackets"]);
    assert_one(&found("fan_out = [3]"), &["operations.o.fan_out[0]: expected a string, found an integer"]);
    assert_one(&found("fan_out = [{ params = {} }]"), &["fan_out[0].operation: `operation` is missing"]);
    assert_one(&found("fan_out = [{ operation = \"all\", status = 1 }]"), &["unknown key `status`"]);
}

#[test]
fn branches_must_name_operations_that_exist() {
    assert_one(
        &found("fan_out = [\"al\"]"),
        &["3: operations.o.fan_out[0]: `x` has no operation `al` | did you mean `all`?"],
    );
    assert_one(&found("fan_out = [\"y.all\"]"), &["there is no integration `y`"]);
    assert_one(&found("fan_out = [\"x.proxy\"]"), &["cannot be called `proxy`"]);
    assert_one(&found("fan_out = [\"a.b.c\"]"), &["is not a name"]);
    assert_one(&found("fan_out = [\"put\"]"), &["`x.put` takes a raw body, which a fan-out does not have"]);
}

#[test]
fn a_branch_gets_what_it_declares_and_all_that_it_requires() {
    assert_one(
        &found("params.city = { required = true }\nfan_out = [\"all\"]"),
        &[
            "4: operations.o.fan_out[0]: `x.all` has no parameter `city`",
            "gets all of the fan-out's: write { operation = \"x.all\", params = { … } }",
        ],
    );
    assert_one(
        &found("fan_out = [{ operation = \"get\", params = { city = \"Bonn\", unit = \"k\" } }]"),
        &["`x.get` has no parameter `unit` | did you mean `units`?"],
    );
    assert_one(
        &found("fan_out = [{ operation = \"all\", params = { a = 1 } }]"),
        &["`x.all` has no parameter `a` | it takes none"],
    );
    assert_one(
        &found("fan_out = [\"get\"]"),
        &["`x.get` requires the parameter `city` | declare it: params.city = { required = true }"],
    );
    assert_one(
        &found("fan_out = [{ operation = \"get\", params = {} }]"),
        &["`x.get` requires the parameter `city` | add it to the branch's `params`"],
    );
    let may_be_absent =
        "`x.get` requires `city`, which may be absent here | make what it is made of `required`";
    assert_one(&found("params.city = {}\nfan_out = [\"get\"]"), &[may_be_absent]);
    assert_one(
        &found("params.town = {}\nfan_out = [{ operation = \"get\", params = { city = \"{town}\" } }]"),
        &[may_be_absent],
    );
    loaded("params.city = { default = \"Bonn\" }\nfan_out = [\"get\"]");
    loaded(
        "params.town = { required = true }\nfan_out = [{ operation = \"get\", params = { city = \"{town}\" } }]",
    );
    assert_one(
        &found("fan_out = [{ operation = \"get\", params = { city = \"{town}\" } }]"),
        &["operations.o.fan_out: `town` is not a declared parameter"],
    );
    assert_one(
        &found("params.town = {}\nfan_out = [{ operation = \"all\", params = {} }]"),
        &["operations.o.params: the parameter `town` is used nowhere | give it to a branch"],
    );
}

#[test]
fn fan_outs_never_lead_back() {
    let help = "a fan-out must end: remove the branch";
    assert_one(
        &found("fan_out = [\"o\"]"),
        &["3: operations.o.fan_out[0]: this fan-out leads back to `x.o`", help],
    );
    let both = found("fan_out = [\"all\", \"two\"]\n[operations.two]\nfan_out = [\"o\"]");
    assert_eq!(both.len(), 2, "{both:#?}");
    // Through a rung: whichever way it is gone.
    let mixed =
        found("fan_out = [\"two\"]\n[operations.two]\npath = \"/\"\nfallback = [{ operation = \"o\" }]");
    assert!(mixed.iter().any(|one| one.contains("this fan-out leads back to `x.o`")), "{mixed:#?}");
    assert!(mixed.iter().any(|one| one.contains("this ladder leads back to `x.two`")), "{mixed:#?}");
    let elsewhere = format!("{BASE}[operations.p]\nfan_out = [\"x.o\"]\n");
    let across = listed(load_texts("", &[("x", &text("fan_out = [\"y.p\"]")), ("y", &elsewhere)], &[]));
    assert_eq!(across.len(), 2, "{across:#?}");
}

#[test]
fn fan_outs_nest_as_deep_as_ladders() {
    let nested = |last: usize| {
        let chain: String =
            (0..last).map(|n| format!("[operations.n{n}]\nfan_out = [\"n{}\"]\n", n + 1)).collect();
        problems(&format!("{BASE}{chain}[operations.n{last}]\npath = \"/\"\n"))
    };
    assert!(nested(3).is_empty());
    assert_one(&nested(4), &["operations.n0.fan_out[0]: this fan-out leads more than 3 operations deep"]);
}

#[test]
fn a_branch_that_changes_something_makes_the_fan_out_a_post_that_is_not_cached() {
    assert_eq!(loaded("fan_out = [\"all\", \"set\"]").operations["o"].method, Method::POST);
    let nested = loaded("fan_out = [\"two\"]\n[operations.two]\nfan_out = [\"set\"]");
    assert_eq!(nested.operations["o"].method, Method::POST);
    assert_one(
        &found("fan_out = [\"set\"]\ncache = \"1m\""),
        &["4: operations.o.cache: a branch of this fan-out changes something, so its answers are not cached"],
    );
}

#[test]
fn only_its_own_cache_keeps_a_fan_outs_answers_and_its_ladder_is_inherited() {
    let text = format!(
        "fallback = [{{ default = 1 }}]\ncache = {{ ttl = \"1h\" }}\n{}",
        text("fan_out = [\"all\"]")
    );
    let loaded = load_texts("", &[("x", &text)], &[]).unwrap();
    let o = &loaded.config.integrations["x"].operations["o"];
    assert!(o.cache.is_none());
    assert_eq!(o.fallback.len(), 1);
    assert_one(
        &found("fan_out = [\"all\"]\nfallback = [\"cache\"]"),
        &["operations.o.fallback: the rung \"cache\" never answers"],
    );
}

#[test]
fn plugins_do_not_name_a_fan_out() {
    let plugin = format!(
        "{BASE}[[plugins]]\nsource = \"builtin:p\"\noperations = [\"o\"]\n[operations.o]\nfan_out = [\"p\"]\n[operations.p]\npath = \"/\"\n"
    );
    assert_one(&problems(&plugin), &["plugins: `o` is a fan-out, and plugins do not run for those"]);
}

#[test]
fn what_asks_no_provider_needs_no_base_url_and_is_not_proxied() {
    let other = format!("{BASE}{TARGETS}");
    let load = |text: &str| load_texts("", &[("x", text), ("y", &other)], &[]);
    let fan_out = "[operations.o]\nfan_out = [\"y.all\"]\n[operations.p]\nfan_out = [\"o\"]\n";
    let loaded = load(fan_out).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let x = &loaded.config.integrations["x"];
    assert!(x.base_url.is_none() && !x.proxy);
    // With one it is proxied like any other.
    assert!(load(&format!("{BASE}{fan_out}")).unwrap().config.integrations["x"].proxy);
    let missing = "base_url: `base_url` is missing | write base_url = \"https://…\"";
    assert_one(&listed(load(&format!("{fan_out}[operations.get]\npath = \"/\"\n"))), &[missing]);
    assert_one(&listed(load(&format!("proxy = true\n{fan_out}"))), &[missing, "or remove `proxy`"]);
    assert_one(&listed(load("description = \"nothing at all\"\n")), &[missing]);
}
