//! Keys of `bascule.toml`.

use super::{
    COUNT, Kind, SHARE, Table, key, later,
    limits::{PRIORITIES, WINDOW},
    policies::BREAKER,
};

/// `bascule.toml`.
pub(crate) static GATEWAY: Table = Table {
    name: "gateway",
    title: "bascule.toml",
    about: "The gateway itself. Every table may be left out; an empty file is a working gateway.",
    keys: &[
        key("server", Kind::Table(&SERVER), "The data plane: where callers connect."),
        key("admin", Kind::Table(&ADMIN), "The admin plane: where operators connect."),
        key("telemetry", Kind::Table(&TELEMETRY), "Traces, metrics and logs."),
        key("cache", Kind::Table(&STORE), "The response store that all integrations share."),
        key("journal", Kind::Table(&JOURNAL), "A record of every call, in files. Absent: none."),
        key(
            "outbox",
            Kind::Table(&OUTBOX),
            "The queue for later, which ladders with `{ queue = true }` need. Absent: none.",
        ),
        key(
            "plugins",
            Kind::Table(&SOURCE_RULES),
            "How plugins that are not files of this machine are taken.",
        ),
        key(
            "registries",
            Kind::Map(&Kind::Table(&REGISTRY)),
            "Registries of plugins and other servers that plugins come from, by host, with the port if it is not the usual one.",
        ),
        key(
            "breakers",
            Kind::Map(&Kind::Table(&BREAKER)),
            "Circuits to share, by name: integrations and operations that say `circuit_breaker = \"NAME\"` use the same \
             one. NAME is a letter and up to 63 letters, digits, `_` or `-`.",
        ),
    ],
};

const LISTEN: Kind = Kind::Pattern("^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$|\\$\\{");

static SERVER: Table = Table {
    name: "server",
    title: "[server]",
    about: "The data plane: where callers connect.",
    keys: &[
        key("listen", LISTEN, "Address and port. Port 0 takes a free one.").or("\"127.0.0.1:8080\""),
        key(
            "tls",
            Kind::Table(&TLS),
            "Serves HTTPS. Absent: plain HTTP. Changes take effect with the next start.",
        ),
        key("auth", Kind::Table(&SERVER_AUTH), "Who may call. Absent: anyone who can reach the listener."),
        key(
            "allow_anonymous",
            Kind::Boolean,
            "Whether a listener off loopback may go without `auth.api_keys`; it is refused otherwise.",
        )
        .or("false"),
        key(
            "allow_skip",
            Kind::List(&Kind::Choice { now: &["retry", "circuit", "cache"], later: &[] }),
            "What callers may bypass with the header `Bascule-Skip`. Absent: everything on a loopback listener \
             without auth, otherwise nothing.",
        ),
        key("max_body", Kind::Size, "Largest body that is held (JSON, forms); raw bodies stream.")
            .or("\"10MiB\""),
        key("server_timing", Kind::Boolean, "Whether answers carry `Server-Timing`.").or("false"),
        key(
            "drain_timeout",
            Kind::Duration,
            "How long calls in flight may take to finish on shutdown; then the process exits with 75.",
        )
        .or("\"30s\""),
        key(
            "watch",
            Kind::Boolean,
            "Whether changes of configuration files, plugin files and their exchanges are loaded by themselves, within \
             some seconds, as `POST /config/reload` would.",
        )
        .or("false"),
        later("inbound", "limit callers in front of the gateway"),
    ],
};

static TLS: Table = Table {
    name: "tls",
    title: "server.tls",
    about: "PEM files of the listener; relative paths start in the folder of `bascule.toml`.",
    keys: &[
        key("cert", Kind::Text, "Certificate chain.").required(),
        key("key", Kind::Text, "Private key.").required(),
        key("client_ca", Kind::Text, "Authority of client certificates; when set, clients must show one."),
    ],
};

