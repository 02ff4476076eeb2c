//! Runs each operation at most once, and gives its outcome to everybody who asks.
//!
//! The engine knows nothing of HTTP: the work is a closure that reports an
//! [`Attempt`](crate::idempotency::Attempt).

mod flight;
mod follow;
mod lead;
mod lease;
mod operator;
mod renewal;
mod unprotected;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use self::flight::Flying;
pub use self::operator::Undecided;

use self::flight::{Flights, Joined};
use self::lease::LATE_WRITES_MAX;
use self::renewal::Renewal;
use crate::clock::Clock;
use crate::idempotency::{
    Attempt, Decision, Fingerprint, Identity, OnMismatch, OnUnknown, Origin, Outcome, Provenance,
    Refusal, Terms, TokenSource, decide,
};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::trace::{Kind, carried, child};

/// Runs each operation at most once. A clone is the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Shared>);

/// How much may happen in an engine at a time.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// The most operations that run.
    pub flights_max: usize,
    /// The most callers that wait for others' operations, in all.
    pub waiters_max: usize,
    /// The most callers that wait for one operation.
    pub waiters_per_key_max: usize,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    flights: Arc<Flights>,
    tokens: TokenSource,
    renewal: Renewal,
    tasks: TaskTracker,
    /// Room for outcomes that are still to be written.
    late_writes: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// An engine over a store. Its tokens differ from those of engines with another `seed`.
    pub fn new(
        store: Arc<dyn Store>,
        limits: EngineLimits,
        clock: Clock,
        metrics: Arc<Metrics>,
        seed: u64,
    ) -> Self {
        Self(Arc::new(Shared {
            clock,
            store,
            flights: Arc::new(Flights::new(limits)),
            tokens: TokenSource::new(seed),
            renewal: Renewal::default(),
            tasks: TaskTracker::new(),
            late_writes: Arc::new(Semaphore::new(LATE_WRITES_MAX)),
            metrics,
        }))
    }

    /// The outcome of an operation that has ended, if this process has it at hand.
    pub fn recall(&self, identity: &Identity, terms: &Terms) -> Option<Outcome> {
        let record = self.0.store.peek(&identity.key)?;
        let now = self.0.clock.now();
        match decide(Some(&record), &identity.fingerprint, terms, now) {
            Decision::Replay { answer, kept_at: answered_at } => {
                let (provenance, origin) = (Provenance::Replayed, record.origin);
                if let Some(origin) = &origin {
                    origin.note_replay();
                }
                Some(Outcome::Answered { answer, provenance, answered_at, origin })
            }
            Decision::Refuse(refusal) => Some(Outcome::Refused(refusal)),
            Decision::Claim | Decision::TakeOver(_) | Decision::Await => None,
        }
    }

    /// Runs the work unless it runs or has run already, and returns its outcome.
    ///
    /// Whoever calls first waits until the work has ended, or its timeout has passed; a repeat
    /// waits for `terms.wait` at most. The record tells of the first one's `origin`.
    ///
    /// # Cancel safety
    ///
    /// The work is done in a task of its own: dropping the future neither stops it nor loses its
    /// outcome.
    pub async fn run<W, F>(
        &self,
        identity: Identity,
        terms: Terms,
        origin: Option<Origin>,
        work: W,
    ) -> Outcome
    where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = Attempt> + Send + 'static,
    {
        match self.0.flights.join(&flown(identity, &terms), origin) {
            Ok(Joined::Leader(leader, waiter)) => {
                let shared = Arc::clone(&self.0);
                self.0.tasks.spawn(carried(shared.lead(leader, identity, terms, work)));
                waiter.outcome(Provenance::Executed).await
            }
            Ok(Joined::Follower(waiter)) => {
                // Its work is never done, and holds a whole request.
                drop(work);
                let mut span = child(Kind::Internal);
                span.name("wait");
                if let Some(first) = waiter.origin().and_then(Origin::span) {
                    span.link(first);
                }
                let outcome = waiter.outcome(Provenance::Collapsed);
                match tokio::time::timeout(terms.wait, outcome).await {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::Refused(Refusal::InProgress),
                }
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Takes note of the runtime of a worker, which will ask often.
    pub fn attach(&self, worker: &Handle) {
        self.0.store.attach(worker);
    }

    /// How many operations run, and how many callers wait for others' operations.
    pub fn load(&self) -> EngineLoad {
        EngineLoad {
            work: self.0.tasks.len(),
            flights: self.0.flights.len(),
            waiters: self.0.flights.waiters(),
        }
    }

    /// Renews the claims of all work that runs, where the store's have to be; it ends only where
    /// they have not. Unless it is polled somewhere, claims run out.
    ///
    /// # Cancel safety
    ///
    /// Dropping it stops the renewal, and nothing else.
    pub async fn renew_claims(&self) {
        self.0.renew_claims().await;
    }

    /// Waits until no work is left, listening for late answers included.
    ///
    /// # Cancel safety
    ///
    /// It only waits; dropping it changes nothing.
    pub async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// How much happens in an engine at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EngineLoad {
    /// Tasks that do work, or listen for late answers.
    pub work: usize,
    /// Operations for whose outcome somebody may wait.
    pub flights: usize,
    /// Callers that wait for others' operations.
    pub waiters: usize,
}

/// The identity of the flight that an operation takes: where whoever has the key gets the same
/// answer, they take the same one.
fn flown(identity: Identity, terms: &Terms) -> Identity {
    match terms.on_mismatch {
        OnMismatch::Refuse => identity,
        OnMismatch::Replay => Identity { fingerprint: Fingerprint::COVERED, ..identity },
    }
}

/// Whether an unknown outcome holds the key.
fn holds(terms: &Terms) -> bool {
    match terms.on_unknown {
        OnUnknown::Hold => true,
        OnUnknown::Release => false,
    }
}
