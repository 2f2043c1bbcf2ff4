//! The report: the same facts for people and as JSON.

use super::{
    circuit::{Circuit, History, Opening},
    figures::{Figures, Side},
    human,
    load::Faults,
    recorded::{Fate, Place},
    replay::World,
    usage::Usage,
};
use crate::telemetry::rfc3339;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime};

/// What another configuration would have made of the calls of a journal.
pub struct Report {
    pub(super) seed: u64,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) calls: u64,
    pub(super) faults: Faults,
    /// Operations that the configuration does not have, and how many calls they had.
    pub(super) unknown: Vec<(Place, u64)>,
    /// Those that had calls.
    pub(super) integrations: Vec<Part>,
    pub(super) all: Part,
}

/// An integration, or all of them.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) sentence: String,
    pub(super) figures: Figures,
    pub(super) circuits: Vec<CircuitPart>,
    pub(super) limits: Vec<LimitPart>,
}

/// A circuit.
pub(super) struct CircuitPart {
    pub(super) name: String,
    pub(super) mode: &'static str,
    pub(super) openings: u64,
    pub(super) not_closed: Duration,
    /// When, for how long (none: to the end), and why.
    pub(super) listed: Vec<(String, Option<Duration>, &'static str)>,
}

/// A window of a rate limit.
pub(super) struct LimitPart {
    pub(super) name: String,
    pub(super) window: Duration,
    pub(super) requests: u32,
    pub(super) peak: u64,
    pub(super) share: f64,
}

impl Report {
    pub(super) fn of(world: &World, seed: u64) -> Self {
        let journal = &world.journal;
        let times = Times { world };
        let parts: Vec<Part> = world
            .mechanisms
            .integrations
            .iter()
            .filter(|whole| whole.figures.borrow().calls > 0)
            .map(|whole| {
                let circuits: Vec<_> = whole.circuits.iter().map(|circuit| times.circuit(circuit)).collect();
                let figures = whole.figures.borrow().clone();
                Part {
                    name: whole.name.clone(),
                    sentence: figures.sentence(circuits.iter().map(|circuit| circuit.openings).sum()),
                    figures,
                    circuits,
                    limits: whole.usage.iter().flat_map(|usage| limits(&usage.borrow())).collect(),
                }
            })
            .collect();
        let mut all = Figures::default();
        for part in &parts {
            all.add(&part.figures);
        }
        Self {
            seed,
            from: times.at_micros(journal.begins()),
            to: times.at_micros(journal.ends()),
            calls: journal.calls.len() as u64,
            faults: Faults {
                dropped: journal.faults.dropped,
                unreadable: journal.faults.unreadable,
                shown: journal.faults.shown.clone(),
            },
            unknown: world
                .unknown
                .borrow()
                .iter()
                .map(|(place, calls)| ((**place).clone(), *calls))
                .collect(),
            integrations: parts,
            all: Part {
                name: "all".to_owned(),
                sentence: all.sentence(world.mechanisms.circuits.openings()),
                figures: all,
                circuits: Vec::new(),
                limits: Vec::new(),
            },
        }
    }

    /// Whether any call of the journal is of an operation that the configuration has.
    pub fn has_calls(&self) -> bool {
        !self.integrations.is_empty()
    }

    /// For people.
    pub fn to_human(&self) -> String {
        human::render(self)
    }

    /// For programs: `docs/simulate.md` lists the members.
    pub fn to_json(&self) -> Value {
        let unknown = |(place, calls): &(Place, u64)| json!({ "integration": place.integration, "operation": place.operation, "calls": calls });
        json!({
            "journal": {
                "from": self.from,
                "to": self.to,
                "calls": self.calls,
                "dropped": self.faults.dropped,
                "unreadable": self.faults.unreadable,
                "unreadable_lines": self.faults.shown,
            },
            "seed": self.seed,
            "unknown": self.unknown.iter().map(unknown).collect::<Vec<_>>(),
            "integrations": self.integrations.iter().map(Part::to_json).collect::<Vec<_>>(),
            "all": self.all.to_json(),
        })
    }
}

/// Virtual time as people read it.
struct Times<'a> {
    world: &'a World,
}

