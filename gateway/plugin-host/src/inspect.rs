//! What a component exports and imports, read without compiling it.
//!
//! The list is the component's own, down to single functions, so it is a truthful statement of what
//! the plugin can do. Judging the list is [`Inspection::admit`]'s; reading it refuses nothing.

mod memory;

use std::collections::BTreeSet;

use wit_component::{DecodedWasm, decode};
use wit_parser::{Resolve, World, WorldItem, WorldKey};

pub use crate::artifact::ArtifactKind;
use crate::artifact::{Artifact, hex};
use crate::backend::Role;
pub use crate::bindings::exports::bascule::plugin::lifecycle::Description;
use crate::error::LoadError;
use crate::grants::{Grants, needed_for};
use crate::phase::{Phase, WIT_TRACK};
use crate::wasi;

/// The WIT package whose exports are phases.
const PACKAGE: &str = "bascule:plugin";

/// Interfaces that a plugin may import, some of them with a grant.
const OFFERED: [&str; 11] = [
    "types",
    "context",
    "log",
    "config",
    "clock",
    "crypto",
    "random",
    "state",
    "telemetry",
    "http",
    "secrets",
];

/// Initial pages of a Rust plugin above which its stack was probably left at 1 MiB.
const RUST_PAGES_MAX: u64 = 4;

/// What there is to know about a plugin file.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Component or core module.
    pub kind: ArtifactKind,
    /// Octets of the file.
    pub size: u64,
    /// sha256 of the file, in hex.
    pub digest: String,
    /// Exported interfaces with their versions, e.g. `bascule:plugin/signer@0.1.0`.
    pub exports: Vec<String>,
    /// Imported interfaces; those of which only types are used are left out.
    pub imports: Vec<ImportedInterface>,
    /// What the plugin says about itself, when it exports `lifecycle` and could be started.
    pub description: Option<Description>,
    /// Pages of 64 KiB with which an instance starts, over all its memories.
    pub memory_pages_min: u64,
    /// What a person should know: costs, and why a host of this version would refuse it.
    pub warnings: Vec<String>,
}

/// An interface that a plugin imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedInterface {
    /// With its version, e.g. `bascule:plugin/crypto@0.1.0`.
    pub name: String,
    /// Functions used, e.g. `[static]key.open`.
    pub functions: Vec<String>,
    /// The grant that the interface needs, if any. `body-read` is asked for when bodies are read: without
    /// it the plugin loads, and a signer or classifier is denied the octets.
    pub grant: Option<String>,
}

impl Inspection {
    /// # Errors
    /// [`LoadError::Malformed`] when the component cannot be read.
    pub(crate) fn of(artifact: &Artifact<'_>) -> Result<Self, LoadError> {
        let malformed = |source| LoadError::Malformed { source };
        let decoded = decode(&artifact.component).map_err(|error| malformed(error.into()))?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            return Err(malformed("a package of WIT, not a component".into()));
        };
        let world = resolve.worlds.get(world).ok_or_else(|| malformed("no world".into()))?;
        let memory = memory::facts(&artifact.component).map_err(|error| malformed(error.into()))?;
        let mut inspection = Self {
            kind: artifact.kind,
            size: artifact.size,
            digest: hex(&artifact.digest),
            exports: world.exports.keys().map(|key| name_of(&resolve, key)).collect(),
            imports: imports_of(&resolve, world),
            description: None,
            memory_pages_min: memory.pages_min,
            warnings: Vec::new(),
        };
        inspection.mark_body_read();
        inspection.warn(memory.from_rust);
        Ok(inspection)
    }

    /// The phases among the exports, in the order of a call.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        let exported = |phase: &Phase| {
            self.exports.iter().any(|export| Name::read(export) == Name::Ours(phase.as_str()))
        };
        Phase::ALL.into_iter().filter(exported).collect()
    }

    /// Whether it can be the backend of an integration: it serves requests by itself.
    #[must_use]
    pub fn is_backend(&self) -> bool {
        self.exports.iter().any(|export| wasi::is_handler(export))
    }

    /// What it is for, as its exports tell.
    pub(crate) fn own_role(&self) -> Role {
        match self.phases().is_empty() && self.is_backend() {
            true => Role::Backend { calls: BTreeSet::new() },
            false => Role::Phases,
        }
    }

    /// Whether a host of this version runs the component in that role under those grants.
    pub(crate) fn admit(&self, grants: &Grants, role: &Role) -> Result<(), LoadError> {
        for export in &self.exports {
            match Name::read(export) {
                Name::Ours(name) if name == "lifecycle" || Phase::from_name(name).is_some() => {}
                Name::Ours(_) | Name::OtherVersion => return Err(unknown(export)),
                // Nobody calls it: harmless, and other hosts may want it.
                Name::Foreign => {}
            }
        }
        match role {
            Role::Phases if self.phases().is_empty() && self.is_backend() => {
                return Err(LoadError::IsBackend);
            }
            Role::Phases if self.phases().is_empty() => return Err(LoadError::NoPhase),
            Role::Backend { .. } if !self.is_backend() => return Err(LoadError::NotBackend),
            Role::Phases | Role::Backend { .. } => {}
        }
        self.imports.iter().try_for_each(|import| import.admit(role))?;
        self.check_grants(grants, role)
    }

    /// All imports that are not granted in one error, with the line that grants them all.
    fn check_grants(&self, grants: &Grants, role: &Role) -> Result<(), LoadError> {
        let missing = self.imports.iter().filter_map(|import| {
            let interface = granted_as(&import.name).filter(|interface| !grants.cover(interface))?;
            Some((import.name.clone(), interface))
        });
        let (interfaces, missing): (Vec<String>, Vec<&str>) = missing.unzip();
        match interfaces.is_empty() {
            true => Ok(()),
            false => {
                let line = grants.clone().with(missing).line();
                Err(LoadError::MissingGrant { table: role.table(), interfaces, line })
            }
        }
    }

    /// Mappers read without a grant, so only the other phases make it a grant that is needed.
    fn mark_body_read(&mut self) {
        let needed = self.phases().into_iter().any(|phase| !phase.reads_bodies_by_nature());
        for import in self.imports.iter_mut().filter(|_| needed) {
            let ours = Name::read(&import.name) == Name::Ours("types");
            if ours && import.functions.iter().any(|function| function == "[method]body.read") {
                import.grant = Some("body-read".to_owned());
            }
        }
    }

    fn warn(&mut self, from_rust: bool) {
        // Everything that could be granted is, so that what is left is what no grant can cure.
        if let Err(error) = self.admit(&Grants::all(), &self.own_role()) {
            self.warnings.push(error.to_string());
        }
        if from_rust && self.memory_pages_min > RUST_PAGES_MAX {
            self.warnings.push(format!(
                "starts with {} pages of memory: a smaller stack (`-zstack-size=65536` in build.rs) makes \
                 every call faster",
                self.memory_pages_min
            ));
        }
    }
}

