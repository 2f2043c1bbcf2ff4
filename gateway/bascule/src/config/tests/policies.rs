//! Rules of timeouts, retry, breaker, rate limit, concurrency, cache.

use super::{BASE, assert_one, integration, operation, operation_problems, problems};
use crate::config::{CachePolicy, HttpCache};
use bascule_resilience::{AfterReopen, Mode, Trip};
use serde_json::json;
use std::time::Duration;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn zero_is_never_unlimited() {
    for line in [
        "timeout = \"0s\"",
        "attempt_timeout = \"0ms\"",
        "connect_timeout = \"0s\"",
        "read_timeout = \"0s\"",
        "write_timeout = \"0s\"",
        "body_timeout = \"0h\"",
        "retry = { max_attempts = 0 }",
        "retry = { max_delay = \"0s\" }",
        "retry = { retry_after_max = \"0s\" }",
        "retry = { budget = { window = \"0s\" } }",
        "circuit_breaker = { failures = 0 }",
        "circuit_breaker = { window = \"0s\" }",
        "circuit_breaker = { reset_after = \"0s\" }",
        "circuit_breaker = { half_open_probes = 0 }",
        "circuit_breaker = { half_open_successes = 0 }",
        "circuit_breaker = { slow_call = \"0s\" }",
        "circuit_breaker = { failure_rate = 0.5, min_calls = 0 }",
        "circuit_breaker = { reopen = { interval = \"0s\" } }",
        "rate_limit = { requests = 0, window = \"1s\" }",
        "rate_limit = { requests = 1, window = \"0s\" }",
        "rate_limit = { requests = 1, window = \"1s\", burst = 0 }",
        "concurrency = { max = 0 }",
        "cache = { ttl = \"0s\" }",
    ] {
        assert_one(&problems(&format!("{line}\n{BASE}")), &["1: ", ": must not be zero"]);
    }
}

#[test]
fn numbers_keep_to_their_ranges() {
    for (line, range) in [
        ("retry = { jitter = 1.5 }", "between 0 and 1"),
        ("retry = { jitter = nan }", "between 0 and 1"),
        ("retry = { multiplier = 0.5 }", "between 1 and 100"),
        ("retry = { on = [99] }", "between 100 and 599"),
        ("retry = { on = [600] }", "between 100 and 599"),
        ("retry = { max_attempts = -1 }", "between 1 and"),
        ("circuit_breaker = { failure_rate = 2 }", "between 0.001 and 1"),
        ("retry = { timeout_factor = 0 }", "between 0.01 and 100"),
        ("concurrency = { max_waiting = 99999999999 }", "between 0 and"),
    ] {
        assert_one(&problems(&format!("{line}\n{BASE}")), &["1: ", range]);
    }
}

#[test]
fn durations_and_sizes_say_how_they_are_written() {
    assert_one(
        &problems(&format!("timeout = 30\n{BASE}")),
        &["expected a duration, found an integer", "\"30s\" for seconds"],
    );
    assert_one(&problems(&format!("timeout = \"30\"\n{BASE}")), &["`30` is not a duration", "\"250ms\""]);
    assert_one(&problems(&format!("timeout = \"9999d\"\n{BASE}")), &["`9999d` is longer than 3650d"]);
    assert_one(&problems(&format!("retry = {{ max_attempts = \"3\" }}\n{BASE}")), &["remove the quotes"]);
}

#[test]
fn operations_inherit_timeouts_one_by_one() {
    let x = integration(&format!(
        "{BASE}timeout = \"9s\"\nread_timeout = \"3s\"\n[operations.o]\npath = \"/\"\ntimeout = \"1s\"\n"
    ));
    let timeouts = x.operations["o"].timeouts;
    assert_eq!((timeouts.whole, timeouts.read, timeouts.connect), (seconds(1), seconds(3), seconds(10)));
}

