//! Stage 4: the request mapper, and the host's check of what it made.

use super::{
    Failure, Reply,
    call::{Fetch, Input},
    phases::{self, from_guest, request_head},
    request::{Outbound, OutboundBody},
    side::DEFAULT_ENDPOINT,
};
use crate::model::{Payload, Source, has_dot_segment, is_hop_by_hop, strip_hop_by_hop};
use bascule_plugin_host::{HostBody, MappedRequest, Mapping, OutgoingBody, Phase, PluginError};
use bytes::Bytes;
use http::{
    Method, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION},
};

/// What a mapper decided.
pub(super) enum Mapped {
    /// Send this; the octets go to the response and error mappers.
    Send(Outbound, Vec<u8>),
    /// The answer, without the provider.
    Answer(Reply),
}

/// Lets the mapper work on the draft, if there is one.
pub(super) async fn map_request(fetch: &Fetch, draft: Outbound) -> Result<Mapped, Box<Failure>> {
    let Some(mapper) = &fetch.operation.phases.request_mapper else {
        return Ok(Mapped::Send(draft, Vec::new()));
    };
    let input = match (&fetch.input, &draft.body) {
        (_, OutboundBody::OneShot { length, .. }) => HostBody::one_shot(*length),
        (Input::Declared { params, .. }, OutboundBody::Held(octets)) if octets.is_empty() => {
            HostBody::bytes(serde_json::to_vec(params).unwrap_or_default())
        }
        (Input::Declared { params, .. }, OutboundBody::Held(_)) if !is_raw(fetch) => {
            HostBody::bytes(serde_json::to_vec(params).unwrap_or_default())
        }
        (_, OutboundBody::Held(octets)) => HostBody::bytes(octets.clone()),
    };
    let head = request_head(&draft.method, &draft.path, draft.query.as_deref(), &draft.headers);
    let context = phases::context(fetch, mapper, 0, fetch.idempotency_key.as_ref());
    let work = mapper.plugin.map_request(&context, head, input);
    let mapping = phases::timed(&fetch.services, &fetch.progress, Phase::RequestMapper, mapper, work).await;
    match mapping.map_err(|error| Failure::plain(phases::problem(&error)))? {
        Mapping::Send(mapped) => checked(fetch, draft, mapped)
            .map_err(|reason| Failure::plain(phases::problem(&PluginError::BadAnswer { reason }))),
        Mapping::Answer(reply) => {
            let bad = |reason: String| Failure::plain(phases::problem(&PluginError::BadAnswer { reason }));
            let status = StatusCode::from_u16(reply.status).map_err(|_| bad("its status is none".into()))?;
            let mut headers = from_guest(&reply.headers).map_err(bad)?;
            strip_hop_by_hop(&mut headers);
            let body = Payload::Full(reply.body.unwrap_or_default());
            Ok(Mapped::Answer(Reply {
                status,
                headers,
                body,
                source: Source::Plugin,
                stored: false,
                cache: None,
                upstream: None,
            }))
        }
    }
}

fn is_raw(fetch: &Fetch) -> bool {
    fetch.operation.declared.as_ref().is_some_and(|declared| declared.body == crate::config::BodyKind::Raw)
}

/// A mapper chooses among declared endpoints and stays below their base path; it sets no header that
/// is the host's or the signer's.
fn checked(fetch: &Fetch, draft: Outbound, mapped: MappedRequest) -> Result<Mapped, String> {
    let head = mapped.head;
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| "its method is none".to_owned())?;
    let endpoint = match &head.endpoint {
        None => draft.endpoint,
        Some(name) if name == DEFAULT_ENDPOINT => draft.endpoint,
        Some(name) => fetch
            .integration
            .endpoints
            .get(name)
            .cloned()
            .ok_or_else(|| format!("`{}` is no endpoint of this integration", name.escape_debug()))?,
    };
    check_path(&head.path)?;
    let target = match &head.query {
        None => head.path.clone(),
        Some(query) => format!("{}?{query}", head.path),
    };
    if target.contains('#') || target.parse::<Uri>().is_err() {
        return Err("its path or query is not percent-encoded".into());
    }
    let mut headers = from_guest(&head.headers)?;
    let forbidden = [HOST, CONTENT_LENGTH, AUTHORIZATION, PROXY_AUTHORIZATION];
    // A header that was in the draft already (the caller's own, through /proxy) is not the mapper's doing.
    let set = forbidden
        .iter()
        .find(|name| headers.contains_key(*name) && headers.get(*name) != draft.headers.get(*name));
    if let Some(name) = set {
        return Err(format!("it sets `{name}`, which is the host's"));
    }
    if let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)) {
        return Err(format!("it sets the hop-by-hop header `{name}`"));
    }
    let body = match mapped.body {
        OutgoingBody::Unchanged => draft.body,
        OutgoingBody::Empty => OutboundBody::Held(Bytes::new()),
        OutgoingBody::Replace(octets) => OutboundBody::Held(octets.bytes),
    };
    // The mapper was not shown these, so it cannot have meant to drop them.
    for (name, value) in draft.headers.iter().filter(|(_, value)| value.is_sensitive()) {
        headers.insert(name.clone(), value.clone());
    }
    let outbound = Outbound {
        method,
        endpoint,
        path: head.path,
        query: head.query,
        secret_query: draft.secret_query,
        headers,
        body,
    };
    Ok(Mapped::Send(outbound, mapped.carry))
}

/// No segment may lead out of the base path, however it is encoded.
fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("its path does not start with `/`".into());
    }
    if has_dot_segment(path) {
        return Err("its path holds `.` or `..` segments".into());
    }
    Ok(())
}
