//! Keys of the policies that integrations and operations share: retry, breaker, limits, ladders.

use super::{COUNT, Key, Kind, SHARE, Table, key, later};
use bascule_resilience::Preset;

pub(super) const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration,
    "The whole call with all its attempts; of bodies that are passed through, up to the response head.",
);
pub(super) const ATTEMPT_TIMEOUT: Key = key(
    "attempt_timeout",
    Kind::Duration,
    "One attempt; an OAuth 2 token that it needs is fetched before, in as long a time. Absent: only `timeout` bounds it.",
);
pub(super) const CONNECT_TIMEOUT: Key =
    key("connect_timeout", Kind::Duration, "Resolving the name, connecting and the TLS handshake.");
pub(super) const READ_TIMEOUT: Key = key("read_timeout", Kind::Duration, "Longest silence while reading.");
pub(super) const WRITE_TIMEOUT: Key = key("write_timeout", Kind::Duration, "Longest stall while writing.");
pub(super) const BODY_TIMEOUT: Key =
    key("body_timeout", Kind::Duration, "The whole of a body that is passed through. Absent: no limit.");

pub(super) const FALLBACK: Key = key(
    "fallback",
    Kind::AnyOf(&LADDER),
    "The fallback ladder: rungs that are tried in order when a call failed, at most 8. `\"cache\"` is the last good \
     answer within `keep_stale`; a table is another operation or a fixed answer. `fallback = \"cache\"` is a ladder \
     of one. Absent: none.",
);
pub(super) const FALLBACK_ON: Key = key(
    "fallback_on",
    Kind::List(&Kind::Choice {
        now: &[
            "circuit-open",
            "timeout",
            "connect",
            "protocol",
            "transient",
            "throttled",
            "rate-limited",
            "overloaded",
            "auth",
        ],
        later: &[],
    }),
    "Which failures start the ladder. Absent: all of them.",
);
pub(super) const FORWARD_HEADERS: Key = key(
    "forward_headers",
    Kind::List(&Kind::Text),
    "Caller's headers that `/v1` passes on; they join the cache key. Hop-by-hop headers, `Host`, `Content-Length`, \
     `Bascule-*` and credentials are refused.",
);
pub(super) const IDEMPOTENCY: Key = key(
    "idempotency",
    Kind::Table(&IDEMPOTENCY_TABLE),
    "Sends an idempotency key, the same on every attempt; makes the operation safe to retry. Absent: none.",
);
pub(super) const ERRORS: Key = key(
    "errors",
    Kind::Map(&MAPPED),
    "Upstream statuses (400 to 599) that become problem documents of the gateway's own: `errors.\"404\" = { … }`. \
     An operation's entries are laid over the integration's.",
);
pub(super) const CIRCUIT_BREAKER: Kind =
    Kind::AnyOf(&[Kind::Table(&BREAKER), Kind::Pattern("^[A-Za-z][A-Za-z0-9_-]{0,63}$|\\$\\{")]);

const LAST_GOOD: Kind = Kind::Choice { now: &["cache"], later: &[] };
static LADDER: [Kind; 2] = [LAST_GOOD, Kind::List(&RUNGS)];
static RUNGS: Kind = Kind::AnyOf(&[LAST_GOOD, Kind::Table(&RUNG)]);
static MAPPED: Kind = Kind::Table(&ERROR_MAPPING);

static RUNG: Table = Table {
    name: "rung",
    title: "fallback[]",
    about: "A rung of a fallback ladder: `operation` (and `params`), `default` (and `status`), or `queue`.",
    keys: &[
        key(
            "operation",
            Kind::Pattern("^[A-Za-z][A-Za-z0-9_-]{0,63}(\\.[A-Za-z][A-Za-z0-9_-]{0,63})?$|\\$\\{"),
            "Another operation, called whole: `integration.operation`, or `operation` of the same integration. \
             Ladders nest at most 3 deep and never in a circle.",
        ),
        key(
            "params",
            Kind::JsonTable,
            "Its parameters; texts, however deep, may hold `{placeholders}` for the call's own, and are left out where one of those is absent. Absent: the call's parameters.",
        ),
        key("default", Kind::Json, "The body of a fixed answer."),
        key("status", Kind::Integer { min: 200, max: 599 }, "The status of a fixed answer; 200 when absent."),
        key(
            "queue",
            Kind::Boolean,
            "`true`: the call is kept in the outbox and delivered when the provider is back; the caller gets 202 and a \
             URL to ask at. In the ladder of an operation that changes something and has `idempotency`; needs [outbox].",
        ),
    ],
};

