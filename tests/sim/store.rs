//! One store behind links that are slow, fail, lose replies and break.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncegate::clock::Timestamp;
use oncegate::idempotency::{LeaseToken, OnUnknown, Record, RecordKey, State, encode};
use oncegate::store::{Expected, Listed, Page, Store, StoreError, StoreFuture, Swap, Usage};
use oncegate::telemetry::StoreOperation;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::plan::{RECORD_BYTES_MAX, STORE_TIMEOUT, When};
use crate::rng::Rng;
use crate::world::{Claim, Facts, Failure, Report, Version, World};

/// The way of one engine to the store.
pub(crate) struct Link {
    pub(crate) id: usize,
    pub(crate) place: usize,
    pub(crate) world: Arc<World>,
    /// The process that the engine runs in has died. Whatever it was doing never goes on: no call
    /// of the store returns, no work is polled, no caller hears of it.
    pub(crate) dead: CancellationToken,
    pub(crate) death: Option<When>,
    /// How many calls there were, for each key and in all.
    calls: Mutex<(BTreeMap<RecordKey, u64>, u64)>,
}

/// What becomes of one call.
struct Fate {
    before: Duration,
    after: Duration,
    fault: Option<Fault>,
    /// Whether it happens although the engine has stopped waiting for it.
    happens_if_dropped: bool,
    knows: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Fault {
    FailsBefore,
    FailsAfter,
    LosesReply,
    DiesBefore,
    DiesAfter,
}

impl Link {
    pub(crate) fn new(id: usize, place: usize, world: &Arc<World>, death: Option<When>) -> Self {
        let world = Arc::clone(world);
        Self { id, place, world, dead: CancellationToken::new(), death, calls: Mutex::default() }
    }

    /// Does something unless the process dies meanwhile.
    pub(crate) async fn alive<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            () = self.dead.cancelled() => {}
            output = future => return output,
        }
        pending().await
    }

    fn fate(&self, key: &RecordKey) -> Fate {
        let plan = &self.world.plan;
        let (on_key, in_all) = {
            let mut calls = self.calls.lock().expect("nobody panics here");
            calls.1 += 1;
            let in_all = calls.1;
            let on_key = calls.0.entry(*key).or_default();
            *on_key += 1;
            (*on_key, in_all)
        };
        let number = plan.number(key) as u64;
        let mut rng = Rng::of(&[plan.seed, self.id as u64, number, on_key]);
        let calm = self.world.facts().calm;
        let max = u64::try_from(plan.weather.latency_max.as_millis()).expect("a short time");
        let [before, after, lost] = plan.weather.faults;
        let chance = rng.between(1, 100);
        let fault = match self.death {
            _ if calm => None,
            Some(When::BeforeEffect(count)) if count == in_all => Some(Fault::DiesBefore),
            Some(When::AfterEffect(count)) if count == in_all => Some(Fault::DiesAfter),
            _ if self.is_cut_off() => Some(Fault::FailsBefore),
            _ if chance <= before => Some(Fault::FailsBefore),
            _ if chance <= before + after => Some(Fault::FailsAfter),
            _ if chance <= before + after + lost => Some(Fault::LosesReply),
            _ => None,
        };
        Fate {
            before: if rng.percent(50) { rng.millis(0, max) } else { Duration::ZERO },
            after: if rng.percent(50) { rng.millis(0, max) } else { Duration::ZERO },
            fault,
            happens_if_dropped: rng.percent(50),
            knows: rng.percent(70),
        }
    }

    fn is_cut_off(&self) -> bool {
        let now = self.world.started().elapsed();
        let outage = self.world.plan.weather.outage;
        outage.is_some_and(|(place, from, to)| place == self.place && from <= now && now < to)
    }

    async fn call<T>(
        &self,
        key: &RecordKey,
        operation: StoreOperation,
        effect: impl FnOnce(&mut Facts) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let fate = self.fate(key);
        let happens_if_dropped = fate.happens_if_dropped;
        let mut effect = Effect { world: &self.world, happens_if_dropped, run: Some(effect) };
        pause(fate.before).await;
        if fate.fault == Some(Fault::DiesBefore) {
            self.die("before an effect").await;
        }
        if fate.fault == Some(Fault::FailsBefore) {
            effect.run = None;
            return Err(self.fails(key, operation, "has not been asked"));
        }
        let result = effect.happen();
        match fate.fault {
            Some(Fault::LosesReply) => pause(STORE_TIMEOUT).await,
            _ => pause(fate.after).await,
        }
        if fate.fault == Some(Fault::DiesAfter) {
            self.die("after an effect").await;
        }
        match fate.fault {
            Some(Fault::FailsAfter | Fault::LosesReply) => {
                Err(self.fails(key, operation, "has not answered"))
            }
            _ => result,
        }
    }

    fn fails(&self, key: &RecordKey, operation: StoreOperation, why: &str) -> StoreError {
        let mut facts = self.world.facts();
        let (link, key, at) = (self.id, self.world.plan.number(key), facts.now);
        facts.log(|| format!("store {} of key {key} by engine {link}: {why}", name(operation)));
        facts.tally.count("store failures");
        facts.failures.push(Failure { link, key, at, operation });
        StoreError::Unavailable(why.into())
    }

    /// Ends the process that the engine runs in, unless the time of faults is over.
    pub(crate) async fn die(&self, when: &str) {
        {
            let mut facts = self.world.facts();
            if facts.calm {
                return;
            }
            facts.log(|| format!("engine {} dies {when}", self.id));
            facts.tally.count("deaths");
            facts.dead.insert(self.id);
        }
        self.dead.cancel();
        pending::<()>().await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.id)
    }
}

