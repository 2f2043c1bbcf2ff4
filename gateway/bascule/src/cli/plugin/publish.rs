//! `bascule plugin push` and `sign`: a plugin goes out, with a publisher's name to it.

use super::remote::Remote;
use crate::{
    app::PluginSources,
    cli::{
        exit::{Exit, print},
        inspect::{inspection, octets},
    },
    telemetry::rfc3339,
    upstream::Tls,
};
use anyhow::{Context, bail};
use bascule_plugin_host::{ArtifactKind, Inspection};
use bascule_plugin_source::{ComponentSummary, Push, Reference, SigningKey};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PushArgs {
    /// A component or core module, or `builtin:NAME`
    file: String,
    /// oci://registry/repository:tag
    reference: String,
    /// The publisher's private key (Ed25519 or P-256, PKCS#8 in PEM, not encrypted)
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SignArgs {
    /// The plugin
    file: PathBuf,
    /// The publisher's private key (Ed25519 or P-256, PKCS#8 in PEM, not encrypted)
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
}

pub(super) async fn push(args: &PushArgs) -> anyhow::Result<Exit> {
    let reference = Reference::parse(&args.reference)?;
    let Reference::Oci(to) = &reference else { bail!("`{reference}` is no registry's: write oci://…") };
    let key = args.sign.as_deref().map(signing_key).transpose()?;
    let octets = octets(&args.file)?;
    let inspection = inspection(&octets)?;
    let what = Push {
        content: octets.into_owned().into(),
        created: rfc3339(SystemTime::now()),
        component: summary(&inspection),
        annotations: annotations(&inspection),
    };
    let apart = PluginSources::new(&Tls::new()?, None)?;
    let sources = apart.by(&args.remote.rules(&reference)?, [&reference])?;
    let pushed = sources.fetcher().push(to, &what, key.as_ref()).await?;
    let (registry, repository) = (to.registry(), to.repository());
    let mut told = format!(
        "{reference} is oci://{registry}/{repository}@{}\nsha256 = \"{}\"\n",
        pushed.manifest,
        pushed.content.hex()
    );
    if let Some(signer) = pushed.signer {
        told.push_str(&format!("signed by {signer}\n"));
    }
    Ok(print(&told))
}

fn summary(inspection: &Inspection) -> Option<ComponentSummary> {
    let imports = inspection.imports.iter().map(|import| import.name.clone());
    let summary = || ComponentSummary { exports: inspection.exports.clone(), imports: imports.collect() };
    (inspection.kind == ArtifactKind::Component).then(summary)
}

/// What the plugin says of itself, under the names that registries show.
fn annotations(inspection: &Inspection) -> BTreeMap<String, String> {
    let Some(description) = &inspection.description else { return BTreeMap::new() };
    let annotations = [("title", &description.name), ("version", &description.version)];
    let named = annotations.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.clone()));
    BTreeMap::from(named)
}

pub(super) fn sign(args: &SignArgs) -> anyhow::Result<Exit> {
    let key = signing_key(&args.key)?;
    let octets = fs::read(&args.file).with_context(|| format!("{} cannot be read", args.file.display()))?;
    let mut beside = args.file.clone().into_os_string();
    beside.push(".sig");
    let beside = PathBuf::from(beside);
    fs::write(&beside, key.sign_file(&octets)?)
        .with_context(|| format!("{} cannot be written", beside.display()))?;
    Ok(print(&format!("{}: signed by {}\n", beside.display(), key.id())))
}

fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let pem = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(SigningKey::from_pem(&path.display().to_string(), &pem)?)
}
