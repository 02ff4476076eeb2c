//! A stream to a server by TLS, which notices when the server ends the handshake after all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::client::is_about_certificates;

/// A stream to a server by TLS.
///
/// By TLS 1.3 the client is done with the handshake before the server has looked at the client's
/// certificate, and may write a request by then. A server that does not accept the certificate
/// says so by an alert, and has not read the request: nothing that was written after the
/// certificate is read before it has been accepted (RFC 8446, sections 4.4.2.4 and 4.6.1).
#[derive(Debug)]
pub struct Secured<S> {
    stream: TlsStream<S>,
    /// Whether the server has said anything yet.
    has_heard: bool,
    refusal: Refusal,
}

/// Whether a server has ended the handshake since it does not accept the client's certificate.
#[derive(Clone, Debug, Default)]
pub struct Refusal(Arc<AtomicBool>);

impl Refusal {
    /// Whether it has. Nothing that was written to the stream has been read then.
    pub fn has_come(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<S> Secured<S> {
    pub(super) fn new(stream: TlsStream<S>) -> Self {
        Self { stream, has_heard: false, refusal: Refusal::default() }
    }

    /// What tells whether the server has ended the handshake since it does not accept the
    /// client's certificate.
    pub fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    /// Whether an error in reading is the end of the handshake.
    ///
    /// It is not where the server can have been done with the handshake: if it has said
    /// anything, has given out a ticket, goes on with an earlier session, or speaks TLS 1.2.
    fn ends_handshake(&self, error: &io::Error) -> bool {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(alert)) = inner else { return false };
        let (_, session) = self.stream.get_ref();
        let is_full = matches!(
            session.handshake_kind(),
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        );
        is_about_certificates(*alert)
            && !self.has_heard
            && is_full
            && session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && session.tls13_tickets_received() == 0
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        match &read {
            Ok(()) => self.has_heard |= buffer.filled().len() > before,
            Err(error) if self.ends_handshake(error) => {
                self.refusal.0.store(true, Ordering::Release);
            }
            Err(_) => {}
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
