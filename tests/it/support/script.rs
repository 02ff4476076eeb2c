//! What the origin does with a request: answers in every shape, delays and faults.

use std::io;
use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::origin::Received;
use super::wire::{Wire, one_chunk};

/// Fields of a connection, which HTTP/2 does not have.
const HOPS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// A gate that a test opens; whatever waits at it goes on then.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A gate that is shut.
    pub fn shut() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the gate is held by self");
    }
}

/// How a connection is closed, or an exchange broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With FIN, after everything written has been sent.
    Close,
    /// With RST; in HTTP/2 it is the stream that is reset, and its connection goes on.
    Reset,
}

impl How {
    pub(super) fn close(self, stream: TcpStream) {
        if self == Self::Reset {
            stream.set_zero_linger().ok();
        }
        drop(stream);
    }
}

/// What becomes of a connection after an exchange.
pub(super) enum Step {
    Stay,
    Leave(How),
}

/// What the origin does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Executes, and answers 201 with a ledger line in JSON.
    Ledger,
    /// Executes, and answers this.
    Answer(Answer),
    /// Answers this after the head, with the body unread and nothing executed.
    Early(Answer),
    /// Breaks off after the head, with the body unread and nothing executed.
    DropAfterHead(How),
    /// Executes, and breaks off without a word.
    DropAfterExecuting(How),
    /// Executes, and does this once the gate is open.
    After(Gate, Box<Act>),
}

impl Act {
    /// The same, once the gate is open.
    pub fn after(self, gate: &Gate) -> Self {
        Self::After(gate.clone(), Box::new(self))
    }

    /// Fails if it is one that only HTTP/1.1 can express.
    #[track_caller]
    pub(super) fn assert_fits_http2(&self) {
        match self {
            Self::Answer(answer) | Self::Early(answer) => answer.assert_fits_http2(),
            Self::After(_, then) => then.assert_fits_http2(),
            Self::Ledger | Self::DropAfterHead(_) | Self::DropAfterExecuting(_) => {}
        }
    }

    /// Waits at its gates, and says what is behind them.
    pub(super) async fn passed(self) -> Self {
        let mut act = self;
        while let Self::After(gate, then) = act {
            gate.passed().await;
            act = *then;
        }
        act
    }

    /// Does what is behind its gates; nothing if the peer breaks off.
    pub(super) async fn perform(self, received: &Received, wire: &mut Wire) -> Option<Step> {
        let with_body = received.method != "HEAD";
        match self {
            Self::Ledger => Answer::ledger(received).write(wire, with_body).await.ok(),
            Self::Answer(answer) | Self::Early(answer) => answer.write(wire, with_body).await.ok(),
            Self::DropAfterHead(how) | Self::DropAfterExecuting(how) => Some(Step::Leave(how)),
            Self::After(..) => None,
        }
    }
}

impl From<Answer> for Act {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Length,
    Chunked,
    UntilClose,
    /// The fields of the test itself frame the body, or nothing does.
    Nothing,
}

/// One answer, byte for byte as the test wants it.
#[derive(Clone, Debug)]
pub struct Answer {
    version: &'static str,
    pub(super) status: u16,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) hints: Vec<(u16, String, String)>,
    before: Vec<u8>,
    pub(super) pieces: Vec<(Option<Gate>, Vec<u8>)>,
    pub(super) endless: Option<Vec<u8>>,
    pub(super) frame: Frame,
    pub(super) cut: Option<(usize, How)>,
    extra: Vec<u8>,
    pub(super) leave: Option<How>,
    raw: bool,
}

impl Answer {
    /// An empty answer of this status, framed by `Content-Length`.
    pub fn new(status: u16) -> Self {
        Self {
            version: "HTTP/1.1",
            status,
            fields: Vec::new(),
            hints: Vec::new(),
            before: Vec::new(),
            pieces: Vec::new(),
            endless: None,
            frame: if status == 204 || status == 304 { Frame::Nothing } else { Frame::Length },
            cut: None,
            extra: Vec::new(),
            leave: None,
            raw: false,
        }
    }

