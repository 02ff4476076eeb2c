//! What people may see of records, and decide about them.
//!
//! A decision is a swap like every other. One about an unknown outcome first puts a token of its
//! own into the record: from then on whoever ran the operation has lost it, so that a late answer
//! neither writes over the decision nor brings the record back.

use std::time::Instant;

use std::sync::Arc;

use super::{Engine, Shared};
use crate::idempotency::{Answer, LeaseToken, Record, RecordKey, Stage, State};
use crate::store::{Expected, Listed, Page, StoreError, Summary, Swap};
use crate::telemetry::{DecisionKind, StoreOperation};

/// How often a decision is tried about a record that others keep changing.
const DECISIONS_MAX: usize = 8;

/// Why nothing was decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Undecided {
    /// There is no such record.
    Absent,
    /// The operation runs.
    InFlight,
    /// It is known how the operation has ended.
    Known(Stage),
    /// Others keep changing the record.
    Busy,
    /// The store could not be asked, or has no room for the answer.
    Store(StoreError),
}

impl From<StoreError> for Undecided {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What becomes of a record.
#[derive(Clone)]
enum Verdict {
    Gone,
    Answered(Answer),
}

impl Engine {
    /// The record with this key. Its replays are those of this process.
    pub async fn look(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let shared = &self.0;
        let at_hand = shared.store.peek(key);
        let found = shared.load(key).await?;
        let found = found.filter(|record| !record.is_expired(shared.clock.now()));
        // What is at hand has counted.
        Ok(found.map(|found| match at_hand {
            Some(at_hand) if at_hand.token == found.token => {
                Record { origin: at_hand.origin, ..found }
            }
            _ => found,
        }))
    }

    /// Some of the records.
    pub async fn list(&self, page: &Page) -> Result<Listed, StoreError> {
        let started = Instant::now();
        let listed = self.0.store.list(page).await;
        self.0.metrics.store_durations.observe(StoreOperation::List, started.elapsed());
        listed.inspect_err(|_| self.0.metrics.store_errors.increment(StoreOperation::List))
    }

    /// A record in short, by the engine's clock.
    pub fn summary(&self, key: &RecordKey, record: &Record) -> Summary {
        Summary::of(key, record, self.0.clock.now())
    }

    /// The operations that run longest in this process, at most so many.
    pub fn oldest(&self, count: usize) -> Vec<super::Flying> {
        self.0.flights.oldest(count)
    }

    /// Forgets a record whose operation does not run: the next repeat runs. Returns what it was.
    pub async fn forget(&self, key: &RecordKey) -> Result<Stage, Undecided> {
        Ok(self.decide(key, DecisionKind::Forget, Verdict::Gone).await?.0)
    }

    /// Gives an operation whose outcome is unknown an answer, which repeats get.
    pub async fn acknowledge(&self, key: &RecordKey, answer: Answer) -> Result<Record, Undecided> {
        Ok(self.decide(key, DecisionKind::Ack, Verdict::Answered(answer)).await?.1)
    }

    /// Says that an operation whose outcome is unknown was not executed: the next repeat runs.
    pub async fn fail(&self, key: &RecordKey) -> Result<Stage, Undecided> {
        Ok(self.decide(key, DecisionKind::Fail, Verdict::Gone).await?.0)
    }

    /// Decides in a task of its own: whoever asks may hang up between the two swaps, and then a
    /// late answer would be taken by nobody.
    async fn decide(
        &self,
        key: &RecordKey,
        kind: DecisionKind,
        verdict: Verdict,
    ) -> Result<(Stage, Record), Undecided> {
        let (shared, key) = (Arc::clone(&self.0), *key);
        let deciding = async move { shared.decide(&key, kind, &verdict).await };
        // It neither panics nor is it aborted but with the whole runtime.
        self.0.tasks.spawn(deciding).await.unwrap_or(Err(Undecided::Busy))
    }
}

impl Shared {
    /// Decides, and returns what the record was and what it has become.
    async fn decide(
        &self,
        key: &RecordKey,
        kind: DecisionKind,
        verdict: &Verdict,
    ) -> Result<(Stage, Record), Undecided> {
        for _ in 0..DECISIONS_MAX {
            let asked_at = self.clock.now();
            let found = self.load(key).await?.filter(|record| !record.is_expired(asked_at));
            let found = found.ok_or(Undecided::Absent)?;
            let (stage, found_by) = (Stage::of(&found, asked_at), found.token);
            let held = match (stage, kind) {
                (Stage::InFlight, _) => return Err(Undecided::InFlight),
                (Stage::OutcomeUnknown, _) => match self.seize(key, &found).await? {
                    Some(seized) => seized,
                    None => continue,
                },
                // What has ended only goes; nothing else can become of it.
                (Stage::Completed | Stage::AnswerNotKept, DecisionKind::Forget) => found,
                (
                    Stage::Completed | Stage::AnswerNotKept,
                    DecisionKind::Ack | DecisionKind::Fail,
                ) => {
                    return Err(Undecided::Known(stage));
                }
            };
            match self.pronounce(key, &held, verdict).await {
                Ok(Some(next)) => {
                    self.metrics.records_decided.increment(kind);
                    return Ok((stage, next));
                }
                Ok(None) => {}
                Err(error @ (StoreError::Full | StoreError::TooLarge)) => {
                    self.hand_back(key, &held, found_by).await;
                    return Err(error.into());
                }
                // Whether it was written is not known: whoever had the record must not have it.
                Err(error) => return Err(error.into()),
            }
        }
        Err(Undecided::Busy)
    }

    /// Takes a record whose outcome is unknown from whoever has written it; nothing if it has
    /// changed meanwhile: its late answer has come, or its holder has renewed its claim.
    async fn seize(&self, key: &RecordKey, found: &Record) -> Result<Option<Record>, StoreError> {
        let seized =
            Record { token: self.tokens.next(), state: State::Indeterminate, ..found.clone() };
        let expected = Expected::HeldBy(found.token);
        Ok(self.replace(key, expected, Some(seized.clone())).await?.then_some(seized))
    }

    /// Writes the verdict over a record that nobody else can change to anything but nothing.
    async fn pronounce(
        &self,
        key: &RecordKey,
        held: &Record,
        verdict: &Verdict,
    ) -> Result<Option<Record>, StoreError> {
        let next = match verdict {
            Verdict::Gone => None,
            Verdict::Answered(answer) => {
                let state = State::Completed { answer: answer.clone(), kept_at: self.clock.now() };
                Some(Record { state, ..held.clone() })
            }
        };
        let expected = Expected::HeldBy(held.token);
        let shown = next.clone().unwrap_or_else(|| held.clone());
        Ok(self.replace(key, expected, next).await?.then_some(shown))
    }

    /// Gives a record about which nothing was written back to whoever had it, so that a late answer
    /// is still taken.
    async fn hand_back(&self, key: &RecordKey, held: &Record, token: LeaseToken) {
        let next = Record { token, ..held.clone() };
        if let Err(error) = self.replace(key, Expected::HeldBy(held.token), Some(next)).await {
            tracing::warn!(?key, %error, "a late answer to this will not be taken");
        }
    }

    async fn replace(
        &self,
        key: &RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> Result<bool, StoreError> {
        Ok(self.swap(key, expected, next).await? == Swap::Done)
    }
}
