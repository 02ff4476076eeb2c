//! What every store must do: one suite, run for each of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod disk;
mod groups;
mod list;
mod redis;
mod server;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oncegate::clock::{Clock, Timestamp};
use oncegate::idempotency::{
    Answer, AnswerBuilder, Fingerprint, LeaseToken, Origin, Record, RecordKey, State, TraceContext,
};
use oncegate::store::{
    Expected, MemoryOptions, MemoryStore, RECORD_BYTES, Store, StoreError, Swap, Usage, WhenFull,
};
use oncegate::telemetry::Metrics;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::list::{
    a_list_goes_on_while_others_write, a_list_shows_what_is_wanted, an_empty_store_lists_nothing,
    everything_is_listed_once, what_has_expired_is_not_listed,
};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a record counts, where nothing else is said.
const WINDOW: Duration = Duration::from_hours(1);

/// How long after a record has expired a store may still count it.
const GRACE: Duration = Duration::from_mins(5);

/// A kind of store, and how one is made.
trait Kind {
    /// Whether its usage tells of records that are no kept answers, too.
    const COUNTS_MARKS: bool = true;

    fn open(room: Room) -> impl Future<Output = Opened> + Send;
}

/// What a store may hold.
#[derive(Clone, Copy)]
struct Room {
    bytes: u64,
    answer_bytes: u64,
    marks: usize,
}

/// More than any case needs that is not about room.
const PLENTY: Room = Room { bytes: 64 << 20, answer_bytes: 1024, marks: 10_000 };

/// A store, the time by its clock, and what it counts.
#[derive(Clone)]
struct Opened {
    store: Arc<dyn Store>,
    time: Time,
    metrics: Arc<Metrics>,
    /// What the store stands on, and goes with it: a folder, or a server.
    _ground: Arc<dyn Any + Send + Sync>,
}

#[derive(Clone)]
struct Time(Arc<AtomicU64>);

struct Evicting;
struct Refusing;

impl Kind for Evicting {
    async fn open(room: Room) -> Opened {
        Opened::memory(room, WhenFull::Evict)
    }
}

