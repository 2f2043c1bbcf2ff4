//! From what is stored to octets. The order of the fields is that of `decode`.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode};

use super::{Contents, ENTRY, Kept, VARIANTS, VERSION, wire::Writer};
use crate::{entry::Entry, rfc9111::Selecting, tags::Tags, variant::Variant};

pub(super) fn kept(kept: &Kept, now: Instant, wall: SystemTime) -> Vec<u8> {
    let mut to = Writer::default();
    to.byte(VERSION);
    to.span(since_epoch(wall));
    to.octets(kept.scope.integration().as_bytes());
    to.octets(kept.scope.operation().as_bytes());
    match &kept.contents {
        Contents::Entry(entry, tags) => {
            to.byte(ENTRY);
            reply(&mut to, entry);
            for span in [entry.age(now), entry.ttl, entry.stale_while_revalidate, entry.keep_stale] {
                to.span(span);
            }
            numbers(&mut to, tags);
        }
        Contents::Variants(variants) => {
            to.byte(VARIANTS);
            to.long(variants.len() as u64);
            variants.iter().for_each(|one| variant(&mut to, one, now));
        }
    }
    to.finish()
}

fn variant(to: &mut Writer, variant: &Variant, now: Instant) {
    reply(to, variant.reply());
    to.flag(variant.own_head().is_some());
    if let Some((status, fields)) = variant.own_head() {
        head(to, *status, fields);
    }
    let terms = variant.terms();
    to.span(variant.age(now));
    to.span(terms.lifetime);
    to.flag(terms.heuristic);
    to.span(terms.stale_while_revalidate);
    to.span(terms.stale_if_error);
    to.span(terms.keep_stale);
    to.span(terms.validate_within);
    to.flag(terms.never_stale);
    selecting(to, variant.selecting());
    to.span(since_epoch(variant.made_on()));
    numbers(to, variant.tags());
}

fn reply(to: &mut Writer, entry: &Entry) {
    head(to, entry.status, &entry.headers);
    to.octets(&entry.body);
}

fn head(to: &mut Writer, status: StatusCode, headers: &HeaderMap) {
    to.short(status.as_u16());
    to.long(headers.len() as u64);
    for (name, value) in headers {
        to.octets(name.as_str().as_bytes());
        to.octets(value.as_bytes());
        to.flag(value.is_sensitive());
    }
}

fn selecting(to: &mut Writer, selecting: &Selecting) {
    to.long(selecting.fields().len() as u64);
    for (name, value) in selecting.fields() {
        to.octets(name.as_str().as_bytes());
        to.flag(value.is_some());
        if let Some(value) = value {
            to.octets(value);
        }
    }
}

fn numbers(to: &mut Writer, tags: &Tags) {
    to.long(tags.numbers().len() as u64);
    tags.numbers().iter().for_each(|number| to.short(*number));
}

/// A clock before 1970 is wrong, and shows what is then too old.
fn since_epoch(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
