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
        reader::{Field, Reader, not_in_this_version},
        settings::{BaseUrl, PluginLimits, PluginSettings, PluginSource},
        suggest::did_you_mean,
    },
    model::OperationName,
};
use bascule_plugin_source::Reference;
use serde_json::Value;
use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

/// Capabilities that a plugin may be granted.
const GRANTS: [&str; 2] = ["random", "body-read"];
/// Those of the contract that this version does not have.
const LATER: [&str; 2] = ["telemetry", "state"];
/// Their forms with an argument.
const LATER_WITH_ARGUMENT: [&str; 2] = ["http:", "reveal:"];
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
pub(crate) fn plugins(field: &Field<'_, '_>, operations: &[String]) -> Vec<PluginSettings> {
    let items = field.items().unwrap_or_default();
    items.iter().filter_map(|item| plugin(item.table()?, operations)).collect()
}

fn plugin(table: Reader<'_, '_>, operations: &[String]) -> Option<PluginSettings> {
    let source =
        table.required("source", "write source = \"builtin:NAME\" or source = \"plugins/file.wasm\"");
    let origin = source.as_ref().map(|field| field.ctx.origin(&field.path, &field.span));
    let source = source.and_then(|field| self::source(&field));
    if matches!(source, Some(PluginSource::Remote(Reference::Https(_)))) && !table.has("sha256") {
        let help = "add sha256 = \"…\" of the file that you trust, as `sha256sum FILE` prints it";
        table.problem("source", "an https:// source is not pinned", help);
    }
    let sha256 = table.field("sha256").and_then(|field| digest(&field));
    let signed_by =
        table.field("signed_by").map(|field| publishers(&field, source.as_ref())).unwrap_or_default();
    let config = table.field("config").map(|field| field.json_table());
    let credentials = table.field("credentials").and_then(|field| field.entries()).unwrap_or_default();
    let credentials: BTreeMap<_, _> =
        credentials.into_iter().filter_map(|(name, value)| Some((name, value.secret()?))).collect();
    let attributes = table.field("attributes").and_then(|field| field.entries()).unwrap_or_default();
    let attributes: BTreeMap<_, _> =
        attributes.into_iter().filter_map(|(name, value)| Some((name, value.string()?))).collect();
    let grants = table.field("grants").and_then(|field| field.items()).unwrap_or_default();
    let grants = grants.iter().filter_map(grant).collect();
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
    Some(PluginSettings {
        source: source?,
        sha256,
        signed_by,
        config: Value::Object(config.flatten().unwrap_or_default()),
        credentials,
        attributes,
        grants,
        phases,
        operations: applies_to,
        limits,
        exchanges,
        origin: origin?,
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

fn grant(field: &Field<'_, '_>) -> Option<String> {
    let text = field.text()?;
    let value = text.value();
    if GRANTS.contains(&value) {
        return Some(value.to_owned());
    }
    let later = LATER.contains(&value) || LATER_WITH_ARGUMENT.iter().any(|prefix| value.starts_with(prefix));
    if later {
        field.problem(not_in_this_version(value), "use a plugin that does without");
    } else if FREE.contains(&value) {
        field.problem(format!("`{value}` needs no grant"), "remove it");
    } else {
        let help =
            did_you_mean(value, GRANTS).unwrap_or_else(|| "write \"random\" or \"body-read\"".to_owned());
        field.problem(format!("there is no grant `{}`", text.written()), help);
    }
    None
}

fn limits(table: Reader<'_, '_>) -> PluginLimits {
    let limits = PluginLimits {
        memory: table.field("memory").and_then(|field| field.size()),
        cpu: table.field("cpu").and_then(|field| field.duration()),
        wall: table.field("wall").and_then(|field| field.duration()),
        body: table.field("body").and_then(|field| field.size()),
        instances: table
            .field("instances")
            .and_then(|field| field.count())
            .and_then(|count| NonZeroUsize::try_from(count).ok()),
    };
    table.finish();
    limits
}

/// Reads `[endpoints.NAME]`.
pub(crate) fn endpoints(field: &Field<'_, '_>) -> BTreeMap<String, BaseUrl> {
    let mut endpoints = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        let Some(table) = value.table() else { continue };
        if name.is_empty() {
            value.problem("an endpoint has a name", "write [endpoints.NAME]");
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