impl Kind for Refusing {
    async fn open(room: Room) -> Opened {
        Opened::memory(room, WhenFull::Refuse)
    }
}

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn clock(&self) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || time.now())
    }

    fn advance(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Opened {
    fn memory(room: Room, when_full: WhenFull) -> Self {
        let (bytes_max, answer_bytes_max, marks_max) = (room.bytes, room.answer_bytes, room.marks);
        let options = MemoryOptions { bytes_max, when_full, answer_bytes_max, marks_max };
        let time = Time::new();
        let metrics = Arc::new(Metrics::default());
        let store = Arc::new(MemoryStore::new(options, time.clock(), Arc::clone(&metrics)));
        Self { store, time, metrics, _ground: Arc::new(()) }
    }

    async fn load(&self, key: &RecordKey) -> Option<Record> {
        self.store.load(key).await.unwrap()
    }

    async fn swap(
        &self,
        key: &RecordKey,
        expected: Expected,
        next: Option<&Record>,
    ) -> Result<Swap, StoreError> {
        self.store.swap(key, expected, next.cloned()).await
    }

    async fn claim(&self, key: &RecordKey, record: &Record) -> Result<Swap, StoreError> {
        self.swap(key, Expected::Absent, Some(record)).await
    }

    /// Writes over, or removes, what has the token of `held`.
    async fn change(
        &self,
        key: &RecordKey,
        held: &Record,
        next: Option<&Record>,
    ) -> Result<Swap, StoreError> {
        self.swap(key, Expected::HeldBy(held.token), next).await
    }

    fn in_flight(&self, token: u64) -> Record {
        let expires_at = self.time.now().after(WINDOW);
        let state = State::InFlight { lease_until: expires_at };
        let (fingerprint, token) = (Fingerprint::COVERED, LeaseToken(token));
        Record { fingerprint, token, expires_at, state, origin: Some(origin(token)) }
    }

    /// A claim whose lease has run out.
    fn left_behind(&self, token: u64) -> Record {
        let lease_until = self.time.now();
        self.time.advance(Duration::from_millis(1));
        with(&self.in_flight(token), State::InFlight { lease_until })
    }

    /// The record of an operation that has ended with this answer.
    fn completed(&self, held: &Record, answer: Answer) -> Record {
        with(held, State::Completed { answer, kept_at: self.time.now() })
    }

    /// Claims a key, which is free, and keeps an answer.
    async fn keep(&self, key: &RecordKey, token: u64, body: &str) -> Record {
        let claim = self.in_flight(token);
        self.keep_as(key, &claim, body).await
    }

    async fn keep_as(&self, key: &RecordKey, claim: &Record, body: &str) -> Record {
        assert_eq!(self.claim(key, claim).await, Ok(Swap::Done));
        let kept = self.completed(claim, answer(body));
        assert_eq!(self.change(key, claim, Some(&kept)).await, Ok(Swap::Done));
        kept
    }

    async fn maintain(&self) {
        self.store.maintain().await.unwrap();
    }

    fn evicted(&self) -> u64 {
        self.metrics.evictions.counter().value()
    }

    /// Waits until the store, maintained, is as it should be.
    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.maintain().await;
            if holds(self) {
                return;
            }
            assert!(Instant::now() < deadline, "never came true: {what}; {:?}", self.store.usage());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a claim with this token was made for.
fn origin(token: LeaseToken) -> Arc<Origin> {
    let trace = TraceContext { trace_id: [7; 16], span_id: token.0.to_be_bytes() };
    let path = format!("/v1/charges/{}", token.0);
    let origin = Origin::new("payments", "POST", &path, Timestamp::from_millis(token.0));
    Arc::new(origin.traced(Some(trace)))
}

fn with(record: &Record, state: State) -> Record {
    Record { state, ..record.clone() }
}

fn answer(body: &str) -> Answer {
    let mut builder = AnswerBuilder::new(200);
    builder.line(b"content-type", b"text/plain");
    builder.finish(body.as_bytes())
}

/// A key, as good as random, as all keys are.
fn key(number: usize) -> RecordKey {
    let mut bytes = [0; 32];
    for (index, bytes) in bytes.chunks_exact_mut(8).enumerate() {
        let mut mixed = (number as u64).wrapping_mul(4).wrapping_add(index as u64);
        mixed = (mixed ^ (mixed >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    RecordKey::from_bytes(bytes)
}

fn lost(to: &Record) -> Swap {
    Swap::Lost(Some(to.clone()))
}

/// Does something `times` times, at once, and returns all that came of it.
async fn at_once<T, F>(times: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(times));
    let mut tasks = JoinSet::new();
    for number in 0..times {
        let (barrier, task) = (Arc::clone(&barrier), task(number));
        tasks.spawn(async move {
            barrier.wait().await;
            task.await
        });
    }
    tasks.join_all().await
}

fn count_done(results: &[Result<Swap, StoreError>]) -> usize {
    results.iter().filter(|result| **result == Ok(Swap::Done)).count()
}

macro_rules! suite {
    ($($name:ident for $kind:ty: [$($case:ident),+ $(,)?];)+) => {
        $(mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                crate::$case::<$kind>().await;
            })+
        })+
    };
}
pub(crate) use suite;

/// What holds for every store.
macro_rules! records {
    ($($name:ident for $kind:ty;)+) => {
        crate::suite! {
            $($name for $kind: [
                an_unknown_key_is_absent,
                a_claim_is_found,
                a_second_claim_learns_who_came_first,
                one_of_many_claims_wins,
                a_wrong_token_changes_nothing,
                a_lease_is_renewed,
                an_answer_is_kept_whole,
                an_answer_is_kept_once,
                one_of_many_answers_is_kept,
                a_kept_answer_is_not_written_over,
                a_lost_answer_is_not_written_over,
                an_unknown_outcome_can_be_settled_later,
                every_state_is_held,
                a_released_key_is_free,
                a_kept_answer_can_be_forgotten,
                one_of_many_forgets_wins,
                a_key_can_be_taken_over,
                one_of_many_take_overs_wins,
                a_record_counts_until_its_last_moment,
                what_runs_counts_beyond_its_window,
                an_expired_mark_is_replaced,
                an_expired_answer_is_replaced,
                an_expired_answer_does_not_come_back,
                an_expired_record_is_replaced_once,
                what_is_settled_too_late_does_not_count,
                a_large_record_is_refused_and_can_be_marked,
                only_kept_answers_are_at_hand,
                keys_do_not_mix,
                a_reader_never_misses_a_record_that_is_settled,
                an_empty_store_lists_nothing,
                everything_is_listed_once,
                a_list_shows_what_is_wanted,
                what_has_expired_is_not_listed,
                a_list_goes_on_while_others_write,
            ];)+
        }
    };
}
pub(crate) use records;

/// What holds for every store that knows how much it holds.
macro_rules! room {
    ($($name:ident for $kind:ty;)+) => {
        crate::suite! {
            $($name for $kind: [
                usage_ends_at_zero_when_all_have_expired,
                usage_counts_what_is_released_and_forgotten,
                marks_are_limited,
                a_rush_stays_within_the_limit,
                an_expired_mark_makes_room,
                a_full_table_still_settles,
            ];)+
        }
    };
}
records! {
    memory_evicting for super::Evicting;
    memory_refusing for super::Refusing;
    on_disk for super::disk::Disk;
}

room! {
    room_on_disk for super::disk::Disk;
    room_evicting for super::Evicting;
    room_refusing for super::Refusing;
}

suite! {
    on_disk_uncached for super::disk::Uncached: [
        a_second_claim_learns_who_came_first,
        a_wrong_token_changes_nothing,
        an_answer_is_kept_once,
        one_of_many_answers_is_kept,
        a_lost_answer_is_not_written_over,
        an_unknown_outcome_can_be_settled_later,
        every_state_is_held,
        a_released_key_is_free,
        one_of_many_forgets_wins,
        a_record_counts_until_its_last_moment,
        an_expired_answer_does_not_come_back,
        an_expired_record_is_replaced_once,
        what_is_settled_too_late_does_not_count,
        a_reader_never_misses_a_record_that_is_settled,
        usage_counts_what_is_released_and_forgotten,
    ];
    evicting for super::Evicting: [
        marks_survive_a_flood_of_answers,
        the_newest_answers_stay,
        every_broken_promise_is_counted_once,
        an_answer_in_use_stays,
        expired_answers_are_no_broken_promises,
        forgotten_answers_are_no_broken_promises,
    ];
    refusing for super::Refusing: [
        marks_survive_a_flood_of_answers,
        no_answer_is_ever_evicted,
        room_is_set_aside_for_what_runs,
        a_rush_stays_within_the_room,
        room_comes_back_when_answers_expire,
    ];
}

async fn an_unknown_key_is_absent<K: Kind>() {
    let it = K::open(PLENTY).await;
    let held = it.in_flight(1);
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.store.peek(&key(1)), None);
    assert_eq!(it.swap(&key(1), Expected::Absent, None).await, Ok(Swap::Done));
    assert_eq!(it.change(&key(1), &held, None).await, Ok(Swap::Lost(None)));
    assert_eq!(it.change(&key(1), &held, Some(&held)).await, Ok(Swap::Lost(None)));
    let kept = it.completed(&held, answer("a"));
    assert_eq!(it.change(&key(1), &held, Some(&kept)).await, Ok(Swap::Lost(None)));
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.store.usage(), Usage::default());
}

