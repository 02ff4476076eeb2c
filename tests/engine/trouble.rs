//! What the engine does while its store can't be asked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncegate::clock::{Clock, Timestamp};
use oncegate::engine::{Engine, EngineLimits};
use oncegate::idempotency::{
    Answer, AnswerBuilder, Attempt, Broken, Fingerprint, Identity, LeaseToken, OnMismatch,
    OnStoreError, OnUnknown, Outcome, Provenance, Record, RecordKey, Refusal, Terms,
};
use oncegate::store::{
    Expected, Listed, MemoryOptions, MemoryStore, Page, Store, StoreError, StoreFuture, Swap,
    Usage, WhenFull,
};
use oncegate::telemetry::{Metrics, StoreOperation, Unprotected};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

const KEY: RecordKey = RecordKey::from_bytes([1; 32]);
const IDENTITY: Identity = Identity { key: KEY, fingerprint: Fingerprint::COVERED };
const LEASE: Duration = Duration::from_secs(15);

const TERMS: Terms = Terms {
    window: Duration::from_hours(1),
    wait: Duration::from_mins(1),
    timeout: Duration::from_mins(5),
    linger: Duration::from_mins(10),
    on_unknown: OnUnknown::Hold,
    on_mismatch: OnMismatch::Refuse,
    on_store_error: OnStoreError::Refuse,
};
const PASS: Terms = Terms { on_store_error: OnStoreError::Pass, ..TERMS };

/// A store that can be out of reach, or hold what nobody can read.
#[derive(Debug)]
struct Faulty {
    records: MemoryStore,
    is_down: AtomicBool,
    is_corrupt: AtomicBool,
    /// Whether the answer to a swap takes a second.
    is_slow: AtomicBool,
    changed: Notify,
    renewals: Mutex<Vec<Vec<(RecordKey, LeaseToken)>>>,
}

impl Faulty {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("it is down".into()));
        }
        if self.is_corrupt.load(Ordering::SeqCst) {
            return Err(StoreError::Corrupt("it is bent".into()));
        }
        Ok(())
    }
}

impl Store for Faulty {
    fn peek(&self, _: &RecordKey) -> Option<Record> {
        None
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed> {
        self.records.list(page)
    }

    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            self.check()?;
            self.records.load(key).await
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap> {
        Box::pin(async move {
            self.check()?;
            let swapped = self.records.swap(key, expected, next).await;
            if self.is_slow.load(Ordering::SeqCst) {
                sleep(Duration::from_secs(1)).await;
            }
            swapped
        })
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }

    fn renew<'a>(&'a self, claims: &'a [(RecordKey, LeaseToken)]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.check()?;
            self.renewals.lock().unwrap().push(claims.to_vec());
            Ok(())
        })
    }

    fn changed<'a>(
        &'a self,
        _: &'a RecordKey,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.changed.notified())
    }

    fn maintain(&self) -> StoreFuture<'_, ()> {
        self.records.maintain()
    }

    fn usage(&self) -> Usage {
        self.records.usage()
    }
}

/// Two processes on one store.
struct Pair {
    engines: [Engine; 2],
    metrics: [Arc<Metrics>; 2],
    store: Arc<Faulty>,
    runs: Arc<AtomicUsize>,
}

impl Pair {
    fn new() -> Self {
        let started = Instant::now();
        let now = move || {
            Timestamp::from_millis(u64::try_from(started.elapsed().as_millis()).unwrap() + 1000)
        };
        let clock = Clock::from_fn(now);
        let options = MemoryOptions {
            bytes_max: 1 << 20,
            when_full: WhenFull::Evict,
            answer_bytes_max: 1 << 10,
            marks_max: 100,
        };
        let metrics = [Arc::new(Metrics::default()), Arc::new(Metrics::default())];
        let store = Arc::new(Faulty {
            records: MemoryStore::new(options, clock.clone(), Arc::clone(&metrics[0])),
            is_down: AtomicBool::new(false),
            is_corrupt: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
            changed: Notify::new(),
            renewals: Mutex::default(),
        });
        let limits = EngineLimits { flights_max: 10, waiters_max: 10, waiters_per_key_max: 10 };
        let engines = std::array::from_fn(|index| {
            let (store, metrics) = (Arc::clone(&store), Arc::clone(&metrics[index]));
            Engine::new(store, limits, clock.clone(), metrics, index as u64)
        });
        Self { engines, metrics, store, runs: Arc::default() }
    }