#[test]
fn only_what_is_safe_is_retried() {
    for (lines, attempts) in [
        ("method = \"GET\"", 3),
        ("method = \"HEAD\"", 3),
        ("method = \"OPTIONS\"", 3),
        ("method = \"PUT\"", 3),
        ("method = \"DELETE\"", 3),
        ("method = \"POST\"", 1),
        ("method = \"PATCH\"", 1),
        ("method = \"POST\"\nidempotency = {}", 3),
        ("method = \"POST\"\nretry_safe = true", 3),
        ("method = \"GET\"\nretry_safe = false", 1),
    ] {
        let o = operation(&format!("path = \"/\"\n{lines}\n"));
        assert_eq!(o.retry.policy.max_attempts.get(), attempts, "{lines}");
        assert_eq!(o.retry_safe, attempts > 1, "{lines}");
    }
    let inherited =
        integration(&format!("{BASE}idempotency = {{}}\n[operations.o]\nmethod = \"POST\"\npath = \"/\"\n"));
    assert!(inherited.operations["o"].retry_safe);
}

#[test]
fn a_retry_rule_on_an_unsafe_operation_is_refused_with_advice() {
    assert_one(
        &operation_problems("method = \"POST\"\npath = \"/\"\nretry = { max_attempts = 5 }\n"),
        &[
            "5: operations.o.retry: sending POST twice may do harm, so it is not retried",
            "idempotency",
            "retry_safe = true",
        ],
    );
}

#[test]
fn a_retry_rule_of_an_operation_lies_over_the_integrations() {
    let x = integration(&format!(
        "{BASE}[retry]\nmax_attempts = 7\nbase_delay = \"1s\"\non = [503]\n[operations.o]\npath = \"/\"\nretry = {{ base_delay = \"2s\" }}\n"
    ));
    let retry = &x.operations["o"].retry;
    assert_eq!(
        (retry.policy.max_attempts.get(), retry.policy.base_delay, &retry.on[..]),
        (7, seconds(2), &[503][..])
    );
    assert_one(
        &operation_problems("path = \"/\"\nretry = { budget = {} }\n"),
        &["`budget` is not in this version | the budget is the integration's"],
    );
}

#[test]
fn an_explicit_schedule_replaces_the_exponential_one() {
    let x = integration(&format!("{BASE}retry = {{ delays = [\"0s\", \"5m\"] }}\n"));
    assert_eq!(x.retry.policy.delays, [seconds(0), seconds(300)]);
    let found = problems(&format!("retry = {{ delays = [\"1s\"], multiplier = 3 }}\n{BASE}"));
    assert_one(&found, &["retry.multiplier: `delays` replaces the exponential rule"]);
    assert_one(&problems(&format!("retry = {{ delays = [] }}\n{BASE}")), &["1 to 100 items"]);
    assert_one(
        &problems(&format!("retry = {{ delays = [\"1x\"] }}\n{BASE}")),
        &["retry.delays[0]: `1x` is not a duration"],
    );
    assert_one(
        &problems(&format!("retry = {{ base_delay = \"1m\" }}\n{BASE}")),
        &["longer than `max_delay`"],
    );
}

#[test]
fn breakers_have_one_rule_each() {
    let trip =
        |keys: &str| integration(&format!("circuit_breaker = {{ {keys} }}\n{BASE}")).breaker.trip.clone();
    assert!(
        matches!(trip("failures = 2, window = \"5s\""), Trip::Count { failures, window } if failures.get() == 2 && window == seconds(5))
    );
    assert!(matches!(trip("consecutive = true"), Trip::Consecutive { failures } if failures.get() == 5));
    assert!(
        matches!(trip("failure_rate = 0.5"), Trip::Rate { rate: 0.5, min_calls, .. } if min_calls.get() == 20)
    );
    let bad = |keys: &str| problems(&format!("circuit_breaker = {{ {keys} }}\n{BASE}"));
    assert_one(
        &bad("failure_rate = 0.5, failures = 3"),
        &["`failures` and `failure_rate` are different rules"],
    );
    assert_one(&bad("consecutive = true, window = \"1m\""), &["counted without a window"]);
    assert_one(&bad("min_calls = 3"), &["nothing here counts a share of calls"]);
    assert_one(&bad("slow_call_rate = 0.5"), &["nothing says which calls are slow"]);
    assert_one(&bad("mode = \"closed\""), &["`closed` is not known here"]);
    assert_one(&bad("preset = \"external_api\""), &["did you mean `external-api`?"]);
    assert_one(&bad("reopen = { interval = \"2h\", max_interval = \"1h\" }"), &["shorter than `interval`"]);
}

