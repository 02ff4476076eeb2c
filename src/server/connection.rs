//! Serves one connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::activity::{Activity, Order};
use super::answering::Answering;
use super::entrance::{Entered, Entrance, Version};
use super::interim::Interim;
use super::places::Place;
use super::socket::Socket;
use super::streams::{Streams, Turn};
use super::{Caller, Load, Peer, ServerLimits, Service};
use crate::transport::Stream;

/// The least size of a buffer that hyper takes.
const BUFFER_BYTES_MIN: usize = 8192;

/// The most bytes of an answer that a stream takes before its peer has room for them.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What a connection is served with.
pub(super) struct Serve<S> {
    pub(super) activity: Arc<Activity>,
    pub(super) service: Arc<S>,
    pub(super) limits: ServerLimits,
    pub(super) entrance: Arc<Entrance>,
    /// Handshakes that run.
    pub(super) handshakes: super::places::Places,
    pub(super) metrics: Arc<crate::telemetry::Metrics>,
}

impl<S: Service> Serve<S> {
    /// Serves a connection until it ends.
    pub(super) async fn serve(self, stream: Stream, address: Option<SocketAddr>) {
        let entering = self.enter(stream, address);
        let Entered { wire, peer, version } = tokio::select! {
            biased;
            entered = entering => match entered {
                Some(entered) => entered,
                None => return,
            },
            // Whoever has asked nothing is not waited for.
            () = self.told_to_end() => return,
        };
        match version {
            Version::Http1 => {
                let wire = TokioIo::new(wire.with_interims(Arc::clone(&self.activity)));
                self.serve_http1(wire, &peer).await;
            }
            Version::Http2 => {
                self.activity.multiplexes();
                self.serve_http2(TokioIo::new(wire), &peer).await;
            }
        }
    }

    async fn enter(&self, stream: Stream, address: Option<SocketAddr>) -> Option<Entered> {
        let socket = Socket::new(stream, Arc::clone(&self.activity));
        let entered = self.entrance.enter(socket, address, async || self.handshake());
        let limit = self.limits.handshake_timeout;
        let entered = match self.entrance.tls {
            // Its header has a deadline of its own.
            None => entered.await,
            Some(_) => match tokio::time::timeout(limit, entered).await {
                Ok(entered) => entered,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            },
        };
        entered.unwrap_or_else(|error| {
            self.metrics.connections_failed.increment();
            tracing::debug!(%error, "a connection did not come to a first request");
            None
        })
    }

    fn handshake(&self) -> io::Result<Place> {
        let place = self.handshakes.take();
        place.ok_or_else(|| io::Error::other("too many handshakes run"))
    }

    async fn told_to_end(&self) {
        while self.activity.order().await == Order::Probe {}
    }

    async fn serve_http1(&self, wire: TokioIo<super::wire::Wire>, peer: &Arc<Peer>) {
        let limits = &self.limits;
        let load = Load::new(limits.streams_max);
        let answer = service_fn(|request| self.answer(request, peer, &load, None));
        let connection = http1::Builder::new()
            .half_close(true)
            .max_headers(limits.headers_max)
            .max_header_size(limits.header_bytes_max)
            .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN).saturating_mul(2))
            .serve_connection(wire, answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return report(ended),
                order = self.activity.order() => match order {
                    // Polling the connection asks the socket.
                    Order::Probe => {}
                    Order::Finish => connection.as_mut().graceful_shutdown(),
                    Order::Close if self.activity.has_come_to_life() => {
                        connection.as_mut().graceful_shutdown();
                    }
                    Order::Close => return,
                }
            }
        }
    }

    async fn serve_http2(&self, wire: TokioIo<super::wire::Wire>, peer: &Arc<Peer>) {
        let limits = &self.limits;
        let load = Load::new(limits.streams_max);
        let streams = Streams::new(limits.write_timeout);
        // Boxed, since starting a stream moves what it is given several times.
        let answer = service_fn(|request| {
            Box::pin(self.answer(request, peer, &load, Some(streams.begin())))
        });
        let narrow = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(narrow(limits.streams_max))
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_header_list_size(narrow(limits.header_bytes_max))
            .max_pending_accept_reset_streams(limits.pending_resets_max)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_timeout)
            .serve_connection(wire, answer);
        let mut connection = pin!(connection);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return report(ended),
                order = self.activity.order() => match order {
                    Order::Probe => {}
                    Order::Finish => connection.as_mut().graceful_shutdown(),
                    Order::Close if self.activity.has_come_to_life() => {
                        connection.as_mut().graceful_shutdown();
                    }
                    Order::Close => return,
                }
            }
        }
    }

    /// Answers a request; the connection is busy from now on until its answer has gone.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Arc<Peer>,
        load: &Load,
        turn: Option<Arc<Turn>>,
    ) -> impl Future<Output = Result<Response<Answering<S::Body>>, Infallible>> + Send + use<S>
    {
        let serving = self.activity.serve();
        let interim = Interim::new(&self.activity);
        let caller = Caller { peer: Arc::clone(peer), interim, load: load.clone() };
        let (service, activity) = (Arc::clone(&self.service), Arc::clone(&self.activity));
        async move {
            let version = request.version();
            let mut response = service.call(request, &caller).await;
            activity.begin_answer();
            if activity.is_leaving() && is_followed(version, &response) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response.map(|body| Answering::new(body, turn, serving)))
        }
    }
}

/// Whether another request may follow an answer on its connection, which is not to be.
fn is_followed<B>(version: http::Version, response: &Response<B>) -> bool {
    version != http::Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS
}

fn report(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
