//! A caller that speaks HTTP/2: one connection, which exchanges may share, and their answers.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::turns::Turns;
use super::wire::{Ending, Field, Fields, find};
use super::{Incoming, Reply, Request, Way, tls};

/// A connection to the proxy, driven in the background; it is closed when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Bytes>,
    scheme: &'static str,
    pub(super) turns: Turns,
    driver: AbortHandle,
    socket: socket2::Socket,
}

impl Link {
    /// Makes what the way of the test asks for out of a connection.
    pub(super) async fn over(stream: TcpStream) -> io::Result<Self> {
        let socket = SockRef::from(&stream).try_clone()?;
        if Way::now().incoming == Incoming::Http2Tls {
            return Self::start(tls::agree_on_http2(stream).await?, socket, "https").await;
        }
        Self::start(stream, socket, "http").await
    }

    async fn start<S>(stream: S, socket: socket2::Socket, scheme: &'static str) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = h2::client::Builder::new();
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let turns = Turns::new();
        let told = turns.clone();
        let driver = tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                told.note(cx);
                polled
            });
            told.end(if ended.await.is_ok() { Ending::Closed } else { Ending::Cut });
        });
        Ok(Self { sender, scheme, turns, driver: driver.abort_handle(), socket })
    }

    /// Sends the head of a request.
    pub(super) async fn begin(&self, request: &Request, with_body: bool) -> io::Result<Awaited> {
        let head = head_of(request, self.scheme);
        let mut sender = self.sender.clone().ready().await.map_err(io::Error::other)?;
        let sent = sender.send_request(head, !with_body);
        let (response, sending) = sent.map_err(io::Error::other)?;
        Ok(Awaited {
            response: Some(response),
            interim: Vec::new(),
            head: None,
            body: None,
            data: Vec::new(),
            sending,
        })
    }

    /// Ends the connection with RST, as soon as nobody uses it any more.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // at once, and not when the driver is dropped
        if self.socket.linger().is_ok_and(|linger| linger.is_none()) {
            self.socket.shutdown(std::net::Shutdown::Both).ok();
        }
        self.driver.abort();
    }
}

/// The head of a request in HTTP/2.
fn head_of(request: &Request, scheme: &str) -> http::Request<()> {
    assert_eq!(request.version, "HTTP/1.1", "HTTP/1.0 is for HTTP/1.1 ways alone");
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.parse().expect("a method");
    let path: PathAndQuery = request.target.parse().expect("a target in origin form");
    let mut hosts = Vec::new();
    for (name, value) in &request.fields {
        let value = HeaderValue::from_bytes(value).expect("a value that HTTP/2 may have");
        if name.eq_ignore_ascii_case("host") {
            hosts.push(value);
        } else {
            let name: HeaderName = name.parse().expect("a name that HTTP/2 may have");
            head.headers_mut().append(name, value);
        }
    }
    *head.uri_mut() = match hosts.first() {
        Some(host) => {
            let uri = Uri::builder().scheme(scheme).authority(host.as_bytes());
            uri.path_and_query(path).build().expect("a host that HTTP/2 may have")
        }
        None => Uri::from(path),
    };
    for host in hosts.into_iter().skip(1) {
        head.headers_mut().append(http::header::HOST, host);
    }
    // the version with which a missing host is no mistake of the caller's library
    let is_hostless = head.uri().authority().is_none();
    *head.version_mut() = if is_hostless { Version::HTTP_11 } else { Version::HTTP_2 };
    if request.framed && request.chunk.is_none() {
        head.headers_mut().insert(http::header::CONTENT_LENGTH, request.body.len().into());
    }
    head
}

/// A request that was sent, and as much of its answer as has come.
#[derive(Debug)]
pub(super) struct Awaited {
    sending: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    interim: Vec<Fields>,
    head: Option<(u16, Fields)>,
    body: Option<RecvStream>,
    data: Vec<u8>,
}

impl Awaited {
    /// Sends a piece of the body when there is room for it.
    pub(super) fn hand_over(&mut self, piece: &[u8], is_last: bool) {
        // a reset of the stream is found when reading
        self.sending.send_data(Bytes::copy_from_slice(piece), is_last).ok();
    }

