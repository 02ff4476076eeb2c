//! Records in a folder, which outlive the process: a repeat that comes after a crash finds the
//! answer, or that nobody knows whether there is one.
//!
//! A loss of power in the middle of a write is mended at the next start: what was not written as
//! a whole was not acknowledged, and is cut away. Only if the end of a write came to the disk and
//! a part before it did not, the folder is not opened, and the error says what to do.

mod batch;
mod budget;
mod claims;
mod drawer;
mod folder;
mod list;
mod order;
mod orphans;
mod progress;
mod records;
#[cfg(test)]
mod tests;
mod times;
mod trouble;
mod untold;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fjall::Database;
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use self::folder::DiskOpenError;

use self::budget::Budget;
use self::folder::{Before, Folder, RECORDS};
use self::order::{Change, Order, Reply, Sealed, is_completed, is_running};
use self::orphans::Search;
use self::progress::Step;
use self::records::Records;
use self::trouble::words;
use self::untold::Notice;
use self::writer::Writer;
use super::kept::RECORD_BYTES;
use super::{Expected, Listed, Page, Store, StoreError, StoreFuture, Swap, Usage, envelope};
use crate::clock::Clock;
use crate::idempotency::{Record, RecordKey, Secret};
use crate::telemetry::Metrics;

/// How long the disk may take for what somebody waits for.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it may take to clean up, or to write the rest down.
const PATIENCE_TO_CLEAN: Duration = Duration::from_secs(10);

/// The most reads at a time that may wait for the disk: a disk that is stuck must leave some of
/// the few threads to others who may have to wait.
const READS_MAX: usize = 2;

/// The most bytes that wait to be written.
const QUEUE_BYTES_MAX: u64 = 64 << 20;

/// Blocks of the files below that are kept in memory; answers are kept in a cache of their own.
const BLOCK_CACHE_BYTES: u64 = 8 << 20;

/// The journals together, from which an open starts.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

const BACKGROUND_THREADS: usize = 2;

/// What is said of a disk that is stuck.
const SLOW: &str = "the disk has not answered in time";

/// How a [`DiskStore`] works.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// What must be on the disk before anybody is told of it.
    pub durability: Durability,
    /// The most bytes that answers take in memory; on disk they are all the same.
    pub bytes_max: u64,
    /// About the most bytes that records take on disk. When it is reached, no further claims are
    /// taken, and what runs can still be settled. The journals come on top: up to 256 MiB.
    pub disk_bytes_max: u64,
    /// The largest answer that is kept, header included.
    pub answer_bytes_max: u64,
    /// The most claims at a time.
    pub marks_max: usize,
    /// The most swaps that wait to be written.
    pub queue_max: usize,
    /// How long an answer of the disk is waited for.
    pub patience: Duration,
}

/// What must be on the disk before anybody is told of it.
///
/// Whatever is chosen, the end of the process alone loses nothing; this is about a machine that
/// loses power, or whose system crashes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// Claims and answers: nothing is executed twice.
    #[default]
    Claim,
    /// Answers: what ran at the time of the crash may be executed again.
    Answer,
    /// Nothing: what was executed in the last second or two before the crash may be executed again.
    None,
}

/// Records in a folder.
///
/// One thread decides and writes all swaps, as many together as wait. Claims of this process live
/// as long as it does; what a process that is gone has left in flight has an unknown outcome until
/// its window ends. Once a write has failed, the store can't be used any more, and says so. While
/// the disk is stuck, one waits for it in vain, and all others are told at once; what ends a claim
/// is put into the queue even so.
///
/// Dropping it waits until all is written, and frees the folder.
#[derive(Debug)]
pub struct DiskStore {
    records: Arc<Records>,
    secret: Secret,
    reads: Arc<Semaphore>,
    /// There is one who cleans up at a time.
    cleans: Arc<Semaphore>,
    budget: Budget,
    /// There until the store is dropped.
    orders: Option<SyncSender<Order>>,
    writer: Option<JoinHandle<()>>,
    _orphans: Search,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            bytes_max: 256 << 20,
            disk_bytes_max: 10 << 30,
            answer_bytes_max: (1 << 20) + (64 << 10),
            marks_max: 100_000,
            queue_max: 4096,
            patience: PATIENCE,
        }
    }
}

