//! Fetching one plugin by hand: `bascule plugin pull`, and `inspect` of what is elsewhere.
//!
//! No configuration is read: whoever publishes plugins may have none. Logins come from the environment or from
//! options, and what is fetched goes through the same rules as the gateway's own.

use crate::{
    app::PluginSources,
    cli::exit::{Exit, print},
    config::{RegistryLogin, RegistrySettings, SourceRules},
    model::Secret,
    upstream::Tls,
};
use anyhow::{Context, bail};
use bascule_plugin_source::{Digest, Floating, Lock, Obtained, PublicKey, Reference, Wanted};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Who asks, and how far.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remote {
    /// The user name of a login at the registry
    #[arg(long, env = "BASCULE_REGISTRY_USERNAME", requires = "password")]
    username: Option<String>,
    /// Its password or access token
    #[arg(long, env = "BASCULE_REGISTRY_PASSWORD", hide_env_values = true, requires = "username")]
    password: Option<String>,
    /// Let the server have addresses of private networks
    #[arg(long)]
    allow_private: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PullArgs {
    /// oci://registry/repository:tag, …@sha256:DIGEST, or https://… with --sha256
    reference: String,
    /// Where it is written [default: its own name in this folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The digest that it must have: 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// A publisher's public key, of which one must have signed it
    #[arg(long, value_name = "PEM")]
    signed_by: Vec<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl Remote {
    /// By what rules that reference is asked for.
    pub(super) fn rules(&self, reference: &Reference) -> anyhow::Result<SourceRules> {
        let login = self.username.clone().zip(self.password.as_ref());
        let login =
            login.map(|(username, password)| RegistryLogin { username, password: Secret::new(password) });
        let host = match reference {
            Reference::Oci(oci) => oci.registry(),
            Reference::Https(url) => url.host_str().unwrap_or_default(),
            Reference::File(_) | Reference::Builtin(_) => bail!("`{reference}` is not fetched"),
        };
        let registry = RegistrySettings { login, allow_private: self.allow_private };
        let registries = BTreeMap::from([(host.to_owned(), registry)]);
        Ok(SourceRules { registries, ..SourceRules::default() })
    }
}

/// A plugin from elsewhere, as it is now.
pub(in crate::cli) async fn fetch(remote: &Remote, wanted: &Wanted) -> anyhow::Result<Obtained> {
    // A folder of its own: what the server says is asked for, not what was kept of it.
    let apart = PluginSources::new(&Tls::new()?, None)?;
    let sources = apart.by(&remote.rules(&wanted.reference)?, [&wanted.reference])?;
    Ok(sources.obtain(wanted, &Lock::default(), Floating::Follow).await?)
}

pub(super) async fn pull(args: &PullArgs) -> anyhow::Result<Exit> {
    let reference = Reference::parse(&args.reference)?;
    let output =
        args.output.clone().or_else(|| file_name(&reference)).context("name a file with --output")?;
    let sha256 =
        args.sha256.as_ref().map(|hex| format!("sha256:{}", hex.to_ascii_lowercase()).parse::<Digest>());
    let signed_by: anyhow::Result<Vec<PublicKey>> =
        args.signed_by.iter().map(|path| public_key(path)).collect();
    let wanted = Wanted { reference, sha256: sha256.transpose()?, signed_by: signed_by? };
    let obtained = fetch(&args.remote, &wanted).await?;
    fs::write(&output, &obtained.content)
        .with_context(|| format!("{} cannot be written", output.display()))?;
    let mut told = format!("{}: {} octets, {}\n", output.display(), obtained.content.len(), obtained.sha256);
    if let Some(manifest) = obtained.manifest {
        told.push_str(&format!("manifest {manifest}\n"));
    }
    if let Some(signer) = obtained.signer {
        told.push_str(&format!("signed by {signer}\n"));
    }
    Ok(print(&told))
}

/// `signer.wasm` for a repository `acme/signer`; what a URL's path ends in.
fn file_name(reference: &Reference) -> Option<PathBuf> {
    let last = |path: &str| path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
    match reference {
        Reference::Oci(oci) => Some(format!("{}.wasm", last(oci.repository())?).into()),
        Reference::Https(url) => last(url.path()).map(PathBuf::from),
        Reference::File(_) | Reference::Builtin(_) => None,
    }
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(PublicKey::from_pem(path.display().to_string(), &pem)?)
}
