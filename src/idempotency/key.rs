//! Keys: what a caller chooses, where it is unique, and what a store sees of it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::message::{StringError, parse_string};

/// The version of the derivation below; it is part of every record key.
const DERIVATION_VERSION: u8 = 1;

/// A key that a caller chose: 1 to 255 visible ASCII characters.
#[derive(Clone, Eq, PartialEq)]
pub struct IdempotencyKey<'a>(Cow<'a, [u8]>);

/// Why a header value is not a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// It has no characters.
    #[error("a key needs at least one character, and this one is empty")]
    Empty,
    /// It has more than 255 characters.
    #[error("a key may have at most 255 characters, and this one has {0}")]
    TooLong(usize),
    /// It has a character that is not visible ASCII.
    #[error("a key may hold only visible ASCII characters, and this one holds another")]
    BadCharacter,
    /// It begins with a quotation mark, but is not a quoted string.
    #[error("a key that begins with a quotation mark must be a quoted string: {0}")]
    BadString(#[from] StringError),
    /// It stands in several lines, pairs or parameters.
    #[error("a key may stand only once, and this one stands several times")]
    Several,
}

/// What keys the hashes of one store, so that nobody outside can compute them.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret([[u8; 32]; Purpose::ALL.len()]);

/// What a hash is for: hashes for one use tell nothing about those for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The key of a record.
    RecordKey,
    /// A checksum that stands for a key.
    Checksum,
    /// What a request says.
    Content,
    /// A body that could not be decoded.
    Undecoded,
    /// A key that the upstream is sent.
    ForwardedKey,
}

/// Whether a request says whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// It carries no credential.
    Anonymous,
    /// It carries a credential.
    Known,
}

/// Where a key is unique.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Sets apart what shares a store and a secret; usually empty.
    pub namespace: &'a str,
    /// The method.
    pub method: &'a str,
    /// The canonical authority.
    pub authority: &'a str,
    /// The path as it was sent, without the query.
    pub path: &'a str,
}

/// The key of a record, and all that a store sees of a request.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordKey([u8; 32]);

/// Gathers the parts of a [`RecordKey`], each with its length, so that no two lists of parts
/// run into one another.
#[derive(Debug)]
pub struct RecordKeyBuilder {
    parts: Vec<u8>,
    caller: Caller,
}

impl<'a> IdempotencyKey<'a> {
    /// The longest key, in characters.
    pub const CHARACTERS_MAX: usize = 255;

    /// Reads a key from a header value: bare, or as a string of RFC 9651; `"k"` equals `k`.
    pub fn parse(value: &'a [u8]) -> Result<Self, KeyError> {
        let value = value.trim_ascii();
        if value.first() == Some(&b'"') {
            return Self::checked(parse_string(value)?);
        }
        Self::bare(value)
    }

    /// Reads a key that is never quoted.
    pub fn bare(value: &'a [u8]) -> Result<Self, KeyError> {
        Self::checked(value.into())
    }

    fn checked(key: Cow<'a, [u8]>) -> Result<Self, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > Self::CHARACTERS_MAX {
            return Err(KeyError::TooLong(key.len()));
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(KeyError::BadCharacter);
        }
        Ok(Self(key))
    }

    /// The characters of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} characters)", self.0.len())
    }
}

impl Secret {
    /// A secret that nobody else has; it dies with the process.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// A given secret.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Purpose::ALL.map(|purpose| *blake3::keyed_hash(&bytes, &[purpose as u8]).as_bytes()))
    }

    /// A hasher whose hashes only holders of the secret can repeat.
    pub fn hasher(&self, purpose: Purpose) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0[purpose as usize])
    }

    /// A hash that only holders of the secret can repeat.
    pub fn hash(&self, purpose: Purpose, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0[purpose as usize], bytes)
    }
}

impl Purpose {
    const ALL: [Self; 5] =
        [Self::RecordKey, Self::Checksum, Self::Content, Self::Undecoded, Self::ForwardedKey];
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl RecordKey {
    /// A key from its bytes, as a store has kept them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key under which the upstream is sent the operation: a UUID of version 8 (RFC 9562),
    /// which fits where a UUID is asked for, and tells nothing of the caller's own key.
    pub fn forwarded(&self, secret: &Secret) -> String {
        let hash = secret.hash(Purpose::ForwardedKey, &self.0);
        let mut bytes: [u8; 16] = std::array::from_fn(|index| hash.as_bytes()[index]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 0x0f] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    /// The key under which it is noted that the operation was only observed. Such a record has no
    /// answer, and must not stand for one when the operation is guarded.
    #[must_use]
    pub fn observed(&self) -> Self {
        Self(*blake3::keyed_hash(&self.0, b"observed").as_bytes())
    }

    /// What the `Duplicate-Key` field says: the standard base64 of the key.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }
}

impl RecordKey {
    /// Reads what the `Duplicate-Key` field says, or the same in base64url without padding.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
        bytes.ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = u32::from_be_bytes(std::array::from_fn(|index| self.0[index]));
        write!(f, "RecordKey({start:08x})")
    }
}

impl RecordKeyBuilder {
    /// Begins with the scope.
    pub fn new(scope: Scope<'_>) -> Self {
        let mut builder = Self { parts: Vec::with_capacity(512), caller: Caller::Anonymous };
        builder.parts.push(DERIVATION_VERSION);
        for part in [scope.namespace, scope.method, scope.authority, scope.path] {
            builder.part(part.as_bytes());
        }
        builder
    }

