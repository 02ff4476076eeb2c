//! What a leader does: claim, work, settle, land.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::flight::{Landing, Leader};
use super::follow::Found;
use super::lease::{Lease, Said};
use super::unprotected::may_pass;
use super::{Shared, holds};
use crate::clock::Timestamp;
use crate::idempotency::{
    Answer, Attempt, Broken, Decision, Failure, Identity, LeaseToken, Origin, Record, RecordKey,
    Refusal, State, Terms, decide,
};
use crate::store::{Expected, StoreError, Swap};
use crate::telemetry::trace::{Kind, child};
use crate::telemetry::{StoreOperation, UnknownCause};

/// How often a claim is tried that others keep changing.
const CLAIMS_MAX: usize = 16;

/// Why a claim has no end.
enum Unclaimed {
    /// Nothing is known of the key.
    Unasked(StoreError),
    /// Somebody is known to have held it.
    Held(StoreError),
}

/// How a claim ended.
enum Claim {
    Won(Lease),
    Lost(Landing),
}

impl Shared {
    pub(super) async fn lead<W, F>(
        self: Arc<Self>,
        leader: Leader,
        identity: Identity,
        terms: Terms,
        work: W,
    ) where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = Attempt> + Send + 'static,
    {
        match self.claim(&identity, &terms, leader.origin()).await {
            Ok(Claim::Won(lease)) => self.execute(leader, lease, &terms, work).await,
            Ok(Claim::Lost(landing)) => drop(leader.land(landing)),
            Err(Unclaimed::Unasked(error)) if may_pass(&error, &terms) => {
                self.pass(leader, &terms, work).await;
            }
            Err(Unclaimed::Unasked(error) | Unclaimed::Held(error)) => {
                drop(leader.land(Landing::Refused(refusal(&error))));
            }
        }
    }

    /// Claims the key, or finds out why it can't be had.
    async fn claim(
        self: &Arc<Self>,
        identity: &Identity,
        terms: &Terms,
        origin: Option<Arc<Origin>>,
    ) -> Result<Claim, Unclaimed> {
        let started = self.clock.now();
        let mut found = Found { record: None, asked_at: started };
        for _ in 0..CLAIMS_MAX {
            let Found { record, asked_at } = &found;
            let expected = match decide(record.as_ref(), &identity.fingerprint, terms, *asked_at) {
                Decision::Claim => Expected::Absent,
                Decision::TakeOver(token) => Expected::HeldBy(token),
                Decision::Replay { answer, kept_at } => {
                    let origin = found.record.and_then(|record| record.origin);
                    return Ok(Claim::Lost(Landing::Replayed(answer, kept_at, origin)));
                }
                Decision::Refuse(refusal) => return Ok(Claim::Lost(Landing::Refused(refusal))),
                Decision::Await => {
                    let followed = self.follow(&identity.key, started.after(terms.wait)).await;
                    match followed.map_err(Unclaimed::Held)? {
                        Some(followed) => {
                            found = followed;
                            continue;
                        }
                        None => return Ok(Claim::Lost(Landing::Refused(Refusal::InProgress))),
                    }
                }
            };
            let now = self.clock.now();
            let token = self.tokens.next();
            let record = Record {
                fingerprint: identity.fingerprint,
                token,
                expires_at: started.after(terms.window),
                state: State::InFlight { lease_until: self.lease_until(now) },
                origin: origin.clone(),
            };
            match self.swap(&identity.key, expected, Some(record.clone())).await {
                Ok(Swap::Done) => {
                    let lease = Lease::new(Arc::clone(self), identity.key, record, started);
                    return Ok(Claim::Won(lease));
                }
                Ok(Swap::Lost(winner)) => found = Found { record: winner, asked_at: now },
                Err(error) => {
                    self.give_back(identity.key, token);
                    return Err(match expected {
                        Expected::Absent => Unclaimed::Unasked(error),
                        Expected::HeldBy(_) => Unclaimed::Held(error),
                    });
                }
            }
        }
        Ok(Claim::Lost(Landing::Refused(Refusal::InProgress)))
    }

