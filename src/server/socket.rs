//! A socket that reports what it does, and that closes without losing its last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::activity::Activity;
use crate::transport::Stream;

/// How long, and how many bytes, a peer may still send after the last answer: many send a body to
/// its end before they read why it is refused.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A socket of one connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    activity: Arc<Activity>,
    /// What was read to see what is spoken, and is to be read again.
    ahead: BytesMut,
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

impl Socket {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, ahead: BytesMut::new(), closing: Closing::Open }
    }

    /// The stream itself.
    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What was read and is to be read again.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes that away.
    pub(super) fn take_ahead(&mut self) -> BytesMut {
        std::mem::take(&mut self.ahead)
    }

    /// Leaves bytes to be read before all others.
    pub(super) fn give_back(&mut self, bytes: BytesMut) {
        self.ahead = bytes;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
        }
        self.activity.received();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
