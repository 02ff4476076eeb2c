//! What really happens, seen from outside the engines: the ground on which they are judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use oncegate::clock::{Clock, Timestamp};
use oncegate::idempotency::{Answer, LeaseToken, Record, RecordKey};
use oncegate::telemetry::StoreOperation;
use tokio::time::Instant;

use crate::plan::{Plan, RequestPlan};
use crate::tally::Tally;

/// When every seed begins.
const START: Timestamp = Timestamp::from_millis(1_000_000);

pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    started: Instant,
    facts: Mutex<Facts>,
}

/// All that has happened so far.
pub(crate) struct Facts {
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Timestamp,
    pub(crate) records: BTreeMap<RecordKey, Record>,
    /// For each key all that its record has been.
    pub(crate) history: Vec<Vec<Version>>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) requests: Vec<Request>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) dead: BTreeSet<usize>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: Tally,
    /// No more faults.
    pub(crate) calm: bool,
    /// What happens now only tidies up.
    pub(crate) over: bool,
    log: Option<Vec<String>>,
}

/// What must not happen.
pub(crate) struct Violation {
    pub(crate) at: Timestamp,
    pub(crate) what: String,
}

/// What a record is from some time on.
pub(crate) struct Version {
    pub(crate) since: Timestamp,
    pub(crate) record: Option<Record>,
}

/// A record that the store has taken from an engine that wants to execute.
pub(crate) struct Claim {
    pub(crate) link: usize,
    pub(crate) key: usize,
    pub(crate) token: LeaseToken,
    pub(crate) at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The engine has been told.
    pub(crate) acknowledged: bool,
    pub(crate) execution: Option<usize>,
    /// Since when the store has its answer.
    pub(crate) completed_at: Option<Timestamp>,
    /// At some time its lease had run out.
    pub(crate) lapsed: bool,
}

/// One run of a request's work.
pub(crate) struct Execution {
    pub(crate) link: usize,
    pub(crate) request: usize,
    pub(crate) plan: RequestPlan,
    pub(crate) claim: Option<usize>,
    pub(crate) started: Timestamp,
    pub(crate) report: Option<(Timestamp, Report)>,
    /// The answer that it gives, if it gives one.
    pub(crate) answer: Answer,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) executed_told: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Report {
    Keep,
    Hold,
    Discard,
    Streaming,
    NotSent,
    Unknown,
    Panic,
}

pub(crate) struct Request {
    pub(crate) plan: RequestPlan,
    pub(crate) link: usize,
    pub(crate) started: Timestamp,
    pub(crate) ended: Option<Timestamp>,
}

/// A call of the store that has failed, as the engine was told.
pub(crate) struct Failure {
    pub(crate) link: usize,
    pub(crate) key: usize,
    pub(crate) at: Timestamp,
    pub(crate) operation: StoreOperation,
}

impl World {
    pub(crate) fn new(plan: Plan, keeps_log: bool) -> Arc<Self> {
        let plan = Arc::new(plan);
        let facts = Facts {
            now: START,
            records: BTreeMap::new(),
            history: plan
                .keys
                .iter()
                .map(|_| vec![Version { since: START, record: None }])
                .collect(),
            claims: Vec::new(),
            executions: Vec::new(),
            requests: Vec::new(),
            failures: Vec::new(),
            dead: BTreeSet::new(),
            violations: Vec::new(),
            tally: Tally::default(),
            calm: false,
            over: false,
            log: keeps_log.then(Vec::new),
            plan: Arc::clone(&plan),
        };
        Arc::new(Self { plan, started: Instant::now(), facts: Mutex::new(facts) })
    }

    pub(crate) fn now(&self) -> Timestamp {
        START.after(self.started.elapsed())
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        let world = Arc::clone(self);
        Clock::from_fn(move || world.now())
    }

    /// The facts, as of now. Never held across an await.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        let now = self.now();
        let mut facts = self.facts.lock().expect("nobody panics with the facts in hand");
        facts.now = now;
        facts
    }
}

impl Facts {
    /// Notes what must not happen.
    pub(crate) fn violation(&mut self, what: String) {
        if !self.over {
            self.log(|| format!("VIOLATION: {what}"));
            self.violations.push(Violation { at: self.now, what });
        }
    }

    pub(crate) fn log(&mut self, what: impl FnOnce() -> String) {
        let now = self.now.as_millis();
        if let Some(log) = &mut self.log {
            log.push(format!("{now:>9} {}", what()));
        }
    }

    pub(crate) fn take_log(&mut self) -> Vec<String> {
        self.log.take().unwrap_or_default()
    }

    /// The record that counts.
    pub(crate) fn record(&self, key: &RecordKey) -> Option<&Record> {
        self.records.get(key).filter(|record| !record.is_expired(self.now))
    }

    pub(crate) fn claim_of(&self, token: LeaseToken) -> Option<usize> {
        self.claims.iter().position(|claim| claim.token == token)
    }

    /// The execution under the claim with this token.
    pub(crate) fn execution_of(&self, token: LeaseToken) -> Option<&Execution> {
        let claim = &self.claims[self.claim_of(token)?];
        claim.execution.map(|execution| &self.executions[execution])
    }

    /// When the work of an execution has taken too long.
    pub(crate) fn deadline(&self, execution: &Execution) -> Timestamp {
        execution.started.after(self.plan.terms(execution.plan.key).timeout)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({})", self.plan.seed)
    }
}
