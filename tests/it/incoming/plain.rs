//! A caller that speaks HTTP/1.1 over any stream.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::raw::Io;
use crate::support::{Ending, Field, Fields, Reply, Request, within};

/// A connection by HTTP/1.1.
pub struct Plain {
    pub stream: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl Plain {
    pub fn over(stream: impl Io + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Sends a request and reads its answer, which must come.
    pub async fn send(&mut self, request: &Request) -> Reply {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The same, where no answer is an answer too.
    pub async fn try_send(&mut self, request: &Request) -> io::Result<Reply> {
        self.write(&request.bytes()).await?;
        self.read().await
    }

    /// The next answer, which says how long it is.
    pub async fn read(&mut self) -> io::Result<Reply> {
        within("an answer", async {
            let end = loop {
                let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
                match end {
                    Some(end) => break end,
                    None => self.fill().await?,
                }
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end + 4);
            let mut lines = head.split("\r\n");
            let start = lines.next().unwrap_or_default().to_owned();
            let lines = lines.map(|line| {
                let (name, value) = line.split_once(": ").expect("a line");
                Field { name: name.to_owned(), value: value.into() }
            });
            let head = Fields { lines: lines.collect(), start };
            let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok());
            let length = head.first("content-length").and_then(|length| length.parse().ok());
            let length: usize = length.unwrap_or(0);
            while self.buffer.len() < length {
                self.fill().await?;
            }
            let body = self.buffer.drain(..length).collect();
            let status = status.ok_or(io::ErrorKind::InvalidData)?;
            let (interim, trailers) = (Vec::new(), Fields::default());
            Ok(Reply { status, head, body, ending: Ending::Complete, interim, trailers })
        })
        .await
    }

    /// Everything that comes until the end, which is announced.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        within("the end of the connection", async {
            self.stream.read_to_end(&mut self.buffer).await?;
            Ok(std::mem::take(&mut self.buffer))
        })
        .await
    }

    /// Exactly so many bytes.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        within("bytes", async {
            while self.buffer.len() < count {
                self.fill().await.expect("bytes before the end");
            }
        })
        .await;
        self.buffer.drain(..count).collect()
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
