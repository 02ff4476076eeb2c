//! The upstream's side: what is executed, and the ledger of it.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use oncegate::idempotency::{Answer, AnswerBuilder, Attempt, Broken};
use tokio::time::sleep;

use crate::plan::{Ending, PLACES, RECORD_BYTES_MAX, RequestPlan, When};
use crate::store::Link;
use crate::world::{Execution, Facts, Report};

/// The header line by which an answer says which execution it comes from.
const EXECUTION: &[u8] = b"x-execution";

/// What a planned panic carries; it is raised without the panic hook's message.
const PANIC: &str = "planned";

/// The work of a request, as the engine is given it.
pub(crate) fn work(
    link: Arc<Link>,
    request: usize,
    plan: RequestPlan,
) -> impl FnOnce() -> BoxedAttempt + Send + 'static {
    move || {
        let execution = begin(&link, request, plan);
        if plan.work.ending == Ending::PanicAtOnce {
            report(&link, execution, Report::Panic);
            resume_unwind(Box::new(PANIC));
        }
        Box::pin(async move {
            let unfinished = Unfinished { link: Arc::clone(&link), execution };
            let attempt = link.alive(finish(&link, execution, plan)).await;
            drop(unfinished);
            attempt
        })
    }
}

pub(crate) type BoxedAttempt = std::pin::Pin<Box<dyn Future<Output = Attempt> + Send>>;

fn begin(link: &Link, request: usize, plan: RequestPlan) -> usize {
    let mut facts = link.world.facts();
    let number = facts.executions.len();
    let claim = facts.claims.iter().position(|claim| {
        let unused = claim.acknowledged && claim.execution.is_none();
        unused && claim.link == link.id && claim.key == plan.key
    });
    match claim {
        Some(claim) => facts.claims[claim].execution = Some(number),
        None => facts.violation(format!("request {request} was executed without a claim")),
    }
    facts.log(|| format!("execution {number} of request {request} begins"));
    let execution = Execution {
        link: link.id,
        request,
        plan,
        claim,
        started: facts.now,
        report: None,
        answer: answer(number, &plan),
        answered_at: None,
        executed_told: false,
    };
    facts.executions.push(execution);
    number
}

async fn finish(link: &Link, execution: usize, plan: RequestPlan) -> Attempt {
    let begun = count(link, |_| true);
    if link.death == Some(When::WorkBegins(begun)) {
        link.die("as work begins").await;
    }
    if !plan.work.takes.is_zero() {
        sleep(plan.work.takes).await;
    }
    if plan.work.ending == Ending::Never {
        pending::<()>().await;
    }
    let answer = ready(link, execution, plan);
    let (reported, attempt) = match plan.work.ending {
        Ending::Keep | Ending::KeepLarge => (Report::Keep, Attempt::Keep(answer)),
        Ending::Hold => (Report::Hold, Attempt::Hold(answer)),
        Ending::Discard => (Report::Discard, Attempt::Discard(answer)),
        Ending::Streaming => (Report::Streaming, Attempt::Streaming),
        Ending::NotSent(why) => (Report::NotSent, Attempt::NotSent(why)),
        Ending::Unknown(why) => (Report::Unknown, Attempt::Unknown(why)),
        Ending::PanicAtOnce | Ending::PanicLater | Ending::Never => {
            (Report::Panic, Attempt::Unknown(Broken::Abandoned))
        }
    };
    report(link, execution, reported);
    if reported == Report::Panic {
        resume_unwind(Box::new(PANIC));
    }
    let ended = count(link, |execution| execution.report.is_some());
    if link.death == Some(When::WorkEnds(ended)) {
        link.die("as work ends").await;
    }
    attempt
}

/// The answer, which is looked at as soon as it is there, if that is in time.
fn ready(link: &Link, execution: usize, plan: RequestPlan) -> Answer {
    let mut facts = link.world.facts();
    let ready_at = facts.executions[execution].started.after(plan.work.takes);
    let unseen = facts.now.since(ready_at);
    let in_time = ready_at < facts.deadline(&facts.executions[execution]);
    if in_time && !unseen.is_zero() {
        facts.violation(format!("nobody has looked at execution {execution} for {unseen:?}"));
    }
    facts.executions[execution].answer.clone()
}

/// How many such executions the engine has had.
fn count(link: &Link, which: impl Fn(&Execution) -> bool) -> u64 {
    let facts = link.world.facts();
    let mine = facts.executions.iter().filter(|execution| execution.link == link.id);
    mine.filter(|execution| which(execution)).count() as u64
}

fn report(link: &Link, execution: usize, report: Report) {
    let mut facts = link.world.facts();
    facts.log(|| format!("execution {execution} ends with {report:?}"));
    facts.executions[execution].report = Some((facts.now, report));
}

/// Work that has not ended.
struct Unfinished {
    link: Arc<Link>,
    execution: usize,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut facts = self.link.world.facts();
        let execution = &facts.executions[self.execution];
        if execution.report.is_some() || self.link.dead.is_cancelled() || facts.over {
            return;
        }
        let linger = facts.plan.terms(execution.plan.key).linger;
        if facts.now < facts.deadline(execution).after(linger) {
            let number = self.execution;
            facts.violation(format!("execution {number} was cut off before its time"));
        }
        facts.tally.count("work given up");
    }
}

/// The answer of an execution: nobody else's looks like it.
fn answer(execution: usize, plan: &RequestPlan) -> Answer {
    let mut builder = AnswerBuilder::new(match plan.work.ending {
        Ending::Discard => 503,
        Ending::Hold => 502,
        _ => 201,
    });
    builder.line(EXECUTION, execution.to_string().as_bytes());
    let filler = match plan.work.ending {
        Ending::KeepLarge => RECORD_BYTES_MAX,
        _ => execution * 7 % 50 + PLACES,
    };
    let body = format!("{execution}/{}/{}/{}", plan.key, plan.fingerprint, "x".repeat(filler));
    builder.finish(body.as_bytes())
}

/// The execution that an answer comes from.
pub(crate) fn source(answer: &Answer) -> Option<usize> {
    let line = answer.lines().find(|line| line.name == EXECUTION)?;
    std::str::from_utf8(&line.value).ok()?.parse().ok()
}

/// How long after an execution its callers may still be without word: all that may be written.
pub(crate) fn settling_max(facts: &Facts) -> Duration {
    facts.plan.call_max() * 8 + Duration::from_secs(1)
}
