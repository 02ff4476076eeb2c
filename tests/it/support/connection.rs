//! One connection to the proxy, in the protocol of the test's way.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::h2_caller::{Awaited, Link};
use super::wire::{Ending, Fields, Framing, Wire, one_chunk};
use super::{How, Reply, Request, Way, within};

/// One connection to the proxy.
#[derive(Debug)]
pub struct Connection {
    speaks: Speaks,
    here: SocketAddr,
    there: SocketAddr,
}

#[derive(Debug)]
enum Speaks {
    Http1(Http1),
    Http2(Http2),
}

#[derive(Debug)]
struct Http1 {
    wire: Wire,
    head_only: bool,
    is_chunked: bool,
}

#[derive(Debug)]
struct Http2 {
    link: Arc<Link>,
    /// The exchanges whose answers are unread, in the order in which they began.
    awaited: VecDeque<Awaited>,
}

impl Connection {
    /// Speaks the protocol of the test's way over this.
    pub(super) async fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true).ok();
        let here = stream.local_addr().expect("a connected socket has an address");
        let there = stream.peer_addr().expect("a connected socket has a peer");
        let speaks = if Way::now().incoming.is_http2() {
            let link = within("a connection in HTTP/2", Link::over(stream)).await;
            let link = Arc::new(link?);
            Speaks::Http2(Http2 { link, awaited: VecDeque::new() })
        } else {
            Speaks::Http1(Http1 { wire: Wire::new(stream), head_only: false, is_chunked: false })
        };
        Ok(Self { speaks, here, there })
    }

    /// Another one to the same proxy; in HTTP/2 it is the same one, for other exchanges.
    pub(super) async fn beside(&self) -> Self {
        let Speaks::Http2(http2) = &self.speaks else {
            let stream = within("a connection to the proxy", TcpStream::connect(self.there)).await;
            let connection = Self::over(stream.expect("connecting to the proxy")).await;
            return connection.expect("connecting to the proxy");
        };
        let http2 = Http2 { link: Arc::clone(&http2.link), awaited: VecDeque::new() };
        Self { speaks: Speaks::Http2(http2), here: self.here, there: self.there }
    }

    /// Sends a whole request, or as much of it as the proxy takes.
    pub(super) async fn ask(&mut self, request: &Request) {
        match &mut self.speaks {
            Speaks::Http1(http1) => {
                http1.head_only = request.method == "HEAD";
                within("room to write", http1.wire.write(&request.bytes())).await.ok();
            }
            Speaks::Http2(http2) => http2.ask(request).await,
        }
    }

    /// Sends the beginning of a request: so many of the bytes that it has in HTTP/1.1.
    pub(super) async fn cut(&mut self, request: &Request, at: usize) {
        let (head, whole) = (request.head_bytes(), request.bytes());
        match &mut self.speaks {
            Speaks::Http1(http1) => {
                within("room to write", http1.wire.write(&whole[..at])).await.ok();
            }
            Speaks::Http2(http2) if at == whole.len() => http2.ask(request).await,
            Speaks::Http2(http2) if at < head.len() => http2.link.turns.written().await,
            Speaks::Http2(http2) => {
                http2.begin(request, true).await;
                let sent = (at - head.len()).min(request.body.len());
                http2.push(&request.body[..sent], false).await.ok();
            }
        }
    }

    /// Sends the head of a request.
    pub(super) async fn begin(&mut self, request: &Request) {
        match &mut self.speaks {
            Speaks::Http1(http1) => {
                http1.head_only = request.method == "HEAD";
                http1.is_chunked = request.chunk.is_some();
                within("room to write", http1.wire.write(&request.head_bytes())).await.ok();
            }
            Speaks::Http2(http2) => {
                http2.begin(request, true).await;
                http2.link.turns.written().await;
            }
        }
    }

    /// Sends a piece of the body of the request that was begun last.
    pub async fn push(&mut self, piece: impl AsRef<[u8]>) {
        self.try_push(piece).await.ok();
    }

    /// As [`push`](Self::push), as far as the peer takes it.
    pub async fn try_push(&mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        let piece = piece.as_ref();
        match &mut self.speaks {
            Speaks::Http1(http1) if http1.is_chunked => {
                within("room to write", http1.wire.write(&one_chunk(piece))).await
            }
            Speaks::Http1(http1) => within("room to write", http1.wire.write(piece)).await,
            Speaks::Http2(http2) => http2.push(piece, false).await,
        }
    }

    /// Ends the body of the request that was begun last.
    pub async fn end(&mut self) {
        match &mut self.speaks {
            Speaks::Http1(http1) if http1.is_chunked => {
                within("room to write", http1.wire.write(b"0\r\n\r\n")).await.ok();
            }
            Speaks::Http1(_) => {}
            Speaks::Http2(http2) => http2.push(b"", true).await.unwrap_or_default(),
        }
    }

    /// The next answer, which must come.
    pub async fn read(&mut self) -> Reply {
        self.try_read().await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer, with the interim ones that came before it.
    pub async fn try_read(&mut self) -> io::Result<Reply> {
        match &mut self.speaks {
            Speaks::Http1(http1) => http1.try_read().await,
            Speaks::Http2(http2) => {
                let next = http2.awaited.pop_front().ok_or(io::ErrorKind::UnexpectedEof)?;
                within("the end of an answer", next.read()).await
            }
        }
    }

    /// Everything that comes until the proxy closes, or ends the next answer in HTTP/2.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        let http2 = match &mut self.speaks {
            Speaks::Http1(http1) => {
                return within("the end of the connection", http1.wire.rest()).await;
            }
            Speaks::Http2(http2) => http2,
        };
        if let Some(next) = http2.awaited.pop_front() {
            let read = within("the end of an answer", next.read()).await;
            return read.map_or((Vec::new(), Ending::Cut), |reply| (reply.body, reply.ending));
        }
        let ended = http2.link.turns.end_of_connection();
        (Vec::new(), within("the end of the connection", ended).await)
    }

    /// Waits until these bytes have come, and leaves them to be read; in HTTP/2 they are looked for
    /// in the body of the next answer.
    pub async fn sees(&mut self, bytes: &[u8]) {
        let what = format!("{} to come", bytes.escape_ascii());
        let came = match &mut self.speaks {
            Speaks::Http1(http1) => within(&what, http1.wire.holds(bytes)).await,
            Speaks::Http2(http2) => {
                let next = http2.awaited.front_mut().expect("an answer is awaited");
                within(&what, next.holds(bytes)).await
            }
        };
        assert!(came, "it ended without {}", bytes.escape_ascii());
    }

    /// Ends the connection with RST, or the exchanges on it in HTTP/2: the connection stays.
    pub fn reset(self) {
        let mut http2 = match self.speaks {
            Speaks::Http1(http1) => {
                return http1.wire.stream.set_zero_linger().expect("setting SO_LINGER");
            }
            Speaks::Http2(http2) => http2,
        };
        http2.awaited.iter_mut().for_each(Awaited::reset);
        tokio::spawn(async move { http2.link.turns.end_of_connection().await });
    }

    /// Leaves one way or the other: [`How::Close`] ends the connection, too, in HTTP/2.
    pub fn leave(self, how: How) {
        match how {
            How::Close => drop(self),
            How::Reset => self.reset(),
        }
    }

    /// Ends the connection with RST.
    pub fn abort(self) {
        match self.speaks {
            Speaks::Http1(http1) => http1.wire.stream.set_zero_linger(),
            Speaks::Http2(http2) => http2.link.set_zero_linger(),
        }
        .expect("setting SO_LINGER");
    }

    /// Whether the proxy has closed the connection, or reset the exchange in HTTP/2; seen without
    /// reading what is queued.
    pub fn has_ended(&mut self) -> bool {
        if let Speaks::Http2(http2) = &mut self.speaks
            && http2.awaited.front_mut().is_some_and(Awaited::is_reset)
        {
            return true;
        }
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
        let ports = [self.there, self.here].map(|addr| format!(":{:04X}", addr.port()));
        // the proxy's end of the connection, as long as the proxy holds it open
        !sockets.lines().filter(|line| line.contains(&ports[1])).any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            matches!(columns[..], [_, here, there, "01" | "08", ..]
                if here.ends_with(&ports[0]) && there.ends_with(&ports[1]))
        })
    }

    /// Writes these bytes; a peer that has already gone away is found when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).await.ok();
    }

    /// Writes these bytes as far as the peer takes them.
    pub async fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.http1().wire.write(bytes)).await
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        self.http1().wire.stream.shutdown().await.ok();
    }

    #[track_caller]
    fn http1(&mut self) -> &mut Http1 {
        match &mut self.speaks {
            Speaks::Http1(http1) => http1,
            Speaks::Http2(_) => panic!("bytes by hand are for HTTP/1.1 ways alone"),
        }
    }
}

