//! `[[plugins]]` and `[endpoints.NAME]`.
//!
//! Only what the text says is looked at. What a plugin exports, needs and weighs is found when it is
//! loaded, and reported at the same places.

use super::{
    base_url::base_url,
    cache::operation_name,
    sources::{publishers, remote},
};
use crate::{
    config::{
        keys::quoted,
        reader::{Field, Reader, not_in_this_version},
        settings::{BaseUrl, Origin, PluginSettings, PluginSource},
        suggest::did_you_mean,
    },
    model::OperationName,
};
use bascule_plugin_host::{BreakerLimits, Grants, Limits, LoadError, Role};
use bascule_plugin_source::{PublicKey, Reference};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

/// Capabilities that a plugin may be granted, without those that name something.
const GRANTS: [&str; 4] = ["random", "body-read", "telemetry", "state"];
/// The endpoint of `base_url`, as grants and plugins name it.
const DEFAULT_ENDPOINT: &str = "default";
/// What every plugin may use anyway.
const FREE: [&str; 5] = ["types", "context", "log", "config", "clock"];

/// A name in a plugin's `operations`: one of the file's, or `proxy`, which opts its mappers in there.
fn applies_to_operation(field: &Field<'_, '_>, operations: &[String]) -> Option<OperationName> {
    if field.text().is_some_and(|text| text.value() == OperationName::proxy().as_str()) {
        return Some(OperationName::proxy());
    }
    operation_name(field, operations)
}

/// Reads `[[plugins]]`.
pub(crate) fn plugins(
    field: &Field<'_, '_>,
    operations: &[String],
    endpoints: &[String],
) -> Vec<PluginSettings> {
    let items = field.items().unwrap_or_default();
    items.iter().filter_map(|item| plugin(item.table()?, operations, endpoints)).collect()
}

/// Which code a table names, and what it has to be.
pub(super) struct Code {
    /// Where it comes from, and where that stands; none: there is a problem.
    pub(super) source: Option<(PluginSource, Origin)>,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) signed_by: Vec<PublicKey>,
}

impl Code {
    /// Reads `source`, `sha256` and `signed_by`. `help` says what to write where there is no source.
    pub(super) fn read(table: &Reader<'_, '_>, help: &str) -> Self {
        let field = table.required("source", help);
        let origin = field.as_ref().map(|field| field.ctx.origin(&field.path, &field.span));
        let source = field.and_then(|field| self::source(&field));
        if matches!(source, Some(PluginSource::Remote(Reference::Https(_)))) && !table.has("sha256") {
            let help = "add sha256 = \"…\" of the file that you trust, as `sha256sum FILE` prints it";
            table.problem("source", "an https:// source is not pinned", help);
        }
        let sha256 = table.field("sha256").and_then(|field| digest(&field));
        let signed_by =
            table.field("signed_by").map(|field| publishers(&field, source.as_ref())).unwrap_or_default();
        Self { source: source.zip(origin), sha256, signed_by }
    }
}

