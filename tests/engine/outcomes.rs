//! The engine over the memory store, with work that ends in every way.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncegate::clock::{Clock, Timestamp};
use oncegate::engine::{Engine, EngineLimits};
use oncegate::idempotency::{
    Answer, AnswerBuilder, Attempt, Broken, Failure, Fingerprint, Identity, OnMismatch,
    OnStoreError, OnUnknown, Origin, Outcome, Provenance, RecordKey, Refusal, Terms, Unreachable,
};
use oncegate::store::{MemoryOptions, MemoryStore, WhenFull};
use oncegate::telemetry::Metrics;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) const IDENTITY: Identity =
    Identity { key: RecordKey::from_bytes([1; 32]), fingerprint: Fingerprint::COVERED };

pub(crate) const TERMS: Terms = Terms {
    window: Duration::from_secs(3600),
    wait: Duration::from_secs(60),
    timeout: Duration::from_secs(300),
    linger: Duration::from_secs(600),
    on_unknown: OnUnknown::Hold,
    on_mismatch: OnMismatch::Refuse,
    on_store_error: OnStoreError::Refuse,
};

/// An engine whose clock moves with tokio's.
fn engine(bytes_max: u64) -> Engine {
    engine_counting(bytes_max).0
}

/// The same, and what it counts.
pub(crate) fn engine_counting(bytes_max: u64) -> (Engine, Arc<Metrics>) {
    let started = Instant::now();
    let clock = Clock::from_fn(move || Timestamp::from_millis(1).after(started.elapsed()));
    let metrics = Arc::new(Metrics::default());
    let options = MemoryOptions {
        bytes_max,
        when_full: WhenFull::Evict,
        answer_bytes_max: 1024,
        marks_max: 100,
    };
    let store = Arc::new(MemoryStore::new(options, clock.clone(), Arc::clone(&metrics)));
    let limits = EngineLimits { flights_max: 10, waiters_max: 10, waiters_per_key_max: 10 };
    (Engine::new(store, limits, clock, Arc::clone(&metrics), 1), metrics)
}

pub(crate) fn answer(body: &[u8]) -> Answer {
    AnswerBuilder::new(201).finish(body)
}

fn origin(path: &str) -> Origin {
    Origin::new("payments", "POST", path, Timestamp::from_millis(7))
}

#[tokio::test(start_paused = true)]
async fn a_record_tells_of_its_first_request_and_counts_its_replays() {
    let engine = engine(1 << 20);
    let work = || async { Attempt::Keep(answer(b"ok")) };
    let first = engine.run(IDENTITY, TERMS, Some(origin("/first")), work).await;
    for repeats in 1..=3 {
        // One by the short way, and one that goes to the store.
        let recalled = engine.recall(&IDENTITY, &TERMS).unwrap();
        let again = engine.run(IDENTITY, TERMS, Some(origin("/again")), work).await;
        for outcome in [&first, &recalled, &again] {
            let Outcome::Answered { origin: Some(origin), .. } = outcome else { panic!() };
            assert_eq!((origin.path(), origin.method()), ("/first", "POST"));
            assert_eq!(origin.begun_at(), Timestamp::from_millis(7));
            assert_eq!(origin.replays(), repeats * 2);
        }
    }
}

/// What a repeat gets whose work would be noticed.
async fn repeat(engine: &Engine) -> Outcome {
    if let Some(outcome) = engine.recall(&IDENTITY, &TERMS) {
        return outcome;
    }
    engine.run(IDENTITY, TERMS, None, || async { Attempt::Keep(answer(b"executed again")) }).await
}

#[track_caller]
fn assert_unknown(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Refused(Refusal::OutcomeUnknown)), "{outcome:?}");
}

#[track_caller]
fn assert_answer(outcome: &Outcome, body: &[u8], expected: Provenance) {
    match outcome {
        Outcome::Answered { answer, provenance, .. } => {
            assert_eq!((answer.body().as_ref(), *provenance), (body, expected));
        }
        Outcome::Streaming(_) | Outcome::Failed(_) | Outcome::Refused(_) => panic!("{outcome:?}"),
    }
}

