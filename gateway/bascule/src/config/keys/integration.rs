//! Keys of `integrations/NAME.toml`.

use super::{Key, Kind, Table, key, later, limits::*, operation::OPERATION, policies::*};

/// `integrations/NAME.toml`.
pub(crate) static INTEGRATION: Table = Table {
    name: "integration",
    title: "integrations/NAME.toml",
    about: "One third-party API. The file's name is the integration's: a letter and up to 63 letters, digits, `_` or `-`.",
    keys: &[
        key(
            "type",
            Kind::Choice {
                now: &["rest", "wasm"],
                later: &["graphql", "grpc", "webhook", "postgres", "redis", "amqp"],
            },
            "What answers its requests: a server, by HTTP, or a component in the gateway.",
        )
        .or("\"rest\""),
        key("description", Kind::Text, "For people."),
        key("base_url", BASE_URL, "Where calls go: `http` or `https`, host, port, path prefix. `user:password@` becomes basic auth. Required, unless all operations are fan-outs (then there is no `/proxy`) or `type` is `wasm`."),
        key("headers", Kind::Map(&Kind::Text), "Headers of every request, `/proxy` included. No placeholders."),
        TIMEOUT.or("\"30s\""),
        ATTEMPT_TIMEOUT,
        CONNECT_TIMEOUT.or("\"10s\""),
        READ_TIMEOUT.or("\"30s\""),
        WRITE_TIMEOUT.or("\"30s\""),
        BODY_TIMEOUT,
        FALLBACK,
        FALLBACK_ON,
        FORWARD_HEADERS,
        IDEMPOTENCY,
        key("proxy", Kind::Boolean, "Whether `/proxy/NAME/…` is offered.").or("true"),
        key(
            "allow_private",
            Kind::Boolean,
            "Whether upstream addresses of private networks are allowed. Loopback is, when `base_url` names it.",
        )
        .or("false"),
        ERRORS,
        PRIORITY.or("\"normal\""),
        HEDGE,
        key("auth", Kind::Table(&AUTH), "How requests are authenticated upstream. Absent: not at all."),
        key("retry", Kind::Table(&RETRY), "Retries. Absent: the defaults of the table."),
        key("circuit_breaker", CIRCUIT_BREAKER, "The breaker, or the name of a shared one. Absent: the defaults of the table."),
        key("rate_limit", Kind::Table(&RATE_LIMIT), "The integration's own budget. Absent: none."),
        key("cache", Kind::Table(&CACHE), "Caching of safe operations. Absent: none."),
        key("concurrency", Kind::Table(&CONCURRENCY), "Calls at a time. Absent: the defaults of the table."),
        key("endpoints", Kind::Map(&Kind::Table(&ENDPOINT)), "Further endpoints that plugins may pick by name."),
        key("plugins", Kind::List(&Kind::Table(&PLUGIN)), "Plugins, in the order in which mappers run."),
        key("component", Kind::Table(&COMPONENT), "type `wasm`: what answers, in place of `base_url`, `auth`, `endpoints` and `plugins`. Required there."),
        key("operations", Kind::Map(&Kind::Table(&OPERATION)), "The calls that are offered, by name."),
        later("batching", "make the calls one by one"),
        later("signature", "use a signer plugin: [[plugins]]"),
        later("dead_letter", "keep what failed on the caller's side"),
    ],
};

const BASE_URL: Kind = Kind::Pattern("^https?://|\\$\\{");

