//! Records: what there is, and what operators decide about it.

mod decision;
mod query;
mod shown;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use self::decision::{Acknowledgement, Reason};
use self::query::Asked;
use self::shown::{answer, record};
use super::answer::Answer;
use super::problem::AdminProblem;
use super::{AdminTerms, Instance};
use crate::engine::Undecided;
use crate::idempotency::{RecordKey, Stage, State};
use crate::store::{Page, StoreError, Summary};
use crate::telemetry::DecisionKind;

/// The most records of the store that are looked at for one page.
const LOOKS_MAX: usize = 10_000;

/// Shows a page of the records that are asked for.
pub(super) async fn list(instance: &Instance, query: Option<&str>) -> Result<Answer, AdminProblem> {
    let now = instance.clock.now();
    let Asked { wanted, limit, cursor } = Asked::parse(query)?;
    let page = Page {
        after: cursor,
        records_max: limit,
        looks_max: LOOKS_MAX,
        wanted: Arc::new(move |summary: &Summary| wanted.takes(summary, now)),
        now,
    };
    let listed = instance.engine.list(&page).await?;
    Ok(Answer::json(&json!({
        "records": listed.records.iter().map(record).collect::<Vec<_>>(),
        "next": listed.next.map(|next| next.to_string()),
        "unreadable": listed.unreadable,
    })))
}

/// Shows one record.
pub(super) async fn show(
    instance: &Instance,
    terms: &AdminTerms,
    key: Option<&str>,
) -> Result<Answer, AdminProblem> {
    let key = parse_key(key)?;
    let found = instance.engine.look(&key).await?.ok_or(AdminProblem::RecordNotFound)?;
    let mut shown = record(&instance.engine.summary(&key, &found));
    if let (true, State::Completed { answer: kept, .. }) =
        (terms.settings.shows_answers, &found.state)
    {
        shown["answer"] = answer(kept);
    }
    Ok(Answer::json(&shown))
}

/// Forgets a record: the next repeat runs.
pub(super) async fn forget(
    instance: &Instance,
    key: Option<&str>,
    body: &Bytes,
) -> Result<Answer, AdminProblem> {
    let (key, reason) = (parse_key(key)?, Reason::parse(body)?);
    let was = instance.engine.forget(&key).await?;
    reason.log(&key, DecisionKind::Forget, was);
    Ok(gone(&key, was))
}

/// Says that an operation was not executed: the next repeat runs.
pub(super) async fn fail(
    instance: &Instance,
    key: Option<&str>,
    body: &Bytes,
) -> Result<Answer, AdminProblem> {
    let (key, reason) = (parse_key(key)?, Reason::parse(body)?);
    let was = instance.engine.fail(&key).await?;
    reason.log(&key, DecisionKind::Fail, was);
    Ok(gone(&key, was))
}

/// Says that an operation was executed: repeats are told so.
pub(super) async fn acknowledge(
    instance: &Instance,
    key: Option<&str>,
    body: &Bytes,
) -> Result<Answer, AdminProblem> {
    let key = parse_key(key)?;
    let acknowledgement = Acknowledgement::parse(body)?;
    let answer = acknowledgement.answer(instance.clock.now());
    let decided = instance.engine.acknowledge(&key, answer).await?;
    acknowledgement.reason.log(&key, DecisionKind::Ack, Stage::OutcomeUnknown);
    Ok(Answer::json(&record(&instance.engine.summary(&key, &decided))))
}

fn gone(key: &RecordKey, was: Stage) -> Answer {
    let was: Value = was.name().into();
    Answer::json(&json!({ "key": key.to_base64(), "was": was }))
}

fn parse_key(key: Option<&str>) -> Result<RecordKey, AdminProblem> {
    let key = query::decode(key.unwrap_or_default()).ok();
    key.and_then(|key| RecordKey::parse(&key)).ok_or_else(|| {
        let right = "a record is named by its Duplicate-Key, percent-encoded or as base64url";
        AdminProblem::BadRequest(right.into())
    })
}

impl From<StoreError> for AdminProblem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full | StoreError::TooLarge => Self::StoreFull,
            StoreError::Corrupt(_) => Self::RecordUnreadable,
            StoreError::Unavailable(reason) => Self::StoreUnavailable(reason),
        }
    }
}

impl From<Undecided> for AdminProblem {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Absent => Self::RecordNotFound,
            Undecided::InFlight => Self::RecordInFlight,
            Undecided::Known(stage) => Self::RecordNotUnknown(stage.name()),
            Undecided::Busy => Self::Busy,
            Undecided::Store(error) => error.into(),
        }
    }
}
