//! `fallback` and `fallback_on`.
//!
//! Whether the operations that rungs name exist, and whether ladders come back to themselves, is
//! looked at when every file has been read: [`crate::config::check`].

use crate::{
    config::{
        keys::Kind,
        reader::{Field, Reader},
        settings::{FallbackCauses, Origin, Rung},
    },
    model::{Cause, IntegrationName, OperationName},
};
use http::StatusCode;

/// Most rungs of a ladder: bounds what one failed call may set off.
const LADDER_MAX: usize = 8;

/// A rung of a ladder, or a branch of a fan-out, that names an operation, with its place.
#[derive(Clone, Debug)]
pub(crate) struct RungPlace {
    /// Which of the two it is.
    pub(crate) link: Link,
    /// Where it stands.
    pub(crate) origin: Origin,
    /// The integration whose ladder it is in.
    pub(crate) owner: IntegrationName,
    /// The operation whose ladder it is in; none: the integration's.
    pub(crate) owner_operation: Option<OperationName>,
    /// The integration that it calls.
    pub(crate) integration: IntegrationName,
    /// The operation that it calls.
    pub(crate) operation: OperationName,
    /// The parameters that it gives; none: the call's own.
    pub(crate) params: Option<Vec<String>>,
}

/// How one operation leads to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By its fallback ladder.
    Rung,
    /// As a branch of a fan-out.
    Branch {
        /// Whether the branch writes its own parameters; else it gets the fan-out's.
        own: bool,
        /// Those of the parameters that it gets which have a value on every call.
        certain: Vec<String>,
    },
}

/// A ladder as it was read.
#[derive(Default)]
pub(crate) struct Ladder {
    /// Its rungs.
    pub(crate) rungs: Vec<Rung>,
    /// Places of those that name operations.
    pub(crate) places: Vec<RungPlace>,
}

/// Reads a ladder of `owner`.
pub(crate) fn fallback(
    field: &Field<'_, '_>,
    owner: &IntegrationName,
    owner_operation: Option<&OperationName>,
) -> Ladder {
    let mut ladder = Ladder::default();
    if field.is_string() {
        let word = field.as_kind(|kind| matches!(kind, Kind::Choice { .. })).choice();
        ladder.rungs.extend(word.map(|_| Rung::Cache));
        return ladder;
    }
    if !field.is_list() {
        field.problem("expected \"cache\" or a list of rungs", "put the rung in brackets: fallback = [ … ]");
        return ladder;
    }
    let items = field.as_kind(|kind| matches!(kind, Kind::List(_))).items().unwrap_or_default();
    if items.len() > LADDER_MAX {
        field.problem(format!("a ladder has at most {LADDER_MAX} rungs"), "remove the last ones");
    }
    for item in &items {
        if let Some(Rung::Default { .. }) = ladder.rungs.last() {
            item.ctx.warn(
                &item.path,
                &item.span,
                "this rung is never reached",
                "a default always answers: put it last",
            );
        }
        rung(item, owner, owner_operation, &mut ladder);
    }
    ladder
}

fn rung(
    item: &Field<'_, '_>,
    owner: &IntegrationName,
    owner_operation: Option<&OperationName>,
    ladder: &mut Ladder,
) {
    if item.is_string() {
        let word = item.as_kind(|kind| matches!(kind, Kind::Choice { .. })).choice();
        ladder.rungs.extend(word.map(|_| Rung::Cache));
        return;
    }
    let item = item.as_kind(|kind| matches!(kind, Kind::Table(_)));
    let Some(table) = item.table() else { return };
    match (table.has("operation"), table.has("default"), table.has("queue")) {
        (true, false, false) => {
            if let Some((rung, place)) = operation_rung(&table, owner, owner_operation) {
                ladder.rungs.push(rung);
                ladder.places.push(place);
            }
            table.finish_for("to a rung with `operation`");
        }
        (false, true, false) => {
            ladder.rungs.extend(default_rung(&table));
            table.finish_for("to a rung with `default`");
        }
        (false, false, true) => {
            ladder.rungs.extend(queue_rung(&table, owner_operation));
            table.finish_for("to a rung with `queue`");
        }
        _ => item.problem(
            "a rung has one of `operation`, `default` and `queue`",
            "write \"cache\", { operation = \"integration.operation\" }, { queue = true } or { default = { … } }",
        ),
    }
}

fn operation_rung(
    table: &Reader<'_, '_>,
    owner: &IntegrationName,
    owner_operation: Option<&OperationName>,
) -> Option<(Rung, RungPlace)> {
    let params = table.field("params").and_then(|field| field.template_table());
    let field = table.field("operation")?;
    let (integration, operation) = target(&field, owner)?;
    let place = RungPlace {
        link: Link::Rung,
        origin: field.ctx.origin(&field.path, &field.span),
        owner: owner.clone(),
        owner_operation: owner_operation.cloned(),
        integration: integration.clone(),
        operation: operation.clone(),
        params: params.as_ref().map(|params| params.keys().cloned().collect()),
    };
    Some((Rung::Operation { integration, operation, params }, place))
}

/// The operation that `integration.operation`, or `operation` of the same integration, names.
pub(crate) fn target(
    field: &Field<'_, '_>,
    owner: &IntegrationName,
) -> Option<(IntegrationName, OperationName)> {
    let text = field.text()?;
    let (integration, operation) = match text.value().split_once('.') {
        Some((integration, operation)) => (IntegrationName::new(integration), operation),
        None => (Ok(owner.clone()), text.value()),
    };
    let named = integration.and_then(|integration| Ok((integration, OperationName::new(operation)?)));
    named
        .map_err(|error| {
            field.problem(error.to_string(), "write \"integration.operation\" or \"operation\"");
        })
        .ok()
}

fn default_rung(table: &Reader<'_, '_>) -> Option<Rung> {
    let body = table.field("default").and_then(|field| field.json());
    let status = table.field("status").and_then(|field| field.small()).unwrap_or(200);
    Some(Rung::Default { body: body?, status: StatusCode::from_u16(u16::try_from(status).ok()?).ok()? })
}

/// An integration's ladder is `/proxy`'s too, and what comes through there is not kept.
fn queue_rung(table: &Reader<'_, '_>, owner_operation: Option<&OperationName>) -> Option<Rung> {
    let field = table.field("queue")?;
    if !field.boolean()? {
        field.problem("a rung that does not queue does nothing", "write queue = true, or remove the rung");
        return None;
    }
    if owner_operation.is_none() {
        field.problem(
            "calls are queued by operation, and this ladder is the whole integration's",
            "move it: fallback = [{ queue = true }] below [operations.NAME]",
        );
        return None;
    }
    Some(Rung::Queue)
}

/// Reads `fallback_on`.
pub(crate) fn fallback_on(field: &Field<'_, '_>) -> FallbackCauses {
    let Some(items) = field.items() else { return FallbackCauses::all() };
    if items.is_empty() {
        let help = "leave it out for all causes; fallback = [] is a ladder without rungs";
        field.problem("nothing would start the ladder", help);
    }
    let causes: Vec<Cause> = items.iter().filter_map(|item| Cause::parse(item.choice()?)).collect();
    FallbackCauses::of(&causes)
}