impl DiskStore {
    /// Opens the records in a folder, which is made if it is not there. It waits for the disk.
    pub fn open(
        path: &Path,
        options: DiskOptions,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DiskOpenError> {
        let folder = Folder::open(path)?;
        let damaged = |error| refusal(path.to_path_buf(), error);
        let database = open_database(&folder.records()).map_err(damaged)?;
        let before = match database.keyspace_count() {
            0 => Before::Empty,
            _ => Before::Records,
        };
        let secret = folder.secret(before)?;
        folder.mark()?;
        let noted = folder.noted()?;
        let ground = (folder, noted);
        let records = Records::new(ground, database, clock, options, metrics).map_err(damaged)?;
        // What was put off stays so, whenever this process ends.
        records.note(records.times.note())?;
        let records = Arc::new(records);
        let orphans = Search::begin(&records).map_err(DiskOpenError::Thread)?;
        let (orders, queue) = mpsc::sync_channel(options.queue_max);
        let runtime = runtime::Builder::new_current_thread().build();
        let writer =
            Writer::new(Arc::clone(&records), queue, runtime.map_err(DiskOpenError::Thread)?);
        let thread = thread::Builder::new().name("oncegate-disk".to_owned());
        let writer = thread.spawn(|| writer.run()).map_err(DiskOpenError::Thread)?;
        let (orders, writer) = (Some(orders), Some(writer));
        let [reads, cleans] = [READS_MAX, 1].map(|places| Arc::new(Semaphore::new(places)));
        let budget = Budget::new(QUEUE_BYTES_MAX);
        Ok(Self { records, secret, reads, cleans, budget, orders, writer, _orphans: orphans })
    }

    /// The secret of this folder, for the keys of its records.
    pub fn secret(&self) -> Secret {
        self.secret.clone()
    }

    async fn find(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.records.trouble.check()?;
        if let Some(found) = self.records.at_hand(key).await {
            return Ok(Some(found));
        }
        let (records, wanted) = (Arc::clone(&self.records), *key);
        match self.read(move || records.read(&wanted)).await? {
            // A claim of this process that has been settled since, or one of a process that is
            // gone; the writer knows.
            Some(found) if is_running(&found) => self.ask(|reply| Order::Look(*key, reply)).await,
            found => Ok(found),
        }
    }

    /// Reads where waiting for the disk holds nobody up.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reading = &self.records.reading;
        if reading.is_stuck() {
            return Err(slow());
        }
        let (before, records) = (reading.before(), Arc::clone(&self.records));
        let patience = self.records.options.patience;
        let read = timeout(patience, async {
            let Ok(place) = Arc::clone(&self.reads).acquire_owned().await else {
                return Err(gone());
            };
            let read = spawn_blocking(move || {
                // The thread is taken until the disk has answered, whoever waits for it.
                let _place = place;
                let _step = Step(&records.reading);
                work()
            });
            read.await.unwrap_or_else(|_| Err(gone()))
        });
        read.await.unwrap_or_else(|_| {
            reading.give_up(before);
            Err(slow())
        })
    }

    /// Deletes what has ended, and asks the disk how it is.
    async fn clean(&self) -> Result<(), StoreError> {
        // One that is stuck is enough.
        let Ok(place) = Arc::clone(&self.cleans).try_acquire_owned() else { return Err(slow()) };
        let records = Arc::clone(&self.records);
        let cleaned = spawn_blocking(move || {
            let _place = place;
            records.clean()
        });
        match timeout(PATIENCE_TO_CLEAN, cleaned).await {
            Ok(cleaned) => cleaned.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(slow()),
        }
    }