static SERVER_AUTH: Table = Table {
    name: "server_auth",
    title: "server.auth",
    about: "Authentication of callers.",
    keys: &[key(
        "api_keys",
        Kind::List(&Kind::Table(&CALLER)),
        "Callers that are let in, sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Names and keys are unique.",
    )
    .or("[]")],
};

static CALLER: Table = Table {
    name: "caller",
    title: "server.auth.api_keys[]",
    about: "One caller of the data plane.",
    keys: &[
        key("name", Kind::Text, "The caller's name in completion records.").required(),
        key("key", Kind::Secret, "What the caller sends. Not empty.").required(),
        key(
            "allow",
            Kind::List(&Kind::Pattern("^[A-Za-z0-9_*-]+(\\.[A-Za-z0-9_*-]+)?$")),
            "What the caller may call: `integration.operation` with `*` as wildcard; `stripe` means `stripe.*`, \
             `/proxy` included. Absent: everything.",
        ),
        key(
            "priority",
            PRIORITIES,
            "How much this caller's calls matter beside others; wins over the operation's. Absent: the operation's.",
        ),
        key(
            "rate_limit",
            Kind::Table(&WINDOW),
            "How many calls this caller may make, whatever it calls; beyond it 429 `rate-limited`. Absent: any number.",
        ),
    ],
};

static ADMIN: Table = Table {
    name: "admin",
    title: "[admin]",
    about: "The admin plane: where operators connect.",
    keys: &[
        key("listen", LISTEN, "Address and port. Off loopback only with `tokens`.").or("\"127.0.0.1:8081\""),
        key(
            "tokens",
            Kind::List(&Kind::Table(&OPERATOR)),
            "Operators, sent as `Authorization: Bearer TOKEN`. Names and tokens are unique. Empty: anyone on this machine.",
        )
        .or("[]"),
    ],
};

static OPERATOR: Table = Table {
    name: "operator",
    title: "admin.tokens[]",
    about: "One operator of the admin plane.",
    keys: &[
        key("name", Kind::Text, "Whose token it is, for the audit log.").required(),
        key(
            "role",
            Kind::Choice { now: &["viewer", "admin"], later: &[] },
            "`viewer` reads, `admin` also acts.",
        )
        .required(),
        key("token", Kind::Secret, "What the operator sends. Not empty.").required(),
    ],
};

static TELEMETRY: Table = Table {
    name: "telemetry",
    title: "[telemetry]",
    about: "Traces, metrics and logs.",
    keys: &[
        key("service_name", Kind::Text, "`service.name` of the exported resource.").or("\"bascule\""),
        key(
            "otlp_endpoint",
            Kind::Pattern("^https?://|\\$\\{"),
            "Base of an OTLP/HTTP endpoint; `/v1/traces` and `/v1/metrics` are appended. Absent: no export.",
        ),
        key(
            "redact",
            Kind::List(&Kind::Text),
            "Names whose values are redacted in everything that is printed, in any case. Replaces the default list.",
        )
        .or("[\"password\", \"api_key\", \"token\", \"secret\", \"authorization\"]"),
        key("sample", SHARE, "Share of calls traced when the caller did not decide.").or("1.0"),
        key("completion_log", Kind::Boolean, "Whether every call writes a completion record.").or("true"),
    ],
};

static STORE: Table = Table {
    name: "store",
    title: "[cache] of bascule.toml",
    about: "The response store that all integrations share.",
    keys: &[
        key("max_size", Kind::Size, "What all entries together may weigh.").or("\"64MiB\""),
        key("max_entry", Kind::Size, "What one entry may weigh; a larger answer is passed on, not stored.")
            .or("\"1MiB\""),
        key(
            "disk",
            Kind::Table(&DISK),
            "Keeps what is stored over a restart; absent: every start begins without answers.",
        ),
        key(
            "shared",
            Kind::Secret,
            "The Redis or Valkey that this gateway shares with others: `redis://[user][:password@]host[:port][/db]`, \
             `rediss://…` (TLS) or `unix:///path`. It is never waited for: see docs/shared-state.md. Absent: none.",
        ),
        key("shared_timeout", Kind::Duration, "The longest that anything waits for that server.").or("\"50ms\""),
        key(
            "shared_key",
            Kind::Secret,
            "What entries kept on that server are signed with, the same for all gateways; at least 16 characters. \
             Required when the server is on another machine.",
        ),
        key(
            "shared_prefix",
            Kind::Text,
            "What the names of all its keys and channels begin with. Gateways that share state have the same one.",
        )
        .or("\"bascule\""),
    ],
};