#[test]
fn keys_beside_a_preset_win() {
    let x = integration(&format!("circuit_breaker = {{ preset = \"llm\", reset_after = \"7s\" }}\n{BASE}"));
    assert_eq!((x.breaker.reset_after, x.breaker.half_open_successes.get()), (seconds(7), 2));
}

#[test]
fn an_operations_breaker_is_its_own_and_lies_over_the_integrations() {
    let x = integration(&format!(
        "{BASE}[circuit_breaker]\nfailures = 9\nreset_after = \"7s\"\n[operations.o]\npath = \"/\"\ncircuit_breaker = {{ failures = 2 }}\n[operations.p]\npath = \"/\"\n"
    ));
    let own = x.operations["o"].breaker.as_ref().unwrap();
    assert!(matches!(own.trip, Trip::Count { failures, .. } if failures.get() == 2));
    assert_eq!(own.reset_after, seconds(7));
    assert!(x.operations["p"].breaker.is_none());
}

#[test]
fn modes_and_reopening_are_read() {
    for (word, mode) in [
        ("auto", Mode::Auto),
        ("forced-open", Mode::ForcedOpen),
        ("forced-closed", Mode::ForcedClosed),
        ("observe", Mode::Observe),
        ("off", Mode::Off),
    ] {
        assert_eq!(
            integration(&format!("circuit_breaker = {{ mode = \"{word}\" }}\n{BASE}")).breaker.mode,
            mode
        );
    }
    let x = integration(&format!(
        "circuit_breaker = {{ reopen = {{ interval = \"2h\", then = \"hold\" }} }}\n{BASE}"
    ));
    let reopen = x.breaker.reopen.as_ref().unwrap();
    assert_eq!((reopen.fixed, reopen.exponential, reopen.then), (3, 5, AfterReopen::Hold));
    assert_eq!((reopen.interval, reopen.max_interval), (seconds(7200), seconds(7200)));
}

#[test]
fn a_rate_limit_has_requests_and_a_window() {
    let x = integration(&format!("rate_limit = {{ requests = 10, window = \"1m\" }}\n{BASE}"));
    let limit = x.rate_limit.as_ref().unwrap();
    assert_eq!(
        (limit.limiter.windows[0].burst.get(), limit.max_wait, limit.quota_reset_max),
        (10, seconds(0), seconds(60))
    );
    assert_one(
        &problems(&format!("rate_limit = {{ requests = 10 }}\n{BASE}")),
        &["rate_limit.window: `window` is missing"],
    );
    let found = problems(&format!("rate_limit = {{ requests = 4000000000, window = \"1ms\" }}\n{BASE}"));
    assert_one(&found, &["more than one request per nanosecond"]);
}

#[test]
fn quotas_of_the_provider_are_set_up_for_the_integration_and_not_for_an_operation() {
    for line in ["header = \"X-Left\"", "quota_reset_max = \"1h\""] {
        let name = line.split(' ').next().unwrap();
        let limit = format!("rate_limit = {{ requests = 10, window = \"1m\", {line} }}\n");
        assert!(problems(&format!("{limit}{BASE}")).is_empty());
        let message = format!("operations.o.rate_limit.{name}: `{name}` is about the provider's quotas");
        let found = operation_problems(&format!("path = \"/\"\n{limit}"));
        assert_one(&found, &[&message, "move it to the integration's [rate_limit]"]);
    }
}

