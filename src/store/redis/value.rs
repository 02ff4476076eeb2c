//! A record as it stands on the server: a head that scripts read, then the envelope.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::idempotency::{Beginning, Record, RecordKey, State};
use crate::store::envelope::{self, EnvelopeError};
use crate::store::seal::{SealError, SealKeys};

/// version (1) · kind (1) · form (1) · token (8) · expiry (8) · time (8)
const HEAD_BYTES: usize = 27;

/// How much of a value is enough to know all but an answer.
pub(super) const BEGINNING_BYTES: usize = 1024;

const VERSION: u8 = 1;

/// The furthest from now that a time is written, in milliseconds; scripts count in floating point.
const FURTHEST: i64 = 1 << 52;

/// Somebody is at work.
const RUNS: u8 = b'P';
/// Nobody knows how it ended.
const UNKNOWN: u8 = b'U';
/// It has ended.
const ENDED: u8 = b'E';

/// The envelope as it is.
const PLAIN: u8 = b'p';
/// The envelope, encrypted.
const SEALED: u8 = b's';

/// A record, ready for a script; its times count from now, since the server's clock is another.
pub(super) struct Written {
    pub(super) kind: u8,
    pub(super) form: u8,
    pub(super) token: [u8; 8],
    pub(super) expires_in: i64,
    /// Until the end of the lease, or since the answer was kept.
    pub(super) time_in: i64,
    pub(super) body: Bytes,
}

/// What stands before an envelope.
struct Head {
    kind: u8,
    form: u8,
    token: [u8; 8],
    /// By the server's clock, and so is `time`.
    expires_at: u64,
    time: u64,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the server.
    pub(super) theirs: u64,
    /// By this process.
    pub(super) ours: Timestamp,
}

/// Why a value is not the record with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("it was written by another version")]
    UnknownVersion,
    #[error("it is cut, or says what no record says")]
    Malformed,
    #[error("its head and its record are not of one piece")]
    Torn,
    #[error("it is not encrypted, and only encrypted records count")]
    NotSealed,
    #[error("it is encrypted, and there is no key")]
    NoKeys,
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Writes a record for a script.
pub(super) fn write(
    key: &RecordKey,
    record: &Record,
    keys: Option<&SealKeys>,
    now: Timestamp,
) -> Result<Written, SealError> {
    let kind = kind(&record.state);
    let time = match record.state {
        State::InFlight { lease_until: time } | State::Completed { kept_at: time, .. } => time,
        State::Unreplayable | State::Indeterminate => now,
    };
    let token = record.token.0.to_be_bytes();
    let envelope = envelope::seal(key, record);
    let (form, body) = match keys {
        Some(keys) => (SEALED, keys.seal(&envelope, &covered(key, kind, token))?),
        None => (PLAIN, envelope),
    };
    let expires_in = between(now, record.expires_at);
    Ok(Written { kind, form, token, expires_in, time_in: between(now, time), body })
}

/// What the beginning of a value says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Glance {
    /// It was all of it.
    Whole(Record),
    /// This, and how many bytes the answer takes.
    Beginning(Beginning, usize),
    /// Nothing: it is encrypted, and can be read only as a whole.
    Sealed,
}

/// Reads the first [`BEGINNING_BYTES`] of a value that has so many bytes. Unless that is all of it,
/// it is not known whether the rest is as it was written.
pub(super) fn glance(
    key: &RecordKey,
    (beginning, length): (&Bytes, usize),
    keys: Option<&SealKeys>,
    at: Moment,
) -> Result<Glance, ValueError> {
    if beginning.len() < BEGINNING_BYTES {
        return read(key, beginning, keys, at).map(Glance::Whole);
    }
    let Head { kind, form, token, expires_at, time } = Head::of(beginning)?;
    match (form, keys) {
        (PLAIN, None) => {}
        (SEALED, Some(_)) => return Ok(Glance::Sealed),
        (_, keys) => return Err(wrong_form(form, keys)),
    }
    let shown = envelope::open_beginning(key, &beginning[HEAD_BYTES..])?;
    if shown.token.0.to_be_bytes() != token || kind != ENDED {
        return Err(ValueError::Torn);
    }
    let answer_bytes = length.checked_sub(HEAD_BYTES + shown.answer_at);
    let answer_bytes = answer_bytes.ok_or(ValueError::Malformed)?;
    let (expires_at, kept_at) = (at.translate(expires_at), at.translate(time));
    Ok(Glance::Beginning(Beginning { expires_at, kept_at, ..shown }, answer_bytes))
}

