//! The provider of the benchmark: answers every request with a body of the size that its path names
//! (`/1024`), as fast as hyper can, on one thread.

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, env, error::Error};
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9101".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let body = body.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                    let size = request.uri().path().rsplit('/').next().and_then(|size| size.parse().ok());
                    let octets = body.slice(..size.unwrap_or(1024usize).min(body.len()));
                    async move {
                        let mut response = Response::new(Full::new(octets));
                        let kind = http::HeaderValue::from_static("application/octet-stream");
                        response.headers_mut().insert(CONTENT_TYPE, kind);
                        Ok::<_, Infallible>(response)
                    }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