impl ImportedInterface {
    /// Whether there is such an interface for components in that role: a backend is one of any host, and finds none
    /// of ours.
    fn admit(&self, role: &Role) -> Result<(), LoadError> {
        let is_backend = matches!(role, Role::Backend { .. });
        match Name::read(&self.name) {
            Name::Ours(name) if OFFERED.contains(&name) && !is_backend => Ok(()),
            Name::Ours(_) if is_backend => Err(LoadError::NotForBackends { interface: self.name.clone() }),
            Name::Foreign if wasi::offers(&self.name) => Ok(()),
            Name::Foreign if is_backend && wasi::is_http(&self.name) => Ok(()),
            Name::Foreign if self.name.starts_with("wasi:") => Err(later(&self.name)),
            _ => Err(unknown(&self.name)),
        }
    }
}

fn later(interface: &str) -> LoadError {
    LoadError::NotInThisVersion { interface: interface.to_owned() }
}

fn unknown(interface: &str) -> LoadError {
    LoadError::UnknownInterface { interface: interface.to_owned() }
}

/// What the name of an interface says to this host.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    /// An interface of `bascule:plugin` in a version that we speak.
    Ours(&'a str),
    /// Of `bascule:plugin`, in a version that we do not speak.
    OtherVersion,
    /// Of another package, or a bare function.
    Foreign,
}

impl<'a> Name<'a> {
    fn read(name: &'a str) -> Self {
        let Some((package, rest)) = name.split_once('/') else { return Self::Foreign };
        if package != PACKAGE {
            return Self::Foreign;
        }
        let Some((interface, version)) = rest.split_once('@') else { return Self::OtherVersion };
        // Within a track, functions may be added and nothing else: later patch versions are fine.
        let patch = version.strip_prefix(WIT_TRACK).and_then(|rest| rest.strip_prefix('.'));
        match patch.map(str::parse::<u32>) {
            Some(Ok(_)) => Self::Ours(interface),
            _ => Self::OtherVersion,
        }
    }
}

fn name_of(resolve: &Resolve, key: &WorldKey) -> String {
    resolve.name_world_key(key)
}

/// The interface of ours whose grant lets that one be imported.
fn granted_as(name: &str) -> Option<&str> {
    match Name::read(name) {
        Name::Ours(interface) => Some(interface),
        Name::Foreign => wasi::is_random(name).then_some("random"),
        Name::OtherVersion => None,
    }
}

fn imports_of(resolve: &Resolve, world: &World) -> Vec<ImportedInterface> {
    let import = |(key, item): (&WorldKey, &WorldItem)| {
        let functions = match item {
            WorldItem::Interface { id, .. } => {
                let interface = resolve.interfaces.get(*id)?;
                interface.functions.keys().cloned().collect()
            }
            WorldItem::Function(function) => vec![function.name.clone()],
            WorldItem::Type { .. } => Vec::new(),
        };
        let name = name_of(resolve, key);
        // Unknown interfaces stay in the list even without functions: they refuse the load.
        let ours = Name::read(&name) == Name::Ours("types");
        if functions.is_empty() && ours {
            return None;
        }
        let grant = granted_as(&name).and_then(needed_for).map(str::to_owned);
        Some(ImportedInterface { name, functions, grant })
    };
    world.imports.iter().filter_map(import).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_patches_are_ours_and_other_tracks_are_not() {
        assert_eq!(Name::read("bascule:plugin/signer@0.1.0"), Name::Ours("signer"));
        assert_eq!(Name::read("bascule:plugin/signer@0.1.12"), Name::Ours("signer"));
        for other in ["@0.2.0", "@1.1.0", "@0.1.0-draft", "@0.10.0", "@0.1", ""] {
            let name = format!("bascule:plugin/signer{other}");
            assert_eq!(Name::read(&name), Name::OtherVersion, "{name}");
        }
        assert_eq!(Name::read("wasi:cli/run@0.2.0"), Name::Foreign);
        assert_eq!(Name::read("run"), Name::Foreign);
    }
}