#[test]
fn an_adaptive_limit_is_cut_and_not_abolished_by_its_backoff() {
    let with = |backoff: f64| {
        let adaptive = format!("{{ algorithm = \"aimd\", backoff = {backoff:?} }}");
        problems(&format!("concurrency = {{ adaptive = {adaptive} }}\n{BASE}"))
    };
    assert!(with(0.1).is_empty() && with(0.99).is_empty());
    for backoff in [0.0, 1.0] {
        assert_one(&with(backoff), &["concurrency.adaptive.backoff: must lie between 0.1 and 0.99"]);
    }
}

#[test]
fn a_hedge_that_comes_after_the_end_is_doubted() {
    let found =
        |head: &str, lines: &str| problems(&format!("{head}{BASE}[operations.o]\npath = \"/\"\n{lines}"));
    let hedge = "hedge = { after = \"5s\" }\n";
    assert!(found(hedge, "").is_empty() && found("", hedge).is_empty());
    assert_one(
        &found(&format!("timeout = \"5s\"\n{hedge}"), ""),
        &["2: hedge: no attempt takes that long: `timeout` ends it before | lower `after`"],
    );
    assert_one(
        &found("attempt_timeout = \"1s\"\n", hedge),
        &["operations.o.hedge: no attempt takes that long: `attempt_timeout` ends it before"],
    );
    assert!(found("timeout = \"5s\"\n", &format!("timeout = \"9s\"\n{hedge}")).is_empty());
}

#[test]
fn caching_is_for_get_and_head() {
    let rule = |head: &str, lines: &str| {
        let x = integration(&format!("{head}{BASE}[operations.o]\npath = \"/\"\n{lines}\n"));
        x.operations["o"].cache.and_then(CachePolicy::rule)
    };
    assert_eq!(rule("", ""), None);
    assert_eq!(rule("cache = { ttl = \"1m\" }\n", "").unwrap().ttl, seconds(60));
    assert_eq!(rule("cache = { ttl = \"1m\" }\n", "cache = \"off\""), None);
    assert_eq!(rule("cache = { ttl = \"1m\" }\n", "method = \"POST\""), None);
    assert_eq!(rule("", "cache = \"10m\"").unwrap().keep_stale, seconds(0));
    assert_eq!(rule("fallback = \"cache\"\n", "cache = \"10m\"").unwrap().keep_stale, seconds(86_400));
    assert_eq!(rule("", "cache = \"10m\"\nfallback = [\"cache\"]").unwrap().keep_stale, seconds(86_400));
    assert_eq!(
        rule("cache = { keep_stale = \"1h\" }\n", "cache = \"10m\"").unwrap().keep_stale,
        seconds(3600)
    );
    let table = rule(
        "cache = { ttl = \"1m\" }\n",
        "cache = { negative_ttl = \"5s\", stale_while_revalidate = \"2s\" }",
    )
    .unwrap();
    assert_eq!(
        (table.ttl, table.negative_ttl, table.stale_while_revalidate),
        (seconds(60), Some(seconds(5)), seconds(2))
    );
    for lines in ["cache = \"1m\"", "cache = { ttl = \"1m\" }", "cache = { negative_ttl = \"1m\" }"] {
        let found = operation_problems(&format!("method = \"POST\"\npath = \"/\"\n{lines}\n"));
        assert_one(&found, &["operations.o.cache: only answers to GET and HEAD are cached"]);
    }
    assert_one(&operation_problems("path = \"/\"\ncache = \"on\"\n"), &["`on` is not known here"]);
    assert_one(
        &operation_problems("path = \"/\"\ncache = true\n"),
        &["expected a duration, or one of \"off\", \"http\", or a table"],
    );
    assert_one(
        &operation_problems("path = \"/\"\ncache = { keep_stale = \"1m\" }\n"),
        &["nothing says how long an answer is fresh"],
    );
}