static DISK: Table = Table {
    name: "disk",
    title: "[cache.disk]",
    about: "The file in which the response store outlives the process. Changes take effect with the next start. Every key may \
            be left out.",
    keys: &[
        key(
            "path",
            Kind::Text,
            "The file, on a local disk; made when it is missing, for its owner alone; its folder is not. A relative path \
             starts in the folder of `bascule.toml`. No two gateways share one.",
        )
        .or("\"cache.db\""),
        key(
            "max_size",
            Kind::Size,
            "How large the file may be; what was stored first is given up. Beside it there is a log of some MiB.",
        )
        .or("\"256MiB\""),
    ],
};

static JOURNAL: Table = Table {
    name: "journal",
    title: "[journal]",
    about: "What became of every call, one JSON line each: no bodies, parameters, URLs, headers or callers.",
    keys: &[
        key(
            "folder",
            Kind::Text,
            "Where the files are; made when it is missing. Relative paths start in the folder of `bascule.toml`. \
             No two gateways share one.",
        )
        .required(),
        key("max_file", Kind::Size, "A file that would grow larger is closed; from `16KiB`.").or("\"16MiB\""),
        key(
            "max_files",
            Kind::Integer { min: 1, max: 9999 },
            "Most files that are kept; the oldest is removed before a new one is begun.",
        )
        .or("8"),
    ],
};

static OUTBOX: Table = Table {
    name: "outbox",
    title: "[outbox]",
    about: "Calls that wait for their provider to come back, in one file. Every key may be left out.",
    keys: &[
        key(
            "path",
            Kind::Text,
            "The file, on a local disk; made when it is missing, its folder is not. A relative path starts in the folder \
             of `bascule.toml`. No two gateways share one. Changes take effect with the next start.",
        )
        .or("\"outbox.db\""),
        key(
            "max_entries",
            COUNT,
            "Most entries, finished ones included. A full outbox forgets what was done first; without any such, the \
             rung is passed over.",
        )
        .or("10000"),
        key("max_size", Kind::Size, "What all entries together may weigh.").or("\"256MiB\""),
        key(
            "max_body",
            Kind::Size,
            "What the parameters and the body of one call may weigh; for a larger call the rung is passed over.",
        )
        .or("\"1MiB\""),
        key("retention", Kind::Duration, "How long finished entries can be asked about.").or("\"7d\""),
        key("give_up_after", Kind::Duration, "How long a call is tried; then it is dead.").or("\"24h\""),
        key("concurrency", Kind::Integer { min: 1, max: 1024 }, "Calls that are delivered at a time.").or("8"),
    ],
};

static SOURCE_RULES: Table = Table {
    name: "source_rules",
    title: "[plugins] of bascule.toml",
    about: "How plugins that are not files of this machine are taken.",
    keys: &[key(
        "locked",
        Kind::Boolean,
        "Whether a tag is refused that neither `bascule.lock` nor a pin holds; otherwise it is followed, with a warning.",
    )
    .or("false")],
};

static REGISTRY: Table = Table {
    name: "registry",
    title: "[registries.\"HOST\"]",
    about: "One server that plugins come from. Without a table it is asked anonymously and has to have public addresses.",
    keys: &[
        key("username", Kind::Text, "The login's user name. With `password`."),
        key("password", Kind::Secret, "Its password or access token."),
        key(
            "allow_private",
            Kind::Boolean,
            "Whether it may have addresses of private networks. Loopback may be used when a `source` names it.",
        )
        .or("false"),
    ],
};
