//! A record as one compact piece of memory, and back.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::answer::Answer;
use super::fingerprint::Fingerprint;
use super::origin::Origin;
use super::record::{LeaseToken, Record, State};
use crate::clock::Timestamp;

/// The version of the format below.
const VERSION: u8 = 3;

/// The version before, which has no origin; it is still read.
const WITHOUT_ORIGIN: u8 = 2;

const IN_FLIGHT: u8 = 0;
const COMPLETED: u8 = 1;
const UNREPLAYABLE: u8 = 2;
const INDETERMINATE: u8 = 3;

/// version (1) · state (1) · fingerprint (32) · token (8) · expiry (8), then the end of the
/// lease (8), or the time of keeping (8); the length of the origin (2) and the origin; the answer.
const COMMON: usize = 1 + 1 + Fingerprint::LENGTH + 8 + 8;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CodecError {
    /// They were written by another version.
    #[error(
        "the record has version {0}, and only versions {WITHOUT_ORIGIN} and {VERSION} are known"
    )]
    UnknownVersion(u8),
    /// They are too short, too long, or say what no record says.
    #[error("the record is malformed")]
    Malformed,
}

/// What a record with an answer says before the answer itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Beginning {
    /// What the first request asked for.
    pub fingerprint: Fingerprint,
    /// Who wrote it.
    pub token: LeaseToken,
    /// The last moment at which it counts.
    pub expires_at: Timestamp,
    /// When the answer was kept.
    pub kept_at: Timestamp,
    /// What the first request was, if that is known.
    pub origin: Option<Arc<Origin>>,
    /// The answer's status.
    pub status: u16,
    /// Where the answer begins, in the encoded record.
    pub answer_at: usize,
}

/// Writes a record.
pub fn encode(record: &Record) -> Bytes {
    encode_with(record, record.origin.as_deref())
}

/// Writes a record whose origin is kept beside it.
pub fn encode_without_origin(record: &Record) -> Bytes {
    encode_with(record, None)
}

fn encode_with(record: &Record, origin: Option<&Origin>) -> Bytes {
    let answer = match &record.state {
        State::Completed { answer, .. } => answer.encoded(),
        State::InFlight { .. } | State::Unreplayable | State::Indeterminate => &[],
    };
    let origin_length = origin.map_or(0, Origin::encoded_length);
    let mut encoded = Vec::with_capacity(COMMON + 8 + 2 + origin_length + answer.len());
    let state = match record.state {
        State::InFlight { .. } => IN_FLIGHT,
        State::Completed { .. } => COMPLETED,
        State::Unreplayable => UNREPLAYABLE,
        State::Indeterminate => INDETERMINATE,
    };
    encoded.put_u8(VERSION);
    encoded.put_u8(state);
    encoded.put_slice(&record.fingerprint.to_bytes());
    encoded.put_u64(record.token.0);
    encoded.put_u64(record.expires_at.as_millis());
    match record.state {
        State::InFlight { lease_until: time } | State::Completed { kept_at: time, .. } => {
            encoded.put_u64(time.as_millis());
        }
        State::Unreplayable | State::Indeterminate => {}
    }
    // An origin is cut to less than a kilobyte.
    encoded.put_u16(u16::try_from(origin_length).unwrap_or(u16::MAX));
    if let Some(origin) = origin {
        origin.encode(&mut encoded);
    }
    encoded.put_slice(answer);
    encoded.into()
}

/// Reads a record; its answer shares the memory of `encoded`.
pub fn decode(encoded: &Bytes) -> Result<Record, CodecError> {
    let (mut record, origin) = split(encoded)?;
    if !origin.is_empty() {
        record.origin = Some(Arc::new(Origin::decode(origin)?));
    }
    Ok(record)
}

/// Reads a record whose origin is kept beside it. Nothing is allocated.
pub fn decode_from(encoded: &Bytes, origin: Option<Arc<Origin>>) -> Result<Record, CodecError> {
    split(encoded).map(|(record, _)| Record { origin, ..record })
}

/// What stands before an answer.
struct Front<'a> {
    state: u8,
    fingerprint: Fingerprint,
    token: LeaseToken,
    expires_at: Timestamp,
    /// The end of the lease, or when the answer was kept.
    time: Timestamp,
    origin: &'a [u8],
}

