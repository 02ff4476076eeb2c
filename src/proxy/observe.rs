//! A request that is only observed: it is forwarded in any case, and what would have become of it
//! is counted and logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::admit::admit_guarded;
use super::attempt::{Answering, Exchange, Goal};
use super::guard::{choose, malformed};
use super::note::Took;
use super::reply::{Reply, failed, refused};
use super::{Head, Proxy, outbound};
use crate::idempotency::{
    Broken, Caller, Failure, Identity, Limit, Outcome, Provenance, RecordKey, Refusal, Terms,
};
use crate::message::{Body, Inbound, Problem, ProblemKind, Read, ReadError, read};
use crate::policy::{Anonymous, Chosen, IdentifyError, Route};
use crate::telemetry::{Handled, Label as _};

const ABANDONED: Failure = Failure::Broken(Broken::Abandoned);

/// What would have become of a request.
enum WouldBe {
    /// It would have been executed, as it is.
    Forwarded,
    /// It would have got the answer of another.
    Answered(Handled, RecordKey),
    /// It would have been refused.
    Refused(ProblemKind, Option<RecordKey>),
}

/// What is known of a request before its body is looked at.
enum Seen {
    /// It would be passed on, or refused, whatever its body says.
    Decided(WouldBe),
    /// It would be identified.
    Keyed(Chosen),
}

impl Proxy {
    pub(super) async fn observe(
        &self,
        route: &Arc<Route>,
        head: Head<'_>,
        body: Inbound,
    ) -> Result<Reply, Problem> {
        if let Err(problem) = admit_guarded(&head) {
            let reply = self.pass(head, body).await?;
            let would_be = Some(problem.kind().name());
            return Ok(Reply { handled: Handled::Observed, would_be, ..reply });
        }
        let chosen = match self.see(route, &head)? {
            Seen::Decided(would_be) => return self.forward(would_be, head, body.into()).await,
            Seen::Keyed(chosen) => chosen,
        };
        let (style, bytes_max) = (head.style(), route.request_bytes_max);
        let read = match read(body, style, bytes_max, &self.budget, &self.limits.pace).await {
            Ok(read) => read,
            Err(ReadError::Broken) => return Err(super::guard::unread(&ReadError::Broken)),
            Err(ReadError::TooLarge(rest)) => {
                return self.forward(oversize(route, chosen), head, (*rest).into()).await;
            }
            Err(ReadError::Streams(rest)) => {
                return self.forward(WouldBe::Forwarded, head, (*rest).into()).await;
            }
            Err(ReadError::OverBudget(rest)) => {
                let would_be = WouldBe::Refused(ProblemKind::Busy, None);
                return self.forward(would_be, head, (*rest).into()).await;
            }
            Err(ReadError::TooSlow(rest)) => {
                let would_be = WouldBe::Refused(ProblemKind::RequestTimeout, None);
                return self.forward(would_be, head, (*rest).into()).await;
            }
        };
        let (head, identified) = self.identify(route, chosen, head, &read.bytes).await?;
        let would_be = match identified {
            Ok(Some(found)) => return self.shadow(route, head, read, found.identity).await,
            Ok(None) => keyless(route),
            Err(IdentifyError::TooLarge) => oversize(route, chosen),
            Err(error) => WouldBe::Refused(malformed(&error).kind(), None),
        };
        self.forward(would_be, head, read.bytes.into()).await
    }

    /// What the header says of a request.
    fn see(&self, route: &Route, head: &Head<'_>) -> Result<Seen, Problem> {
        let authority = head.authority()?;
        let asked = head.asked(&authority, self.clock.now());
        let is_anonymous = || route.caller(&asked) == Caller::Anonymous;
        Ok(match route.anonymous {
            Anonymous::Refuse if is_anonymous() => {
                Seen::Decided(WouldBe::Refused(ProblemKind::CallerMissing, None))
            }
            Anonymous::Pass if is_anonymous() => Seen::Decided(WouldBe::Forwarded),
            Anonymous::Share | Anonymous::Refuse | Anonymous::Pass => {
                match choose(route, &asked, head.style()) {
                    Err(_) => Seen::Decided(WouldBe::Refused(ProblemKind::KeyMalformed, None)),
                    Ok(Chosen::Nothing) => Seen::Decided(keyless(route)),
                    Ok(chosen) => Seen::Keyed(chosen),
                }
            }
        })
    }

