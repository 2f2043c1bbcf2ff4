//! The request on its way out: the declared draft, and the wire form of one attempt.

use super::{
    InputBody, Policy,
    call::{Fetch, Input},
    failure::Failure,
};
use crate::{
    config::{BodyKind, HeaderSetting, Operation, TextTemplate},
    model::{Code, Problem, StreamBody, USER_AGENT},
    upstream::{Endpoint, RequestBody},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT as USER_AGENT_NAME},
};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// RFC 3986's unreserved characters stay; a space is `%20`, never `+`, so that signatures agree.
pub(super) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request before signing. Every attempt starts from a fresh copy of it.
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) endpoint: Endpoint,
    /// Below the endpoint's base path, percent-encoded, with a leading slash.
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// Entries whose values no plugin may see; they join the query with the credentials.
    pub(super) secret_query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: OutboundBody,
}

/// The body of a request that may be sent several times.
pub(super) enum OutboundBody {
    /// Any number of times.
    Held(Bytes),
    /// Once; none when it has been used up.
    OneShot { body: Mutex<Option<StreamBody>>, length: Option<u64> },
}

impl OutboundBody {
    pub(super) fn replayable(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// The body for one attempt; none when a one-shot body has been used up.
    pub(super) fn take(&self) -> Option<RequestBody> {
        match self {
            Self::Held(octets) => Some(RequestBody::full(octets.clone())),
            Self::OneShot { body, .. } => body.lock().take().map(RequestBody::stream),
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Held(octets) => Some(octets.len() as u64),
            Self::OneShot { length, .. } => *length,
        }
    }
}

impl From<InputBody> for OutboundBody {
    fn from(body: InputBody) -> Self {
        match body {
            InputBody::Held(octets) => Self::Held(octets),
            InputBody::Stream { body, length } => Self::OneShot { body: Mutex::new(Some(body)), length },
        }
    }
}

/// What the declared operation, or the proxied request, yields without a plugin. The caller's body
/// moves into it.
pub(super) fn draft(fetch: &mut Fetch) -> Result<Outbound, Box<Failure>> {
    let endpoint = || fetch.integration.endpoint.clone().ok_or_else(|| bug("a call without a base URL"));
    let mut headers = HeaderMap::new();
    match (&mut fetch.input, &fetch.operation.declared) {
        (Input::Proxy(request), _) => {
            set_headers(&mut headers, &fetch.operation.policy, &Map::new())?;
            forward(&mut headers, &fetch.forwarded);
            let body = std::mem::replace(&mut request.body, InputBody::empty());
            Ok(Outbound {
                method: request.method.clone(),
                endpoint: endpoint()?,
                path: std::mem::take(&mut request.path),
                query: request.query.take(),
                secret_query: None,
                headers,
                body: body.into(),
            })
        }
        (Input::Declared { params, body, .. }, Some(declared)) => {
            set_headers(&mut headers, &fetch.operation.policy, params)?;
            let body = match declared.body {
                BodyKind::Raw => body.take().unwrap_or(InputBody::empty()).into(),
                kind => declared_body(declared, kind, params, &mut headers),
            };
            if declared.body != BodyKind::Raw && !headers.contains_key(ACCEPT) {
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            }
            forward(&mut headers, &fetch.forwarded);
            let path = declared.path.render(params).map_err(|_| bug("a validated path did not render"))?;
            Ok(Outbound {
                method: declared.method.clone(),
                endpoint: endpoint()?,
                path,
                query: query(declared, params, false),
                secret_query: query(declared, params, true),
                headers,
                body,
            })
        }
        (Input::Declared { .. }, None) => Err(bug("a call without a declaration has parameters")),
    }
}

/// An internal contradiction: logged for operators, opaque to callers.
pub(super) fn bug(what: &'static str) -> Box<Failure> {
    tracing::error!(what, "internal contradiction");
    Failure::plain(Problem::new(Code::Internal, "an internal error; the gateway's log has the details"))
}

fn set_headers(
    headers: &mut HeaderMap,
    policy: &Policy,
    params: &Map<String, Value>,
) -> Result<(), Box<Failure>> {
    for HeaderSetting { name, value, secret } in &policy.headers {
        let Some(text) = value.render(params) else { continue };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let detail = format!("a parameter holds characters that the header `{name}` cannot carry");
            Failure::plain(Problem::new(Code::InvalidParameters, detail))
        })?;
        // Plugins are not shown sensitive values.
        value.set_sensitive(*secret);
        headers.insert(name.clone(), value);
    }
    Ok(())
}