#[test]
fn http_decides_where_the_integration_or_the_operation_says_so() {
    let policy = |head: &str, lines: &str| {
        let x = integration(&format!("{head}{BASE}[operations.o]\npath = \"/\"\n{lines}\n"));
        (x.operations["o"].cache, x.proxy_cache)
    };
    let http = |keep: u64, refresh: u64| {
        Some(CachePolicy::Http(HttpCache {
            keep_stale: seconds(keep),
            stale_while_revalidate: seconds(refresh),
            share_cookies: false,
        }))
    };
    assert_eq!(policy("", "cache = \"http\""), (http(0, 0), None));
    assert_eq!(policy("cache = { mode = \"http\", proxy = true }\n", ""), (http(0, 0), http(0, 0)));
    assert_eq!(policy("cache = { mode = \"http\" }\n", "cache = \"off\""), (None, None));
    assert_eq!(policy("cache = { mode = \"http\" }\n", "method = \"POST\"").0, None);
    assert_eq!(
        policy("cache = { ttl = \"1m\" }\n", "cache = { mode = \"http\", keep_stale = \"9s\" }").0,
        http(9, 0)
    );
    assert_eq!(policy("fallback = \"cache\"\n", "cache = \"http\"").0, http(86_400, 0));
    // A time of its own is a rule of its own.
    for lines in ["cache = \"1m\"", "cache = { ttl = \"1m\" }"] {
        let rule = policy("cache = { mode = \"http\", stale_while_revalidate = \"2s\" }\n", lines).0;
        let rule = rule.and_then(CachePolicy::rule).unwrap();
        assert_eq!((rule.ttl, rule.stale_while_revalidate), (seconds(60), seconds(2)));
    }
    assert!(policy("cache = { ttl = \"1m\", proxy = true }\n", "").1.and_then(CachePolicy::rule).is_some());
}

#[test]
fn what_tells_answers_apart_is_named_by_kind() {
    let lines = |list: &str, mode: &str| {
        format!(
            "path = \"/{{id}}\"\nparams.lang = {{}}\nquery = {{ l = \"{{lang}}\" }}\nforward_headers = [\"X-Tenant\"]\n\
             cache = {{ {mode}, vary_by = {list} }}\n"
        )
    };
    let (rule, http) = ("ttl = \"1m\"", "mode = \"http\"");
    let named = operation(&lines("[\"param:id\", \"header:x-tenant\", \"caller\"]", rule)).vary_by.clone();
    assert!(named.caller && named.has_param("id") && !named.has_param("lang"));
    assert!(named.has_header(&http::HeaderName::from_static("x-tenant")));
    let caller = operation(&lines("[\"caller\"]", http)).vary_by.clone();
    assert!(caller.caller && caller.has_param("lang"), "what is not named stays as it is");
    for (list, mode, says) in [
        ("[\"param:idd\"]", rule, "there is no parameter `idd` here | did you mean `id`?"),
        ("[\"header:X-Other\"]", rule, "`X-Other` does not go upstream | add it to `forward_headers`"),
        ("[\"header:X-Tenant\"]", http, "the provider's `Vary` says which headers matter"),
        ("[\"id\"]", rule, "`id` is not known here | write \"param:NAME\""),
    ] {
        assert_one(&operation_problems(&lines(list, mode)), &["operations.o.cache.vary_by[0]: ", says]);
    }
}

