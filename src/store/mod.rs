//! Where records outlive a request: one trait with one atomic operation.

mod disk;
mod envelope;
mod kept;
mod list;
mod memory;
mod redis;
mod seal;

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::Handle;

pub use disk::{DiskOpenError, DiskOptions, DiskStore, Durability};
pub use kept::RECORD_BYTES;
pub use list::{Cursor, CursorError, Listed, Page, Summary};
pub use memory::{MemoryOptions, MemoryStore, WhenFull};
pub use redis::{
    Login, Node, Password, RedisIdentity, RedisOpenError, RedisOptions, RedisStore, RedisTime,
    RedisTls, RedisUrl, RedisUrlError, Replicas, Security, Topology,
};
pub use seal::{SealKeys, SealKeysError};

use crate::idempotency::{LeaseToken, Record, RecordKey};

/// A map of records that changes only by comparing first.
///
/// Claiming a key, renewing a lease, settling, releasing and taking over are five uses of
/// [`Store::swap`], so that a store has one thing to get right.
pub trait Store: Debug + Send + Sync + 'static {
    /// The record of an operation that has ended, if this process has it at hand.
    ///
    /// It never waits, and it may know less than [`Store::load`]; the record may have expired.
    fn peek(&self, key: &RecordKey) -> Option<Record>;

    /// The record with this key.
    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>>;

    /// Replaces the record with `next`, or removes it, if it is what was expected; atomic.
    ///
    /// What has ended is never written over, whatever token is shown: it can only be removed. A
    /// holder's late word must not undo what it has said. Where claims have leases, nobody but its
    /// holder writes over one that has not run out.
    ///
    /// # Cancel safety
    ///
    /// A swap that is dropped may have happened or not.
    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap>;

    /// Takes note of the runtime of a worker, which will ask often: what it asks should wake no
    /// other thread.
    fn attach(&self, worker: &Handle) {
        let _ = worker;
    }

    /// How long a claim counts without being renewed; nothing if it lives as long as the process.
    fn lease(&self) -> Option<Duration>;

    /// Renews claims for another lease, in one round trip; those that are not held any more stay as
    /// they are. It is never called where there is no lease.
    fn renew<'a>(&'a self, claims: &'a [(RecordKey, LeaseToken)]) -> StoreFuture<'a, ()> {
        let _ = claims;
        Box::pin(async { Ok(()) })
    }

    /// Waits until the record may have changed; it may never say so, and say so for nothing.
    fn changed<'a>(&'a self, key: &'a RecordKey) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let _ = key;
        Box::pin(std::future::pending())
    }

    /// Why the store can't be used at the moment, if it can't.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Does what the store has put off; called about once a second.
    fn maintain(&self) -> StoreFuture<'_, ()>;

    /// Some of the records that count, after those of the page before.
    ///
    /// All that stands there from the first page to the last comes once. What changes meanwhile
    /// may come or not, and what moves may come twice.
    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed>;

    /// How much the store holds.
    fn usage(&self) -> Usage;
}

/// What a store's operation returns in time.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What a swap expects to find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// No record that still counts.
    Absent,
    /// A record with this token.
    HeldBy(LeaseToken),
}

/// How a swap ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Swap {
    /// The record was as expected, and has been replaced.
    Done,
    /// It was another, which is here, and nothing has changed.
    Lost(Option<Record>),
}

/// Why a store has not done what it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// It holds as much as it may.
    #[error("the store is full")]
    Full,
    /// The record is larger than the store.
    #[error("the record is larger than the store")]
    TooLarge,
    /// What it holds under the key can't be read; it may be the record of anything.
    #[error("the record can't be read: {0}")]
    Corrupt(String),
    /// It could not be asked, or has not answered in time.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Records.
    pub records: u64,
    /// Bytes, with what each record takes besides its own.
    pub bytes: u64,
}
