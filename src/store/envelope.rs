//! A record as it stands outside of the process: with its own key, and a checksum over both.

use bytes::{BufMut, Bytes, BytesMut};

use crate::idempotency::{
    Beginning, CodecError, Record, RecordKey, decode, decode_beginning, encode,
};

/// The version of the envelope. It stands first in whatever this version writes.
const VERSION: u8 = 1;

const KEY_BYTES: usize = 32;

/// The first half of a BLAKE3 hash: enough to find what disks and networks do to bytes.
const CHECKSUM_BYTES: usize = 16;

/// version (1) · checksum (16) of all that follows · key (32) · record
const HEAD_BYTES: usize = 1 + CHECKSUM_BYTES + KEY_BYTES;

/// Why what stands outside is not the record with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::store) enum EnvelopeError {
    /// Another version has written it.
    #[error("the envelope has version {0}, and only version {VERSION} is known")]
    UnknownVersion(u8),
    /// It has been cut, or changed.
    #[error("the record is corrupt")]
    Corrupt,
    /// It is whole, and another's.
    #[error("the record belongs to another key")]
    OtherKey,
    /// It is what was written, and no record.
    #[error(transparent)]
    Record(#[from] CodecError),
}

/// Puts a record into an envelope.
pub(in crate::store) fn seal(key: &RecordKey, record: &Record) -> Bytes {
    let record = encode(record);
    let mut sealed = BytesMut::with_capacity(HEAD_BYTES + record.len());
    sealed.put_u8(VERSION);
    sealed.put_bytes(0, CHECKSUM_BYTES);
    sealed.put_slice(key.as_bytes());
    sealed.put_slice(&record);
    let checksum = checksum(&sealed[1 + CHECKSUM_BYTES..]);
    sealed[1..=CHECKSUM_BYTES].copy_from_slice(&checksum);
    sealed.freeze()
}

/// Takes the record with this key out of its envelope; its answer shares the memory of `sealed`.
pub(in crate::store) fn open(key: &RecordKey, sealed: &Bytes) -> Result<Record, EnvelopeError> {
    match sealed.first() {
        Some(&VERSION) if sealed.len() > HEAD_BYTES => {}
        Some(&VERSION) | None => return Err(EnvelopeError::Corrupt),
        Some(&version) => return Err(EnvelopeError::UnknownVersion(version)),
    }
    let (head, covered) = sealed.split_at(1 + CHECKSUM_BYTES);
    if head[1..] != checksum(covered) {
        return Err(EnvelopeError::Corrupt);
    }
    if covered[..KEY_BYTES] != *key.as_bytes() {
        return Err(EnvelopeError::OtherKey);
    }
    Ok(decode(&sealed.slice(HEAD_BYTES..))?)
}

/// Reads the beginning of an envelope in which there is an answer. The checksum covers the whole of
/// it, and so says nothing here. The beginning's place is that in the envelope.
pub(in crate::store) fn open_beginning(
    key: &RecordKey,
    sealed: &[u8],
) -> Result<Beginning, EnvelopeError> {
    let (head, record) = sealed.split_at_checked(HEAD_BYTES).ok_or(EnvelopeError::Corrupt)?;
    if head[0] != VERSION {
        return Err(EnvelopeError::UnknownVersion(head[0]));
    }
    if head[1 + CHECKSUM_BYTES..] != *key.as_bytes() {
        return Err(EnvelopeError::OtherKey);
    }
    let beginning = decode_beginning(record)?;
    Ok(Beginning { answer_at: HEAD_BYTES + beginning.answer_at, ..beginning })
}

/// The encoded record in an envelope that [`seal`] has made; it shares its memory.
pub(in crate::store) fn content(sealed: &Bytes) -> Bytes {
    sealed.slice(HEAD_BYTES.min(sealed.len())..)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(bytes);
    std::array::from_fn(|index| hash.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::idempotency::{AnswerBuilder, Fingerprint, LeaseToken, Origin, State};

    const KEY: RecordKey = RecordKey::from_bytes([7; 32]);

    fn record() -> Record {
        let mut answer = AnswerBuilder::new(200);
        answer.line(b"content-type", b"text/plain");
        let answer = answer.finish(b"ok");
        let (expires_at, kept_at) = (Timestamp::from_millis(9), Timestamp::from_millis(5));
        let state = State::Completed { answer, kept_at };
        let (fingerprint, token) = (Fingerprint::COVERED, LeaseToken(3));
        let origin = Origin::new("payments", "POST", "/v1/charges", Timestamp::from_millis(4));
        Record { fingerprint, token, expires_at, state, origin: Some(origin.into()) }
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        assert_eq!(open(&KEY, &seal(&KEY, &record())), Ok(record()));
        assert_eq!(content(&seal(&KEY, &record())), encode(&record()));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let sealed = seal(&KEY, &record());
        for index in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[index] ^= 1;
            assert!(open(&KEY, &changed.into()).is_err(), "{index}");
            assert_eq!(open(&KEY, &sealed.slice(..index)), Err(EnvelopeError::Corrupt));
        }
    }

    #[test]
    fn another_key_and_another_version_are_told_apart() {
        let sealed = seal(&KEY, &record());
        let other = RecordKey::from_bytes([8; 32]);
        assert_eq!(open(&other, &sealed), Err(EnvelopeError::OtherKey));
        let mut newer = sealed.to_vec();
        newer[0] = VERSION + 1;
        assert_eq!(open(&KEY, &newer.into()), Err(EnvelopeError::UnknownVersion(VERSION + 1)));
    }
}