    /// Asks the writer for something.
    async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let order = order(reply);
        let writing = &self.records.writing;
        let (is_stuck, before) = (writing.is_stuck(), writing.before());
        if is_stuck && !order.ends_claim() {
            return Err(slow());
        }
        let Some(orders) = &self.orders else { return Err(gone()) };
        orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            TrySendError::Disconnected(_) => gone(),
        })?;
        if is_stuck {
            // It is written when the disk comes back; nobody needs to wait for that.
            return Err(slow());
        }
        match timeout(self.records.options.patience, answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(gone())),
            Err(_) => {
                writing.give_up(before);
                Err(slow())
            }
        }
    }

    /// The record as it's written, if it may be.
    fn seal(&self, key: &RecordKey, record: Record) -> Result<Sealed, StoreError> {
        let completed = is_completed(&record);
        let moment = self.records.times.moment();
        let sealed = Sealed::new(key, record, moment, &self.budget).ok_or_else(busy)?;
        let bytes = envelope::content(&sealed.bytes).len() as u64;
        match completed && bytes > self.records.options.answer_bytes_max + RECORD_BYTES {
            true => Err(StoreError::TooLarge),
            false => Ok(sealed),
        }
    }
}

impl Store for DiskStore {
    fn peek(&self, key: &RecordKey) -> Option<Record> {
        self.records.kept.peek(key)
    }

    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.find(key))
    }

    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap> {
        Box::pin(async move {
            self.records.trouble.check()?;
            if expected == Expected::Absent
                && let Some(found) = self.records.at_hand(key).await
            {
                return Ok(Swap::Lost(Some(found)));
            }
            let next = next.map(|next| self.seal(key, next)).transpose()?;
            let change = |reply| Order::Swap(Change { key: *key, expected, next, reply });
            self.ask(change).await.map(Notice::hear)
        })
    }

    fn lease(&self) -> Option<Duration> {
        None
    }

    fn trouble(&self) -> Option<String> {
        let is_stuck = self.records.writing.is_stuck() || self.records.reading.is_stuck();
        self.records.trouble.reason().or_else(|| is_stuck.then(|| SLOW.to_owned()))
    }

    fn maintain(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.records.kept.maintain().await;
            let tidied = self.ask(Order::Tidy).await;
            // It is the only one that learns of a write in the background that has failed.
            let cleaned = self.clean().await;
            tidied.and(cleaned)
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed> {
        Box::pin(self.page(page))
    }

    /// About what stands on disk. What was there before the store was opened is estimated, and
    /// what has expired counts until it is deleted.
    fn usage(&self) -> Usage {
        let drawers = self.records.drawers.all();
        let mut usage = Usage::default();
        for drawer in drawers.iter() {
            usage.records += drawer.records();
            usage.bytes += drawer.bytes();
        }
        usage
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.orders = None;
        let Some(writer) = self.writer.take() else { return };
        let deadline = Instant::now() + PATIENCE_TO_CLEAN;
        while !writer.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if writer.is_finished() {
            // If it has failed, that has been said.
            let _ = writer.join();
        }
    }
}

fn open_database(path: &Path) -> fjall::Result<Database> {
    Database::builder(path)
        .cache_size(BLOCK_CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .worker_threads(BACKGROUND_THREADS)
        .open()
}

/// Why the database can't be opened.
fn refusal(path: PathBuf, error: fjall::Error) -> DiskOpenError {
    if let fjall::Error::Io(source) = error {
        return DiskOpenError::Folder { path, source };
    }
    if let fjall::Error::JournalRecovery(reason) = error {
        let (path, reason) = (path.join(RECORDS), format!("{reason:?}"));
        return DiskOpenError::Torn { path, reason };
    }
    match matches!(error, fjall::Error::Locked) {
        true => DiskOpenError::Locked(path),
        false => DiskOpenError::Damaged { path, reason: words(&error) },
    }
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable(reason.to_owned())
}

fn slow() -> StoreError {
    unavailable(SLOW)
}

fn busy() -> StoreError {
    unavailable("the disk store is busy")
}

fn gone() -> StoreError {
    unavailable("the disk store has ended")
}
