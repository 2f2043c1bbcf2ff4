//! The small policies: time limits, idempotency, mapped errors.

use super::headers::header_name;
use crate::config::{
    reader::{Field, Reader},
    settings::{ErrorMapping, Idempotency, Timeouts},
};
use http::{HeaderName, StatusCode};
use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The time limits of an integration that says nothing.
pub(crate) fn default_timeouts() -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        whole: seconds(30),
        attempt: None,
        connect: seconds(10),
        read: seconds(30),
        write: seconds(30),
        body: None,
    }
}

/// Reads the time limits of a table; what it does not set is `base`'s.
pub(crate) fn timeouts(table: &Reader<'_, '_>, base: Timeouts) -> Timeouts {
    let read = |name| table.field(name).and_then(|field| field.duration());
    Timeouts {
        whole: read("timeout").unwrap_or(base.whole),
        attempt: read("attempt_timeout").or(base.attempt),
        connect: read("connect_timeout").unwrap_or(base.connect),
        read: read("read_timeout").unwrap_or(base.read),
        write: read("write_timeout").unwrap_or(base.write),
        body: read("body_timeout").or(base.body),
    }
}

/// Reads `idempotency = { … }`.
pub(crate) fn idempotency(field: &Field<'_, '_>) -> Option<Idempotency> {
    let table = field.table()?;
    let header = match table.field("header") {
        Some(field) => header_name(&field),
        None => Some(IDEMPOTENCY_KEY),
    };
    let generate = table.field("generate").and_then(|field| field.boolean()).unwrap_or(true);
    table.finish();
    Some(Idempotency { header: header?, generate })
}

/// Reads `errors."404" = { … }`.
pub(crate) fn errors(field: &Field<'_, '_>) -> BTreeMap<u16, ErrorMapping> {
    let mut mapped = BTreeMap::new();
    for (name, value) in field.entries().unwrap_or_default() {
        let upstream = name.parse::<u16>().ok().filter(|status| (400..=599).contains(status));
        if upstream.is_none() {
            value.ctx.problem(
                &value.path,
                &value.key_span,
                format!("`{name}` is not a status from 400 to 599"),
                "write errors.\"404\" = { … }",
            );
        }
        let mapping = error_mapping(&value, upstream.unwrap_or(400));
        if let (Some(upstream), Some(mapping)) = (upstream, mapping) {
            mapped.insert(upstream, mapping);
        }
    }
    mapped
}

fn error_mapping(field: &Field<'_, '_>, upstream: u16) -> Option<ErrorMapping> {
    let table = field.table()?;
    let status = table.field("status").and_then(|field| field.small());
    let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(upstream);
    let code = table.required("code", "write code = \"user-not-found\"").and_then(|field| error_code(&field));
    let detail = table.field("detail").and_then(|field| field.filled());
    table.finish();
    Some(ErrorMapping { status: StatusCode::from_u16(status).ok()?, code: code?, detail })
}

fn error_code(field: &Field<'_, '_>) -> Option<String> {
    let text = field.text()?;
    let value = text.value();
    let fits = value.len() <= 64
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !fits {
        field.problem(
            format!("`{}` is not a code", text.written()),
            "use letters, digits and `-`, e.g. \"user-not-found\"",
        );
        return None;
    }
    Some(text.into_value())
}

/// Shorthand for tests of zero-free numbers.
pub(crate) fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}