    /// Gives back what may have been claimed although the store has failed: nobody would settle
    /// it. Whoever waits for the claim does not wait for this, too.
    fn give_back(self: &Arc<Self>, key: RecordKey, token: LeaseToken) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let _ = shared.swap(&key, Expected::HeldBy(token), None).await;
        });
    }

    /// Does the work and settles it; listens for a late answer when it has not ended in time.
    async fn execute<W, F>(&self, leader: Leader, lease: Lease, terms: &Terms, work: W)
    where
        W: FnOnce() -> F,
        F: Future<Output = Attempt>,
    {
        let mut work = Unpanicking(Box::pin(async { work().await }));
        match timeout(terms.timeout, &mut work).await {
            Ok(attempt) => {
                let landing = self.settle(&lease, attempt, terms).await;
                drop(leader.land(landing));
            }
            Err(_) => {
                self.metrics.unknown_outcomes.increment(UnknownCause::TimedOut);
                self.end_unknown(&lease, terms).await;
                // It still counts as running while a late answer is listened for.
                let _place = leader.land(Landing::Failed(Failure::TimedOut));
                if let Ok(attempt) = timeout(terms.linger, work).await {
                    self.settle_late(&lease, attempt, terms).await;
                }
            }
        }
    }

    /// Writes down how the work ended, and says what its callers are told.
    async fn settle(&self, lease: &Lease, attempt: Attempt, terms: &Terms) -> Landing {
        let now = self.clock.now();
        match attempt {
            Attempt::Keep(answer) => {
                keep(lease, &answer, None, now).await;
                Landing::Answered(answer, now)
            }
            Attempt::KeepFor(answer, window) => {
                keep(lease, &answer, Some(window), now).await;
                Landing::Answered(answer, now)
            }
            Attempt::Hold(answer) => {
                self.metrics.unknown_outcomes.increment(UnknownCause::Gateway);
                self.end_unknown(lease, terms).await;
                Landing::Answered(answer, now)
            }
            Attempt::Discard(answer) => {
                lease.release().await;
                Landing::Answered(answer, now)
            }
            Attempt::Streaming => {
                lease.finish(State::Unreplayable).await;
                Landing::Streaming
            }
            Attempt::StreamingDiscard => {
                lease.release().await;
                Landing::StreamingFree
            }
            Attempt::StreamingHold => {
                self.metrics.unknown_outcomes.increment(UnknownCause::Gateway);
                self.end_unknown(lease, terms).await;
                Landing::StreamingUnknown
            }
            Attempt::NotSent(unreachable) => {
                lease.release().await;
                Landing::Failed(Failure::Unreachable(unreachable))
            }
            Attempt::Unknown(broken) => {
                self.metrics.unknown_outcomes.increment(cause(broken));
                self.end_unknown(lease, terms).await;
                Landing::Failed(Failure::Broken(broken))
            }
        }
    }

    /// Writes down how work ended of which everybody believes that its outcome is unknown.
    async fn settle_late(&self, lease: &Lease, attempt: Attempt, terms: &Terms) {
        if !holds(terms) {
            // The key was given back, and may be another's by now.
            return;
        }
        let now = self.clock.now();
        let said = match attempt {
            // Still unknown.
            Attempt::Unknown(_) | Attempt::Hold(_) | Attempt::StreamingHold => return,
            Attempt::Keep(answer) => keep(lease, &answer, None, now).await,
            Attempt::KeepFor(answer, window) => keep(lease, &answer, Some(window), now).await,
            Attempt::Streaming => lease.finish(State::Unreplayable).await,
            Attempt::Discard(_) | Attempt::StreamingDiscard | Attempt::NotSent(_) => {
                lease.release().await
            }
        };
        match said {
            // What is not written yet will be, behind everybody's back.
            Said::Written | Said::Unheard => self.metrics.late_answers.increment(),
            // Somebody has decided meanwhile what counts instead.
            Said::Lost => {}
        }
    }

    async fn end_unknown(&self, lease: &Lease, terms: &Terms) {
        if holds(terms) {
            lease.finish(State::Indeterminate).await;
        } else {
            lease.release().await;
        }
    }

    pub(super) async fn swap(
        &self,
        key: &RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> Result<Swap, StoreError> {
        let mut span = child(Kind::Internal);
        span.name("store swap");
        let started = Instant::now();
        let swapped = self.store.swap(key, expected, next).await;
        self.metrics.store_durations.observe(StoreOperation::Swap, started.elapsed());
        if let Err(StoreError::Unavailable(_) | StoreError::Corrupt(_)) = swapped {
            span.fail("store-unavailable");
            self.metrics.store_errors.increment(StoreOperation::Swap);
        }
        swapped
    }

    pub(super) fn lease_until(&self, now: Timestamp) -> Timestamp {
        self.store.lease().map_or(Timestamp::MAX, |lease| now.after(lease))
    }
}

/// Keeps an answer, before anybody is told of it.
async fn keep(lease: &Lease, answer: &Answer, window: Option<Duration>, now: Timestamp) -> Said {
    let state = State::Completed { answer: answer.clone(), kept_at: now };
    match lease.keep(state, window).await {
        Err(StoreError::TooLarge) => lease.finish(State::Unreplayable).await,
        said => said.unwrap_or(Said::Unheard),
    }
}

fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full | StoreError::TooLarge => Refusal::StoreFull,
        StoreError::Unavailable(_) => Refusal::StoreUnavailable,
        // It may say that the operation was executed.
        StoreError::Corrupt(_) => Refusal::OutcomeUnknown,
    }
}

pub(super) const fn cause(broken: Broken) -> UnknownCause {
    match broken {
        Broken::Incomplete => UnknownCause::Incomplete,
        Broken::Malformed => UnknownCause::Malformed,
        Broken::Abandoned => UnknownCause::Abandoned,
    }
}

/// Work whose panic is an unknown outcome: it may have been sent by then.
pub(super) struct Unpanicking<F>(pub(super) F);

impl<F: Future<Output = Attempt>> Future for Unpanicking<Pin<Box<F>>> {
    type Output = Attempt;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Attempt> {
        let work = self.0.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Attempt::Unknown(Broken::Abandoned)),
        }
    }
}