#[test]
fn an_integration_may_tell_callers_apart_for_all_its_operations() {
    let lines = "[operations.all]\npath = \"/\"\n[operations.own]\npath = \"/{id}\"\n\
                 cache = { vary_by = [\"param:id\"] }\n[operations.timed]\npath = \"/\"\ncache = \"5s\"\n";
    let x = integration(&format!(
        "{BASE}cache = {{ ttl = \"1m\", proxy = true, vary_by = [\"caller\"] }}\n{lines}"
    ));
    let by_caller = |name: &str| x.operations[name].vary_by.caller;
    assert!(by_caller("all") && by_caller("timed") && x.proxy_vary_by.caller);
    assert!(!by_caller("own"), "it says itself what tells its answers apart");
    for (list, says) in [
        ("[\"param:id\"]", "parameters and headers are told apart by operation"),
        ("[\"header:x\"]", "parameters and headers are told apart by operation"),
        ("[\"callers\"]", "`callers` is not known here | write \"caller\""),
    ] {
        let found = problems(&format!("cache = {{ ttl = \"1m\", vary_by = {list} }}\n{BASE}"));
        assert_one(&found, &["cache.vary_by[0]: ", says]);
    }
}

#[test]
fn what_warms_the_cache_up_are_calls_of_the_operation() {
    let of = |calls: &str, more: &str| {
        format!(
            "path = \"/{{id}}\"\nquery = {{ n = \"{{n}}\" }}\nparams.n = {{ type = \"integer\", default = 1 }}\n\
             cache = {{ ttl = \"1m\", warm_up = {calls}{more} }}\n"
        )
    };
    let warm = operation(&of("[{ id = \"a\" }, { id = \"b\", n = 2 }]", "")).warm_up.clone();
    assert_eq!(
        warm,
        [json!({"id": "a"}), json!({"id": "b", "n": 2})].map(|call| call.as_object().unwrap().clone())
    );
    for (calls, more, says) in [
        ("[{ n = 2 }]", "", "`warm_up[0]`: \"id\" is a required property"),
        (
            "[{ id = \"a\" }, { id = \"b\", n = \"c\" }]",
            "",
            "`warm_up[1].n`: the value is not of type \"integer\"",
        ),
        ("[{ id = \"a\", ida = 1 }]", "", "'ida' was unexpected"),
        ("[{ id = \"a\" }]", ", vary_by = [\"caller\"]", "each caller has answers of its own here"),
    ] {
        assert_one(&operation_problems(&of(calls, more)), &["operations.o.cache", says]);
    }
    let posted = "method = \"POST\"\npath = \"/\"\ncache = { warm_up = [{}] }\n";
    assert_one(&operation_problems(posted), &["operations.o.cache: only answers to GET and HEAD are cached"]);
}

#[test]
fn times_beside_http_are_refused() {
    let found = |lines: &str| operation_problems(&format!("path = \"/\"\ncache = {lines}\n"));
    let says = "the provider's answers say how long they are fresh";
    assert_one(&found("{ mode = \"http\", ttl = \"1m\" }"), &["operations.o.cache.ttl: ", says]);
    assert_one(
        &found("{ mode = \"http\", negative_ttl = \"1m\" }"),
        &["operations.o.cache.negative_ttl: ", says],
    );
    let posted = operation_problems("method = \"POST\"\npath = \"/\"\ncache = \"http\"\n");
    assert_one(&posted, &["operations.o.cache: only answers to GET and HEAD are cached"]);
    let top = |cache: &str| problems(&format!("cache = {cache}\n{BASE}"));
    assert_one(&top("{ mode = \"http\", ttl = \"1m\" }"), &["cache.ttl: ", says]);
    assert_one(&top("{ proxy = true }"), &["cache.proxy: nothing says how long an answer is fresh"]);
}

#[test]
fn purges_name_operations_of_the_same_file() {
    let x = integration(&format!(
        "{BASE}[operations.get]\npath = \"/\"\n[operations.set]\nmethod = \"POST\"\npath = \"/\"\ncache = {{ purges = [\"get\"] }}\n"
    ));
    assert_eq!(x.operations["set"].purges[0].as_str(), "get");
    assert_eq!(x.operations["set"].cache, None);
    assert_one(
        &operation_problems("path = \"/\"\ncache = { purges = [\"p\"] }\n"),
        &["operations.o.cache.purges[0]: there is no operation `p` here | did you mean `o`?"],
    );
}