/// Reads what stands before an answer, and leaves the rest.
fn front<'a>(rest: &mut &'a [u8]) -> Result<Front<'a>, CodecError> {
    let [version] = *take(rest)?;
    if !matches!(version, WITHOUT_ORIGIN | VERSION) {
        return Err(CodecError::UnknownVersion(version));
    }
    let [state] = *take(rest)?;
    let fingerprint = Fingerprint::from_bytes(take(rest)?);
    let token = LeaseToken(u64::from_be_bytes(*take(rest)?));
    let expires_at = take_time(rest)?;
    let time = match state {
        IN_FLIGHT | COMPLETED => take_time(rest)?,
        _ => expires_at,
    };
    let origin = match version {
        VERSION => {
            let length = usize::from(u16::from_be_bytes(*take(rest)?));
            let (origin, left) = rest.split_at_checked(length).ok_or(CodecError::Malformed)?;
            *rest = left;
            origin
        }
        _ => &[],
    };
    Ok(Front { state, fingerprint, token, expires_at, time, origin })
}

/// Reads a record, and finds its origin.
fn split(encoded: &Bytes) -> Result<(Record, &[u8]), CodecError> {
    let mut rest = encoded.as_ref();
    let Front { state, fingerprint, token, expires_at, time, origin } = front(&mut rest)?;
    let state = match state {
        IN_FLIGHT => State::InFlight { lease_until: time },
        COMPLETED => {
            let answer = encoded.slice(encoded.len() - std::mem::take(&mut rest).len()..);
            let answer = Answer::decode(answer).map_err(|_| CodecError::Malformed)?;
            State::Completed { answer, kept_at: time }
        }
        UNREPLAYABLE => State::Unreplayable,
        INDETERMINATE => State::Indeterminate,
        _ => return Err(CodecError::Malformed),
    };
    if !rest.is_empty() {
        return Err(CodecError::Malformed);
    }
    Ok((Record { fingerprint, token, expires_at, state, origin: None }, origin))
}

/// Reads the first kilobyte of a record that has an answer, or more of it.
pub fn decode_beginning(encoded: &[u8]) -> Result<Beginning, CodecError> {
    let mut rest = encoded;
    let front = front(&mut rest)?;
    if front.state != COMPLETED {
        return Err(CodecError::Malformed);
    }
    let answer_at = encoded.len() - rest.len();
    let status = u16::from_be_bytes(*take(&mut rest)?);
    let origin = (!front.origin.is_empty()).then(|| Origin::decode(front.origin)).transpose()?;
    Ok(Beginning {
        fingerprint: front.fingerprint,
        token: front.token,
        expires_at: front.expires_at,
        kept_at: front.time,
        origin: origin.map(Arc::new),
        status,
        answer_at,
    })
}

/// When the record in `encoded` expires, without reading the rest of it.
pub fn expiry(encoded: &[u8]) -> Option<Timestamp> {
    let at = COMMON - 8;
    let bytes = encoded.get(at..)?.first_chunk::<8>()?;
    Some(Timestamp::from_millis(u64::from_be_bytes(*bytes)))
}

/// When an encoded record's answer was kept, without reading the rest; nothing if it has none.
pub fn kept_at(encoded: &[u8]) -> Option<Timestamp> {
    let has_answer = encoded.get(1) == Some(&COMPLETED);
    let bytes = encoded.get(COMMON..).filter(|_| has_answer)?.first_chunk::<8>()?;
    Some(Timestamp::from_millis(u64::from_be_bytes(*bytes)))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], CodecError> {
    let (taken, left) = rest.split_first_chunk().ok_or(CodecError::Malformed)?;
    *rest = left;
    Ok(taken)
}

