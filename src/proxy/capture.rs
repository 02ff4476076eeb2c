//! Reads an answer whole, as far as it may be kept.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use http::response::Parts;
use http::{StatusCode, header};
use http_body::Body as _;

use crate::idempotency::{Answer, AnswerBuilder};
use crate::message::{BodyError, Reservation};
use crate::upstream::AnswerBody;

/// How reading an answer ended.
pub(super) enum Captured {
    /// It has come whole.
    Whole(Answer),
    /// It is larger than may be kept; this is what was read, and the rest.
    TooLarge(Parts, VecDeque<Bytes>, AnswerBody),
}

/// Reads an answer that was cleaned of what belonged to its connection.
///
/// Trailers are dropped: a repeat may have come over a connection that cannot carry them.
pub(super) async fn capture(
    parts: Parts,
    mut body: AnswerBody,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Captured, BodyError> {
    let mut pieces = VecDeque::new();
    let mut length = 0;
    while let Some(frame) =
        std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()?
    {
        let Ok(piece) = frame.into_data() else { continue };
        length += piece.len();
        let has_room = reservation.grow(piece.len());
        pieces.push_back(piece);
        if length > bytes_max || !has_room {
            return Ok(Captured::TooLarge(parts, pieces, body));
        }
    }
    let mut builder = AnswerBuilder::new(parts.status.as_u16());
    for (name, value) in &parts.headers {
        if name != header::CONTENT_LENGTH || has_body(parts.status) {
            builder.line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    Ok(Captured::Whole(builder.finish(length, pieces.iter().map(Bytes::as_ref))))
}

/// Whether answers with the status have a body (RFC 9112, section 6.3).
fn has_body(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}
