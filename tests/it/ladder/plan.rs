//! Generated configurations: operations in layers, whose ladders lead to layers below.

use proptest::{collection::vec, prelude::*, sample::Index};
use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    time::Duration,
};

/// Operations of a configuration.
pub(super) const OPERATIONS: usize = 200;
/// Calls that are compared, after those that fill the cache.
pub(super) const CALLS: usize = 300;
/// Ladders nest three deep, which makes four layers.
const LAYER: usize = OPERATIONS / 4;
/// How long an entry is fresh that is meant to be expired.
pub(super) const SHORT: Duration = Duration::from_millis(1);

/// What an operation's upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Answers,
    NotFound,
    Fails,
    Babbles,
    HangsUp,
    /// Nobody listens.
    Refuses,
}

/// What the operation's cache makes of an answer by the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    Never,
    Fresh,
    Expired,
    /// Expired, and beyond `keep_stale`.
    Dead,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    index: Index,
    near: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Rung {
    Cache,
    /// An operation of the layer below or of any below it, with the call's parameters or its own.
    Operation {
        target: Target,
        n: Option<u8>,
    },
    Default {
        status: u16,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) behaviour: Behaviour,
    pub(super) forced_open: bool,
    /// Whether it may be sent once only.
    pub(super) limited: bool,
    pub(super) cached: Cached,
    /// Which parameters are called while all is well.
    pub(super) primed: [bool; 2],
    pub(super) ladder: Vec<Rung>,
    pub(super) on: Option<BTreeSet<&'static str>>,
}

/// One call: GET with a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) operation: usize,
    pub(super) n: u8,
    pub(super) skip_cache: bool,
}

#[derive(Clone)]
pub(super) struct Plan {
    pub(super) operations: Vec<Operation>,
    pub(super) calls: Vec<Call>,
}

/// Two hundred operations are no help to whoever reads a failure; its message shows those that matter.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations, {} calls", self.operations.len(), self.calls.len())
    }
}

const CAUSES: [&str; 9] = [
    "circuit-open",
    "timeout",
    "connect",
    "protocol",
    "transient",
    "throttled",
    "rate-limited",
    "overloaded",
    "auth",
];

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        2 => Just(Behaviour::Answers),
        1 => Just(Behaviour::NotFound),
        3 => Just(Behaviour::Fails),
        2 => Just(Behaviour::Babbles),
        2 => Just(Behaviour::HangsUp),
        2 => Just(Behaviour::Refuses),
    ]
}