/// K4, P5: work that panics, before or after it may have sent something, ends like work whose
/// outcome is unknown; whoever waits is told, and the engine serves on.
#[tokio::test(start_paused = true)]
async fn work_that_panics_is_an_unknown_outcome() {
    for yields in [0, 1, 5] {
        let engine = engine(1 << 20);
        let work = move || async move {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            panic!("on purpose");
        };
        let (first, second) = tokio::join!(
            engine.run(IDENTITY, TERMS, None, work),
            engine.run(IDENTITY, TERMS, None, || async {
                panic!("a follower's work is never begun")
            }),
        );
        for outcome in [first, second] {
            let abandoned = Outcome::Failed(Failure::Broken(Broken::Abandoned));
            assert_eq!(format!("{outcome:?}"), format!("{abandoned:?}"));
        }
        assert_unknown(&repeat(&engine).await);
        let other = Identity { key: RecordKey::from_bytes([2; 32]), ..IDENTITY };
        let outcome =
            engine.run(other, TERMS, None, || async { Attempt::Keep(answer(b"ok")) }).await;
        assert_answer(&outcome, b"ok", Provenance::Executed);
        engine.drained().await;
        assert_eq!(engine.load().flights, 0);
    }
}

/// K4: the same when the work cannot even be begun.
#[tokio::test(start_paused = true)]
async fn work_that_panics_at_once_is_an_unknown_outcome() {
    let engine = engine(1 << 20);
    let work = || -> std::future::Ready<Attempt> { panic!("on purpose") };
    let outcome = engine.run(IDENTITY, TERMS, None, work).await;
    assert!(matches!(outcome, Outcome::Failed(Failure::Broken(Broken::Abandoned))), "{outcome:?}");
    assert_unknown(&repeat(&engine).await);
}

/// C1: the first caller's future may be dropped at any moment.
#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_takes_nothing_with_it() {
    let engine = engine(1 << 20);
    let (open, gate) = oneshot::channel::<()>();
    let work = move || async move {
        gate.await.unwrap();
        Attempt::Keep(answer(b"ok"))
    };
    let left =
        tokio::time::timeout(Duration::from_secs(1), engine.run(IDENTITY, TERMS, None, work));
    assert!(left.await.is_err());
    open.send(()).unwrap();
    engine.drained().await;
    assert_answer(&repeat(&engine).await, b"ok", Provenance::Replayed);
}

/// U6: a late answer settles what everybody believed to be unknown.
#[tokio::test(start_paused = true)]
async fn a_late_answer_heals() {
    let engine = engine(1 << 20);
    let work = || async {
        tokio::time::sleep(TERMS.timeout + Duration::from_secs(1)).await;
        Attempt::Keep(answer(b"late"))
    };
    let outcome = engine.run(IDENTITY, TERMS, None, work).await;
    assert!(matches!(outcome, Outcome::Failed(Failure::TimedOut)), "{outcome:?}");
    assert_unknown(&repeat(&engine).await);
    engine.drained().await;
    assert_answer(&repeat(&engine).await, b"late", Provenance::Replayed);
}

/// U6: an answer that never comes is not listened for any longer, and changes nothing.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_leaves_the_outcome_unknown() {
    let engine = engine(1 << 20);
    let outcome = engine.run(IDENTITY, TERMS, None, pending).await;
    assert!(matches!(outcome, Outcome::Failed(Failure::TimedOut)), "{outcome:?}");
    engine.drained().await;
    assert_unknown(&repeat(&engine).await);
}