/// The caller's headers win over declared ones of the same name.
fn forward(headers: &mut HeaderMap, forwarded: &HeaderMap) {
    for name in forwarded.keys() {
        headers.remove(name);
    }
    for (name, value) in forwarded {
        headers.append(name.clone(), value.clone());
    }
}

/// The declared entries: those that hold secrets, or the others.
fn query(declared: &Operation, params: &Map<String, Value>, secret: bool) -> Option<String> {
    let mut query = String::new();
    let mut push = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.extend(utf8_percent_encode(name, QUERY));
        query.push('=');
        query.extend(utf8_percent_encode(value, QUERY));
    };
    for entry in declared.query.iter().filter(|entry| entry.secret == secret) {
        // A list that is the whole value repeats the entry, as most APIs want it.
        if let Some(Value::Array(items)) = entry.value.as_parameter().and_then(|name| params.get(name)) {
            for item in items {
                push(&entry.name, &plain(item));
            }
        } else if let Some(value) = TextTemplate::render(&entry.value, params) {
            push(&entry.name, &value);
        }
    }
    (!query.is_empty()).then_some(query)
}

fn declared_body(
    declared: &Operation,
    kind: BodyKind,
    params: &Map<String, Value>,
    headers: &mut HeaderMap,
) -> OutboundBody {
    if declared.body_params.is_empty() || matches!(kind, BodyKind::None | BodyKind::Raw) {
        return OutboundBody::Held(Bytes::new());
    }
    let used = declared.body_params.iter().filter_map(|name| params.get(name).map(|value| (name, value)));
    let (octets, media_type) = match kind {
        BodyKind::Form => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in used {
                push_form(&mut form, name, value);
            }
            (form.finish(), "application/x-www-form-urlencoded")
        }
        _ => {
            let object: Map<String, Value> =
                used.map(|(name, value)| (name.clone(), value.clone())).collect();
            (Value::Object(object).to_string(), "application/json")
        }
    };
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    OutboundBody::Held(Bytes::from(octets))
}

/// Nested keys are written `a[b]`, list items `a[0]`.
fn push_form(form: &mut url::form_urlencoded::Serializer<'_, String>, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                push_form(form, &format!("{name}[{member}]"), value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                push_form(form, &format!("{name}[{index}]"), item);
            }
        }
        scalar => {
            form.append_pair(name, &plain(scalar));
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One attempt: the head with everything the host adds, ready to be signed.
pub(super) struct Wire {
    pub(super) method: Method,
    /// Exactly as on the wire.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
}

impl Wire {
    /// A fresh copy of the mapped request with the host's headers.
    pub(super) fn new(
        outbound: &Outbound,
        identity_coding: bool,
        key: Option<(&HeaderName, &HeaderValue)>,
    ) -> Result<Self, Box<Failure>> {
        let base = outbound.endpoint.base();
        let mut headers = outbound.headers.clone();
        let host =
            HeaderValue::from_str(&base.authority).map_err(|_| bug("an authority is no header value"))?;
        headers.insert(HOST, host);
        if !headers.contains_key(USER_AGENT_NAME) {
            headers.insert(USER_AGENT_NAME, HeaderValue::from_static(USER_AGENT));
        }
        if identity_coding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some((name, value)) = key {
            headers.insert(name.clone(), value.clone());
        }
        match outbound.body.length() {
            Some(0) if !wants_length(&outbound.method) => {
                headers.remove(CONTENT_LENGTH);
            }
            Some(length) => {
                headers.insert(CONTENT_LENGTH, length.into());
            }
            None => {
                headers.remove(CONTENT_LENGTH);
            }
        }
        Ok(Self {
            method: outbound.method.clone(),
            path: format!("{}{}", base.path, outbound.path),
            query: outbound.query.clone(),
            headers,
        })
    }

    /// The request for the connection.
    pub(super) fn into_request(self, body: RequestBody) -> Result<Request<RequestBody>, Box<Failure>> {
        let target = match &self.query {
            None => self.path,
            Some(query) => format!("{}?{query}", self.path),
        };
        let uri: Uri = target.parse().map_err(|_| {
            Failure::plain(Problem::new(
                Code::InvalidRequest,
                "the path or query holds characters that no URL may hold",
            ))
        })?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

/// Methods whose requests say `Content-Length: 0` when they are empty (RFC 9110 §8.6).
fn wants_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The request's URL for spans and logs, before redaction.
pub(super) fn shown_url(outbound: &Outbound) -> String {
    let base = outbound.endpoint.base();
    let scheme = if base.https { "https" } else { "http" };
    let mut url = format!("{scheme}://{}{}{}", base.authority, base.path, outbound.path);
    if let Some(query) = &outbound.query {
        url.push('?');
        url.push_str(query);
    }
    url
}
