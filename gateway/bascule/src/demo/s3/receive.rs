//! Takes in a request's body: streamed, hashed on the way, bounded, and compared with what was signed.

use super::{
    fault::Fault,
    objects::{Chunks, Objects, Writer},
    sigv4::{Payload, hex},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

/// The largest object: two of them still fit into the store.
const OBJECT_MAX_BYTES: u64 = 24 * 1024 * 1024;
/// How much of a refused body is read and thrown away before the connection is given up.
const DRAIN_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The whole body, once its hash is what `payload` says.
pub(super) async fn receive(
    body: &mut Incoming,
    payload: &Payload,
    objects: &Objects,
) -> Result<Chunks, Fault> {
    // What announces itself as too large need not be read first.
    if body.size_hint().lower() > OBJECT_MAX_BYTES {
        return Err(Fault::EntityTooLarge);
    }
    let mut writer = Writer::new(objects.budget());
    while let Some(octets) = next(body).await? {
        if writer.len() + octets.len() as u64 > OBJECT_MAX_BYTES {
            return Err(Fault::EntityTooLarge);
        }
        if !writer.push(&octets) {
            return Err(Fault::SlowDown);
        }
    }
    let chunks = writer.finish();
    check(payload, chunks.sha256())?;
    Ok(chunks)
}

/// For requests that have no body to keep.
pub(super) async fn expect_no_body(body: &mut Incoming, payload: &Payload) -> Result<(), Fault> {
    if next(body).await?.is_some() {
        return Err(Fault::InvalidArgument("a body makes no sense here"));
    }
    check(payload, aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[]).as_ref())
}

/// Throws away the rest of a body, up to a bound.
pub(super) async fn drain(body: &mut Incoming) {
    let mut seen = 0;
    while let Ok(Some(octets)) = next(body).await {
        seen += octets.len();
        if seen > DRAIN_MAX_BYTES {
            return;
        }
    }
}

/// The next octets; none at the end. Trailers are passed over.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::IncompleteBody)?;
        match frame.into_data() {
            Ok(octets) if !octets.is_empty() => return Ok(Some(octets)),
            _ => {}
        }
    }
    Ok(None)
}

fn check(payload: &Payload, sha256: &[u8]) -> Result<(), Fault> {
    match payload {
        Payload::Hash(signed) if *signed != hex(sha256) => Err(Fault::XAmzContentSha256Mismatch),
        _ => Ok(()),
    }
}