/// The window begins with the first request, not with its answer.
#[tokio::test(start_paused = true)]
async fn a_window_ends_when_it_should_however_long_the_work_took() {
    let engine = engine(1 << 20);
    let work = || async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        Attempt::Keep(answer(b"first"))
    };
    engine.run(IDENTITY, TERMS, None, work).await;
    tokio::time::advance(Duration::from_secs(3500)).await;
    assert_answer(&repeat(&engine).await, b"first", Provenance::Replayed);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_answer(&repeat(&engine).await, b"executed again", Provenance::Executed);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_executed_may_be_executed() {
    let engine = engine(1 << 20);
    let executions = Arc::new(AtomicUsize::new(0));
    for attempt in [
        Attempt::NotSent(Unreachable::Refused),
        Attempt::Discard(answer(b"try again")),
        Attempt::Keep(answer(b"ok")),
        Attempt::Keep(answer(b"again")),
    ] {
        let executions = Arc::clone(&executions);
        let work = move || async move {
            executions.fetch_add(1, Ordering::Relaxed);
            attempt
        };
        engine.run(IDENTITY, TERMS, None, work).await;
    }
    assert_eq!(executions.load(Ordering::Relaxed), 3);
    assert_answer(&repeat(&engine).await, b"ok", Provenance::Replayed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_that_it_does_not_know_holds_the_key() {
    let engine = engine(1 << 20);
    let work = || async { Attempt::Hold(answer(b"bad gateway")) };
    let outcome = engine.run(IDENTITY, TERMS, None, work).await;
    assert_answer(&outcome, b"bad gateway", Provenance::Executed);
    assert_unknown(&repeat(&engine).await);
}

/// An answer that the store has no room for at all still reaches its caller, and is never
/// executed again.
#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_the_store_is_not_kept() {
    let engine = engine(1000);
    let work = || async { Attempt::Keep(answer(&[b'x'; 1000])) };
    let outcome = engine.run(IDENTITY, TERMS, None, work).await;
    assert_answer(&outcome, &[b'x'; 1000], Provenance::Executed);
    let outcome = repeat(&engine).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::AnswerNotKept)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_to_the_first_caller_only() {
    let engine = engine(1 << 20);
    let (first, second) = tokio::join!(
        engine.run(IDENTITY, TERMS, None, || async { Attempt::Streaming }),
        engine.run(IDENTITY, TERMS, None, || async { panic!("a follower's work is never begun") }),
    );
    assert!(matches!(first, Outcome::Streaming(_)), "{first:?}");
    for outcome in [second, repeat(&engine).await] {
        assert!(matches!(outcome, Outcome::Refused(Refusal::AnswerNotKept)), "{outcome:?}");
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a repeat gets under these terms.
async fn repeat_under(engine: &Engine, terms: Terms) -> Outcome {
    if let Some(outcome) = engine.recall(&IDENTITY, &terms) {
        return outcome;
    }
    engine.run(IDENTITY, terms, None, || async { Attempt::Keep(answer(b"executed again")) }).await
}

/// Deduplication by `messageId` for a week: after six days a repeat is one, and after eight it is
/// not, whether anybody has asked meanwhile or not.
#[tokio::test(start_paused = true)]
async fn a_week_has_seven_days() {
    let week = Terms { window: 7 * DAY, ..TERMS };
    for asked_daily in [false, true] {
        let engine = engine(1 << 20);
        let work = || async { Attempt::Keep(answer(b"event")) };
        engine.run(IDENTITY, week, None, work).await;
        for _ in 0..6 {
            tokio::time::advance(DAY).await;
            if asked_daily {
                let outcome = repeat_under(&engine, week).await;
                assert_answer(&outcome, b"event", Provenance::Replayed);
            }
        }
        assert_answer(&repeat_under(&engine, week).await, b"event", Provenance::Replayed);
        tokio::time::advance(2 * DAY).await;
        let outcome = repeat_under(&engine, week).await;
        assert_answer(&outcome, b"executed again", Provenance::Executed);
        tokio::time::advance(6 * DAY).await;
        let outcome = repeat_under(&engine, week).await;
        assert_answer(&outcome, b"executed again", Provenance::Replayed);
    }
}

/// What holds a key without an answer holds it for the week, too, and no longer.
#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_held_for_the_window() {
    let week = Terms { window: 7 * DAY, ..TERMS };
    for attempt in [Attempt::Unknown(Broken::Incomplete), Attempt::Streaming] {
        let engine = engine(1 << 20);
        engine.run(IDENTITY, week, None, move || async move { attempt }).await;
        tokio::time::advance(6 * DAY).await;
        let outcome = repeat_under(&engine, week).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        tokio::time::advance(2 * DAY).await;
        let outcome = repeat_under(&engine, week).await;
        assert_answer(&outcome, b"executed again", Provenance::Executed);
    }
}

/// The upstream has said for how long: less or more than what was agreed, and from the first
/// request on.
#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_as_long_as_the_upstream_says() {
    for seconds in [60, 30 * 24 * 3600] {
        let engine = engine(1 << 20);
        let work = move || async move {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Attempt::KeepFor(answer(b"first"), Duration::from_secs(seconds))
        };
        let outcome = engine.run(IDENTITY, TERMS, None, work).await;
        assert_answer(&outcome, b"first", Provenance::Executed);
        tokio::time::advance(Duration::from_secs(seconds - 20)).await;
        assert_answer(&repeat(&engine).await, b"first", Provenance::Replayed);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_answer(&repeat(&engine).await, b"executed again", Provenance::Executed);
    }
}

/// Less time than the work took: whoever waited has the answer, and the next one runs.
#[tokio::test(start_paused = true)]
async fn an_answer_may_be_kept_for_less_than_it_took() {
    let engine = engine(1 << 20);
    let work = || async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Attempt::KeepFor(answer(b"first"), Duration::from_secs(10))
    };
    let (first, second) = tokio::join!(
        engine.run(IDENTITY, TERMS, None, work),
        engine.run(IDENTITY, TERMS, None, || async { panic!("a follower's work is never begun") }),
    );
    assert_answer(&first, b"first", Provenance::Executed);
    assert_answer(&second, b"first", Provenance::Collapsed);
    assert_answer(&repeat(&engine).await, b"executed again", Provenance::Executed);
}

