//! The operations of the store, each a script on the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;
use tokio::task::{JoinError, JoinSet};

use super::abandoned::Claiming;
use super::calls::{Reached, Waits};
use super::checks;
use super::core::Core;
use super::names::Names;
use super::options::RedisTime;
use super::scripts::{CHANGE, CLAIM, LOAD, RENEW, Run};
use super::trouble::CallError;
use super::value::{self, Moment, Written};
use crate::clock::Timestamp;
use crate::idempotency::{LeaseToken, Record, RecordKey, State};
use crate::store::{Expected, StoreError, Swap};

/// How long it is remembered on the server that somebody waits, in milliseconds.
const FLAG_MILLIS: &str = "60000";

/// Removes what is expected.
const REMOVE: &[u8] = b"";

/// Removes what is expected, if it has not ended.
const RELEASE: &[u8] = b"R";

/// How many claims are renewed by one call to a single server.
const RENEWED_BY_CALL: usize = 256;

/// How many claims of a cluster are renewed at a time.
const RENEWED_AT_ONCE: usize = 512;

/// What a script answers.
struct Reply {
    at: Moment,
    done: bool,
    value: Option<bytes::Bytes>,
}

pub(super) async fn load(core: &Core, key: &RecordKey) -> Result<Option<Record>, StoreError> {
    let asked = core.front.asked();
    let name = core.names.record(key);
    let flag = Names::flag(&name);
    let run = Run::new(&LOAD, &[&name, &flag]).argument(core.given_time()).argument(FLAG_MILLIS);
    let value = core.calls.run(first_byte(key), &run).await?;
    let reply = Reply::read(core, value)?;
    let record = reply.record(core, key)?;
    core.front.note(key, record.as_ref(), asked).await;
    Ok(record)
}

pub(super) async fn swap(
    core: &Core,
    key: &RecordKey,
    expected: Expected,
    next: Option<Record>,
) -> Result<Swap, StoreError> {
    for token in tokens(expected, next.as_ref()) {
        if !core.abandoned.recall(key, token) {
            return Err(StoreError::Unavailable("the claim is being given back".into()));
        }
    }
    let written = next.as_ref().map(|next| write(core, key, next)).transpose()?;
    let run = script(core, key, expected, &Next::from(written.as_ref()));
    let asked = core.front.asked();
    let reply = match claims(expected, next.as_ref()) {
        Some(token) => claim(core, key, token, &run).await?,
        None => Reply::read(core, core.calls.run(first_byte(key), &run).await?)?,
    };
    if reply.done {
        core.front.note(key, next.as_ref(), asked).await;
        return Ok(Swap::Done);
    }
    let standing = reply.record(core, key)?;
    core.front.note(key, standing.as_ref(), asked).await;
    // An end that is written again has lost its reply, not its way.
    let is_written = match (&next, &standing) {
        (Some(next), Some(standing)) => is_same_end(next, standing),
        _ => false,
    };
    Ok(if is_written { Swap::Done } else { Swap::Lost(standing) })
}

/// Gives a claim back, unless it has led to an end: behind the claim, which may still be on its
/// way.
pub(super) async fn give_back(
    core: &Core,
    key: &RecordKey,
    token: LeaseToken,
    waits: Waits,
) -> Result<(), CallError> {
    core.calls.run_behind(first_byte(key), &release(core, key, token), waits).await
}

fn release(core: &Core, key: &RecordKey, token: LeaseToken) -> Run {
    script(core, key, Expected::HeldBy(token), &Next::Nothing(RELEASE))
}

/// Renews claims; where some can't be, the others are all the same.
pub(super) async fn renew(
    core: &Arc<Core>,
    claims: &[(RecordKey, LeaseToken)],
) -> Result<(), StoreError> {
    let held = claims.iter().filter(|(key, token)| core.abandoned.recall(key, *token));
    let held: Vec<_> = held.copied().collect();
    if core.options.url.topology.is_cluster() {
        return renew_apart(core, held).await;
    }
    let mut result = Ok(());
    for claims in held.chunks(RENEWED_BY_CALL) {
        result = renew_together(core, claims).await.and(result);
    }
    result
}