fn take_time(rest: &mut &[u8]) -> Result<Timestamp, CodecError> {
    Ok(Timestamp::from_millis(u64::from_be_bytes(*take(rest)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::{AnswerBuilder, FingerprintBuilder, Purpose, Secret};

    fn record(state: State) -> Record {
        let secret = Secret::from_bytes([7; 32]);
        let fingerprint = FingerprintBuilder::new(&secret, Some("a"), None)
            .finish(secret.hash(Purpose::Content, b"body"));
        let expires_at = Timestamp::from_millis(0x0102_0304_0506_0708);
        let origin = Origin::new("payments", "POST", "/v1/charges", Timestamp::from_millis(3));
        let (token, origin) = (LeaseToken(0x1122_3344_5566_7788), Some(Arc::new(origin)));
        Record { fingerprint, token, expires_at, state, origin }
    }

    fn states() -> [State; 4] {
        let mut answer = AnswerBuilder::new(200);
        answer.line(b"content-type", b"text/plain");
        answer.trailer(b"grpc-status", b"0");
        let answer = answer.finish(b"ok");
        let time = Timestamp::from_millis(42);
        [
            State::InFlight { lease_until: time },
            State::Completed { answer, kept_at: time },
            State::Unreplayable,
            State::Indeterminate,
        ]
    }

    #[test]
    fn every_state_is_read_back() {
        for state in states() {
            let record = record(state);
            let encoded = encode(&record);
            assert_eq!(expiry(&encoded), Some(record.expires_at));
            assert_eq!(decode(&encoded), Ok(record.clone()));
            let apart = encode_without_origin(&record);
            assert!(apart.len() < encoded.len());
            assert_eq!(expiry(&apart), Some(record.expires_at));
            assert_eq!(decode_from(&apart, record.origin.clone()), Ok(record.clone()));
            assert_eq!(decode(&apart), Ok(Record { origin: None, ..record }));
        }
    }

    #[test]
    fn a_beginning_says_the_same_as_the_whole() {
        for state in states() {
            let record = record(state);
            let encoded = encode(&record);
            let State::Completed { answer, kept_at } = &record.state else {
                assert_eq!(decode_beginning(&encoded), Err(CodecError::Malformed));
                continue;
            };
            let answer_at = encoded.len() - answer.encoded().len();
            let beginning = Beginning {
                fingerprint: record.fingerprint,
                token: record.token,
                expires_at: record.expires_at,
                kept_at: *kept_at,
                origin: record.origin.clone(),
                status: answer.status(),
                answer_at,
            };
            for length in 0..=encoded.len() {
                let read = decode_beginning(&encoded[..length]);
                match length < answer_at + 2 {
                    true => assert_eq!(read, Err(CodecError::Malformed), "{length}"),
                    false => assert_eq!(read.as_ref(), Ok(&beginning), "{length}"),
                }
            }
        }
    }

    #[test]
    fn the_longest_beginning_has_less_than_a_kilobyte() {
        let (name, path) = ("n".repeat(300), "p".repeat(300));
        let trace = crate::idempotency::TraceContext { trace_id: [1; 16], span_id: [2; 8] };
        let origin = Origin::new(&name, &name, &path, Timestamp::from_millis(3));
        let [_, completed, ..] = states();
        let origin = Some(Arc::new(origin.traced(Some(trace))));
        let encoded = encode(&Record { origin, ..record(completed) });
        let beginning = decode_beginning(&encoded).unwrap();
        // A store puts at most a hundred bytes before it.
        assert!(beginning.answer_at + 2 <= 1024 - 100, "{}", beginning.answer_at);
    }

    #[test]
    fn the_version_without_an_origin_is_read() {
        for state in states() {
            let record = Record { origin: None, ..record(state) };
            let mut encoded = encode(&record).to_vec();
            encoded[0] = WITHOUT_ORIGIN;
            let length_at = match record.state {
                State::InFlight { .. } | State::Completed { .. } => COMMON + 8,
                State::Unreplayable | State::Indeterminate => COMMON,
            };
            encoded.drain(length_at..length_at + 2);
            assert_eq!(expiry(&encoded), Some(record.expires_at));
            assert_eq!(decode(&encoded.into()), Ok(record));
        }
    }

    #[test]
    fn cuts_additions_and_other_versions_are_refused() {
        for state in states() {
            let completed = matches!(state, State::Completed { .. });
            let encoded = encode(&record(state));
            let header = if completed { encoded.len() - 2 } else { encoded.len() };
            for length in 0..header {
                assert_eq!(decode(&encoded.slice(..length)), Err(CodecError::Malformed));
            }
            if !completed {
                let added = Bytes::from([encoded.as_ref(), b"x"].concat());
                assert_eq!(decode(&added), Err(CodecError::Malformed));
            }
            let mut other = encoded.to_vec();
            other[0] = 1;
            assert_eq!(decode(&other.into()), Err(CodecError::UnknownVersion(1)));
        }
    }
}
