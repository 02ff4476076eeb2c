//! A claim on a record: whoever holds it must say how the work ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::{Expected, StoreError, Swap};

/// How often an outcome is written that the store does not take.
const WRITES_MAX: u32 = 4;

/// The first pause between such attempts; each further one is twice as long.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

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
}

impl Lease {
    pub(super) fn new(
        shared: Arc<Shared>,
        key: RecordKey,
        record: Record,
        asked_at: Timestamp,
    ) -> Self {
        Self { shared, key, record, asked_at }
    }

    /// Does the work, and renews the claim meanwhile; a store that is slow to renew it does not
    /// hold the work up.
    pub(super) async fn keep_while<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(lease) = self.shared.store.lease() else { return work.await };
        tokio::select! {
            biased;
            done = work => done,
            never = self.renew_every(lease / 3) => match never {},
        }
    }

    async fn renew_every(&self, period: Duration) -> Infallible {
        loop {
            tokio::time::sleep(period).await;
            let lease_until = self.shared.lease_until(self.shared.clock.now());
            // A claim that can't be renewed runs out, and then counts as unknown: that is safe.
            let _ = self.write(State::InFlight { lease_until }).await;
        }
    }

    /// Writes the state if the claim is still ours.
    pub(super) async fn write(&self, state: State) -> Result<(), StoreError> {
        let next = Record { state, ..self.record.clone() };
        self.change(Some(next)).await
    }

    /// Writes the last state, which counts for `window` if that is given.
    pub(super) async fn keep(
        &self,
        state: State,
        window: Option<Duration>,
    ) -> Result<(), StoreError> {
        let expires_at =
            window.map_or(self.record.expires_at, |window| self.asked_at.after(window));
        self.change(Some(Record { expires_at, state, ..self.record.clone() })).await
    }

    /// Writes a last state that has no answer.
    pub(super) async fn finish(&self, state: State) {
        // What the store has not taken runs out, and then counts as unknown: that is safe.
        let _ = self.write(state).await;
    }

    /// Gives the key back.
    pub(super) async fn release(&self) {
        let _ = self.change(None).await;
    }

    async fn change(&self, next: Option<Record>) -> Result<(), StoreError> {
        let expected = Expected::HeldBy(self.record.token);
        let mut pause = WRITE_PAUSE;
        for attempt in 1..=WRITES_MAX {
            match self.shared.swap(&self.key, expected, next.clone()).await {
                Ok(Swap::Done) => return Ok(()),
                Ok(Swap::Lost(_)) => {
                    tracing::warn!(key = ?self.key, "the claim on a record was lost");
                    return Ok(());
                }
                Err(StoreError::Unavailable(reason)) if attempt < WRITES_MAX => {
                    tracing::debug!(key = ?self.key, reason, "an outcome is written again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => {
                    tracing::warn!(key = ?self.key, %error, "an outcome was not written");
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
