//! The handle to the server, and the one way in which a call is made.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redis::RedisResult;
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::call::{CallError, Command, Script};
use crate::health::{Health, Meter};
use crate::hub::{Hub, Subscription};
use crate::keeper::keep;
use crate::live::Live;
use crate::reply::Reply;
use crate::server::Server;

/// How the server is used.
#[derive(Clone)]
pub struct Options {
    /// The longest that a call takes; default 50 ms.
    pub timeout: Duration,
    /// The longest that it takes to connect, with TLS and login; default 1 s.
    pub connect_timeout: Duration,
    /// What all keys and channels begin with; default `bascule`.
    pub prefix: String,
    /// Most calls that wait for their answers; default 1024. What is beyond fails at once.
    pub unanswered_max: u64,
    /// What `rediss` needs: roots, and no ALPN.
    pub tls: Option<Arc<ClientConfig>>,
    /// A random number in [0, 1), to spread tries to connect.
    pub chance: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Options {
    /// The defaults, without TLS, with this source of chance.
    pub fn new(chance: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self {
            timeout: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(1),
            prefix: "bascule".to_owned(),
            unanswered_max: 1024,
            tls: None,
            chance: Arc::new(chance),
        }
    }
}

/// A server that is shared with other gateways. Clones share the connection; it is closed with the last of them.
#[derive(Clone)]
pub struct Shared(Arc<Kept>);

struct Kept {
    core: Arc<Core>,
    keeper: JoinHandle<()>,
}

pub(crate) struct Core {
    pub(crate) server: Server,
    pub(crate) options: Options,
    pub(crate) hub: Hub,
    pub(crate) meter: Meter,
    /// Tells the keeper that a channel is wanted.
    pub(crate) wanted: Notify,
    live: RwLock<Option<Arc<Live>>>,
}

impl Shared {
    /// Begins to connect, and returns at once. Until there is a connection calls fail with [`CallError::Away`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(server: Server, options: Options) -> Self {
        let core = Arc::new(Core {
            server,
            options,
            hub: Hub::default(),
            meter: Meter::new(Instant::now()),
            wanted: Notify::new(),
            live: RwLock::new(None),
        });
        let keeper = tokio::spawn(keep(Arc::clone(&core)));
        Self(Arc::new(Kept { core, keeper }))
    }

    /// Makes one call. Takes at most [`Options::timeout`]. Cancel-safe in that nothing is left behind; the server may
    /// do what it was asked all the same.
    ///
    /// # Errors
    /// [`CallError`] when there is no answer, or an error for an answer.
    pub async fn call(&self, command: Command) -> Result<Reply, CallError> {
        let core = &self.0.core;
        let (live, number) = core.begin()?;
        core.call_on(&live, number, command).await
    }

    /// Runs a script with these keys and arguments. Bounds and cancellation as for [`call`](Self::call).
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<[u8]>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Reply, CallError> {
        let core = &self.0.core;
        let (live, number) = core.begin()?;
        let invocation = script.invocation(keys, arguments);
        let mut connection = live.connection.clone();
        core.answer(&live, number, invocation.invoke_async(&mut connection)).await
    }

    /// Publishes a message to all gateways that subscribed to the channel, this one included.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub async fn publish(&self, channel: &str, message: impl AsRef<[u8]>) -> Result<(), CallError> {
        self.call(Command::new("PUBLISH").arg(channel).arg(message)).await.map(drop)
    }

    /// Subscribes to a channel. It stays subscribed for as long as `self` lives, so channels are few and their names
    /// are the program's.
    #[must_use]
    pub fn subscribe(&self, channel: &str) -> Subscription {
        let subscription = self.0.core.hub.join(channel);
        self.0.core.wanted.notify_one();
        subscription
    }

    /// The parts of a name joined by colons, after the prefix: what a key or a channel is to be called.
    #[must_use]
    pub fn name(&self, parts: &[&str]) -> String {
        let prefix = [self.0.core.options.prefix.as_str()];
        prefix.iter().chain(parts).copied().collect::<Vec<_>>().join(":")
    }

    /// The server, which is shown without its login.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.0.core.server
    }

    /// Whether calls are made at the moment; if not, they fail at once.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.core.live.read().is_some()
    }

    /// How the connection is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.core.meter.health(Instant::now())
    }
}

impl Core {
    /// A new connection is used from here on.
    pub(crate) fn connected(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        *self.live.write() = Some(Arc::clone(&live));
        self.meter.connected(Instant::now());
        live
    }

    /// Ends a connection, unless another has taken its place.
    pub(crate) fn end(&self, live: &Arc<Live>, problem: &str) {
        let mut current = self.live.write();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, live)) {
            *current = None;
            self.hub.interrupted();
            self.meter.ended(problem, Instant::now());
        }
        drop(current);
        live.end();
    }

    /// One command on this connection.
    pub(crate) async fn call_on(
        &self,
        live: &Arc<Live>,
        number: u64,
        command: Command,
    ) -> Result<Reply, CallError> {
        let mut connection = live.connection.clone();
        self.answer(live, number, command.0.query_async(&mut connection)).await
    }

    fn begin(&self) -> Result<(Arc<Live>, u64), CallError> {
        let live = self.live.read().clone().ok_or(CallError::Away);
        let begun = live.and_then(|live| {
            let number = live.begin(self.options.unanswered_max).ok_or(CallError::Busy)?;
            Ok((live, number))
        });
        begun.inspect_err(|error| self.meter.called(Some(error), Duration::ZERO))
    }

    /// Waits for the answer within the bound, and draws from how that went what it says of the connection.
    async fn answer(
        &self,
        live: &Arc<Live>,
        number: u64,
        asked: impl Future<Output = RedisResult<redis::Value>>,
    ) -> Result<Reply, CallError> {
        let since = Instant::now();
        let result = match timeout(self.options.timeout, asked).await {
            Ok(Ok(value)) => Ok(Reply::from(value)),
            Ok(Err(error)) => Err(CallError::answered(&error).unwrap_or(CallError::Lost)),
            Err(_) => Err(CallError::TimedOut),
        };
        let now = Instant::now();
        let error = result.as_ref().err();
        self.meter.called(error, now.saturating_duration_since(since));
        match error {
            None | Some(CallError::Refused { .. }) => live.answered(number),
            Some(CallError::TimedOut) if live.strike(now) => {
                self.end(live, "the server is too slow");
            }
            Some(_) => {}
        }
        if let Some(error) = error.filter(|error| error.ends_connection()) {
            self.end(live, &error.to_string());
        }
        result
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
