//! Work that nothing protects: the store can't be asked, and its route would rather have it done
//! twice than not at all.

use tokio::time::timeout;

use super::Shared;
use super::flight::{Landing, Leader};
use super::lead::{Unpanicking, cause};
use crate::idempotency::{Attempt, Failure, OnStoreError, Terms};
use crate::store::StoreError;
use crate::telemetry::{UnknownCause, Unprotected};

/// Whether work is done although the store has failed like that.
pub(super) fn may_pass(error: &StoreError, terms: &Terms) -> bool {
    match (terms.on_store_error, error) {
        (OnStoreError::Pass, StoreError::Unavailable(_)) => true,
        // It can be asked, and says no.
        (OnStoreError::Pass, StoreError::Full | StoreError::TooLarge | StoreError::Corrupt(_))
        | (OnStoreError::Refuse, _) => false,
    }
}

impl Shared {
    /// Does the work; whoever asks for the same meanwhile, of this process, gets its answer.
    pub(super) async fn pass<W, F>(&self, leader: Leader, terms: &Terms, work: W)
    where
        W: FnOnce() -> F,
        F: Future<Output = Attempt>,
    {
        self.metrics.unprotected.increment(Unprotected::StoreUnavailable);
        let mut work = Unpanicking(Box::pin(async { work().await }));
        let Ok(attempt) = timeout(terms.timeout, &mut work).await else {
            self.metrics.unknown_outcomes.increment(UnknownCause::TimedOut);
            // It still counts as running while the upstream may be at it.
            let _place = leader.land(Landing::Failed(Failure::TimedOut));
            let _ = timeout(terms.linger, work).await;
            return;
        };
        drop(leader.land(match attempt {
            Attempt::Keep(answer)
            | Attempt::KeepFor(answer, _)
            | Attempt::Hold(answer)
            | Attempt::Discard(answer) => Landing::Unprotected(answer, self.clock.now()),
            Attempt::Streaming | Attempt::StreamingDiscard | Attempt::StreamingHold => {
                Landing::StreamingUnprotected
            }
            Attempt::NotSent(unreachable) => Landing::Failed(Failure::Unreachable(unreachable)),
            Attempt::Unknown(broken) => {
                self.metrics.unknown_outcomes.increment(cause(broken));
                Landing::Failed(Failure::Broken(broken))
            }
        }));
    }
}
