//! Pieces of a body put together.

use bytes::{Bytes, BytesMut};

/// What has come of a body so far.
///
/// A body that comes in one piece is not copied. Of one that comes in many, only the bytes are
/// kept: a piece holds on to the whole buffer that it was read into.
#[derive(Debug, Default)]
pub struct Gathered {
    first: Bytes,
    all: BytesMut,
}

impl Gathered {
    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = piece;
            return;
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&piece);
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        if self.first.is_empty() { &self.all } else { &self.first }
    }

    /// The number of bytes so far.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing has come so far.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All that has come.
    pub fn into_bytes(self) -> Bytes {
        if self.first.is_empty() { self.all.freeze() } else { self.first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_together_in_order() {
        let mut gathered = Gathered::default();
        for piece in ["", "he", "", "l", "lo"] {
            gathered.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((gathered.len(), gathered.as_slice()), (5, &b"hello"[..]));
        assert_eq!(gathered.into_bytes(), "hello");
    }

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from(vec![b'x'; 100]);
        let at = piece.as_ptr();
        let mut gathered = Gathered::default();
        gathered.push(piece);
        assert_eq!(gathered.into_bytes().as_ptr(), at);
    }
}
