//! Waiting for a holder in another process.

use std::time::{Duration, Instant};

use super::Shared;
use crate::clock::Timestamp;
use crate::idempotency::{Record, RecordKey, State};
use crate::store::StoreError;
use crate::telemetry::StoreOperation;
use crate::telemetry::trace::{Kind, child};

/// The first pause between looks at the record; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What was found of a key.
///
/// Whether it still counts is decided for the time at which it was asked for: by the time at
/// which the answer is here, its holder may long have renewed its claim.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Option<Record>,
    pub(super) asked_at: Timestamp,
}

impl Shared {
    /// The record, as the store has it.
    pub(super) async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let mut span = child(Kind::Internal);
        span.name("store load");
        let started = Instant::now();
        let loaded = self.store.load(key).await;
        self.metrics.store_durations.observe(StoreOperation::Load, started.elapsed());
        loaded.inspect_err(|_| {
            span.fail("store-unavailable");
            self.metrics.store_errors.increment(StoreOperation::Load);
        })
    }

    /// Waits until the record is no longer in flight, and returns what is there then; nothing if
    /// that lasts until `deadline`.
    pub(super) async fn follow(
        &self,
        key: &RecordKey,
        deadline: Timestamp,
    ) -> Result<Option<Found>, StoreError> {
        let mut span = child(Kind::Internal);
        span.name("wait");
        let mut pause = PAUSE_MIN;
        loop {
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Ok(None);
            }
            let looked_at = tokio::time::sleep(pause.min(left));
            tokio::select! {
                () = looked_at => {}
                () = self.store.changed(key) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
            let asked_at = self.clock.now();
            match self.load(key).await? {
                Some(Record { state: State::InFlight { lease_until }, .. })
                    if lease_until >= asked_at => {}
                record => return Ok(Some(Found { record, asked_at })),
            }
        }
    }
}