static IDEMPOTENCY_TABLE: Table = Table {
    name: "idempotency",
    title: "idempotency",
    about: "Idempotency keys.",
    keys: &[
        key("header", Kind::Text, "The header that carries the key.").or("\"Idempotency-Key\""),
        key("generate", Kind::Boolean, "Whether a key is made when the caller sends none.").or("true"),
    ],
};

static ERROR_MAPPING: Table = Table {
    name: "error_mapping",
    title: "errors.\"404\"",
    about: "What an upstream status becomes.",
    keys: &[
        key("status", Kind::Integer { min: 400, max: 599 }, "The caller's status. Absent: the upstream's."),
        key("code", Kind::Pattern("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"), "A stable code for programs.")
            .required(),
        key("detail", Kind::Text, "A sentence for people. Absent: the upstream's reason."),
    ],
};

const RETRY_KEYS: [Key; 9] = [
    key("max_attempts", COUNT, "Attempts in all, the first included; 1 switches retries off.").or("3"),
    key("base_delay", Kind::DurationOrZero, "Wait before the second attempt.").or("\"100ms\""),
    key(
        "multiplier",
        Kind::Number { min: 1.0, max: 100.0 },
        "Growth of the wait from one attempt to the next.",
    )
    .or("2.0"),
    key("max_delay", Kind::Duration, "Longest wait.").or("\"30s\""),
    key(
        "jitter",
        Kind::AnyOf(&JITTER),
        "How waits are spread at random: a share up and down (0.25 is ±25 %), `\"none\"`, `\"full\"` (anything up to the \
         wait), `\"equal\"` (half of it, and anything up to the other half) or `\"decorrelated\"` (between `base_delay` and \
         three times the wait before). `delays` are not spread.",
    )
    .or("0.25"),
    key(
        "on",
        Kind::List(&Kind::Integer { min: 100, max: 599 }),
        "Statuses that are retried; replaces the default set.",
    )
    .or("[408, 429, 500, 502, 503, 504]"),
    key(
        "delays",
        Kind::List(&Kind::DurationOrZero),
        "An explicit schedule instead of the exponential one; its last entry repeats.",
    ),
    key(
        "retry_after_max",
        Kind::Duration,
        "Longest `Retry-After` that is waited for; a longer one ends the call.",
    )
    .or("\"60s\""),
    key(
        "timeout_factor",
        Kind::Number { min: 0.01, max: 100.0 },
        "After a timeout, the next attempt gets `attempt_timeout` times this.",
    )
    .or("1.0"),
];

static JITTER: [Kind; 2] =
    [SHARE, Kind::Choice { now: &["none", "full", "equal", "decorrelated"], later: &[] }];

pub(super) static RETRY: Table = {
    static KEYS: [Key; 10] = with(
        RETRY_KEYS,
        key("budget", Kind::Table(&BUDGET), "How many retries the integration may make in all."),
    );
    Table {
        name: "retry",
        title: "[retry]",
        about: "Applies to the operations that are safe to retry (GET, HEAD, OPTIONS, PUT, DELETE, those with \
                `idempotency` or `retry_safe = true`) and to `/proxy`. Absent: these defaults.",
        keys: &KEYS,
    }
};

pub(super) static OPERATION_RETRY: Table = {
    static KEYS: [Key; 10] =
        with(RETRY_KEYS, later("budget", "the budget is the integration's: set `budget` in its [retry]"));
    Table {
        name: "operation_retry",
        title: "[operations.NAME.retry]",
        about: "As `[retry]`; what it does not set is the integration's. Refused on an operation that is not safe \
                to retry.",
        keys: &KEYS,
    }
};

