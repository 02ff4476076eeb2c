//! A third reader of what the upstream was sent: a server that many use.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The method, the target and the body of each request on a connection.
pub async fn requests(bytes: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let (near, mut far) = tokio::io::duplex(bytes.len().max(1));
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes().to_vec();
            let request = (head.method.to_string(), head.uri.to_string(), body);
            seen.lock().expect("requests").push(request);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let server = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(near), service);
    let caller = async {
        far.write_all(bytes).await.expect("room");
        far.shutdown().await.expect("an end");
        let mut answers = Vec::new();
        far.read_to_end(&mut answers).await.expect("answers");
    };
    let (end, ()) = tokio::join!(server, caller);
    end.expect("requests that this server takes");
    std::mem::take(&mut *seen.lock().expect("requests"))
}
