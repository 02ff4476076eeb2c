//! How an answer says where it ends (RFC 9112, section 6.3; RFC 9113, section 8.1).

use http::response::Parts;
use http::{StatusCode, Version, header};
use http_body::Body;

/// How an answer says where it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// By its length, or by having no body.
    Length,
    /// By a mark of its own: a last chunk, or what HTTP/2 has for that.
    Marked,
    /// By closing the connection: an end that can't be told from a cut.
    Close,
}

/// An answer is framed in a way that nobody has asked for, or that can't be passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unframed;

impl Framing {
    /// How an answer with this body, as hyper has it, is framed.
    ///
    /// hyper reads an answer with any other transfer coding than `chunked` to the end of the
    /// connection, and leaves what it says of its length in place.
    pub(super) fn of(parts: &Parts, body: &impl Body) -> Result<Self, Unframed> {
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Unframed);
        }
        let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (None, _) if body.size_hint().exact().is_some() => Ok(Self::Length),
            (None, _) if parts.version == Version::HTTP_2 => Ok(Self::Marked),
            (None, _) => Ok(Self::Close),
            (Some(coding), None)
                if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") =>
            {
                Ok(Self::Marked)
            }
            (Some(_), _) => Err(Unframed),
        }
    }
}
