//! What a connection reads from and writes to: a socket, by TLS or not, and interim answers
//! between the final ones.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::activity::Activity;
use super::socket::Socket;

/// What a connection reads from and writes to.
#[derive(Debug)]
pub(super) struct Wire {
    channel: Channel,
    /// The activity whose interim answers are written; none for HTTP/2, which has frames.
    interims: Option<Arc<Activity>>,
    /// What is left of interim answers that are being written.
    interim: Bytes,
}

/// A socket of plain text, or one by TLS.
type Channel = Either<Socket, Box<TlsStream<Socket>>>;

impl Wire {
    /// One of plain text.
    pub(super) const fn plain(socket: Socket) -> Self {
        Self { channel: Channel::Left(socket), interims: None, interim: Bytes::new() }
    }

    /// One by TLS.
    pub(super) fn tls(stream: TlsStream<Socket>) -> Self {
        let channel = Channel::Right(Box::new(stream));
        Self { channel, interims: None, interim: Bytes::new() }
    }

    /// The same, with interim answers between its writes.
    pub(super) fn with_interims(self, activity: Arc<Activity>) -> Self {
        Self { interims: Some(activity), ..self }
    }

    fn socket(&self) -> &Socket {
        match &self.channel {
            Either::Left(socket) => socket,
            Either::Right(stream) => stream.get_ref().0,
        }
    }

    /// Writes the rest of interim answers, before anything else may be written.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.channel).poll_write(cx, &self.interim))?;
            self.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.channel).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.channel).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.channel.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(activity) = &self.interims {
            if activity.takes_probe()
                && let Some(error) = self.socket().stream().take_error()?
            {
                return Poll::Ready(Err(error));
            }
            // hyper flushes when all that it had to write has gone: no answer is cut in two.
            if self.interim.is_empty()
                && let Some(interim) = activity.take_interim()
            {
                self.interim = interim.into();
            }
        }
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}
