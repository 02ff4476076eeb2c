//! Reads an answer whole, as far as it may be kept.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, header};
use http_body::Body as _;

use crate::idempotency::{Answer, AnswerBuilder};
use crate::message::{
    BodyError, Extent, Gathered, Reservation, Style, clean_trailers, extent, scan,
};
use crate::upstream::AnswerBody;

/// How long the trailers of a call may take after its message; then it counts as one that streams.
const TRAILERS_WAIT: Duration = Duration::from_secs(5);

/// How reading an answer ended.
pub(super) enum Captured {
    /// It has come whole.
    Whole(Answer),
    /// It is larger than may be kept, or a stream; this is what was read, and the rest.
    Partly(Parts, Bytes, AnswerBody),
}

/// Reads an answer that was cleaned of what belonged to its connection.
///
/// What its header and its trailers may take is limited where they are received.
pub(super) async fn capture(
    parts: Parts,
    mut body: AnswerBody,
    style: Style,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Captured, BodyError> {
    let mut gathered = Gathered::default();
    let mut trailers = HeaderMap::new();
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let next = match reach(style, &gathered, bytes_max) {
            Reach::Further => next.await,
            Reach::ToItsEnd => match tokio::time::timeout(TRAILERS_WAIT, next).await {
                Ok(next) => next,
                Err(_) => return Ok(Captured::Partly(parts, gathered.into_bytes(), body)),
            },
            Reach::TooFar => return Ok(Captured::Partly(parts, gathered.into_bytes(), body)),
        };
        let Some(frame) = next.transpose()? else { break };
        // The operation was executed: its answer is not given up for want of room.
        match frame.into_data() {
            Ok(piece) => {
                reservation.take(piece.len());
                gathered.push(piece);
            }
            Err(frame) => {
                let Ok(mut came) = frame.into_trailers() else { continue };
                clean_trailers(&mut came);
                reservation.take(scan(&came).bytes);
                trailers = came;
            }
        }
    }
    Ok(Captured::Whole(put_together(&parts, &trailers, gathered.as_slice())))
}

/// How far an answer was read.
enum Reach {
    /// More of it must come.
    Further,
    /// It is whole, if it ends now.
    ToItsEnd,
    /// Farther than what can be kept goes.
    TooFar,
}

fn reach(style: Style, gathered: &Gathered, bytes_max: usize) -> Reach {
    let extent = match style {
        Style::Plain => Extent::Opaque,
        Style::Grpc => extent(gathered.as_slice()),
    };
    match extent {
        _ if gathered.len() > bytes_max => Reach::TooFar,
        Extent::Part(length) if length > bytes_max as u64 && !gathered.is_empty() => Reach::TooFar,
        Extent::Part(_) | Extent::Opaque => Reach::Further,
        Extent::One => Reach::ToItsEnd,
        Extent::More => Reach::TooFar,
    }
}

fn put_together(parts: &Parts, trailers: &HeaderMap, body: &[u8]) -> Answer {
    let mut builder = AnswerBuilder::new(parts.status.as_u16());
    for (name, value) in &parts.headers {
        // Not what the upstream said of the length, but what has come, is said of it.
        if name != header::CONTENT_LENGTH && name != header::TRAILER {
            builder.line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in trailers {
        builder.trailer(name.as_str().as_bytes(), value.as_bytes());
    }
    builder.finish(body)
}
