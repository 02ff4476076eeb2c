//! What people decide about records.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncegate::engine::{Engine, Undecided};
use oncegate::idempotency::{Answer, Attempt, Broken, Outcome, Provenance, Refusal, Stage, State};
use oncegate::store::StoreError;
use oncegate::telemetry::{DecisionKind, Metrics};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::outcomes::{IDENTITY, TERMS, answer, engine_counting};

/// An engine with a record whose outcome is unknown.
async fn unknown() -> (Engine, Arc<Metrics>) {
    let (engine, metrics) = engine_counting(1 << 20);
    let work = || async { Attempt::Unknown(Broken::Incomplete) };
    engine.run(IDENTITY, TERMS, None, work).await;
    (engine, metrics)
}

/// An engine whose work has not answered in time, and answers when it is told to.
async fn lingering() -> (Engine, oneshot::Sender<Attempt>) {
    let (engine, late, _) = lingering_counting().await;
    (engine, late)
}

/// The same, and what it counts.
async fn lingering_counting() -> (Engine, oneshot::Sender<Attempt>, Arc<Metrics>) {
    let (engine, metrics) = engine_counting(1 << 20);
    let (late, answered) = oneshot::channel();
    let work = move || async move { answered.await.unwrap() };
    let first = engine.run(IDENTITY, TERMS, None, work).await;
    assert!(matches!(first, Outcome::Failed(_)), "{first:?}");
    (engine, late, metrics)
}

async fn stage(engine: &Engine) -> Option<Stage> {
    let record = engine.look(&IDENTITY.key).await.unwrap()?;
    Some(engine.summary(&IDENTITY.key, &record).stage)
}

/// How often work is done for two repeats, and what they get.
async fn repeats(engine: &Engine) -> (usize, Vec<(Vec<u8>, Provenance)>) {
    let executed = Arc::new(AtomicUsize::new(0));
    let mut told = Vec::new();
    for _ in 0..2 {
        let executed = Arc::clone(&executed);
        let work = move || async move {
            executed.fetch_add(1, Ordering::SeqCst);
            Attempt::Keep(answer(b"again"))
        };
        match engine.run(IDENTITY, TERMS, None, work).await {
            Outcome::Answered { answer, provenance, .. } => {
                told.push((answer.body().to_vec(), provenance));
            }
            outcome @ (Outcome::Streaming(_) | Outcome::Failed(_) | Outcome::Refused(_)) => {
                panic!("{outcome:?}")
            }
        }
    }
    (executed.load(Ordering::SeqCst), told)
}

fn acknowledged() -> Answer {
    answer(b"acknowledged")
}

const AGAIN: [(&[u8], Provenance); 2] =
    [(b"again", Provenance::Executed), (b"again", Provenance::Replayed)];

