//! What one plugin call may use, and the caps that no configuration can lift.
//!
//! The configurable part is [`Limits`]; the constants below are fixed, each with what breaks without it.

use std::time::Duration;

use crate::error::LoadError;
use crate::grants::Grants;
use crate::phase::{Hook, Phase};

/// Interval of the epoch ticker: the grain of CPU limits. 1 to 2 ms cost a normal call nothing.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// CPU time for `describe` and `check-config` together with instantiation.
pub(crate) const LIFECYCLE_CPU: Duration = Duration::from_millis(100);

/// Wall time of the same, at least: nobody waits for it, and a reload comes when the machine is busy.
pub(crate) const LIFECYCLE_WALL_MIN: Duration = Duration::from_secs(2);

/// Wall time of a call by default.
const WALL: Duration = Duration::from_millis(250);

/// The same for a plugin that may send side requests, for whose answers it waits.
const WALL_WITH_HTTP: Duration = Duration::from_secs(5);

/// CPU time of one request that a backend serves: a whole operation, bodies included.
const BACKEND_CPU: Duration = Duration::from_secs(1);

/// Wall time of the same, until the end of its answer's body: as long as a whole call has by default.
const BACKEND_WALL: Duration = Duration::from_secs(30);

/// Octets that a backend may write into its answer, or into a request, before they are taken. Two such pieces are held.
pub(crate) const BACKEND_CHUNK_BYTES: usize = 64 << 10;

/// How long a call waits for an instance before it is turned away.
pub(crate) const INSTANCE_WAIT: Duration = Duration::from_millis(50);

/// Octets that a request mapper may hand to its response mapper through the gateway.
pub(crate) const CARRY_BYTES_MAX: usize = 64 << 10;

/// Octets that a cache policy may put into the cache key, which is hashed for every call.
pub(crate) const KEY_MATERIAL_BYTES_MAX: usize = 4 << 10;

/// Octets of a token: it goes into a header, and providers take no longer ones.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Measurements of one call. Without it a loop of `telemetry.count` keeps all workers at the same locks.
pub(crate) const MEASUREMENTS_MAX: usize = 256;

/// Octets of a label's value.
pub(crate) const LABEL_VALUE_BYTES_MAX: usize = 64;

/// Span attributes of one call, and octets of each. They leave the gateway with the span.
pub(crate) const ANNOTATIONS_MAX: usize = 32;
pub(crate) const ANNOTATION_BYTES_MAX: usize = 256;

/// What a guest may hand over in one host call beyond a whole body: headers, carry, log text, and
/// the bookkeeping that the engine counts for every string and record.
pub(crate) const HOSTCALL_EXTRA_BYTES: u64 = 256 << 10;

/// Octets of one `random.bytes` call; enough for any nonce or key, too little to stall a worker.
pub(crate) const RANDOM_BYTES_MAX: u32 = 64 << 10;

/// Elements of one guest table. The pool reserves this much address space for each slot.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 64 << 10;

/// Core instances of one component: the module itself, its adapters and shims. A Python component has up
/// to 38.
pub(crate) const CORE_INSTANCES_MAX: u32 = 48;

/// Linear memories of one component. Composed components have more than one, QuickJS has three.
pub(crate) const MEMORIES_MAX: u32 = 3;

/// Tables of one component: each core instance may bring one.
pub(crate) const TABLES_MAX: u32 = 8;

/// Largest artifact that any configuration may allow. A Python component has 18 MiB.
pub(crate) const ARTIFACT_BYTES_CAP: u64 = 64 << 20;

/// When the breaker of one plugin opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row that open it. Default 5, cap 1,000.
    pub failures: u32,
    /// Calls in 10 s below which the share of failures says nothing; from there on half of them open it.
    /// Default 20, cap 100,000.
    pub min_calls: u32,
    /// How long it stays open at first; doubles with each failed probe. Default 10 s, cap 1 h.
    pub open: Duration,
    /// How long it stays open at most. Default 5 min, cap 1 h.
    pub open_max: Duration,
}

impl BreakerLimits {
    pub(crate) const DEFAULT: Self = Self {
        failures: 5,
        min_calls: 20,
        open: Duration::from_secs(10),
        open_max: Duration::from_secs(300),
    };
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Limits of one plugin. [`Default`] gives the documented defaults; zero is refused at load, as is more
/// than the cap of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, and bodies that it makes or fetches, in octets. Default 64 MiB, cap
    /// 4 GiB.
    pub memory: u64,
    /// CPU time of one call; `None` = the phase's own: 20 ms signer, classifier and cache policy, 50 ms
    /// mappers, 100 ms token source, 1 s backends. Cap 1 min.
    pub cpu: Option<Duration>,
    /// Wall time of one call; `None` = 250 ms, or 5 s with a grant `http:…`; 30 s for backends. Cap 10 min.
    pub wall: Option<Duration>,
    /// Largest body that `body.read` hands over, that a plugin may make, and that a side request may
    /// bring, in octets. Default 2 MiB, cap 64 MiB.
    pub body: u64,
    /// Calls of this plugin at the same time. Default 64, cap 65,536.
    pub instances: usize,
    /// Largest file that is loaded, in octets. Default 32 MiB, cap 64 MiB.
    pub artifact: u64,
    /// Header lines that it may return; more would be an amplification at the provider or caller.
    /// Default 100, cap 1,000.
    pub header_lines: usize,
    /// Octets of header names and values together that it may return. Default 32 KiB, cap 256 KiB.
    pub header_bytes: usize,
    /// Log lines of one call: without it a loop of `log.write` fills the disk. Default 32, cap 10,000.
    pub log_lines: usize,
    /// Octets of log text of one call, fields included. Default 8 KiB, cap 1 MiB.
    pub log_bytes: usize,
    /// Side requests of one call, or requests of a backend's own. Default 4, cap 100.
    pub side_requests: usize,
    /// Bodies and keys that one call may hold: host memory that no guest limit sees. Default 256, cap
    /// 65,536.
    pub handles: usize,
    /// Keys that one call may open: each may take the host as long as parsing a private key. Default 64,
    /// cap 65,536.
    pub key_opens: usize,
    /// When the plugin is left alone because it keeps failing.
    pub breaker: BreakerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: None,
            wall: None,
            body: 2 << 20,
            instances: 64,
            artifact: 32 << 20,
            header_lines: 100,
            header_bytes: 32 << 10,
            log_lines: 32,
            log_bytes: 8 << 10,
            side_requests: 4,
            handles: 256,
            key_opens: 64,
            breaker: BreakerLimits::DEFAULT,
        }
    }
}

