//! What concerns several files: fallback ladders and fan-outs, the outbox, shared breakers, and callers' patterns.
//!
//! A ladder may call an operation that has a ladder of its own, or is a fan-out, whose branches may have ladders. That
//! must end: never in a circle, and at most [`DEPTH_MAX`] calls deep, because each level may cost a whole timeout.

mod components;
mod fan_outs;
mod queues;
mod sharing;

pub(crate) use components::components;
pub(crate) use fan_outs::{branches, settle, sizes};
pub(crate) use queues::queues;
pub(crate) use sharing::sharing;

use super::{
    context::Places,
    diagnostic::Diagnostic,
    read::{CallPlace, Gateway, Link, RungPlace},
    settings::{Integration, Origin, Rung},
    sources::Found,
    suggest::did_you_mean,
};
use crate::model::{BreakerName, IntegrationName, OperationName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many operations deep ladders and fan-outs may lead.
const DEPTH_MAX: usize = 3;

/// An integration as far as it could be read.
pub(crate) struct Known {
    /// It; none when it has problems.
    pub(crate) integration: Option<Arc<Integration>>,
    /// Names of its operations, also of those with problems.
    pub(crate) operations: Vec<String>,
    /// Whether the names are all; false when the file has syntax errors.
    pub(crate) complete: bool,
    /// Rungs and branches that name operations.
    pub(crate) rungs: Vec<RungPlace>,
    /// Integrations that its component may call.
    pub(crate) calls: Vec<CallPlace>,
}

type All = BTreeMap<IntegrationName, Known>;
type Node = (IntegrationName, OperationName);

/// Looks at every rung and branch that names an operation.
pub(crate) fn ladders(all: &All) -> Vec<Diagnostic> {
    let rungs = all.values().flat_map(|known| &known.rungs);
    rungs
        .filter_map(|rung| target(all, rung).or_else(|| given_params(all, rung)).or_else(|| shape(all, rung)))
        .collect()
}

/// The operation that the rung or branch names must exist.
fn target(all: &All, rung: &RungPlace) -> Option<Diagnostic> {
    let Some(known) = all.get(&rung.integration) else {
        return Some(no_integration(all, &rung.origin, &rung.integration));
    };
    let name = rung.operation.as_str();
    if !known.complete || known.operations.iter().any(|known| known == name) {
        return None;
    }
    let help = did_you_mean(name, known.operations.iter().map(String::as_str))
        .unwrap_or_else(|| format!("declare [operations.{name}] in {}", rung.integration));
    Some(Diagnostic::at(&rung.origin, format!("`{}` has no operation `{name}`", rung.integration), help))
}

fn no_integration(all: &All, origin: &Origin, name: &IntegrationName) -> Diagnostic {
    let help = did_you_mean(name.as_str(), all.keys().map(IntegrationName::as_str))
        .unwrap_or_else(|| "name an integration of this configuration".to_owned());
    Diagnostic::at(origin, format!("there is no integration `{name}`"), help)
}

/// The parameters that the rung or branch gives must be declared by its target.
fn given_params(all: &All, rung: &RungPlace) -> Option<Diagnostic> {
    let operation = all.get(&rung.integration)?.integration.as_ref()?.operations.get(&rung.operation)?;
    let declared: Vec<&str> = operation.params.declared.iter().map(|(name, _)| name.as_str()).collect();
    let odd = rung.params.as_ref()?.iter().find(|name| !declared.contains(&name.as_str()))?;
    let help = match (&rung.link, did_you_mean(odd, declared.iter().copied())) {
        (Link::Branch { own: false, .. }, _) => format!(
            "a branch without `params` gets all of the fan-out's: write {{ operation = \"{}.{}\", params = {{ … }} }}",
            rung.integration, rung.operation
        ),
        (_, Some(meant)) => meant,
        (_, None) if declared.is_empty() => "it takes none".to_owned(),
        (_, None) => format!("it declares: {}", declared.join(", ")),
    };
    let message = format!("`{}.{}` has no parameter `{odd}`", rung.integration, rung.operation);
    Some(Diagnostic::at(&rung.origin, message, help))
}

/// No circle, not too deep, seen from every operation whose ladder the rung is in.
fn shape(all: &All, rung: &RungPlace) -> Option<Diagnostic> {
    let start = (rung.integration.clone(), rung.operation.clone());
    let what = if rung.link == Link::Rung { "ladder" } else { "fan-out" };
    for owner in owners(all, rung) {
        if owner.as_ref().is_some_and(|owner| reaches(all, &start, owner)) {
            let name = owner
                .map(|(integration, operation)| format!("{integration}.{operation}"))
                .unwrap_or_default();
            let help = if rung.owner_operation.is_none() {
                format!(
                    "`{name}` takes its ladder from the integration: give it a `fallback` of its own, e.g. []"
                )
            } else if rung.link == Link::Rung {
                "a ladder must end: remove one of the rungs".to_owned()
            } else {
                "a fan-out must end: remove the branch".to_owned()
            };
            return Some(Diagnostic::at(&rung.origin, format!("this {what} leads back to `{name}`"), help));
        }
    }
    let depth = depth(all, &start, 1);
    (depth > DEPTH_MAX).then(|| {
        Diagnostic::at(
            &rung.origin,
            format!("this {what} leads more than {DEPTH_MAX} operations deep"),
            "let it end sooner: each level may cost a whole `timeout`",
        )
    })
}

/// The operations whose ladder holds the rung; none stands for `/proxy`.
fn owners(all: &All, rung: &RungPlace) -> Vec<Option<Node>> {
    let node = |operation: &OperationName| Some((rung.owner.clone(), operation.clone()));
    if let Some(operation) = &rung.owner_operation {
        return vec![node(operation)];
    }
    let integration = all.get(&rung.owner).and_then(|known| known.integration.as_ref());
    let heirs = integration.into_iter().flat_map(|integration| {
        let inherits = |ladder: &Arc<[Rung]>| Arc::ptr_eq(ladder, &integration.fallback);
        integration
            .operations
            .iter()
            .filter(move |(_, operation)| inherits(&operation.fallback))
            .map(|(name, _)| name)
    });
    heirs.map(node).chain([None]).collect()
}

/// The operations that an operation's ladder and branches name.
fn next(all: &All, node: &Node) -> Vec<Node> {
    let integration = all.get(&node.0).and_then(|known| known.integration.as_ref());
    let Some(operation) = integration.and_then(|integration| integration.operations.get(&node.1)) else {
        return Vec::new();
    };
    let rungs = operation.fallback.iter().filter_map(|rung| match rung {
        Rung::Operation { integration, operation, .. } => Some((integration.clone(), operation.clone())),
        Rung::Cache | Rung::Queue | Rung::Default { .. } => None,
    });
    let branches = operation.fan_out.iter().flat_map(|branches| branches.iter());
    rungs.chain(branches.map(|branch| (branch.integration.clone(), branch.operation.clone()))).collect()
}

fn reaches(all: &All, from: &Node, to: &Node) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(node) = open.pop() {
        if node == *to {
            return true;
        }
        if seen.insert(node.clone()) {
            open.extend(next(all, &node));
        }
    }
    false
}

