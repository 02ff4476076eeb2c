//! The least that a proxy on hyper can cost: beside it stand the figures of `benches/peers`.
//!
//! `POST` is answered at once and always the same, like a replay of which nothing is looked up;
//! anything else is sent on to the API, over connections that are kept, and its answer sent back.
//! Nothing is checked, limited, counted or written down. One thread; prints one line with its
//! addresses for HTTP/1.1 and HTTP/2 once it listens, on ports that the system has chosen. Its
//! argument is the address of the API.
//!
//! With the URL of a Redis after it, `POST` is sent on, too, between two scripts that Redis runs: one
//! that claims its key, and one that keeps its answer.
#![allow(clippy::print_stdout, reason = "the line on stdout is how the benchmark learns the ports")]

use std::cell::RefCell;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
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

/// What claims a key, and what keeps an answer under a key that is claimed.
const CLAIM: &str = "return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', 86400000)";
const KEEP: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                        return redis.call('SET', KEYS[1], ARGV[2], 'PX', 86400000) end";

/// A Redis, and what it runs.
#[derive(Clone)]
struct Shared {
    redis: MultiplexedConnection,
    /// The scripts' names.
    claim: Rc<str>,
    keep: Rc<str>,
}

#[derive(Clone)]
struct Floor {
    api: SocketAddr,
    shared: Option<Shared>,
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
    let all = async {
        let shared = match std::env::args().nth(2) {
            Some(url) => Some(Shared::connect(&url).await?),
            None => None,
        };
        let floor = Floor { api, shared, pool: Pool::default(), replay: vec![b'x'; 256].into() };
        tokio::try_join!(floor.accept(one, Version::Http1), floor.accept(two, Version::Http2))
    };
    LocalSet::new().run_until(all).await.map(drop)
}

async fn bind() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

impl Shared {
    async fn connect(url: &str) -> Result<Self, Failure> {
        let mut redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let load = |script| cmd("SCRIPT").arg("LOAD").arg(script).to_owned();
        let claim: String = load(CLAIM).query_async(&mut redis).await?;
        let keep: String = load(KEEP).query_async(&mut redis).await?;
        Ok(Self { redis, claim: claim.into(), keep: keep.into() })
    }
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
        if let Some(shared) = &self.shared {
            return self.run_once(shared, head, body).await;
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

    /// Sends a request on whose key is claimed before, and its answer back once that is kept.
    async fn run_once(&self, shared: &Shared, head: Parts, body: Bytes) -> Result<Answer, Failure> {
        let Shared { mut redis, claim, keep } = shared.clone();
        let key = head.headers.get("idempotency-key").ok_or("a key is missing")?.clone();
        let script = |name: &str| cmd("EVALSHA").arg(name).arg(1).arg(key.as_bytes()).to_owned();
        script(&claim).arg(&body[..]).query_async::<Value>(&mut redis).await?;
        let (answer, kept) =
            self.pass(head.method, &head.uri, head.headers, body.clone()).await?.into_parts();
        let kept = kept.collect().await?.to_bytes();
        script(&keep).arg(&body[..]).arg(&kept[..]).query_async::<Value>(&mut redis).await?;
        Ok(Response::from_parts(answer, Either::Right(Full::new(kept))))
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
