//! Loading an integration's plugins and giving each operation its phases.

use super::sources::{Content, Contents, Found};
use crate::{
    config::{Diagnostic, Integration, PluginSettings, Problems},
    model::OperationName,
    pipeline::{BoundPlugin, Phases},
    telemetry::Telemetry,
};
use bascule_plugin_host::{
    Grants, HostConfig, HostError, Limits, LogLevel, Observer, Phase, Plugin, PluginHost, PluginSpec,
    SecretBytes,
};
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// A plugin with what its table says about it.
pub(super) struct Loaded<'a> {
    settings: &'a PluginSettings,
    pub(super) plugin: Arc<Plugin>,
    reads_bodies: bool,
}

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
}

/// Loads every plugin of an integration; each one that cannot be loaded is a problem at its `source`.
pub(super) fn load<'a>(
    host: &Arc<PluginHost>,
    contents: &Contents,
    integration: &'a Integration,
    problems: &mut Problems,
) -> Vec<Loaded<'a>> {
    let mut loaded = Vec::new();
    for settings in &integration.plugins {
        match contents.of(settings).and_then(|content| load_one(host, content, settings)) {
            Ok(plugin) => loaded.push(plugin),
            Err((message, help)) => problems.push(Diagnostic::at(&settings.origin, message, help)),
        }
    }
    loaded
}

fn load_one<'a>(
    host: &Arc<PluginHost>,
    content: Content,
    settings: &'a PluginSettings,
) -> Result<Loaded<'a>, Found> {
    let grants = Grants::parse(settings.grants.iter().map(String::as_str))
        .map_err(|error| (error.to_string(), "mend `grants`".to_owned()))?;
    let mut phases = None;
    if let Some(names) = &settings.phases {
        let parsed: Result<Vec<Phase>, _> =
            names.iter().map(|name| Phase::from_name(name).ok_or_else(|| name.clone())).collect();
        phases = Some(parsed.map_err(|name| {
            let known = Phase::ALL.map(Phase::as_str).join(", ");
            (format!("`{name}` is no phase"), format!("`phases` takes {known}"))
        })?);
    }
    let defaults = Limits::default();
    let limits = Limits {
        memory: settings.limits.memory.unwrap_or(defaults.memory),
        cpu: settings.limits.cpu.or(defaults.cpu),
        wall: settings.limits.wall.or(defaults.wall),
        body: settings.limits.body.unwrap_or(defaults.body),
        instances: settings.limits.instances.map_or(defaults.instances, NonZeroUsize::get),
        ..defaults
    };
    let reads_bodies = grants.body_read;
    let credentials = settings.credentials.iter();
    let spec = PluginSpec {
        name: settings.source.name(),
        bytes: content.octets.into(),
        sha256: settings.sha256,
        config: settings.config.clone(),
        credentials: credentials
            .map(|(name, secret)| (name.clone(), SecretBytes::new(secret.expose())))
            .collect(),
        grants,
        attributes: settings.attributes.clone(),
        phases,
        limits,
    };
    let plugin = host.load(spec).map_err(|error| {
        (describe(&error), "see `bascule plugin inspect FILE` for what it exports and imports".to_owned())
    })?;
    if let Some(phase) = [Phase::CachePolicy, Phase::TokenSource].into_iter().find(|phase| plugin.has(*phase))
    {
        return Err((
            format!("the phase `{phase}` is not in this version"),
            "name the plugin's other phases in `phases`".to_owned(),
        ));
    }
    Ok(Loaded { settings, plugin, reads_bodies })
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
/// So `/proxy` has signers and classifiers only, unless a plugin's table names `proxy` among its
/// `operations`.
pub(super) fn phases(loaded: &[Loaded<'_>], operation: &OperationName, problems: &mut Problems) -> Phases {
    let proxy = OperationName::proxy();
    let mut phases = Phases::default();
    for Loaded { settings, plugin, reads_bodies } in loaded {
        if !settings.operations.as_ref().is_none_or(|names| names.contains(operation)) {
            continue;
        }
        let everything = *operation != proxy || settings.operations.is_some();
        let bound = BoundPlugin { plugin: Arc::clone(plugin), reads_bodies: *reads_bodies };
        for phase in plugin.phases() {
            if !everything && !matches!(phase, Phase::Signer | Phase::Classifier) {
                continue;
            }
            let single = match phase {
                // Refused when the plugin was loaded.
                Phase::CachePolicy | Phase::TokenSource => continue,
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

/// Whether a loaded generation's plugins are still what their sources give.
pub(super) fn unchanged(contents: &Contents, integration: &Integration, plugins: &[Arc<Plugin>]) -> bool {
    let now = integration.plugins.iter().map(|settings| Some(contents.of(settings).ok()?.digest.hex()));
    now.eq(plugins.iter().map(|plugin| Some(plugin.digest().to_owned())))
}
