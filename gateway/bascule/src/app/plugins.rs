//! Loading an integration's plugins and giving each operation its phases.

use super::builtin::shipped;
use crate::{
    config::{Auth, Diagnostic, Integration, PluginSettings, PluginSource, Problems},
    model::OperationName,
    pipeline::{BoundPlugin, Phases, PluginTokens},
    telemetry::{HookSpan, PluginLabels, Telemetry},
};
use bascule_plugin_host::{
    CallContext, HostConfig, HostError, LogLevel, Observer, Phase, Plugin, PluginHost, PluginSpec,
    SecretBytes,
};
use std::{borrow::Cow, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// A plugin with what its table says about it.
pub(super) struct Loaded<'a> {
    settings: &'a PluginSettings,
    pub(super) plugin: Arc<Plugin>,
    /// Set once it is known where it may send to.
    pub(super) tokens: Option<Arc<PluginTokens>>,
}

impl Loaded<'_> {
    /// Whether it may send to that endpoint by itself.
    pub(super) fn sends_to(&self, endpoint: &str) -> bool {
        self.settings.grants.http.contains(endpoint)
    }

    fn bound(&self) -> BoundPlugin {
        BoundPlugin {
            plugin: Arc::clone(&self.plugin),
            reads_bodies: self.settings.grants.body_read,
            sends: !self.settings.grants.http.is_empty(),
            tokens: self.tokens.clone(),
        }
    }
}

/// What is wrong, and what to do about it.
type Found = (String, String);

/// A plugin host with an engine per worker, reporting to telemetry.
///
/// # Errors
/// When the engine cannot be set up at all; without address space for the pool it falls back and says so.
pub fn plugin_host(telemetry: &Telemetry, cache_dir: Option<PathBuf>) -> Result<Arc<PluginHost>, HostError> {
    let engines = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    PluginHost::new(HostConfig {
        engines,
        cache_dir,
        observer: Arc::new(Reporter { telemetry: telemetry.clone() }),
        ..HostConfig::default()
    })
}

/// Passes what plugins do on to logs and metrics.
struct Reporter {
    telemetry: Telemetry,
}

impl Observer for Reporter {
    fn log(&self, plugin: &str, phase: &str, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let redactor = self.telemetry.redactor();
        let message = redactor.text(message);
        let fields = redactor.text(&format!("{fields:?}")).into_owned();
        match level {
            LogLevel::Error => tracing::error!(target: "bascule::plugin", plugin, phase, fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "bascule::plugin", plugin, phase, fields, "{message}"),
            LogLevel::Info => tracing::info!(target: "bascule::plugin", plugin, phase, fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target: "bascule::plugin", plugin, phase, fields, "{message}"),
            LogLevel::Trace => tracing::trace!(target: "bascule::plugin", plugin, phase, fields, "{message}"),
        }
    }

    fn call(&self, plugin: &str, phase: &str, elapsed: Duration, failure: Option<&'static str>) {
        self.telemetry.plugin_call(plugin, phase, elapsed, failure);
    }

    fn count(&self, plugin: &str, call: &CallContext, name: &str, value: u64, labels: &[(String, String)]) {
        let own = &self.redacted(labels);
        self.telemetry.plugin_count(
            name,
            value,
            &PluginLabels { plugin, integration: &call.integration, own },
        );
    }

    fn observe(&self, plugin: &str, call: &CallContext, name: &str, value: f64, labels: &[(String, String)]) {
        let own = &self.redacted(labels);
        self.telemetry.plugin_observe(
            name,
            value,
            &PluginLabels { plugin, integration: &call.integration, own },
        );
    }

    fn annotate(&self, _plugin: &str, _call: &CallContext, key: &str, value: &str) {
        HookSpan::annotate(key, &self.telemetry.redactor().text(value));
    }
}

impl Reporter {
    /// The plugin's own secrets are blanked out already; another's may have come to it with an answer.
    fn redacted(&self, labels: &[(String, String)]) -> Vec<(String, String)> {
        let redactor = self.telemetry.redactor();
        labels.iter().map(|(name, value)| (name.clone(), redactor.text(value).into_owned())).collect()
    }
}

/// Loads every plugin of an integration; each one that cannot be loaded is a problem at its `source`.
pub(super) fn load<'a>(
    host: &Arc<PluginHost>,
    integration: &'a Integration,
    problems: &mut Problems,
) -> Vec<Loaded<'a>> {
    let mut loaded = Vec::new();
    for settings in &integration.plugins {
        match load_one(host, settings) {
            Ok(one) => {
                for warning in one.plugin.warnings() {
                    tracing::warn!(integration = %integration.name, plugin = one.plugin.name(), "{warning}");
                }
                loaded.push(one);
            }
            Err((message, help)) => problems.push(Diagnostic::at(&settings.origin, message, help)),
        }
    }
    loaded
}

fn load_one<'a>(host: &Arc<PluginHost>, settings: &'a PluginSettings) -> Result<Loaded<'a>, Found> {
    let (name, bytes) = read(settings)?;
    let mut phases = None;
    if let Some(names) = &settings.phases {
        let parsed: Result<Vec<Phase>, _> =
            names.iter().map(|name| Phase::from_name(name).ok_or_else(|| name.clone())).collect();
        phases = Some(parsed.map_err(|name| {
            let known = Phase::ALL.map(Phase::as_str).join(", ");
            (format!("`{name}` is no phase"), format!("`phases` takes {known}"))
        })?);
    }
    let credentials = settings.credentials.iter();
    let spec = PluginSpec {
        name,
        bytes: bytes.into_owned(),
        sha256: settings.sha256,
        config: settings.config.clone(),
        credentials: credentials
            .map(|(name, secret)| (name.clone(), SecretBytes::new(secret.expose())))
            .collect(),
        grants: settings.grants.clone(),
        attributes: settings.attributes.clone(),
        phases,
        limits: settings.limits.clone(),
    };
    let plugin = host.load(spec).map_err(|error| {
        (describe(&error), "see `bascule plugin inspect FILE` for what it exports and imports".to_owned())
    })?;
    Ok(Loaded { settings, plugin, tokens: None })
}

