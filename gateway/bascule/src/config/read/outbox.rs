//! `[outbox]` of `bascule.toml`.
//!
//! Whether the file can be opened shows when the gateway starts: `check` makes no files. Whether ladders that queue have
//! an outbox is looked at when every file has been read: [`crate::config::check`].

use crate::config::{
    reader::{Field, Reader},
    settings::OutboxSettings,
};
use bascule_outbox::Bounds;
use std::{num::NonZeroU32, path::PathBuf};

const CONCURRENCY: u32 = 8;

pub(super) fn outbox(table: Reader<'_, '_>) -> Option<OutboxSettings> {
    let default = table.ctx.root.join("outbox.db");
    let path = table.field("path").map_or(Some(default), |field| path(&field));
    let mut bounds = Bounds::default();
    if let Some(count) = table.field("max_entries").and_then(|field| field.count()) {
        bounds.max_entries = u64::from(count.get());
    }
    let sizes = [("max_size", &mut bounds.max_size), ("max_body", &mut bounds.max_body)];
    for (key, bound) in sizes {
        *bound = table.field(key).and_then(|field| field.size()).unwrap_or(*bound);
    }
    let spans = [("retention", &mut bounds.retention), ("give_up_after", &mut bounds.give_up_after)];
    for (key, bound) in spans {
        *bound = table.field(key).and_then(|field| field.duration()).unwrap_or(*bound);
    }
    if bounds.max_body > bounds.max_size {
        table.problem(
            "max_body",
            "one call may not weigh more than all together",
            "lower `max_body`, or raise `max_size`",
        );
    }
    let concurrency = table.field("concurrency").and_then(|field| field.count());
    table.finish();
    let concurrency = concurrency.or(NonZeroU32::new(CONCURRENCY))?;
    Some(OutboxSettings { path: path?, bounds, concurrency })
}

fn path(field: &Field<'_, '_>) -> Option<PathBuf> {
    let text = field.text()?;
    let path = field.ctx.root.join(text.value());
    if text.value().trim().is_empty() || path.is_dir() {
        field.problem(format!("`{}` is not a file", text.written()), "name a file: \"outbox.db\"");
        return None;
    }
    Some(path)
}