async fn a_claim_is_found<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await, Some(claim));
    assert_eq!(it.load(&key(2)).await, None);
}

async fn a_second_claim_learns_who_came_first<K: Kind>() {
    let it = K::open(PLENTY).await;
    let (first, second) = (it.in_flight(1), it.in_flight(2));
    assert_eq!(it.claim(&key(1), &first).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(1), &second).await, Ok(lost(&first)));
    assert_eq!(it.swap(&key(1), Expected::Absent, None).await, Ok(lost(&first)));
    let kept = it.completed(&first, answer("a"));
    assert_eq!(it.change(&key(1), &first, Some(&kept)).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(1), &second).await, Ok(lost(&kept)));
    assert_eq!(it.swap(&key(1), Expected::Absent, None).await, Ok(lost(&kept)));
}

async fn one_of_many_claims_wins<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..50 {
        let results = at_once(64, |number| {
            let it = it.clone();
            async move {
                let claim = it.in_flight(number as u64);
                let swapped = it.claim(&key(round), &claim).await;
                (claim, swapped)
            }
        })
        .await;
        let won: Vec<_> =
            results.iter().filter(|(_, swapped)| *swapped == Ok(Swap::Done)).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let winner = &won[0].0;
        for (claim, swapped) in &results {
            assert!(claim == winner || *swapped == Ok(lost(winner)), "{swapped:?}");
        }
        assert_eq!(it.load(&key(round)).await.as_ref(), Some(winner));
    }
}

async fn a_wrong_token_changes_nothing<K: Kind>() {
    let it = K::open(PLENTY).await;
    let (mine, other) = (it.in_flight(1), it.in_flight(2));
    let kept = it.completed(&mine, answer("mine"));
    let states =
        [mine.clone(), with(&mine, State::Indeterminate), with(&mine, State::Unreplayable), kept];
    for (number, standing) in states.iter().enumerate() {
        let key = key(number);
        assert_eq!(it.claim(&key, &mine).await, Ok(Swap::Done));
        assert_eq!(it.change(&key, &mine, Some(standing)).await, Ok(Swap::Done));
        let nexts = [
            None,
            Some(other.clone()),
            Some(with(&other, State::Indeterminate)),
            Some(with(&other, State::Unreplayable)),
            Some(it.completed(&other, answer("other"))),
        ];
        for next in nexts {
            assert_eq!(
                it.change(&key, &other, next.as_ref()).await,
                Ok(lost(standing)),
                "{next:?}"
            );
            assert_eq!(it.load(&key).await.as_ref(), Some(standing));
        }
    }
}

async fn a_lease_is_renewed<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    let until = |millis| State::InFlight { lease_until: Timestamp::from_millis(millis) };
    assert_eq!(it.claim(&key(1), &with(&claim, until(1_000_500))).await, Ok(Swap::Done));
    let renewed = with(&claim, until(1_001_000));
    assert_eq!(it.change(&key(1), &claim, Some(&renewed)).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await, Some(renewed));
}

async fn an_answer_is_kept_whole<K: Kind>() {
    let it = K::open(Room { answer_bytes: 1 << 20, ..PLENTY }).await;
    let mut odd = AnswerBuilder::new(207);
    odd.line(b"set-cookie", b"a=1");
    odd.line(b"set-cookie", b"b=2");
    odd.line(b"x-bytes", b"\xff\x00\xfe");
    odd.line(b"x-empty", b"");
    odd.trailer(b"grpc-status", b"0");
    odd.trailer(b"x-bytes-bin", b"\xff\x00");
    let large = vec![b'x'; 500_000];
    let answers = [
        AnswerBuilder::new(204).finish(b""),
        odd.finish(b"\x00\xffbody"),
        AnswerBuilder::new(200).finish(&large),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let claim = it.in_flight(number as u64);
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        let kept = it.completed(&claim, answer);
        assert_eq!(it.change(&key(number), &claim, Some(&kept)).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(&kept));
        assert_eq!(it.store.peek(&key(number)), Some(kept));
    }
}

async fn an_answer_is_kept_once<K: Kind>() {
    let it = K::open(PLENTY).await;
    let kept = it.keep(&key(1), 1, "first").await;
    let again = it.completed(&kept, answer("second"));
    assert_eq!(it.change(&key(1), &kept, Some(&again)).await, Ok(lost(&kept)));
    assert_eq!(it.load(&key(1)).await, Some(kept));
}

async fn one_of_many_answers_is_kept<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..50 {
        let claim = it.in_flight(7);
        assert_eq!(it.claim(&key(round), &claim).await, Ok(Swap::Done));
        let results = at_once(16, |number| {
            let (it, claim) = (it.clone(), claim.clone());
            async move {
                let kept = it.completed(&claim, answer(&number.to_string()));
                let swapped = it.change(&key(round), &claim, Some(&kept)).await;
                (kept, swapped)
            }
        })
        .await;
        let won: Vec<_> =
            results.iter().filter(|(_, swapped)| *swapped == Ok(Swap::Done)).collect();
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(it.load(&key(round)).await.as_ref(), Some(&won[0].0));
    }
}

