//! The records in memory, in the order of their keys.

use std::collections::BTreeMap;

use super::MemoryStore;
use crate::idempotency::{Record, RecordKey};
use crate::store::kept::Entry;
use crate::store::list::{Cursor, Filling, Listed, Page};

/// How a record stands in memory.
enum Found {
    Mark(Box<Record>),
    Kept(Entry),
}

/// The first records after a key, in its order.
struct First {
    after: Option<RecordKey>,
    most: usize,
    found: BTreeMap<RecordKey, Found>,
    is_cut: bool,
}

impl First {
    fn takes(&self, key: &RecordKey) -> bool {
        self.after.is_none_or(|after| *key > after)
            && (self.found.len() < self.most
                || self.found.last_key_value().is_some_and(|(last, _)| key < last))
    }

    fn insert(&mut self, key: RecordKey, found: Found) {
        self.found.insert(key, found);
        if self.found.len() > self.most {
            self.found.pop_last();
            self.is_cut = true;
        }
    }
}

impl MemoryStore {
    /// One page. Nothing keeps the cache in order: each page looks at all keys, and only at the
    /// records that it may show.
    pub(super) async fn page(&self, page: &Page) -> Listed {
        let after = page.after.as_ref().and_then(|after| after.keys.last().copied());
        let most = page.looks_max.max(1);
        let mut first = First { after, most, found: BTreeMap::new(), is_cut: false };
        for (count, (key, entry)) in self.kept.iter().enumerate() {
            if first.takes(&key) {
                first.insert(key, Found::Kept(entry));
            } else if first.after.is_none_or(|after| key > after) {
                first.is_cut = true;
            }
            if count % super::LISTED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        // Last, since what is being settled stands in both.
        self.marks.each(|key, mark| {
            if first.takes(key) {
                first.insert(*key, Found::Mark(Box::new(mark.clone())));
            } else if first.after.is_none_or(|after| *key > after) {
                first.is_cut = true;
            }
        });
        let mut filling = Filling::new(page);
        let mut last = None;
        let mut left = first.found.into_iter().peekable();
        while !filling.is_full()
            && let Some((key, found)) = left.next()
        {
            let record = match found {
                Found::Mark(mark) => Some(*mark),
                Found::Kept(entry) => entry.read(),
            };
            filling.look(&key, record.as_ref());
            last = Some(key);
        }
        let goes_on = left.peek().is_some() || first.is_cut;
        filling.end(last.filter(|_| goes_on).map(|last| Cursor::after("", last)))
    }
}