const fn with(nine: [Key; 9], last: Key) -> [Key; 10] {
    let [a, b, c, d, e, f, g, h, i] = nine;
    [a, b, c, d, e, f, g, h, i, last]
}

static BUDGET: Table = Table {
    name: "budget",
    title: "retry.budget",
    about: "Bounds the retries of the integration, so that they never become a storm.",
    keys: &[
        key("ratio", Kind::Number { min: 0.0, max: 10.0 }, "Retries per call.").or("0.2"),
        key("floor", Kind::Integer { min: 0, max: 1_000_000 }, "Retries that are allowed besides.").or("10"),
        key("window", Kind::Duration, "Over which calls and retries are counted.").or("\"10s\""),
    ],
};

/// The presets' names, taken from where they are defined.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where `get` is not available")]
static PRESETS: [&str; Preset::ALL.len()] = {
    let mut names = [""; Preset::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Preset::ALL[index].name();
        index += 1;
    }
    names
};

pub(super) static BREAKER: Table = Table {
    name: "circuit_breaker",
    title: "[circuit_breaker]",
    about: "Refuses calls while the provider is down. Counts calls, not attempts. On an operation: a breaker of its \
            own; what it does not set is the integration's. As `[breakers.NAME]` of `bascule.toml`: one to share. \
            Absent: these defaults.",
    keys: &[
        key(
            "preset",
            Kind::Choice { now: &PRESETS, later: &[] },
            "Starting values by the kind of dependency; keys beside it win.",
        ),
        key("failures", Kind::Integer { min: 1, max: 100_000 }, "Failures that open the circuit.").or("5"),
        key("window", Kind::Duration, "In which they are counted; it slides.").or("\"1m\""),
        key(
            "consecutive",
            Kind::Boolean,
            "Whether only an unbroken run of failures counts, without a window.",
        )
        .or("false"),
        key(
            "failure_rate",
            Kind::Number { min: 0.001, max: 1.0 },
            "Opens at this share of failures within `window`, instead of at `failures`.",
        ),
        key(
            "min_calls",
            COUNT,
            "Calls in the window before `failure_rate` or `slow_call_rate` is looked at; 20 when absent.",
        ),
        key("slow_call", Kind::Duration, "Calls slower than this count towards `slow_call_rate`."),
        key(
            "slow_call_rate",
            Kind::Number { min: 0.001, max: 1.0 },
            "Opens at this share of slow calls; 0.8 when absent. Needs `slow_call`.",
        ),
        key("reset_after", Kind::Duration, "How long the circuit stays open before it is probed.")
            .or("\"30s\""),
        key("half_open_probes", COUNT, "Probes at a time while half-open.").or("1"),
        key("half_open_successes", COUNT, "Successes in a row that close it again; any failure reopens it.")
            .or("3"),
        key(
            "half_open_timeout",
            Kind::Duration,
            "Longest time in half-open; after it the circuit opens again, as if a probe had failed. Absent: no limit.",
        ),
        key(
            "reopen",
            Kind::Table(&REOPEN),
            "A schedule for circuits that keep reopening. Absent: always `reset_after`.",
        ),
        key(
            "shared",
            Kind::Boolean,
            "Whether openings are announced to the other gateways of the same `[cache] shared`, and theirs heeded. An \
             operation's breaker has its integration's.",
        )
        .or("false"),
        key(
            "mode",
            Kind::Choice { now: &["auto", "forced-open", "forced-closed", "observe", "off"], later: &[] },
            "`observe` counts and reports but never refuses; `off` does nothing.",
        )
        .or("\"auto\""),
    ],
};