    /// Forwards a request whose identity is known, and finds out from the record that it leaves,
    /// or finds, what would have become of it.
    async fn shadow(
        &self,
        route: &Arc<Route>,
        head: Head<'_>,
        read: Read,
        identity: Identity,
    ) -> Result<Reply, Problem> {
        let Read { bytes, reservation } = read;
        // A repeat is forwarded at once.
        let terms = Terms { wait: Duration::ZERO, ..route.terms };
        let noted = Identity { key: identity.key.observed(), ..identity };
        let recall = |identity| self.engine.recall(identity, &terms);
        // It may have been guarded before.
        if let Some(found) = recall(&identity).or_else(|| recall(&noted)) {
            return self.forward(would_be(&found, identity.key), head, bytes.into()).await;
        }
        let Some(running) = head.caller.load.begin() else {
            let refused = Outcome::Refused(Refusal::Busy(Limit::FlightsPerConnection));
            return self.forward(would_be(&refused, identity.key), head, bytes.into()).await;
        };
        let (stream, streamed) = oneshot::channel();
        let origin = self.origin(route, &head);
        let begun = Arc::new(AtomicBool::new(false));
        // The body takes its room whoever sends it: the exchange, or this one.
        let room = Arc::new(reservation);
        let took = Took::default();
        let exchange = Box::new(Exchange {
            took: took.clone(),
            upstream: self.upstream.clone(),
            request: outbound::passed(head.again(), bytes.clone().into(), &self.upstream),
            answering: Answering {
                route: Arc::clone(route),
                goal: Goal::Observe { begun: Arc::clone(&begun), _room: Arc::clone(&room) },
                style: head.style(),
                reservation: self.budget.reserve_none(),
                stream,
                clock: self.clock.clone(),
                running,
            },
        });
        let work = move || exchange.attempt();
        let found = self.engine.run(noted, terms, Some(origin), work).await;
        if !begun.load(Ordering::Acquire) {
            return self.forward(would_be(&found, identity.key), head, bytes.into()).await;
        }
        // It was the first, and has been sent.
        match found {
            Outcome::Failed(failure) => Err(failed(failure)),
            Outcome::Answered { .. } | Outcome::Streaming(_) | Outcome::Refused(_) => {
                let answer = streamed.await.map_err(|_| failed(ABANDONED))?;
                let reply = Reply::without_key(answer, Handled::Passed).after(took.time());
                Ok(Reply { key: Some(identity.key), ..reply })
            }
        }
    }

    /// Forwards a request in any case, and notes what would have become of it.
    async fn forward(
        &self,
        would_be: WouldBe,
        head: Head<'_>,
        body: Body,
    ) -> Result<Reply, Problem> {
        let reply = self.pass_on(head, body).await?;
        let (name, key) = match would_be {
            WouldBe::Forwarded => return Ok(reply),
            WouldBe::Answered(handled, key) => (handled.name(), Some(key)),
            WouldBe::Refused(problem, key) => (problem.name(), key),
        };
        Ok(reply.but_for(name, key))
    }
}

fn keyless(route: &Route) -> WouldBe {
    match route.requires_key {
        true => WouldBe::Refused(ProblemKind::KeyMissing, None),
        false => WouldBe::Forwarded,
    }
}

fn oversize(route: &Route, chosen: Chosen) -> WouldBe {
    match route.rejects_oversize(chosen) {
        true => WouldBe::Refused(ProblemKind::TooLarge, None),
        false => WouldBe::Forwarded,
    }
}

fn would_be(outcome: &Outcome, key: RecordKey) -> WouldBe {
    match outcome {
        Outcome::Answered { provenance, .. } => WouldBe::Answered(
            match provenance {
                Provenance::Executed | Provenance::Unprotected => Handled::Executed,
                Provenance::Collapsed => Handled::Collapsed,
                Provenance::Replayed => Handled::Replayed,
            },
            key,
        ),
        Outcome::Streaming(_) | Outcome::Failed(_) => {
            WouldBe::Refused(ProblemKind::AnswerNotKept, Some(key))
        }
        // It would have waited.
        Outcome::Refused(Refusal::InProgress) => WouldBe::Answered(Handled::Collapsed, key),
        Outcome::Refused(refusal) => WouldBe::Refused(refused(*refusal).kind(), Some(key)),
    }
}
