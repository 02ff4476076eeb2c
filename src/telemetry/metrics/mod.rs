//! What one instance counts and measures.

mod classic;
mod counter;
mod evictions;
mod expose;
mod histogram;
mod labels;
mod open;
mod process;
mod traffic;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::counter::{Counter, Counters};
pub use self::evictions::Evictions;
pub use self::expose::{Exposition, Gauges, MetricsFormat};
use self::histogram::Counted;
pub use self::histogram::{Histogram, Histograms};
pub use self::labels::{
    DecisionKind, Handled, Label, Reloaded, StoreOperation, UnknownCause, Unprotected,
};
pub use self::open::Open;
pub use self::traffic::{Tally, Traffic};
use crate::message::ProblemKind;

/// Everything that one instance counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The proxy's own answers, by what they said.
    pub refusals: Counters<ProblemKind>,
    /// Records that were dropped for want of room before their window had ended.
    pub evictions: Evictions,
    /// Times that a record was read which is not what was written.
    pub corrupt_records: Counter,
    /// Times that the system's clock was found to be far ahead of where it was left.
    pub clock_jumps: Counter,
    /// Times that a store outside of the process was found to have lost its records.
    pub store_resets: Counter,
    /// Operations of which nobody knows whether they were executed, by cause.
    pub unknown_outcomes: Counters<UnknownCause>,
    /// Unknown outcomes that a late answer has settled.
    pub late_answers: Counter,
    /// What an operator has decided of records.
    pub records_decided: Counters<DecisionKind>,
    /// Requests that could not be protected and were passed on, by reason.
    pub unprotected: Counters<Unprotected>,
    /// Times that the settings were read again, by how that ended.
    pub reloads: Counters<Reloaded>,
    /// Calls of the store that have failed, by operation.
    pub store_errors: Counters<StoreOperation>,
    /// How long calls of the store have taken, by operation.
    pub store_durations: Histograms<StoreOperation>,
    /// How long the upstream has taken until its answers began.
    pub upstream_durations: Histogram,
    /// Connections that are open, tunnels included.
    pub connections: Arc<AtomicUsize>,
    /// Connections that were turned away at the limit.
    pub connections_refused: Counter,
    /// Connections that ended before their first request: by a handshake that failed, say.
    pub connections_failed: Counter,
    /// Times that accepting a connection has failed.
    pub accept_errors: Counter,
    /// Requests that were sent again because a pooled connection had not taken them.
    pub resent_unsent: Counter,
    /// Entries of the access log that were dropped because nobody took them in time.
    pub access_log_dropped: Arc<Counter>,
    /// Spans that were dropped because no collector took them in time.
    pub trace_spans_dropped: Counter,
    /// What each worker counts of its requests.
    workers: Mutex<Vec<Arc<Traffic>>>,
}

impl Metrics {
    /// Where one more worker counts its requests.
    pub fn traffic(&self) -> Arc<Traffic> {
        let traffic = Arc::<Traffic>::default();
        self.workers().push(Arc::clone(&traffic));
        traffic
    }

    /// Counts one more connection that is open.
    pub fn open(&self) -> Open {
        Open::new(&self.connections)
    }

    /// How many requests there were of which this became.
    pub fn requests(&self, handled: Handled) -> u64 {
        let table = self.requests_by_route();
        table.values().map(|row| row[handled.index()]).sum()
    }

    /// The requests by route, and by what became of them in the order of [`Handled`].
    fn requests_by_route(&self) -> BTreeMap<Arc<str>, Vec<u64>> {
        let mut table = BTreeMap::new();
        for traffic in self.workers().iter() {
            traffic.add_to(&mut table);
        }
        table
    }

    fn request_durations(&self, handled: Handled) -> Counted {
        let workers = self.workers();
        let counted = workers.iter().map(|traffic| traffic.duration(handled));
        counted.fold(Counted::default(), |sum, more| sum.and(&more))
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Arc<Traffic>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
