//! Which version of a plugin follows which: what a table's plugin was before, and what becomes of that.
//!
//! | file | table | what runs |
//! | --- | --- | --- |
//! | same | same | the same plugin, with its breaker and its keys |
//! | that of a version which was rolled back | same | still the version before it |
//! | same | other | the same code, loaded anew; what came before it cannot come back any more |
//! | other | same, pin and exchanges aside | the new version; the old one is kept and may come back |
//! | other | other | the new version; there is nothing to go back to, since the old code knew another table |

use crate::{
    config::PluginSettings,
    pipeline::{BoundPlugin, LiveIntegration, LivePlugin, Swapped},
};
use std::{sync::Arc, time::Instant};

/// What stood in a table's place before.
pub(super) struct Predecessor<'a> {
    settings: &'a PluginSettings,
    live: &'a LivePlugin,
}

/// The plugin whose place the table at `index` takes: of the tables that name the same source, the one with the same
/// number.
pub(super) fn predecessor<'a>(
    before: &'a LiveIntegration,
    tables: &[PluginSettings],
    index: usize,
) -> Option<Predecessor<'a>> {
    let source = &tables.get(index)?.source;
    let number = number(tables, index);
    let mut same = before.settings.plugins.iter().zip(&before.plugins);
    let mut same = same.by_ref().filter(|(table, _)| table.source == *source);
    same.nth(number).map(|(settings, live)| Predecessor { settings, live })
}

/// How many tables before this one name the same source.
pub(super) fn number(tables: &[PluginSettings], index: usize) -> usize {
    let source = tables.get(index).map(|table| &table.source);
    tables.iter().take(index).filter(|table| Some(&table.source) == source).count()
}

impl Predecessor<'_> {
    /// What goes on, when there is nothing new in table and file.
    pub(super) fn kept(&self, settings: &PluginSettings, digest: &str) -> Option<LivePlugin> {
        if !self.settings.runs_like(settings) || self.settings.sha256 != settings.sha256 {
            return None;
        }
        if self.live.file_digest() == digest {
            return Some(self.live.clone());
        }
        // The file of a version that was rolled back is gone, and the version that runs is on the disk again.
        let runs = self.live.bound.plugin.digest() == digest;
        runs.then(|| LivePlugin { rolled_back_from: None, ..self.live.clone() })
    }

    /// What takes its place now.
    pub(super) fn followed_by(
        &self,
        settings: &PluginSettings,
        bound: BoundPlugin,
        now: Instant,
    ) -> LivePlugin {
        let same_code = self.live.bound.plugin.digest() == bound.plugin.digest();
        let swapped = if same_code {
            self.live.swapped.as_ref().map(|swapped| Swapped { previous: None, at: swapped.at })
        } else {
            let previous = self.settings.runs_like(settings).then(|| Arc::clone(&self.live.bound.plugin));
            Some(Swapped { at: now, previous })
        };
        LivePlugin { bound, swapped, rolled_back_from: None }
    }
}
