//! From a file to a plugin: each step refuses with its own error, and the cheap ones come first.
//!
//! size → pin → kind → exports, imports, grants → compile or cache → map into every engine → trial.
//! The trial starts one instance, loads every phase (a wrong signature shows only there), and runs
//! `describe` and `check-config`. It blocks, never waits, and has an instance slot of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use tokio::sync::Semaphore;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;

use super::breaker::Breaker;
use super::call::{run_at_once, trial_store};
use super::time::TimeLimit;
use super::turns::Turns;
use super::{Plugin, diagnose, instances};
use crate::artifact::{Artifact, hex, trusted};
use crate::backend::{Role, environment};
use crate::bindings::exports::bascule::plugin as exports;
use crate::bindings::exports::bascule::plugin::lifecycle::Description;
use crate::crypto::hash::sha256;
use crate::crypto::tree::KeyTree;
use crate::error::{LoadError, PluginError};
use crate::grants::Grants;
use crate::host::PluginHost;
use crate::inspect::Inspection;
use crate::limits::Limits;
use crate::phase::Phase;
use crate::secret::{SecretBytes, Vault};
use crate::state::{Shared, State};
use crate::wasi;

/// A plugin as the configuration has it. [`PluginSpec::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// For logs, metrics and messages.
    pub name: String,
    /// What tells it from all other plugins of the host, in all its versions: who has the same shares state. By default
    /// its name.
    pub identity: String,
    /// The file: a component, or a core module with `component-type` sections.
    pub bytes: Vec<u8>,
    /// The pin: sha256 that the file must have.
    pub sha256: Option<[u8; 32]>,
    /// The `config` table; null counts as an empty one.
    pub config: Value,
    /// Secrets that the plugin may use as keys and inserts, never read.
    pub credentials: BTreeMap<String, SecretBytes>,
    /// What it may do beyond what every plugin may.
    pub grants: Grants,
    /// What `context.attribute` answers.
    pub attributes: BTreeMap<String, String>,
    /// What the component is for.
    pub role: Role,
    /// The phases it takes part in; `None` = all that it exports.
    pub phases: Option<Vec<Phase>>,
    /// What one call may use.
    pub limits: Limits,
}

impl PluginSpec {
    /// That file under that name: no pin, no configuration, no secrets, no grants, default limits.
    #[must_use]
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let name = name.into();
        Self {
            identity: name.clone(),
            name,
            bytes,
            sha256: None,
            config: Value::Null,
            credentials: BTreeMap::new(),
            grants: Grants::default(),
            attributes: BTreeMap::new(),
            role: Role::Phases,
            phases: None,
            limits: Limits::default(),
        }
    }
}

/// A plugin on one engine.
pub(crate) struct Loaded {
    pub(super) pre: InstancePre<State>,
    pub(super) phases: PhaseIndices,
}

/// Where the exported interfaces are in the component.
#[derive(Default)]
pub(crate) struct PhaseIndices {
    pub(super) lifecycle: Option<exports::lifecycle::GuestIndices>,
    pub(super) cache_policy: Option<exports::cache_policy::GuestIndices>,
    pub(super) request_mapper: Option<exports::request_mapper::GuestIndices>,
    pub(super) token_source: Option<exports::token_source::GuestIndices>,
    pub(super) signer: Option<exports::signer::GuestIndices>,
    pub(super) classifier: Option<exports::classifier::GuestIndices>,
    pub(super) response_mapper: Option<exports::response_mapper::GuestIndices>,
    pub(super) error_mapper: Option<exports::error_mapper::GuestIndices>,
    /// A backend's one and only.
    pub(crate) handler: Option<ProxyIndices>,
}

/// See [`PluginHost::load`].
pub(crate) fn load(host: &Arc<PluginHost>, spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
    load_with(host, spec, Config::Checked)
}

