//! The cache of records that have ended with an answer.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;

use crate::clock::{Clock, Timestamp};
use crate::idempotency::{
    LeaseToken, Origin, Record, RecordKey, decode_from, encode_without_origin, expiry, kept_at,
};
use crate::telemetry::Metrics;

/// What a kept record takes besides its answer, in bytes: its key, its own fields, its origin, and
/// what the cache keeps of it.
pub const RECORD_BYTES: u64 = 550;

/// What of a record's origin is in that.
const TEXT_BYTES: usize = 64;

/// A record as it stands in the cache. Its origin is beside it, so that whoever reads the record
/// shares it and allocates nothing.
#[derive(Clone)]
pub(in crate::store) struct Entry {
    encoded: Bytes,
    origin: Option<Arc<Origin>>,
}

impl Entry {
    pub(in crate::store) fn of(record: &Record) -> Self {
        Self { encoded: encode_without_origin(record), origin: record.origin.clone() }
    }

    /// What it takes of the store's room.
    pub(in crate::store) fn weigh(&self) -> u64 {
        let text = self.origin.as_ref().map_or(0, |origin| origin.text_bytes());
        (self.encoded.len() + text.saturating_sub(TEXT_BYTES)) as u64 + RECORD_BYTES
    }

    fn expires_at(&self) -> Option<Timestamp> {
        expiry(&self.encoded)
    }

    /// The cache holds only what this process has encoded, so that a record is always read.
    pub(in crate::store) fn read(self) -> Option<Record> {
        decode_from(&self.encoded, self.origin).ok()
    }
}

/// Records, each until its window ends.
pub(in crate::store) struct Kept {
    cache: Cache<RecordKey, Entry, KeyHashes>,
    /// What all of them weigh. The cache's own sum is right only after its maintenance.
    bytes: Arc<AtomicU64>,
}

/// What stands behind the cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::store) enum Behind {
    /// Nothing: what is dropped for want of room is a broken promise.
    Nothing,
    /// A store that holds the same.
    Store,
}

pub(in crate::store) type KeyHashes = BuildHasherDefault<KeyHash>;

/// Takes eight bytes of a record key for its hash: keyed hashes are as good as random, and nobody
/// outside can choose them.
#[derive(Default)]
pub(in crate::store) struct KeyHash(u64);

impl Hasher for KeyHash {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length, which the hash of an array begins with.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Lets a record live until its window ends, which began before the record was kept.
struct UntilExpiry(Clock);

impl Expiry<RecordKey, Entry> for UntilExpiry {
    fn expire_after_create(&self, _: &RecordKey, entry: &Entry, _: Instant) -> Option<Duration> {
        let expires_at = entry.expires_at().unwrap_or(Timestamp::from_millis(0));
        // One millisecond more, since a record still counts at its last moment.
        Some(expires_at.since(self.0.now()) + Duration::from_millis(1))
    }
}

impl Kept {
    pub(in crate::store) fn new(
        capacity: u64,
        behind: Behind,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let removed = Arc::clone(&bytes);
        let cache = Cache::builder()
            .max_capacity(capacity)
            .weigher(|_, entry: &Entry| u32::try_from(entry.weigh()).unwrap_or(u32::MAX))
            // The default policy would drop the newest records, and keep the oldest.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilExpiry(clock.clone()))
            .eviction_listener(move |_, entry: Entry, cause| {
                removed.fetch_sub(entry.weigh(), Ordering::Relaxed);
                let now = clock.now();
                let counts = entry.expires_at().is_some_and(|expires_at| expires_at >= now);
                if cause == RemovalCause::Size && behind == Behind::Nothing && counts {
                    metrics.evictions.dropped(kept_at(&entry.encoded).unwrap_or(now), now);
                }
            })
            .build_with_hasher(KeyHashes::default());
        Self { cache, bytes }
    }

    /// The record, if it can be had without waiting.
    ///
    /// It may have expired since the cache looked at its clock.
    pub(in crate::store) fn peek(&self, key: &RecordKey) -> Option<Record> {
        match self.poll(key) {
            Poll::Ready(entry) => entry?.read(),
            Poll::Pending => None,
        }
    }

    pub(in crate::store) async fn get(&self, key: &RecordKey, now: Timestamp) -> Option<Record> {
        let record = self.cache.get(key).await.and_then(Entry::read);
        record.filter(|record| !record.is_expired(now))
    }

    /// Whether there may be a record that counts.
    pub(in crate::store) fn may_contain(&self, key: &RecordKey, now: Timestamp) -> bool {
        match self.poll(key) {
            Poll::Ready(entry) => entry.is_some_and(|entry| {
                entry.expires_at().is_some_and(|expires_at| expires_at >= now)
            }),
            Poll::Pending => true,
        }
    }

    /// Looks once; the cache waits only for its maintenance, after it has found the record.
    fn poll(&self, key: &RecordKey) -> Poll<Option<Entry>> {
        let mut context = Context::from_waker(Waker::noop());
        pin!(self.cache.get(key)).poll(&mut context)
    }

    pub(in crate::store) async fn insert(&self, key: &RecordKey, entry: Entry) {
        self.bytes.fetch_add(entry.weigh(), Ordering::Relaxed);
        self.cache.insert(*key, entry).await;
    }

    /// The record with the origin that counts its replays here, if it is at hand.
    pub(in crate::store) fn counting(&self, key: &RecordKey, record: Record) -> Record {
        match self.peek(key) {
            Some(kept) if kept.token == record.token => Record { origin: kept.origin, ..record },
            _ => record,
        }
    }

    /// Whether the record that this token has written is at hand.
    pub(in crate::store) fn has(&self, key: &RecordKey, token: LeaseToken) -> bool {
        self.peek(key).is_some_and(|record| record.token == token)
    }

    /// All entries, in no order.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (RecordKey, Entry)> + Send {
        self.cache.iter().map(|(key, entry)| (*key, entry))
    }

    pub(in crate::store) async fn remove(&self, key: &RecordKey) {
        self.cache.invalidate(key).await;
    }

    pub(in crate::store) fn clear(&self) {
        self.cache.invalidate_all();
    }

    pub(in crate::store) async fn maintain(&self) {
        self.cache.run_pending_tasks().await;
    }

    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(in crate::store) fn len(&self) -> u64 {
        self.cache.entry_count()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("records", &self.len()).finish_non_exhaustive()
    }
}
