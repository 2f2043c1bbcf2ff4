//! Shared breakers: declared in `bascule.toml`, named in integrations and operations.

use super::{BASE, assert_one, gateway_problems, integration, listed, load_texts, problems};
use bascule_resilience::{BreakerConfig, Trip};
use std::time::Duration;

const PAY: &str = "[breakers.pay]\nfailures = 2\nreset_after = \"7s\"\n[breakers.mail]\npreset = \"redis\"\n";

fn failures(config: &BreakerConfig) -> u32 {
    let Trip::Count { failures, .. } = config.trip else { panic!("{:?}", config.trip) };
    failures.get()
}

#[test]
fn integrations_and_operations_name_a_breaker_and_get_its_settings() {
    let text = format!(
        "circuit_breaker = \"pay\"\n{BASE}[operations.o]\npath = \"/\"\n[operations.p]\npath = \"/\"\n\
         circuit_breaker = \"mail\"\n[operations.q]\npath = \"/\"\ncircuit_breaker = {{ failures = 9 }}\n"
    );
    let loaded = load_texts(PAY, &[("x", &text)], &[]).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let declared = &loaded.config.breakers;
    assert_eq!(declared.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["mail", "pay"]);
    let x = &loaded.config.integrations["x"];
    assert_eq!(x.shared_breaker.as_ref().map(|name| name.as_str()), Some("pay"));
    assert_eq!((&x.breaker, failures(&x.breaker)), (&declared["pay"], 2));
    let shared = |name: &str| x.operations[name].shared_breaker.as_ref().map(|name| name.as_str());
    assert_eq!((shared("o"), shared("p"), shared("q")), (None, Some("mail"), None));
    assert!(x.operations["o"].breaker.is_none());
    assert_eq!(x.operations["p"].breaker.as_ref(), Some(&declared["mail"]));
    let own = x.operations["q"].breaker.as_ref().unwrap();
    assert_eq!((failures(own), own.reset_after), (9, Duration::from_secs(7)), "the rest is the shared one's");
}

#[test]
fn an_unknown_name_lists_the_declared_ones() {
    let found = |gateway: &str, name: &str| {
        let text = format!("{BASE}circuit_breaker = \"{name}\"\n");
        let mut found = listed(load_texts(gateway, &[("x", &text)], &[]));
        found.retain(|one| !one.contains("nobody uses"));
        found
    };
    assert_one(
        &found(PAY, "other"),
        &["2: circuit_breaker: there is no breaker `other` | bascule.toml declares: mail, pay"],
    );
    assert_one(&found(PAY, "pya"), &["did you mean `pay`? bascule.toml declares: mail, pay"]);
    assert_one(&found("", "other"), &["declare it in bascule.toml: [breakers.NAME]"]);
    assert_one(&found(PAY, "payment"), &["circuit_breaker = { preset = \"payment\" }"]);
    let operation = format!("{BASE}[operations.o]\npath = \"/\"\ncircuit_breaker = \"no\"\n");
    assert_one(&problems(&operation), &["4: operations.o.circuit_breaker: there is no breaker `no`"]);
    // A file that could not be read whole may hold it.
    let broken = load_texts(
        "[breakers.pay]\nfailures = \n",
        &[("x", &format!("{BASE}circuit_breaker = \"mail\"\n"))],
        &[],
    );
    assert!(!listed(broken).iter().any(|one| one.contains("no breaker")));
}

#[test]
fn a_breaker_that_nobody_uses_is_a_doubt() {
    let text = format!("{BASE}circuit_breaker = \"pay\"\n");
    let loaded = load_texts(PAY, &[("x", &text)], &[]).unwrap();
    let warnings = listed(Ok(loaded));
    assert_one(
        &warnings,
        &["4: breakers.mail: nobody uses the breaker `mail` | write circuit_breaker = \"mail\""],
    );
}

#[test]
fn declared_breakers_follow_the_rules_of_all_breakers() {
    assert_one(
        &gateway_problems("[breakers.pay]\nfailures = 0\n"),
        &["2: breakers.pay.failures: must not be zero"],
    );
    assert_one(&gateway_problems("[breakers.pay]\nfailurs = 1\n"), &["did you mean `failures`?"]);
    assert_one(
        &gateway_problems("[breakers.\"a b\"]\n"),
        &["breakers.\"a b\": `a b` is not a name", "rename the breaker"],
    );
    assert_one(&gateway_problems("breakers = 3\n"), &["expected a table"]);
}

#[test]
fn half_open_may_have_an_end() {
    let x = integration(&format!("circuit_breaker = {{ half_open_timeout = \"10s\" }}\n{BASE}"));
    assert_eq!(x.breaker.max_half_open, Some(Duration::from_secs(10)));
    assert_eq!(integration(BASE).breaker.max_half_open, None);
    assert_one(
        &problems(&format!("circuit_breaker = {{ half_open_timeout = \"0s\" }}\n{BASE}")),
        &["circuit_breaker.half_open_timeout: must not be zero"],
    );
}