async fn a_kept_answer_is_not_written_over<K: Kind>() {
    let it = K::open(PLENTY).await;
    let kept = it.keep(&key(1), 1, "kept").await;
    let taken = it.in_flight(2);
    let nexts = [
        with(&kept, State::InFlight { lease_until: Timestamp::MAX }),
        with(&kept, State::Indeterminate),
        with(&kept, State::Unreplayable),
        taken,
    ];
    for next in nexts {
        assert_eq!(it.change(&key(1), &kept, Some(&next)).await, Ok(lost(&kept)), "{next:?}");
        assert_eq!(it.load(&key(1)).await.as_ref(), Some(&kept));
        assert_eq!(it.store.peek(&key(1)).as_ref(), Some(&kept));
    }
}

async fn a_lost_answer_is_not_written_over<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    let ended = with(&claim, State::Unreplayable);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    assert_eq!(it.change(&key(1), &claim, Some(&ended)).await, Ok(Swap::Done));
    let nexts = [
        claim.clone(),
        with(&claim, State::Indeterminate),
        it.completed(&claim, answer("late")),
        it.in_flight(2),
    ];
    for next in nexts {
        let swapped = it.change(&key(1), &claim, Some(&next)).await;
        assert_eq!(swapped, Ok(lost(&ended)), "{next:?}");
        assert_eq!(it.load(&key(1)).await.as_ref(), Some(&ended));
    }
}

async fn an_unknown_outcome_can_be_settled_later<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    let unknown = with(&claim, State::Indeterminate);
    let ends =
        [Some(it.completed(&claim, answer("late"))), Some(with(&claim, State::Unreplayable)), None];
    for (number, end) in ends.into_iter().enumerate() {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(number), &claim, Some(&unknown)).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(&unknown));
        assert_eq!(it.change(&key(number), &claim, end.as_ref()).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(number)).await, end);
    }
}

async fn every_state_is_held<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    let states = [
        State::InFlight { lease_until: it.time.now() },
        State::Indeterminate,
        State::Unreplayable,
        State::Completed { answer: answer("a"), kept_at: it.time.now() },
    ];
    for (number, state) in states.into_iter().enumerate() {
        let standing = with(&claim, state);
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(number), &claim, Some(&standing)).await, Ok(Swap::Done));
        it.maintain().await;
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(&standing));
        assert_eq!(it.claim(&key(number), &it.in_flight(2)).await, Ok(lost(&standing)));
    }
}

async fn a_released_key_is_free<K: Kind>() {
    let it = K::open(PLENTY).await;
    let (first, second) = (it.in_flight(1), it.in_flight(2));
    for standing in
        [first.clone(), with(&first, State::Indeterminate), with(&first, State::Unreplayable)]
    {
        assert_eq!(it.claim(&key(1), &first).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(1), &first, Some(&standing)).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(1), &first, None).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(1)).await, None);
        assert_eq!(it.change(&key(1), &first, None).await, Ok(Swap::Lost(None)));
    }
    assert_eq!(it.claim(&key(1), &second).await, Ok(Swap::Done));
    assert_eq!(it.change(&key(1), &first, None).await, Ok(lost(&second)));
    assert_eq!(it.load(&key(1)).await, Some(second));
}

async fn a_kept_answer_can_be_forgotten<K: Kind>() {
    let it = K::open(PLENTY).await;
    let kept = it.keep(&key(1), 1, "kept").await;
    let other = it.in_flight(2);
    assert_eq!(it.change(&key(1), &other, None).await, Ok(lost(&kept)));
    assert_eq!(it.change(&key(1), &kept, None).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.store.peek(&key(1)), None);
    assert_eq!(it.change(&key(1), &kept, None).await, Ok(Swap::Lost(None)));
    let again = it.keep(&key(1), 2, "again").await;
    assert_eq!(it.load(&key(1)).await, Some(again));
    assert_eq!(it.evicted(), 0);
}

async fn one_of_many_forgets_wins<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..200 {
        let kept = it.keep(&key(round), 1, "kept").await;
        let results = at_once(8, |_| {
            let (it, kept) = (it.clone(), kept.clone());
            async move { it.change(&key(round), &kept, None).await }
        })
        .await;
        assert_eq!(count_done(&results), 1, "round {round}: {results:?}");
        assert_eq!(it.load(&key(round)).await, None);
    }
}

async fn a_key_can_be_taken_over<K: Kind>() {
    let it = K::open(PLENTY).await;
    let (old, new) = (it.left_behind(1), it.in_flight(2));
    for (number, standing) in [old.clone(), with(&old, State::Indeterminate)].iter().enumerate() {
        let key = key(number);
        assert_eq!(it.claim(&key, &old).await, Ok(Swap::Done));
        assert_eq!(it.change(&key, &old, Some(standing)).await, Ok(Swap::Done));
        assert_eq!(it.change(&key, &old, Some(&new)).await, Ok(Swap::Done));
        assert_eq!(it.load(&key).await.as_ref(), Some(&new));
        // Whoever had it has nothing to say any more.
        let late = it.completed(&old, answer("late"));
        assert_eq!(it.change(&key, &old, Some(&late)).await, Ok(lost(&new)));
        assert_eq!(it.change(&key, &old, None).await, Ok(lost(&new)));
        let kept = it.completed(&new, answer("new"));
        assert_eq!(it.change(&key, &new, Some(&kept)).await, Ok(Swap::Done));
        assert_eq!(it.load(&key).await, Some(kept));
    }
}

async fn one_of_many_take_overs_wins<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..50 {
        let old = it.left_behind(1000);
        assert_eq!(it.claim(&key(round), &old).await, Ok(Swap::Done));
        let results = at_once(16, |number| {
            let (it, old) = (it.clone(), old.clone());
            async move {
                let new = it.in_flight(number as u64);
                it.change(&key(round), &old, Some(&new)).await
            }
        })
        .await;
        assert_eq!(count_done(&results), 1, "round {round}");
    }
}

