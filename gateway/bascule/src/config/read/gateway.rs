//! `bascule.toml`.

use super::{
    breaker::{SharedBreakers, shared_breakers},
    sources::source_rules,
};
use crate::{
    config::{
        reader::{Field, Reader},
        settings::{
            AdminSettings, AdminToken, ApiKey, CacheSettings, JournalSettings, OutboxSettings, Role,
            ServerSettings, SkipSet, SourceRules, TelemetrySettings, TlsFiles,
        },
    },
    model::Secret,
};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const MIB: u64 = 1 << 20;

/// What `bascule.toml` says.
pub(crate) struct Gateway {
    /// `[server]`.
    pub(crate) server: ServerSettings,
    /// `[admin]`.
    pub(crate) admin: AdminSettings,
    /// `[telemetry]`.
    pub(crate) telemetry: TelemetrySettings,
    /// `[cache]`.
    pub(crate) cache: CacheSettings,
    /// Whether there is a `[cache] shared`, also one with problems.
    pub(crate) has_shared: bool,
    /// `[journal]`.
    pub(crate) journal: Option<JournalSettings>,
    /// `[outbox]`.
    pub(crate) outbox: Option<OutboxSettings>,
    /// Whether there is an `[outbox]`, also one with problems.
    pub(crate) has_outbox: bool,
    /// `[breakers]`.
    pub(crate) breakers: SharedBreakers,
    /// `[plugins]` and `[registries]`; without the lock file's path.
    pub(crate) source_rules: SourceRules,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            server: ServerSettings {
                listen: loopback(8080),
                tls: None,
                api_keys: Vec::new(),
                allow_anonymous: false,
                allow_skip: SkipSet { retry: true, circuit: true, cache: true },
                max_body: 10 * MIB,
                server_timing: false,
                drain_timeout: Duration::from_secs(30),
                watch: false,
            },
            admin: AdminSettings { listen: loopback(8081), tokens: Vec::new() },
            telemetry: TelemetrySettings {
                service_name: "bascule".to_owned(),
                otlp_endpoint: None,
                redact: ["password", "api_key", "token", "secret", "authorization"].map(str::to_owned).into(),
                sample: 1.0,
                completion_log: true,
            },
            cache: CacheSettings { max_size: 64 * MIB, max_entry: MIB, disk: None, shared: None },
            has_shared: false,
            journal: None,
            outbox: None,
            has_outbox: false,
            breakers: SharedBreakers::default(),
            source_rules: SourceRules::default(),
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Reads the file.
pub(crate) fn gateway(top: Reader<'_, '_>) -> Gateway {
    let mut gateway = Gateway::default();
    if let Some(table) = top.field("server").and_then(|field| field.table()) {
        server(&mut gateway.server, table);
    }
    if let Some(table) = top.field("admin").and_then(|field| field.table()) {
        admin(&mut gateway.admin, table);
    }
    if let Some(table) = top.field("telemetry").and_then(|field| field.table()) {
        telemetry(&mut gateway.telemetry, table);
    }
    if let Some(table) = top.field("cache").and_then(|field| field.table()) {
        gateway.has_shared = table.has("shared");
        store(&mut gateway.cache, table);
    }
    gateway.journal = top.field("journal").and_then(|field| field.table()).and_then(super::journal::journal);
    let outbox = top.field("outbox");
    gateway.has_outbox = outbox.is_some();
    gateway.outbox = outbox.and_then(|field| field.table()).and_then(super::outbox::outbox);
    let paths = (&gateway.cache.disk, &gateway.outbox);
    if let (Some(disk), Some(outbox)) = paths
        && disk.path == outbox.path
    {
        top.problem(
            "cache",
            "the cache and the outbox are in the same file",
            "give `cache.disk.path` a file of its own",
        );
    }
    if let Some(field) = top.field("breakers") {
        gateway.breakers = shared_breakers(&field);
    }
    gateway.breakers.unread = top.ctx.broken;
    gateway.source_rules = source_rules(&top);
    let (server, admin) = (gateway.server.listen, gateway.admin.listen);
    if server == admin && server.port() != 0 {
        top.problem(
            "admin",
            "both planes listen on the same address",
            "give `admin.listen` a port of its own",
        );
    }
    top.finish();
    gateway
}

fn server(server: &mut ServerSettings, table: Reader<'_, '_>) {
    set(&mut server.listen, table.field("listen").and_then(|field| listen(&field)));
    server.tls = table.field("tls").and_then(|field| field.table()).and_then(tls);
    if let Some(auth) = table.field("auth").and_then(|field| field.table()) {
        if let Some(keys) = auth.field("api_keys") {
            server.api_keys = callers(&keys);
        }
        auth.finish();
    }
    set(&mut server.allow_anonymous, table.field("allow_anonymous").and_then(|field| field.boolean()));
    set(&mut server.max_body, table.field("max_body").and_then(|field| field.size()));
    set(&mut server.server_timing, table.field("server_timing").and_then(|field| field.boolean()));
    set(&mut server.drain_timeout, table.field("drain_timeout").and_then(|field| field.duration()));
    set(&mut server.watch, table.field("watch").and_then(|field| field.boolean()));
    let open = server.api_keys.is_empty();
    let local = server.listen.ip().is_loopback();
    if open && !local && !server.allow_anonymous {
        table.problem(
            "listen",
            format!("{} is not loopback and nothing says who may call", server.listen),
            "declare `auth.api_keys = [{ name = \"…\", key = \"${…}\" }]`, or say `allow_anonymous = true`",
        );
    }
    server.allow_skip = match table.field("allow_skip") {
        Some(field) => skip_set(&field),
        None if open && local => SkipSet { retry: true, circuit: true, cache: true },
        None => SkipSet::default(),
    };
    table.finish();
}

fn skip_set(field: &Field<'_, '_>) -> SkipSet {
    let mut set = SkipSet::default();
    for word in field.items().unwrap_or_default().iter().filter_map(Field::choice) {
        match word {
            "retry" => set.retry = true,
            "circuit" => set.circuit = true,
            _ => set.cache = true,
        }
    }
    set
}

fn listen(field: &Field<'_, '_>) -> Option<SocketAddr> {
    let text = field.text()?;
    let address = text.value().parse().ok();
    if address.is_none() {
        let help = match text.value().split_once(':') {
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            Some(("" | "*", port)) => format!("write \"0.0.0.0:{port}\" for all addresses"),
            _ => "write an address and a port: \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned(),
        };
        field.problem(format!("`{}` is not an address and a port", text.written()), help);
    }
    address
}

fn tls(table: Reader<'_, '_>) -> Option<TlsFiles> {
    let cert = table.required("cert", "write cert = \"server.pem\"").and_then(|field| existing_file(&field));
    let key = table.required("key", "write key = \"server.key\"").and_then(|field| existing_file(&field));
    let client_ca = table.field("client_ca").map(|field| existing_file(&field));
    table.finish();
    // A client authority that is not there must not mean that clients need no certificate.
    Some(TlsFiles { cert: cert?, key: key?, client_ca: client_ca.map_or(Some(None), |file| file.map(Some))? })
}

/// A file that is there, relative to the folder of `bascule.toml`.
pub(super) fn existing_file(field: &Field<'_, '_>) -> Option<PathBuf> {
    let text = field.text()?;
    let file = field.ctx.root.join(text.value());
    if text.value().is_empty() || !file.is_file() {
        let help = "the path is relative to the folder of bascule.toml";
        field.problem(format!("there is no file `{}`", text.written()), help);
        return None;
    }
    Some(file)
}

fn callers(field: &Field<'_, '_>) -> Vec<ApiKey> {
    let mut unique = Unique::default();
    let mut callers = Vec::new();
    for item in field.items().unwrap_or_default() {
        let Some(table) = item.table() else { continue };
        let name = table.required("name", "name the caller").and_then(|field| unique.name(&field));
        let key = table.required("key", "say what the caller sends").and_then(|field| unique.secret(&field));
        let allow = table.field("allow").map(|field| patterns(&field));
        let priority = super::limits::priority(&table);
        let rate_limit = table.field("rate_limit").and_then(|field| super::limits::one_window(&field));
        table.finish();
        if let (Some(name), Some(key)) = (name, key) {
            callers.push(ApiKey { name, key, allow: allow.unwrap_or_default(), priority, rate_limit });
        }
    }
    callers
}

fn patterns(field: &Field<'_, '_>) -> Vec<String> {
    let Some(items) = field.items() else { return Vec::new() };
    if items.is_empty() {
        field.problem(
            "an empty list lets the caller do nothing",
            "leave `allow` out to let it call everything",
        );
    }
    let mut patterns = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        if is_pattern(text.value()) {
            patterns.push(text.into_value());
        } else {
            item.problem(
                format!("`{}` is not a pattern", text.written()),
                "write \"integration.operation\", \"integration\" or \"*\"; `*` stands for any text within a name",
            );
        }
    }
    patterns
}

