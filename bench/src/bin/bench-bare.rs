//! The limit of the benchmark: a proxy that does nothing but pass requests on, made of the same parts
//! as Bascule (hyper, tokio), on one thread. What it costs, every gateway of these parts costs.

use http::{Request, Response, Uri};
use hyper::{
    body::Incoming, client::conn::http1 as client, server::conn::http1 as server, service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, env, error::Error, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

type Sender = client::SendRequest<Incoming>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:9102".into());
    let upstream = args.next().unwrap_or_else(|| "127.0.0.1:9101".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        let idle: Rc<RefCell<Vec<Sender>>> = Rc::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (idle, upstream) = (Rc::clone(&idle), upstream.clone());
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| pass_on(request, Rc::clone(&idle), upstream.clone()));
                let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn pass_on(
    mut request: Request<Incoming>,
    idle: Rc<RefCell<Vec<Sender>>>,
    upstream: String,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>()?;
    let mut kept = idle.borrow_mut().pop();
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut sender = match kept {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(upstream).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
            tokio::task::spawn_local(connection);
            sender
        }
    };
    let response = sender.send_request(request).await?;
    // The connection is ready again when the body has been read; whoever takes it next waits for that.
    idle.borrow_mut().push(sender);
    Ok(response)
}