/// Renews claims by a call for each, since each goes to one node: one that is slow must not hold up
/// those of the others.
async fn renew_apart(
    core: &Arc<Core>,
    claims: Vec<(RecordKey, LeaseToken)>,
) -> Result<(), StoreError> {
    // Requests need places, too.
    let at_once = (core.options.calls_max / 4).clamp(1, RENEWED_AT_ONCE);
    let failed = |error: JoinError| StoreError::Unavailable(error.to_string());
    let (mut calls, mut result) = (JoinSet::new(), Ok(()));
    for claim in claims {
        if calls.len() >= at_once
            && let Some(renewed) = calls.join_next().await
        {
            result = renewed.map_err(failed).flatten().and(result);
        }
        let core = Arc::clone(core);
        calls.spawn(async move { renew_together(&core, &[claim]).await });
    }
    while let Some(renewed) = calls.join_next().await {
        result = renewed.map_err(failed).flatten().and(result);
    }
    result
}

async fn renew_together(core: &Core, claims: &[(RecordKey, LeaseToken)]) -> Result<(), StoreError> {
    let names: Vec<_> = claims.iter().map(|(key, _)| core.names.record(key)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let lease = core.options.lease.as_millis().to_string();
    let mut run = Run::new(&RENEW, &names).argument(core.given_time()).argument(lease);
    for (_, token) in claims {
        run = run.argument(token.0.to_be_bytes());
    }
    let byte = claims.first().map_or(0, |(key, _)| first_byte(key));
    core.calls.run(byte, &run).await?;
    Ok(())
}

/// Looks whether the data is still what it was. All connections that are shared have their turn:
/// a server may close one that is idle, and most of what is asked goes by those of workers.
pub(super) async fn check_epoch(core: &Core) {
    let turn = core.turns.fetch_add(1, Ordering::Relaxed);
    let (byte, waits) = match core.options.url.replicas {
        Some(_) if turn % 2 == 1 => (turn / 2, Waits::ForClaims),
        Some(_) => (turn / 2, Waits::Not),
        None => (turn, Waits::Not),
    };
    let known = core.mark();
    if let Ok(run) = checks::epoch(&core.names, &core.given_time(), known.as_ref())
        && let Ok((shown, _)) = core.calls.run_and_wait(byte, &run, waits).await
    {
        core.note_mark(known.as_ref(), shown);
    }
}

/// Claims a key; a claim of which nobody hears how it ended is given back later.
async fn claim(
    core: &Core,
    key: &RecordKey,
    token: LeaseToken,
    run: &Run,
) -> Result<Reply, StoreError> {
    let claiming = Claiming::new(&core.abandoned, key, token);
    let replicas = core.options.url.replicas;
    let waits = replicas.map_or(Waits::Not, Waits::ForReplicas);
    let (value, reached) = match core.calls.run_and_wait(first_byte(key), run, waits).await {
        Err(error @ (CallError::Refused(_) | CallError::Full)) => {
            claiming.ended();
            return Err(error.into());
        }
        Err(error @ CallError::Lost(_)) => return Err(error.into()),
        Ok(answer) => answer,
    };
    let reply = Reply::read(core, value)?;
    if let (true, Some(wanted), Reached::Replicas(reached)) = (reply.done, replicas, reached)
        && reached < wanted.count
    {
        // The claim has come, so that any connection is behind it.
        if core.calls.run(first_byte(key), &release(core, key, token)).await.is_ok() {
            claiming.ended();
        }
        let reason = format!("{reached} of {} replicas have taken the claim", wanted.count);
        return Err(StoreError::Unavailable(reason));
    }
    claiming.ended();
    Ok(reply)
}

/// What a record becomes.
enum Next<'a> {
    /// Nothing.
    Nothing(&'static [u8]),
    Record(&'a Written),
}

impl<'a> From<Option<&'a Written>> for Next<'a> {
    fn from(written: Option<&'a Written>) -> Self {
        written.map_or(Self::Nothing(REMOVE), Self::Record)
    }
}

fn script(core: &Core, key: &RecordKey, expected: Expected, next: &Next<'_>) -> Run {
    let name = core.names.record(key);
    let flag = Names::flag(&name);
    let script = match expected {
        Expected::Absent => &CLAIM,
        Expected::HeldBy(_) => &CHANGE,
    };
    let run = Run::new(script, &[&name, &flag])
        .argument(core.given_time())
        .argument(FLAG_MILLIS)
        .argument(&core.names.channel)
        .argument(key.as_bytes());
    let run = match expected {
        Expected::Absent => run.argument(""),
        Expected::HeldBy(token) => run.argument(token.0.to_be_bytes()),
    };
    match next {
        Next::Nothing(word) => run.argument(word),
        Next::Record(written) => run
            .argument([written.kind])
            .argument([written.form])
            .argument(written.token)
            .argument(written.expires_in.to_string())
            .argument(written.time_in.to_string())
            .argument(&written.body),
    }
}

fn write(core: &Core, key: &RecordKey, record: &Record) -> Result<Written, StoreError> {
    let keys = core.options.seal_keys.as_deref();
    let written = value::write(key, record, keys, core.clock.now());
    let written = written.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    match written.body.len() > core.options.record_bytes_max {
        true => Err(StoreError::TooLarge),
        false => Ok(written),
    }
}

impl Reply {
    fn read(core: &Core, value: Value) -> Result<Self, StoreError> {
        let odd = || StoreError::Unavailable("the server has given an odd answer".into());
        let Value::Array(parts) = value else { return Err(odd()) };
        let (at, done, value) = match <[Value; 3]>::try_from(parts) {
            Ok([Value::Int(at), Value::Int(done), value]) => (at, done == 1, value),
            Ok(_) => return Err(odd()),
            Err(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([Value::Int(at), value]) => (at, false, value),
                Ok(_) | Err(_) => return Err(odd()),
            },
        };
        let value = if let Value::BulkString(value) = value {
            Some(value.into())
        } else if value == Value::Nil {
            None
        } else {
            return Err(odd());
        };
        let theirs = u64::try_from(at).map_err(|_| odd())?;
        // In time of our own, both are the same even when it has moved meanwhile.
        let ours = match core.options.time {
            RedisTime::Server => core.clock.now(),
            RedisTime::Own => Timestamp::from_millis(theirs),
        };
        Ok(Self { at: Moment { theirs, ours }, done, value })
    }

    /// The record that was found.
    fn record(&self, core: &Core, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let Some(value) = &self.value else { return Ok(None) };
        match value::read(key, value, core.options.seal_keys.as_deref(), self.at) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                core.metrics.corrupt_records.increment();
                tracing::warn!(?key, %error, "a record on the server can't be read");
                Err(StoreError::Corrupt(error.to_string()))
            }
        }
    }
}

/// The tokens that a swap shows or writes.
fn tokens(expected: Expected, next: Option<&Record>) -> impl Iterator<Item = LeaseToken> {
    let shown = match expected {
        Expected::HeldBy(token) => Some(token),
        Expected::Absent => None,
    };
    // What is removed may as well be given back.
    let written = next.map(|next| next.token);
    shown.filter(|_| next.is_some()).into_iter().chain(written)
}

/// The token that claims the key, if it was not held with it before.
fn claims(expected: Expected, next: Option<&Record>) -> Option<LeaseToken> {
    let next = next.filter(|next| matches!(next.state, State::InFlight { .. }))?;
    (expected != Expected::HeldBy(next.token)).then_some(next.token)
}

/// Whether both say the same end of the same claim.
fn is_same_end(next: &Record, standing: &Record) -> bool {
    let is_same = match (&next.state, &standing.state) {
        (State::Completed { answer: next, .. }, State::Completed { answer, .. }) => next == answer,
        (State::Unreplayable, State::Unreplayable) => true,
        _ => false,
    };
    is_same && next.token == standing.token && next.fingerprint == standing.fingerprint
}

fn first_byte(key: &RecordKey) -> u8 {
    let [first, ..] = *key.as_bytes();
    first
}