    /// Sends a piece of the body as there is room for it, or an answer has come.
    pub(super) async fn push(&mut self, piece: &[u8], is_last: bool) -> io::Result<()> {
        let mut left = Bytes::copy_from_slice(piece);
        loop {
            self.sending.reserve_capacity(left.len());
            let room = match left.len().min(self.sending.capacity()) {
                0 if !left.is_empty() => poll_fn(|cx| self.poll_room(cx)).await?,
                room => room,
            };
            let part = left.split_to(room.min(left.len()));
            let sent = self.sending.send_data(part, is_last && left.is_empty());
            sent.map_err(io::Error::other)?;
            if left.is_empty() {
                return Ok(());
            }
        }
    }

    /// How much may be sent; everything, if nothing can be waited for any more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(room) = self.sending.poll_capacity(cx) {
            let room = room.unwrap_or(Err(Reason::STREAM_CLOSED.into()));
            return Poll::Ready(room.map_err(io::Error::other));
        }
        self.poll_head(cx).map_ok(|()| usize::MAX)
    }

    /// Resets the stream: nobody waits for the answer any more.
    pub(super) fn reset(&mut self) {
        self.sending.send_reset(Reason::CANCEL);
    }

    /// Whether the proxy has reset the stream.
    pub(super) fn is_reset(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.sending.poll_reset(&mut context).is_ready()
    }

    /// Waits for the head of the answer.
    async fn head(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(response) = &mut self.response else { return Poll::Ready(Ok(())) };
        while let Poll::Ready(Some(Ok(hint))) = response.poll_informational(cx) {
            let start = format!("HTTP/2 {}", hint.status().as_u16());
            self.interim.push(fields(&start, hint.headers()));
        }
        let response = ready!(Pin::new(response).poll(cx)).map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let start = format!("HTTP/2 {}", head.status.as_u16());
        self.head = Some((head.status.as_u16(), fields(&start, &head.headers)));
        self.body = Some(body);
        self.response = None;
        Poll::Ready(Ok(()))
    }

    /// Reads more of the body; false at its end.
    async fn more(&mut self) -> io::Result<bool> {
        self.head().await?;
        let Some(body) = &mut self.body else { return Ok(false) };
        let Some(piece) = body.data().await else { return Ok(false) };
        let piece = piece.map_err(io::Error::other)?;
        body.flow_control().release_capacity(piece.len()).ok();
        self.data.extend_from_slice(&piece);
        Ok(true)
    }

    /// Waits until the body has these bytes, and leaves them to be read; false if it ends before.
    pub(super) async fn holds(&mut self, bytes: &[u8]) -> bool {
        while find(&self.data, bytes).is_none() {
            if !self.more().await.unwrap_or(false) {
                return false;
            }
        }
        true
    }

    /// The whole answer, or as much of it as comes.
    pub(super) async fn read(mut self) -> io::Result<Reply> {
        self.head().await?;
        let whole = loop {
            match self.more().await {
                Ok(true) => {}
                Ok(false) => break self.trailers().await,
                Err(error) => break Err(error),
            }
        };
        let ending = if whole.is_ok() { Ending::Complete } else { Ending::Cut };
        let (status, head) = self.head.expect("the head has come");
        let (body, interim, trailers) = (self.data, self.interim, whole.unwrap_or_default());
        Ok(Reply { status, head, body, ending, interim, trailers })
    }

    async fn trailers(&mut self) -> io::Result<Fields> {
        let Some(body) = &mut self.body else { return Ok(Fields::default()) };
        let trailers = body.trailers().await.map_err(io::Error::other)?;
        Ok(trailers.map_or_else(Fields::default, |trailers| fields("", &trailers)))
    }
}

/// The fields of a message as those of HTTP/1.1 are shown.
pub(super) fn fields(start: &str, headers: &HeaderMap) -> Fields {
    let lines = headers.iter().map(|(name, value)| Field {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    });
    Fields { start: start.to_owned(), lines: lines.collect() }
}