    /// Adds one credential: of what kind it is, its name, its value, and whether it says who the
    /// caller is.
    pub fn credential(&mut self, kind: &str, name: &str, value: &[u8], caller: Caller) {
        if caller == Caller::Known {
            self.caller = Caller::Known;
        }
        self.parts.push(b'c');
        self.part(kind.as_bytes());
        self.part(name.as_bytes());
        self.part(value);
    }

    /// Adds the name of the key's source, and the parts that `read` finds; or nothing, if it says
    /// that there is no key there. A source has always as many parts.
    pub fn key<E>(
        &mut self,
        source: &str,
        read: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let before = self.parts.len();
        self.parts.push(b'k');
        self.part(source.as_bytes());
        let found = read(&mut |part| self.part(part))?;
        if !found {
            self.parts.truncate(before);
        }
        Ok(found)
    }

    /// The key of the record, and whether the caller is known.
    pub fn finish(self, secret: &Secret) -> (RecordKey, Caller) {
        (RecordKey(*secret.hash(Purpose::RecordKey, &self.parts).as_bytes()), self.caller)
    }

    fn part(&mut self, part: &[u8]) {
        self.parts.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.parts.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Result<&str, KeyError>) {
        let parsed = IdempotencyKey::parse(value.as_bytes());
        let parsed = parsed.as_ref().map(IdempotencyKey::as_bytes).map_err(|error| *error);
        assert_eq!(parsed, expected.map(str::as_bytes));
    }

    #[test]
    fn keys_are_read_bare_and_quoted() {
        check("k", Ok("k"));
        check("\"k\"", Ok("k"));
        check("8e03978e-40d5-43dd-bc93-6894a57f9324", Ok("8e03978e-40d5-43dd-bc93-6894a57f9324"));
        check("a\"b", Ok("a\"b"));
        check(&"x".repeat(255), Ok(&"x".repeat(255)));
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        check("", Err(KeyError::Empty));
        check("\"\"", Err(KeyError::Empty));
        check(&"x".repeat(256), Err(KeyError::TooLong(256)));
        check("a b", Err(KeyError::BadCharacter));
        check("\"a b\"", Err(KeyError::BadCharacter));
        check("a\u{7f}", Err(KeyError::BadCharacter));
        check("ä", Err(KeyError::BadCharacter));
        check("\"a", Err(KeyError::BadString(StringError::NotClosed)));
    }

    fn key(scope: [&str; 4], credentials: &[(&str, &str)], source: &str, key: &str) -> RecordKey {
        let [namespace, method, authority, path] = scope;
        let scope = Scope { namespace, method, authority, path };
        let mut builder = RecordKeyBuilder::new(scope);
        for (source, value) in credentials {
            builder.credential("header", source, value.as_bytes(), Caller::Known);
        }
        let key: Result<_, ()> = builder.key(source, |part| {
            part(key.as_bytes());
            Ok(true)
        });
        assert_eq!(key, Ok(true));
        builder.finish(&Secret::from_bytes([7; 32])).0
    }

    #[test]
    fn every_part_counts_and_none_runs_into_another() {
        let scope = ["", "POST", "a", "/b"];
        let keys = [
            key(scope, &[], "h", "k"),
            key(["n", "POST", "a", "/b"], &[], "h", "k"),
            key(["", "PUT", "a", "/b"], &[], "h", "k"),
            key(["", "POST", "a/", "b"], &[], "h", "k"),
            key(scope, &[("x", "y")], "h", "k"),
            key(scope, &[("xy", "")], "h", "k"),
            key(scope, &[("x", "y"), ("x", "y")], "h", "k"),
            key(scope, &[], "hk", ""),
            key(scope, &[], "h", "kk"),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn a_key_that_is_not_there_leaves_no_trace() {
        let secret = Secret::from_bytes([7; 32]);
        let scope = Scope { namespace: "", method: "POST", authority: "a", path: "/b" };
        let mut builder = RecordKeyBuilder::new(scope);
        let missing: Result<_, ()> = builder.key("other", |part| {
            part(b"half of it");
            Ok(false)
        });
        assert_eq!(missing, Ok(false));
        let untouched = RecordKeyBuilder::new(scope).finish(&secret);
        assert_eq!(builder.finish(&secret), untouched);
    }

    #[test]
    fn the_upstream_is_sent_a_uuid_that_only_the_secret_gives() {
        let key = RecordKey::from_bytes([1; 32]);
        let uuid = key.forwarded(&Secret::from_bytes([7; 32]));
        let digits: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(digits, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'8');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
        assert_eq!(uuid, key.forwarded(&Secret::from_bytes([7; 32])));
        assert_ne!(uuid, key.forwarded(&Secret::from_bytes([8; 32])));
        assert_ne!(uuid, RecordKey::from_bytes([2; 32]).forwarded(&Secret::from_bytes([7; 32])));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!("{:?}", IdempotencyKey::parse(b"sesame").unwrap());
        assert_eq!(shown, "IdempotencyKey(6 characters)");
        assert_eq!(format!("{:?}", Secret::from_bytes([7; 32])), "Secret");
        assert_eq!(format!("{:?}", RecordKey::from_bytes([1; 32])), "RecordKey(01010101)");
    }
}
