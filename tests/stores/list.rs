//! What every store lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncegate::clock::Timestamp;
use oncegate::idempotency::{Record, RecordKey, Stage, State};
use oncegate::store::{Page, Store, Summary, Swap};

use crate::{Kind, Opened, PLENTY, WINDOW, answer, at_once, key, with};

/// A whole list, page by page.
pub(crate) struct Whole {
    pub(crate) records: Vec<Summary>,
    pub(crate) unreadable: u64,
    pub(crate) pages: usize,
}

impl Whole {
    pub(crate) fn keys(&self) -> BTreeSet<RecordKey> {
        self.records.iter().map(|record| record.key).collect()
    }
}

fn page(now: Timestamp, records_max: usize) -> Page {
    let wanted = Arc::new(|_: &Summary| true);
    Page { after: None, records_max, looks_max: 10_000, wanted, now }
}

pub(crate) async fn all(it: &Opened, records_max: usize) -> Whole {
    all_of(&*it.store, it.time.now(), records_max).await
}

/// The whole list of a store whose clock shows this.
pub(crate) async fn all_of(store: &dyn Store, now: Timestamp, records_max: usize) -> Whole {
    follow(store, page(now, records_max)).await
}

async fn follow(store: &dyn Store, mut page: Page) -> Whole {
    let mut whole = Whole { records: Vec::new(), unreadable: 0, pages: 0 };
    loop {
        let listed = store.list(&page).await.unwrap();
        assert!(listed.records.len() <= page.records_max);
        whole.records.extend(listed.records);
        whole.unreadable += listed.unreadable;
        whole.pages += 1;
        assert!(whole.pages < 10_000, "a list has no end");
        match listed.next {
            // As it comes back from who has seen the page.
            Some(next) => page.after = Some(next.to_string().parse().unwrap()),
            None => return whole,
        }
    }
}

/// Records in every state.
async fn fill(it: &Opened, count: usize) -> BTreeMap<RecordKey, Record> {
    let mut filled = BTreeMap::new();
    for number in 0..count {
        let (key, claim) = (key(number), it.in_flight(number as u64));
        assert_eq!(it.claim(&key, &claim).await, Ok(Swap::Done));
        let next = match number % 4 {
            0 => claim.clone(),
            1 => it.completed(&claim, answer(&format!("{number}"))),
            2 => with(&claim, State::Unreplayable),
            _ => with(&claim, State::Indeterminate),
        };
        if next != claim {
            assert_eq!(it.change(&key, &claim, Some(&next)).await, Ok(Swap::Done));
        }
        filled.insert(key, next);
    }
    filled
}

#[track_caller]
fn check(it: &Opened, whole: &Whole, filled: &BTreeMap<RecordKey, Record>) {
    assert_eq!((whole.records.len(), whole.unreadable), (filled.len(), 0));
    for shown in &whole.records {
        let expected = Summary::of(&shown.key, &filled[&shown.key], it.time.now());
        assert_eq!(*shown, expected);
    }
    assert_eq!(whole.keys().len(), filled.len());
}

pub(crate) async fn an_empty_store_lists_nothing<K: Kind>() {
    let it = K::open(PLENTY).await;
    let whole = all(&it, 10).await;
    assert_eq!((whole.records.len(), whole.unreadable), (0, 0));
}

pub(crate) async fn everything_is_listed_once<K: Kind>() {
    let it = K::open(PLENTY).await;
    let filled = fill(&it, 230).await;
    for records_max in [1, 7, 100, 500] {
        let whole = all(&it, records_max).await;
        check(&it, &whole, &filled);
        assert!(whole.pages >= filled.len().div_ceil(records_max));
    }
}

pub(crate) async fn a_list_shows_what_is_wanted<K: Kind>() {
    let it = K::open(PLENTY).await;
    let filled = fill(&it, 120).await;
    for stage in Stage::ALL {
        let wanted = Arc::new(move |summary: &Summary| summary.stage == stage);
        // It looks at some only, and goes on.
        let page = Page { wanted, looks_max: 9, ..page(it.time.now(), 5) };
        let whole = follow(&*it.store, page).await;
        let now = it.time.now();
        let expected = filled.iter().filter(|(_, record)| Stage::of(record, now) == stage);
        let expected: BTreeSet<_> = expected.map(|(key, _)| *key).collect();
        assert_eq!(expected.len(), 30);
        assert_eq!((whole.keys(), whole.records.len()), (expected, 30));
        assert!(whole.pages >= 120 / 9, "{}", whole.pages);
    }
}

pub(crate) async fn what_has_expired_is_not_listed<K: Kind>() {
    let it = K::open(PLENTY).await;
    fill(&it, 20).await;
    it.time.advance(WINDOW + Duration::from_millis(1));
    let later = it.keep(&key(100), 1, "later").await;
    let whole = all(&it, 7).await;
    check(&it, &whole, &BTreeMap::from([(key(100), later)]));
}

pub(crate) async fn a_list_goes_on_while_others_write<K: Kind>() {
    let it = K::open(PLENTY).await;
    let filled = fill(&it, 150).await;
    let ended = Arc::new(AtomicBool::new(false));
    let lists = {
        let (it, ended) = (it.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut lists = Vec::new();
            while !ended.load(Ordering::SeqCst) || lists.is_empty() {
                lists.push(all(&it, 11).await);
            }
            lists
        })
    };
    at_once(4, |writer| {
        let it = it.clone();
        async move {
            for number in 0..60 {
                let key = key(1000 + writer * 100 + number);
                let kept = it.keep(&key, number as u64, "more").await;
                if number % 2 == 0 {
                    assert_eq!(it.change(&key, &kept, None).await, Ok(Swap::Done));
                }
            }
        }
    })
    .await;
    ended.store(true, Ordering::SeqCst);
    for whole in lists.await.unwrap() {
        assert_eq!(whole.unreadable, 0);
        let keys = whole.keys();
        for (key, record) in &filled {
            assert!(keys.contains(key), "{:?} is missing", record.state);
        }
    }
    assert_eq!(all(&it, 100).await.records.len(), filled.len() + 4 * 30);
}
