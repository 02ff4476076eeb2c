//! The API behind the proxies of `benches/peers`: answers as fast as it can and counts what it ran.
//!
//! Any request is one execution, whatever its method and path, and gets 200 with a JSON body of 256
//! bytes that carries the number of the execution. `GET /count` is the exception: it tells how many
//! executions there have been and how many body bytes they brought. Prints one line with its
//! address once it listens, on a port that the system has chosen.
#![allow(clippy::print_stdout, reason = "the line on stdout is how the benchmark learns the port")]

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

const ANSWER_BYTES: usize = 256;

/// What has reached the end of a request's body.
#[derive(Default)]
struct Counts {
    executions: Cell<u64>,
    body_bytes: Cell<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("ready listen={}", listener.local_addr()?);
    LocalSet::new().run_until(accept(listener)).await
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    let counts = Rc::new(Counts::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let counts = Rc::clone(&counts);
        spawn_local(async move {
            let service = service_fn(|request| answer(request, &counts));
            // A proxy may close its connection at any time; that is no fault of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    counts: &Counts,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.method() == Method::GET && request.uri().path() == "/count" {
        let text = format!("{} {}\n", counts.executions.get(), counts.body_bytes.get());
        return Ok(Response::new(Full::from(text)));
    }

    let mut body = request.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    counts.body_bytes.set(counts.body_bytes.get() + length as u64);
    counts.executions.set(counts.executions.get() + 1);

    let mut response = Response::new(Full::from(charge(counts.executions.get())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A body of the same length for every execution, and of other content.
fn charge(execution: u64) -> String {
    let start = format!(
        r#"{{"id":"ch_{execution:012}","object":"charge","amount":1200,"currency":"eur","note":""#
    );
    format!("{start:x<width$}\"}}", width = ANSWER_BYTES - 2)
}