/// See [`PluginHost::load_unconfigured`].
pub(crate) fn load_unconfigured(
    host: &Arc<PluginHost>,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Arc<Plugin>, LoadError> {
    load_with(host, PluginSpec { grants: Grants::all(), ..PluginSpec::new(name, bytes) }, Config::Unknown)
}

fn load_with(host: &Arc<PluginHost>, spec: PluginSpec, config: Config) -> Result<Arc<Plugin>, LoadError> {
    spec.limits.check()?;
    check_pin(&spec)?;
    let artifact = Artifact::read(&spec.bytes, spec.limits.artifact)?;
    let inspection = Inspection::of(&artifact)?;
    inspection.admit(&spec.grants, &spec.role)?;
    let exported = match spec.role {
        Role::Phases => inspection.phases(),
        Role::Backend { .. } => Vec::new(),
    };
    let phases = chosen_phases(&exported, spec.phases.as_deref())?;
    let loaded = map_into_engines(host, &artifact, &spec.role)?;
    let digest = hex(&artifact.digest);
    let mut warnings = inspection.warnings;
    warnings.extend(reveal_warnings(&spec));
    let shared = Arc::new(shared(host, spec)?);
    let description = trial(host, &loaded, &shared, config)?;
    let breaker = Mutex::new(Breaker::new(shared.limits.breaker));
    Ok(Arc::new(Plugin {
        host: Arc::clone(host),
        instances: Semaphore::new(instances(&shared)),
        turns: Turns::new(&host.places),
        shared,
        id: host.next_id(),
        digest,
        description,
        warnings,
        exported,
        phases,
        loaded: loaded.into(),
        breaker,
    }))
}

/// What the plugin says about itself; its configuration is not known and not checked.
pub(crate) fn describe(
    host: &Arc<PluginHost>,
    artifact: &Artifact<'_>,
    inspection: &Inspection,
) -> Result<Option<Description>, LoadError> {
    let mut spec = PluginSpec::new("inspect", Vec::new());
    spec.grants = Grants::all();
    spec.role = inspection.own_role();
    inspection.admit(&spec.grants, &spec.role)?;
    let loaded = map_into_engines(host, artifact, &spec.role)?;
    let shared = Arc::new(shared(host, spec)?);
    trial(host, &loaded, &shared, Config::Unknown)
}

fn check_pin(spec: &PluginSpec) -> Result<(), LoadError> {
    let Some(pin) = spec.sha256 else { return Ok(()) };
    let actual = sha256(&spec.bytes);
    if actual == pin {
        return Ok(());
    }
    Err(LoadError::DigestMismatch { expected: hex(&pin), actual: hex(&actual) })
}

fn chosen_phases(exported: &[Phase], wanted: Option<&[Phase]>) -> Result<Vec<Phase>, LoadError> {
    let Some(wanted) = wanted else { return Ok(exported.to_vec()) };
    if let Some(missing) = wanted.iter().find(|phase| !exported.contains(phase)) {
        let exported: Vec<&str> = exported.iter().map(|phase| phase.as_str()).collect();
        return Err(LoadError::PhaseMissing { phase: *missing, exported: exported.join(", ") });
    }
    match wanted {
        [] => Err(LoadError::NoPhase),
        _ => Ok(exported.iter().copied().filter(|phase| wanted.contains(phase)).collect()),
    }
}

/// A secret that a plugin can read is a secret that it can give away.
fn reveal_warnings(spec: &PluginSpec) -> impl Iterator<Item = String> {
    spec.grants.reveal.iter().map(|name| match spec.credentials.contains_key(name) {
        true => format!("the grant `reveal:{name}` lets the plugin read this secret and give it away"),
        false => format!("the grant `reveal:{name}` names no secret of `credentials`"),
    })
}

/// What instances share; the file, its pin and its phases play no part.
pub(crate) fn shared(host: &PluginHost, spec: PluginSpec) -> Result<Shared, LoadError> {
    let config = match spec.config {
        Value::Null => Value::Object(serde_json::Map::new()),
        Value::Object(table) => Value::Object(table),
        _ => return Err(LoadError::ConfigNotTable),
    };
    Ok(Shared {
        lasting: host.lasting.of(&spec.identity),
        name: spec.name,
        config_text: config.to_string(),
        environment: match spec.role {
            Role::Phases => Vec::new(),
            Role::Backend { .. } => environment(&config),
        },
        role: spec.role,
        config,
        vault: Vault::new(spec.credentials),
        grants: spec.grants,
        attributes: spec.attributes,
        limits: spec.limits,
        keys: KeyTree::default(),
        observer: Arc::clone(&host.observer),
        random: Arc::clone(&host.random),
    })
}

fn map_into_engines(
    host: &PluginHost,
    artifact: &Artifact<'_>,
    role: &Role,
) -> Result<Vec<Loaded>, LoadError> {
    let compile = |error: wasmtime::Error| LoadError::Compile { source: error.into() };
    let workers = host.engines.workers();
    let Some(first) = workers.first() else { return Ok(Vec::new()) };
    let file = host.code.code(&first.engine, artifact)?;
    let on = |worker: &crate::host::engines::Worker| {
        let component = trusted::map(&worker.engine, &file.checked()).map_err(compile)?;
        let pre = wasi::linker_for(&worker.engine, &worker.linker, &component, role)
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(|error| LoadError::WrongTypes { phase: "imports", source: error.into() })?;
        Ok(Loaded { phases: PhaseIndices::of(&pre, role)?, pre })
    };
    workers.iter().map(on).collect()
}

impl PhaseIndices {
    /// The indices of every interface that is there, whatever its patch version. A backend has one alone.
    fn of(pre: &InstancePre<State>, role: &Role) -> Result<Self, LoadError> {
        if let Role::Backend { .. } = role {
            let handler = ProxyIndices::new(pre).map_err(wrong_handler)?;
            return Ok(Self { handler: Some(handler), ..Self::default() });
        }
        macro_rules! find {
            ($module:ident, $name:literal) => {
                match pre.component().get_export_index(None, concat!("bascule:plugin/", $name, "@0.1.0")) {
                    None => None,
                    Some(_) => Some(
                        exports::$module::GuestIndices::new(pre)
                            .map_err(|error| LoadError::WrongTypes { phase: $name, source: error.into() })?,
                    ),
                }
            };
        }
        Ok(Self {
            lifecycle: find!(lifecycle, "lifecycle"),
            cache_policy: find!(cache_policy, "cache-policy"),
            request_mapper: find!(request_mapper, "request-mapper"),
            token_source: find!(token_source, "token-source"),
            signer: find!(signer, "signer"),
            classifier: find!(classifier, "classifier"),
            response_mapper: find!(response_mapper, "response-mapper"),
            error_mapper: find!(error_mapper, "error-mapper"),
            handler: None,
        })
    }
}

fn wrong_handler(source: wasmtime::Error) -> LoadError {
    LoadError::WrongTypes { phase: "incoming-handler", source: source.into() }
}

/// Whether there is a configuration that the plugin should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Config {
    Checked,
    Unknown,
}

