//! The disk store, and what only that does: it outlives the process.

mod clock;
mod damage;
mod killed;
mod limits;
mod restart;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oncegate::store::{DiskOpenError, DiskOptions, DiskStore};
use oncegate::telemetry::Metrics;

use super::{Kind, Opened, PLENTY, Room, Time};

/// As it is.
pub(crate) struct Disk;

/// Without a cache: all that has ended is read from the disk.
pub(crate) struct Uncached;

impl Kind for Disk {
    async fn open(room: Room) -> Opened {
        Ground::new(room.into()).open().unwrap()
    }
}

impl Kind for Uncached {
    async fn open(room: Room) -> Opened {
        Ground::new(DiskOptions { bytes_max: 0, ..room.into() }).open().unwrap()
    }
}

impl From<Room> for DiskOptions {
    fn from(room: Room) -> Self {
        let (bytes_max, answer_bytes_max, marks_max) = (room.bytes, room.answer_bytes, room.marks);
        // A machine may be slow without any fault of the store's.
        let patience = crate::PATIENCE;
        Self { bytes_max, answer_bytes_max, marks_max, patience, ..Self::default() }
    }
}

/// A folder in which a store can be opened time and again.
struct Ground {
    folder: Arc<Folder>,
    options: DiskOptions,
    time: Time,
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Ground {
    fn new(options: DiskOptions) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oncegate-stores-{}-{number}", std::process::id());
        let folder = Arc::new(Folder(std::env::temp_dir().join(name)));
        Self { folder, options, time: Time::new() }
    }

    /// A folder that somebody else has made, and removes.
    fn at(path: PathBuf) -> Self {
        let folder = Arc::new(Folder(path));
        std::mem::forget(Arc::clone(&folder));
        Self { folder, options: PLENTY.into(), time: Time::new() }
    }

    fn plenty() -> Self {
        Self::new(PLENTY.into())
    }

    fn path(&self) -> &Path {
        &self.folder.0
    }

    /// Where the engine below has its files.
    fn records(&self) -> PathBuf {
        self.path().join("records")
    }

    fn open(&self) -> Result<Opened, DiskOpenError> {
        self.open_by(&self.time)
    }

    /// Opens it where the system's clock, unlike the process's, has this time.
    fn open_by(&self, wall: &Time) -> Result<Opened, DiskOpenError> {
        let (metrics, time) = (Arc::new(Metrics::default()), self.time.clone());
        let wall = wall.clone();
        let clock = time.clock().with_wall(move || wall.now());
        let store = DiskStore::open(self.path(), self.options, clock, Arc::clone(&metrics))?;
        let store = Arc::new(store);
        Ok(Opened { store, time, metrics, _ground: Arc::clone(&self.folder) as _ })
    }

    /// Why it can't be opened.
    fn refusal(&self) -> DiskOpenError {
        self.open().err().expect("it must not open")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
