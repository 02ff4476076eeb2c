//! A stream to the upstream, by TLS or without.

use tokio_util::either::Either;

use crate::transport::{Refusal, Secured, Stream};

/// A stream to the upstream: one of plain text, or one by TLS.
pub(super) type Wire = Either<Stream, Box<Secured<Stream>>>;

/// What tells whether the upstream does not accept the client's certificate, if it may still say
/// so.
pub(super) fn refusal(wire: &Wire) -> Option<Refusal> {
    match wire {
        Wire::Left(_) => None,
        Wire::Right(stream) => Some(stream.refusal()),
    }
}
