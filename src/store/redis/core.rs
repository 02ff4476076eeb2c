//! What calls, the supervisor and what the server says unasked have in common.

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::abandoned::Abandoned;
use super::aside::Aside;
use super::calls::Calls;
use super::checks::{self, Mark};
use super::front::Front;
use super::names::Names;
use super::options::{RedisOptions, RedisTime};
use super::own::WORKERS_MAX;
use super::waiters::Waiters;
use crate::clock::Clock;
use crate::idempotency::RecordKey;
use crate::telemetry::Metrics;

/// The first byte of what is published when a record was removed that others may have at hand.
const FORGOTTEN: u8 = b'f';

/// What the parts of the store have in common.
pub(super) struct Core {
    pub(super) options: RedisOptions,
    pub(super) names: Names,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) calls: Calls,
    pub(super) aside: Aside,
    pub(super) front: Front,
    pub(super) waiters: Waiters,
    pub(super) abandoned: Abandoned,
    /// The workers, by their runtimes.
    pub(super) workers: watch::Sender<Vec<Handle>>,
    /// How often the data was looked after.
    pub(super) turns: AtomicU8,
    seen: Mutex<Seen>,
}

/// What was seen of the server.
#[derive(Debug, Default)]
struct Seen {
    mark: Option<Mark>,
    /// What its process is called.
    process: Option<String>,
}

/// Whether the data is what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Data {
    Known,
    Reset,
}

