//! The reference model: the ladder as one would explain it, one call after the other.
//!
//! It knows no clocks, futures, keys or flights. An entry is what its operation's rule makes of it by the time of the
//! next call; a budget is whether it has been spent.

use super::plan::{Behaviour, Cached, Call, Operation, Plan, Rung, target};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a caller reads. The body of a problem is its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) source: String,
    pub(super) body: String,
    pub(super) attempts: u32,
}

pub(super) struct Model<'a> {
    plan: &'a Plan,
    /// The last good answer of an operation for a parameter.
    entries: HashMap<(usize, u8), String>,
    spent: HashSet<usize>,
    /// Requests that arrived upstream; their answers carry the number.
    arrived: u32,
    sent: Vec<String>,
    attempts: u32,
    /// How many operations deep the last call has led.
    pub(super) deepest: usize,
    /// How often a rung of each kind has answered.
    pub(super) rungs: BTreeMap<&'static str, u32>,
    /// Whether the last call stored something that is fresh for a moment only.
    pub(super) stored_shortly: bool,
}

/// The end of an operation's own part, when it is no success.
struct Failed {
    cause: Option<&'static str>,
    said: Said,
}

impl<'a> Model<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            entries: HashMap::new(),
            spent: HashSet::new(),
            arrived: 0,
            sent: Vec::new(),
            attempts: 0,
            deepest: 0,
            rungs: BTreeMap::from([("cache", 0), ("operation", 0), ("default", 0)]),
            stored_shortly: false,
        }
    }

    /// What the caller reads, and what arrives upstream. While priming, every upstream answers and circuits are
    /// passed by.
    pub(super) fn call(&mut self, call: Call, priming: bool) -> (Said, Vec<String>) {
        self.sent.clear();
        self.attempts = 0;
        self.deepest = 0;
        self.stored_shortly = false;
        let said = self.climb(call, 0, priming);
        (Said { attempts: self.attempts, ..said }, self.sent.clone())
    }

    fn climb(&mut self, call: Call, depth: usize, priming: bool) -> Said {
        self.deepest = self.deepest.max(depth);
        let operation = &self.plan.operations[call.operation];
        if operation.cached == Cached::Fresh
            && !call.skip_cache
            && let Some(body) = self.entry(call)
        {
            return said(200, "cache", body);
        }
        let failed = match self.ask(operation, call, priming) {
            Ok(said) => return said,
            Err(failed) => failed,
        };
        let Some(cause) = failed.cause else { return failed.said };
        if operation.on.as_ref().is_none_or(|on| on.contains(cause)) {
            for (at, rung) in operation.ladder.iter().enumerate() {
                if let Some((kind, said)) = self.rung(call, (at, rung), depth, priming) {
                    *self.rungs.entry(kind).or_default() += 1;
                    return said;
                }
            }
        }
        failed.said
    }

    fn rung(
        &mut self,
        call: Call,
        (at, rung): (usize, &Rung),
        depth: usize,
        priming: bool,
    ) -> Option<(&'static str, Said)> {
        match rung {
            Rung::Cache => {
                let cached = self.plan.operations[call.operation].cached;
                let source = match cached {
                    Cached::Fresh => "cache",
                    Cached::Expired => "stale",
                    Cached::Never | Cached::Dead => return None,
                };
                if call.skip_cache {
                    return None;
                }
                Some(("cache", said(200, source, self.entry(call)?)))
            }
            Rung::Default { status } => {
                let body = format!("\"o{}/{at}\"", call.operation);
                Some(("default", said(*status, "default", body)))
            }
            Rung::Operation { target: to, n } => {
                let operation = target(call.operation, to)?;
                let answer =
                    self.climb(Call { operation, n: n.unwrap_or(call.n), ..call }, depth + 1, priming);
                let source = format!("operation:{}", self.plan.name(operation));
                (answer.status < 400).then_some(("operation", Said { source, ..answer }))
            }
        }
    }

    /// The operation without cache and ladder.
    fn ask(&mut self, operation: &Operation, call: Call, priming: bool) -> Result<Said, Failed> {
        if operation.forced_open && !priming {
            return Err(problem("circuit-open", 503, "circuit-open"));
        }
        if operation.limited && !self.spent.insert(call.operation) {
            return Err(problem("rate-limited", 429, "rate-limited"));
        }
        self.attempts += 1;
        if operation.behaviour == Behaviour::Refuses {
            return Err(problem("connect", 502, "upstream-unreachable"));
        }
        self.arrived += 1;
        let target = format!("/o{}?n={}", call.operation, call.n);
        let body = format!("{target} {}", self.arrived);
        self.sent.push(target);
        let behaviour = if priming { Behaviour::Answers } else { operation.behaviour };
        match behaviour {
            Behaviour::Answers => {
                if operation.cached != Cached::Never && !call.skip_cache {
                    self.entries.insert((call.operation, call.n), body.clone());
                    self.stored_shortly |= operation.cached != Cached::Fresh;
                }
                Ok(said(200, "upstream", body))
            }
            Behaviour::NotFound => Err(Failed { cause: None, said: said(404, "upstream", body) }),
            Behaviour::Fails => Err(Failed { cause: Some("transient"), said: said(500, "upstream", body) }),
            Behaviour::Babbles => Err(problem("protocol", 502, "upstream-protocol")),
            Behaviour::HangsUp | Behaviour::Refuses => Err(problem("connect", 502, "upstream-unreachable")),
        }
    }

    fn entry(&self, call: Call) -> Option<String> {
        self.entries.get(&(call.operation, call.n)).cloned()
    }
}

fn said(status: u16, source: &str, body: String) -> Said {
    Said { status, source: source.to_owned(), body, attempts: 0 }
}

fn problem(cause: &'static str, status: u16, code: &str) -> Failed {
    Failed { cause: Some(cause), said: said(status, "", code.to_owned()) }
}
