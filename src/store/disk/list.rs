//! The records on disk, drawer by drawer, in each in the order of their keys.

use std::ops::Bound;
use std::sync::Arc;

use fjall::Readable as _;

use super::DiskStore;
use super::drawer::Drawer;
use super::order::{Order, is_running};
use super::records::Records;
use crate::idempotency::{Record, RecordKey};
use crate::store::StoreError;
use crate::store::list::{Cursor, Filling, Listed, Page};

/// The most records that are read at a time, with their answers.
const READ_AT_ONCE: usize = 64;

/// Records as they stand in a drawer.
struct Stretch {
    /// Each with its key; one that can't be read is missing.
    records: Vec<(RecordKey, Option<Record>)>,
    /// Where they end, if something may follow.
    next: Option<Cursor>,
}

impl DiskStore {
    /// One page.
    pub(super) async fn page(&self, page: &Page) -> Result<Listed, StoreError> {
        self.records.trouble.check()?;
        let mut filling = Filling::new(page);
        let mut next = page.after.clone();
        loop {
            let (records, from) = (Arc::clone(&self.records), next);
            let most = filling.room().min(READ_AT_ONCE);
            let stretch = self.read(move || records.stretch(from.as_ref(), most)).await?;
            for (key, record) in stretch.records {
                match record {
                    Some(record) if is_running(&record) => self.look_at(&mut filling, &key).await?,
                    Some(record) => {
                        let record = self.records.kept.counting(&key, record);
                        filling.look(&key, Some(&record));
                    }
                    None => filling.look(&key, None),
                }
            }
            next = stretch.next;
            if next.is_none() || filling.is_full() {
                return Ok(filling.end(next));
            }
        }
    }

    /// Looks at what is in flight on disk: it may have been settled since, or be of a process that
    /// is gone.
    async fn look_at(&self, filling: &mut Filling<'_>, key: &RecordKey) -> Result<(), StoreError> {
        let found = match self.records.claims.get(key, self.records.times.now()) {
            Some(claim) => Ok(Some(claim)),
            None => self.ask(|reply| Order::Look(*key, reply)).await,
        };
        match found {
            Ok(Some(record)) => filling.look(key, Some(&record)),
            Ok(None) => {}
            Err(StoreError::Corrupt(_)) => filling.look(key, None),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Records {
    /// The next records of one drawer. It may wait for the disk.
    fn stretch(&self, after: Option<&Cursor>, most: usize) -> Result<Stretch, StoreError> {
        let drawers = self.in_order();
        let place = after.map_or("", |after| after.place.as_str());
        let Some(index) = drawers.iter().position(|(name, _)| name.as_str() >= place) else {
            return Ok(Stretch { records: Vec::new(), next: None });
        };
        let (name, drawer) = &drawers[index];
        let last = after.filter(|after| after.place == *name).and_then(|after| after.keys.last());
        let from = last.map_or(Bound::Unbounded, |last| Bound::Excluded(*last.as_bytes()));
        let snapshot = self.database.snapshot();
        let mut records = Vec::new();
        let found = snapshot.range(&drawer.keyspace, (from, Bound::<[u8; 32]>::Unbounded));
        for guard in found.take(most) {
            let (key, sealed) = self.unfailing(guard.into_inner())?;
            let Ok(key) = <[u8; 32]>::try_from(key.as_ref()) else { continue };
            let key = RecordKey::from_bytes(key);
            records.push((key, self.open_quietly(&key, &sealed.into())));
        }
        let next = match records.last() {
            Some((last, _)) if records.len() == most => Some(Cursor::after(name, *last)),
            _ => drawers
                .get(index + 1)
                .map(|(name, _)| Cursor { place: name.clone(), ..Cursor::default() }),
        };
        Ok(Stretch { records, next })
    }

    /// The drawers in the order of their names, which does not change when others come and go.
    fn in_order(&self) -> Vec<(String, Arc<Drawer>)> {
        let drawers = self.drawers.all();
        let mut drawers: Vec<_> =
            drawers.iter().map(|drawer| (drawer.name(), Arc::clone(drawer))).collect();
        drawers.sort_by(|(one, _), (other, _)| one.cmp(other));
        drawers
    }
}