static REOPEN: Table = Table {
    name: "reopen",
    title: "circuit_breaker.reopen",
    about: "First `fixed` re-openings of `interval`, then `exponential` growing ones, then `then`.",
    keys: &[
        key("fixed", Kind::Integer { min: 0, max: 1000 }, "Re-openings that last `interval`.").or("3"),
        key("interval", Kind::Duration, "How long they last; `reset_after` when absent."),
        key("exponential", Kind::Integer { min: 0, max: 1000 }, "Re-openings that grow after those.").or("5"),
        key("multiplier", Kind::Number { min: 1.0, max: 100.0 }, "Growth from one to the next.").or("2.0"),
        key("max_interval", Kind::Duration, "Longest; never below `interval`.").or("\"1h\""),
        key("jitter", SHARE, "Random part of each, up and down.").or("0.2"),
        key(
            "then",
            Kind::Choice { now: &["cap", "hold"], later: &[] },
            "After the last: `cap` keeps probing at the longest interval, `hold` waits for an operator.",
        )
        .or("\"cap\""),
    ],
};

pub(super) const KEEP_STALE: Key = key(
    "keep_stale",
    Kind::DurationOrZero,
    "How long an expired entry may still serve as a fallback; 24h when the ladder names `\"cache\"`, otherwise 0s.",
);
pub(super) const STALE_WHILE_REVALIDATE: Key = key(
    "stale_while_revalidate",
    Kind::DurationOrZero,
    "How long an expired entry is answered while it is refreshed behind the caller's back; 0s when absent.",
);

const MODE: Kind = Kind::Choice { now: &["rule", "http"], later: &[] };

pub(super) static CACHE: Table = Table {
    name: "cache",
    title: "[cache] of an integration",
    about: "How answers of safe operations (GET, HEAD) are cached. Absent: they are not.",
    keys: &[
        key(
            "ttl",
            Kind::Duration,
            "How long an answer is fresh, for safe operations that have no `cache` of their own. Absent: those are not \
             cached.",
        ),
        key(
            "mode",
            MODE,
            "`rule`: the durations of this file decide. `http`: the provider's answers say how they may be cached \
             (RFC 9111).",
        )
        .or("\"rule\""),
        key("proxy", Kind::Boolean, "Whether GET and HEAD through `/proxy` are cached.").or("false"),
        key(
            "share_cookies",
            Kind::Boolean,
            "With `http`: whether an answer to a request with `Cookie`, or with `Set-Cookie`, is shared when it has a \
             lifetime of its own; otherwise it needs `public` or `s-maxage`.",
        )
        .or("false"),
        KEEP_STALE,
        STALE_WHILE_REVALIDATE,
        key(
            "vary_by",
            Kind::List(&Kind::Text),
            "`[\"caller\"]`: each caller of `auth.api_keys` has answers of its own, through `/proxy` too, unless an \
             operation has a `vary_by`.",
        ),
        later("shared", "all integrations share the server of `[cache] shared` in bascule.toml; leave it out"),
    ],
};

pub(super) static OPERATION_CACHE: Table = Table {
    name: "operation_cache",
    title: "operations.NAME.cache",
    about: "How this operation's answers are cached. On an operation that is not GET or HEAD only `purges`.",
    keys: &[
        key("ttl", Kind::Duration, "How long an answer is fresh; the integration's `ttl` when absent."),
        key("negative_ttl", Kind::Duration, "How long a 404 or 410 is fresh. Absent: not stored."),
        KEEP_STALE,
        STALE_WHILE_REVALIDATE,
        key(
            "purges",
            Kind::List(&Kind::Text),
            "Operations of this integration whose cached answers a success of this one purges.",
        ),
        key(
            "vary_by",
            Kind::List(&Kind::Text),
            "What tells answers apart: `\"param:NAME\"`, only these parameters; `\"header:NAME\"`, only these of \
             `forward_headers`; `\"caller\"`, each caller of `auth.api_keys` has its own. Absent: all parameters and \
             all forwarded headers, and no callers.",
        ),
        later(
            "shared",
            "all integrations share the server of `[cache] shared` in bascule.toml; leave it out",
        ),
        key(
            "warm_up",
            Kind::List(&Kind::JsonTable),
            "Parameters of calls, at most 1,000, whose answers are fetched when the gateway starts and when a reload \
             changes the integration: a few at a time, with low priority, and nobody waits for them.",
        ),
        key(
            "mode",
            MODE,
            "As in `[cache]`; the integration's when absent, and `rule` where there is a `ttl`.",
        ),
    ],
};
