//! What one plugin call may use, and the caps that no configuration can lift.
//!
//! The configurable part is [`Limits`]; the constants below are fixed, each with what breaks without it.

use std::time::Duration;

use crate::phase::{Hook, Phase};

/// Interval of the epoch ticker: the grain of CPU limits. 1 to 2 ms cost a normal call nothing.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// CPU time for `describe` and `check-config` together with instantiation.
pub(crate) const LIFECYCLE_CPU: Duration = Duration::from_millis(100);

/// Wall time of the same, at least: nobody waits for it, and a reload comes when the machine is busy.
pub(crate) const LIFECYCLE_WALL_MIN: Duration = Duration::from_secs(2);

/// How long a call waits for an instance before it is turned away.
pub(crate) const INSTANCE_WAIT: Duration = Duration::from_millis(50);

/// Header lines that a plugin may return; more would be an amplification at the provider or caller.
pub(crate) const HEADER_LINES_MAX: usize = 100;

/// Octets of header names and values together that a plugin may return.
pub(crate) const HEADER_BYTES_MAX: usize = 32 << 10;

/// Octets that a request mapper may hand to its response mapper through the gateway.
pub(crate) const CARRY_BYTES_MAX: usize = 64 << 10;

/// Log lines of one call. Without it a loop of `log.write` fills the disk.
pub(crate) const LOG_LINES_MAX: usize = 32;

/// Octets of log text of one call, fields included.
pub(crate) const LOG_BYTES_MAX: usize = 8 << 10;

/// Bodies and keys that one call may hold open. Each is host memory that no guest limit sees.
pub(crate) const HANDLES_MAX: usize = 256;

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

/// Limits of one plugin. [`Default`] gives the documented defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, and bodies that it makes, in octets. Default 64 MiB.
    pub memory: u64,
    /// CPU time of one call; `None` = the phase's own: 20 ms signer and classifier, 50 ms mappers.
    pub cpu: Option<Duration>,
    /// Wall time of one call. Default 250 ms.
    pub wall: Duration,
    /// Largest body that `body.read` hands over and that a plugin may make, in octets. Default 2 MiB.
    pub body: u64,
    /// Calls of this plugin at the same time. Default 64.
    pub instances: usize,
    /// Largest file that is loaded, in octets. Default 32 MiB, never above 64 MiB.
    pub artifact: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu: None,
            wall: Duration::from_millis(250),
            body: 2 << 20,
            instances: 64,
            artifact: 32 << 20,
        }
    }
}

impl Limits {
    /// CPU time of one call of that phase.
    #[must_use]
    pub fn cpu_of(&self, phase: Phase) -> Duration {
        self.cpu.unwrap_or_else(|| phase.default_cpu())
    }

    pub(crate) fn cpu_of_hook(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Lifecycle => LIFECYCLE_CPU,
            Hook::Phase(phase) => self.cpu_of(phase),
        }
    }

    pub(crate) fn wall_of_hook(&self, hook: Hook) -> Duration {
        match hook {
            Hook::Lifecycle => self.wall.max(LIFECYCLE_WALL_MIN),
            Hook::Phase(_) => self.wall,
        }
    }

    /// The name of the first limit that is zero, which would mean "nothing works", never "unlimited".
    pub(crate) fn first_zero(&self) -> Option<&'static str> {
        let named = [
            ("memory", self.memory == 0),
            ("cpu", self.cpu.is_some_and(|cpu| cpu.is_zero())),
            ("wall", self.wall.is_zero()),
            ("body", self.body == 0),
            ("instances", self.instances == 0),
            ("artifact", self.artifact == 0),
        ];
        named.into_iter().find_map(|(name, zero)| zero.then_some(name))
    }
}
