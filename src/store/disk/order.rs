//! What the writer is asked to do.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::budget::{Budget, Taken};
use super::times::Moment;
use super::untold::Notice;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::envelope::seal;
use crate::store::{Expected, StoreError};

/// What the writer is asked to do.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are swaps")]
pub(super) enum Order {
    /// To change a record.
    Swap(Change),
    /// To say what the record is.
    Look(RecordKey, Reply<Option<Record>>),
    /// To set aside what has expired.
    Tidy(Reply<()>),
}

/// Where an answer is waited for; nobody may be there any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A swap.
pub(super) struct Change {
    pub(super) key: RecordKey,
    pub(super) expected: Expected,
    pub(super) next: Option<Sealed>,
    pub(super) reply: Reply<Notice>,
}

/// A record, and how it is written.
pub(super) struct Sealed {
    pub(super) record: Record,
    /// When it expires, by the system's clock.
    pub(super) until: Timestamp,
    pub(super) bytes: Bytes,
    /// Its part of what may wait.
    _taken: Taken,
}

impl Order {
    /// Whether it says how work has ended, which must not be lost.
    pub(super) fn ends_claim(&self) -> bool {
        match self {
            Self::Swap(change) => {
                let next = change.next.as_ref();
                change.expected != Expected::Absent
                    && !next.is_some_and(|next| is_running(&next.record))
            }
            Self::Look(..) | Self::Tidy(_) => false,
        }
    }
}

impl Sealed {
    /// Nothing, if too much waits already.
    pub(super) fn new(
        key: &RecordKey,
        record: Record,
        at: Moment,
        budget: &Budget,
    ) -> Option<Self> {
        let written = at.write(&record);
        let bytes = seal(key, &written);
        let taken = budget.take(bytes.len() as u64)?;
        Some(Self { record, until: written.expires_at, bytes, _taken: taken })
    }
}

/// Whether the record says that the work runs.
pub(super) fn is_running(record: &Record) -> bool {
    matches!(record.state, State::InFlight { .. })
}

/// Whether the record has an answer.
pub(super) fn is_completed(record: &Record) -> bool {
    matches!(record.state, State::Completed { .. })
}

/// Whether nothing can be written over the record.
pub(super) fn has_ended(record: &Record) -> bool {
    match record.state {
        State::Completed { .. } | State::Unreplayable => true,
        State::InFlight { .. } | State::Indeterminate => false,
    }
}
