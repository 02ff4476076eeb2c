//! The judge: what each caller was told, and what was executed, against what really happened.

use std::time::Duration;

use oncegate::clock::Timestamp;
use oncegate::engine::EngineLoad;
use oncegate::idempotency::{
    Answer, Broken, Failure, Limit, OnUnknown, Outcome, Provenance, Record, Refusal, State,
    Unreachable,
};
use oncegate::telemetry::{Counter, Metrics, StoreOperation, UnknownCause};

use crate::plan::{Ending, Patience, fingerprint};
use crate::store::has_lapsed;
use crate::work::{settling_max, source};
use crate::world::{Claim, Execution, Facts, Report, Request};

/// A store that fails less often than this is asked again until an outcome is written down.
const FAILURES_TO_GIVE_UP: usize = 3;

impl Facts {
    /// Judges what the caller of a request was told.
    pub(crate) fn judge_outcome(&mut self, number: usize, outcome: &Outcome) {
        self.log(|| format!("request {number}: {}", shown(outcome)));
        self.judge_patience(number, outcome);
        match outcome {
            Outcome::Answered { answer, provenance, answered_at, .. } => {
                self.judge_answer(number, answer, *provenance, *answered_at);
            }
            Outcome::Streaming(_) => {
                self.tally.count("streaming");
                let told = self.executions.iter().any(|execution| {
                    execution.request == number && reported(execution) == Some(Report::Streaming)
                });
                self.demand(told, || format!("request {number} has no stream, but was told so"));
            }
            Outcome::Failed(failure) => self.judge_failure(number, *failure),
            Outcome::Refused(refusal) => self.judge_refusal(number, *refusal),
        }
    }

    fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violation(what());
        }
    }

    /// Nobody waits longer than agreed.
    fn judge_patience(&mut self, number: usize, outcome: &Outcome) {
        let request = &self.requests[number];
        let waited = self.now.since(request.started);
        let terms = self.plan.terms(request.plan.key);
        let collapsed =
            matches!(outcome, Outcome::Answered { provenance: Provenance::Collapsed, .. });
        let reused = matches!(outcome, Outcome::Refused(Refusal::KeyReused(_)));
        let max = if collapsed {
            terms.wait
        } else if reused && !self.changed_hands(request) {
            // Who asks for something else is told so without waiting for the first to end.
            self.plan.call_max() * 2
        } else {
            // Waits for another engine, executes, settles.
            terms.wait + terms.timeout + self.plan.call_max() * 16 + settling_max(self)
        };
        self.demand(waited <= max, || {
            format!("request {number} waited {waited:?}, and {max:?} would have been right")
        });
    }

    /// Whether the key of a request belonged to others, or to nobody, while it waited.
    fn changed_hands(&self, request: &Request) -> bool {
        let (key, mine) = (request.plan.key, fingerprint(request.plan.fingerprint));
        let mut versions = self.versions(key, request.started, self.now);
        let always_others = versions.all(|(_, until, record)| {
            record.is_some_and(|record| !record.is_expired(until) && record.fingerprint != mine)
        });
        !always_others
    }

    fn judge_answer(
        &mut self,
        number: usize,
        answer: &Answer,
        provenance: Provenance,
        answered_at: Timestamp,
    ) {
        self.tally.count(match provenance {
            Provenance::Executed => "answered: executed",
            Provenance::Collapsed => "answered: collapsed",
            Provenance::Replayed => "answered: replayed",
            Provenance::Unprotected => "answered: unprotected",
        });
        let Some(from) = source(answer).filter(|from| *from < self.executions.len()) else {
            return self.violation(format!("request {number} has an answer of nobody's"));
        };
        let (request, execution) = (&self.requests[number], &self.executions[from]);
        let (asked, done) = (request.plan, execution.plan);
        let same_answer = execution.answer == *answer;
        let same_time = execution.answered_at.is_none_or(|before| before == answered_at);
        self.demand((asked.key, asked.fingerprint) == (done.key, done.fingerprint), || {
            format!("request {number} has the answer of execution {from}, which was asked for something else")
        });
        self.demand(same_answer, || {
            format!("request {number} has another answer than execution {from} gave")
        });
        self.demand(same_time, || format!("the answer of execution {from} has two times"));
        self.executions[from].answered_at = Some(answered_at);
        self.judge_provenance(number, from, provenance);
        self.judge_kept(number, from);
    }

    fn judge_provenance(&mut self, number: usize, from: usize, provenance: Provenance) {
        let (request, execution) = (&self.requests[number], &self.executions[from]);
        let own = execution.request == number;
        let kept = reported(execution) == Some(Report::Keep);
        let claim = execution.claim.map(|claim| &self.claims[claim]);
        let right = match provenance {
            Provenance::Executed => own && !execution.executed_told,
            Provenance::Collapsed => {
                let gives = matches!(
                    reported(execution),
                    Some(Report::Keep | Report::Hold | Report::Discard)
                );
                !own && gives && self.overlaps(request, execution)
            }
            Provenance::Replayed => {
                // The flight that it joined may have read the record a little before.
                let read_at = before(request.started, self.plan.reply_max());
                let counted = claim.is_some_and(|claim| {
                    claim.completed_at.is_some() && read_at <= claim.expires_at
                });
                !own && kept && counted
            }
            // Nobody's terms let it pass.
            Provenance::Unprotected => false,
        };
        self.executions[from].executed_told |= provenance == Provenance::Executed;
        self.demand(right, || {
            format!("request {number} was told that execution {from} is {provenance:?}")
        });
    }

    /// No caller has seen a final answer that a repeat would not get.
    fn judge_kept(&mut self, number: usize, from: usize) {
        let execution = &self.executions[from];
        let Some((reported_at, Report::Keep)) = execution.report else { return };
        let Some(claim) = execution.claim.map(|claim| &self.claims[claim]) else { return };
        let holder = self.record(&self.plan.keys[claim.key].key).map(|record| record.token);
        let excused = execution.plan.work.ending == Ending::KeepLarge
            || claim.expires_at < self.now
            || holder != Some(claim.token)
            || self.failures(execution.link, claim.key, reported_at) >= FAILURES_TO_GIVE_UP;
        if claim.completed_at.is_none() && !excused {
            self.violation(format!(
                "request {number} was told the answer of execution {from} before it was kept"
            ));
        }
    }

    fn judge_failure(&mut self, number: usize, failure: Failure) {
        self.tally.count(match failure {
            Failure::Unreachable(_) => "failed: unreachable",
            Failure::Broken(_) => "failed: broken",
            Failure::TimedOut => "failed: timed out",
        });
        let request = &self.requests[number];
        let caused = self.executions.iter().any(|execution| {
            let ending = execution.plan.work.ending;
            let cause = match failure {
                Failure::Unreachable(why) => is_not_sent(ending, why),
                Failure::Broken(why) => is_unknown(execution, why),
                Failure::TimedOut => {
                    let deadline = self.deadline(execution);
                    self.now >= deadline
                        && execution.report.is_none_or(|(reported_at, _)| reported_at >= deadline)
                }
            };
            let same = execution.plan.fingerprint == request.plan.fingerprint;
            cause && same && self.overlaps(request, execution)
        });
        self.demand(caused, || format!("request {number} was told {failure:?}, and nothing has"));
    }

    fn judge_refusal(&mut self, number: usize, refusal: Refusal) {
        self.tally.count(match refusal {
            Refusal::KeyReused(_) => "refused: key reused",
            Refusal::InProgress => "refused: in progress",
            Refusal::OutcomeUnknown => "refused: outcome unknown",
            Refusal::AnswerNotKept => "refused: answer not kept",
            Refusal::Busy(_) => "refused: busy",
            Refusal::StoreFull => "refused: store full",
            Refusal::StoreUnavailable => "refused: store unavailable",
        });
        let request = &self.requests[number];
        let (link, key) = (request.link, request.plan.key);
        let runs = |report: Option<Report>| {
            self.executions.iter().any(|execution| {
                let same = report.is_none() || reported(execution) == report;
                same && self.overlaps(request, execution)
            })
        };
        let right = match refusal {
            Refusal::KeyReused(_) => self.others_came_first(request),
            Refusal::InProgress => {
                // It has waited as long as it could, or another that came before it has.
                self.now.since(request.started) >= self.plan.terms(key).wait
                    || runs(None)
                    || self.saw(key, |record, _| is_in_flight(&record.state))
            }
            Refusal::OutcomeUnknown => {
                self.plan.terms(key).on_unknown == OnUnknown::Hold
                    && self.saw(key, |record, until| {
                        record.state == State::Indeterminate
                            || (has_lapsed(record, until)
                                && self
                                    .claim_of(record.token)
                                    .is_none_or(|claim| self.may_lapse(&self.claims[claim])))
                    })
            }
            Refusal::AnswerNotKept => {
                runs(Some(Report::Streaming))
                    || self.saw(key, |record, _| record.state == State::Unreplayable)
            }
            Refusal::Busy(Limit::Bytes | Limit::FlightsPerConnection) => false,
            Refusal::Busy(_) => self.plan.limits.tight,
            Refusal::StoreFull => self.plan.limits.records_max < 100,
            Refusal::StoreUnavailable => {
                let since = before(self.now, self.plan.call_max() * 2);
                self.failures(link, key, since) > 0
            }
        };
        self.demand(right, || format!("request {number} was told {refusal:?}, and it is not so"));
    }

    /// Whether a key can have been used for something else before a request. It can't if all the
    /// while its record was about the very same.
    fn others_came_first(&self, request: &Request) -> bool {
        let (key, mine) = (request.plan.key, fingerprint(request.plan.fingerprint));
        let came = self.requests.iter().any(|other| {
            other.plan.key == key && other.plan.fingerprint != request.plan.fingerprint
        });
        // The flight that it joined may have read the record a little before.
        let since = before(request.started, self.plan.reply_max());
        let always_mine = self.versions(key, since, self.now).all(|(_, until, record)| {
            record.is_some_and(|record| !record.is_expired(until) && record.fingerprint == mine)
        });
        came && !always_mine
    }

    /// Whether the caller of a request can have waited for an execution.
    fn overlaps(&self, request: &Request, execution: &Execution) -> bool {
        let settled = execution
            .report
            .map_or(Timestamp::MAX, |(reported_at, _)| reported_at.after(settling_max(self)));
        (request.link, request.plan.key) == (execution.link, execution.plan.key)
            && request.started <= settled
            && execution.started <= self.now
    }

    /// Whether a record was such that an engine that decides now can have seen it. The function
    /// is given the record, and the last time at which it was so.
    fn saw(&self, key: usize, what: impl Fn(&Record, Timestamp) -> bool) -> bool {
        let since = before(self.now, self.plan.reply_max());
        self.versions(key, since, self.now).any(|(from, to, record)| {
            record.is_some_and(|record| !record.is_expired(from) && what(record, to))
        })
    }

    /// Whether something is to blame when the lease of a claim runs out.
    fn may_lapse(&self, claim: &Claim) -> bool {
        let weather = &self.plan.weather;
        weather.faults != [0; 3]
            || weather.outage.is_some()
            || weather.latency_max * 4 >= self.plan.lease
            || self.dead.contains(&claim.link)
    }

    /// What a record was in a span of time, with the span of each.
    fn versions(
        &self,
        key: usize,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, Timestamp, Option<&Record>)> {
        let versions = &self.history[key];
        versions.iter().enumerate().filter_map(move |(index, version)| {
            let end = versions.get(index + 1).map_or(Timestamp::MAX, |next| next.since);
            let span = (version.since.max(from), end.min(to));
            (span.0 <= span.1).then_some((span.0, span.1, version.record.as_ref()))
        })
    }

    /// How often an engine was told since then that a call for the key has failed.
    fn failures(&self, link: usize, key: usize, since: Timestamp) -> usize {
        let failures = self.failures.iter();
        failures.filter(|it| (it.link, it.key) == (link, key) && it.at >= since).count()
    }

    pub(crate) fn judge_load(&mut self, load: EngineLoad) {
        let limits = self.plan.limits.engine;
        let within = load.flights <= limits.flights_max
            && load.waiters <= limits.waiters_max
            && load.flights <= load.work;
        self.demand(within, || format!("{load:?} is more than {limits:?}"));
    }

    /// Judges the ledger, which is all that the upstream's owner cares about.
    pub(crate) fn judge_end(&mut self) {
        for later in 0..self.claims.len() {
            self.judge_given_back(later);
            for earlier in 0..later {
                if self.claims[earlier].key == self.claims[later].key {
                    self.judge_pair(earlier, later);
                }
            }
        }
        for number in 0..self.executions.len() {
            self.judge_settled(number);
            let execution = &self.executions[number];
            let request = &self.requests[execution.request];
            let reported_at = execution.report.map(|(reported_at, _)| reported_at);
            if request.plan.patience != Patience::Forever && reported_at > request.ended {
                self.tally.count("work that outlived its caller");
            }
        }
    }

    /// Judges the executions under two claims of one key.
    fn judge_pair(&mut self, earlier: usize, later: usize) {
        let (first_claim, second_claim) = (&self.claims[earlier], &self.claims[later]);
        let (key, claimed_at) = (first_claim.key, second_claim.at);
        let (Some(earlier), Some(later)) = (first_claim.execution, second_claim.execution) else {
            return;
        };
        let first = &self.executions[earlier];
        if claimed_at > first_claim.expires_at {
            let ran_until = first.report.map_or(self.deadline(first), |(reported_at, _)| {
                reported_at.min(self.deadline(first))
            });
            let holds = claimed_at >= ran_until || self.may_lapse(first_claim);
            self.tally.count("executed again after the window");
            return self.demand(holds, || {
                format!("key {key} was executed again ({later}) while {earlier} still ran")
            });
        }
        let freed = first.report.is_some_and(|(reported_at, report)| {
            matches!(report, Report::Discard | Report::NotSent) && reported_at <= claimed_at
        });
        if freed {
            return self.tally.count("executed again after a release");
        }
        let kept = first_claim.completed_at.is_some_and(|kept_at| kept_at <= claimed_at);
        match self.plan.terms(key).on_unknown {
            OnUnknown::Hold => self.violation(format!(
                "key {key} was executed twice within its window: {earlier} and {later}"
            )),
            // Even where unknown outcomes free a key, this one was known.
            OnUnknown::Release => self.demand(!kept, || {
                format!("key {key} was executed again ({later}) after its answer was kept")
            }),
        }
    }

    /// Judges what was written down in the end about an execution.
    fn judge_settled(&mut self, number: usize) {
        let execution = &self.executions[number];
        let Some(claim) = execution.claim.map(|claim| &self.claims[claim]) else { return };
        let deadline = self.deadline(execution);
        let (reported_at, report) =
            execution.report.map_or((deadline, None), |(at, report)| (at, Some(report)));
        let releases = self.plan.terms(claim.key).on_unknown == OnUnknown::Release;
        let large = execution.plan.work.ending == Ending::KeepLarge;
        let expected = match report {
            // A late answer tells nothing about a key that is somebody else's by then.
            _ if releases && reported_at > deadline => "absent",
            Some(Report::Keep) if large => "unreplayable",
            Some(Report::Keep) => "completed",
            Some(Report::Streaming) => "unreplayable",
            Some(Report::Discard | Report::NotSent) => "absent",
            Some(Report::Hold | Report::Unknown | Report::Panic) | None if releases => "absent",
            Some(Report::Hold | Report::Unknown | Report::Panic) | None => "indeterminate",
        };
        let Some((end, taken)) = self.end_of(claim) else { return };
        let excused = self.dead.contains(&claim.link)
            || (report.is_some() && reported_at == deadline)
            || self.failures(claim.link, claim.key, reported_at.min(deadline))
                >= FAILURES_TO_GIVE_UP
            || taken
            || claim.expires_at < reported_at.after(settling_max(self));
        self.demand(end == expected || excused, || {
            format!("execution {number} ended with {report:?}, and its key is left {end}")
        });
    }

    /// Judges what became of a claim that was made, and of which its engine was not told so.
    fn judge_given_back(&mut self, number: usize) {
        let claim = &self.claims[number];
        let Some((end, taken)) = self.end_of(claim) else { return };
        let excused = claim.acknowledged
            || taken
            || claim.expires_at < claim.at.after(self.plan.call_max() * 2)
            || self.dead.contains(&claim.link)
            || self.failures(claim.link, claim.key, claim.at) > 1;
        let key = claim.key;
        self.demand(end == "absent" || excused, || {
            format!("key {key} was claimed, nobody knows it, and it is left {end}")
        });
    }

    /// What the record of a claim was in the end, and whether another took its place.
    fn end_of(&self, claim: &Claim) -> Option<(&'static str, bool)> {
        let versions = &self.history[claim.key];
        let last = versions.iter().rposition(|version| {
            version.record.as_ref().is_some_and(|record| record.token == claim.token)
        })?;
        let next = versions.get(last + 1).map(|next| next.record.is_some());
        let end = match next {
            Some(false) => "absent",
            Some(true) | None => state_name(versions[last].record.as_ref()?),
        };
        Some((end, next == Some(true)))
    }

    /// Judges what an engine has counted.
    pub(crate) fn judge_counters(&mut self, link: usize, metrics: &Metrics) {
        use UnknownCause::{Abandoned, Gateway, Incomplete, Malformed, TimedOut};
        for cause in [Abandoned, Gateway, Incomplete, Malformed, TimedOut] {
            let range = self.range(link, |execution| match cause {
                TimedOut => None,
                Gateway => Some(reported(execution) == Some(Report::Hold)),
                Abandoned => Some(is_unknown(execution, Broken::Abandoned)),
                Incomplete => Some(is_unknown(execution, Broken::Incomplete)),
                Malformed => Some(is_unknown(execution, Broken::Malformed)),
            });
            let counted = metrics.unknown_outcomes.value(cause);
            self.judge_count(link, &format!("unknown outcomes ({cause:?})"), counted, range);
        }
        let late = self.late(link);
        for _ in 0..late {
            self.tally.count("late answers");
        }
        self.judge_count(link, "late answers", value(&metrics.late_answers), (0, late));
        for operation in [StoreOperation::Load, StoreOperation::Swap] {
            let failures = self
                .failures
                .iter()
                .filter(|failure| failure.link == link && failure.operation == operation);
            let failures = failures.count() as u64;
            let counted = metrics.store_errors.value(operation);
            let what = format!("store errors ({operation:?})");
            self.judge_count(link, &what, counted, (failures, failures));
        }
    }

    fn judge_count(&mut self, link: usize, what: &str, counted: u64, range: (u64, u64)) {
        self.demand(range.0 <= counted && counted <= range.1, || {
            format!("engine {link} has counted {counted} {what}, and there were {range:?}")
        });
    }

    /// How many executions have ended in time in a certain way, at least and at most; with no
    /// way, how many have not ended in time. What ends just as its time does may count or not.
    fn range(&self, link: usize, which: impl Fn(&Execution) -> Option<bool>) -> (u64, u64) {
        let (mut least, mut most) = (0, 0);
        for execution in self.executions.iter().filter(|execution| execution.link == link) {
            let deadline = self.deadline(execution);
            let reported_at =
                execution.report.map_or(Timestamp::MAX, |(reported_at, _)| reported_at);
            let (surely, perhaps) = match which(execution) {
                Some(true) => (reported_at < deadline, reported_at <= deadline),
                Some(false) => (false, false),
                None => (reported_at > deadline, reported_at >= deadline),
            };
            least += u64::from(surely);
            most += u64::from(perhaps);
        }
        (least, most)
    }

    /// How many late answers may have settled an unknown outcome. One whose window has ended, or
    /// whose claim another has, settles nothing; the engine's own tests count exactly.
    fn late(&self, link: usize) -> u64 {
        let mut most = 0;
        for execution in self.executions.iter().filter(|execution| execution.link == link) {
            let holds = self.plan.terms(execution.plan.key).on_unknown == OnUnknown::Hold;
            let Some((reported_at, report)) = execution.report else { continue };
            let settles = !matches!(report, Report::Hold | Report::Unknown | Report::Panic);
            let deadline = self.deadline(execution);
            most += u64::from(holds && settles && reported_at >= deadline);
        }
        most
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { answer, provenance, .. } => {
            format!("answered by execution {:?}, {provenance:?}", source(answer))
        }
        other => format!("{other:?}"),
    }
}

fn reported(execution: &Execution) -> Option<Report> {
    execution.report.map(|(_, report)| report)
}

fn is_not_sent(ending: Ending, why: Unreachable) -> bool {
    ending == Ending::NotSent(why)
}

/// Whether an execution has ended with an unknown outcome for this reason.
fn is_unknown(execution: &Execution, why: Broken) -> bool {
    match (reported(execution), execution.plan.work.ending) {
        (Some(Report::Panic), _) => why == Broken::Abandoned,
        (Some(Report::Unknown), ending) => ending == Ending::Unknown(why),
        _ => false,
    }
}

fn state_name(record: &Record) -> &'static str {
    match record.state {
        State::InFlight { .. } => "in flight",
        State::Completed { .. } => "completed",
        State::Unreplayable => "unreplayable",
        State::Indeterminate => "indeterminate",
    }
}

fn is_in_flight(state: &State) -> bool {
    matches!(state, State::InFlight { .. })
}

fn value(counter: &Counter) -> u64 {
    counter.value()
}

/// The time so long before another.
fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let millis = u64::try_from(duration.as_millis()).expect("a short time");
    Timestamp::from_millis(time.as_millis().saturating_sub(millis))
}
