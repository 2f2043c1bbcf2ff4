//! Bodies and requests with few words.

use std::io::{self, Read, Write};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream};

/// A body that is being received. Fields are dropped in this order, as the standard demands.
pub(crate) struct Received {
    stream: InputStream,
    _body: IncomingBody,
}

impl Received {
    fn of(body: IncomingBody) -> Option<Self> {
        Some(Self { stream: body.stream().ok()?, _body: body })
    }
}

impl Read for Received {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.stream, into)
    }
}

/// A body that is being sent.
pub(crate) struct Sent {
    stream: OutputStream,
    body: OutgoingBody,
}

impl Sent {
    fn of(body: OutgoingBody) -> Option<Self> {
        Some(Self { stream: body.write().ok()?, body })
    }

    /// Says that this was all of it.
    pub(crate) fn end(self) -> Result<(), ErrorCode> {
        let Self { stream, body } = self;
        let _ = stream.blocking_flush();
        drop(stream);
        OutgoingBody::finish(body, None)
    }
}

impl Write for Sent {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match Write::write(&mut self.stream, octets)? {
            // The crate says so when nobody listens any more.
            0 if !octets.is_empty() => Err(io::ErrorKind::BrokenPipe.into()),
            written => Ok(written),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.stream)
    }
}

/// The body of a request.
pub(crate) fn body_of(request: &IncomingRequest) -> Option<Received> {
    Received::of(request.consume().ok()?)
}

/// Begins the answer; its body is still to be written.
pub(crate) fn respond(out: ResponseOutparam, status: u16, fields: Fields) -> Option<Sent> {
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(status);
    let body = response.body().ok()?;
    ResponseOutparam::set(out, Ok(response));
    Sent::of(body)
}

/// What came back of a request of the guest's own.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) octets: Vec<u8>,
}

/// Begins a POST and its body; nothing waits for an answer.
pub(crate) fn begin(url: &str) -> Option<(FutureIncomingResponse, Sent)> {
    let request = to(&Method::Post, url);
    let body = request.body().ok().and_then(Sent::of)?;
    Some((outgoing_handler::handle(request, None).ok()?, body))
}

fn to(method: &Method, url: &str) -> OutgoingRequest {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fields = Fields::new();
    let _ = fields.append("x-from-guest", b"yes");
    let request = OutgoingRequest::new(fields);
    let _ = request.set_method(method);
    let _ = request.set_scheme(Some(if scheme == "https" { &Scheme::Https } else { &Scheme::Http }));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    request
}

/// Sends a request and waits for the whole answer.
pub(crate) fn call(method: &Method, url: &str, body: Option<Received>) -> Result<Answer, ErrorCode> {
    let request = to(method, url);
    let to = body.is_some().then(|| request.body().ok().and_then(Sent::of)).flatten();
    let coming = outgoing_handler::handle(request, None)?;
    if let (Some(mut body), Some(mut to)) = (body, to) {
        let _ = io::copy(&mut body, &mut to);
        to.end()?;
    }
    coming.subscribe().block();
    let response = coming
        .get()
        .ok_or(ErrorCode::InternalError(None))?
        .map_err(|()| ErrorCode::InternalError(None))??;
    let mut octets = Vec::new();
    if let Some(mut body) = response.consume().ok().and_then(Received::of) {
        body.read_to_end(&mut octets).map_err(|_| ErrorCode::HttpResponseIncomplete)?;
    }
    Ok(Answer { status: response.status(), octets })
}

/// Writes a line to one of the console's streams.
pub(crate) fn say(stream: &OutputStream, line: &str) {
    let _ = stream.blocking_write_and_flush(line.as_bytes());
}
