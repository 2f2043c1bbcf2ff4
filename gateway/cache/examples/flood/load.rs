//! The load of `flood.rs` and of the test of the same bound: small answers of several sizes from four integrations, by
//! rule and by HTTP.

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bascule_cache::{
    Entry, KeyBuilder, Reply, Scope, Store, StoreConfig, StoreStats, Tags, Variant,
    rfc9111::{Exchange, Policy, Received},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CACHE_CONTROL};

const INTEGRATIONS: [&str; 4] = ["github", "stripe", "weather", "storage"];
const TTL: Duration = Duration::from_secs(3600);

pub(crate) struct Load {
    store: Arc<Store>,
    scopes: [Scope; 4],
    now: Instant,
}

impl Load {
    pub(crate) fn new(max_size: u64) -> Self {
        let store = Store::new(StoreConfig { max_size, ..StoreConfig::default() });
        let scopes = INTEGRATIONS.map(|name| store.scope(name, "get"));
        Self { store, scopes, now: Instant::now() }
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// Stores the answer to a key that was never asked for before.
    pub(crate) fn put(&self, index: usize) {
        let Some(scope) = self.scopes.get(index % 4) else { return };
        let key = KeyBuilder::new(scope.integration(), "get").field("index", &index.to_be_bytes()).finish();
        let body = vec![b'x'; index.wrapping_mul(2_654_435_761) % 1_500];
        let epoch = self.store.epoch(scope);
        if index.is_multiple_of(2) {
            let entry = Entry {
                status: StatusCode::OK,
                headers: headers(index),
                body: body.into(),
                stored_at: self.now,
                age_at_store: Duration::ZERO,
                ttl: TTL,
                stale_while_revalidate: Duration::ZERO,
                keep_stale: TTL,
                scope: scope.clone(),
            };
            self.store.put(key, entry, epoch);
        } else if let Some(variant) = self.variant(headers(index), body, scope) {
            self.store.put_variant(key, variant, epoch);
        }
    }

    fn variant(&self, response: HeaderMap, body: Vec<u8>, scope: &Scope) -> Option<Variant> {
        let received =
            Received { requested_at: self.now, received_at: self.now, received_on: SystemTime::now() };
        let exchange = Exchange {
            method: &Method::GET,
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &response,
            received,
        };
        let storable = exchange.storable(&Policy::default()).ok()?;
        Some(Variant::new(storable, Reply::AsReceived(body.into()), scope.clone(), Tags::default()))
    }
}

fn headers(index: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static("x-request-id"), HeaderValue::from(index));
    headers
}

/// The resident memory of this process.
pub(crate) fn resident_bytes() -> io::Result<u64> {
    const PAGE: u64 = 4096;
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE).ok_or_else(|| io::Error::other("no resident size in statm"))
}
