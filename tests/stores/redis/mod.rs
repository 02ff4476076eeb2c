//! What only the Redis store must do.

mod connections;
mod faults;
mod lists;
mod replicas;
mod setup;
mod tls;
mod topology;
mod trust;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oncegate::clock::Clock;
use oncegate::idempotency::{Answer, Fingerprint, LeaseToken, Record, RecordKey, State};
use oncegate::store::{
    Expected, RedisOpenError, RedisOptions, RedisStore, RedisTime, Store as _, StoreError, Swap,
};
use oncegate::telemetry::Metrics;

use crate::server::Server;
use crate::{Kind, Opened, PATIENCE, Room, Time, WINDOW, answer, records};

struct Redis;

impl Kind for Redis {
    const COUNTS_MARKS: bool = false;

    async fn open(room: Room) -> Opened {
        let server = Server::shared();
        let time = Time::new();
        let clock = {
            let time = time.clone();
            Clock::from_fn(move || time.now())
        };
        let options = RedisOptions {
            time: RedisTime::Own,
            record_bytes_max: usize::try_from(room.bytes).unwrap(),
            front_bytes_max: room.bytes,
            ..options(&server)
        };
        let metrics = Arc::new(Metrics::default());
        let store = RedisStore::connect(options, clock, Arc::clone(&metrics)).await.unwrap();
        Opened { store: Arc::new(store), time, metrics, _ground: server }
    }
}

records! {
    shared for super::Redis;
}

/// A store as one process has it.
struct Process {
    store: Arc<RedisStore>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Process {
    async fn new(options: RedisOptions) -> Self {
        Self::at(options, Clock::system()).await
    }

    async fn at(options: RedisOptions, clock: Clock) -> Self {
        let metrics = Arc::new(Metrics::default());
        let store = RedisStore::connect(options, clock.clone(), Arc::clone(&metrics)).await;
        let store = store.unwrap();
        store.attach(&tokio::runtime::Handle::current());
        Self { store: Arc::new(store), metrics, clock }
    }

    async fn swap(
        &self,
        key: &RecordKey,
        expected: Expected,
        next: Option<&Record>,
    ) -> Result<Swap, StoreError> {
        self.store.swap(key, expected, next.cloned()).await
    }

    async fn claim(&self, key: &RecordKey, claim: &Record) -> Result<Swap, StoreError> {
        self.swap(key, Expected::Absent, Some(claim)).await
    }

    async fn settle(&self, key: &RecordKey, end: &Record) -> Result<Swap, StoreError> {
        self.swap(key, Expected::HeldBy(end.token), Some(end)).await
    }

    async fn release(&self, key: &RecordKey, held: &Record) -> Result<Swap, StoreError> {
        self.swap(key, Expected::HeldBy(held.token), None).await
    }

    async fn load(&self, key: &RecordKey) -> Option<Record> {
        self.store.load(key).await.unwrap()
    }

    /// A claim that is held for its whole window.
    fn in_flight(&self, token: u64) -> Record {
        self.leased(token, WINDOW)
    }

    fn leased(&self, token: u64, lease: Duration) -> Record {
        let now = self.clock.now();
        let (expires_at, lease_until) = (now.after(WINDOW), now.after(lease));
        let state = State::InFlight { lease_until };
        let (fingerprint, token) = (Fingerprint::COVERED, LeaseToken(token));
        Record { fingerprint, token, expires_at, state, origin: Some(crate::origin(token)) }
    }

    fn completed(&self, held: &Record, body: &str) -> Record {
        let state = State::Completed { answer: answer(body), kept_at: self.clock.now() };
        Record { state, ..held.clone() }
    }

    async fn keep(&self, key: &RecordKey, token: u64, body: &str) -> Record {
        let claim = self.in_flight(token);
        assert_eq!(self.claim(key, &claim).await, Ok(Swap::Done));
        let kept = self.completed(&claim, body);
        assert_eq!(self.settle(key, &kept).await, Ok(Swap::Done));
        kept
    }

    /// Claims a key, as soon as the store can be used.
    async fn claim_at_last(&self, key: &RecordKey, claim: &Record) {
        until("the claim is taken", async || self.claim(key, claim).await == Ok(Swap::Done)).await;
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The token and the answer of a record; its times may differ by what a call takes.
fn essence(record: Option<&Record>) -> Option<(LeaseToken, Option<&Answer>)> {
    record.map(|record| match &record.state {
        State::Completed { answer, .. } => (record.token, Some(answer)),
        State::InFlight { .. } | State::Unreplayable | State::Indeterminate => (record.token, None),
    })
}

/// Who came first, where a swap was lost.
fn loser_to(swap: Result<Swap, StoreError>) -> Option<LeaseToken> {
    match swap {
        Ok(Swap::Lost(Some(record))) => Some(record.token),
        _ => None,
    }
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

/// Why a store can't be used.
async fn refused(options: RedisOptions) -> RedisOpenError {
    let store = RedisStore::connect(options, Clock::system(), Arc::default()).await;
    store.map(|_| ()).unwrap_err()
}

/// Options for a store of its own on a server, which is patient.
fn options(server: &Server) -> RedisOptions {
    static NAMESPACE: AtomicU64 = AtomicU64::new(0);
    RedisOptions {
        url: server.url(),
        namespace: NAMESPACE.fetch_add(1, Ordering::SeqCst).to_string(),
        timeout: PATIENCE,
        ..RedisOptions::default()
    }
}
