//! A socket that reports what it does, and that closes without losing its last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::activity::Activity;

/// How long, and how many bytes, a peer may still send after the last answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A socket of one connection.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    activity: Arc<Activity>,
    /// What is left of interim answers that are being written.
    interim: Bytes,
    closing: Closing,
}

/// How far closing is.
///
/// A socket that is closed while bytes wait to be read is reset, and the reset can overtake the
/// last answer. So the end is announced first, and what still comes is read and dropped.
#[derive(Debug)]
enum Closing {
    Open,
    Lingering { until: Pin<Box<Sleep>>, bytes_left: usize },
    Closed,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, interim: Bytes::new(), closing: Closing::Open }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.activity.received();
        Poll::Ready(Ok(()))
    }
}

impl Socket<TcpStream> {
    /// Writes the rest of interim answers, before anything else may be written.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            self.activity.wrote(written.is_pending());
            self.interim.advance(ready!(written)?);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket<TcpStream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.takes_probe()
            && let Some(error) = self.stream.take_error()?
        {
            return Poll::Ready(Err(error));
        }
        // hyper flushes when all that it had to write has gone: no answer is cut in two.
        if self.interim.is_empty()
            && let Some(interim) = self.activity.take_interim()
        {
            self.interim = interim.into();
        }
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::Open => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                    let until = Box::pin(tokio::time::sleep(LINGER));
                    this.closing = Closing::Lingering { until, bytes_left: LINGER_BYTES_MAX };
                }
                Closing::Lingering { until, bytes_left } => {
                    let mut dropped = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut dropped);
                    let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
                    let read = match read {
                        Poll::Ready(Ok(())) => buffer.filled().len(),
                        Poll::Ready(Err(_)) => 0,
                        Poll::Pending => {
                            ready!(until.as_mut().poll(cx));
                            0
                        }
                    };
                    *bytes_left = bytes_left.saturating_sub(read);
                    if read == 0 || *bytes_left == 0 {
                        this.closing = Closing::Closed;
                    }
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}