async fn a_record_counts_until_its_last_moment<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    let states = [
        claim.state.clone(),
        State::Indeterminate,
        State::Unreplayable,
        State::Completed { answer: answer("a"), kept_at: it.time.now() },
    ];
    let standing: Vec<_> = states.into_iter().map(|state| with(&claim, state)).collect();
    for (number, standing) in standing.iter().enumerate() {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(number), &claim, Some(standing)).await, Ok(Swap::Done));
    }
    it.time.advance(WINDOW);
    assert_eq!(it.time.now(), claim.expires_at);
    it.maintain().await;
    for (number, standing) in standing.iter().enumerate() {
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(standing));
        assert_eq!(it.claim(&key(number), &it.in_flight(2)).await, Ok(lost(standing)));
    }
    it.time.advance(Duration::from_millis(1));
    for number in 0..standing.len() {
        assert_eq!(it.load(&key(number)).await, None);
        assert_eq!(it.swap(&key(number), Expected::Absent, None).await, Ok(Swap::Done));
    }
    it.maintain().await;
    for number in 0..standing.len() {
        assert_eq!(it.load(&key(number)).await, None);
        assert_eq!(it.claim(&key(number), &it.in_flight(2)).await, Ok(Swap::Done));
    }
}

async fn what_runs_counts_beyond_its_window<K: Kind>() {
    let it = K::open(PLENTY).await;
    let lease_until = it.time.now().after(WINDOW * 2);
    let claim = with(&it.in_flight(1), State::InFlight { lease_until });
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    it.time.advance(WINDOW * 2);
    it.maintain().await;
    assert_eq!(it.load(&key(1)).await.as_ref(), Some(&claim));
    assert_eq!(it.claim(&key(1), &it.in_flight(2)).await, Ok(lost(&claim)));
    it.time.advance(Duration::from_millis(1));
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.claim(&key(1), &it.in_flight(2)).await, Ok(Swap::Done));
}

async fn an_expired_mark_is_replaced<K: Kind>() {
    let it = K::open(PLENTY).await;
    let first = it.in_flight(1);
    for (number, state) in
        [first.state.clone(), State::Indeterminate, State::Unreplayable].into_iter().enumerate()
    {
        assert_eq!(it.claim(&key(number), &first).await, Ok(Swap::Done));
        let standing = with(&first, state);
        assert_eq!(it.change(&key(number), &first, Some(&standing)).await, Ok(Swap::Done));
    }
    it.time.advance(WINDOW + Duration::from_millis(1));
    let second = it.in_flight(2);
    for number in 0..3 {
        assert_eq!(it.claim(&key(number), &second).await, Ok(Swap::Done));
        let late = it.completed(&first, answer("late"));
        assert_eq!(it.change(&key(number), &first, Some(&late)).await, Ok(lost(&second)));
        assert_eq!(it.change(&key(number), &first, None).await, Ok(lost(&second)));
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(&second));
    }
    it.maintain().await;
    assert!(!K::COUNTS_MARKS || it.store.usage().records == 3, "{:?}", it.store.usage());
}

async fn an_expired_answer_is_replaced<K: Kind>() {
    let it = K::open(PLENTY).await;
    let first = it.keep(&key(1), 1, "first").await;
    it.time.advance(WINDOW + Duration::from_millis(1));
    let second = it.in_flight(2);
    assert_eq!(it.claim(&key(1), &second).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await.as_ref(), Some(&second));
    assert_eq!(it.change(&key(1), &first, None).await, Ok(lost(&second)));
    let kept = it.completed(&second, answer("second"));
    assert_eq!(it.change(&key(1), &second, Some(&kept)).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await.as_ref(), Some(&kept));
    assert_eq!(it.store.peek(&key(1)), Some(kept));
    assert_eq!(it.evicted(), 0);
}

async fn an_expired_answer_does_not_come_back<K: Kind>() {
    let it = K::open(PLENTY).await;
    it.keep(&key(1), 1, "first").await;
    it.time.advance(WINDOW + Duration::from_millis(1));
    let second = it.in_flight(2);
    assert_eq!(it.claim(&key(1), &second).await, Ok(Swap::Done));
    assert_eq!(it.change(&key(1), &second, None).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.claim(&key(1), &it.in_flight(3)).await, Ok(Swap::Done));
}

async fn an_expired_record_is_replaced_once<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..500 {
        it.keep(&key(round), 1, "first").await;
    }
    it.time.advance(WINDOW + Duration::from_millis(1));
    for round in 0..500 {
        // Whoever claims settles at once, while others are still about to claim.
        let results = at_once(8, |number| {
            let it = it.clone();
            async move {
                let claim = it.in_flight(10 + number as u64);
                let claimed = it.claim(&key(round), &claim).await;
                if claimed == Ok(Swap::Done) {
                    let kept = it.completed(&claim, answer("second"));
                    assert_eq!(it.change(&key(round), &claim, Some(&kept)).await, Ok(Swap::Done));
                }
                claimed
            }
        })
        .await;
        assert_eq!(count_done(&results), 1, "round {round}: {results:?}");
        assert!(it.load(&key(round)).await.is_some());
    }
}

async fn what_is_settled_too_late_does_not_count<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    it.time.advance(WINDOW + Duration::from_millis(1));
    let kept = it.completed(&claim, answer("late"));
    let swapped = it.change(&key(1), &claim, Some(&kept)).await;
    assert!(matches!(swapped, Ok(Swap::Done | Swap::Lost(None))), "{swapped:?}");
    assert_eq!(it.load(&key(1)).await, None);
    assert_eq!(it.claim(&key(1), &it.in_flight(2)).await, Ok(Swap::Done));
}