fn plugin(table: Reader<'_, '_>, operations: &[String], endpoints: &[String]) -> Option<PluginSettings> {
    let code = Code::read(&table, "write source = \"builtin:NAME\" or source = \"plugins/file.wasm\"");
    let config = table.field("config").map(|field| field.json_table());
    let credentials = table.field("credentials").and_then(|field| field.entries()).unwrap_or_default();
    let secrets: Vec<String> = credentials.iter().map(|(name, _)| name.clone()).collect();
    let credentials: BTreeMap<_, _> =
        credentials.into_iter().filter_map(|(name, value)| Some((name, value.secret()?))).collect();
    let attributes = table.field("attributes").and_then(|field| field.entries()).unwrap_or_default();
    let attributes: BTreeMap<_, _> =
        attributes.into_iter().filter_map(|(name, value)| Some((name, value.string()?))).collect();
    let grants = table.field("grants").and_then(|field| field.items()).unwrap_or_default();
    let grants: Vec<String> = grants.iter().filter_map(|field| grant(field, endpoints, &secrets)).collect();
    let phases = table.field("phases").and_then(|field| field.items());
    let phases =
        phases.map(|items| items.iter().filter_map(|item| Some(item.choice()?.to_owned())).collect());
    let applies_to = table.field("operations").and_then(|field| field.items());
    let applies_to = applies_to
        .map(|items| items.iter().filter_map(|item| applies_to_operation(item, operations)).collect());
    let limits = table.field("limits").and_then(|field| field.table()).map(limits).unwrap_or_default();
    let exchanges = table.field("exchanges").and_then(|field| field.items()).unwrap_or_default();
    let exchanges = exchanges.iter().filter_map(exchange_path).collect();
    if table.field("reuse").and_then(|field| field.boolean()) == Some(true) {
        table.problem(
            "reuse",
            not_in_this_version("reuse = true"),
            "leave it out: every call gets a fresh instance",
        );
    }
    table.finish();
    let Code { source, sha256, signed_by } = code;
    let (source, origin) = source?;
    Some(PluginSettings {
        source,
        sha256,
        signed_by,
        config: Value::Object(config.flatten().unwrap_or_default()),
        credentials,
        attributes,
        // Each was found to be one.
        grants: Grants::parse(grants.iter().map(String::as_str)).unwrap_or_default(),
        role: Role::Phases,
        phases,
        operations: applies_to,
        limits,
        exchanges,
        origin,
    })
}

fn source(field: &Field<'_, '_>) -> Option<PluginSource> {
    let text = field.text()?;
    let value = text.value();
    if let Some(name) = value.strip_prefix("builtin:") {
        if name.is_empty() {
            field.problem("`builtin:` needs a name", "e.g. \"builtin:aws-sigv4\"");
            return None;
        }
        return Some(PluginSource::Builtin(name.to_owned()));
    }
    if value.contains("://") {
        return remote(field, &text).map(PluginSource::Remote);
    }
    let file = field.ctx.root.join(value);
    if value.is_empty() || !file.is_file() {
        field.problem(
            format!("there is no file `{}`", text.written()),
            "the path is relative to the folder of bascule.toml; build the plugin first if it is your own",
        );
        return None;
    }
    Some(PluginSource::File(file))
}

/// A file, or a folder whose files are read when the plugin is loaded.
fn exchange_path(field: &Field<'_, '_>) -> Option<PathBuf> {
    let text = field.text()?;
    let path = field.ctx.root.join(text.value());
    if !text.value().is_empty() && path.exists() {
        return Some(path);
    }
    field.problem(
        format!("there is no file or folder `{}`", text.written()),
        "name a file of recorded exchanges or a folder of them; the path is relative to the folder of bascule.toml",
    );
    None
}

