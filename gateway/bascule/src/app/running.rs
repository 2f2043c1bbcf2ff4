//! Starting and stopping.

use super::{
    breakers::show,
    build::{Parts, build, with_plugin_problems},
    control::Reloader,
    disk::{close_disk, open_disk},
    export::Exporter,
    levels,
    plugins::{describe, plugin_host},
    rollback::OPENINGS_MAX,
    second_level::start_second_level,
    sources::PluginSources,
    warm_up::keep_warm,
    watch::watch,
};
use crate::{
    admin::{AdminPlane, Control, Reloaded},
    config::{ApiKeyPlace, Auth, Config, Diagnostic, Problems, SharedSettings, Sources, TlsFiles, load},
    dataplane::DataPlane,
    delivery,
    pipeline::{Generation, Peers, Queue, Services},
    server::{Listener, ServerTls},
    telemetry::{LogFormat, OtlpTransport, Redactor, Telemetry, journal::JournalError},
    upstream::Tls,
};
use arc_swap::ArcSwap;
use bascule_cache::{Coalescer, Store, StoreConfig};
use bascule_plugin_host::PluginId;
use bascule_resilience::{Clock, SystemRandom, TokioClock};
use bascule_shared::Shared;
use rustls::ClientConfig;
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, SetOnce, mpsc, watch as channel},
    task::JoinHandle,
    time::MissedTickBehavior,
};

/// Waiters per key of the cache (`semantics.md` §7).
const COALESCED_MAX: usize = 1024;
/// How often dead cache entries are swept out, so that an idle gateway gives its memory back.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Longest that flushing telemetry may hold up the exit (`contract.md` §6).
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// How to start.
#[derive(Clone)]
pub struct Options {
    /// Where the configuration comes from.
    pub sources: Sources,
    /// How logs and completion records are written.
    pub log_format: LogFormat,
    /// Where compiled plugins are kept; none: a private temporary folder.
    pub plugin_cache: Option<PathBuf>,
    /// Shared with the log, whose lines it keeps free of secrets.
    pub redactor: Redactor,
    /// Whether completion records are written and traces exported; `bascule call` goes without.
    pub quiet: bool,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or its plugins; exit status 78.
    #[error("the configuration has problems")]
    Configuration(Box<Problems>),
    /// An address that cannot be had; exit status 69.
    #[error("{0}")]
    Listen(String),
    /// Something that is nobody's configuration; exit status 70.
    #[error("{0}")]
    Internal(String),
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> Self {
        Self::Configuration(Box::new(problems))
    }
}

/// A gateway's insides, without listeners: what `serve` listens with, and what `call` runs one call in.
pub struct Assembled {
    /// What calls share.
    pub services: Arc<Services>,
    /// What outlives generations.
    pub parts: Parts,
    /// Plugins whose breakers opened.
    pub openings: mpsc::Receiver<PluginId>,
}

/// A running gateway.
pub struct Running {
    /// Where the data plane listens.
    pub data: SocketAddr,
    /// Where the admin plane listens.
    pub admin: SocketAddr,
    services: Arc<Services>,
    control: Arc<Reloader>,
    ready: Arc<AtomicBool>,
    stop: channel::Sender<bool>,
    planes: [JoinHandle<bool>; 2],
    deliveries: JoinHandle<bool>,
    /// What goes on beside the calls, until the end.
    chores: [JoinHandle<()>; 5],
}

