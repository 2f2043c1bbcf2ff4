//! The limit of the benchmark: a proxy that does nothing but pass requests on, made of the same parts
//! as Bascule (hyper, tokio), on one thread. What it costs, every gateway of these parts costs. Below `/cached/`
//! it answers from memory, and so is the limit of a cache, too.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::Incoming, client::conn::http1 as client, server::conn::http1 as server, service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, collections::HashMap, env, error::Error, rc::Rc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};

type Sender = client::SendRequest<Incoming>;
type Problem = Box<dyn Error + Send + Sync>;
type Kept = Rc<RefCell<HashMap<Uri, Response<Full<Bytes>>>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:9102".into());
    let upstream = args.next().unwrap_or_else(|| "127.0.0.1:9101".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        let idle: Rc<RefCell<Vec<Sender>>> = Rc::default();
        let kept = Kept::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (idle, kept, upstream) = (Rc::clone(&idle), Rc::clone(&kept), upstream.clone());
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| {
                    answer(request, Rc::clone(&kept), Rc::clone(&idle), upstream.clone())
                });
                let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    kept: Kept,
    idle: Rc<RefCell<Vec<Sender>>>,
    upstream: String,
) -> Result<Response<Either<Incoming, Full<Bytes>>>, Problem> {
    if !request.uri().path().starts_with("/cached/") {
        return Ok(pass_on(request, idle, upstream).await?.map(Either::Left));
    }
    let uri = request.uri().clone();
    if let Some(known) = kept.borrow().get(&uri) {
        return Ok(known.clone().map(Either::Right));
    }
    let (head, body) = pass_on(request, idle, upstream).await?.into_parts();
    let whole = Response::from_parts(head, Full::new(body.collect().await?.to_bytes()));
    kept.borrow_mut().insert(uri, whole.clone());
    Ok(whole.map(Either::Right))
}

async fn pass_on(
    mut request: Request<Incoming>,
    idle: Rc<RefCell<Vec<Sender>>>,
    upstream: String,
) -> Result<Response<Incoming>, Problem> {
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