fn told(expected: [(&[u8], Provenance); 2]) -> Vec<(Vec<u8>, Provenance)> {
    expected.map(|(body, provenance)| (body.to_vec(), provenance)).into()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_acknowledged_and_replayed() {
    let (engine, metrics) = unknown().await;
    assert_eq!(stage(&engine).await, Some(Stage::OutcomeUnknown));
    let record = engine.acknowledge(&IDENTITY.key, acknowledged()).await.unwrap();
    assert!(matches!(record.state, State::Completed { .. }));
    let expected = [(b"acknowledged".as_slice(), Provenance::Replayed); 2];
    assert_eq!(repeats(&engine).await, (0, told(expected)));
    assert_eq!(metrics.records_decided.value(DecisionKind::Ack), 1);
    for known in [
        engine.acknowledge(&IDENTITY.key, acknowledged()).await.err(),
        engine.fail(&IDENTITY.key).await.err(),
    ] {
        assert_eq!(known, Some(Undecided::Known(Stage::Completed)));
    }
    assert_eq!(metrics.records_decided.value(DecisionKind::Ack), 1);
    assert_eq!(metrics.records_decided.value(DecisionKind::Fail), 0);
}

#[tokio::test(start_paused = true)]
async fn what_failed_runs_once_more() {
    let (engine, metrics) = unknown().await;
    assert_eq!(engine.fail(&IDENTITY.key).await, Ok(Stage::OutcomeUnknown));
    assert_eq!(stage(&engine).await, None);
    assert_eq!(repeats(&engine).await, (1, told(AGAIN)));
    assert_eq!(metrics.records_decided.value(DecisionKind::Fail), 1);
    let unknown = oncegate::idempotency::RecordKey::from_bytes([9; 32]);
    assert_eq!(engine.fail(&unknown).await, Err(Undecided::Absent));
}

#[tokio::test(start_paused = true)]
async fn whatever_does_not_run_is_forgotten() {
    for (attempt, was) in [
        (Attempt::Keep(answer(b"first")), Stage::Completed),
        (Attempt::Streaming, Stage::AnswerNotKept),
        (Attempt::Unknown(Broken::Malformed), Stage::OutcomeUnknown),
    ] {
        let (engine, metrics) = engine_counting(1 << 20);
        engine.run(IDENTITY, TERMS, None, move || async move { attempt }).await;
        assert_eq!(engine.forget(&IDENTITY.key).await, Ok(was));
        assert_eq!(engine.forget(&IDENTITY.key).await, Err(Undecided::Absent));
        assert!(engine.recall(&IDENTITY, &TERMS).is_none());
        assert_eq!(repeats(&engine).await, (1, told(AGAIN)));
        assert_eq!(metrics.records_decided.value(DecisionKind::Forget), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_about_what_runs() {
    let (engine, metrics) = engine_counting(1 << 20);
    let run = engine.run(IDENTITY, TERMS, None, pending::<Attempt>);
    let run = tokio::time::timeout(Duration::from_secs(1), run);
    assert!(run.await.is_err());
    assert_eq!(stage(&engine).await, Some(Stage::InFlight));
    for refused in [
        engine.forget(&IDENTITY.key).await.err(),
        engine.fail(&IDENTITY.key).await.err(),
        engine.acknowledge(&IDENTITY.key, acknowledged()).await.err(),
    ] {
        assert_eq!(refused, Some(Undecided::InFlight));
    }
    assert_eq!(metrics.records_decided.iter().map(|(_, count)| count).sum::<u64>(), 0);
    assert_eq!(stage(&engine).await, Some(Stage::InFlight));
}

/// What may still come of work whose outcome somebody has decided.
fn late_attempts() -> [Attempt; 4] {
    let discarded = Attempt::Discard(answer(b"late"));
    [
        Attempt::Keep(answer(b"late")),
        discarded,
        Attempt::Streaming,
        Attempt::Unknown(Broken::Incomplete),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_undo_an_acknowledgement() {
    for attempt in late_attempts() {
        let (engine, late) = lingering().await;
        engine.acknowledge(&IDENTITY.key, acknowledged()).await.unwrap();
        late.send(attempt.clone()).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(engine.load().work, 0);
        let expected = [(b"acknowledged".as_slice(), Provenance::Replayed); 2];
        assert_eq!(repeats(&engine).await, (0, told(expected)), "{attempt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_bring_a_record_back() {
    for attempt in late_attempts() {
        for forgets in [false, true] {
            let (engine, late) = lingering().await;
            match forgets {
                true => engine.forget(&IDENTITY.key).await.unwrap(),
                false => engine.fail(&IDENTITY.key).await.unwrap(),
            };
            late.send(attempt.clone()).unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(stage(&engine).await, None, "{attempt:?}");
            assert_eq!(repeats(&engine).await, (1, told(AGAIN)), "{attempt:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_touch_the_repeat_that_runs_after_a_decision() {
    for attempt in late_attempts() {
        let (engine, late) = lingering().await;
        engine.fail(&IDENTITY.key).await.unwrap();
        let work = || async {
            sleep(Duration::from_secs(5)).await;
            Attempt::Keep(answer(b"second"))
        };
        let second = tokio::spawn({
            let engine = engine.clone();
            async move { engine.run(IDENTITY, TERMS, None, work).await }
        });
        sleep(Duration::from_secs(1)).await;
        late.send(attempt.clone()).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(stage(&engine).await, Some(Stage::InFlight), "{attempt:?}");
        assert!(matches!(second.await.unwrap(), Outcome::Answered { .. }));
        let expected = [(b"second".as_slice(), Provenance::Replayed); 2];
        assert_eq!(repeats(&engine).await, (0, told(expected)), "{attempt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_that_came_first_stands() {
    let (engine, late) = lingering().await;
    late.send(Attempt::Keep(answer(b"late"))).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.fail(&IDENTITY.key).await, Err(Undecided::Known(Stage::Completed)));
    let repeat = engine.recall(&IDENTITY, &TERMS);
    assert!(matches!(repeat, Some(Outcome::Answered { .. })), "{repeat:?}");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_counts_only_where_it_is_taken() {
    for attempt in late_attempts() {
        let is_known = !matches!(attempt, Attempt::Unknown(_));
        for decides in [false, true] {
            let (engine, late, metrics) = lingering_counting().await;
            if decides {
                engine.acknowledge(&IDENTITY.key, acknowledged()).await.unwrap();
            }
            late.send(attempt.clone()).unwrap();
            sleep(Duration::from_secs(1)).await;
            let expected = u64::from(is_known && !decides);
            assert_eq!(metrics.late_answers.value(), expected, "{attempt:?} {decides}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_taken_after_an_acknowledgement_that_found_no_room() {
    let (engine, late, metrics) = lingering_counting().await;
    let large = answer(&vec![b'x'; 2 << 20]);
    let undecided = engine.acknowledge(&IDENTITY.key, large).await;
    assert_eq!(undecided.err(), Some(Undecided::Store(StoreError::TooLarge)));
    assert_eq!(metrics.records_decided.value(DecisionKind::Ack), 0);
    assert_eq!(stage(&engine).await, Some(Stage::OutcomeUnknown));
    late.send(Attempt::Keep(answer(b"late"))).unwrap();
    sleep(Duration::from_secs(1)).await;
    let expected = [(b"late".as_slice(), Provenance::Replayed); 2];
    assert_eq!(repeats(&engine).await, (0, told(expected)));
    // Whoever asks again with less may.
    let (engine, _) = unknown().await;
    let large = answer(&vec![b'x'; 2 << 20]);
    engine.acknowledge(&IDENTITY.key, large).await.unwrap_err();
    engine.acknowledge(&IDENTITY.key, acknowledged()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_differs_is_refused_after_an_acknowledgement_too() {
    let (engine, _) = unknown().await;
    engine.acknowledge(&IDENTITY.key, acknowledged()).await.unwrap();
    let other = crate::outcomes::other_fingerprint();
    let refused = engine.recall(&other, &TERMS);
    assert!(matches!(refused, Some(Outcome::Refused(Refusal::KeyReused(_)))), "{refused:?}");
}
