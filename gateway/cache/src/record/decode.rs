//! From octets to what is stored. The order of the fields is that of `encode`.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{AHEAD_MAX, Contents, ENTRY, Kept, RecordError, VARIANTS, VERSION, wire::Reader};
use crate::{
    entry::Entry,
    rfc9111::{Selecting, Storable, Terms},
    scope::Scope,
    tags::{TAGS_MAX, Tags},
    variant::{Reply, Variant},
};

/// What all answers of a record have in common.
struct Context<'a> {
    scope: &'a Scope,
    now: Instant,
    /// How long ago it was written.
    since: Duration,
}

pub(super) fn kept(
    octets: &[u8],
    scope: &Scope,
    now: Instant,
    wall: SystemTime,
) -> Result<Kept, RecordError> {
    let mut from = Reader::new(octets);
    let version = from.byte()?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let since = elapsed(time(&mut from)?, wall)?;
    let names = (from.octets()?, from.octets()?);
    if names != (scope.integration().as_bytes(), scope.operation().as_bytes()) {
        return Err(RecordError::OtherScope);
    }
    let ctx = Context { scope, now, since };
    let contents = match from.byte()? {
        ENTRY => entry(&mut from, &ctx)?,
        VARIANTS => {
            let count = from.long()?;
            if count == 0 {
                return Err(RecordError::Malformed);
            }
            let one = |_| variant(&mut from, &ctx).map(Arc::new);
            Contents::Variants((0..count).map(one).collect::<Result<_, _>>()?)
        }
        _ => return Err(RecordError::Malformed),
    };
    from.end()?;
    Ok(Kept::new(scope.clone(), contents))
}

/// How long ago it was written: nothing, if the clock has gone back since.
fn elapsed(written: SystemTime, wall: SystemTime) -> Result<Duration, RecordError> {
    match wall.duration_since(written) {
        Ok(since) => Ok(since),
        Err(ahead) if ahead.duration() <= AHEAD_MAX => Ok(Duration::ZERO),
        Err(_) => Err(RecordError::Future),
    }
}

fn entry(from: &mut Reader<'_>, ctx: &Context<'_>) -> Result<Contents, RecordError> {
    let (status, headers, body) = reply(from)?;
    let entry = Entry {
        status,
        headers,
        body,
        stored_at: ctx.now,
        age_at_store: from.span()?.saturating_add(ctx.since),
        ttl: from.span()?,
        stale_while_revalidate: from.span()?,
        keep_stale: from.span()?,
        scope: ctx.scope.clone(),
    };
    Ok(Contents::Entry(Arc::new(entry), tags(from)?))
}

fn variant(from: &mut Reader<'_>, ctx: &Context<'_>) -> Result<Variant, RecordError> {
    let (status, headers, body) = reply(from)?;
    let own_head = if from.flag()? { Some(head(from)?) } else { None };
    let terms = Terms {
        initial_age: from.span()?.saturating_add(ctx.since),
        lifetime: from.span()?,
        heuristic: from.flag()?,
        stale_while_revalidate: from.span()?,
        stale_if_error: from.span()?,
        keep_stale: from.span()?,
        validate_within: from.span()?,
        never_stale: from.flag()?,
    };
    let selecting = selecting(from)?;
    let made_on = time(from)?;
    let ((status, headers), reply) = match own_head {
        None => ((status, headers), Reply::AsReceived(body)),
        Some(head) => (head, Reply::Mapped { status, headers, body }),
    };
    let storable = Storable { terms, selecting, status, headers, received_at: ctx.now, made_on };
    Ok(Variant::compact(storable, reply, ctx.scope.clone(), tags(from)?))
}

fn reply(from: &mut Reader<'_>) -> Result<(StatusCode, HeaderMap, Bytes), RecordError> {
    let (status, headers) = head(from)?;
    Ok((status, headers, Bytes::copy_from_slice(from.octets()?)))
}

fn head(from: &mut Reader<'_>) -> Result<(StatusCode, HeaderMap), RecordError> {
    let status = StatusCode::from_u16(from.short()?).map_err(|_| RecordError::Malformed)?;
    let mut headers = HeaderMap::new();
    for _ in 0..from.long()? {
        let name = name(from)?;
        let mut value = HeaderValue::from_bytes(from.octets()?).map_err(|_| RecordError::Malformed)?;
        value.set_sensitive(from.flag()?);
        // A map has a largest size, beyond which `append` would panic.
        headers.try_append(name, value).map_err(|_| RecordError::Malformed)?;
    }
    Ok((status, headers))
}

fn name(from: &mut Reader<'_>) -> Result<HeaderName, RecordError> {
    HeaderName::from_bytes(from.octets()?).map_err(|_| RecordError::Malformed)
}

fn selecting(from: &mut Reader<'_>) -> Result<Selecting, RecordError> {
    let mut fields = Vec::new();
    for _ in 0..from.long()? {
        let name = name(from)?;
        let value = if from.flag()? { Some(from.octets()?.into()) } else { None };
        fields.push((name, value));
    }
    Selecting::of_fields(fields).ok_or(RecordError::Malformed)
}

fn tags(from: &mut Reader<'_>) -> Result<Tags, RecordError> {
    let count = from.long()?;
    if count > TAGS_MAX as u64 {
        return Err(RecordError::Malformed);
    }
    let numbers = (0..count).map(|_| from.short()).collect::<Result<_, _>>()?;
    Tags::of_numbers(numbers).ok_or(RecordError::Malformed)
}

fn time(from: &mut Reader<'_>) -> Result<SystemTime, RecordError> {
    SystemTime::UNIX_EPOCH.checked_add(from.span()?).ok_or(RecordError::Malformed)
}
