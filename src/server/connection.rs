//! Serves one connection.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::activity::{Activity, Order, Serving};
use super::interim::Interim;
use super::socket::Socket;
use super::{Caller, Peer, ServerLimits, Service};

/// The least size of a buffer that hyper takes.
const BUFFER_BYTES_MIN: usize = 8192;

/// Serves a connection until it ends.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    activity: Arc<Activity>,
    peer: Peer,
    service: Arc<S>,
    limits: &ServerLimits,
) {
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
    let busy = Arc::clone(&activity);
    let answer = service_fn(move |request| {
        let serving = busy.serve();
        let caller = Caller { peer: peer.clone(), interim: Interim::new(&busy) };
        let (service, busy) = (Arc::clone(&service), Arc::clone(&busy));
        async move {
            let response = service.call(request, &caller).await;
            busy.begin_answer();
            Ok::<_, Infallible>(response.map(|body| Answering { body, _serving: serving }))
        }
    });
    let connection = http1::Builder::new()
        .half_close(true)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN).saturating_mul(2))
        .serve_connection(socket, answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            order = activity.order() => match order {
                // Polling the connection asks the socket.
                Order::Probe => {}
                Order::Finish => connection.as_mut().graceful_shutdown(),
                Order::Close => return,
            }
        }
    }
}

/// The body of an answer: the connection is busy until it is dropped.
struct Answering<B> {
    body: B,
    _serving: Serving,
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
