//! Bodies of guests, as the gateway can use them.
//!
//! WASI's are boxed so that only one thread may know of them; pipelines share what they hold. And WASI's end when their
//! guest is gone as if it had said so: whoever sends one on would take half of it for all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use wasmtime_wasi_http::WasiBody;

/// A body as the guest writes it, without trailers. It is an error when the guest did not end it.
pub struct GuestBody {
    /// Locked by nobody who could wait: it makes a body that can be shared of one that cannot.
    body: Mutex<WasiBody>,
    gone: Gone,
}

/// Whether the guest is gone, and nothing of it goes on.
#[derive(Clone, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

/// Says so when it is dropped, which must be before anything of the guest's is.
pub(crate) struct Present(Gone);

impl Gone {
    pub(crate) fn when_dropped(&self) -> Present {
        Present(self.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

impl GuestBody {
    /// `gone` says when an end is none.
    pub(super) fn new(body: WasiBody, gone: Gone) -> Self {
        Self { body: Mutex::new(body), gone }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let frame = ready!(Pin::new(self.body.get_mut()).poll_frame(context));
            return Poll::Ready(match frame {
                None if self.gone.0.load(Ordering::Acquire) => Some(Err(Broken)),
                // No limit of headers is kept there, and nobody has asked for them.
                Some(Ok(frame)) if frame.is_trailers() => continue,
                frame => frame.map(|frame| frame.map_err(|_| Broken)),
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().size_hint()
    }
}

/// A guest's body that ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the component's body broke off")]
pub struct Broken;

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn trailers_are_left_out() {
        let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"a\""))]);
        let body = Full::new(Bytes::from_static(b"octets")).map_err(|never| match never {});
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
        let whole = GuestBody::new(body, Gone::default()).collect().await.unwrap();
        assert_eq!(whole.trailers(), None);
        assert_eq!(whole.to_bytes(), "octets");
    }
}
