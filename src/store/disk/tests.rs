//! What becomes of a store whose disk is stuck.

use std::fs;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::thread::{self, JoinHandle, sleep};

use tokio::join;
use tokio::time::{Instant, advance, pause, resume};

use super::*;
use crate::clock::Timestamp;
use crate::idempotency::{AnswerBuilder, Fingerprint, LeaseToken, State};

const HOUR: Duration = Duration::from_hours(1);

/// A store in a folder that goes with it, and its time.
struct Ground {
    store: Option<DiskStore>,
    time: Arc<AtomicU64>,
    path: PathBuf,
}

/// What the store waits for, as if it were the disk; it goes on when this is dropped.
struct Stuck {
    end: Option<Sender<()>>,
    holder: Option<JoinHandle<()>>,
}

impl Ground {
    fn new(bytes_max: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oncegate-stuck-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let time = Arc::new(AtomicU64::new(1_790_000_000_000));
        let told = Arc::clone(&time);
        let clock = Clock::from_fn(move || Timestamp::from_millis(told.load(Ordering::SeqCst)));
        let options = DiskOptions { bytes_max, ..DiskOptions::default() };
        let store = DiskStore::open(&path, options, clock, Arc::default()).unwrap();
        Self { store: Some(store), time, path }
    }

    fn store(&self) -> &DiskStore {
        self.store.as_ref().unwrap()
    }

    fn record(&self, state: State) -> Record {
        let expires_at = Timestamp::from_millis(self.time.load(Ordering::SeqCst)).after(HOUR);
        let token = LeaseToken(1);
        Record { fingerprint: Fingerprint::COVERED, token, expires_at, state, origin: None }
    }

    fn claim(&self) -> Record {
        self.record(State::InFlight { lease_until: Timestamp::MAX })
    }

    fn completed(&self, bytes: usize) -> Record {
        let answer = AnswerBuilder::new(200).finish(&vec![b'x'; bytes]);
        self.record(State::Completed { answer, kept_at: Timestamp::from_millis(0) })
    }

    async fn keep(&self, number: u8) {
        assert_eq!(claim(self, number).await, Ok(Swap::Done));
        assert_eq!(end(self, number, Some(self.completed(10))).await, Ok(Swap::Done));
    }

    fn stop(&self) -> Stuck {
        let (end, over) = channel();
        let (holds, held) = channel();
        let records = Arc::clone(&self.store().records);
        let holder = thread::spawn(move || {
            let _guard = records::lock(&records.removals);
            holds.send(()).unwrap();
            let _ = over.recv();
        });
        held.recv().unwrap();
        Stuck { end: Some(end), holder: Some(holder) }
    }

    /// Waits until the store says nothing of trouble any more.
    fn recover(&self) {
        for _ in 0..30_000 {
            if self.store().trouble().is_none() {
                return;
            }
            sleep(Duration::from_millis(1));
        }
        panic!("{:?}", self.store().trouble());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.store = None;
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.end = None;
        let _ = self.holder.take().unwrap().join();
    }
}

fn key(number: u8) -> RecordKey {
    RecordKey::from_bytes([number; 32])
}

/// Claims what is free.
async fn claim(ground: &Ground, number: u8) -> Result<Swap, StoreError> {
    ground.store().swap(&key(number), Expected::Absent, Some(ground.claim())).await
}

/// Ends what has been claimed.
async fn end(ground: &Ground, number: u8, next: Option<Record>) -> Result<Swap, StoreError> {
    ground.store().swap(&key(number), Expected::HeldBy(LeaseToken(1)), next).await
}

fn is_busy<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(why)) if why.contains("busy"))
}

