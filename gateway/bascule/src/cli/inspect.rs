//! `bascule plugin inspect`.

use super::{
    exit::{Exit, complain, print},
    plugin::{Remote, block_on, fetch},
};
use crate::app::shipped;
use bascule_plugin_host::{ArtifactKind, HostConfig, Inspection, PluginHost};
use bascule_plugin_source::{Reference, Wanted};
use serde_json::{Value, json};
use std::{borrow::Cow, fmt::Write};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A component or core module, `builtin:NAME`, or oci://…
    file: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &Args) -> Exit {
    match inspect(args) {
        Ok(inspection) if args.json => print(&format!("{:#}\n", as_json(&inspection))),
        Ok(inspection) => print(&as_text(&args.file, &inspection)),
        Err(error) => {
            complain(&format!("error: {error:#}"));
            Exit::Failure
        }
    }
}

fn inspect(args: &Args) -> anyhow::Result<Inspection> {
    if args.file.starts_with("oci://") {
        let wanted = Wanted::new(Reference::parse(&args.file)?);
        return inspection(&block_on(fetch(&args.remote, &wanted))?.content);
    }
    inspection(&octets(&args.file)?)
}

/// What a plugin is, without a configuration.
pub(super) fn inspection(octets: &[u8]) -> anyhow::Result<Inspection> {
    Ok(PluginHost::new(HostConfig::default())?.inspect(octets)?)
}

/// What is in a plugin file, or in the built-in plugin that `builtin:NAME` names.
pub(super) fn octets(file: &str) -> anyhow::Result<Cow<'static, [u8]>> {
    Ok(match file.strip_prefix("builtin:") {
        Some(name) => Cow::Borrowed(shipped(name)?),
        None => Cow::Owned(
            std::fs::read(file).map_err(|error| anyhow::anyhow!("{file} cannot be read: {error}"))?,
        ),
    })
}

fn kind(inspection: &Inspection) -> &'static str {
    match inspection.kind {
        ArtifactKind::Component => "component",
        ArtifactKind::Module => "core module",
    }
}

fn as_text(file: &str, inspection: &Inspection) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{file}: {} of {} octets", kind(inspection), inspection.size);
    let _ = writeln!(text, "sha256 {}", inspection.digest);
    if let Some(description) = &inspection.description {
        let _ = writeln!(text, "{} {}", description.name, description.version);
    }
    if inspection.is_backend() {
        text.push_str(
            "serves requests by itself: it can be the [component] of an integration with type = \"wasm\"\n",
        );
    }
    text.push_str("\nexports\n");
    for export in &inspection.exports {
        let _ = writeln!(text, "  {export}");
    }
    text.push_str("\nimports\n");
    for import in &inspection.imports {
        let functions = import.functions.join(" ");
        let grant = import.grant.as_ref().map(|grant| format!("   needs {grant}")).unwrap_or_default();
        let _ = writeln!(text, "  {}  {{ {functions} }}{grant}", import.name);
    }
    for warning in &inspection.warnings {
        let _ = writeln!(text, "\nwarning: {warning}");
    }
    text
}

fn as_json(inspection: &Inspection) -> Value {
    let imports: Vec<Value> = inspection
        .imports
        .iter()
        .map(|import| json!({ "name": import.name, "functions": import.functions, "grant": import.grant }))
        .collect();
    json!({
        "kind": kind(inspection),
        "size": inspection.size,
        "sha256": inspection.digest,
        "backend": inspection.is_backend(),
        "exports": inspection.exports,
        "imports": imports,
        "name": inspection.description.as_ref().map(|description| &description.name),
        "version": inspection.description.as_ref().map(|description| &description.version),
        "warnings": inspection.warnings,
    })
}