async fn a_large_record_is_refused_and_can_be_marked<K: Kind>() {
    let it = K::open(Room { bytes: 4096, answer_bytes: 1024, marks: 10 }).await;
    let claim = it.in_flight(1);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    let large = it.completed(&claim, answer(&"x".repeat(5000)));
    assert_eq!(it.change(&key(1), &claim, Some(&large)).await, Err(StoreError::TooLarge));
    assert_eq!(it.load(&key(1)).await.as_ref(), Some(&claim));
    let marked = with(&claim, State::Unreplayable);
    assert_eq!(it.change(&key(1), &claim, Some(&marked)).await, Ok(Swap::Done));
    assert_eq!(it.load(&key(1)).await, Some(marked));
    assert_eq!(it.evicted(), 0);
}

async fn only_kept_answers_are_at_hand<K: Kind>() {
    let it = K::open(PLENTY).await;
    let claim = it.in_flight(1);
    assert_eq!(it.claim(&key(1), &claim).await, Ok(Swap::Done));
    assert_eq!(it.store.peek(&key(1)), None);
    let unknown = with(&claim, State::Indeterminate);
    assert_eq!(it.change(&key(1), &claim, Some(&unknown)).await, Ok(Swap::Done));
    assert_eq!(it.store.peek(&key(1)), None);
    let kept = it.completed(&claim, answer("late"));
    assert_eq!(it.change(&key(1), &claim, Some(&kept)).await, Ok(Swap::Done));
    assert_eq!(it.store.peek(&key(1)), Some(kept));
}

async fn keys_do_not_mix<K: Kind>() {
    let it = K::open(PLENTY).await;
    // Keys that differ in one bit, wherever it is.
    let keys: Vec<_> = (0..256)
        .map(|bit: usize| {
            let mut bytes = [0x5a; 32];
            bytes[bit / 8] ^= 1 << (bit % 8);
            RecordKey::from_bytes(bytes)
        })
        .collect();
    let mut kept = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        kept.push(it.keep(key, number as u64, &number.to_string()).await);
    }
    it.maintain().await;
    for (key, kept) in keys.iter().zip(&kept) {
        assert_eq!(it.load(key).await.as_ref(), Some(kept));
        assert_eq!(it.store.peek(key).as_ref(), Some(kept));
    }
    assert_eq!(it.load(&RecordKey::from_bytes([0x5a; 32])).await, None);
    assert_eq!(it.store.usage().records, 256);
}

/// K7: readers look all the time while the record goes from state to state.
async fn a_reader_never_misses_a_record_that_is_settled<K: Kind>() {
    let it = K::open(PLENTY).await;
    for round in 0..100 {
        let claim = it.in_flight(1);
        assert_eq!(it.claim(&key(round), &claim).await, Ok(Swap::Done));
        let kept = it.completed(&claim, answer("kept"));
        let ended = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let (it, kept, ended) = (it.clone(), kept.clone(), Arc::clone(&ended));
            let looks = Arc::clone(&looks);
            readers.spawn(async move {
                let mut settled = false;
                loop {
                    let last = ended.load(Ordering::SeqCst);
                    let found = it.load(&key(round)).await.expect("a record");
                    looks.fetch_add(1, Ordering::SeqCst);
                    assert!(!settled || found == kept, "it has been settled: {found:?}");
                    settled = found == kept;
                    let open = matches!(found.state, State::InFlight { .. } | State::Indeterminate);
                    assert!(settled || open, "torn: {found:?}");
                    if last {
                        assert!(settled, "{found:?}");
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        let unknown = with(&claim, State::Indeterminate);
        for next in [&claim, &unknown, &kept] {
            let seen = looks.load(Ordering::SeqCst);
            while looks.load(Ordering::SeqCst) < seen + 3 && !readers.is_empty() {
                tokio::task::yield_now().await;
                assert!(readers.try_join_next().is_none(), "a reader has ended early");
            }
            assert_eq!(it.change(&key(round), &claim, Some(next)).await, Ok(Swap::Done));
        }
        ended.store(true, Ordering::SeqCst);
        readers.join_all().await;
    }
}

async fn usage_ends_at_zero_when_all_have_expired<K: Kind>() {
    let it = K::open(PLENTY).await;
    let window = Duration::from_millis(50);
    for number in 0..100 {
        let expires_at = it.time.now().after(window);
        let state = State::InFlight { lease_until: expires_at };
        let claim = Record { expires_at, state, ..it.in_flight(1) };
        match number % 4 {
            0 => assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done)),
            1 => {
                let unknown = with(&claim, State::Indeterminate);
                assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
                let swapped = it.change(&key(number), &claim, Some(&unknown)).await;
                assert_eq!(swapped, Ok(Swap::Done));
            }
            _ => drop(it.keep_as(&key(number), &claim, "kept").await),
        }
    }
    it.until("usage counts all", |it| it.store.usage().records == 100).await;
    assert!(it.store.usage().bytes > 100 * 100, "{:?}", it.store.usage());
    it.time.advance(window + GRACE);
    it.until("nothing is left", |it| it.store.usage() == Usage::default()).await;
    assert_eq!(it.evicted(), 0);
}

async fn usage_counts_what_is_released_and_forgotten<K: Kind>() {
    let it = K::open(PLENTY).await;
    let mut usages = Vec::new();
    for number in 0..10 {
        let kept = it.keep(&key(number), 1, &"x".repeat(number)).await;
        it.maintain().await;
        usages.push(it.store.usage());
        assert_eq!(usages[number].records, number as u64 + 1);
        let before = number.checked_sub(1).map_or(0, |before| usages[before].bytes);
        assert!(usages[number].bytes > before, "{usages:?}");
        if number == 9 {
            assert_eq!(it.change(&key(number), &kept, None).await, Ok(Swap::Done));
        }
    }
    it.maintain().await;
    assert_eq!(it.store.usage(), usages[8]);
    let claim = it.in_flight(2);
    assert_eq!(it.claim(&key(9), &claim).await, Ok(Swap::Done));
    assert_eq!(it.store.usage().records, 10);
    assert_eq!(it.change(&key(9), &claim, None).await, Ok(Swap::Done));
    assert_eq!(it.store.usage(), usages[8]);
}

async fn marks_are_limited<K: Kind>() {
    let it = K::open(Room { marks: 3, ..PLENTY }).await;
    let claim = it.in_flight(1);
    for number in 0..3 {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
    }
    assert_eq!(it.claim(&key(3), &claim).await, Err(StoreError::Full));
    assert_eq!(it.load(&key(3)).await, None);
    // Whoever asks for a key that is there is told so all the same.
    assert_eq!(it.claim(&key(0), &it.in_flight(2)).await, Ok(lost(&claim)));
    assert_eq!(it.change(&key(0), &claim, None).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(3), &claim).await, Ok(Swap::Done));
    let kept = it.completed(&claim, answer("a"));
    assert_eq!(it.change(&key(1), &claim, Some(&kept)).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(4), &claim).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(5), &claim).await, Err(StoreError::Full));
    assert_eq!(it.claim(&key(1), &it.in_flight(2)).await, Ok(lost(&kept)));
}