fn name(operation: StoreOperation) -> &'static str {
    match operation {
        StoreOperation::Load => "load",
        StoreOperation::Swap => "swap",
        StoreOperation::Renew => "renewal",
        StoreOperation::List => "list",
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Something that happens in the store, perhaps although nobody waits for it any more.
struct Effect<'a, T, F: FnOnce(&mut Facts) -> T> {
    world: &'a World,
    happens_if_dropped: bool,
    run: Option<F>,
}

impl<T, F: FnOnce(&mut Facts) -> T> Effect<'_, T, F> {
    fn happen(&mut self) -> T {
        let run = self.run.take().expect("it happens once");
        run(&mut self.world.facts())
    }
}

impl<T, F: FnOnce(&mut Facts) -> T> Drop for Effect<'_, T, F> {
    fn drop(&mut self) {
        if self.run.is_some() && self.happens_if_dropped && !self.world.facts().over {
            self.happen();
        }
    }
}

impl Store for Link {
    fn peek(&self, key: &RecordKey) -> Option<Record> {
        if self.dead.is_cancelled() || !self.fate(key).knows {
            return None;
        }
        let facts = self.world.facts();
        // As it may, it does not look at the time.
        let record = facts.records.get(key);
        record.filter(|record| matches!(record.state, State::Completed { .. })).cloned()
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listed> {
        Box::pin(async move {
            let _ = page;
            Ok(Listed::default())
        })
    }

    fn load<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        let effect = |facts: &mut Facts| Ok(facts.record(key).cloned());
        Box::pin(self.alive(self.call(key, StoreOperation::Load, effect)))
    }

