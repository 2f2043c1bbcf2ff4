//! A fingerprint of an integration: SHA-256 over its file's values with references replaced.
//!
//! It is taken of the values and not of the text, so that comments and order change nothing and a new
//! credential changes everything. Every field is tagged and carries its length: two different files
//! never feed the hash the same octets.

use super::context::Context;
use aws_lc_rs::digest::{Context as Sha256, SHA256};
use toml::de::{DeTable, DeValue};

/// SHA-256 over everything that the file of that integration says.
pub(crate) fn fingerprint(ctx: &Context<'_>, name: &str, table: &DeTable<'_>) -> [u8; 32] {
    let mut hash = Hash::new(name);
    feed_table(&mut hash, ctx, table);
    hash.finish()
}

/// SHA-256 over an integration that comes from variables alone.
pub(crate) fn fingerprint_of<'a>(name: &str, fields: impl Iterator<Item = (&'a str, &'a str)>) -> [u8; 32] {
    let mut hash = Hash::new(name);
    for (field, value) in fields {
        hash.field(b'k', field);
        hash.field(b's', value);
    }
    hash.finish()
}

struct Hash(Sha256);

impl Hash {
    fn new(name: &str) -> Self {
        let mut hash = Self(Sha256::new(&SHA256));
        hash.field(b'n', name);
        hash
    }

    fn field(&mut self, tag: u8, value: &str) {
        self.count(tag, value.len());
        self.0.update(value.as_bytes());
    }

    fn count(&mut self, tag: u8, count: usize) {
        self.0.update(&[tag]);
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn finish(self) -> [u8; 32] {
        let mut octets = [0; 32];
        for (to, from) in octets.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        octets
    }
}

fn feed_table(hash: &mut Hash, ctx: &Context<'_>, table: &DeTable<'_>) {
    let mut entries: Vec<(&str, &DeValue<'_>)> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), value.get_ref())).collect();
    entries.sort_by_key(|(name, _)| *name);
    hash.count(b't', entries.len());
    for (name, value) in entries {
        hash.field(b'k', name);
        feed(hash, ctx, value);
    }
}

fn feed(hash: &mut Hash, ctx: &Context<'_>, value: &DeValue<'_>) {
    match value {
        // A reference that cannot be replaced is a problem that was reported; its digest is never used.
        DeValue::String(written) => match ctx.text(written) {
            Ok(text) => hash.field(b's', text.value()),
            Err(_) => hash.field(b's', written),
        },
        DeValue::Integer(number) => hash.field(b'i', &number.to_string()),
        DeValue::Float(number) => hash.field(b'f', number.as_str()),
        DeValue::Boolean(value) => hash.field(b'b', if *value { "1" } else { "0" }),
        DeValue::Datetime(date) => hash.field(b'd', &date.to_string()),
        DeValue::Array(items) => {
            hash.count(b'a', items.len());
            items.iter().for_each(|item| feed(hash, ctx, item.get_ref()));
        }
        DeValue::Table(table) => feed_table(hash, ctx, table),
    }
}
