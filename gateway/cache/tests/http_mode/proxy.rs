//! The caching proxy of these tests, which is also the shortest complete use of the interface.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bascule_cache::{
    Key, KeyBuilder, NotRenewed, Reply, Scope, Store, StoreConfig, Tags, Variant,
    rfc9111::{Exchange, Policy, Received, RequestDirectives, Use, invalidated, is_for_the_origin},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

const ORIGIN: &str = "http://origin.example";

/// What the origin answers; None is a connection that it closes.
pub(crate) type Answer = Option<(u16, Vec<(&'static str, String)>, &'static str)>;

/// What a caller got, and what the origin saw of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The requests that went to the origin before the answer.
    pub(crate) sent: Vec<(Method, HeaderMap)>,
    /// To be refreshed behind the caller's back.
    pub(crate) refreshes: bool,
}

pub(crate) struct Proxy {
    store: Arc<Store>,
    scope: Scope,
    pub(crate) policy: Policy,
    start: Instant,
    elapsed: Duration,
}

impl Outcome {
    pub(crate) fn is_cached(&self) -> bool {
        self.sent.is_empty()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    fields
        .into_iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

impl Proxy {
    pub(crate) fn new() -> Self {
        let store = Store::new(StoreConfig::default());
        let scope = store.scope("origin", "proxy");
        Self { store, scope, policy: Policy::default(), start: Instant::now(), elapsed: Duration::ZERO }
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.elapsed += Duration::from_secs(seconds);
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    /// The date so many seconds from now.
    pub(crate) fn date(&self, offset: i64) -> String {
        let now = 1_700_000_000 + self.elapsed.as_secs();
        httpdate::fmt_http_date(
            SystemTime::UNIX_EPOCH + Duration::from_secs(now.saturating_add_signed(offset)),
        )
    }

    fn key(&self, path: &str) -> Key {
        KeyBuilder::new("origin", "proxy").field("target", format!("{ORIGIN}{path}").as_bytes()).finish()
    }

    /// One call. `origin` is asked at most twice.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        request: &HeaderMap,
        mut origin: impl FnMut(&HeaderMap) -> Answer,
    ) -> Outcome {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut sent = Vec::new();
        let mut send = |request: &HeaderMap| {
            sent.push((method.clone(), request.clone()));
            origin(request)
        };
        let (mut outcome, refreshes) = self.answer(&method, path, request, &mut send);
        outcome.sent = sent;
        outcome.refreshes = refreshes;
        outcome
    }

    fn answer(
        &self,
        method: &Method,
        path: &str,
        request: &HeaderMap,
        send: &mut dyn FnMut(&HeaderMap) -> Answer,
    ) -> (Outcome, bool) {
        let asked = RequestDirectives::of(request);
        let readable = [Method::GET, Method::HEAD].contains(method) && !is_for_the_origin(request);
        if !readable {
            return (self.forward(method, path, request, send(request)), false);
        }
        let variant = match self.store.select(&self.key(path), &self.scope, request, self.now()) {
            Ok(variant) => variant,
            Err(_) if asked.only_if_cached => return (plain(504), false),
            Err(_) => return (self.forward(method, path, request, send(request)), false),
        };
        match variant.use_at(self.now(), &asked) {
            Use::Fresh | Use::Stale => (self.serve(&variant, method, request), false),
            Use::StaleAndRefresh => (self.serve(&variant, method, request), true),
            Use::Validate(_) if asked.only_if_cached => (plain(504), false),
            Use::Validate(_) => (self.validate(&variant, method, path, request, send), false),
        }
    }

    fn validate(
        &self,
        variant: &Variant,
        method: &Method,
        path: &str,
        request: &HeaderMap,
        send: &mut dyn FnMut(&HeaderMap) -> Answer,
    ) -> Outcome {
        let asked = RequestDirectives::of(request);
        let epoch = self.store.epoch(&self.scope);
        let mut conditional = request.clone();
        if method == Method::GET {
            variant.make_conditional(&mut conditional);
        }
        let answer = send(&conditional);
        let failed = answer.as_ref().is_none_or(|(status, ..)| matches!(status, 500 | 502 | 503 | 504));
        if failed && variant.terms().in_place_of_error_at(variant.age(self.now()), &asked) {
            return self.serve(variant, method, request);
        }
        let about = answer
            .as_ref()
            .is_some_and(|(status, ..)| *status == 304 || (*status == 200 && method == Method::HEAD));
        if !about || (method == Method::GET && conditional == *request) {
            return self.forward(method, path, request, answer);
        }
        let (status, headers, _) = answer.unwrap();
        let response = fields(headers.iter().map(|(name, value)| (*name, value.as_str())));
        match variant.renewed(&self.exchange(method, request, status, &response), &self.policy) {
            Ok(renewed) => {
                self.store.put_variant(self.key(path), renewed, epoch);
                let renewed = self.store.select(&self.key(path), &self.scope, request, self.now()).unwrap();
                self.serve(&renewed, method, request)
            }
            Err(NotRenewed::NotStored(_)) => self.serve(variant, method, request),
            Err(NotRenewed::Other) if method == Method::HEAD => {
                self.store.remove(&self.key(path));
                Outcome { headers: response, ..plain(status) }
            }
            Err(NotRenewed::Other) => self.forward(method, path, request, send(request)),
        }
    }

    /// Stores what may be stored, and passes on what came.
    fn forward(&self, method: &Method, path: &str, request: &HeaderMap, answer: Answer) -> Outcome {
        let Some((status, headers, body)) = answer else { return plain(502) };
        let epoch = self.store.epoch(&self.scope);
        let response = fields(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let target = Uri::try_from(format!("{ORIGIN}{path}")).unwrap();
        for uri in invalidated(method, StatusCode::from_u16(status).unwrap(), &target, &response) {
            self.store.purge_key(&self.key(uri.path()));
        }
        if let Ok(storable) = self.exchange(method, request, status, &response).storable(&self.policy) {
            let reply = Reply::AsReceived(body.into());
            let variant = Variant::new(storable, reply, self.scope.clone(), Tags::default());
            self.store.put_variant(self.key(path), variant, epoch);
        }
        Outcome { headers: response, body: body.into(), ..plain(status) }
    }

    fn exchange<'a>(
        &self,
        method: &'a Method,
        request: &'a HeaderMap,
        status: u16,
        response: &'a HeaderMap,
    ) -> Exchange<'a> {
        let received_on = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.elapsed;
        let received = Received { requested_at: self.now(), received_at: self.now(), received_on };
        Exchange { method, request, status: StatusCode::from_u16(status).unwrap(), response, received }
    }

    fn serve(&self, variant: &Variant, method: &Method, request: &HeaderMap) -> Outcome {
        let (reply, answer) = (variant.reply(), variant.answer(method, request));
        let mut headers = answer.headers(&reply.headers, reply.body.len());
        headers.insert("age", HeaderValue::from(variant.age(self.now()).as_secs()));
        let body = if method == Method::HEAD { Bytes::new() } else { answer.body(&reply.body) };
        Outcome { headers, body, ..plain(answer.status(reply.status).as_u16()) }
    }
}

fn plain(status: u16) -> Outcome {
    Outcome { status, headers: HeaderMap::new(), body: Bytes::new(), sent: Vec::new(), refreshes: false }
}
