//! The record codec: every record is read back as it was written, and whatever bytes are read as
//! a record are what that record is written as.

use std::sync::Arc;

use bytes::Bytes;
use oncegate::clock::Timestamp;
use oncegate::idempotency::{
    Answer, AnswerBuilder, CodecError, Fingerprint, LeaseToken, Origin, Record, State,
    TraceContext, decode, encode, expiry,
};

/// The version that is written; it and the one before are read.
const VERSION: u8 = 3;

/// Takes the input first as an encoded record, then as what a record is made of.
pub fn run(data: &[u8]) {
    read(&Bytes::copy_from_slice(data));
    write(&mut Source(data));
}

fn read(encoded: &Bytes) {
    let cut = encoded.slice(..encoded.len().saturating_sub(1));
    match decode(encoded) {
        Ok(record) => {
            let again = encode(&record);
            match encoded.first() {
                Some(&VERSION) => assert_eq!(&again, encoded),
                // One of the version before is written as one of this.
                version => {
                    assert_eq!(version, Some(&(VERSION - 1)));
                    assert_eq!(decode(&again).as_ref(), Ok(&record));
                }
            }
            assert_eq!(expiry(encoded), Some(record.expires_at));
            match &record.state {
                State::Completed { answer, .. } => {
                    within(answer, encoded);
                    assert_eq!(decode(&cut).is_ok(), answer.body_length() > 0);
                }
                State::InFlight { .. } | State::Unreplayable | State::Indeterminate => {
                    assert!(decode(&cut).is_err());
                }
            }
        }
        Err(CodecError::UnknownVersion(version)) => {
            assert_eq!(encoded.first(), Some(&version));
            assert!(![VERSION - 1, VERSION].contains(&version));
        }
        Err(CodecError::Malformed) => {
            let known = |version: &u8| [VERSION - 1, VERSION].contains(version);
            assert!(encoded.first().is_none_or(known));
        }
    }
}

/// All of the answer lies in the memory that it was read from, one piece after another: reading
/// it takes no memory of its own, and no number in it can ask for more than is there.
fn within(answer: &Answer, encoded: &Bytes) {
    let (lines, trailers) = (answer.lines(), answer.trailers());
    assert!((lines.len() + trailers.len()) * 2 <= encoded.len());
    assert_eq!(answer.has_trailers(), trailers.len() > 0);
    let mut end = None;
    let mut follows = |piece: &[u8]| {
        // The address of an empty piece says nothing.
        if !piece.is_empty() {
            let range = piece.as_ptr_range();
            assert!(encoded.as_ptr_range().contains(&range.start));
            assert!(end.replace(range.end).is_none_or(|end| end == range.start));
        }
    };
    let mut count = 0;
    for line in lines.chain(trailers) {
        follows(line.name);
        follows(&line.value);
        count += 1;
    }
    follows(&answer.body());
    assert_eq!(answer.lines().len() + answer.trailers().len(), count);
    assert_eq!(answer.body().len(), answer.body_length());
    assert!(end.is_none_or(|end| end == encoded.as_ptr_range().end || answer.body().is_empty()));
}

fn write(source: &mut Source<'_>) {
    let state = source.byte() % 4;
    let fingerprint = std::array::from_fn(|_| source.byte());
    let fingerprint = Fingerprint::from_bytes(&fingerprint);
    let token = LeaseToken(source.number(8));
    let expires_at = Timestamp::from_millis(source.number(8));
    let time = Timestamp::from_millis(source.number(8));
    let origin = origin(source).map(Arc::new);
    let state = match state {
        0 => State::InFlight { lease_until: time },
        1 => State::Completed { answer: answer(source), kept_at: time },
        2 => State::Unreplayable,
        _ => State::Indeterminate,
    };
    let record = Record { fingerprint, token, expires_at, origin, state };
    let encoded = encode(&record);
    assert_eq!(decode(&encoded).as_ref(), Ok(&record));
    assert_eq!(expiry(&encoded), Some(expires_at));
    read(&encoded);
}

/// What the first request was, or nothing.
fn origin(source: &mut Source<'_>) -> Option<Origin> {
    let kind = source.byte() % 3;
    let mut text = || String::from_utf8_lossy(source.piece()).into_owned();
    let (route, method, path) = (text(), text(), text());
    let origin = Origin::new(&route, &method, &path, Timestamp::from_millis(source.number(8)));
    let trace = TraceContext {
        trace_id: std::array::from_fn(|_| source.byte()),
        span_id: std::array::from_fn(|_| source.byte()),
    };
    match kind {
        0 => None,
        1 => Some(origin),
        _ => Some(origin.traced(Some(trace))),
    }
}

/// An answer that says what it was told, in the order in which it was told.
fn answer(source: &mut Source<'_>) -> Answer {
    let status = u16::from_le_bytes([source.byte(), source.byte()]);
    let mut builder = AnswerBuilder::new(status);
    let (mut lines, mut trailers) = (Vec::new(), Vec::new());
    for number in 0..source.byte() {
        let name = source.piece();
        let value = source.piece();
        // Mixed, since the order of the calls must not matter.
        if number % 4 == 3 {
            builder.trailer(name, value);
            trailers.push((name, value));
        } else {
            builder.line(name, value);
            lines.push((name, value));
        }
    }
    let body = source.0;
    let answer = builder.finish(body);
    assert_eq!(answer.status(), status);
    assert_eq!(answer.body(), body);
    assert_eq!(answer.body_length(), body.len());
    assert_eq!(answer.lines().len(), lines.len());
    assert_eq!(answer.trailers().len(), trailers.len());
    let told = answer.lines().chain(answer.trailers());
    for (line, (name, value)) in told.zip(lines.into_iter().chain(trailers)) {
        assert_eq!((line.name, &line.value[..]), (name, value));
    }
    answer
}

/// Deals out the input; when it runs out, zeros and nothing.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn byte(&mut self) -> u8 {
        self.number(1).to_le_bytes()[0]
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Bytes, after the length that they have if so many are left.
    fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(if length == 255 { 16_500 } else { length })
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(length.min(self.0.len()));
        self.0 = left;
        taken
    }
}