impl Core {
    pub(super) fn new(options: RedisOptions, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            names: Names::new(&options.namespace),
            calls: Calls::new(&options),
            aside: Aside::new(&options),
            front: Front::new(options.front_bytes_max, clock.clone(), Arc::clone(&metrics)),
            waiters: Waiters::default(),
            abandoned: Abandoned::default(),
            workers: watch::Sender::default(),
            turns: AtomicU8::default(),
            seen: Mutex::default(),
            options,
            clock,
            metrics,
        }
    }

    /// Takes a worker, which gets connections of its own.
    pub(super) fn attach(&self, worker: &Handle) {
        self.workers.send_if_modified(|workers| {
            let is_known = workers.iter().any(|known| known.id() == worker.id());
            let is_taken = !is_known && workers.len() < WORKERS_MAX;
            if is_taken {
                workers.push(worker.clone());
            }
            is_taken
        });
    }

    /// What scripts are given as the time: nothing, so that they take the server's.
    pub(super) fn given_time(&self) -> String {
        match self.options.time {
            RedisTime::Server => String::new(),
            RedisTime::Own => self.clock.now().as_millis().to_string(),
        }
    }

    /// The mark of the data, once it is known.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.seen().mark.clone()
    }

    /// Takes the mark of the data, and warns if it is another than the one that was known when it
    /// was asked for.
    pub(super) fn note_mark(&self, known: Option<&Mark>, shown: Value) -> Data {
        let Some((theirs, shown)) = checks::read_epoch(shown) else { return Data::Known };
        let mut seen = self.seen();
        let name = |mark: &Mark| mark.name.clone();
        // Whoever has asked meanwhile has told of it.
        if seen.mark.as_ref().map(name) != known.map(name) {
            return Data::Known;
        }
        let Some(mark) = &mut seen.mark else {
            checks::compare_clocks(theirs, self.clock.now());
            seen.mark = Some(shown);
            return Data::Known;
        };
        if mark.name == shown.name {
            mark.count = mark.count.max(shown.count);
            return Data::Known;
        }
        *mark = shown;
        self.metrics.store_resets.increment();
        tracing::warn!(
            server = %self.options.url,
            "the Redis server has lost records: what ran before may run again"
        );
        Data::Reset
    }

    /// Takes what the server's process is called, and warns if it is another than before. What it
    /// had not written then, or its replica had not got, is too little to be seen by the mark.
    pub(super) fn note_process(&self, process: Option<String>) {
        let Some(process) = process else { return };
        let mut seen = self.seen();
        if seen.process.as_ref().is_some_and(|before| *before != process) {
            tracing::warn!(
                server = %self.options.url,
                "the Redis server was started again, or another has its place: what it had taken \
                 just before may be lost"
            );
        }
        seen.process = Some(process);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the server says unasked.
    pub(super) fn hear(self: &Arc<Self>, session: u64, push: &PushInfo) {
        if let (PushKind::Message, [_, Value::BulkString(told)]) = (&push.kind, &push.data[..]) {
            self.hear_of_record(told);
        }
        match (&push.kind, self.options.url.topology.is_cluster()) {
            // The cluster's client connects and subscribes again by itself. What was told meanwhile
            // is lost, until it listens again.
            (PushKind::Disconnection | PushKind::Subscribe, true) => {
                self.front.clear();
                self.waiters.wake_all();
            }
            (PushKind::Disconnection, false) => {
                self.calls.board.give_up(session, "the connection was closed".into());
            }
            _ => {}
        }
    }

    fn hear_of_record(self: &Arc<Self>, told: &[u8]) {
        let Some((kind, name)) = told.split_first() else { return };
        let Ok(name) = <[u8; 32]>::try_from(name) else { return };
        let key = RecordKey::from_bytes(name);
        if *kind == FORGOTTEN {
            self.front.depart();
            let core = Arc::clone(self);
            tokio::spawn(async move { core.front.remove(&key).await });
        }
        self.waiters.wake(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::idempotency::{AnswerBuilder, Fingerprint, LeaseToken, Record, State};

    const KEY: RecordKey = RecordKey::from_bytes([7; 32]);

    fn core(url: &str) -> Arc<Core> {
        let options = RedisOptions { url: url.parse().unwrap(), ..RedisOptions::default() };
        let clock = Clock::from_fn(|| Timestamp::from_millis(1));
        Arc::new(Core::new(options, clock, Arc::default()))
    }

    async fn keep(core: &Core) {
        let (expires_at, kept_at) = (Timestamp::from_millis(9), Timestamp::from_millis(1));
        let state = State::Completed { answer: AnswerBuilder::new(200).finish(b"ok"), kept_at };
        let (fingerprint, token) = (Fingerprint::COVERED, LeaseToken(3));
        let record = Record { fingerprint, token, expires_at, state, origin: None };
        core.front.note(&KEY, Some(&record), core.front.asked()).await;
    }

    #[tokio::test]
    async fn what_a_cluster_told_before_it_is_listened_to_again_was_missed() {
        let core = core("redis+cluster://127.0.0.1:1");
        for kind in [PushKind::Disconnection, PushKind::Subscribe] {
            keep(&core).await;
            assert!(core.front.peek(&KEY).is_some());
            let waits = core.waiters.wait(&KEY);
            core.hear(1, &PushInfo { kind, data: Vec::new() });
            assert!(core.front.peek(&KEY).is_none());
            waits.changed().await;
        }
    }

    #[tokio::test]
    async fn a_mark_that_is_shown_late_is_no_other_one() {
        let core = core("redis://127.0.0.1:1");
        let shown = |name: &str, count| {
            Value::Array(vec![
                Value::Int(1),
                Value::BulkString(name.as_bytes().to_vec()),
                Value::Int(count),
            ])
        };
        assert_eq!(core.note_mark(None, shown("a", 5)), Data::Known);
        let first = core.mark();
        assert_eq!(core.note_mark(first.as_ref(), shown("a", 7)), Data::Known);
        assert_eq!(core.note_mark(first.as_ref(), shown("a", 6)), Data::Known);
        assert_eq!(core.mark().unwrap().count, 7);
        assert_eq!(core.note_mark(first.as_ref(), shown("b", 1)), Data::Reset);
        assert_eq!(core.note_mark(first.as_ref(), shown("a", 8)), Data::Known);
        assert_eq!(core.note_mark(first.as_ref(), shown("b", 2)), Data::Known);
        assert_eq!(core.mark().unwrap().name, b"b");
        assert_eq!(core.metrics.store_resets.value(), 1);
    }
}
