//! What plugins answer with, checked: nothing unchecked leaves this crate.
//!
//! A broken rule is [`PluginError::BadAnswer`] and never repaired, with one exception: a fault is what
//! the caller gets to see when something is wrong already, so it is trimmed rather than refused.

mod heads;

pub(crate) use heads::size;

use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::bindings::bascule::plugin::types::{self, Fault, Field, FieldValue, Header, RequestHead};
use crate::bindings::exports::bascule::plugin::{request_mapper, signer, token_source};
use crate::body::{HostBody, Provenance};
use crate::error::PluginError;
use crate::limits::{CARRY_BYTES_MAX, KEY_MATERIAL_BYTES_MAX, Limits, TOKEN_BYTES_MAX};
use crate::secret::{SecretBytes, SecretValue};
use crate::state::State;
use crate::state::log_budget::cut;
use crate::token::Token;

/// Longest code of a fault: it becomes a label and a member of the problem document.
const FAULT_CODE_BYTES_MAX: usize = 64;
/// Longest message of a fault.
const FAULT_MESSAGE_BYTES_MAX: usize = 2 << 10;
/// Longest details of a fault; longer ones are left out, since cut JSON is none.
const FAULT_DETAILS_BYTES_MAX: usize = 16 << 10;

/// What a request mapper decided.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// Send this request.
    Send(MappedRequest),
    /// Answer without an upstream call.
    Answer(Reply),
}

/// A request as its mapper wants it.
#[derive(Debug, Clone)]
pub struct MappedRequest {
    /// Everything but authority and body. Header names are in lower case.
    pub head: RequestHead,
    /// Which body to send.
    pub body: OutgoingBody,
    /// For the response mapper and error mapper of the same plugin; at most 64 KiB.
    pub carry: Vec<u8>,
}

/// Which body to send.
#[derive(Debug, Clone)]
pub enum OutgoingBody {
    /// The caller's, as it is.
    Unchanged,
    /// None.
    Empty,
    /// This one. May contain secrets if `secret` says so: it must not be logged or shown then.
    Replace(SecretValue),
}

/// An answer to the gateway's caller.
#[derive(Debug, Clone)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// Header names are in lower case.
    pub headers: Vec<Header>,
    /// `None` = the upstream's body, untouched.
    pub body: Option<Bytes>,
}

/// What a signer adds to a request; secrets are put in already.
#[derive(Debug, Clone, Default)]
pub struct AuthPatch {
    /// Headers, which replace those of the same name. Names are in lower case.
    pub headers: Vec<(String, SecretValue)>,
    /// To be appended to the query in this order; percent-encoded already.
    pub query: Vec<(String, SecretValue)>,
}

pub(super) fn mapping(mapping: request_mapper::Mapping, state: &mut State) -> Result<Mapping, PluginError> {
    match mapping {
        request_mapper::Mapping::Send(request) => {
            if request.carry.len() > CARRY_BYTES_MAX {
                return Err(PluginError::bad_answer("more than 64 KiB of carry"));
            }
            let body = match request.body {
                request_mapper::OutgoingBody::Unchanged => OutgoingBody::Unchanged,
                request_mapper::OutgoingBody::Empty => OutgoingBody::Empty,
                request_mapper::OutgoingBody::Replace(body) => {
                    let (bytes, provenance) = take(body, state)?;
                    let secret = provenance == Provenance::Sealed;
                    OutgoingBody::Replace(SecretValue { bytes, secret })
                }
            };
            let head = request_head(request.head, &state.shared.limits)?;
            Ok(Mapping::Send(MappedRequest { head, body, carry: request.carry }))
        }
        request_mapper::Mapping::Answer(answer) => Ok(Mapping::Answer(reply(answer, state)?)),
    }
}

pub(super) fn reply(reply: types::Reply, state: &mut State) -> Result<Reply, PluginError> {
    if !(200..=599).contains(&reply.status) {
        return Err(PluginError::bad_answer(format!("the status {}", reply.status)));
    }
    let body = match reply.body {
        None => None,
        Some(body) => match take(body, state)? {
            // Secrets are for providers; a reply goes to the caller.
            (_, Provenance::Sealed) => {
                return Err(PluginError::bad_answer("a reply whose body contains secrets"));
            }
            (bytes, _) => Some(bytes),
        },
    };
    Ok(Reply { status: reply.status, headers: heads::headers(reply.headers, &state.shared.limits)?, body })
}

