//! Swaps that were decided, and are written together.

use std::collections::HashSet;
use std::sync::Arc;

use fjall::PersistMode;

use super::Durability;
use super::claims::Claim;
use super::drawer::Drawer;
use super::order::{Reply, Sealed, is_completed, is_running};
use super::records::{Records, Standing};
use super::untold::{Notice, Untold};
use crate::idempotency::RecordKey;
use crate::store::kept::{Entry, KeyHashes};
use crate::store::{Expected, StoreError, Swap};

/// The most swaps that are written together.
const WRITES_MAX: usize = 1024;

/// The most bytes that are written together, give or take a record.
const BYTES_MAX: u64 = 8 << 20;

/// A swap that was decided, and is to be written.
pub(super) struct Write {
    pub(super) key: RecordKey,
    pub(super) expected: Expected,
    /// What goes, if something stands there.
    pub(super) from: Option<Standing>,
    /// What comes, if something does, and where it will stand.
    pub(super) to: Option<(Sealed, Arc<Drawer>)>,
    pub(super) reply: Reply<Notice>,
}

/// Swaps of different keys.
#[derive(Default)]
pub(super) struct Batch {
    writes: Vec<Write>,
    keys: HashSet<RecordKey, KeyHashes>,
    bytes: u64,
}

/// The swaps among them that wait for the disk, or those that do not.
pub(super) struct Part(Vec<Write>);

impl Write {
    /// The claim that comes, if one does.
    pub(super) fn claim(&self) -> Option<Claim> {
        let (sealed, drawer) = self.to.as_ref()?;
        is_running(&sealed.record).then(|| Claim {
            record: sealed.record.clone(),
            drawer: Arc::clone(drawer),
            bytes: Drawer::weigh(&sealed.bytes),
        })
    }

    /// Whether nobody may be told of it before it is on the disk.
    fn waits(&self, durability: Durability) -> bool {
        match durability {
            Durability::Claim => true,
            Durability::Answer => match (&self.from, &self.to) {
                (_, Some((next, _))) => !is_running(&next.record),
                (from, None) => from.as_ref().is_some_and(|from| !is_running(&from.record)),
            },
            Durability::None => false,
        }
    }

    /// Puts into the cache and the tables what is on disk now, and tells whoever waits.
    async fn finish(self, records: &Records, untold: &Untold) {
        let answer = self.to.as_ref().filter(|(next, _)| is_completed(&next.record));
        match answer {
            // Before the claim leaves its table, so that it is always found.
            Some((next, _)) => {
                // By the clock of this process; on disk its times are others.
                records.kept.insert(&self.key, Entry::of(&next.record)).await;
            }
            None if self.from.as_ref().is_some_and(|from| is_completed(&from.record)) => {
                records.uncache(&self.key).await;
            }
            None => {}
        }
        let claim = self.to.as_ref().filter(|(next, _)| is_running(&next.record));
        if claim.is_none() {
            records.claims.remove(&self.key);
        }
        if let Some(from) = &self.from {
            from.drawer.subtract(from.bytes);
        }
        if let Some((next, drawer)) = &self.to {
            let bytes = Drawer::weigh(&next.bytes);
            drawer.add(bytes);
            records.wrote(bytes);
        }
        let notice = match claim {
            // Whoever writes a claim again has one.
            Some((next, _)) if self.expected != Expected::HeldBy(next.record.token) => {
                untold.claimed(self.key, next.record.token)
            }
            _ => Swap::Done.into(),
        };
        let _ = self.reply.send(Ok(notice));
    }
}

impl Batch {
    pub(super) fn push(&mut self, write: Write) {
        self.bytes += write.to.as_ref().map_or(0, |(next, _)| next.bytes.len() as u64);
        self.keys.insert(write.key);
        self.writes.push(write);
    }

    /// Whether the record under the key will be another.
    pub(super) fn changes(&self, key: &RecordKey) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.writes.len() >= WRITES_MAX || self.bytes >= BYTES_MAX
    }

    /// What does not wait for the disk, which comes first, and what does.
    pub(super) fn split(self, durability: Durability) -> [(Part, PersistMode); 2] {
        let (slow, quick) = self.writes.into_iter().partition(|write| write.waits(durability));
        [(Part(quick), PersistMode::Buffer), (Part(slow), PersistMode::SyncData)]
    }
}

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes all of it, or none.
    pub(super) fn commit(&self, records: &Records, mode: PersistMode) -> fjall::Result<()> {
        let mut batch = records.database.batch().durability(Some(mode));
        for write in &self.0 {
            let key = write.key.as_bytes();
            let stays = |drawer| write.to.as_ref().is_some_and(|(_, to)| Arc::ptr_eq(to, drawer));
            if let Some(from) = write.from.as_ref().filter(|from| !stays(&from.drawer)) {
                batch.remove(&from.drawer.keyspace, key.as_slice());
            }
            if let Some((next, drawer)) = &write.to {
                batch.insert(&drawer.keyspace, key.as_slice(), next.bytes.clone());
            }
        }
        batch.commit()
    }

    /// Puts what is on disk now into memory, and tells whoever waits.
    pub(super) async fn finish(self, records: &Records, untold: &Untold) {
        for write in self.0 {
            write.finish(records, untold).await;
        }
    }

    /// Tells whoever waits that nobody knows what is on the disk.
    pub(super) fn fail(self, error: &StoreError) {
        for write in self.0 {
            let _ = write.reply.send(Err(error.clone()));
        }
    }
}
