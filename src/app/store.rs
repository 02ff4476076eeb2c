//! The store of an instance, as its settings say.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::AppError;
use crate::clock::Clock;
use crate::config::{Files, Given, Settings, StoreKind};
use crate::store::{
    DiskOpenError, DiskOptions, DiskStore, MemoryOptions, MemoryStore, RedisStore, Store, WhenFull,
};
use crate::telemetry::Metrics;

/// A part of the store's room may go to records that have no answer, at so many bytes each.
const MARK_BYTES: u64 = 1024;
const MARKS_MIN: u64 = 1024;

/// How long opening a folder may take before anybody is told that it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often one is told then.
const REMIND: Duration = Duration::from_secs(10);

/// A store that is open, and the settings that go with it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: Settings,
    pub(super) files: Files,
}

/// Opens the store. One that has a secret of its own gives it to settings that have none, which are
/// read again for it.
pub(super) fn open(
    given: &Given,
    (settings, files): (Settings, Files),
    runtime: &Runtime,
    clock: Clock,
    metrics: Arc<Metrics>,
) -> Result<Opened, AppError> {
    match &settings.store.kind {
        StoreKind::Memory(when_full) => {
            let options = memory_options(&settings, *when_full);
            let store = Arc::new(MemoryStore::new(options, clock, metrics));
            Ok(Opened { store, settings, files })
        }
        StoreKind::Disk { path, durability, bytes_max } => {
            let options = DiskOptions {
                durability: *durability,
                bytes_max: settings.store.bytes_max,
                disk_bytes_max: *bytes_max,
                answer_bytes_max: settings.answer_bytes_max(),
                ..DiskOptions::default()
            };
            let store = telling(path, || DiskStore::open(path, options, clock, metrics))?;
            let secret = store.secret();
            let store = Arc::new(store);
            if settings.store.has_secret_file {
                return Ok(Opened { store, settings, files });
            }
            let (settings, files) = given.load(&secret);
            Ok(Opened { store, settings: settings?, files })
        }
        StoreKind::Redis(options) => {
            let options = options.as_ref().clone();
            let store = runtime.block_on(RedisStore::connect(options, clock, metrics))?;
            Ok(Opened { store: Arc::new(store), settings, files })
        }
    }
}

fn memory_options(settings: &Settings, when_full: WhenFull) -> MemoryOptions {
    let bytes_max = settings.store.bytes_max;
    let marks = (bytes_max / MARK_BYTES).max(MARKS_MIN);
    MemoryOptions {
        bytes_max,
        when_full,
        answer_bytes_max: settings.answer_bytes_max(),
        marks_max: usize::try_from(marks).unwrap_or(usize::MAX),
    }
}

/// Opens a folder, and says now and then that this goes on.
fn telling<T>(path: &Path, open: impl FnOnce() -> Result<T, DiskOpenError>) -> Result<T, AppError> {
    let (opened, waiting) = channel::<()>();
    let began = Instant::now();
    let shown = path.to_path_buf();
    let teller = std::thread::Builder::new().name("opening".into()).spawn(move || {
        let mut patience = PATIENCE;
        while waiting.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let elapsed = began.elapsed();
            tracing::info!(folder = %shown.display(), ?elapsed, "still opening the records");
            patience = REMIND;
        }
    })?;
    let store = open();
    drop(opened);
    // It has nothing to fail at.
    let _ = teller.join();
    Ok(store?)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Tells whoever waits for it of each line of log.
    struct Told(Sender<String>);

    impl std::io::Write for Told {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            // Nobody waits any more for what other tests have to say.
            let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn opening_that_takes_long_is_told_of() {
        let (telling_of, told) = channel();
        let log = tracing_subscriber::fmt().with_ansi(false);
        let log = log.with_writer(move || Told(telling_of.clone())).finish();
        // Another thread tells of it.
        tracing::subscriber::set_global_default(log).unwrap();
        let opened = telling(Path::new("/a/folder"), || {
            // It is not open before the line has come.
            let mut lines = std::iter::from_fn(|| told.recv_timeout(PATIENCE * 30).ok());
            Ok(lines.find(|line| line.contains("still opening the records")))
        });
        let line = opened.unwrap().unwrap();
        assert!(line.contains("folder=/a/folder elapsed="), "{line}");
    }
}