impl Times<'_> {
    fn at_micros(&self, micros: u64) -> String {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros));
        rfc3339(at.unwrap_or(SystemTime::UNIX_EPOCH))
    }

    fn at(&self, instant: Instant) -> String {
        let since = instant.saturating_duration_since(self.world.clock.at(Duration::ZERO));
        let begin = Duration::from_micros(self.world.journal.begins());
        let at = SystemTime::UNIX_EPOCH.checked_add(begin.saturating_add(since));
        rfc3339(at.unwrap_or(SystemTime::UNIX_EPOCH))
    }

    fn circuit(&self, circuit: &Circuit) -> CircuitPart {
        let history: History = circuit.history();
        let end = self.world.clock.at(self.world.clock.elapsed());
        let listed = |opening: &Opening| {
            let lasted = opening.until.map(|until| until.saturating_duration_since(opening.at));
            (self.at(opening.at), lasted, opening.reason)
        };
        CircuitPart {
            name: circuit.name.clone(),
            mode: circuit.breaker.config().mode.as_str(),
            openings: history.count,
            not_closed: history.not_closed(end),
            listed: history.openings.iter().map(listed).collect(),
        }
    }
}

fn limits(usage: &Usage) -> Vec<LimitPart> {
    let part = |window: &super::usage::Peak| LimitPart {
        name: usage.name.clone(),
        window: window.window,
        requests: window.requests,
        peak: window.peak,
        share: window.share(),
    };
    usage.windows.iter().map(part).collect()
}

impl Part {
    fn to_json(&self) -> Value {
        let figures = &self.figures;
        json!({
            "name": self.name,
            "summary": self.sentence,
            "calls": figures.calls,
            "replayed": figures.replayed,
            "cached": figures.cached,
            "coalesced": figures.coalesced,
            "aside": figures.aside,
            "recorded": figures.recorded.to_json(),
            "simulated": figures.simulated.to_json(),
            "saved": figures.saved,
            "lost": figures.lost,
            "won": figures.won,
            "throttled_avoided": figures.throttled_avoided,
            "throttled_provoked": figures.throttled_provoked,
            "assumed": figures.assumed,
            "assumed_share": rounded(figures.assumed_share(), 4),
            "circuits": self.circuits.iter().map(CircuitPart::to_json).collect::<Vec<_>>(),
            "rate_limits": self.limits.iter().map(LimitPart::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Side {
    fn to_json(&self) -> Value {
        let mut members: Map<String, Value> =
            Fate::ALL.iter().map(|fate| (fate.as_str().to_owned(), self.of(*fate).into())).collect();
        let [p50, p95, p99] = self.percentiles([50, 95, 99]);
        for (name, value) in [
            ("attempts", json!(self.attempts)),
            ("retries", json!(self.retries)),
            ("hedges", json!(self.hedges)),
            ("throttled", json!(self.throttled)),
            ("latency_ms", json!({ "p50": p50, "p95": p95, "p99": p99 })),
        ] {
            members.insert(name.to_owned(), value);
        }
        Value::Object(members)
    }
}

impl CircuitPart {
    fn to_json(&self) -> Value {
        let listed = |(at, lasted, reason): &(String, Option<Duration>, &str)| json!({ "at": at, "open_ms": lasted.map(ms), "reason": reason });
        json!({
            "name": self.name,
            "mode": self.mode,
            "openings": self.openings,
            "not_closed_ms": ms(self.not_closed),
            "first": self.listed.iter().map(listed).collect::<Vec<_>>(),
        })
    }
}

impl LimitPart {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "window_ms": ms(self.window),
            "requests": self.requests,
            "peak": self.peak,
            "use": rounded(self.share, 4),
        })
    }
}

/// Milliseconds to the microsecond.
fn ms(span: Duration) -> f64 {
    rounded(span.as_secs_f64() * 1e3, 3)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}