/// Starts one instance, loads every phase, and runs the lifecycle functions.
fn trial(
    host: &PluginHost,
    loaded: &[Loaded],
    shared: &Arc<Shared>,
    config: Config,
) -> Result<Option<Description>, LoadError> {
    let Some(Loaded { pre, phases }) = loaded.first() else { return Ok(None) };
    let _one_at_a_time = host.trial.lock();
    let _running = host.ticker.running();
    let mut store = trial_store(host, pre.engine(), shared);
    let mut outcome = None;
    let result = run_at_once(async {
        let instance = pre.instantiate_async(&mut store).await?;
        macro_rules! check {
            ($field:ident, $name:literal) => {
                if let Some(indices) = &phases.$field
                    && let Err(error) = indices.load(&mut store, &instance)
                {
                    outcome = Some(LoadError::WrongTypes { phase: $name, source: error.into() });
                    return Ok(None);
                }
            };
        }
        check!(cache_policy, "cache-policy");
        check!(request_mapper, "request-mapper");
        check!(token_source, "token-source");
        check!(signer, "signer");
        check!(classifier, "classifier");
        check!(response_mapper, "response-mapper");
        check!(error_mapper, "error-mapper");
        if let Some(indices) = &phases.handler
            && let Err(error) = indices.load(&mut store, &instance)
        {
            outcome = Some(wrong_handler(error));
            return Ok(None);
        }
        check!(lifecycle, "lifecycle");
        let Some(lifecycle) = &phases.lifecycle else { return Ok(None) };
        let guest = lifecycle.load(&mut store, &instance)?;
        let description = guest.call_describe(&mut store).await?;
        if config == Config::Checked
            && let Err(problems) = guest.call_check_config(&mut store).await?
        {
            outcome = Some(LoadError::BadConfig { problems });
        }
        Ok(Some(description))
    });
    store.data_mut().report_dropped();
    match (outcome, result) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(description)) => Ok(description),
        (None, Err(error)) => Err(LoadError::Trial(blame(&error, &store, shared))),
    }
}

fn blame(error: &wasmtime::Error, store: &wasmtime::Store<State>, shared: &Shared) -> PluginError {
    diagnose::diagnose(error, store.data(), TimeLimit::of_lifecycle(shared)).0
}
