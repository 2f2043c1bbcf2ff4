//! The stand-in of S3: objects in memory, path-style addresses, and every request's signature verified.
//!
//! A request goes through four doors, each of which may end it with S3's own XML error: its signature
//! ([`sigv4`], written from AWS's documentation alone), its address, its body (streamed, hashed on the way and
//! compared with `x-amz-content-sha256`), and the bounds of the store. Nothing of an upload is visible before
//! its last octet has arrived and its hash was right. It has no switches beside `outage` and `fail_next`.
//!
//! Left out: virtual-host addresses, ranges, conditions, multipart uploads, `aws-chunked` bodies.

mod canonical;
mod fault;
mod listing;
mod objects;
mod receive;
mod sigv4;

pub(crate) use sigv4::{Service, Verifier};

use super::{
    clock::{self, Clock},
    standin::Provider,
    web::{self, Answer},
};
use fault::Fault;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use objects::{Object, Objects};
use serde_json::{Map, Value};
use sigv4::{Head, Payload};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Behaves as S3.
pub(crate) struct S3 {
    verifier: Verifier,
    objects: Objects,
    clock: Clock,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    signed_headers: AtomicU64,
    presigned: AtomicU64,
    unsigned_payloads: AtomicU64,
    refused: AtomicU64,
}

impl S3 {
    /// An S3 that accepts what `verifier` does and has these empty buckets.
    pub(crate) fn new(verifier: Verifier, buckets: &[&str], clock: Clock) -> Self {
        Self { verifier, objects: Objects::with_buckets(buckets), clock, counts: Counts::default() }
    }

    async fn serve(&self, head: &Parts, body: &mut Incoming) -> Result<Answer, Fault> {
        let payload = self.admit(head)?;
        let segments: Vec<String> = segments(head.uri.path())?;
        let (bucket, key) = segments.split_first().ok_or(Fault::MethodNotAllowed)?;
        let key = key.join("/");
        self.objects.require_bucket(bucket)?;
        if head.method == Method::PUT && !key.is_empty() {
            let chunks = receive::receive(body, &payload, &self.objects).await?;
            let object = Object::new(chunks, stored_headers(&head.headers), self.clock.epoch());
            let etag = object.etag.clone();
            self.objects.put(bucket, &key, object)?;
            let mut answer = web::empty(StatusCode::OK);
            web::set(&mut answer, "etag", etag);
            return Ok(answer);
        }
        receive::expect_no_body(body, &payload).await?;
        match (&head.method, key.is_empty()) {
            (&Method::GET, true) => {
                listing::list(&self.objects, bucket, head.uri.query().unwrap_or_default())
                    .map(|document| web::typed(StatusCode::OK, "application/xml", document))
            }
            (&Method::GET, false) => {
                let object = self.objects.get(bucket, &key)?;
                Ok(describe(http::Response::new(object.chunks.body().boxed()), &object))
            }
            (&Method::HEAD, false) => {
                let object = self.objects.get(bucket, &key)?;
                Ok(describe(web::empty(StatusCode::OK), &object))
            }
            (&Method::DELETE, false) => {
                self.objects.delete(bucket, &key)?;
                Ok(web::empty(StatusCode::NO_CONTENT))
            }
            _ => Err(Fault::MethodNotAllowed),
        }
    }

    /// Verifies the signature; what is left to verify is the body.
    fn admit(&self, head: &Parts) -> Result<Payload, Fault> {
        let seen = Head {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
        };
        let presented = sigv4::Presented::find(&seen)?;
        let payload = Payload::declared(&seen, &presented)?;
        self.verifier.verify(&seen, &presented, payload.as_str(), self.clock.epoch())?;
        let count =
            if presented.is_in_query() { &self.counts.presigned } else { &self.counts.signed_headers };
        count.fetch_add(1, Ordering::Relaxed);
        if payload == Payload::Unsigned {
            self.counts.unsigned_payloads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(payload)
    }
}

impl Provider for S3 {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, mut body) = request.into_parts();
        let fault = match self.serve(&head, &mut body).await {
            Ok(answer) => return answer,
            Err(fault) => fault,
        };
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        // Read on for a while: a client that is still sending would otherwise see a reset, not the answer.
        receive::drain(&mut body).await;
        fault.answer(&head)
    }

    fn trouble(&self, status: StatusCode) -> Answer {
        fault::document(status, "ServiceUnavailable", "Please reduce your request rate.", "")
    }

    fn switch(&self, _name: &str, _value: &Value) -> bool {
        false
    }

    fn count(&self, counters: &mut Map<String, Value>) {
        let counts = &self.counts;
        for (name, count) in [
            ("signed_headers", &counts.signed_headers),
            ("presigned", &counts.presigned),
            ("unsigned_payloads", &counts.unsigned_payloads),
            ("refused", &counts.refused),
        ] {
            counters.insert(name.to_owned(), count.load(Ordering::Relaxed).into());
        }
        counters.insert("held_bytes".to_owned(), self.objects.held_bytes().into());
    }
}

/// Bucket and key, decoded. Unlike in ordinary paths every slash counts: `a//b` is a key of its own.
fn segments(path: &str) -> Result<Vec<String>, Fault> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let decode = |segment: &str| {
        let text = percent_encoding::percent_decode_str(segment).decode_utf8();
        text.map(|text| text.into_owned()).map_err(|_| Fault::InvalidArgument("the key is not UTF-8"))
    };
    path.split('/').map(decode).collect()
}

/// The headers that come back with an object.
fn stored_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if name == CONTENT_TYPE || name.as_str().starts_with("x-amz-meta-") {
            kept.append(name.clone(), value.clone());
        }
    }
    kept.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("binary/octet-stream"));
    kept
}

fn describe(mut answer: Answer, object: &Arc<Object>) -> Answer {
    answer.headers_mut().extend(object.headers.clone());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(object.chunks.len()));
    web::set(&mut answer, "etag", &object.etag);
    web::set(&mut answer, "last-modified", clock::format_http(object.modified));
    answer
}

#[cfg(test)]
mod tests;