static AUTH: Table = Table {
    name: "auth",
    title: "[auth]",
    about: "How requests are authenticated upstream. Which keys apply depends on `type`.",
    keys: &[
        key(
            "type",
            Kind::Choice { now: &["none", "bearer", "api_key", "basic", "oauth2", "plugin"], later: &[] },
            "`bearer`: token. `api_key`: key, in, name. `basic`: username, password. `oauth2` (client credentials): \
             token_url, client_id, client_secret, scopes, audience. `plugin`: a `signer` or `token-source` of `[[plugins]]`; scopes.",
        )
        .required(),
        key("token", Kind::Secret, "bearer: the token. Required."),
        key("key", Kind::Secret, "api_key: the key. Required."),
        key("in", Kind::Choice { now: &["header", "query"], later: &[] }, "api_key: where it goes; `header` when absent."),
        key("name", Kind::Text, "api_key: the header (`X-API-Key` when absent) or the query parameter (required)."),
        key("username", Kind::Text, "basic: the user. Required."),
        key("password", Kind::Secret, "basic: the password. Required, may be empty."),
        key("token_url", BASE_URL, "oauth2: the token endpoint. Required."),
        key("client_id", Kind::Text, "oauth2: the client. Required."),
        key("client_secret", Kind::Secret, "oauth2: its secret. Required."),
        key("scopes", Kind::List(&Kind::Text), "oauth2: scopes to ask for, together; none when absent. plugin: scopes that the `token-source` is asked for, one token each; the empty scope when absent."),
        key("audience", Kind::Text, "oauth2: `audience`, which some providers want."),
    ],
};

static ENDPOINT: Table = Table {
    name: "endpoint",
    title: "[endpoints.NAME]",
    about: "A further endpoint.",
    keys: &[key("base_url", BASE_URL, "As the integration's, without `user:password@`.").required()],
};

const SOURCE: Key = key(
    "source",
    Kind::Text,
    "`builtin:NAME`, a file beside `bascule.toml`, `https://…` with `sha256`, or `oci://registry/repository:tag`.",
)
.required();

const SHA256: Key =
    key("sha256", Kind::Pattern("^[0-9A-Fa-f]{64}$|\\$\\{"), "Pins the content: 64 hexadecimal digits.");

const SIGNED_BY: Key = key(
    "signed_by",
    Kind::List(&Kind::Text),
    "Publishers' public keys (Ed25519 or P-256, PEM files beside `bascule.toml`), of which one must have signed the \
     plugin. Absent: signatures are not looked at.",
);

static PLUGIN: Table = Table {
    name: "plugin",
    title: "[[plugins]]",
    about: "One plugin. Two that export the same phase for one operation are an error, except `response-mapper` and \
            `error-mapper`, which run in file order.",
    keys: &[
        SOURCE,
        SHA256,
        SIGNED_BY,
        key("config", Kind::JsonTable, "What the plugin sees as its configuration."),
        key(
            "credentials",
            Kind::Map(&Kind::Secret),
            "Secrets by name that the plugin may use (sign with, insert) but never read.",
        ),
        key("attributes", Kind::Map(&Kind::Text), "Texts by name that the plugin may read."),
        key(
            "grants",
            Kind::List(&Kind::Text),
            "What it may use beyond `types`, `context`, `log`, `config` and `clock`: `\"random\"`, `\"body-read\"`, `\"telemetry\"`, \
             `\"state\"`, `\"http:ENDPOINT\"` (`default` is `base_url`), `\"reveal:NAME\"` (a secret of `credentials`; warned about).",
        )
        .or("[]"),
        key(
            "phases",
            Kind::List(&Kind::Choice {
                now: &[
                    "lifecycle",
                    "request-mapper",
                    "cache-policy",
                    "signer",
                    "token-source",
                    "classifier",
                    "response-mapper",
                    "error-mapper",
                ],
                later: &[],
            }),
            "The phases to use. Absent: all that it exports.",
        ),
        key(
            "operations",
            Kind::List(&Kind::Text),
            "The operations it applies to. Absent: all of them, and its signer, token source and classifier for `/proxy`; `proxy` names all its phases there.",
        ),
        key("limits", Kind::Table(&PLUGIN_LIMITS), "Its limits; what is absent is the host's default."),
        key(
            "exchanges",
            Kind::List(&Kind::Text),
            "Recorded exchanges that a version must pass before it goes live, beside those that its file brings along: \
             files, and folders of `*.json`, beside `bascule.toml`.",
        )
        .or("[]"),
        key("reuse", Kind::Boolean, "Whether instances are used again; only `false` in this version.").or("false"),
    ],
};

