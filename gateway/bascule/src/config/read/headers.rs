//! Headers: those that are set, and the caller's that are passed on.

use super::params::declared_only;
use crate::config::{
    reader::Field,
    settings::{HeaderSetting, TextTemplate},
};
use http::{HeaderName, HeaderValue};

/// Headers that belong to the connection or that the gateway computes itself.
const OWN: [&str; 12] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];
/// Callers' credentials are for the gateway and never reach an upstream through `/v1`.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "x-api-key"];

/// Whether values may hold placeholders.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// `{name}` is a placeholder for one of these parameters: headers of operations.
    Templates(&'a [String]),
    /// Braces are braces: headers of integrations.
    Literals,
}

/// Reads a table of headers.
pub(crate) fn headers(field: &Field<'_, '_>, values: Values<'_>) -> Vec<HeaderSetting> {
    let mut headers: Vec<HeaderSetting> = Vec::new();
    for (name, value) in field.entries().unwrap_or_default() {
        let Some(name) = settable(&value, &name) else { continue };
        if headers.iter().any(|header| header.name == name) {
            value
                .problem(format!("`{name}` is set twice"), "the case of a header's name makes no difference");
            continue;
        }
        let Some(text) = value.text() else { continue };
        text.looked_up().for_each(|piece| value.ctx.secret(piece));
        let template = match values {
            Values::Literals => TextTemplate::literal(text.value()),
            Values::Templates(declared) => match text.template() {
                Ok(template) => {
                    declared_only(&value, &template, declared);
                    template
                }
                Err(error) => {
                    value.problem(error.to_string(), "write `{name}` for a parameter, `{{` for a brace");
                    continue;
                }
            },
        };
        if HeaderValue::from_str(text.value()).is_err() {
            value.problem("holds a character that no header may carry", "use visible ASCII characters");
            continue;
        }
        headers.push(HeaderSetting { name, value: template, secret: text.is_sensitive() });
    }
    headers
}

/// The integration's headers with the operation's laid over them.
pub(crate) fn laid_over(base: &[HeaderSetting], over: Vec<HeaderSetting>) -> Vec<HeaderSetting> {
    let kept = base.iter().filter(|header| !over.iter().any(|other| other.name == header.name)).cloned();
    kept.collect::<Vec<_>>().into_iter().chain(over).collect()
}

/// Reads a header's name from a value.
pub(crate) fn header_name(field: &Field<'_, '_>) -> Option<HeaderName> {
    let text = field.string()?;
    settable(field, &text)
}

/// Reads the name of a header that is only looked at.
pub(crate) fn any_header_name(field: &Field<'_, '_>) -> Option<HeaderName> {
    let text = field.string()?;
    parsed(field, &text)
}

/// Reads `forward_headers`.
pub(crate) fn forwarded(field: &Field<'_, '_>) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for item in field.items().unwrap_or_default() {
        let Some(name) = item.string().and_then(|text| settable(&item, &text)) else { continue };
        if CREDENTIALS.contains(&name.as_str()) {
            item.problem(
                format!("`{name}` holds the caller's credentials, which are never passed on"),
                "authenticate upstream with [auth], or use /proxy",
            );
        } else if name.as_str().starts_with("bascule-") {
            item.problem(format!("`{name}` is the gateway's own"), "remove it");
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn settable(field: &Field<'_, '_>, name: &str) -> Option<HeaderName> {
    let name = parsed(field, name)?;
    if OWN.contains(&name.as_str()) {
        field.ctx.problem(
            &field.path,
            &field.key_span,
            format!("`{name}` belongs to the connection and is set by the gateway"),
            "remove it",
        );
        return None;
    }
    Some(name)
}

fn parsed(field: &Field<'_, '_>, name: &str) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
    if parsed.is_none() {
        field.ctx.problem(
            &field.path,
            &field.key_span,
            "not a header name",
            "use letters, digits and `-`, e.g. \"X-Request-Source\"",
        );
    }
    parsed
}