/// Loads the configuration and builds everything but the listeners.
///
/// # Errors
/// [`StartError`] with every problem that was found.
pub fn assemble(options: &Options) -> Result<Assembled, StartError> {
    let (opened, openings) = mpsc::channel(OPENINGS_MAX);
    let tls = Tls::new().map_err(|error| StartError::Internal(format!("no TLS: {error}")))?;
    let sources = PluginSources::new(&tls, options.plugin_cache.as_deref())
        .map_err(|error| StartError::Internal(format!("no folder for plugins: {error}")))?;
    let loaded = load(&options.sources).map_err(|problems| {
        // The plugins of sound integrations are looked at too, where there is anything to look with.
        match plugin_host(&Telemetry::disabled(), options.plugin_cache.clone(), opened.clone()) {
            Ok(host) => with_plugin_problems(&host, &sources, TokioClock.now(), problems),
            Err(_) => problems,
        }
    })?;
    let config = Arc::new(loaded.config);
    let telemetry = telemetry(options, &config, &tls)?;
    let unusable = |error: JournalError| journal_problem(&config, &error, Problems::new());
    telemetry.keep_journal(config.journal.as_ref()).map_err(unusable)?;
    let host = plugin_host(&telemetry, options.plugin_cache.clone(), opened)
        .map_err(|error| StartError::Internal(format!("no plugin host: {}", describe(&error))))?;
    let empty = Generation {
        number: 0,
        config: Arc::clone(&config),
        integrations: HashMap::new(),
        breakers: BTreeMap::new(),
    };
    let (clock, random) = (Arc::new(TokioClock), Arc::new(SystemRandom));
    let services = Services {
        cache: Store::new(StoreConfig { max_size: config.cache.max_size, max_entry: config.cache.max_entry }),
        cache_disk: SetOnce::new(),
        cache_shared: SetOnce::new(),
        flights: Coalescer::new(COALESCED_MAX),
        outbox: SetOnce::new(),
        telemetry,
        peers: Peers::new(config.cache.shared.as_ref(), Arc::clone(&clock) as Arc<dyn Clock>, &*random),
        clock,
        random,
        generation: ArcSwap::from_pointee(empty),
    };
    let parts = Parts { host, sources, tls };
    let (generation, _) = build(&parts, &services, config, loaded.warnings.about_the_same_files())?;
    show(&services, &generation);
    services.generation.store(Arc::new(generation));
    let services = Arc::new(services);
    levels::observe(&services);
    Ok(Assembled { services, parts, openings })
}

fn telemetry(options: &Options, config: &Config, tls: &Tls) -> Result<Telemetry, StartError> {
    options.redactor.replace(&redactor(config));
    if options.quiet {
        let telemetry = Telemetry::disabled();
        telemetry.set_redactor(redactor(config));
        return Ok(telemetry);
    }
    let transport = config
        .telemetry
        .otlp_endpoint
        .as_ref()
        .map(|collector| Arc::new(Exporter::new(tls.clone(), collector)) as Arc<dyn OtlpTransport>);
    Telemetry::start(&config.telemetry, options.log_format, options.redactor.clone(), transport)
        .map_err(|error| StartError::Internal(format!("no telemetry: {}", describe(&error))))
}

/// The journal's folder is named in the configuration, so that is where the problem stands.
pub(super) fn journal_problem(config: &Config, error: &JournalError, mut problems: Problems) -> Problems {
    let help = "name a folder that the gateway may write to, or remove [journal]";
    let file = config.root.join("bascule.toml");
    problems.push(Diagnostic::new(file, "journal.folder", describe(error), help));
    problems
}

/// Opens the outbox of the configuration, unless one is open: the first one stays to the end of the process. Blocks.
pub(super) fn open_outbox(
    services: &Services,
    config: &Config,
    mut problems: Problems,
) -> Result<(), Problems> {
    let Some(settings) = config.outbox.as_ref().filter(|_| services.outbox.get().is_none()) else {
        return Ok(());
    };
    match Queue::open(&settings.path) {
        Ok(queue) => {
            // Reloads take turns, so nobody else sets it.
            let _ = services.outbox.set(Arc::new(queue));
            Ok(())
        }
        Err(error) => {
            let help = "name a file on a local disk that this gateway alone may write to";
            let file = config.root.join("bascule.toml");
            problems.push(Diagnostic::new(file, "outbox.path", describe(&error), help));
            Err(problems)
        }
    }
}

/// What must not leave in any text.
pub(super) fn redactor(config: &Config) -> Redactor {
    let query_names: Vec<String> = config
        .integrations
        .values()
        .filter_map(|integration| match &integration.auth {
            Auth::ApiKey { place: ApiKeyPlace::Query(name), .. } => Some(name.clone()),
            _ => None,
        })
        .collect();
    Redactor::new(&config.telemetry.redact, &config.secrets, &query_names)
}