static PLUGIN_LIMITS: Table = Table {
    name: "plugin_limits",
    title: "plugins[].limits",
    about: "Limits of one plugin. What is absent is the host's default; nothing goes beyond the cap.",
    keys: &[
        key("memory", Kind::Size, "Linear memory of one instance; 64MiB when absent, at most 4GiB."),
        key("cpu", Kind::Duration, "CPU time of one phase; 20 to 100ms by phase when absent, at most 1m."),
        key(
            "wall",
            Kind::Duration,
            "Wall time of one phase; 250ms when absent, 5s with a grant `http:…`, at most 10m.",
        ),
        key(
            "body",
            Kind::Size,
            "Largest body that it may read, make or fetch; 2MiB when absent, at most 64MiB.",
        ),
        key("instances", up_to(65_536), "Instances at a time; 64 when absent."),
        key("artifact", Kind::Size, "Largest file that is loaded; 32MiB when absent, at most 64MiB."),
        key("header_lines", up_to(1_000), "Header lines that a phase may return; 100 when absent."),
        key("header_bytes", Kind::Size, "Octets of the same; 32KiB when absent, at most 256KiB."),
        key("log_lines", up_to(10_000), "Log lines of one phase; 32 when absent."),
        key("log_bytes", Kind::Size, "Octets of the same; 8KiB when absent, at most 1MiB."),
        key("side_requests", up_to(100), "Side requests of one phase; 4 when absent."),
        key("handles", up_to(65_536), "Bodies and keys that one phase may hold; 256 when absent."),
        key("key_opens", up_to(65_536), "Keys that one phase may open; 64 when absent."),
        key(
            "breaker",
            Kind::Table(&PLUGIN_BREAKER),
            "When the plugin is left alone. Absent: the defaults of the table.",
        ),
    ],
};

static PLUGIN_BREAKER: Table = Table {
    name: "plugin_breaker",
    title: "plugins[].limits.breaker",
    about: "A plugin that keeps failing (traps, limits) is left alone for a while: its calls are refused with `plugin-unavailable`.",
    keys: &[
        key("failures", up_to(1_000), "Failures in a row that open it; 5 when absent."),
        key(
            "min_calls",
            up_to(100_000),
            "Calls within 10s of which half must fail to open it; 20 when absent.",
        ),
        key(
            "open",
            Kind::Duration,
            "How long it stays open at first, doubling; 10s when absent, at most 1h.",
        ),
        key("open_max", Kind::Duration, "How long it stays open at most; 5m when absent, at most 1h."),
    ],
};

static COMPONENT: Table = Table {
    name: "component",
    title: "[component]",
    about: "The component that answers an integration of type `wasm`: a file that exports `wasi:http/incoming-handler` (0.2).",
    keys: &[
        SOURCE,
        SHA256,
        SIGNED_BY,
        key("config", Kind::JsonTable, "Its environment variables; what is no text is written as JSON. No place for secrets."),
        key(
            "calls",
            Kind::List(&Kind::Text),
            "Integrations that it may call: `http://NAME.internal/path` is what `/proxy/NAME/path` is for callers. Everything \
             else is refused.",
        )
        .or("[]"),
        key(
            "grants",
            Kind::List(&Kind::Choice { now: &["random"], later: &[] }),
            "What it may use beyond time, console, environment and `calls`.",
        )
        .or("[]"),
        key(
            "limits",
            Kind::Table(&PLUGIN_LIMITS),
            "Its limits, each for one request. What is absent is the host's default: `cpu` 1s and `wall` 30s, which runs until \
             the end of the answer's body; `side_requests` are those to `calls`. `body` and `key_opens` do not apply.",
        ),
    ],
};

/// A whole number from 1 to its cap.
const fn up_to(max: u64) -> Kind {
    Kind::Integer { min: 1, max }
}
