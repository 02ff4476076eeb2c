//! Fingerprints: what must not change under one key.

use super::key::{Purpose, Secret};

/// A keyed hash of what a request asked for besides its key.
///
/// It holds one hash for each part, so that a refusal can say which part differs; together they
/// are 32 bytes. The hashes are keyed: nobody outside can search for two bodies that share one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint {
    query: [u8; 8],
    content_type: [u8; 8],
    body: [u8; 16],
}

/// A part of a request that a fingerprint covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The body, decoded.
    Body,
    /// The `Content-Type` field.
    ContentType,
    /// The query.
    Query,
}

/// Gathers the parts of a [`Fingerprint`].
#[derive(Debug)]
pub struct FingerprintBuilder {
    query: [u8; 8],
    content_type: [u8; 8],
}

impl Part {
    /// The part in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::ContentType => "content type",
            Self::Query => "query",
        }
    }
}

impl Fingerprint {
    /// The length of its bytes.
    pub const LENGTH: usize = 32;

    /// The fingerprint of a request whose key covers all of it.
    pub const COVERED: Self = Self { query: [0; 8], content_type: [0; 8], body: [0; 16] };

    /// The first part in which two fingerprints differ; nothing if they are equal.
    pub fn difference(&self, other: &Self) -> Option<Part> {
        if self.query != other.query {
            Some(Part::Query)
        } else if self.content_type != other.content_type {
            Some(Part::ContentType)
        } else if self.body != other.body {
            Some(Part::Body)
        } else {
            None
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.query);
        bytes[8..16].copy_from_slice(&self.content_type);
        bytes[16..].copy_from_slice(&self.body);
        bytes
    }

    /// A fingerprint from its bytes.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Self {
        Self {
            query: std::array::from_fn(|index| bytes[index]),
            content_type: std::array::from_fn(|index| bytes[8 + index]),
            body: std::array::from_fn(|index| bytes[16 + index]),
        }
    }
}

impl FingerprintBuilder {
    /// Begins with the query and the content type; a missing one differs from an empty one.
    pub fn new(secret: &Secret, query: Option<&str>, content_type: Option<&[u8]>) -> Self {
        Self {
            query: short(secret, query.map(str::as_bytes)),
            content_type: short(secret, content_type),
        }
    }

    /// Ends with a hash of the body.
    pub fn finish(self, body: blake3::Hash) -> Fingerprint {
        let Self { query, content_type } = self;
        Fingerprint { query, content_type, body: std::array::from_fn(|i| body.as_bytes()[i]) }
    }
}

fn short(secret: &Secret, part: Option<&[u8]>) -> [u8; 8] {
    part.map_or([0; 8], |part| {
        let hash = secret.hash(Purpose::Content, part);
        std::array::from_fn(|index| hash.as_bytes()[index])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: Option<&str>, content_type: Option<&str>, body: &str) -> Fingerprint {
        let secret = Secret::from_bytes([7; 32]);
        FingerprintBuilder::new(&secret, query, content_type.map(str::as_bytes))
            .finish(secret.hash(Purpose::Content, body.as_bytes()))
    }

    #[test]
    fn a_difference_is_named() {
        let first = of(Some("a=1"), Some("text/plain"), "hello");
        assert_eq!(first.difference(&first), None);
        let check = |other: Fingerprint, part| assert_eq!(first.difference(&other), Some(part));
        check(of(Some("a=2"), Some("text/plain"), "hello"), Part::Query);
        check(of(None, Some("text/plain"), "hello"), Part::Query);
        check(of(Some("a=1"), None, "hello"), Part::ContentType);
        check(of(Some("a=1"), Some("text/plain"), "hallo"), Part::Body);
        assert_eq!(of(None, None, "").difference(&of(Some(""), None, "")), Some(Part::Query));
    }

    #[test]
    fn bytes_are_read_back() {
        let fingerprint = of(Some("a=1"), Some("text/plain"), "hello");
        assert_eq!(Fingerprint::from_bytes(&fingerprint.to_bytes()), fingerprint);
    }
}