pub(super) fn auth_patch(patch: signer::AuthPatch, state: &State) -> Result<AuthPatch, PluginError> {
    let limits = &state.shared.limits;
    heads::fields_size(&patch.query, limits)?;
    let mut query = Vec::with_capacity(patch.query.len());
    for Field { name, value } in patch.query {
        let value = resolve(value, state)?;
        heads::query_part(name.as_bytes())?;
        heads::query_part(&value.bytes)?;
        query.push((name, value));
    }
    heads::secrets_size(&query, limits)?;
    Ok(AuthPatch { headers: auth_headers(patch.headers, state)?, query })
}

/// Headers that may have secrets in them, put in; names are in lower case.
pub(crate) fn auth_headers(
    fields: Vec<Field>,
    state: &State,
) -> Result<Vec<(String, SecretValue)>, PluginError> {
    let limits = &state.shared.limits;
    heads::fields_size(&fields, limits)?;
    let mut headers = Vec::with_capacity(fields.len());
    for field in fields {
        let name = heads::signed_name(&field.name)?;
        let value = resolve(field.value, state)?;
        heads::value(&name, &value.bytes)?;
        headers.push((name, value));
    }
    heads::secrets_size(&headers, limits)?;
    Ok(headers)
}

/// The head of a request, whoever is to send it.
pub(crate) fn request_head(head: RequestHead, limits: &Limits) -> Result<RequestHead, PluginError> {
    heads::request(head, limits)
}

pub(super) fn key_material(material: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, PluginError> {
    match &material {
        Some(octets) if octets.len() > KEY_MATERIAL_BYTES_MAX => {
            Err(PluginError::bad_answer("more than 4 KiB of cache key"))
        }
        _ => Ok(material),
    }
}

/// Nothing of the token's text is in the errors.
pub(super) fn token(token: token_source::Token) -> Result<Token, PluginError> {
    // First of all into the wrapper that wipes it, whatever is found wrong.
    let value = SecretBytes::new(token.value);
    let octets = value.expose();
    if octets.is_empty() || octets.len() > TOKEN_BYTES_MAX {
        return Err(PluginError::bad_answer("a token that is empty or longer than 16 KiB"));
    }
    if !octets.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return Err(PluginError::bad_answer(
            "a token that is not of printable ASCII, as no header can carry",
        ));
    }
    let expires_in = token.expires_in_ms.map(|millis| Duration::from_millis(millis.into()));
    Ok(Token { value, expires_in })
}

/// The fault within its bounds, with known secrets blanked out.
pub(super) fn fault(fault: Fault, state: &State) -> Fault {
    let secrets = state.secrets();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let code: String = secrets.redact(fault.code).chars().filter(|c| plain(*c)).collect();
    let details = fault
        .details
        .filter(|text| text.len() <= FAULT_DETAILS_BYTES_MAX)
        .filter(|text| matches!(serde_json::from_str(text), Ok(serde_json::Value::Object(_))));
    Fault {
        kind: fault.kind,
        code: if code.is_empty() { "unspecified".into() } else { cut(&code, FAULT_CODE_BYTES_MAX).into() },
        message: cut(&secrets.redact(fault.message), FAULT_MESSAGE_BYTES_MAX).into(),
        details: details.map(|text| secrets.redact(text)),
        retry_after_ms: fault.retry_after_ms,
    }
}

fn resolve(value: FieldValue, state: &State) -> Result<SecretValue, PluginError> {
    state.secrets().resolve(value).map_err(|error| PluginError::bad_answer(error.to_string()))
}

/// Takes a body that the guest hands over out of its table.
fn take(body: Resource<HostBody>, state: &mut State) -> Result<(Bytes, Provenance), PluginError> {
    let gone = || PluginError::bad_answer("a body that is not there");
    let body = state.table.delete(body).map_err(|_table| gone())?;
    let octets = body.octets().cloned().ok_or_else(gone)?;
    Ok((octets, body.provenance()))
}