fn is_pattern(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*'))
    };
    text.split('.').count() <= 2 && text.split('.').all(part)
}

fn admin(admin: &mut AdminSettings, table: Reader<'_, '_>) {
    set(&mut admin.listen, table.field("listen").and_then(|field| listen(&field)));
    let mut unique = Unique::default();
    let items = table.field("tokens").and_then(|field| field.items()).unwrap_or_default();
    let declared = !items.is_empty();
    for item in items {
        let Some(token) = item.table() else { continue };
        let name = token.required("name", "name the operator").and_then(|field| unique.name(&field));
        let role = token.required("role", "write \"viewer\" or \"admin\"").and_then(|field| field.choice());
        let secret =
            token.required("token", "say what the operator sends").and_then(|field| unique.secret(&field));
        token.finish();
        if let (Some(name), Some(role), Some(token)) = (name, role, secret) {
            let role = if role == "admin" { Role::Admin } else { Role::Viewer };
            admin.tokens.push(AdminToken { name, role, token });
        }
    }
    if !declared && !admin.listen.ip().is_loopback() {
        table.problem(
            "listen",
            format!("{} is not loopback and there are no `tokens`", admin.listen),
            "declare `tokens = [{ name = \"…\", role = \"admin\", token = \"${…}\" }]`",
        );
    }
    table.finish();
}

