//! What a fan-out supposes of its branches, and what they make of it.
//!
//! Branches may be unsafe: calling several providers at once to change something is a thing that people want, and no
//! doubt is raised about it. It only shows in what the fan-out is: not offered to GET, and not cached.

use super::{All, Node, placed};
use crate::{
    config::{
        context::Places,
        diagnostic::Diagnostic,
        read::{Link, RungPlace},
        settings::{BodyKind, Operation},
    },
    model::{IntegrationName, OperationName},
};
use http::Method;
use std::{collections::BTreeSet, sync::Arc};

/// Most calls that one call may set off at once.
const CALLS_MAX: usize = 64;
/// Fan-outs nest no deeper.
const DEPTH_MAX: usize = 3;

/// Looks at what every branch is given, and at what it needs.
pub(crate) fn branches(all: &All) -> Vec<Diagnostic> {
    all.values().flat_map(|known| &known.rungs).flat_map(|place| branch(all, place)).collect()
}

/// Looks at how many calls one call of a fan-out sets off, with the fan-outs among its branches.
pub(crate) fn sizes(all: &All, places: &Places) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, known) in all {
        let Some(integration) = &known.integration else { continue };
        for operation in integration.operations.values().filter(|operation| operation.fan_out.is_some()) {
            let node = (name.clone(), operation.name.clone());
            let calls = leaves(all, &node, 0);
            if calls > CALLS_MAX {
                let key = format!("operations.{}.fan_out", operation.name);
                let message =
                    format!("with the fan-outs among its branches this makes {calls} calls at once");
                let help = format!("name fewer branches: at most {CALLS_MAX} in all");
                found.push(placed(&integration.file, key, places, message, help));
            }
        }
    }
    found
}

/// The calls at the end of all branches. What leads in a circle has a problem of its own.
fn leaves(all: &All, node: &Node, depth: usize) -> usize {
    let branches = operation(all, &node.0, &node.1).and_then(|operation| operation.fan_out.as_ref());
    match branches {
        Some(branches) if depth < DEPTH_MAX => branches
            .iter()
            .map(|branch| leaves(all, &(branch.integration.clone(), branch.operation.clone()), depth + 1))
            .fold(0, usize::saturating_add),
        _ => 1,
    }
}

fn branch(all: &All, place: &RungPlace) -> Vec<Diagnostic> {
    let (Link::Branch { own, certain }, Some(target)) =
        (&place.link, operation(all, &place.integration, &place.operation))
    else {
        return Vec::new();
    };
    let name = format!("{}.{}", place.integration, place.operation);
    let mut found = Vec::new();
    if target.body == BodyKind::Raw {
        let message = format!("`{name}` takes a raw body, which a fan-out does not have");
        found.push(Diagnostic::at(&place.origin, message, "name an operation that takes parameters only"));
    }
    let given = place.params.as_deref().unwrap_or_default();
    let required = target.params.declared.iter().filter(|(_, parameter)| parameter.required);
    for (parameter, _) in required.filter(|(parameter, _)| !certain.contains(parameter)) {
        let (message, help) = match (given.contains(parameter), own) {
            (true, _) => (
                format!("`{name}` requires `{parameter}`, which may be absent here"),
                "make what it is made of `required`, or give that a `default`".to_owned(),
            ),
            (false, true) => (
                format!("`{name}` requires the parameter `{parameter}`"),
                format!("add it to the branch's `params`: {parameter} = \"…\""),
            ),
            (false, false) => (
                format!("`{name}` requires the parameter `{parameter}`"),
                format!(
                    "declare it: params.{parameter} = {{ required = true }}, or give the branch `params`"
                ),
            ),
        };
        found.push(Diagnostic::at(&place.origin, message, help));
    }
    found
}

/// Gives every fan-out its method, which is its branches', and refuses to cache one that changes something.
pub(crate) fn settle(all: &mut All, places: &Places) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (integration, operation) in unsafe_ones(all) {
        let known = all.get_mut(&integration).and_then(|known| known.integration.as_mut());
        let Some(settings) = known.map(Arc::make_mut) else { continue };
        let Some(fan_out) = settings.operations.get_mut(&operation).map(Arc::make_mut) else { continue };
        fan_out.method = Method::POST;
        if fan_out.cache.is_some() {
            let key = format!("operations.{operation}.cache");
            let message = "a branch of this fan-out changes something, so its answers are not cached";
            let help = "remove it; only fan-outs of GET, HEAD and OPTIONS are cached";
            found.push(placed(&settings.file, key, places, message.to_owned(), help.to_owned()));
        }
    }
    found
}

/// The fan-outs that lead to an operation which is not safe, however indirectly.
fn unsafe_ones(all: &All) -> Vec<Node> {
    let integrations = all.iter().filter_map(|(name, known)| Some((name, known.integration.as_ref()?)));
    let nodes = integrations.flat_map(|(name, integration)| {
        let fan_outs = integration.operations.values().filter(|operation| operation.fan_out.is_some());
        fan_outs.map(|operation| (name.clone(), operation.name.clone()))
    });
    nodes.filter(|node| !is_safe(all, node, &mut BTreeSet::new())).collect()
}

fn is_safe(all: &All, node: &Node, seen: &mut BTreeSet<Node>) -> bool {
    // What cannot be read, and what leads in a circle, has a problem of its own.
    let Some(operation) = operation(all, &node.0, &node.1).filter(|_| seen.insert(node.clone())) else {
        return true;
    };
    match &operation.fan_out {
        None => matches!(operation.method, Method::GET | Method::HEAD | Method::OPTIONS),
        Some(branches) => branches
            .iter()
            .all(|branch| is_safe(all, &(branch.integration.clone(), branch.operation.clone()), seen)),
    }
}

fn operation<'a>(
    all: &'a All,
    integration: &IntegrationName,
    operation: &OperationName,
) -> Option<&'a Arc<Operation>> {
    all.get(integration)?.integration.as_ref()?.operations.get(operation)
}
