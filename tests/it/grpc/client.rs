//! A gRPC client, by hand, so that a test says when each frame goes.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::request::Builder;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;

use super::{message, take_message};
use crate::support::{Proxy, within};

/// A connection of a gRPC client's.
#[derive(Clone)]
pub(super) struct Client {
    sender: SendRequest<Bytes>,
    addr: SocketAddr,
}

impl Client {
    pub(super) async fn to(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.addr()).await.expect("connecting to the proxy");
        stream.set_nodelay(true).expect("setting TCP_NODELAY");
        let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(connection);
        Self { sender, addr: proxy.addr() }
    }

    /// A call of this path.
    pub(super) fn call(&self, path: &str) -> Calling {
        let request = Request::post(format!("http://{}{path}", self.addr))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "grpc-by-hand/1.0");
        Calling { client: self.clone(), request }
    }
}

/// A call that is yet to be made.
pub(super) struct Calling {
    client: Client,
    request: Builder,
}

impl Calling {
    pub(super) fn key(self, key: &str) -> Self {
        self.field("idempotency-key", key)
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        if name == "content-type" {
            self.request.headers_mut().expect("a request").remove(name);
        }
        self.request = self.request.header(name, value);
        self
    }

    /// Sends the header.
    pub(super) async fn open(self) -> Open {
        let sender = within("room for a stream", self.client.sender.ready()).await;
        let request = self.request.body(()).expect("a request");
        let sent = sender.expect("a connection").send_request(request, false);
        let (response, stream) = sent.expect("the proxy takes it");
        Open { stream, response }
    }

    /// Sends one message and the end.
    pub(super) async fn send(self, payload: &str) -> Answer {
        self.send_bytes(message(payload)).await
    }

    /// Sends these bytes and the end.
    pub(super) async fn send_bytes(self, bytes: Vec<u8>) -> Answer {
        let mut open = self.open().await;
        open.stream.send_data(bytes.into(), true).expect("the proxy takes it");
        open.answer().await
    }
}

/// A call of which the header was sent.
pub(super) struct Open {
    pub(super) stream: SendStream<Bytes>,
    response: ResponseFuture,
}

impl Open {
    pub(super) fn message(&mut self, payload: &str) {
        self.bytes(&message(payload));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.stream.send_data(bytes, false).expect("the proxy takes it");
    }

    pub(super) fn end(&mut self) {
        self.stream.send_data(Bytes::new(), true).expect("the proxy takes it");
    }

    pub(super) fn reset(mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// The answer, which must begin.
    pub(super) async fn begun(self) -> (Begun, SendStream<Bytes>) {
        let response = within("the header of an answer", self.response).await;
        let (parts, body) = response.expect("an answer").into_parts();
        let begun =
            Begun { status: parts.status.as_u16(), headers: parts.headers, body, came: Vec::new() };
        (begun, self.stream)
    }

    /// The answer, to its end.
    pub(super) async fn answer(self) -> Answer {
        // Whoever drops the rest of a call takes it back.
        let (begun, _stream) = self.begun().await;
        begun.whole().await
    }
}

/// An answer of which the header has come.
pub(super) struct Begun {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: RecvStream,
    came: Vec<u8>,
}

impl Begun {
    /// The next message, which must come.
    pub(super) async fn message(&mut self) -> Vec<u8> {
        within("a message", async {
            loop {
                if let Some(message) = take_message(&mut self.came) {
                    return message;
                }
                let piece = self.body.data().await.expect("a message").expect("no reset");
                self.take(&piece);
            }
        })
        .await
    }

    fn take(&mut self, piece: &Bytes) {
        self.body.flow_control().release_capacity(piece.len()).expect("what has come");
        self.came.extend_from_slice(piece);
    }

    pub(super) async fn whole(mut self) -> Answer {
        let is_header_alone = self.body.is_end_stream();
        let mut reset = None;
        while let Some(piece) = within("the end of an answer", self.body.data()).await {
            match piece {
                Ok(piece) => self.take(&piece),
                Err(error) => reset = error.reason().or(Some(Reason::INTERNAL_ERROR)),
            }
            if reset.is_some() {
                break;
            }
        }
        let trailers = match reset {
            None => within("trailers", self.body.trailers()).await,
            Some(_) => Ok(None),
        };
        if let Err(error) = &trailers {
            reset = error.reason();
        }
        let Self { status, headers, came: mut left, .. } = self;
        let messages = std::iter::from_fn(|| take_message(&mut left)).collect();
        let trailers = trailers.ok().flatten();
        Answer { status, headers, messages, left, trailers, reset, is_header_alone }
    }
}

/// A whole answer, or all that came of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) messages: Vec<Vec<u8>>,
    /// What came behind the last whole message.
    pub(super) left: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    /// Why it broke off, if it did.
    pub(super) reset: Option<Reason>,
    pub(super) is_header_alone: bool,
}

impl Answer {
    /// How the call has ended, wherever that was said.
    pub(super) fn code(&self) -> Option<&str> {
        let lines = self.trailers.as_ref().unwrap_or(&self.headers);
        lines.get("grpc-status").and_then(|code| code.to_str().ok())
    }

    /// The messages as texts.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |message: &Vec<u8>| message.escape_ascii().to_string();
        self.messages.iter().map(text).collect()
    }

    /// What a passed call says of its protection.
    pub(super) fn protection(&self) -> Option<&str> {
        self.headers.get("duplicate-protection").and_then(|value| value.to_str().ok())
    }
}
