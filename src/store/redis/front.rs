//! Answers that this process has at hand, so that their repeats need no server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::idempotency::{LeaseToken, Origin, Record, RecordKey, State};
use crate::store::Usage;
use crate::store::kept::{Behind, Entry, Kept};
use crate::telemetry::Metrics;

/// Answers that this process has at hand.
pub(super) struct Front {
    kept: Kept,
    /// How often something had to leave. What was asked for before that must not come in after it.
    departures: AtomicU64,
}

/// When a record was asked for, as [`Front`] counts time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asked(u64);

impl Front {
    pub(super) fn new(capacity: u64, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let kept = Kept::new(capacity, Behind::Store, clock, metrics);
        Self { kept, departures: AtomicU64::new(0) }
    }

    pub(super) fn asked(&self) -> Asked {
        Asked(self.departures.load(Ordering::SeqCst))
    }

    pub(super) fn peek(&self, key: &RecordKey) -> Option<Record> {
        self.kept.peek(key)
    }

    /// The record with the origin that counts its replays here, if it is at hand.
    pub(super) fn counting(&self, key: &RecordKey, record: Record) -> Record {
        self.kept.counting(key, record)
    }

    /// The origin that counts the replays of what this token has written, if it is at hand.
    pub(super) fn origin(&self, key: &RecordKey, token: LeaseToken) -> Option<Arc<Origin>> {
        self.kept.peek(key).filter(|record| record.token == token)?.origin
    }

    /// Takes what the server has just shown, or taken.
    pub(super) async fn note(&self, key: &RecordKey, record: Option<&Record>, asked: Asked) {
        match record {
            Some(record @ Record { state: State::Completed { .. }, .. }) => {
                // What is here already counts its replays.
                if self.asked() != asked || self.kept.has(key, record.token) {
                    return;
                }
                self.kept.insert(key, Entry::of(record)).await;
                // Whoever left meanwhile may have looked before the record was here.
                if self.asked() != asked {
                    self.kept.remove(key).await;
                }
            }
            _ => self.kept.remove(key).await,
        }
    }

    /// Says that a record leaves, before it does.
    pub(super) fn depart(&self) {
        self.departures.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) async fn remove(&self, key: &RecordKey) {
        self.kept.remove(key).await;
    }

    /// Drops everything, since it may have been missed what else had to leave.
    pub(super) fn clear(&self) {
        self.depart();
        self.kept.clear();
    }

    pub(super) async fn maintain(&self) {
        self.kept.maintain().await;
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { records: self.kept.len(), bytes: self.kept.bytes() }
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}