/// Name (for logs and metrics) and octets.
fn read(settings: &PluginSettings) -> Result<(String, Cow<'static, [u8]>), Found> {
    match &settings.source {
        PluginSource::Builtin(name) => match shipped(name) {
            Ok(octets) => Ok((name.clone(), Cow::Borrowed(octets))),
            Err(error) => Err((error.to_string(), "or give a file".to_owned())),
        },
        PluginSource::File(path) => {
            let name =
                path.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
            match std::fs::read(path) {
                Ok(octets) => Ok((name, Cow::Owned(octets))),
                Err(error) => Err((
                    format!("{} cannot be read: {error}", path.display()),
                    "paths are relative to the folder of bascule.toml".to_owned(),
                )),
            }
        }
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The phases of one operation. Two plugins for one phase are a problem, save for response and error
/// mappers, which run in file order.
///
/// Mappers speak of declared operations; a client behind `/proxy` speaks the provider's own language.
/// So `/proxy` has signers, token sources and classifiers only, unless a plugin's table names `proxy` among
/// its `operations`.
pub(super) fn phases(loaded: &[Loaded<'_>], operation: &OperationName, problems: &mut Problems) -> Phases {
    let proxy = OperationName::proxy();
    let mut phases = Phases::default();
    for one in loaded {
        let Loaded { settings, plugin, .. } = one;
        if !settings.operations.as_ref().is_none_or(|names| names.contains(operation)) {
            continue;
        }
        let everything = *operation != proxy || settings.operations.is_some();
        let bound = one.bound();
        for phase in plugin.phases() {
            if !everything && !matches!(phase, Phase::Signer | Phase::TokenSource | Phase::Classifier) {
                continue;
            }
            let single = match phase {
                Phase::CachePolicy => &mut phases.cache_policy,
                Phase::TokenSource => &mut phases.token_source,
                Phase::RequestMapper => &mut phases.request_mapper,
                Phase::Signer => &mut phases.signer,
                Phase::Classifier => &mut phases.classifier,
                Phase::ResponseMapper => {
                    phases.response_mappers.push(bound.clone());
                    continue;
                }
                Phase::ErrorMapper => {
                    phases.error_mappers.push(bound.clone());
                    continue;
                }
            };
            if single.is_some() {
                problems.push(Diagnostic::at(
                    &settings.origin,
                    format!("two plugins export `{phase}` for `{operation}`"),
                    "narrow one of them with `operations` or `phases`".to_owned(),
                ));
                continue;
            }
            *single = Some(bound.clone());
        }
    }
    phases
}

/// What does not fit `[auth]`: an integration that would go without credentials, or tokens that nobody uses.
pub(super) fn check_auth(loaded: &[Loaded<'_>], integration: &Integration, problems: &mut Problems) {
    let exports = |phase| loaded.iter().find(move |one| one.plugin.has(phase));
    let is_plugin = matches!(integration.auth, Auth::Plugin { .. });
    // One that could not be loaded has its own problem, and may be the one that is missed.
    let all = loaded.len() == integration.plugins.len();
    match (exports(Phase::TokenSource), exports(Phase::Signer), loaded.first()) {
        (Some(source), ..) if !is_plugin => problems.push(Diagnostic::at(
            &source.settings.origin,
            "a `token-source` is only asked where the integration's [auth] is of type \"plugin\"",
            "write type = \"plugin\" in [auth], or name the plugin's other phases in `phases`",
        )),
        (None, None, Some(first)) if is_plugin && all => problems.push(Diagnostic::at(
            &first.settings.origin,
            "[auth] is of type \"plugin\", and no plugin exports `signer` or `token-source`",
            "use a plugin that does, or write type = \"none\" in [auth]",
        )),
        _ => {}
    }
}

/// A bearer's header takes one token: where there are several, a signer has to say where they go.
pub(super) fn check_scopes<'a>(
    loaded: &[Loaded<'_>],
    auth: &Auth,
    operations: impl Iterator<Item = (&'a OperationName, &'a Phases)>,
    problems: &mut Problems,
) {
    let Auth::Plugin { scopes } = auth else { return };
    let unsigned = operations.filter(|(_, phases)| phases.token_source.is_some() && phases.signer.is_none());
    let mut unsigned: Vec<String> = unsigned.map(|(name, _)| format!("`{name}`")).collect();
    unsigned.sort();
    if let Some(source) = loaded.iter().find(|one| one.plugin.has(Phase::TokenSource))
        && scopes.len() > 1
        && !unsigned.is_empty()
    {
        problems.push(Diagnostic::at(
            &source.settings.origin,
            format!("no signer says where the tokens of several scopes go in {}", unsigned.join(", ")),
            "name one scope in `auth.scopes`, or add a plugin that exports `signer`",
        ));
    }
}

/// Whether a loaded generation's plugin files are still what is on the disk.
pub(super) fn unchanged(integration: &Integration, plugins: &[Arc<Plugin>]) -> bool {
    let files = integration.plugins.iter().map(|settings| {
        let octets = read(settings).ok()?.1;
        Some(hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &octets).as_ref()))
    });
    files.eq(plugins.iter().map(|plugin| Some(plugin.digest().to_owned())))
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}