async fn a_rush_stays_within_the_limit<K: Kind>() {
    for round in 0..50 {
        let it = K::open(Room { marks: 8, ..PLENTY }).await;
        let results = at_once(64, |number| {
            let it = it.clone();
            async move { it.claim(&key(round * 64 + number), &it.in_flight(number as u64)).await }
        })
        .await;
        assert_eq!(count_done(&results), 8, "round {round}: {results:?}");
    }
}

async fn an_expired_mark_makes_room<K: Kind>() {
    let it = K::open(Room { marks: 3, ..PLENTY }).await;
    let claim = it.in_flight(1);
    for number in 0..3 {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
    }
    it.time.advance(WINDOW);
    assert_eq!(it.claim(&key(3), &it.in_flight(2)).await, Err(StoreError::Full));
    it.time.advance(Duration::from_millis(1));
    // A store may put it off until it is maintained, not longer.
    it.maintain().await;
    assert_eq!(it.claim(&key(3), &it.in_flight(2)).await, Ok(Swap::Done));
}

async fn a_full_table_still_settles<K: Kind>() {
    let it = K::open(Room { marks: 4, ..PLENTY }).await;
    let claim = it.in_flight(1);
    for number in 0..4 {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
    }
    assert_eq!(it.claim(&key(4), &claim).await, Err(StoreError::Full));
    let ends = [
        Some(claim.clone()),
        Some(with(&claim, State::Indeterminate)),
        Some(it.completed(&claim, answer("a"))),
        None,
    ];
    for (number, end) in ends.iter().enumerate() {
        assert_eq!(it.change(&key(number), &claim, end.as_ref()).await, Ok(Swap::Done));
        assert_eq!(it.load(&key(number)).await.as_ref(), end.as_ref());
    }
}

async fn marks_survive_a_flood_of_answers<K: Kind>() {
    let it = K::open(Room { bytes: 100_000, answer_bytes: 200, marks: 100 }).await;
    let claim = it.in_flight(1);
    let states = [claim.state.clone(), State::Indeterminate, State::Unreplayable];
    let marks: Vec<_> = states.into_iter().map(|state| with(&claim, state)).collect();
    for (number, mark) in marks.iter().enumerate() {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
        assert_eq!(it.change(&key(number), &claim, Some(mark)).await, Ok(Swap::Done));
    }
    let mut refused = 0;
    for number in 10..1010 {
        let other = it.in_flight(number as u64);
        match it.claim(&key(number), &other).await {
            Ok(Swap::Done) => {
                let kept = it.completed(&other, answer("flood"));
                assert_eq!(it.change(&key(number), &other, Some(&kept)).await, Ok(Swap::Done));
            }
            full => {
                assert_eq!(full, Err(StoreError::Full));
                refused += 1;
            }
        }
    }
    it.maintain().await;
    assert!(it.evicted() + refused > 500, "it was no flood");
    for (number, mark) in marks.iter().enumerate() {
        assert_eq!(it.load(&key(number)).await.as_ref(), Some(mark));
    }
}

/// Room for about so many answers of [`filled`].
fn room_for(answers: u64) -> Room {
    Room { bytes: answers * (RECORD_BYTES + 200), answer_bytes: 200, marks: 100 }
}

/// Keeps answers under these keys; maintained as often as in service, and more.
async fn fill(it: &Opened, numbers: std::ops::Range<usize>) {
    for number in numbers {
        it.keep(&key(number), number as u64, "an answer").await;
        if number % 50 == 0 {
            it.maintain().await;
        }
    }
    it.maintain().await;
}

async fn present(it: &Opened, numbers: std::ops::Range<usize>) -> usize {
    let mut present = 0;
    for number in numbers {
        let found = it.load(&key(number)).await;
        assert!(found.as_ref().is_none_or(|found| found.token == LeaseToken(number as u64)));
        present += usize::from(found.is_some());
    }
    present
}

