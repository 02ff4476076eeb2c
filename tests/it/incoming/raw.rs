//! A caller that speaks HTTP/2 frame by frame, and may misbehave.

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::asked::Asked;
use super::frame::{self, Frame};
use super::hpack::Decoder;
use crate::support::{Ending, Field, Fields, Proxy, Reply, within};

/// A stream of bytes, whatever carries it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection by HTTP/2.
///
/// What comes is read at once, so that nobody waits for room; it is looked at when it is asked
/// for.
pub struct Raw {
    writer: WriteHalf<Box<dyn Io>>,
    frames: mpsc::UnboundedReceiver<Frame>,
    decoder: Decoder,
    streams: HashMap<u32, Coming>,
    next: u32,
    pings: u64,
    ponged: u64,
    asked: usize,
    goaway: Option<GoneAway>,
    /// How much room was given for each stream, and for the connection, besides what is there at
    /// first.
    room: HashMap<u32, usize>,
    /// Whether the room that answers take is given back at once.
    pub makes_room: bool,
    /// Whether the proxy's own PINGs are answered.
    pub answers_pings: bool,
}

/// What has come of an answer.
#[derive(Default)]
struct Coming {
    lines: Vec<Field>,
    trailers: Vec<Field>,
    body: Vec<u8>,
    end: Option<Came>,
}

/// How an answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Whole,
    Reset(u32),
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered.
    Answered(Reply),
    /// Its stream was reset for this reason.
    Reset(u32),
    /// The connection has ended.
    Gone,
}

/// A GOAWAY: the last stream that counts, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoneAway {
    pub last: u32,
    pub code: u32,
}

impl Raw {
    /// A connection to the proxy, with a preface as it should be.
    pub async fn connect(proxy: &Proxy) -> Self {
        let stream = within("a connection to the proxy", TcpStream::connect(proxy.addr())).await;
        Self::over(stream.expect("connecting to the proxy")).await
    }

    /// The same, where the proxy is told these settings.
    pub async fn with_settings(proxy: &Proxy, settings: &[(u16, u32)]) -> Self {
        let stream = within("a connection to the proxy", TcpStream::connect(proxy.addr())).await;
        let mut raw = Self::bare(stream.expect("connecting to the proxy"));
        raw.write(frame::PREFACE).await.expect("room for a preface");
        raw.send(&Frame::settings(settings)).await;
        raw
    }

    /// The same over any stream.
    pub async fn over(stream: impl Io + 'static) -> Self {
        let mut raw = Self::bare(stream);
        raw.write(frame::PREFACE).await.expect("room for a preface");
        raw.send(&Frame::settings(&[])).await;
        raw
    }

    /// A connection on which nothing was said.
    pub fn bare(stream: impl Io + 'static) -> Self {
        let stream: Box<dyn Io> = Box::new(stream);
        let (mut reader, writer) = tokio::io::split(stream);
        let (came, frames) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            while reader.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                while let Some((frame, length)) = Frame::parse(&bytes) {
                    bytes.drain(..length);
                    if came.send(frame).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            writer,
            frames,
            decoder: Decoder::default(),
            streams: HashMap::new(),
            next: 1,
            pings: 0,
            ponged: 0,
            asked: 0,
            goaway: None,
            room: HashMap::new(),
            makes_room: true,
            answers_pings: true,
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.writer.write_all(bytes)).await
    }

    /// Sends a frame; a peer that has gone away is found when reading.
    pub async fn send(&mut self, frame: &Frame) {
        self.write(&frame.bytes()).await.ok();
    }

    pub async fn send_all(&mut self, frames: &[Frame]) {
        let bytes: Vec<_> = frames.iter().flat_map(Frame::bytes).collect();
        self.write(&bytes).await.ok();
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        self.writer.shutdown().await.ok();
    }

