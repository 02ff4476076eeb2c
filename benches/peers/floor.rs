//! The least that a proxy on hyper can cost: beside it stand the figures of `benches/peers`.
//!
//! `POST` is answered at once and always the same, like a replay of which nothing is looked up;
//! anything else is sent on to the API, over connections that are kept, and its answer sent back.
//! Nothing is checked, limited, counted or written down. One thread; prints one line with its
//! addresses for HTTP/1.1 and HTTP/2 once it listens, on ports that the system has chosen. Its one
//! argument is the address of the API.
#![allow(clippy::print_stdout, reason = "the line on stdout is how the benchmark learns the ports")]

use std::cell::RefCell;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Connections to the API that nobody uses.
type Pool = Rc<RefCell<Vec<SendRequest<Full<Bytes>>>>>;

type Failure = Box<dyn Error + Send + Sync>;
type Answer = Response<Either<Full<Bytes>, Full<Bytes>>>;

#[derive(Clone, Copy)]
enum Version {
    Http1,
    Http2,
}

#[derive(Clone)]
struct Floor {
    api: SocketAddr,
    pool: Pool,
    replay: Bytes,
}

/// Runs the streams of HTTP/2 on this thread.
#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, stream: F) {
        spawn_local(stream);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let api = std::env::args().nth(1).ok_or("the address of the API is missing")?.parse()?;
    let (one, two) = (bind().await?, bind().await?);
    println!("ready listen={} http2={}", one.local_addr()?, two.local_addr()?);
    let floor = Floor { api, pool: Pool::default(), replay: vec![b'x'; 256].into() };
    let all = async {
        tokio::try_join!(floor.accept(one, Version::Http1), floor.accept(two, Version::Http2))
    };
    LocalSet::new().run_until(all).await.map(drop)
}

async fn bind() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

impl Floor {
    async fn accept(&self, listener: TcpListener, version: Version) -> Result<(), Failure> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let floor = self.clone();
            spawn_local(async move {
                let service = service_fn(|request| {
                    let floor = floor.clone();
                    // Starting a stream of HTTP/2 moves this several times.
                    Box::pin(async move { floor.answer(request).await })
                });
                let stream = TokioIo::new(stream);
                // A caller may close its connection at any time; that is no fault of ours.
                let _ = match version {
                    Version::Http1 => http1::Builder::new().serve_connection(stream, service).await,
                    Version::Http2 => {
                        http2::Builder::new(Here).serve_connection(stream, service).await
                    }
                };
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        if head.method != Method::POST {
            return self.pass(head.method, &head.uri, head.headers, body).await;
        }
        let mut response = Response::new(Either::Left(Full::new(self.replay.clone())));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(AGE, HeaderValue::from_static("3"));
        headers.insert("duplicate-request", HeaderValue::from_static("true"));
        let key = HeaderValue::from_static("0123456789abcdef0123456789abcdef");
        headers.insert("duplicate-key", key);
        Ok(response)
    }

    async fn pass(
        &self,
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        headers.insert(HOST, HeaderValue::from_static("api"));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse()?);
        *request.headers_mut() = headers;
        let kept = self.pool.borrow_mut().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.pool.borrow_mut().push(connection);
        Ok(Response::from_parts(head, Either::Right(Full::new(body))))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.api).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}
