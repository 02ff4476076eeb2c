//! Encryption of records that stand outside of the process.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};

/// The most keys there may be at a time.
const KEYS_MAX: usize = 64;

/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 32;

const KEY_BYTES: usize = 32;

const TAG_BYTES: usize = 16;

/// Keys, each with its name: the first encrypts, all decrypt.
///
/// What is encrypted is: length of the name (1) · name · nonce (12) · ciphertext · tag (16).
/// AES-256 in GCM-SIV mode forgives a nonce that comes twice, which random ones may.
pub struct SealKeys {
    first: String,
    keys: BTreeMap<String, LessSafeKey>,
}

/// Why a text has no keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealKeysError {
    /// There is nothing in it.
    #[error("there is no key; a line is NAME:KEY, with the 32 bytes of the key in Base64")]
    None,
    /// There are too many.
    #[error("there may be {KEYS_MAX} keys at most")]
    TooMany,
    /// A line has no colon, or its name is empty, too long, or not of letters, digits, - and _.
    #[error(
        "line {0} is not NAME:KEY, with a name of up to {NAME_BYTES_MAX} letters, digits, - or _"
    )]
    Name(usize),
    /// What follows the name is not a key.
    #[error("the key on line {0} is not 32 bytes in Base64")]
    Key(usize),
    /// A name comes again.
    #[error("the name on line {0} has been given before")]
    Twice(usize),
}

/// Why something can't be encrypted or decrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::store) enum SealError {
    #[error("it can't be encrypted")]
    Encrypt,
    #[error("it was encrypted with a key that is not here")]
    UnknownKey,
    #[error("it was not encrypted with this key, or has been changed since")]
    Forged,
    #[error("it is cut")]
    Cut,
}

impl SealKeys {
    /// Reads keys, one on each line: `NAME:KEY`, with the key's 32 bytes in Base64.
    ///
    /// Empty lines, and those that begin with `#`, are skipped.
    pub fn parse(text: &str) -> Result<Self, SealKeysError> {
        let mut first = None;
        let mut keys = BTreeMap::new();
        for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text.trim())) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, key) = text.split_once(':').ok_or(SealKeysError::Name(line))?;
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
                return Err(SealKeysError::Name(line));
            }
            let key = STANDARD.decode(key.trim()).map_err(|_| SealKeysError::Key(line))?;
            if key.len() != KEY_BYTES {
                return Err(SealKeysError::Key(line));
            }
            let key = UnboundKey::new(&AES_256_GCM_SIV, &key);
            let key = key.map_err(|_| SealKeysError::Key(line))?;
            if keys.insert(name.to_owned(), LessSafeKey::new(key)).is_some() {
                return Err(SealKeysError::Twice(line));
            }
            if keys.len() > KEYS_MAX {
                return Err(SealKeysError::TooMany);
            }
            first.get_or_insert_with(|| name.to_owned());
        }
        Ok(Self { first: first.ok_or(SealKeysError::None)?, keys })
    }

    /// Encrypts with the first key; `covered` must be the same when it is decrypted.
    pub(in crate::store) fn seal(&self, open: &[u8], covered: &[u8]) -> Result<Bytes, SealError> {
        let key = self.keys.get(&self.first).ok_or(SealError::Encrypt)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Encrypt)?;
        let head = 1 + self.first.len() + NONCE_LEN;
        let mut sealed = BytesMut::with_capacity(head + open.len() + TAG_BYTES);
        let length = u8::try_from(self.first.len()).map_err(|_| SealError::Encrypt)?;
        sealed.extend_from_slice(&[length]);
        sealed.extend_from_slice(self.first.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(open);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(covered), &mut sealed[head..])
            .map_err(|_| SealError::Encrypt)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.freeze())
    }

    /// Decrypts with whichever key it was encrypted with.
    pub(in crate::store) fn open(&self, sealed: &[u8], covered: &[u8]) -> Result<Bytes, SealError> {
        let (length, rest) = sealed.split_first().ok_or(SealError::Cut)?;
        let (name, rest) = rest.split_at_checked((*length).into()).ok_or(SealError::Cut)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Cut)?;
        let name = std::str::from_utf8(name).map_err(|_| SealError::UnknownKey)?;
        let key = self.keys.get(name).ok_or(SealError::UnknownKey)?;
        let mut open = BytesMut::from(sealed);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key
            .open_in_place(nonce, Aad::from(covered), &mut open)
            .map_err(|_| SealError::Forged)?
            .len();
        open.truncate(length);
        Ok(open.freeze())
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKeys").field("names", &self.keys.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, byte: u8) -> String {
        format!("{name}:{}\n", STANDARD.encode([byte; KEY_BYTES]))
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let old = SealKeys::parse(&line("a", 1)).unwrap();
        let both = SealKeys::parse(&format!("# keys\n\n{}{}", line("b", 2), line("a", 1))).unwrap();
        let new = SealKeys::parse(&line("b", 2)).unwrap();
        let by_old = old.seal(b"text", b"covered").unwrap();
        let by_both = both.seal(b"text", b"covered").unwrap();
        assert_eq!(both.open(&by_old, b"covered").unwrap(), "text");
        assert_eq!(new.open(&by_both, b"covered").unwrap(), "text");
        assert_eq!(new.open(&by_old, b"covered"), Err(SealError::UnknownKey));
        assert!(!by_both.windows(4).any(|window| window == b"text"));
        assert_ne!(old.seal(b"text", b"covered").unwrap(), by_old);
    }

    #[test]
    fn every_change_and_every_cut_is_found() {
        let keys = SealKeys::parse(&line("a", 1)).unwrap();
        let sealed = keys.seal(b"text", b"covered").unwrap();
        assert_eq!(keys.open(&sealed, b"other"), Err(SealError::Forged));
        for index in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[index] ^= 1;
            assert!(keys.open(&changed, b"covered").is_err(), "{index}");
            assert!(keys.open(&sealed[..index], b"covered").is_err(), "{index}");
        }
        let other = SealKeys::parse(&line("a", 2)).unwrap();
        assert_eq!(other.open(&sealed, b"covered"), Err(SealError::Forged));
    }

    #[test]
    fn mistakes_are_named_and_keys_are_not_shown() {
        let short = format!("a:{}", STANDARD.encode([1; 31]));
        let many: String = (0..65).map(|number| line(&number.to_string(), 1)).collect();
        for (text, error) in [
            ("", SealKeysError::None),
            ("# nothing", SealKeysError::None),
            ("a", SealKeysError::Name(1)),
            (":a", SealKeysError::Name(1)),
            ("a b:c", SealKeysError::Name(1)),
            (&short, SealKeysError::Key(1)),
            ("\na:!", SealKeysError::Key(2)),
            (&format!("{}{}", line("a", 1), line("a", 2)), SealKeysError::Twice(2)),
            (&many, SealKeysError::TooMany),
        ] {
            assert_eq!(SealKeys::parse(text).unwrap_err(), error, "{text}");
        }
        let shown = format!("{:?}", SealKeys::parse(&line("name", 1)).unwrap());
        assert!(shown.contains("name") && !shown.contains(&STANDARD.encode([1; 32])), "{shown}");
    }
}
