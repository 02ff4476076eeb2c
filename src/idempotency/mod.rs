//! What may run, and what is known of what has run: pure rules, without input, output or time of
//! their own.

mod answer;
mod codec;
mod decide;
mod fingerprint;
mod key;
mod origin;
mod outcome;
mod record;

pub use answer::{Answer, AnswerBuilder, Line};
pub use codec::{
    Beginning, CodecError, decode, decode_beginning, decode_from, encode, encode_without_origin,
    expiry, kept_at,
};
pub use decide::{Decision, OnMismatch, OnStoreError, OnUnknown, Terms, decide};
pub use fingerprint::{Fingerprint, FingerprintBuilder, Part};
pub use key::{
    Caller, IdempotencyKey, KeyError, Purpose, RecordKey, RecordKeyBuilder, Scope, Secret,
};
pub use origin::{Origin, TraceContext};
pub use outcome::{Attempt, Broken, Failure, Limit, Outcome, Provenance, Refusal, Unreachable};
pub use record::{LeaseToken, Record, Stage, State, TokenSource};

/// What one request is about: the key of its record, and what must not change under that key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// The key of the record.
    pub key: RecordKey,
    /// What the first request with the key asked for.
    pub fingerprint: Fingerprint,
}
