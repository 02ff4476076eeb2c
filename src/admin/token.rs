//! The token that the API asks for.

use std::fmt;

/// A token, as its hash: it is only ever compared.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct AdminToken(blake3::Hash);

impl AdminToken {
    /// The fewest characters of a token.
    pub const LENGTH_MIN: usize = 16;

    /// The most characters of a token.
    pub const LENGTH_MAX: usize = 512;

    /// A token of visible ASCII characters, if there are as many as one needs.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&bytes.len());
        let is_visible = bytes.iter().all(u8::is_ascii_graphic);
        (fits && is_visible).then(|| Self(blake3::hash(bytes)))
    }

    /// Whether these are its characters. How long that takes says nothing of how many are right.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        self.0 == blake3::hash(bytes)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_and_long_enough() {
        let token = AdminToken::from_bytes(b"0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef") && !token.is(b"0123456789abcdeF"));
        assert_eq!(format!("{token:?}"), "AdminToken");
        for wrong in [&b"0123456789abcde"[..], b"0123456789 abcdef", b"", &[b'a'; 513]] {
            assert_eq!(AdminToken::from_bytes(wrong), None);
        }
    }
}
