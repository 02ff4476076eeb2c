//! Reads and frames HTTP/1.1 by hand, so that both ends of a test may misbehave.

use std::fmt;
use std::io::{self, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One header line: the name as it was written, the value as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: Vec<u8>,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value.escape_ascii())
    }
}

/// The start line and the header lines of one message, in their order.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub start: String,
    pub lines: Vec<Field>,
}

impl Fields {
    /// All values of `name`, in their order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.lines.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        named.map(|line| line.value.as_slice()).collect()
    }

    /// The first value of `name`, where it is text.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether there is a line of this name.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether a comma-separated field holds this token.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().any(|value| {
            let value = String::from_utf8_lossy(value);
            value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token))
        })
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let lines = bytes.split(|&byte| byte == b'\n');
        let mut lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let lines = lines.filter(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|&byte| byte == b':');
            let colon = colon.ok_or_else(|| malformed("a header line without a colon", line))?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Ok(Field { name, value: line[colon + 1..].trim_ascii().to_vec() })
        });
        Ok(Self { start, lines: lines.collect::<io::Result<_>>()? })
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At the place where its framing ends it.
    Complete,
    /// By the end of the connection, which is how a close-delimited body ends.
    Closed,
    /// Too early: the connection ended inside the body.
    Cut,
}

/// A socket and what was read from it beyond the last message.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    trailers: Fields,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, buffer: Vec::new(), trailers: Fields::default() }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads once; false at the end of the stream.
    pub async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Waits until the peer closes; what it says before is left to be read.
    pub async fn closed(&mut self) {
        while self.fill().await.unwrap_or(false) {}
    }

    /// Waits for the first byte of a message; false if the peer closes instead.
    pub async fn begins(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill().await?)
    }

    /// Reads until the unread bytes hold these; false if they end before.
    pub async fn holds(&mut self, bytes: &[u8]) -> bool {
        while find(&self.buffer, bytes).is_none() {
            if !self.fill().await.unwrap_or(false) {
                return false;
            }
        }
        true
    }

    /// The next head, or nothing if the peer closed between two messages.
    pub async fn head(&mut self) -> io::Result<Option<Fields>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = Fields::parse(&self.buffer[..end])?;
                self.buffer.drain(..end + 4);
                return Ok(Some(head));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut("inside a head")) };
            }
        }
    }

    /// The body, as much of it as came, and how it ended.
    pub async fn body(&mut self, framing: Framing) -> (Vec<u8>, Ending) {
        let mut body = Vec::new();
        let read = match framing {
            Framing::Empty => Ok(()),
            Framing::Length(length) => self.take(length, &mut body).await,
            Framing::Chunked => self.chunks(&mut body).await,
            Framing::UntilClose => return self.rest().await,
        };
        (body, if read.is_ok() { Ending::Complete } else { Ending::Cut })
    }

    /// The fields that came after the last chunk of the last body.
    pub fn trailers(&mut self) -> Fields {
        std::mem::take(&mut self.trailers)
    }

    /// Everything until the peer closes.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        let ending = loop {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => break Ending::Closed,
                Err(_) => break Ending::Cut,
            }
        };
        (std::mem::take(&mut self.buffer), ending)
    }

    async fn take(&mut self, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let have = self.buffer.len().min(length - into.len());
            into.extend_from_slice(&self.buffer[..have]);
            self.buffer.drain(..have);
            if into.len() == length {
                return Ok(());
            }
            if !self.fill().await? {
                return Err(cut("inside a body"));
            }
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| malformed("a chunk size", line.as_bytes()))?;
            if size == 0 {
                let mut trailers = String::from("\r\n");
                loop {
                    let line = self.line().await?;
                    if line.is_empty() {
                        self.trailers = Fields::parse(trailers.as_bytes())?;
                        return Ok(());
                    }
                    trailers = trailers + &line + "\r\n";
                }
            }
            let mut chunk = Vec::new();
            let whole = self.take(size, &mut chunk).await;
            body.append(&mut chunk);
            whole?;
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            if !self.fill().await? {
                return Err(cut("inside a chunk"));
            }
        }
    }
}

/// A body in chunks of `size` bytes, with the last chunk.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(size) {
        framed.extend(one_chunk(chunk));
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

/// One chunk with its size line.
pub fn one_chunk(chunk: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
    framed.extend_from_slice(chunk);
    framed.extend_from_slice(b"\r\n");
    framed
}

/// `body` compressed by gzip at the time `mtime`.
pub fn gzip(body: &[u8], mtime: u32) -> Vec<u8> {
    let builder = flate2::GzBuilder::new().mtime(mtime);
    let mut encoder = builder.write(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Where these bytes are first.
pub(super) fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn cut(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("connection closed {place}"))
}

fn malformed(what: &str, bytes: &[u8]) -> io::Error {
    let text = format!("{what}: {}", bytes.escape_ascii());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
