//! Counts the claims that a process which is gone has left: nobody knows whether their operations
//! were executed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fjall::{Readable as _, Snapshot};

use super::drawer::Drawer;
use super::order::is_running;
use super::records::Records;
use crate::idempotency::{Record, RecordKey};
use crate::telemetry::UnknownCause;

/// How long it may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A search for them that goes on in a thread of its own, since a large folder takes long.
///
/// Dropping it ends it.
#[derive(Debug)]
pub(super) struct Search {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Search {
    /// Begins to search. What is claimed from now on is not looked at.
    pub(super) fn begin(records: &Arc<Records>) -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (records, stopped) = (Arc::clone(records), Arc::clone(&stop));
        let (drawers, snapshot) = (records.drawers.all(), records.database.snapshot());
        let search = move || {
            let mut found: u64 = 0;
            for drawer in drawers.iter() {
                found += count(&records, &snapshot, drawer, &stopped);
            }
            if found > 0 {
                tracing::warn!(found, "operations were cut off here: their outcomes are unknown");
            }
        };
        let thread = thread::Builder::new().name("oncegate-orphans".to_owned()).spawn(search)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + PATIENCE;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // It has nothing to fail at.
            let _ = thread.join();
        }
    }
}

/// Counts those of one drawer.
fn count(records: &Records, snapshot: &Snapshot, drawer: &Drawer, stop: &AtomicBool) -> u64 {
    let mut found = 0;
    for guard in snapshot.iter(&drawer.keyspace) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // What can't be read is said when it is asked for.
        let Ok((key, sealed)) = guard.into_inner() else { continue };
        let Ok(key) = <[u8; 32]>::try_from(key.as_ref()) else { continue };
        let record = records.open_quietly(&RecordKey::from_bytes(key), &sealed.into());
        let counts =
            |record: &Record| is_running(record) && !record.is_expired(records.times.now());
        if record.as_ref().is_some_and(counts) {
            records.metrics.unknown_outcomes.increment(UnknownCause::Abandoned);
            found += 1;
        }
    }
    found
}
