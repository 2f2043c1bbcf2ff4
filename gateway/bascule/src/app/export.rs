//! The transport of telemetry's exporter: the same `connect` as everything else that leaves.

use crate::{
    config::{BaseUrl, Timeouts},
    telemetry::OtlpTransport,
    upstream::{Client, ClientSettings, EgressPolicy, Endpoint, RequestBody, Tls},
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::{BodyExt, Limited};
use std::{future::Future, pin::Pin, time::Duration};

/// How long one export may take; what does not arrive is dropped and counted.
const LIMIT: Duration = Duration::from_secs(10);
/// A collector's answer is a few octets.
const ANSWER_MAX: usize = 64 * 1024;

/// Sends to one collector.
pub(super) struct Exporter {
    client: Client,
    endpoint: Endpoint,
}

impl Exporter {
    pub(super) fn new(tls: Tls, collector: &url::Url) -> Self {
        // The operator names the collector, and it is commonly on a private network.
        let egress = EgressPolicy { allow_private: true, allow_loopback: true };
        let client = Client::new(tls, ClientSettings { egress, write: LIMIT });
        let endpoint = client.endpoint(BaseUrl::of(collector));
        Self { client, endpoint }
    }
}

impl OtlpTransport for Exporter {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>> {
        let (client, endpoint) = (self.client.clone(), self.endpoint.clone());
        Box::pin(async move {
            let exchange = exchange(client, endpoint, request);
            tokio::time::timeout(LIMIT, exchange)
                .await
                .unwrap_or_else(|_| Err("the collector took too long".into()))
        })
    }
}

async fn exchange(
    client: Client,
    endpoint: Endpoint,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, String> {
    let (mut parts, octets) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = path.parse().map_err(|_| "the collector's path is unusable".to_owned())?;
    let host = HeaderValue::from_str(&endpoint.base().authority).map_err(|error| error.to_string())?;
    parts.headers.insert(HOST, host);
    let timeouts =
        Timeouts { whole: LIMIT, attempt: None, connect: LIMIT, read: LIMIT, write: LIMIT, body: None };
    let request = Request::from_parts(parts, RequestBody::full(octets));
    let sent = client.send(&endpoint, request, &timeouts, None).await;
    let (head, body) = sent.map_err(|error| error.to_string())?;
    let octets =
        Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    let mut response = Response::new(octets);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}