async fn the_newest_answers_stay<K: Kind>() {
    let it = K::open(room_for(1000)).await;
    fill(&it, 0..2000).await;
    assert!(it.evicted() > 500, "the store is not full: {:?}", it.store.usage());
    fill(&it, 5000..6000).await;
    assert_eq!(present(&it, 5000..6000).await, 1000);
    assert!(it.store.usage().bytes <= room_for(1000).bytes, "{:?}", it.store.usage());
}

async fn every_broken_promise_is_counted_once<K: Kind>() {
    let it = K::open(room_for(300)).await;
    fill(&it, 0..1500).await;
    let gone = 1500 - present(&it, 0..1500).await;
    assert!(gone > 500);
    assert_eq!(it.evicted(), gone as u64);
    it.maintain().await;
    assert_eq!(it.evicted(), gone as u64);
    assert_eq!(it.store.usage().records, 1500 - gone as u64);
}

async fn an_answer_in_use_stays<K: Kind>() {
    let it = K::open(room_for(300)).await;
    fill(&it, 0..10).await;
    for batch in 1..40 {
        // Both ways of reading count as use.
        for number in 0..5 {
            assert!(it.load(&key(number)).await.is_some(), "batch {batch}");
            assert!(it.store.peek(&key(5 + number)).is_some(), "batch {batch}");
        }
        fill(&it, batch * 100..batch * 100 + 50).await;
    }
    assert!(it.evicted() > 500);
    assert_eq!(present(&it, 0..10).await, 10);
}

async fn expired_answers_are_no_broken_promises<K: Kind>() {
    let it = K::open(room_for(300)).await;
    fill(&it, 0..100).await;
    it.time.advance(WINDOW + Duration::from_millis(1));
    fill(&it, 1000..1300).await;
    let gone = 300 - present(&it, 1000..1300).await;
    assert_eq!(present(&it, 0..100).await, 0);
    assert_eq!(it.evicted(), gone as u64);
}

async fn forgotten_answers_are_no_broken_promises<K: Kind>() {
    let it = K::open(room_for(300)).await;
    fill(&it, 0..100).await;
    for number in 0..100 {
        let held = it.load(&key(number)).await.unwrap();
        assert_eq!(it.change(&key(number), &held, None).await, Ok(Swap::Done));
    }
    it.maintain().await;
    assert_eq!(it.store.usage(), Usage::default());
    assert_eq!(it.evicted(), 0);
}

async fn no_answer_is_ever_evicted<K: Kind>() {
    let it = K::open(room_for(300)).await;
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..1000 {
        let claim = it.in_flight(number as u64);
        match it.claim(&key(number), &claim).await {
            Ok(Swap::Done) => {
                let record = it.completed(&claim, answer("an answer"));
                assert_eq!(it.change(&key(number), &claim, Some(&record)).await, Ok(Swap::Done));
                kept.push((number, record));
            }
            full => {
                assert_eq!(full, Err(StoreError::Full));
                refused += 1;
            }
        }
    }
    it.maintain().await;
    assert!(kept.len() >= 250 && refused >= 250, "{} kept, {refused} refused", kept.len());
    assert!(it.store.usage().bytes <= room_for(300).bytes);
    for (number, record) in &kept {
        assert_eq!(it.load(&key(*number)).await.as_ref(), Some(record));
        assert_eq!(it.store.peek(&key(*number)).as_ref(), Some(record));
    }
    assert_eq!(it.evicted(), 0);
}

async fn room_is_set_aside_for_what_runs<K: Kind>() {
    let it = K::open(room_for(10)).await;
    let claim = it.in_flight(1);
    for number in 0..10 {
        assert_eq!(it.claim(&key(number), &claim).await, Ok(Swap::Done));
    }
    assert_eq!(it.claim(&key(10), &claim).await, Err(StoreError::Full));
    // Each can keep as large an answer as there may be.
    for number in 0..9 {
        let kept = it.completed(&claim, answer(&"x".repeat(100)));
        assert_eq!(it.change(&key(number), &claim, Some(&kept)).await, Ok(Swap::Done));
    }
    assert_eq!(it.change(&key(9), &claim, None).await, Ok(Swap::Done));
    assert_eq!(it.claim(&key(10), &claim).await, Ok(Swap::Done));
    assert_eq!(it.evicted(), 0);
}

async fn a_rush_stays_within_the_room<K: Kind>() {
    for round in 0..50 {
        let it = K::open(room_for(10)).await;
        let results = at_once(64, |number| {
            let it = it.clone();
            async move { it.claim(&key(round * 64 + number), &it.in_flight(number as u64)).await }
        })
        .await;
        assert_eq!(count_done(&results), 10, "round {round}: {results:?}");
    }
}

async fn room_comes_back_when_answers_expire<K: Kind>() {
    let it = K::open(room_for(10)).await;
    let window = Duration::from_millis(50);
    let mut number = 0;
    loop {
        let claim = Record { expires_at: it.time.now().after(window), ..it.in_flight(1) };
        if it.claim(&key(number), &claim).await == Err(StoreError::Full) {
            break;
        }
        let kept = it.completed(&claim, answer("an answer"));
        assert_eq!(it.change(&key(number), &claim, Some(&kept)).await, Ok(Swap::Done));
        number += 1;
        assert!(number < 100, "the store is never full: {:?}", it.store.usage());
    }
    assert!(number >= 10, "{number}");
    it.time.advance(window + Duration::from_millis(1));
    it.until("the store is empty", |it| it.store.usage() == Usage::default()).await;
    assert_eq!(it.claim(&key(number), &it.in_flight(2)).await, Ok(Swap::Done));
    assert_eq!(it.evicted(), 0);
}