/// A late answer counts for as long as the upstream says, too.
#[tokio::test(start_paused = true)]
async fn a_late_answer_is_kept_for_as_long_as_the_upstream_says() {
    let engine = engine(1 << 20);
    let work = || async {
        tokio::time::sleep(TERMS.timeout + Duration::from_secs(1)).await;
        Attempt::KeepFor(answer(b"late"), 2 * DAY)
    };
    let outcome = engine.run(IDENTITY, TERMS, None, work).await;
    assert!(matches!(outcome, Outcome::Failed(Failure::TimedOut)), "{outcome:?}");
    engine.drained().await;
    tokio::time::advance(DAY).await;
    assert_answer(&repeat(&engine).await, b"late", Provenance::Replayed);
    tokio::time::advance(DAY).await;
    assert_answer(&repeat(&engine).await, b"executed again", Provenance::Executed);
}

/// The first caller gets the stream, those who wait can't, and the next one runs.
#[tokio::test(start_paused = true)]
async fn a_stream_that_may_be_repeated_frees_the_key() {
    let engine = engine(1 << 20);
    let (first, second) = tokio::join!(
        engine.run(IDENTITY, TERMS, None, || async { Attempt::StreamingDiscard }),
        engine.run(IDENTITY, TERMS, None, || async { panic!("a follower's work is never begun") }),
    );
    assert!(matches!(first, Outcome::Streaming(_)), "{first:?}");
    assert!(matches!(second, Outcome::Refused(Refusal::InProgress)), "{second:?}");
    assert_answer(&repeat(&engine).await, b"executed again", Provenance::Executed);
}

/// The same key for something else than under [`IDENTITY`].
pub(crate) fn other_fingerprint() -> Identity {
    Identity { fingerprint: Fingerprint::from_bytes(&[1; Fingerprint::LENGTH]), ..IDENTITY }
}

/// Where the key alone decides, a request that says something else joins the same flight, and
/// gets the same answer, then and later.
#[tokio::test(start_paused = true)]
async fn another_fingerprint_joins_the_flight_where_that_is_agreed() {
    let engine = engine(1 << 20);
    let terms = Terms { on_mismatch: OnMismatch::Replay, ..TERMS };
    let (open, gate) = oneshot::channel::<()>();
    let work = move || async move {
        gate.await.unwrap();
        Attempt::Keep(answer(b"first"))
    };
    let never = || async { panic!("a follower's work is never begun") };
    let (first, second, third, ()) = tokio::join!(
        engine.run(IDENTITY, terms, None, work),
        engine.run(other_fingerprint(), terms, None, never),
        engine.run(IDENTITY, terms, None, never),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!((engine.load().flights, engine.load().waiters), (1, 2));
            open.send(()).unwrap();
        },
    );
    assert_answer(&first, b"first", Provenance::Executed);
    assert_answer(&second, b"first", Provenance::Collapsed);
    assert_answer(&third, b"first", Provenance::Collapsed);
    let outcome = engine.recall(&other_fingerprint(), &terms).unwrap();
    assert_answer(&outcome, b"first", Provenance::Replayed);
    let outcome = engine.run(other_fingerprint(), TERMS, None, never).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::KeyReused(_))), "{outcome:?}");
}

/// Terms that changed between the two: the second has a flight of its own, and still no execution.
#[tokio::test(start_paused = true)]
async fn terms_that_change_while_the_first_runs_execute_nothing_twice() {
    let replay = Terms { on_mismatch: OnMismatch::Replay, ..TERMS };
    for (before, after) in [(TERMS, replay), (replay, TERMS)] {
        let engine = engine(1 << 20);
        let work = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Attempt::Keep(answer(b"first"))
        };
        let never = || async { panic!("the key is taken") };
        let identity = other_fingerprint();
        let (first, second) = tokio::join!(engine.run(identity, before, None, work), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            engine.run(identity, after, None, never).await
        });
        assert_answer(&first, b"first", Provenance::Executed);
        assert_answer(&second, b"first", Provenance::Replayed);
    }
}

/// A stream that says nothing of what was done leaves the outcome unknown, to whoever waits, too.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_outcome_is_unknown_holds_the_key() {
    let engine = engine(1 << 20);
    let (first, second) = tokio::join!(
        engine.run(IDENTITY, TERMS, None, || async { Attempt::StreamingHold }),
        engine.run(IDENTITY, TERMS, None, || async { panic!("a follower's work is never begun") }),
    );
    assert!(matches!(first, Outcome::Streaming(_)), "{first:?}");
    assert!(matches!(second, Outcome::Refused(Refusal::OutcomeUnknown)), "{second:?}");
    let outcome = repeat(&engine).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::OutcomeUnknown)), "{outcome:?}");
}
