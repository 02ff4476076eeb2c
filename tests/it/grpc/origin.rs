//! A gRPC server on loopback that does with each call what its test wants, and counts the calls.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{message, take_message};
use crate::support::within;

/// A gRPC server.
pub(super) struct Grpc {
    pub(super) addr: SocketAddr,
    ledger: Arc<Ledger>,
    accepting: JoinHandle<()>,
}

/// What a server was called.
struct Ledger {
    calls: Mutex<HashMap<String, Vec<HeaderMap>>>,
    changed: watch::Sender<usize>,
}

/// One call as the server has it.
pub(super) struct Call {
    pub(super) path: String,
    /// How often this path has been called now, from 1.
    pub(super) number: usize,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    came: Vec<u8>,
}

impl Grpc {
    /// Starts a server that lets `script` answer each call.
    pub(super) async fn start<F>(script: impl Fn(Call) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let ledger = Arc::new(Ledger { calls: Mutex::default(), changed: watch::channel(0).0 });
        let shared = Arc::clone(&ledger);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), script.clone()));
            }
        });
        Self { addr, ledger, accepting }
    }

    /// A server whose calls each answer one message with their number.
    pub(super) async fn counting() -> Self {
        Self::start(async |mut call: Call| {
            call.rest().await;
            let reply = format!("reply {}", call.number);
            call.answer(&reply, "0");
        })
        .await
    }

    /// How often a path was called.
    pub(super) fn calls(&self, path: &str) -> usize {
        self.ledger.calls.lock().expect("the ledger").get(path).map_or(0, Vec::len)
    }

    /// The metadata of the last call of a path.
    pub(super) fn last(&self, path: &str) -> HeaderMap {
        let calls = self.ledger.calls.lock().expect("the ledger");
        calls.get(path).and_then(|calls| calls.last()).expect("it was called").clone()
    }

    /// Waits until a path was called so often.
    pub(super) async fn wait_for_calls(&self, path: &str, count: usize) {
        let mut changed = self.ledger.changed.subscribe();
        within(&format!("{count} calls of {path}"), async {
            while self.calls(path) < count {
                changed.changed().await.expect("the server is there");
            }
        })
        .await;
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<F>(stream: TcpStream, ledger: Arc<Ledger>, script: impl Fn(Call) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(script(Call::new(request, respond, &ledger)));
    }
}

impl Call {
    fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>, ledger: &Ledger) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let number = {
            let mut calls = ledger.calls.lock().expect("the ledger");
            let calls = calls.entry(path.clone()).or_default();
            calls.push(parts.headers);
            calls.len()
        };
        ledger.changed.send_modify(|changes| *changes += 1);
        Self { path, number, body, respond, came: Vec::new() }
    }

    /// The next message; nothing at the end.
    pub(super) async fn message(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = take_message(&mut self.came) {
                return Some(message);
            }
            let piece = self.body.data().await?.ok()?;
            self.body.flow_control().release_capacity(piece.len()).expect("what has come");
            self.came.extend_from_slice(&piece);
        }
    }

    /// All messages that are still to come.
    pub(super) async fn rest(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        messages
    }

    /// Begins to answer.
    pub(super) fn begin(&mut self) -> Answering {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header("x-initial", self.number.to_string())
            .header("x-bytes", &b"\xff\xfe"[..]);
        let response = response.body(()).expect("a response");
        Answering(self.respond.send_response(response, false).expect("the caller is there"))
    }

    /// Answers one message and this code.
    pub(super) fn answer(&mut self, payload: &str, code: &str) {
        let mut answering = self.begin();
        answering.message(payload);
        answering.end(code);
    }

    /// Answers a header that is also the trailers, with these lines.
    pub(super) fn header_alone(&mut self, status: u16, lines: &[(&str, &str)]) {
        let mut response = Response::builder().status(status);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        let response = response.body(()).expect("a response");
        self.respond.send_response(response, true).expect("the caller is there");
    }
}

/// An answer that has begun.
pub(super) struct Answering(SendStream<Bytes>);

impl Answering {
    pub(super) fn message(&mut self, payload: &str) {
        self.bytes(message(payload));
    }

    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        self.0.send_data(bytes.into(), false).expect("the caller is there");
    }

    /// Ends with this code.
    pub(super) fn end(self, code: &str) {
        self.end_with(&[
            ("grpc-status", code.as_bytes()),
            ("grpc-message", b"a%20message"),
            ("x-trailing", b"1"),
            ("x-trailing", b"2"),
            ("x-trailing-bytes", b"\xfe\xff"),
        ]);
    }

    pub(super) fn end_with(mut self, lines: &[(&'static str, &[u8])]) {
        let mut trailers = HeaderMap::new();
        for (name, value) in lines {
            trailers.append(*name, value.to_vec().try_into().expect("a value"));
        }
        self.0.send_trailers(trailers).expect("the caller is there");
    }

    /// Ends without trailers.
    pub(super) fn end_bare(mut self) {
        self.0.send_data(Bytes::new(), true).expect("the caller is there");
    }

    pub(super) fn reset(mut self, reason: Reason) {
        self.0.send_reset(reason);
    }

    /// Waits until the caller has reset the stream.
    pub(super) async fn is_reset(&mut self) -> Reason {
        let reset = std::future::poll_fn(|cx| self.0.poll_reset(cx));
        within("a reset", reset).await.expect("a connection")
    }
}