/// Reads what a script has shown.
pub(super) fn read(
    key: &RecordKey,
    value: &Bytes,
    keys: Option<&SealKeys>,
    at: Moment,
) -> Result<Record, ValueError> {
    let Head { kind, form, token, expires_at, time } = Head::of(value)?;
    let body = value.slice(HEAD_BYTES..);
    let envelope = match (form, keys) {
        (PLAIN, None) => body,
        (SEALED, Some(keys)) => keys.open(&body, &covered(key, kind, token))?,
        (_, keys) => return Err(wrong_form(form, keys)),
    };
    let mut record = envelope::open(key, &envelope)?;
    if record.token.0.to_be_bytes() != token || self::kind(&record.state) != kind {
        return Err(ValueError::Torn);
    }
    // Whoever wrote the record had another clock, and a lease may have been renewed since.
    record.expires_at = at.translate(expires_at);
    match &mut record.state {
        State::InFlight { lease_until: written } | State::Completed { kept_at: written, .. } => {
            *written = at.translate(time);
        }
        State::Unreplayable | State::Indeterminate => {}
    }
    Ok(record)
}

impl Head {
    fn of(value: &[u8]) -> Result<Self, ValueError> {
        if *value.first().ok_or(ValueError::Malformed)? != VERSION {
            return Err(ValueError::UnknownVersion);
        }
        let head = value.first_chunk::<HEAD_BYTES>().ok_or(ValueError::Malformed)?;
        let [token, expires_at, time] =
            std::array::from_fn(|part| std::array::from_fn(|index| head[3 + part * 8 + index]));
        let [expires_at, time] = [expires_at, time].map(u64::from_be_bytes);
        Ok(Self { kind: head[1], form: head[2], token, expires_at, time })
    }
}

/// Why a form is none that counts with these keys.
fn wrong_form(form: u8, keys: Option<&SealKeys>) -> ValueError {
    match (form, keys) {
        (PLAIN, Some(_)) => ValueError::NotSealed,
        (SEALED, None) => ValueError::NoKeys,
        _ => ValueError::Malformed,
    }
}

impl Moment {
    /// The server's time as this process would tell it.
    fn translate(self, theirs: u64) -> Timestamp {
        let ours = self.ours.as_millis();
        Timestamp::from_millis(match theirs.checked_sub(self.theirs) {
            Some(ahead) => ours.saturating_add(ahead),
            None => ours.saturating_sub(self.theirs - theirs),
        })
    }
}

fn kind(state: &State) -> u8 {
    match state {
        State::InFlight { .. } => RUNS,
        State::Indeterminate => UNKNOWN,
        State::Completed { .. } | State::Unreplayable => ENDED,
    }
}

/// What encryption covers besides the envelope; the times are not in it, since scripts write them.
fn covered(key: &RecordKey, kind: u8, token: [u8; 8]) -> Vec<u8> {
    [&[VERSION, kind], &token[..], key.as_bytes()].concat()
}

/// Milliseconds from `now` on, which may be before it.
fn between(now: Timestamp, time: Timestamp) -> i64 {
    let (now, time) = (i128::from(now.as_millis()), i128::from(time.as_millis()));
    let between = (time - now).clamp(i128::from(-FURTHEST), i128::from(FURTHEST));
    i64::try_from(between).unwrap_or(FURTHEST)
}
