//! Loading an integration's plugins and giving each operation its phases.

use super::{
    exchanges,
    sources::{Content, Contents, Found},
    versions::{Predecessor, number, predecessor},
};
use crate::{
    config::{Auth, Diagnostic, Integration, PluginSettings, Problems},
    model::OperationName,
    pipeline::{BoundPlugin, LiveIntegration, LivePlugin, Phases},
    telemetry::{HookSpan, PluginLabels, Telemetry},
};
use bascule_plugin_host::{
    CallContext, Exchange, HostConfig, HostError, LogLevel, Observer, Phase, PluginHost, PluginId,
    PluginSpec, SecretBytes,
};
use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// A plugin with what its table says about it.
pub(super) struct Loaded<'a> {
    pub(super) settings: &'a PluginSettings,
    pub(super) live: LivePlugin,
}

impl Loaded<'_> {
    /// Whether it may send to that endpoint by itself.
    pub(super) fn sends_to(&self, endpoint: &str) -> bool {
        self.settings.grants.http.contains(endpoint)
    }

    /// Whether it takes part in that phase.
    pub(super) fn has(&self, phase: Phase) -> bool {
        self.live.bound.plugin.has(phase)
    }
}

/// A plugin host with an engine per worker, reporting to telemetry. `openings` gets the ids of plugins whose breakers
/// open; what finds it full is not told.
///
/// # Errors
/// When the engine cannot be set up at all; without address space for the pool it falls back and says so.
pub fn plugin_host(
    telemetry: &Telemetry,
    cache_dir: Option<PathBuf>,
    openings: mpsc::Sender<PluginId>,
) -> Result<Arc<PluginHost>, HostError> {
    let engines = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    PluginHost::new(HostConfig {
        engines,
        cache_dir,
        observer: Arc::new(Reporter { telemetry: telemetry.clone(), openings }),
        ..HostConfig::default()
    })
}

/// Passes what plugins do on to logs, metrics and whoever looks after their versions.
struct Reporter {
    telemetry: Telemetry,
    openings: mpsc::Sender<PluginId>,
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

    fn out_of_service(&self, plugin: &str, id: PluginId) {
        tracing::warn!(plugin, "the plugin keeps failing and is left alone for a while");
        // A plugin that goes on failing is told again when its next probe fails.
        let _ = self.openings.try_send(id);
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

/// Loads every plugin of an integration; each one that cannot be loaded is a problem at its `source`. What ran
/// `before` goes on where its file and its table are the same.
pub(super) fn load<'a>(
    host: &Arc<PluginHost>,
    contents: &Contents,
    integration: &'a Integration,
    before: Option<&LiveIntegration>,
    now: Instant,
    problems: &mut Problems,
) -> Vec<Loaded<'a>> {
    let mut loaded = Vec::new();
    for (index, settings) in integration.plugins.iter().enumerate() {
        let number = number(&integration.plugins, index);
        let identity = format!("{} {} {number}", integration.name, settings.source.identity());
        let before = before.and_then(|before| predecessor(before, &integration.plugins, index));
        match contents
            .of(settings)
            .and_then(|content| load_one(host, identity, content, settings, before, now))
        {
            Ok(live) => loaded.push(Loaded { settings, live }),
            Err((message, help)) => problems.push(Diagnostic::at(&settings.origin, message, help)),
        }
    }
    loaded
}

fn load_one(
    host: &Arc<PluginHost>,
    identity: String,
    content: Content,
    settings: &PluginSettings,
    before: Option<Predecessor<'_>>,
    now: Instant,
) -> Result<LivePlugin, Found> {
    let kept = before.as_ref().and_then(|before| before.kept(settings, &content.digest.hex()));
    // Whether it is a plugin at all is for the host to say, and better than this could.
    let embedded = Exchange::embedded(&content.octets);
    if let Some(kept) = kept {
        // The table may name other exchanges. A version that came back has its own reasons to differ from the file's.
        if kept.rolled_back_from.is_none() {
            exchanges::pass(&kept.bound.plugin, settings, embedded)?;
        }
        return Ok(kept);
    }
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
        name: settings.source.name(),
        identity,
        bytes: content.octets.into(),
        sha256: settings.sha256,
        config: settings.config.clone(),
        credentials: credentials
            .map(|(name, secret)| (name.clone(), SecretBytes::new(secret.expose())))
            .collect(),
        grants: settings.grants.clone(),
        attributes: settings.attributes.clone(),
        role: settings.role.clone(),
        phases,
        limits: settings.limits.clone(),
    };
    let plugin = host.load(spec).map_err(|error| {
        (describe(&error), "see `bascule plugin inspect FILE` for what it exports and imports".to_owned())
    })?;
    exchanges::pass(&plugin, settings, embedded)?;
    for warning in plugin.warnings() {
        tracing::warn!(plugin = plugin.name(), "{warning}");
    }
    let bound = BoundPlugin {
        plugin,
        reads_bodies: settings.grants.body_read,
        sends: !settings.grants.http.is_empty(),
        tokens: None,
    };
    Ok(match before {
        Some(before) => before.followed_by(settings, bound, now),
        None => LivePlugin { bound, swapped: None, rolled_back_from: None },
    })
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
    for Loaded { settings, live } in loaded {
        if !settings.operations.as_ref().is_none_or(|names| names.contains(operation)) {
            continue;
        }
        if live.bound.plugin.is_backend() {
            phases.backend = Some(live.bound.clone());
            continue;
        }
        let everything = *operation != proxy || settings.operations.is_some();
        let bound = &live.bound;
        for phase in bound.plugin.phases() {
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
    let exports = |phase| loaded.iter().find(move |one| one.has(phase));
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
    if let Some(source) = loaded.iter().find(|one| one.has(Phase::TokenSource))
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

/// Whether a loaded generation's plugins are still what their sources give.
pub(super) fn unchanged(contents: &Contents, integration: &Integration, plugins: &[LivePlugin]) -> bool {
    let now = integration.plugins.iter().map(|settings| Some(contents.of(settings).ok()?.digest.hex()));
    now.eq(plugins.iter().map(|live| Some(live.file_digest().to_owned())))
}