/// The longest way down, counted only as far as it matters.
fn depth(all: &All, node: &Node, so_far: usize) -> usize {
    if so_far > DEPTH_MAX {
        return so_far;
    }
    next(all, node).iter().map(|next| depth(all, next, so_far + 1)).max().unwrap_or(so_far)
}

/// Shared breakers that nobody uses: hardly meant. Looked at only when everything could be read.
pub(crate) fn unused_breakers(
    gateway: &Gateway,
    all: &All,
    found: &Found,
    places: &Places,
) -> Vec<Diagnostic> {
    let Some(source) = &found.gateway else { return Vec::new() };
    let integrations = all.values().filter_map(|known| known.integration.as_ref());
    let used: BTreeSet<&BreakerName> = integrations
        .flat_map(|integration| {
            let operations = integration.operations.values();
            let own = operations.filter_map(|operation| operation.shared_breaker.as_ref());
            own.chain(integration.shared_breaker.as_ref())
        })
        .collect();
    let unused = gateway.breakers.declared.keys().filter(|name| !used.contains(name));
    unused
        .map(|name| {
            let message = format!("nobody uses the breaker `{name}`");
            let help =
                format!("write circuit_breaker = \"{name}\" in an integration or operation, or remove it");
            placed(&source.path, format!("breakers.{name}"), places, message, help).warning()
        })
        .collect()
}

/// A finding at a key, shown in its place when that is known.
fn placed(file: &std::path::Path, key: String, places: &Places, message: String, help: String) -> Diagnostic {
    match places.span(file, &key) {
        Some(span) => Diagnostic::at(&Origin { file: file.to_owned(), span, key }, message, help),
        None => Diagnostic::new(file, key, message, help),
    }
}

/// Callers' patterns that name no integration: hardly meant, and never a hole.
pub(crate) fn callers(gateway: &Gateway, all: &All, found: &Found, places: &Places) -> Vec<Diagnostic> {
    let Some(source) = &found.gateway else { return Vec::new() };
    let mut doubts = Vec::new();
    for (index, caller) in gateway.server.api_keys.iter().enumerate() {
        for (item, pattern) in caller.allow.iter().enumerate() {
            let name = pattern.split('.').next().unwrap_or_default();
            if name.contains('*') || all.contains_key(name) {
                continue;
            }
            let key = format!("server.auth.api_keys[{index}].allow[{item}]");
            let help = did_you_mean(name, all.keys().map(IntegrationName::as_str)).unwrap_or_default();
            let message = format!("there is no integration `{name}`");
            doubts.push(placed(&source.path, key, places, message, help).warning());
        }
    }
    doubts
}