#[tokio::test]
async fn a_writer_that_is_stuck_is_waited_for_once() {
    let ground = Ground::new(0);
    let store = ground.store();
    ground.keep(0).await;
    for number in [1, 2] {
        let claimed = claim(&ground, number).await;
        assert_eq!(claimed, Ok(Swap::Done));
    }
    let stuck = ground.stop();
    pause();
    // The writer is in the middle of it as soon as it's on disk.
    let (forgotten, ()) = join!(end(&ground, 0, None), async {
        while store.records.find(&key(0)).unwrap().is_some() {
            sleep(Duration::from_millis(1));
        }
        // What is done can't be undone by whoever asks next.
        let (asked, ()) = join!(claim(&ground, 3), advance(PATIENCE + Duration::from_millis(1)));
        assert_eq!(asked, Err(slow()));
    });
    assert_eq!(forgotten, Err(slow()));
    assert_eq!(store.trouble().as_deref(), Some(SLOW));
    // Nobody else waits: the time would go on if anybody did.
    let now = Instant::now();
    let settled = end(&ground, 1, Some(ground.completed(10))).await;
    assert_eq!(settled, Err(slow()));
    assert_eq!(claim(&ground, 4).await, Err(slow()));
    assert_eq!(end(&ground, 4, None).await, Err(slow()));
    let mut queued = 0;
    while !is_busy(&end(&ground, 2, Some(ground.completed(1 << 20))).await) {
        queued += 1;
        assert!(queued < 100, "there is no limit");
    }
    assert!(queued > 50, "{queued}");
    assert_eq!(Instant::now(), now);
    drop(stuck);
    resume();
    ground.recover();
    // What was settled meanwhile is written, and what was claimed in vain is not.
    assert_eq!(claim(&ground, 5).await, Ok(Swap::Done));
    assert_eq!(store.load(&key(1)).await, Ok(Some(ground.completed(10))));
    assert_eq!(store.load(&key(2)).await, Ok(Some(ground.completed(1 << 20))));
    for number in [0, 3, 4] {
        assert_eq!(store.load(&key(number)).await, Ok(None), "{number}");
    }
    assert!(store.budget.take(QUEUE_BYTES_MAX).is_some());
}

#[tokio::test]
async fn what_has_ended_is_deleted_and_the_disk_is_asked_while_the_writer_is_stuck() {
    let ground = Ground::new(0);
    let store = ground.store();
    let empty = store.records.database.keyspace_count();
    ground.keep(0).await;
    ground.time.fetch_add(2 * 3_600_000, Ordering::SeqCst);
    store.records.set_aside();
    assert_eq!(store.records.database.keyspace_count(), empty + 1);
    ground.keep(1).await;
    let stuck = ground.stop();
    let _ = join!(end(&ground, 1, None), async {
        while store.records.find(&key(1)).unwrap().is_some() {
            sleep(Duration::from_millis(1));
        }
        store.records.writing.give_up(store.records.writing.before());
        assert_eq!(store.maintain().await, Err(slow()));
        drop(stuck);
    });
    assert_eq!(store.records.database.keyspace_count(), empty + 1);
    ground.recover();
    assert_eq!(store.maintain().await, Ok(()));
}

#[tokio::test]
async fn reads_that_are_stuck_keep_their_threads_and_nobody_else_waits() {
    let ground = Ground::new(0);
    let store = ground.store();
    ground.keep(0).await;
    let stuck = ground.stop();
    pause();
    let wanted = key(0);
    // One more than there are places.
    let (first, second, third, ()) = join!(
        store.load(&wanted),
        store.load(&wanted),
        store.load(&wanted),
        advance(PATIENCE + Duration::from_millis(1))
    );
    assert_eq!([first, second, third], [Err(slow()), Err(slow()), Err(slow())]);
    assert_eq!(store.reads.available_permits(), 0);
    assert_eq!(store.trouble().as_deref(), Some(SLOW));
    let mut next = store.load(&wanted);
    let at_once = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
    assert_eq!(at_once, Poll::Ready(Err(slow())));
    drop(next);
    drop(stuck);
    resume();
    ground.recover();
    assert_eq!(store.load(&key(0)).await, Ok(Some(ground.completed(10))));
    // All threads come back, if one after the other.
    let all = store.reads.acquire_many(u32::try_from(READS_MAX).unwrap()).await;
    assert!(all.is_ok());
}
