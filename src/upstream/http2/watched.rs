//! A stream that knows whether anything was written to it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::wire::Wire;

/// A stream that counts how often something was to be written to it.
#[derive(Debug)]
pub(super) struct Watched {
    wire: Wire,
    writes: Writes,
}

/// How often something was to be written to a stream, whatever came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes(Arc<AtomicUsize>);

impl Writes {
    /// The number so far: as long as it stays the same, nothing leaves that was not on its way.
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Watched {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, writes: Writes::default() }
    }

    /// What counts.
    pub(super) fn writes(&self) -> Writes {
        self.writes.clone()
    }

    /// The stream, to which something is to be written.
    fn for_writing(&mut self) -> Pin<&mut Wire> {
        // By TLS, an error may come after a part of it has gone.
        self.writes.0.fetch_add(1, Ordering::AcqRel);
        Pin::new(&mut self.wire)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.for_writing().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.for_writing().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