    /// These bytes in place of an answer.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        let answer = Self::new(200).body(bytes);
        Self { raw: true, frame: Frame::Nothing, ..answer }
    }

    /// The answer of the ledger: who did what, and how often it has been done.
    pub fn ledger(received: &Received) -> Self {
        let line = json!({
            "op": received.operation(),
            "caller": received.caller(),
            "execution": received.execution,
            "serial": received.serial,
        });
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        Self::new(201)
            .header("Content-Type", "application/json")
            .header("Date", date)
            .header("X-Execution", received.execution.to_string())
            .body(line.to_string())
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds to the body.
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.push((None, bytes.as_ref().to_vec()));
        self
    }

    /// Adds a part of the body that is sent once the gate is open.
    pub fn body_after(mut self, gate: &Gate, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.push((Some(gate.clone()), bytes.as_ref().to_vec()));
        self
    }

    /// Adds a part to the body again and again, until nobody takes it any more.
    pub fn endless(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.endless = Some(bytes.as_ref().to_vec());
        self.frame = Frame::Chunked;
        self
    }

    /// Frames the body in chunks, one for each part; in HTTP/2 its length is not said.
    pub fn chunked(mut self) -> Self {
        self.frame = Frame::Chunked;
        self
    }

    /// Ends the body by closing the connection, of which HTTP/2 knows nothing.
    pub fn until_close(mut self) -> Self {
        self.frame = Frame::UntilClose;
        self.leave = Some(How::Close);
        self
    }

    /// Adds no framing field: those of the test stand alone.
    pub fn unframed(mut self) -> Self {
        self.frame = Frame::Nothing;
        self
    }

    /// Breaks off after so many bytes of the body; the framing promises all.
    pub fn cut_after(mut self, bytes: usize, how: How) -> Self {
        self.cut = Some((bytes, how));
        self
    }

    /// Sends an interim answer with this header line before.
    pub fn hint(mut self, status: u16, name: &str, value: &str) -> Self {
        self.hints.push((status, name.to_owned(), value.to_owned()));
        self
    }

    /// Sends these bytes before the answer.
    pub fn preceded_by(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.before.extend_from_slice(bytes.as_ref());
        self
    }

    /// Sends these bytes in one write with the end of the answer.
    pub fn followed_by(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.extra.extend_from_slice(bytes.as_ref());
        self
    }

    /// Ends the connection after the answer, without announcing it.
    pub fn then(mut self, how: How) -> Self {
        self.leave = Some(how);
        self
    }

    /// Answers in HTTP/1.0.
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Fails if it is one that only HTTP/1.1 can express.
    #[track_caller]
    pub(super) fn assert_fits_http2(&self) {
        let by_hand = self.raw || !self.before.is_empty() || !self.extra.is_empty();
        assert!(!by_hand, "bytes by hand are for HTTP/1.1 ways alone");
        assert_eq!(self.version, "HTTP/1.1", "HTTP/1.0 is for HTTP/1.1 ways alone");
        for (name, _) in &self.fields {
            let is_hop = HOPS.contains(&name.to_ascii_lowercase().as_str());
            assert!(!is_hop, "{name} is for HTTP/1.1 ways alone");
        }
    }

    /// How long the body would be if nothing cut it off.
    pub(super) fn length(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for (status, name, value) in &self.hints {
            head.extend(format!("HTTP/1.1 {status} Wait\r\n{name}: {value}\r\n\r\n").bytes());
        }
        head.extend_from_slice(&self.before);
        if self.raw {
            return head;
        }
        let phrase = if self.status < 300 { "Fine" } else { "Other" };
        head.extend(format!("{} {} {phrase}\r\n", self.version, self.status).bytes());
        for (name, value) in &self.fields {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        match self.frame {
            Frame::Length => {
                head.extend(format!("Content-Length: {}\r\n", self.length()).bytes());
            }
            Frame::Chunked => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Frame::UntilClose | Frame::Nothing => {}
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Writes the answer as gates and faults allow, and says what becomes of the connection.
    pub(super) async fn write(&self, wire: &mut Wire, with_body: bool) -> io::Result<Step> {
        let mut out = self.head();
        let mut left = self.cut.map(|(bytes, _)| bytes);
        for (gate, piece) in self.pieces.iter().filter(|_| with_body) {
            if let Some(gate) = gate {
                wire.write(&std::mem::take(&mut out)).await?;
                gate.passed().await;
            }
            let end = left.map_or(piece.len(), |left| left.min(piece.len()));
            left = left.map(|left| left - end);
            match self.frame {
                Frame::Chunked if end > 0 => out.extend(one_chunk(&piece[..end])),
                Frame::Length | Frame::Chunked | Frame::UntilClose | Frame::Nothing => {
                    out.extend_from_slice(&piece[..end]);
                }
            }
            if left == Some(0) {
                break;
            }
        }
        while let Some(piece) = &self.endless {
            wire.write(&std::mem::take(&mut out)).await?;
            out = one_chunk(piece);
        }
        if let Some((_, how)) = self.cut {
            wire.write(&out).await?;
            return Ok(Step::Leave(how));
        }
        if self.frame == Frame::Chunked && with_body {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        out.extend_from_slice(&self.extra);
        wire.write(&out).await?;
        Ok(self.leave.map_or(Step::Stay, Step::Leave))
    }
}