    /// The number of the next stream.
    pub fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 2;
        number
    }

    /// Sends a whole request, and says the number of its stream.
    pub async fn ask(&mut self, request: &Asked) -> u32 {
        let number = self.number();
        self.send_all(&request.frames(number)).await;
        number
    }

    /// Sends a whole request, and reads its answer, which must come.
    pub async fn send_request(&mut self, request: &Asked) -> Reply {
        let number = self.ask(request).await;
        self.reply(number).await
    }

    /// The answer on this stream, which must come.
    pub async fn reply(&mut self, stream: u32) -> Reply {
        match self.outcome(stream).await {
            Outcome::Answered(reply) => reply,
            other @ (Outcome::Reset(_) | Outcome::Gone) => {
                panic!("no answer on {stream}: {other:?}, {:?}", self.goaway)
            }
        }
    }

    /// What becomes of the request on this stream.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            if let Some(end) = self.streams.get(&stream).and_then(|coming| coming.end) {
                let coming = self.streams.remove(&stream).expect("a stream that has ended");
                return match end {
                    Came::Reset(code) if coming.lines.is_empty() => Outcome::Reset(code),
                    Came::Whole | Came::Reset(_) => Outcome::Answered(coming.into_reply(end)),
                };
            }
            if self.next_frame().await.is_none() {
                return Outcome::Gone;
            }
        }
    }

    /// What the proxy says of itself, first of all.
    pub async fn settings(&mut self) -> Vec<(u16, u32)> {
        let frame = self.next_frame().await.expect("SETTINGS");
        assert_eq!((frame.kind, frame.flags), (frame::SETTINGS, 0), "{frame:?}");
        let pairs = frame.payload.chunks(6);
        pairs
            .map(|pair| {
                let name = u16::from_be_bytes([pair[0], pair[1]]);
                (name, u32::from_be_bytes(pair[2..].try_into().expect("four bytes")))
            })
            .collect()
    }

    /// Whether the proxy has looked at all that was sent so far; false if the connection has
    /// ended instead.
    pub async fn has_looked(&mut self) -> bool {
        self.pings += 1;
        self.send(&Frame::ping(self.pings)).await;
        while self.ponged < self.pings {
            if self.next_frame().await.is_none() {
                return false;
            }
        }
        true
    }

    /// Reads until the connection ends, and says what was the last word on that.
    pub async fn gone(&mut self) -> Option<GoneAway> {
        while self.next_frame().await.is_some() {}
        self.goaway
    }

    /// How often the proxy has asked whether somebody is there.
    pub fn pings_seen(&self) -> usize {
        self.asked
    }

    /// What was said of the end so far.
    pub fn goaway(&self) -> Option<GoneAway> {
        self.goaway
    }

    /// Waits until there is room for a body of so many bytes on this stream, if nothing else was
    /// sent on the connection; false if it has ended.
    pub async fn has_room(&mut self, stream: u32, bytes: usize) -> bool {
        let room = |raw: &Self, stream| 65_535 + raw.room.get(&stream).copied().unwrap_or(0);
        while room(self, stream) < bytes || room(self, 0) < bytes {
            if self.next_frame().await.is_none() {
                return false;
            }
        }
        true
    }

    /// How many bytes of the answer on a stream have come.
    pub fn body_bytes(&self, stream: u32) -> usize {
        self.streams.get(&stream).map_or(0, |coming| coming.body.len())
    }

    /// The next frame, once it was looked at; nothing when the connection has ended.
    pub async fn next_frame(&mut self) -> Option<Frame> {
        let frame = within("a frame, or the end", self.frames.recv()).await?;
        match frame.kind {
            frame::SETTINGS if !frame.is_ack() => self.send(&Frame::settings(&[]).ack()).await,
            frame::PING if frame.is_ack() => {
                let number = frame.payload[..8].try_into().expect("eight bytes");
                self.ponged = self.ponged.max(u64::from_be_bytes(number));
            }
            frame::PING => {
                self.asked += 1;
                if self.answers_pings {
                    self.send(&frame.clone().ack()).await;
                }
            }
            frame::GOAWAY => {
                self.goaway = Some(GoneAway { last: frame.number(0), code: frame.number(4) });
            }
            frame::WINDOW_UPDATE => {
                let more = usize::try_from(frame.number(0)).expect("a number");
                *self.room.entry(frame.stream).or_default() += more;
            }
            frame::HEADERS | frame::DATA | frame::RST_STREAM => self.file(&frame).await,
            _ => {}
        }
        Some(frame)
    }

    async fn file(&mut self, frame: &Frame) {
        let coming = self.streams.entry(frame.stream).or_default();
        match frame.kind {
            frame::HEADERS => {
                assert!(frame.flags & frame::END_HEADERS != 0, "one block is one frame: {frame:?}");
                let lines = self.decoder.decode(&frame.payload).into_iter();
                let lines = lines.map(|(name, value)| Field {
                    name: String::from_utf8(name).expect("a name"),
                    value,
                });
                match coming.lines.is_empty() {
                    true => coming.lines.extend(lines),
                    false => coming.trailers.extend(lines),
                }
            }
            frame::DATA => coming.body.extend_from_slice(&frame.payload),
            // One that comes after the whole answer only says that no more is read.
            _ if coming.end.is_none() => coming.end = Some(Came::Reset(frame.number(0))),
            _ => {}
        }
        if frame.is_last() {
            coming.end = Some(Came::Whole);
        }
        let length = u32::try_from(frame.payload.len()).expect("a length");
        if frame.kind == frame::DATA && self.makes_room && length > 0 {
            let more =
                [Frame::window_update(0, length), Frame::window_update(frame.stream, length)];
            self.send_all(&more).await;
        }
    }
}

impl Coming {
    fn into_reply(self, end: Came) -> Reply {
        let (pseudo, lines): (Vec<_>, Vec<_>) =
            self.lines.into_iter().partition(|line| line.name.starts_with(':'));
        let [status] = &pseudo[..] else { panic!("one pseudo-header field: {pseudo:?}") };
        assert_eq!(status.name, ":status");
        let text = std::str::from_utf8(&status.value).expect("a status");
        Reply {
            status: text.parse().expect("a status"),
            head: Fields { start: format!("HTTP/2 {text}"), lines },
            body: self.body,
            ending: if end == Came::Whole { Ending::Complete } else { Ending::Cut },
            interim: Vec::new(),
            trailers: Fields { start: String::new(), lines: self.trailers },
        }
    }
}

/// A connection that takes in little before it is read.
pub async fn narrow(proxy: &Proxy) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("setting SO_RCVBUF");
    let stream = within("a connection to the proxy", socket.connect(proxy.addr())).await;
    stream.expect("connecting to the proxy")
}