impl Http1 {
    async fn try_read(&mut self) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let head = within("the head of an answer", self.wire.head()).await?;
            let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let framing = self.framing(status, &head);
            let (body, ending) = within("the end of an answer", self.wire.body(framing)).await;
            let trailers = self.wire.trailers();
            return Ok(Reply { status, head, body, ending, interim, trailers });
        }
    }

    fn framing(&self, status: u16, head: &Fields) -> Framing {
        if self.head_only || matches!(status, 101 | 204 | 304) {
            return Framing::Empty;
        }
        if head.has_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        let length = head.first("content-length").and_then(|length| length.parse().ok());
        length.map_or(Framing::UntilClose, Framing::Length)
    }
}

impl Http2 {
    async fn ask(&mut self, request: &Request) {
        if !self.begin(request, !request.body.is_empty()).await {
            return;
        }
        let mut pieces = request.body.chunks(request.chunk.unwrap_or(usize::MAX)).peekable();
        while let Some(piece) = pieces.next() {
            self.awaited
                .back_mut()
                .expect("it was begun")
                .hand_over(piece, pieces.peek().is_none());
        }
        self.link.turns.written().await;
    }

    /// Sends a head, and says whether it could be sent.
    async fn begin(&mut self, request: &Request, with_body: bool) -> bool {
        match within("room for another exchange", self.link.begin(request, with_body)).await {
            Ok(awaited) => self.awaited.push_back(awaited),
            // an end of the connection is found when reading
            Err(_) if self.link.turns.ended().is_some() => return false,
            Err(error) => panic!("{request:?}: {error}"),
        }
        true
    }

    async fn push(&mut self, piece: &[u8], is_last: bool) -> io::Result<()> {
        let last = self.awaited.back_mut().ok_or(io::ErrorKind::NotConnected)?;
        within("room to write", last.push(piece, is_last)).await?;
        self.link.turns.written().await;
        Ok(())
    }
}
