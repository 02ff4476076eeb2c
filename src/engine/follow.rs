//! Waiting for a holder in another process.

use std::time::Duration;

use super::Shared;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::StoreError;
use crate::telemetry::StoreOperation;

/// The first pause between looks at the record; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Shared {
    /// The record, as the store has it.
    pub(super) async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.store.load(key).await.inspect_err(|_| {
            self.metrics.store_errors.increment(StoreOperation::Load);
        })
    }

    /// Waits until the record is no longer in flight, and returns what is there then; nothing if
    /// that lasts until `deadline`.
    pub(super) async fn follow(
        &self,
        key: &RecordKey,
        deadline: Timestamp,
    ) -> Result<Option<Option<Record>>, StoreError> {
        let mut pause = PAUSE_MIN;
        loop {
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match self.load(key).await? {
                Some(Record { state: State::InFlight { lease_until }, .. })
                    if lease_until >= self.clock.now() => {}
                found => return Ok(Some(found)),
            }
        }
    }
}
