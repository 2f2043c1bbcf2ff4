//! Bodies of guests, as the gateway can use them.
//!
//! WASI's are boxed so that only one thread may know of them; pipelines share what they hold.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use wasmtime_wasi_http::WasiBody;

/// A body as the guest writes it. It is an error when the guest did not end it.
pub struct GuestBody(Mutex<WasiBody>);

impl GuestBody {
    pub(super) fn new(body: WasiBody) -> Self {
        Self(Mutex::new(body))
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = Pin::new(self.0.get_mut()).poll_frame(context);
        frame.map(|frame| frame.map(|frame| frame.map_err(|_| Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

/// A guest's body that ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the component's body broke off")]
pub struct Broken;
