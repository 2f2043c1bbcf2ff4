//! Where plugins come from: `[plugins]` and `[registries]` of `bascule.toml`, remote sources, publishers' keys.
//!
//! A reference is parsed and a key read once, here; whether the one can be fetched and the other has signed is
//! found when plugins are obtained. Nothing is looked up.

use super::gateway::existing_file;
use crate::config::{
    reader::{Field, Reader},
    settings::{PluginSource, RegistryLogin, RegistrySettings, SourceRules},
    text::Text,
};
use bascule_plugin_source::{PublicKey, Reference};
use std::{collections::BTreeMap, fs::File, io::Read, path::PathBuf};

/// Largest PEM file: a chain of certificates by mistake, and no more.
const KEY_FILE_MAX: u64 = 64 << 10;

/// Reads `[plugins]` and `[registries]`.
pub(super) fn source_rules(top: &Reader<'_, '_>) -> SourceRules {
    let mut locked = false;
    if let Some(table) = top.field("plugins").and_then(|field| field.table()) {
        locked = table.field("locked").and_then(|field| field.boolean()).unwrap_or_default();
        table.finish();
    }
    let registries = top.field("registries").map(|field| registries(&field)).unwrap_or_default();
    SourceRules { lock: PathBuf::new(), locked, registries }
}

fn registries(field: &Field<'_, '_>) -> BTreeMap<String, RegistrySettings> {
    let mut registries = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        let Some(table) = value.table() else { continue };
        let settings = registry(&table);
        table.finish();
        // A registry is called as references call it, so that it is found by them.
        match Reference::parse(&format!("oci://{name}/x:x")) {
            Ok(Reference::Oci(oci)) => {
                if registries.insert(oci.registry().to_owned(), settings).is_some() {
                    value.problem(
                        format!("`{}` is declared twice", oci.registry()),
                        "remove one of the tables",
                    );
                }
            }
            _ => value.problem(
                format!("`{name}` is no host"),
                "write [registries.\"registry.example\"] or [registries.\"registry.example:5000\"]",
            ),
        }
    }
    registries
}

fn registry(table: &Reader<'_, '_>) -> RegistrySettings {
    let username = table.field("username").and_then(|field| field.filled());
    let password = table.field("password").and_then(|field| field.secret());
    for (there, other) in [("username", "password"), ("password", "username")] {
        if table.has(there) && !table.has(other) {
            table.problem(there, format!("`{there}` without `{other}`"), "write both, or neither");
        }
    }
    let allow_private = table.field("allow_private").and_then(|field| field.boolean());
    let login = username.zip(password).map(|(username, password)| RegistryLogin { username, password });
    RegistrySettings { login, allow_private: allow_private.unwrap_or_default() }
}

/// Reads a `source` that has a scheme.
pub(super) fn remote(field: &Field<'_, '_>, text: &Text) -> Option<Reference> {
    if text.is_sensitive() && text.value().contains('?') {
        // It is shown in messages and stands in the lock file.
        let help = "fetch the file and name it here, or use a registry: its login stands in [registries]";
        field.problem("a source whose query comes from a reference may hold a secret", help);
        return None;
    }
    let help = "write a file, \"builtin:NAME\", \"https://…\" or \"oci://registry/repository:tag\"";
    match Reference::parse(text.value()) {
        Ok(reference) => Some(reference),
        Err(error) => {
            field.problem(error.to_string(), help);
            None
        }
    }
}

/// Reads `signed_by`.
pub(super) fn publishers(field: &Field<'_, '_>, source: Option<&PluginSource>) -> Vec<PublicKey> {
    let Some(items) = field.items() else { return Vec::new() };
    if items.is_empty() {
        field.problem("an empty list trusts nobody", "name a publisher's key, or leave `signed_by` out");
    }
    if matches!(source, Some(PluginSource::Builtin(_))) {
        let help = "remove `signed_by`: whoever trusts the binary trusts what is built in";
        field.problem("a builtin plugin is part of the gateway and carries no signature", help);
    }
    items.iter().filter_map(public_key).collect()
}

fn public_key(field: &Field<'_, '_>) -> Option<PublicKey> {
    let file = existing_file(field)?;
    let mut pem = Vec::new();
    let read = File::open(&file).and_then(|file| file.take(KEY_FILE_MAX).read_to_end(&mut pem));
    if let Err(error) = read {
        field.problem(format!("the file cannot be read: {error}"), "let the gateway's user read it");
        return None;
    }
    let name = field.text()?;
    match PublicKey::from_pem(name.written(), &pem) {
        Ok(key) => Some(key),
        Err(error) => {
            let help = "`openssl pkey -in KEY.pem -pubout` writes the public half of a publisher's key";
            field.problem(error.to_string(), help);
            None
        }
    }
}
