//! What components may call: integrations that there are, and that can be called by path.
//!
//! That calls lead back to where they came from is not looked for here: what a component asks of whom is its code's to
//! decide, and each request counts how deep it is.

use super::{All, no_integration};
use crate::config::{diagnostic::Diagnostic, read::CallPlace};

/// Looks at every integration that a component may call.
pub(crate) fn components(all: &All) -> Vec<Diagnostic> {
    let calls = all.values().flat_map(|known| &known.calls);
    let problem = |call: &CallPlace| {
        let Some(known) = all.get(&call.integration) else {
            return Some(no_integration(all, &call.origin, &call.integration));
        };
        let closed = known.integration.as_ref().is_some_and(|integration| !integration.proxy);
        closed.then(|| {
            let message = format!("`{}` is not proxied, and components call by path", call.integration);
            let help = format!("remove proxy = false in {}, or the name here", call.integration);
            Diagnostic::at(&call.origin, message, help)
        })
    };
    calls.filter_map(problem).collect()
}
