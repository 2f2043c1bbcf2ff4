//! What `bascule.toml` says of files that the gateway keeps: `[outbox]` and `[cache.disk]`.
//!
//! Whether a file can be opened shows when the gateway starts: `check` makes no files. Whether ladders that queue have
//! an outbox is looked at when every file has been read: [`crate::config::check`].

use crate::config::{reader::Reader, settings::OutboxSettings};
use bascule_cache_disk::Options as CacheDisk;
use bascule_outbox::Bounds;
use std::{num::NonZeroU32, path::PathBuf};

const CONCURRENCY: u32 = 8;
/// Octets of the cache's file.
const DISK_SIZE: u64 = 256 << 20;

pub(super) fn outbox(table: Reader<'_, '_>) -> Option<OutboxSettings> {
    let path = path(&table, "outbox.db");
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

pub(super) fn cache_disk(table: Reader<'_, '_>) -> Option<CacheDisk> {
    let path = path(&table, "cache.db");
    let max_size = table.field("max_size").and_then(|field| field.size()).unwrap_or(DISK_SIZE);
    table.finish();
    Some(CacheDisk { path: path?, max_size })
}

/// `path`, resolved.
fn path(table: &Reader<'_, '_>, default: &str) -> Option<PathBuf> {
    let Some(field) = table.field("path") else { return Some(table.ctx.root.join(default)) };
    let text = field.text()?;
    let path = field.ctx.root.join(text.value());
    if text.value().trim().is_empty() || path.is_dir() {
        field.problem(format!("`{}` is not a file", text.written()), format!("name a file: \"{default}\""));
        return None;
    }
    Some(path)
}