    fn swap<'a>(
        &'a self,
        key: &'a RecordKey,
        expected: Expected,
        next: Option<Record>,
    ) -> StoreFuture<'a, Swap> {
        Box::pin(self.alive(async move {
            let token = next.as_ref().map(|next| next.token);
            let effect = |facts: &mut Facts| swap(facts, self.id, key, expected, next);
            let swapped = self.call(key, StoreOperation::Swap, effect).await;
            let mut facts = self.world.facts();
            if let Some(claim) = token.and_then(|token| facts.claim_of(token)) {
                match swapped {
                    Ok(Swap::Done) => facts.claims[claim].acknowledged = true,
                    Err(_) if !facts.claims[claim].acknowledged => {
                        facts.tally.count("claims of an unknown fate");
                    }
                    _ => {}
                }
            }
            drop(facts);
            swapped
        }))
    }

    fn lease(&self) -> Option<Duration> {
        Some(self.world.plan.lease)
    }

    fn renew<'a>(&'a self, claims: &'a [(RecordKey, LeaseToken)]) -> StoreFuture<'a, ()> {
        Box::pin(self.alive(async move {
            let mut renewed = Ok(());
            for (key, token) in claims {
                let effect = |facts: &mut Facts| {
                    let lease_until = facts.now.after(self.world.plan.lease);
                    renew(facts, self.id, key, *token, lease_until);
                    Ok(())
                };
                renewed = renewed.and(self.call(key, StoreOperation::Renew, effect).await);
            }
            renewed
        }))
    }

    fn maintain(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Renews a claim that is held.
fn renew(facts: &mut Facts, link: usize, key: &RecordKey, token: LeaseToken, until: Timestamp) {
    let Some(found) = facts.record(key).cloned() else { return };
    if found.token == token && matches!(found.state, State::InFlight { .. }) {
        let next = Record { state: State::InFlight { lease_until: until }, ..found };
        let _ = swap(facts, link, key, Expected::HeldBy(token), Some(next));
    }
}

/// The one operation of the store, as atomic as it gets.
fn swap(
    facts: &mut Facts,
    link: usize,
    key: &RecordKey,
    expected: Expected,
    next: Option<Record>,
) -> Result<Swap, StoreError> {
    let number = facts.plan.number(key);
    let found = facts.record(key).cloned();
    let as_expected = match expected {
        Expected::Absent => found.is_none(),
        // What has ended is never replaced, only removed.
        Expected::HeldBy(token) => found.as_ref().is_some_and(|found| {
            found.token == token && (next.is_none() || !has_ended(&found.state))
        }),
    };
    if !as_expected {
        facts.log(|| format!("engine {link} loses key {number} to {}", shown(found.as_ref())));
        return Ok(Swap::Lost(found));
    }
    if next.as_ref().is_some_and(|next| encode(next).len() > RECORD_BYTES_MAX) {
        return Err(StoreError::TooLarge);
    }
    let counting = facts.records.values().filter(|record| !record.is_expired(facts.now)).count();
    if found.is_none() && next.is_some() && counting >= facts.plan.limits.records_max {
        return Err(StoreError::Full);
    }
    facts.log(|| {
        let (before, after) = (shown(found.as_ref()), shown(next.as_ref()));
        format!("engine {link} makes key {number} {after}, was {before}")
    });
    judge(facts, link, number, found.as_ref(), next.as_ref());
    facts.history[number].push(Version { since: facts.now, record: next.clone() });
    match next {
        Some(next) => facts.records.insert(*key, next),
        None => facts.records.remove(key),
    };
    Ok(Swap::Done)
}

fn shown(record: Option<&Record>) -> String {
    let Some(record) = record else { return "absent".into() };
    let state = match &record.state {
        State::InFlight { lease_until } => format!("in flight until {}", lease_until.as_millis()),
        State::Completed { .. } => "completed".into(),
        State::Unreplayable => "unreplayable".into(),
        State::Indeterminate => "indeterminate".into(),
    };
    format!("{state} (token {:04x})", record.token.0 >> 48)
}

/// Judges a change of a record that counts, if there is one.
fn judge(
    facts: &mut Facts,
    link: usize,
    key: usize,
    found: Option<&Record>,
    next: Option<&Record>,
) {
    match (found, next) {
        (None, Some(next)) => claims(facts, link, key, next),
        (Some(found), Some(next)) if found.token == next.token => settles(facts, found, next),
        (Some(found), Some(next)) => {
            takes_over(facts, key, found);
            claims(facts, link, key, next);
        }
        (Some(found), None) => removes(facts, key, found),
        (None, None) => {}
    }
}

fn claims(facts: &mut Facts, link: usize, key: usize, next: &Record) {
    if !matches!(next.state, State::InFlight { .. }) {
        facts.violation(format!("key {key} was claimed by a record that has ended"));
    }
    if facts.claim_of(next.token).is_some() {
        facts.violation(format!("a token was used for two claims of key {key}"));
    }
    facts.claims.push(Claim {
        link,
        key,
        token: next.token,
        at: facts.now,
        expires_at: next.expires_at,
        acknowledged: false,
        execution: None,
        completed_at: None,
        lapsed: false,
    });
}

fn settles(facts: &mut Facts, found: &Record, next: &Record) {
    let Some(claim) = facts.claim_of(found.token) else { return };
    let key = facts.claims[claim].key;
    if (found.fingerprint, found.expires_at) != (next.fingerprint, next.expires_at) {
        facts.violation(format!("the fingerprint or the window of key {key} was changed"));
    }
    if has_lapsed(found, facts.now) {
        facts.claims[claim].lapsed = true;
    }
    match (&found.state, &next.state) {
        (State::Completed { .. }, _) if found != next => {
            facts.violation(format!("the kept answer of key {key} was replaced"));
        }
        (State::Unreplayable | State::Indeterminate, State::InFlight { .. }) => {
            facts.violation(format!("key {key} had ended, and is in flight again"));
        }
        (_, State::Completed { answer, .. }) => {
            let kept = facts.execution_of(found.token).is_some_and(|execution| {
                let reported = execution.report.map(|(_, report)| report);
                reported == Some(Report::Keep) && execution.answer == *answer
            });
            if !kept {
                facts.violation(format!("key {key} keeps an answer that its work has not given"));
            }
            facts.claims[claim].completed_at = Some(facts.now);
        }
        _ => {}
    }
}

/// Another engine may take a key only where unknown outcomes free it, and only from a holder of
/// whom nothing was heard, or whose outcome is unknown.
fn takes_over(facts: &mut Facts, key: usize, found: &Record) {
    facts.tally.count("take-overs");
    let was_unknown = facts.claim_of(found.token).is_some_and(|claim| facts.claims[claim].lapsed);
    match (facts.plan.terms(key).on_unknown, &found.state) {
        (OnUnknown::Hold, _) => {
            facts.violation(format!("key {key} was taken over, though unknown outcomes hold it"));
        }
        (OnUnknown::Release, State::Indeterminate) => {}
        (OnUnknown::Release, State::InFlight { .. })
            if was_unknown || has_lapsed(found, facts.now) => {}
        (OnUnknown::Release, _) => {
            let state = shown(Some(found));
            facts.violation(format!("key {key} was taken over while it was {state}"));
        }
    }
}

/// A key is given back only when nothing was sent, or the answer says so, or the outcome is
/// unknown and that frees it.
fn removes(facts: &mut Facts, key: usize, found: &Record) {
    if let State::Completed { .. } = found.state {
        return facts.violation(format!("the kept answer of key {key} was removed"));
    }
    let Some(execution) = facts.execution_of(found.token) else { return };
    let timed_out = facts.now >= facts.deadline(execution);
    let may = match execution.report {
        Some((_, Report::Discard | Report::NotSent)) => true,
        Some((_, Report::Hold | Report::Unknown | Report::Panic)) => releases(facts, key),
        None => timed_out && releases(facts, key),
        Some((_, Report::Keep | Report::Streaming)) => timed_out && releases(facts, key),
    };
    if !may {
        let report = execution.report.map(|(_, report)| report);
        facts.violation(format!("key {key} was given back after its work ended with {report:?}"));
    }
}

fn releases(facts: &Facts, key: usize) -> bool {
    match facts.plan.terms(key).on_unknown {
        OnUnknown::Hold => false,
        OnUnknown::Release => true,
    }
}

fn has_ended(state: &State) -> bool {
    matches!(state, State::Completed { .. } | State::Unreplayable)
}

pub(crate) fn has_lapsed(record: &Record, now: Timestamp) -> bool {
    matches!(record.state, State::InFlight { lease_until } if lease_until < now)
}
