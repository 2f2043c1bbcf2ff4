//! `[component]`: the backend of an integration with `type = "wasm"`.
//!
//! It is a plugin in another role, so what is read becomes the settings of one. What it replaces is refused: there is no
//! connection that could time out, and no credentials, since every header that is sent enters the component.

use super::plugins::{Code, limits};
use crate::{
    config::{
        reader::{Field, Reader},
        settings::{BaseUrl, HeaderSetting, Origin, PluginSettings, QueryEntry},
    },
    model::IntegrationName,
};
use bascule_plugin_host::{Grants, Limits, Role};
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys of an integration that speak of a server, or of what is sent to one.
const NOT_HERE: [&str; 5] = ["base_url", "endpoints", "plugins", "auth", "allow_private"];
/// Keys of integrations and operations that speak of a connection.
const CONNECTION: [&str; 4] = ["connect_timeout", "read_timeout", "write_timeout", "body_timeout"];
const SECRETS_STAY_OUT: &str =
    "secrets stay out of components: let it call an integration that has them in [auth]";

/// A component, and what it may call.
pub(crate) struct Component {
    pub(crate) settings: PluginSettings,
    pub(crate) calls: Vec<CallPlace>,
}

/// An integration that a component may call.
pub(crate) struct CallPlace {
    /// Where it is named.
    pub(crate) origin: Origin,
    /// Its name.
    pub(crate) integration: IntegrationName,
}

/// Reads `[component]`.
pub(super) fn component(field: &Field<'_, '_>) -> Option<Component> {
    let table = field.table()?;
    let code = Code::read(&table, "write source = \"components/file.wasm\"");
    let config = table.field("config").map(|field| field.json_table()).unwrap_or_default();
    let config = config.unwrap_or_default();
    if let Some(name) = config.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let message = format!("`{}` cannot be an environment variable", name.escape_debug());
        table.problem("config", message, "the component finds `config` as its environment: rename the key");
    }
    let calls = table.field("calls").and_then(|field| field.items()).unwrap_or_default();
    let calls: Vec<CallPlace> = calls.iter().filter_map(call).collect();
    let grants = table.field("grants").and_then(|field| field.items()).unwrap_or_default();
    let grants: Vec<&str> = grants.iter().filter_map(Field::choice).collect();
    let limits = table.field("limits").and_then(|field| field.table()).map(own_limits).unwrap_or_default();
    table.finish();
    let Code { source, sha256, signed_by } = code;
    let (source, origin) = source?;
    let names = calls.iter().map(|call| call.integration.as_str().to_owned());
    let settings = PluginSettings {
        source,
        sha256,
        signed_by,
        config: Value::Object(config),
        credentials: BTreeMap::new(),
        attributes: BTreeMap::new(),
        // Each is one of the choices.
        grants: Grants::parse(grants).unwrap_or_default(),
        role: Role::Backend { calls: names.collect() },
        phases: None,
        operations: None,
        limits,
        exchanges: Vec::new(),
        origin,
    };
    Some(Component { settings, calls })
}

/// Bodies are streams, and there are no keys.
fn own_limits(table: Reader<'_, '_>) -> Limits {
    for key in ["body", "key_opens"].into_iter().filter(|key| table.has(key)) {
        table.problem(key, format!("`{key}` does not apply to components"), "remove it");
    }
    limits(table)
}

fn call(field: &Field<'_, '_>) -> Option<CallPlace> {
    let text = field.text()?;
    match IntegrationName::new(text.value()) {
        Ok(integration) => {
            Some(CallPlace { origin: field.ctx.origin(&field.path, &field.span), integration })
        }
        Err(error) => {
            field.problem(error.to_string(), "name an integration of this configuration");
            None
        }
    }
}

/// Where the requests to a component say that they go: a name that no server of the world has, and that nobody connects
/// to.
pub(super) fn address(name: &IntegrationName) -> BaseUrl {
    let host = format!("{name}.internal");
    BaseUrl { https: false, authority: host.clone(), host, port: 80, path: String::new(), loopback: false }
}

/// Refuses what an integration of this type has no use for.
pub(super) fn refuse_for_integration(top: &Reader<'_, '_>, headers: &[HeaderSetting]) {
    for key in NOT_HERE.into_iter().filter(|key| top.has(key)) {
        top.problem(
            key,
            format!("`{key}` does not apply to type \"wasm\""),
            "remove it: [component] answers",
        );
    }
    refuse_connection(top);
    refuse_secrets(top, headers, &[]);
}

/// The same of an operation.
pub(super) fn refuse_for_operation(table: &Reader<'_, '_>, headers: &[HeaderSetting], query: &[QueryEntry]) {
    refuse_connection(table);
    refuse_secrets(table, headers, query);
}

fn refuse_connection(table: &Reader<'_, '_>) {
    for key in CONNECTION.into_iter().filter(|key| table.has(key)) {
        let message = format!("`{key}` does not apply to type \"wasm\"");
        table.problem(key, message, "remove it: `timeout` and the component's `limits` bound its time");
    }
}

fn refuse_secrets(table: &Reader<'_, '_>, headers: &[HeaderSetting], query: &[QueryEntry]) {
    if let Some(header) = headers.iter().find(|header| header.secret) {
        let message = format!("`{}` holds a secret, which would enter the component", header.name);
        table.problem("headers", message, SECRETS_STAY_OUT);
    }
    if let Some(entry) = query.iter().find(|entry| entry.secret) {
        let message = format!("`{}` holds a secret, which would enter the component", entry.name);
        table.problem("query", message, SECRETS_STAY_OUT);
    }
}