    fn fails(&self, fails: bool) {
        self.store.is_down.store(fails, Ordering::SeqCst);
    }

    /// Asks a process for the operation, whose work takes so long.
    fn ask(
        &self,
        process: usize,
        terms: Terms,
        takes: Duration,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let (engine, runs) = (self.engines[process].clone(), Arc::clone(&self.runs));
        async move {
            let work = move || async move {
                let number = runs.fetch_add(1, Ordering::SeqCst);
                sleep(takes).await;
                Attempt::Keep(answer(number))
            };
            engine.run(IDENTITY, terms, None, work).await
        }
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

fn answer(number: usize) -> Answer {
    AnswerBuilder::new(200).finish(number.to_string().as_bytes())
}

fn assert_answer(outcome: &Outcome, number: usize, expected: Provenance) {
    match outcome {
        Outcome::Answered { answer: found, provenance, .. } => {
            assert_eq!((found, *provenance), (&answer(number), expected));
        }
        Outcome::Streaming(_) | Outcome::Failed(_) | Outcome::Refused(_) => panic!("{outcome:?}"),
    }
}

fn assert_refused(outcome: &Outcome, expected: Refusal) {
    assert!(matches!(outcome, Outcome::Refused(refusal) if *refusal == expected), "{outcome:?}");
}

const SOON: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_refuses_and_nothing_runs() {
    let pair = Pair::new();
    pair.fails(true);
    assert_refused(&pair.ask(0, TERMS, SOON).await, Refusal::StoreUnavailable);
    assert_eq!(pair.runs(), 0);
    pair.fails(false);
    assert_answer(&pair.ask(0, TERMS, SOON).await, 0, Provenance::Executed);
}

#[tokio::test(start_paused = true)]
async fn where_that_is_agreed_work_is_done_unprotected_once_at_a_time() {
    let pair = Pair::new();
    pair.fails(true);
    let first = tokio::spawn(pair.ask(0, PASS, SOON));
    sleep(SOON / 2).await;
    let second = pair.ask(0, PASS, SOON).await;
    assert_answer(&first.await.unwrap(), 0, Provenance::Unprotected);
    assert_answer(&second, 0, Provenance::Collapsed);
    assert_eq!(pair.metrics[0].unprotected.value(Unprotected::StoreUnavailable), 1);
    // Nothing of it was kept.
    pair.fails(false);
    assert_answer(&pair.ask(0, PASS, SOON).await, 1, Provenance::Executed);
    assert_answer(&pair.ask(1, PASS, SOON).await, 1, Provenance::Replayed);
}

#[tokio::test(start_paused = true)]
async fn work_that_somebody_else_is_known_to_do_is_not_done_unprotected() {
    let pair = Pair::new();
    let first = tokio::spawn(pair.ask(0, PASS, LEASE / 2));
    sleep(SOON).await;
    let second = tokio::spawn(pair.ask(1, PASS, SOON));
    sleep(SOON).await;
    pair.fails(true);
    assert_refused(&second.await.unwrap(), Refusal::StoreUnavailable);
    pair.fails(false);
    assert_answer(&first.await.unwrap(), 0, Provenance::Executed);
    assert_eq!(pair.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_holds_the_key() {
    let pair = Pair::new();
    pair.store.is_corrupt.store(true, Ordering::SeqCst);
    for terms in [TERMS, PASS, Terms { on_unknown: OnUnknown::Release, ..PASS }] {
        assert_refused(&pair.ask(0, terms, SOON).await, Refusal::OutcomeUnknown);
    }
    assert_eq!(pair.runs(), 0);
    assert!(pair.metrics[0].store_errors.value(StoreOperation::Swap) >= 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_does_not_take_is_kept_once_it_does() {
    let pair = Pair::new();
    let first = tokio::spawn(pair.ask(0, TERMS, LEASE / 2));
    sleep(SOON).await;
    pair.fails(true);
    assert_answer(&first.await.unwrap(), 0, Provenance::Executed);
    sleep(LEASE * 2).await;
    assert_refused(&pair.ask(1, TERMS, SOON).await, Refusal::StoreUnavailable);
    pair.fails(false);
    sleep(Duration::from_secs(5)).await;
    assert_answer(&pair.ask(1, TERMS, SOON).await, 0, Provenance::Replayed);
    assert_eq!(pair.runs(), 1);
    pair.engines[0].drained().await;
}

#[tokio::test(start_paused = true)]
async fn claims_are_renewed_together_for_as_long_as_their_work_goes_on() {
    let pair = Pair::new();
    let engine = pair.engines[0].clone();
    tokio::spawn(async move { engine.renew_claims().await });
    let work = tokio::spawn(pair.ask(0, TERMS, LEASE));
    sleep(LEASE + SOON).await;
    assert_answer(&work.await.unwrap(), 0, Provenance::Executed);
    let renewals = std::mem::take(&mut *pair.store.renewals.lock().unwrap());
    assert!(renewals.len() >= 2, "{renewals:?}");
    assert!(renewals.iter().all(|claims| matches!(claims[..], [(KEY, _)])), "{renewals:?}");
    sleep(LEASE * 2).await;
    assert!(pair.store.renewals.lock().unwrap().is_empty(), "what has ended is renewed");
}

#[tokio::test(start_paused = true)]
async fn who_follows_another_process_is_woken_when_it_has_ended() {
    let pair = Pair::new();
    let first = tokio::spawn(pair.ask(0, TERMS, LEASE / 2));
    sleep(SOON).await;
    let second = tokio::spawn(pair.ask(1, TERMS, SOON));
    let first = first.await.unwrap();
    let ended = Instant::now();
    pair.store.changed.notify_waiters();
    assert_answer(&second.await.unwrap(), 0, Provenance::Replayed);
    assert_eq!(ended.elapsed(), Duration::ZERO, "no pause had to pass");
    assert_answer(&first, 0, Provenance::Executed);
    assert_eq!(pair.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_streams_unprotected_says_so() {
    let pair = Pair::new();
    pair.fails(true);
    let stream = || async { Attempt::Streaming };
    let first = pair.engines[0].run(IDENTITY, PASS, None, stream).await;
    assert!(matches!(first, Outcome::Streaming(Provenance::Unprotected)), "{first:?}");
    pair.fails(false);
    let second = pair.engines[0].run(IDENTITY, PASS, None, stream).await;
    assert!(matches!(second, Outcome::Streaming(Provenance::Executed)), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_until_its_answer_is_written() {
    let pair = Pair::new();
    let engine = pair.engines[0].clone();
    tokio::spawn(async move { engine.renew_claims().await });
    let first = tokio::spawn(pair.ask(0, TERMS, SOON));
    sleep(SOON / 2).await;
    pair.fails(true);
    assert_answer(&first.await.unwrap(), 0, Provenance::Executed);
    // What can't be written can't be renewed, either; both are tried until the store is back.
    sleep(LEASE).await;
    let errors = pair.metrics[0].store_errors.value(StoreOperation::Renew);
    assert!(errors >= 2, "{errors} renewals were tried");
    pair.fails(false);
    sleep(LEASE).await;
    assert_answer(&pair.ask(1, TERMS, SOON).await, 0, Provenance::Replayed);
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_made_though_whoever_asks_for_it_hangs_up() {
    let Pair { engines: [engine, _], store, .. } = Pair::new();
    engine.run(IDENTITY, TERMS, None, || async { Attempt::Unknown(Broken::Incomplete) }).await;
    store.is_slow.store(true, Ordering::SeqCst);
    let answer = AnswerBuilder::new(200).finish(b"decided");
    let asked = timeout(Duration::from_millis(500), engine.acknowledge(&KEY, answer)).await;
    assert!(asked.is_err(), "it takes two seconds");
    sleep(Duration::from_secs(5)).await;
    let repeat = engine.run(IDENTITY, TERMS, None, || async { Attempt::Streaming }).await;
    let Outcome::Answered { answer, provenance, .. } = repeat else { panic!("{repeat:?}") };
    assert_eq!((&answer.body()[..], provenance), (&b"decided"[..], Provenance::Replayed));
}
