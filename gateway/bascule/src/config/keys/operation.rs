//! Keys of an operation.

use super::{COUNT, Kind, Table, fan_out::FAN_OUT, key, later, limits::*, policies::*};

pub(super) static OPERATION: Table = Table {
    name: "operation",
    title: "[operations.NAME]",
    about: "One call of the integration, offered as `/v1/INTEGRATION/NAME`. NAME is a letter and up to 63 letters, \
            digits, `_` or `-`; `proxy` is taken.",
    keys: &[
        key("description", Kind::Text, "For people."),
        key(
            "method",
            Kind::Choice { now: &["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], later: &[] },
            "HTTP method upstream.",
        )
        .or("\"GET\""),
        key(
            "path",
            Kind::Pattern("^/|\\$\\{"),
            "Path below `base_url`. `{name}` is one segment, percent-encoded entirely; `{name...}`, only at the end, \
             keeps `/`. Placeholders are required parameters even if undeclared. Required, unless there is `fan_out`.",
        ),
        key(
            "query",
            Kind::Map(&Kind::AnyOf(&[Kind::Text, Kind::Integer { min: 0, max: u64::MAX }, Kind::Boolean])),
            "Query entries, `name = \"text with {placeholders}\"`. One whose optional parameter is absent is left out.",
        ),
        key(
            "headers",
            Kind::Map(&Kind::Text),
            "Headers, laid over the integration's; `{placeholders}` as in `query`, `{{` for a brace.",
        ),
        key(
            "params",
            Kind::Map(&Kind::Table(&PARAMETER)),
            "Parameters. Those that path, query and headers do not use form the body; of a fan-out: what its branches \
             get.",
        ),
        key(
            "body",
            Kind::Choice { now: &["json", "form", "raw", "none"], later: &[] },
            "What the body is: `json` or `form` of the remaining parameters, `raw` the caller's octets streamed \
             through. Absent: json for POST, PUT, PATCH and DELETE, none for GET, HEAD and OPTIONS, which take no other.",
        ),
        TIMEOUT,
        ATTEMPT_TIMEOUT,
        CONNECT_TIMEOUT,
        READ_TIMEOUT,
        WRITE_TIMEOUT,
        BODY_TIMEOUT,
        key(
            "retry",
            Kind::Table(&OPERATION_RETRY),
            "Retry rule of its own; only on operations that are safe to retry.",
        ),
        key(
            "retry_safe",
            Kind::Boolean,
            "Whether sending it twice does no harm. Absent: true for GET, HEAD, OPTIONS, PUT, DELETE and with \
             `idempotency`.",
        ),
        key(
            "circuit_breaker",
            CIRCUIT_BREAKER,
            "A breaker of its own, or the name of a shared one. Absent: the integration's.",
        ),
        key("rate_limit", Kind::Table(&RATE_LIMIT), "A budget of its own, beside the integration's."),
        key("cost", COUNT, "Tokens that each attempt takes from the rate limits.").or("1"),
        PRIORITY,
        OPERATION_HEDGE,
        key(
            "cache",
            Kind::AnyOf(&[
                Kind::Duration,
                Kind::Choice { now: &["off", "http"], later: &[] },
                Kind::Table(&OPERATION_CACHE),
            ]),
            "A duration, `\"http\"` (as the provider's answers say), `\"off\"` or a table. Absent: the integration's `[cache]` when the method is GET or HEAD.",
        ),
        FALLBACK,
        FALLBACK_ON,
        IDEMPOTENCY,
        ERRORS,
        FORWARD_HEADERS,
        FAN_OUT,
        later("batching", "make the calls one by one"),
        later("signature", "use a signer plugin: [[plugins]]"),
        later("dead_letter", "keep what failed on the caller's side"),
    ],
};

static PARAMETER: Table = Table {
    name: "parameter",
    title: "operations.NAME.params.NAME",
    about: "One parameter. Anything else than the declared ones is refused with 422.",
    keys: &[
        key(
            "type",
            Kind::Choice { now: &["string", "integer", "number", "boolean", "array", "object"], later: &[] },
            "Its type.",
        )
        .or("\"string\""),
        key(
            "required",
            Kind::Boolean,
            "Whether it must be given. In the path: always, unless it has a default.",
        )
        .or("false"),
        key("default", Kind::Json, "Filled in when it is absent. Must fit the parameter itself."),
        key("enum", Kind::List(&Kind::Json), "The values that it may have."),
        key("minimum", Kind::Number { min: f64::MIN, max: f64::MAX }, "Smallest number."),
        key("maximum", Kind::Number { min: f64::MIN, max: f64::MAX }, "Largest number."),
        key(
            "pattern",
            Kind::Text,
            "A regular expression that must match somewhere in the text (`^…$` for all of it); without look-around and \
             back-references.",
        ),
        key(
            "format",
            Kind::Choice {
                now: &[
                    "date-time",
                    "date",
                    "time",
                    "duration",
                    "email",
                    "hostname",
                    "ipv4",
                    "ipv6",
                    "uri",
                    "uuid",
                ],
                later: &[],
            },
            "A form that the text must have.",
        ),
        key("description", Kind::Text, "For people."),
    ],
};
