//! An HTTP/2 upstream frame by frame: the test says what it sends, and may break every rule.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{How, within};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Reasons of a reset or a GOAWAY (RFC 9113, section 7).
pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;
pub const HTTP_1_1_REQUIRED: u32 = 13;

/// The setting that says how many streams there may be at a time.
pub const STREAMS_MAX: u16 = 3;

/// The last stream that a first, gentle GOAWAY names.
pub const ANY_STREAM: u32 = u32::MAX >> 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An upstream that does nothing by itself: the test accepts, reads and writes.
pub struct FramePeer {
    listener: TcpListener,
    pub addr: SocketAddr,
}

impl FramePeer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        Self { listener, addr }
    }

    /// The next connection, which must come, and is told no settings yet.
    pub async fn connection(&self) -> Frames {
        let accepted = within("a connection to the upstream", self.listener.accept()).await;
        let stream = accepted.expect("accepting").0;
        stream.set_nodelay(true).expect("setting TCP_NODELAY");
        let mut frames = Frames { stream, requests: 0 };
        let mut preface = vec![0; PREFACE.len()];
        within("the preface", frames.stream.read_exact(&mut preface)).await.expect("a preface");
        assert_eq!(preface, PREFACE);
        frames
    }

    /// The next connection, which must come, and is told these settings.
    pub async fn accept_with(&self, settings: &[(u16, u32)]) -> Frames {
        let mut frames = self.connection().await;
        frames.settings(settings).await;
        frames
    }

    /// The next connection, which must come, and is told that nothing is special.
    pub async fn accept(&self) -> Frames {
        self.accept_with(&[]).await
    }

    /// Fails if a connection waits to be accepted.
    #[track_caller]
    pub fn assert_no_more_connections(&self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.listener.poll_accept(&mut context).is_pending(), "nobody has connected");
    }
}

/// A whole request.
#[derive(Debug)]
pub struct Whole {
    pub stream: u32,
    pub body: Vec<u8>,
}

/// One connection of the proxy to a [`FramePeer`].
pub struct Frames {
    stream: TcpStream,
    /// How many whole requests have come: executions, if the test says so.
    pub requests: usize,
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The reason, if it is a reset of a stream.
    pub fn reset(&self) -> Option<u32> {
        let reason = self.payload.as_slice().try_into().ok().map(u32::from_be_bytes);
        reason.filter(|_| self.kind == RST_STREAM)
    }

    /// Whether it is a GOAWAY.
    pub fn is_go_away(&self) -> bool {
        self.kind == GOAWAY
    }
}

impl Frames {
    /// The next frame; nothing once the proxy has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        })
        .await
    }

    /// The next request, which must come whole.
    pub async fn request(&mut self) -> Whole {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await.expect("a whole request, and not the end");
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.write(SETTINGS, ACK, 0, &[]).await;
            }
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                self.requests += 1;
                return Whole { stream: frame.stream, body };
            }
        }
    }

    /// Waits for a frame that fits.
    pub async fn wait_for(&mut self, what: &str, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("the end before {what}"));
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Waits for the end of the connection, and says how many whole requests came before.
    pub async fn end(&mut self) -> usize {
        while let Some(frame) = self.next().await {
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                self.requests += 1;
            }
        }
        self.requests
    }

    pub async fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (setting, value) in settings {
            payload.extend_from_slice(&setting.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    /// The head of an answer that goes on.
    pub async fn head(&mut self, stream: u32, status: u16, lines: &[(&str, &str)]) {
        self.write(HEADERS, END_HEADERS, stream, &block(Some(status), lines)).await;
    }

    /// The end of an answer.
    pub async fn trailers(&mut self, stream: u32, lines: &[(&str, &str)]) {
        let flags = END_HEADERS | END_STREAM;
        self.write(HEADERS, flags, stream, &block(None, lines)).await;
    }

    pub async fn data(&mut self, stream: u32, bytes: &[u8]) {
        self.write(DATA, 0, stream, bytes).await;
    }

    pub async fn last_data(&mut self, stream: u32, bytes: &[u8]) {
        self.write(DATA, END_STREAM, stream, bytes).await;
    }

    /// A whole answer.
    pub async fn answer(&mut self, stream: u32, body: &str) {
        self.head(stream, 200, &[]).await;
        self.last_data(stream, body.as_bytes()).await;
    }

    pub async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    pub async fn go_away(&mut self, last: u32, reason: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat()).await;
    }

    pub async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.write_bytes(&frame).await;
    }

    /// Bytes that may be no frame at all.
    pub async fn write_bytes(&mut self, bytes: &[u8]) {
        let written = within("room to write", self.stream.write_all(bytes)).await;
        written.expect("the proxy takes what is written");
    }

    pub fn close(self, how: How) {
        if how == How::Reset {
            self.stream.set_zero_linger().expect("setting SO_LINGER");
        }
    }
}

/// A header block of literals (RFC 7541, section 6.2.2).
fn block(status: Option<u16>, lines: &[(&str, &str)]) -> Vec<u8> {
    let status = status.map(|status| (":status", status.to_string()));
    let lines = lines.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut block = Vec::new();
    for (name, value) in status.into_iter().chain(lines) {
        block.push(0);
        for text in [name, value.as_str()] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