fn telemetry(telemetry: &mut TelemetrySettings, table: Reader<'_, '_>) {
    set(&mut telemetry.service_name, table.field("service_name").and_then(|field| field.filled()));
    telemetry.otlp_endpoint =
        table.field("otlp_endpoint").and_then(|field| super::base_url::plain_url(&field));
    let redact = table.field("redact").and_then(|field| field.strings());
    set(
        &mut telemetry.redact,
        redact.map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect()),
    );
    set(&mut telemetry.sample, table.field("sample").and_then(|field| field.number()));
    set(&mut telemetry.completion_log, table.field("completion_log").and_then(|field| field.boolean()));
    table.finish();
}

fn store(cache: &mut CacheSettings, table: Reader<'_, '_>) {
    set(&mut cache.max_size, table.field("max_size").and_then(|field| field.size()));
    set(&mut cache.max_entry, table.field("max_entry").and_then(|field| field.size()));
    if cache.max_entry > cache.max_size {
        let name = if table.has("max_entry") { "max_entry" } else { "max_size" };
        table.problem(
            name,
            "one entry may not weigh more than all together",
            "raise `max_size` or lower `max_entry`",
        );
    }
    cache.disk = table.field("disk").and_then(|field| field.table()).and_then(super::outbox::cache_disk);
    cache.shared = super::shared::shared(&table);
    table.finish();
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Names and secrets of a list, of which no two may be the same.
#[derive(Default)]
struct Unique {
    names: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

impl Unique {
    fn name(&mut self, field: &Field<'_, '_>) -> Option<String> {
        let name = field.filled()?;
        if !self.names.insert(name.clone()) {
            field.problem("the name is taken by another entry of the list", "names are unique");
        }
        Some(name)
    }

    fn secret(&mut self, field: &Field<'_, '_>) -> Option<Secret> {
        let secret = field.secret()?;
        if !self.secrets.insert(secret.expose().to_owned()) {
            field.problem(
                "another entry of the list has the same value",
                "give everyone a secret of their own",
            );
        }
        Some(secret)
    }
}
