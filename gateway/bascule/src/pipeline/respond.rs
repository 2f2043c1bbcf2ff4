//! Stage 6: response mappers, and the guards that an answer's body carries to its end.

use super::{
    Failure, Reply,
    attempts::Received,
    call::Fetch,
    decode::forget_octets,
    phases::{self, from_guest, mapping_failure, response_head},
};
use crate::model::{BodyError, Payload, Source, StreamBody, strip_hop_by_hop};
use bascule_plugin_host::{HostBody, Phase, PluginError};
use bascule_resilience::{BulkheadPermit, Settled};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Runs the response mappers in file order, each on what the one before it made.
pub(super) async fn map_response(
    fetch: &Fetch,
    received: Received,
    carry: Vec<u8>,
) -> Result<Reply, Box<Failure>> {
    let Received { mut status, mut headers, mut body, upstream } = received;
    let answered = status;
    for mapper in &fetch.operation.phases.response_mappers {
        let shown = match &body {
            Payload::Full(octets) => HostBody::bytes(octets.clone()),
            Payload::Stream(stream) => HostBody::one_shot(stream.size_hint().exact()),
        };
        let context = phases::context(fetch, mapper, 0, fetch.idempotency_key.as_ref());
        let work =
            mapper.plugin.map_response(&context, response_head(status, &headers), shown, carry.clone());
        let mapped =
            phases::timed(&fetch.services, &fetch.progress, Phase::ResponseMapper, mapper, work).await;
        let mapped = mapped.map_err(|error| mapping_failure(&error, answered))?;
        let bad = |reason: String| mapping_failure(&PluginError::BadAnswer { reason }, answered);
        status = StatusCode::from_u16(mapped.status).map_err(|_| bad("its status is none".into()))?;
        headers = from_guest(&mapped.headers).map_err(bad)?;
        strip_hop_by_hop(&mut headers);
        if let Some(octets) = mapped.body {
            // They described the provider's octets.
            forget_octets(&mut headers);
            body = Payload::Full(octets);
        }
    }
    Ok(Reply { status, headers, body, source: Source::Upstream, stored: false, cache: None, upstream })
}

/// Ties the place among the integration's calls, and the breaker's late verdict, to the end of a
/// streamed body. A held body is at its end already.
pub(super) fn guard(
    fetch: &Fetch,
    mut reply: Reply,
    settled: Option<Settled>,
    place: BulkheadPermit,
) -> Reply {
    if let Payload::Stream(body) = reply.body {
        let services = Arc::clone(&fetch.services);
        let metrics = Arc::clone(&fetch.operation.metrics);
        let breaker_metrics = Arc::clone(&fetch.operation.breaker_metrics);
        let broke = move |error: &BodyError| {
            if let BodyError::TimedOut(kind) = error {
                metrics.timeout(kind.as_str());
            }
            if settled.is_some_and(|settled| settled.late_failure(services.now(), services.unit())) {
                breaker_metrics.breaker_failure();
            }
        };
        reply.body = Payload::Stream(Guarded { body, broke: Some(Box::new(broke)), _place: place }.boxed());
    }
    reply
}

type Broke = Box<dyn FnOnce(&BodyError) + Send + Sync>;

/// A streamed body whose break is one late failure of the call that began it.
struct Guarded {
    body: StreamBody,
    broke: Option<Broke>,
    _place: BulkheadPermit,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &frame
            && let Some(broke) = self.broke.take()
        {
            broke(error);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