fn digest(field: &Field<'_, '_>) -> Option<[u8; 32]> {
    let text = field.text()?;
    let digest = hex(text.value());
    if digest.is_none() {
        field.problem("not a SHA-256", "write 64 hexadecimal digits, as `sha256sum FILE` prints them");
    }
    digest
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    for (index, octet) in digest.iter_mut().enumerate() {
        *octet = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn grant(field: &Field<'_, '_>, endpoints: &[String], secrets: &[String]) -> Option<String> {
    let text = field.text()?;
    let value = text.value();
    match value.split_once(':') {
        None if GRANTS.contains(&value) => Some(value.to_owned()),
        Some(("http", name)) if name == DEFAULT_ENDPOINT || endpoints.iter().any(|known| known == name) => {
            Some(value.to_owned())
        }
        Some(("http", name)) => {
            let help = did_you_mean(name, endpoints.iter().map(String::as_str)).unwrap_or_else(|| {
                format!(
                    "write [endpoints.{name}] with a base_url, or \"http:default\" for the integration's own"
                )
            });
            field.problem(format!("there is no endpoint `{name}`"), help);
            None
        }
        Some(("reveal", name)) if secrets.iter().any(|known| known == name) => {
            field.ctx.warn(
                &field.path,
                &field.span,
                format!("the plugin may read the secret `{name}` as it is, and give it away"),
                "signers can use a secret without reading it: without the grant, if the plugin allows",
            );
            Some(value.to_owned())
        }
        Some(("reveal", name)) => {
            let help = did_you_mean(name, secrets.iter().map(String::as_str))
                .unwrap_or_else(|| format!("write credentials = {{ {name} = \"${{…}}\" }}"));
            field.problem(format!("`credentials` names no secret `{name}`"), help);
            None
        }
        _ if FREE.contains(&value) => {
            field.problem(format!("`{value}` needs no grant"), "remove it");
            None
        }
        _ => {
            let help = did_you_mean(value, GRANTS).unwrap_or_else(|| {
                format!("there are {}, \"http:ENDPOINT\" and \"reveal:NAME\"", quoted(&GRANTS))
            });
            field.problem(format!("there is no grant `{}`", text.written()), help);
            None
        }
    }
}

/// Reads `limits`.
pub(super) fn limits(table: Reader<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.memory, table.field("memory").and_then(|field| field.size()));
    limits.cpu = table.field("cpu").and_then(|field| field.duration());
    limits.wall = table.field("wall").and_then(|field| field.duration());
    set(&mut limits.body, table.field("body").and_then(|field| field.size()));
    set(&mut limits.artifact, table.field("artifact").and_then(|field| field.size()));
    set(&mut limits.header_bytes, table.field("header_bytes").and_then(|field| octets(&field)));
    set(&mut limits.log_bytes, table.field("log_bytes").and_then(|field| octets(&field)));
    set(&mut limits.instances, table.field("instances").and_then(|field| count(&field)));
    set(&mut limits.header_lines, table.field("header_lines").and_then(|field| count(&field)));
    set(&mut limits.log_lines, table.field("log_lines").and_then(|field| count(&field)));
    set(&mut limits.side_requests, table.field("side_requests").and_then(|field| count(&field)));
    set(&mut limits.handles, table.field("handles").and_then(|field| count(&field)));
    set(&mut limits.key_opens, table.field("key_opens").and_then(|field| count(&field)));
    set(&mut limits.breaker, table.field("breaker").and_then(|field| field.table()).map(breaker));
    if let Err(LoadError::LimitTooHigh { limit, cap }) = limits.check() {
        table.problem(limit, format!("`{limit}` is higher than {cap}"), format!("write at most {cap}"));
    }
    table.finish();
    limits
}

fn breaker(table: Reader<'_, '_>) -> BreakerLimits {
    let mut limits = BreakerLimits::default();
    set(&mut limits.failures, table.field("failures").and_then(|field| field.small()));
    set(&mut limits.min_calls, table.field("min_calls").and_then(|field| field.small()));
    set(&mut limits.open, table.field("open").and_then(|field| field.duration()));
    set(&mut limits.open_max, table.field("open_max").and_then(|field| field.duration()));
    table.finish();
    limits
}

/// What is absent, or a problem already, keeps its default.
fn set<T>(limit: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *limit = value;
    }
}

fn count(field: &Field<'_, '_>) -> Option<usize> {
    usize::try_from(field.integer()?).ok()
}

fn octets(field: &Field<'_, '_>) -> Option<usize> {
    usize::try_from(field.size()?).ok()
}

/// The names of `[endpoints.NAME]`, also of those with problems.
pub(crate) fn endpoint_names(field: &Field<'_, '_>) -> Vec<String> {
    field.entries().unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}

/// Reads `[endpoints.NAME]`.
pub(crate) fn endpoints(field: &Field<'_, '_>) -> BTreeMap<String, BaseUrl> {
    let mut endpoints = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        let Some(table) = value.table() else { continue };
        if name.is_empty() {
            value.problem("an endpoint has a name", "write [endpoints.NAME]");
        }
        if name == DEFAULT_ENDPOINT {
            value.problem("`default` is the endpoint of `base_url`", "give it another name");
        }
        if let Some(field) = table.required("base_url", "write base_url = \"https://…\"")
            && let Some(base) = base_url(&field)
        {
            if base.user_info.is_some() {
                field.problem("an endpoint's URL holds no credentials", "use `credentials` of the plugin");
            }
            endpoints.insert(name, base.url);
        }
        table.finish();
    }
    endpoints
}