fn rung() -> impl Strategy<Value = Rung> {
    prop_oneof![
        3 => Just(Rung::Cache),
        5 => (any::<Index>(), prop::bool::weighted(0.7), prop::option::of(0u8..2))
            .prop_map(|(index, near, n)| Rung::Operation { target: Target { index, near }, n }),
        2 => prop::sample::select(vec![200, 203, 404, 503]).prop_map(|status| Rung::Default { status }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let cached = prop_oneof![
        3 => Just(Cached::Never),
        1 => Just(Cached::Fresh),
        3 => Just(Cached::Expired),
        1 => Just(Cached::Dead),
    ];
    let causes = prop::sample::subsequence(CAUSES.to_vec(), 1..CAUSES.len())
        .prop_map(|causes| causes.into_iter().collect::<BTreeSet<_>>());
    (
        behaviour(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        cached,
        any::<[bool; 2]>(),
        vec(rung(), 0..=5),
        prop::option::weighted(0.25, causes),
    )
        .prop_map(|(behaviour, forced_open, limited, cached, primed, ladder, on)| Operation {
            behaviour,
            forced_open,
            limited,
            cached,
            primed,
            ladder,
            on,
        })
}

/// A configuration and the calls to it.
pub(super) fn plan() -> impl Strategy<Value = Plan> {
    // Half of them from the top, so that many ladders are climbed to their end.
    let operation_called = prop_oneof![1 => 0..OPERATIONS, 2 => OPERATIONS - LAYER..OPERATIONS];
    let call = (operation_called, 0u8..2, prop::bool::weighted(0.1))
        .prop_map(|(operation, n, skip_cache)| Call { operation, n, skip_cache });
    (vec(operation(), OPERATIONS), vec(call, CALLS))
        .prop_map(|(operations, calls)| Plan { operations, calls })
}

/// The operation that a rung leads to; the lowest layer's lead nowhere.
pub(super) fn target(from: usize, target: &Target) -> Option<usize> {
    let below = from / LAYER * LAYER;
    if below == 0 {
        return None;
    }
    Some(if target.near { below - LAYER + target.index.index(LAYER) } else { target.index.index(below) })
}

impl Plan {
    /// The calls that fill the cache.
    pub(super) fn priming(&self) -> Vec<Call> {
        let each = self.operations.iter().enumerate();
        each.flat_map(|(operation, plan)| {
            let params = (0u8..2).filter(|n| plan.primed[usize::from(*n)]);
            params.map(move |n| Call { operation, n, skip_cache: false })
        })
        .collect()
    }

    /// `INTEGRATION.OPERATION`: those whose upstream refuses are in an integration of their own.
    pub(super) fn name(&self, operation: usize) -> String {
        let integration =
            if self.operations[operation].behaviour == Behaviour::Refuses { "dead" } else { "live" };
        format!("{integration}.o{operation}")
    }

    /// The files, by name.
    pub(super) fn integrations(&self, live: &str, dead: &str) -> [(&'static str, String); 2] {
        let text = |url: &str, refuses: bool| {
            let head = format!(
                "base_url = \"{url}\"\n[retry]\nmax_attempts = 1\n[circuit_breaker]\nmode = \"off\"\n"
            );
            let each = (0..self.operations.len())
                .filter(|index| (self.operations[*index].behaviour == Behaviour::Refuses) == refuses);
            each.fold(head, |text, index| text + &self.operation(index))
        };
        [("live", text(live, false)), ("dead", text(dead, true))]
    }

    /// An operation's part of its file.
    fn operation(&self, index: usize) -> String {
        let operation = &self.operations[index];
        let mut text = format!(
            "[operations.o{index}]\npath = \"/o{index}\"\nquery = {{ n = \"{{n}}\" }}\n\
             params.n = {{ type = \"string\", required = true }}\n"
        );
        if operation.forced_open {
            text += "circuit_breaker = { mode = \"forced-open\" }\n";
        }
        if operation.limited {
            text += "rate_limit = { requests = 1, window = \"24h\" }\n";
        }
        text += match operation.cached {
            Cached::Never => "",
            Cached::Fresh => "cache = \"1h\"\n",
            Cached::Expired => "cache = { ttl = \"1ms\", keep_stale = \"1h\" }\n",
            Cached::Dead => "cache = { ttl = \"1ms\", keep_stale = \"0s\" }\n",
        };
        let rungs: Vec<String> =
            operation.ladder.iter().enumerate().filter_map(|(at, rung)| self.rung(index, at, rung)).collect();
        let _ = writeln!(text, "fallback = [{}]", rungs.join(", "));
        if let Some(on) = &operation.on {
            let _ = writeln!(text, "fallback_on = {:?}", Vec::from_iter(on));
        }
        text
    }

    fn rung(&self, index: usize, at: usize, rung: &Rung) -> Option<String> {
        Some(match rung {
            Rung::Cache => "\"cache\"".to_owned(),
            Rung::Operation { target: to, n } => {
                let name = self.name(target(index, to)?);
                let params = n.map(|n| format!(", params = {{ n = \"{n}\" }}")).unwrap_or_default();
                format!("{{ operation = \"{name}\"{params} }}")
            }
            Rung::Default { status } => format!("{{ default = \"o{index}/{at}\", status = {status} }}"),
        })
    }

    /// The declarations that a call of this operation may come to.
    pub(super) fn shown(&self, operation: usize) -> String {
        let mut open = vec![operation];
        let mut shown = BTreeSet::new();
        while let Some(index) = open.pop() {
            if shown.insert(index) {
                open.extend(self.operations[index].ladder.iter().filter_map(|rung| match rung {
                    Rung::Operation { target: to, .. } => target(index, to),
                    Rung::Cache | Rung::Default { .. } => None,
                }));
            }
        }
        let each = shown.into_iter().rev();
        each.map(|index| format!("# {:?}\n{}", self.operations[index].behaviour, self.operation(index)))
            .collect()
    }
}
