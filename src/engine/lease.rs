//! A claim on a record: whoever holds it must say how the work ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::renewal::Renewed;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::{Expected, StoreError, Swap};

/// How often an outcome is written that the store does not take.
const WRITES_MAX: u32 = 4;

/// The first pause between such attempts; each further one is twice as long.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause once nobody waits any more.
const LATE_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long an outcome is tried to be written once nobody waits any more.
const LATE_WRITE_MAX: Duration = Duration::from_mins(5);

/// How much room there is for outcomes that are still to be written, in KiB.
pub(super) const LATE_WRITES_MAX: usize = 64 << 10;

/// What has become of a word that was said of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// It stands there.
    Written,
    /// The claim was another's by then.
    Lost,
    /// The store has not taken it.
    Unheard,
}

/// A claim on a record.
///
/// Dropped without an outcome (the process ends, say), it leaves the record in flight: its lease
/// runs out, and its outcome counts as unknown.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    key: RecordKey,
    record: Record,
    /// When the request was that it was claimed for.
    asked_at: Timestamp,
    /// Until all is said, its settling included.
    _renewed: Option<Renewed>,
}

impl Lease {
    pub(super) fn new(
        shared: Arc<Shared>,
        key: RecordKey,
        record: Record,
        asked_at: Timestamp,
    ) -> Self {
        let has_lease = shared.store.lease().is_some();
        let renewed = has_lease.then(|| shared.renewal.hold(key, record.token));
        Self { shared, key, record, asked_at, _renewed: renewed }
    }

    /// Writes the last state if the claim is still ours; it counts for `window` if that is given.
    pub(super) async fn keep(
        &self,
        state: State,
        window: Option<Duration>,
    ) -> Result<Said, StoreError> {
        let expires_at =
            window.map_or(self.record.expires_at, |window| self.asked_at.after(window));
        self.change(Some(Record { expires_at, state, ..self.record.clone() })).await
    }

    /// Writes a last state that has no answer.
    pub(super) async fn finish(&self, state: State) -> Said {
        let next = Record { state, ..self.record.clone() };
        // What the store has not taken runs out, and then counts as unknown: that is safe.
        self.change(Some(next)).await.unwrap_or(Said::Unheard)
    }

    /// Gives the key back.
    pub(super) async fn release(&self) -> Said {
        self.change(None).await.unwrap_or(Said::Unheard)
    }

    /// Writes, and goes on trying behind the caller's back where the store is not there for it.
    async fn change(&self, next: Option<Record>) -> Result<Said, StoreError> {
        let (mut pause, mut attempt) = (WRITE_PAUSE, 0);
        loop {
            attempt += 1;
            match self.try_change(next.clone()).await {
                // What was removed before, unheard, is not there any more.
                Ok(Said::Lost) if attempt > 1 && next.is_none() => return Ok(Said::Written),
                Err(StoreError::Unavailable(reason)) if attempt < WRITES_MAX => {
                    tracing::debug!(key = ?self.key, reason, "an outcome is written again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::warn!(key = ?self.key, %error, "an outcome is written later");
                    self.change_later(next);
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(key = ?self.key, %error, "an outcome was not written");
                    return Err(error);
                }
                Ok(said) => return Ok(said),
            }
        }
    }

    async fn try_change(&self, next: Option<Record>) -> Result<Said, StoreError> {
        let expected = Expected::HeldBy(self.record.token);
        Ok(match self.shared.swap(&self.key, expected, next).await? {
            Swap::Done => Said::Written,
            // It was written before, and nobody had heard of it.
            Swap::Lost(Some(winner)) if winner.token == self.record.token => Said::Written,
            Swap::Lost(_) => {
                tracing::warn!(key = ?self.key, "the claim on a record was lost");
                Said::Lost
            }
        })
    }

    /// Goes on trying to write, unless as much as may be is waiting to be written. What never
    /// succeeds leaves the record in flight, which counts as unknown when its lease has run out, or
    /// where there is none, when this process has ended.
    fn change_later(&self, next: Option<Record>) {
        let room = room_of(next.as_ref());
        let place = Arc::clone(&self.shared.late_writes).try_acquire_many_owned(room);
        let Ok(place) = place else {
            tracing::warn!(key = ?self.key, "an outcome was given up: too many wait to be written");
            return;
        };
        let shared = Arc::clone(&self.shared);
        let lease = Self::new(shared, self.key, self.record.clone(), self.asked_at);
        self.shared.tasks.spawn(async move {
            let _place = place;
            if timeout(LATE_WRITE_MAX, lease.change_until_written(next)).await.is_err() {
                tracing::warn!(key = ?lease.key, "an outcome was given up: it was never written");
            }
        });
    }

    async fn change_until_written(&self, next: Option<Record>) {
        let mut pause = WRITE_PAUSE;
        loop {
            match self.try_change(next.clone()).await {
                Ok(_) => return,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => {
                    tracing::warn!(key = ?self.key, %error, "an outcome was not written");
                    return;
                }
            }
            pause = (pause * 2).min(LATE_PAUSE_MAX);
            tokio::time::sleep(pause).await;
        }
    }
}

/// The room that a record takes while it waits to be written, in KiB.
fn room_of(next: Option<&Record>) -> u32 {
    let answer = match next.map(|next| &next.state) {
        Some(State::Completed { answer, .. }) => answer.encoded().len(),
        Some(State::InFlight { .. } | State::Unreplayable | State::Indeterminate) | None => 0,
    };
    u32::try_from(answer >> 10).unwrap_or(u32::MAX).saturating_add(1)
}
