//! Ladders that queue calls need an outbox to queue them in.

use super::{All, Diagnostic, Gateway, Places, Rung, placed};

/// Looks at every rung `{ queue = true }`. Only operations have one: ladders of integrations are refused it.
pub(crate) fn queues(gateway: &Gateway, all: &All, places: &Places) -> Vec<Diagnostic> {
    if gateway.has_outbox || gateway.breakers.unread {
        return Vec::new();
    }
    let integrations = all.values().filter_map(|known| known.integration.as_ref());
    let rungs = integrations.flat_map(|integration| {
        integration.operations.values().flat_map(move |operation| {
            let queues = operation.fallback.iter().position(|rung| matches!(rung, Rung::Queue));
            queues
                .map(|index| (integration, format!("operations.{}.fallback[{index}].queue", operation.name)))
        })
    });
    rungs
        .map(|(integration, key)| {
            let message = "there is no outbox to queue calls in".to_owned();
            let help = "add these lines to bascule.toml: `[outbox]` and `path = \"outbox.db\"`".to_owned();
            placed(&integration.file, key, places, message, help)
        })
        .collect()
}