impl Running {
    /// Starts listening. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; nothing listens then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let assembling = options.clone();
        let assembled = tokio::task::spawn_blocking(move || {
            let assembled = assemble(&assembling)?;
            let config = Arc::clone(&assembled.services.generation.load().config);
            open_outbox(&assembled.services, &config, Problems::new())?;
            open_disk(&assembled.services, &config);
            Ok::<_, StartError>(assembled)
        })
        .await
        .map_err(|_| StartError::Internal("the start broke off".into()))??;
        let Assembled { services, parts, openings } = assembled;
        let config = Arc::clone(&services.generation.load().config);
        let tls = match &config.server.tls {
            None => None,
            Some(files) => Some(load_tls(&config, files)?),
        };
        let listen = |error: crate::server::ListenerError| StartError::Listen(describe(&error));
        let data = Listener::bind(config.server.listen, tls).await.map_err(listen)?;
        let admin = Listener::bind(config.admin.listen, None).await.map_err(listen)?;
        let (data_address, admin_address) = (data.address(), admin.address());
        let (stop, stopped) = channel::channel(false);
        let ready = Arc::new(AtomicBool::new(true));
        let changed = Arc::new(Notify::new());
        let control = Arc::new(Reloader {
            sources: options.sources,
            parts,
            services: Arc::clone(&services),
            turn: Arc::default(),
            changed: Arc::clone(&changed),
        });
        connect(&services, &control.parts.tls, &config);
        let drain = config.server.drain_timeout;
        let data_plane = DataPlane::new(Arc::clone(&services), Arc::clone(&ready));
        let admin_plane = AdminPlane::new(Arc::clone(&services), Arc::clone(&control) as Arc<dyn Control>);
        Ok(Self {
            data: data_address,
            admin: admin_address,
            planes: [
                tokio::spawn(data.serve(data_plane, stopped.clone(), drain)),
                tokio::spawn(admin.serve(admin_plane, stopped.clone(), drain)),
            ],
            deliveries: tokio::spawn(delivery::run(Arc::clone(&services), stopped, drain)),
            chores: [
                tokio::spawn(sweep(Arc::clone(&services))),
                tokio::spawn(peers(Arc::clone(&services))),
                tokio::spawn(watch(Arc::clone(&control))),
                tokio::spawn(keep_warm(Arc::clone(&services), changed)),
                tokio::spawn(roll_back(Arc::clone(&control), openings)),
            ],
            services,
            control,
            ready,
            stop,
        })
    }

    /// Loads the configuration again; with any problem the old one stays.
    ///
    /// # Errors
    /// All problems of the new configuration.
    pub async fn reload(&self) -> Result<Reloaded, Problems> {
        self.control.reload().await
    }

    /// Stops accepting, lets calls in flight finish, flushes the cache's file and telemetry. Returns whether every call
    /// could finish within `server.drain_timeout`.
    pub async fn shutdown(self) -> bool {
        self.ready.store(false, Ordering::Relaxed);
        let _ = self.stop.send(true);
        let mut drained = true;
        for work in self.planes.into_iter().chain([self.deliveries]) {
            drained &= work.await.unwrap_or(false);
        }
        self.chores.iter().for_each(JoinHandle::abort);
        close_disk(&self.services, FLUSH_MAX).await;
        let _ = tokio::time::timeout(FLUSH_MAX, self.services.telemetry.shutdown()).await;
        drained
    }
}

fn load_tls(config: &Config, files: &TlsFiles) -> Result<ServerTls, Problems> {
    ServerTls::load(&files.cert, &files.key, files.client_ca.as_deref()).map_err(|error| {
        let mut problems = Problems::new();
        let help = "`cert` and `key` are PEM files; paths are relative to the folder of bascule.toml";
        problems.push(Diagnostic::new(
            config.root.join("bascule.toml"),
            "server.tls",
            error.to_string(),
            help,
        ));
        problems
    })
}

async fn roll_back(control: Arc<Reloader>, mut openings: mpsc::Receiver<PluginId>) {
    while let Some(id) = openings.recv().await {
        control.roll_back(id).await;
    }
}

/// Begins to connect to the server that is shared with other gateways, if there is one. It is not waited for.
fn connect(services: &Services, tls: &Tls, config: &Config) {
    let Some(settings) = &config.cache.shared else { return };
    services.peers.connect(shared_server(services, tls, settings));
    start_second_level(services, settings, shared_server(services, tls, settings));
}

/// A connection to it.
fn shared_server(services: &Services, tls: &Tls, settings: &SharedSettings) -> Shared {
    let random = Arc::clone(&services.random);
    let mut options = bascule_shared::Options::new(move || random.unit());
    options.timeout = settings.timeout;
    options.prefix.clone_from(&settings.prefix);
    let mut tls = ClientConfig::clone(tls.config());
    // Offered protocols are those of HTTP.
    tls.alpn_protocols.clear();
    options.tls = Some(Arc::new(tls));
    Shared::start(settings.server.clone(), options)
}

async fn peers(services: Arc<Services>) {
    services.peers.run().await;
}

async fn sweep(services: Arc<Services>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (cache, now) = (Arc::clone(&services.cache), services.now());
        // Visits every entry: not on a worker thread.
        let _ = tokio::task::spawn_blocking(move || cache.run_maintenance(now)).await;
    }
}
