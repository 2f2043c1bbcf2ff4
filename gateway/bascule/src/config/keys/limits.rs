//! Keys of what bounds the traffic: rate limits, concurrency, hedging, priority.

use super::{COUNT, Key, Kind, Table, key};

pub(super) const PRIORITY: Key = key(
    "priority",
    PRIORITIES,
    "Who goes first when calls wait for a place or a token: `high` before `normal` before `low`. A caller's own \
     `priority` wins.",
);

/// Of operations, integrations and callers.
pub(super) const PRIORITIES: Kind = Kind::Choice { now: &["low", "normal", "high"], later: &[] };

pub(super) const HEDGE: Key = key(
    "hedge",
    Kind::Table(&HEDGE_TABLE),
    "Doubles attempts that take long, for GET, HEAD and OPTIONS. Absent: none.",
);

pub(super) const OPERATION_HEDGE: Key = key(
    "hedge",
    Kind::AnyOf(&HEDGE_OR_OFF),
    "A rule of its own, or `\"off\"`; only on operations that are safe to send twice. Absent: the integration's, for GET, \
     HEAD and OPTIONS.",
);

static HEDGE_OR_OFF: [Kind; 2] = [Kind::Table(&HEDGE_TABLE), Kind::Choice { now: &["off"], later: &[] }];

static HEDGE_TABLE: Table = Table {
    name: "hedge",
    title: "[hedge]",
    about: "When an attempt takes longer than most, a second one is sent; the first good answer wins and the other is \
            cancelled. Hedges take from the retry budget and from the rate limits, and never wait for either.",
    keys: &[
        key("after", Kind::Duration, "How long an attempt may take before it is doubled."),
        key(
            "percentile",
            Kind::Number { min: 0.5, max: 0.999 },
            "Instead of `after`: the share of the last minute's successful attempts that were faster, 0.95 for instance. \
             Nothing is doubled before 20 of them are known.",
        ),
        key("at_least", Kind::Duration, "With `percentile`: never sooner than this; 10ms when absent."),
        key("max", Kind::Integer { min: 1, max: 5 }, "Extra attempts at a time.").or("1"),
    ],
};

pub(super) static RATE_LIMIT: Table = Table {
    name: "rate_limit",
    title: "[rate_limit]",
    about: "The integration's (or the operation's) own budget of requests; every attempt takes the operation's `cost`. \
            What the provider says about its quotas narrows it. Absent: none, until the provider says otherwise.",
    keys: &[
        key("requests", COUNT, "Requests per window.").required(),
        key("window", Kind::Duration, "The window.").required(),
        key("burst", COUNT, "How many may go at once; `requests` when absent."),
        key(
            "windows",
            Kind::List(&Kind::Table(&WINDOW)),
            "Further windows that must allow as well, at most 7: `[{ requests = 10, window = \"1s\" }]`.",
        ),
        key(
            "reserve",
            Kind::Number { min: 0.0, max: 0.9 },
            "Share of every window, and of the provider's quotas, that is kept for calls of high priority.",
        )
        .or("0.0"),
        key(
            "max_wait",
            Kind::DurationOrZero,
            "How long a call may queue for its turn, never beyond its deadline; 0s refuses at once.",
        )
        .or("\"0s\""),
        key(
            "header",
            Kind::Text,
            "The response header that says what is left, where it is none of the usual ones; `…Remaining…` has the \
             siblings `…Limit…` and `…Reset…`. Not on operations: quotas are the integration's.",
        ),
        key(
            "quota_reset_max",
            Kind::Duration,
            "Longest hold that a provider's quota header may cause; the longest window when absent. Not on operations.",
        ),
        key(
            "shared",
            Kind::Boolean,
            "Whether this is one budget for all gateways of the same `[cache] shared`, instead of one for each.",
        )
        .or("false"),
    ],
};

pub(super) static WINDOW: Table = Table {
    name: "rate_limit_window",
    title: "rate_limit.windows[]",
    about: "One window of a budget; also the limit of a caller.",
    keys: &[
        key("requests", COUNT, "Requests per window.").required(),
        key("window", Kind::Duration, "The window.").required(),
        key("burst", COUNT, "How many may go at once; `requests` when absent."),
    ],
};

pub(super) static CONCURRENCY: Table = Table {
    name: "concurrency",
    title: "[concurrency]",
    about: "How many calls may be under way at a time. Absent: these defaults.",
    keys: &[
        key("max", Kind::Integer { min: 1, max: 1_000_000 }, "Calls in flight.").or("512"),
        key(
            "max_waiting",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Calls that may wait for a place; 0 refuses at once.",
        )
        .or("512"),
        key(
            "shed",
            Kind::Boolean,
            "Whether calls are refused at once that would wait beyond their deadline, by the latency seen so far.",
        )
        .or("true"),
        key(
            "adaptive",
            Kind::AnyOf(&[Kind::Choice { now: &ALGORITHMS, later: &[] }, Kind::Table(&ADAPTIVE)]),
            "Finds the number of calls in flight that the provider can bear, up to `max`: `\"gradient\"` goes by growing \
             latency, `\"aimd\"` by failures. Absent: always `max`.",
        ),
    ],
};

const ALGORITHMS: [&str; 2] = ["gradient", "aimd"];

static ADAPTIVE: Table = Table {
    name: "adaptive",
    title: "concurrency.adaptive",
    about: "A limit that follows the provider.",
    keys: &[
        key(
            "algorithm",
            Kind::Choice { now: &ALGORITHMS, later: &[] },
            "`gradient` lowers the limit when latency grows against its long-term average; `aimd` adds one per round of \
             good calls and cuts it after a timeout, a failure or a slow call.",
        )
        .or("\"gradient\""),
        key("min", Kind::Integer { min: 1, max: 1_000_000 }, "Lowest limit.").or("1"),
        key("initial", Kind::Integer { min: 1, max: 1_000_000 }, "Limit to begin with, at most `max`.").or("20"),
        key("tolerance", Kind::Number { min: 1.0, max: 10.0 }, "gradient: growth of latency that is borne.").or("1.5"),
        key("backoff", Kind::Number { min: 0.1, max: 0.99 }, "aimd: what the limit is multiplied with.").or("0.9"),
        key("latency", Kind::Duration, "aimd: a slower call counts as too slow. Absent: none does."),
    ],
};
