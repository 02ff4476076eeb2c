//! A guarded request: read it whole, identify it, let the engine run it, reply.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::attempt::Exchange;
use super::reply::{About, Reply};
use super::{Head, Proxy, outbound};
use crate::idempotency::{Identity, Outcome};
use crate::message::{
    Authority, Field, Fields, Oversize, Problem, ProblemKind, Read, ReadError, read,
};
use crate::policy::{Chosen, Identified};
use crate::telemetry::Unprotected;

/// Bodies over this size are hashed where they do not hold up other connections.
const HASHED_INLINE_BYTES_MAX: usize = 256 * 1024;

/// Compressed bodies are costlier, and over this size they are hashed there, too.
const INFLATED_INLINE_BYTES_MAX: usize = 8 * 1024;

impl Proxy {
    pub(super) async fn guard(&self, head: Head<'_>, body: Incoming) -> Result<Reply, Problem> {
        let authority = head.authority()?;
        let chosen = self
            .guard
            .choose(&head.parts.headers)
            .map_err(|error| Problem::new(ProblemKind::KeyMalformed, error.to_string()))?;
        let Some(chosen) = chosen else { return self.pass_on(head, body.into()).await };
        let bytes_max = self.guard.request_bytes_max;
        let read = match read(body, bytes_max, &self.budget, &self.limits.pace).await {
            Ok(read) => read,
            Err(ReadError::TooLarge(oversize)) => {
                return Box::pin(self.oversize(&chosen, head, *oversize)).await;
            }
            Err(error) => return Err(unread(&error)),
        };
        let (head, identified) = if read.bytes.len() <= inline_bytes_max(head.fields) {
            let identified = self.guard.identify(&chosen, &authority, &head.parts, &read.bytes);
            (head, identified)
        } else {
            Box::pin(self.identify_apart(chosen, head, read.bytes.clone())).await?
        };
        let about = About { key: identified.identity.key, caller: identified.caller };
        if let Some(outcome) = self.engine.recall(&identified.identity, &self.guard.terms) {
            return Ok(self.reply(about, outcome, None));
        }
        // Boxed, so that a replay does not carry the room for it about.
        Ok(Box::pin(self.run(head, read, identified.identity, about)).await)
    }

    async fn run(&self, head: Head<'_>, read: Read, identity: Identity, about: About) -> Reply {
        let (stream, streamed) = oneshot::channel();
        // Boxed, since starting a task moves what it is given several times.
        let exchange = Box::new(Exchange {
            upstream: self.upstream.clone(),
            request: outbound::guarded(head, read.bytes, &self.upstream),
            response_bytes_max: self.guard.response_bytes_max,
            reservation: read.reservation,
            stream,
            linger: self.guard.terms.linger,
            clock: self.clock.clone(),
        });
        let work = move || exchange.attempt();
        let outcome = self.engine.run(identity, self.guard.terms, work).await;
        let streamed = match outcome {
            Outcome::Streaming => streamed.await.ok(),
            Outcome::Answered { .. } | Outcome::Failed(_) | Outcome::Refused(_) => None,
        };
        self.reply(about, outcome, streamed)
    }

    /// Finds out who asks for what in another thread, since hashing the body takes long.
    async fn identify_apart<'a>(
        &self,
        chosen: Chosen,
        head: Head<'a>,
        bytes: Bytes,
    ) -> Result<(Head<'a>, Identified), Problem> {
        let Head { parts, fields, caller } = head;
        let guard = Arc::clone(&self.guard);
        let identify = move || {
            let authority = Authority::of(&parts.uri, &parts.headers, parts.version);
            let identified =
                authority.map(|authority| guard.identify(&chosen, &authority, &parts, &bytes));
            (identified, parts)
        };
        let (identified, parts) = tokio::task::spawn_blocking(identify).await.map_err(|_| {
            Problem::new(ProblemKind::Busy, "the body could not be hashed; try again later")
        })?;
        let identified =
            identified.map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))?;
        Ok((Head { parts, fields, caller }, identified))
    }

    /// What becomes of a request that is too large to be protected: with a key of the caller's,
    /// it has asked for a protection that it can't get; otherwise it is passed on, marked so.
    async fn oversize(
        &self,
        chosen: &Chosen,
        head: Head<'_>,
        oversize: Oversize,
    ) -> Result<Reply, Problem> {
        match chosen {
            Chosen::Key(..) => {
                let max = self.guard.request_bytes_max;
                let detail = format!("a request with a key may have a body of {max} bytes at most");
                Err(Problem::new(ProblemKind::TooLarge, detail))
            }
            Chosen::Checksum => {
                self.metrics.unprotected.increment(Unprotected::BodyTooLarge);
                let mut reply = self.pass_on(head, oversize.into()).await?;
                let mark = HeaderValue::from_static("none; reason=\"body-too-large\"");
                reply.response.headers_mut().insert("duplicate-protection", mark);
                Ok(reply)
            }
        }
    }
}

/// How large a body may be to be hashed at once.
fn inline_bytes_max(fields: Fields) -> usize {
    match fields.has(Field::ContentEncoding) {
        true => INFLATED_INLINE_BYTES_MAX,
        false => HASHED_INLINE_BYTES_MAX,
    }
}

fn unread(error: &ReadError) -> Problem {
    match error {
        ReadError::Broken | ReadError::TooLarge(_) => {
            Problem::new(ProblemKind::BadRequest, "the body broke off, or is not well framed")
        }
        ReadError::OverBudget => Problem::new(
            ProblemKind::Busy,
            "too many bytes of bodies are held in memory; try again later",
        ),
        ReadError::TooSlow => {
            Problem::new(ProblemKind::RequestTimeout, "the body came more slowly than is allowed")
        }
    }
}