/// A limit with its cap; durations in nanoseconds.
struct Bounded(&'static str, u128, u128, &'static str);

impl Limits {
    /// CPU time of one call of that phase.
    #[must_use]
    pub fn cpu_of(&self, phase: Phase) -> Duration {
        self.cpu.unwrap_or_else(|| phase.default_cpu())
    }

    /// Wall time of one call under those grants.
    #[must_use]
    pub fn wall_with(&self, grants: &Grants) -> Duration {
        self.wall.unwrap_or(if grants.http.is_empty() { WALL } else { WALL_WITH_HTTP })
    }

    pub(crate) fn cpu_of_hook(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Lifecycle => LIFECYCLE_CPU,
            Hook::Phase(phase) => self.cpu_of(phase),
            Hook::Backend => self.cpu.unwrap_or(BACKEND_CPU),
        }
    }

    pub(crate) fn wall_of_hook(&self, hook: Hook, grants: &Grants) -> Duration {
        match hook {
            Hook::Lifecycle => self.wall_with(grants).max(LIFECYCLE_WALL_MIN),
            Hook::Phase(_) => self.wall_with(grants),
            Hook::Backend => self.wall.unwrap_or(BACKEND_WALL),
        }
    }

    /// Whether every limit lies between one and its cap. Loading asks again.
    ///
    /// # Errors
    /// [`LoadError::ZeroLimit`] for the first limit that is zero, which would mean "nothing works", never
    /// "unlimited"; [`LoadError::LimitTooHigh`] for one above its cap.
    pub fn check(&self) -> Result<(), LoadError> {
        let nanos = |span: Option<Duration>| span.map_or(1, |span| span.as_nanos());
        let breaker = &self.breaker;
        let hour = Duration::from_secs(3600).as_nanos();
        let bounded = [
            Bounded("memory", self.memory.into(), 4 << 30, "4GiB"),
            Bounded("cpu", nanos(self.cpu), Duration::from_secs(60).as_nanos(), "1m"),
            Bounded("wall", nanos(self.wall), Duration::from_secs(600).as_nanos(), "10m"),
            Bounded("body", self.body.into(), 64 << 20, "64MiB"),
            Bounded("instances", self.instances as u128, 65_536, "65536"),
            Bounded("artifact", self.artifact.into(), ARTIFACT_BYTES_CAP.into(), "64MiB"),
            Bounded("header_lines", self.header_lines as u128, 1_000, "1000"),
            Bounded("header_bytes", self.header_bytes as u128, 256 << 10, "256KiB"),
            Bounded("log_lines", self.log_lines as u128, 10_000, "10000"),
            Bounded("log_bytes", self.log_bytes as u128, 1 << 20, "1MiB"),
            Bounded("side_requests", self.side_requests as u128, 100, "100"),
            Bounded("handles", self.handles as u128, 65_536, "65536"),
            Bounded("key_opens", self.key_opens as u128, 65_536, "65536"),
            Bounded("breaker.failures", breaker.failures.into(), 1_000, "1000"),
            Bounded("breaker.min_calls", breaker.min_calls.into(), 100_000, "100000"),
            Bounded("breaker.open", breaker.open.as_nanos(), hour, "1h"),
            Bounded("breaker.open_max", breaker.open_max.as_nanos(), hour, "1h"),
        ];
        bounded.into_iter().try_for_each(|Bounded(limit, value, most, cap)| match value {
            0 => Err(LoadError::ZeroLimit { limit }),
            _ if value > most => Err(LoadError::LimitTooHigh { limit, cap }),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_allowed_for_where_something_can_be_waited_for() {
        let granted = Grants::parse(["http:default"]).unwrap();
        let limits = Limits::default();
        assert_eq!(limits.wall_with(&Grants::default()), Duration::from_millis(250));
        assert_eq!(limits.wall_with(&granted), Duration::from_secs(5));
        let own = Limits { wall: Some(Duration::from_millis(7)), ..limits };
        assert_eq!(own.wall_with(&granted), Duration::from_millis(7));
    }

    #[test]
    fn zero_and_more_than_the_cap_are_refused_by_name() {
        assert!(Limits::default().check().is_ok());
        let zero = Limits { log_lines: 0, ..Limits::default() }.check().unwrap_err();
        assert_eq!(zero.to_string(), "the limit `log_lines` is zero");
        let zero = Limits { cpu: Some(Duration::ZERO), ..Limits::default() }.check().unwrap_err();
        assert_eq!(zero.to_string(), "the limit `cpu` is zero");
        let high = Limits { wall: Some(Duration::from_secs(601)), ..Limits::default() }.check().unwrap_err();
        assert_eq!(high.to_string(), "the limit `wall` is higher than 10m");
    }
}
