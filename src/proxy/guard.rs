//! A guarded request: read it whole, identify it, let the engine run it, reply.

use std::sync::Arc;

use bytes::Bytes;

use super::reply::{About, DUPLICATE_PROTECTION, Reply, unprotected};
use super::run::Sending;
use super::{Head, Proxy};
use crate::idempotency::Caller;
use crate::message::{
    Body, Field, Fields, Inbound, Problem, ProblemKind, ReadError, Reservation, Style, read,
};
use crate::policy::{Anonymous, Asked, Chosen, Identified, IdentifyError, Route, Watch};
use crate::telemetry::Unprotected;
use crate::transport::Shown;

/// Bodies over this size are hashed where they do not hold up other connections.
const HASHED_INLINE_BYTES_MAX: usize = 256 * 1024;

/// Bodies that are decoded or parsed are costlier, and over this size they are hashed there, too.
const PARSED_INLINE_BYTES_MAX: usize = 8 * 1024;

impl Proxy {
    pub(super) async fn guard(
        &self,
        route: &Arc<Route>,
        head: Head<'_>,
        body: Inbound,
    ) -> Result<Reply, Problem> {
        let authority = head.authority()?;
        let asked = head.asked(&authority, self.clock.now());
        match route.anonymous {
            Anonymous::Share => {}
            Anonymous::Refuse | Anonymous::Pass if route.caller(&asked) == Caller::Known => {}
            Anonymous::Refuse => return Err(nobody(route)),
            Anonymous::Pass => {
                let reason = Unprotected::CallerUnknown;
                return self.pass_unprotected(head, body.into(), reason).await;
            }
        }
        let style = head.style();
        let chosen = choose(route, &asked, style).map_err(|error| malformed(&error))?;
        if chosen == Chosen::Nothing {
            return self.without_key(route, head, body.into()).await;
        }
        let bytes_max = route.request_bytes_max;
        let read = match read(body, style, bytes_max, &self.budget, &self.limits.pace).await {
            Ok(read) => read,
            Err(ReadError::TooLarge(rest)) => {
                return Box::pin(self.oversize(route, chosen, head, (*rest).into())).await;
            }
            Err(ReadError::Streams(rest)) => {
                return Box::pin(self.run_stream(route, chosen, head, *rest)).await;
            }
            Err(error) => return Err(unread(&error)),
        };
        let (head, identified) = if read.bytes.len() <= inline_bytes_max(route, chosen, head.fields)
        {
            let identified = route.identify(chosen, &asked, &read.bytes);
            (head, identified)
        } else {
            Box::pin(self.identify_apart(route, chosen, head, read.bytes.clone())).await?
        };
        let identified = match identified {
            Ok(Some(identified)) => identified,
            Ok(None) => return Box::pin(self.without_key(route, head, read.bytes.into())).await,
            Err(IdentifyError::TooLarge) => {
                return Box::pin(self.oversize(route, chosen, head, read.bytes.into())).await;
            }
            Err(error) => return Err(malformed(&error)),
        };
        let about = About::of(&identified, &head);
        if let Some(outcome) = self.engine.recall(&identified.identity, &route.terms) {
            return Ok(self.reply(about, outcome, None));
        }
        // Boxed, so that a replay does not carry the room for it about.
        Ok(Box::pin(self.run(route, head, Sending::Whole(read), (identified.identity, about)))
            .await)
    }

    /// Finds out who asks for what.
    pub(super) async fn identify<'a>(
        &self,
        route: &Arc<Route>,
        chosen: Chosen,
        head: Head<'a>,
        bytes: &Bytes,
    ) -> Result<(Head<'a>, Result<Option<Identified>, IdentifyError>), Problem> {
        if bytes.len() > inline_bytes_max(route, chosen, head.fields) {
            return self.identify_apart(route, chosen, head, bytes.clone()).await;
        }
        let authority = head.authority()?;
        let asked = head.asked(&authority, self.clock.now());
        let identified = route.identify(chosen, &asked, bytes);
        Ok((head, identified))
    }

    /// Finds out who asks for what in another thread, since hashing the body takes long.
    async fn identify_apart<'a>(
        &self,
        route: &Arc<Route>,
        chosen: Chosen,
        head: Head<'a>,
        bytes: Bytes,
    ) -> Result<(Head<'a>, Result<Option<Identified>, IdentifyError>), Problem> {
        let Head { parts, fields, caller, acts_as, hop } = head;
        let (route, now, peer) = (Arc::clone(route), self.clock.now(), Arc::clone(&caller.peer));
        let mut room = Room(self.budget.reserve_none());
        let identify = move || {
            let identified = super::authority_of(&parts, &peer).map(|authority| {
                let certificate = peer.certificate.as_ref().map(Shown::as_bytes);
                let (head, acts_as) = (&parts, acts_as.as_ref());
                let asked = Asked { authority: &authority, head, certificate, now, acts_as, hop };
                route.identify_watched(chosen, &asked, &bytes, &mut room)
            });
            (identified, parts, acts_as)
        };
        let done = tokio::task::spawn_blocking(identify).await;
        let (identified, parts, acts_as) = done.map_err(|_| {
            Problem::new(ProblemKind::Busy, "the body could not be hashed; try again later")
        })?;
        Ok((Head { parts, fields, caller, acts_as, hop }, identified?))
    }

    /// What becomes of a request that has no key.
    pub(super) async fn without_key(
        &self,
        route: &Route,
        head: Head<'_>,
        body: Body,
    ) -> Result<Reply, Problem> {
        if route.requires_key {
            return Err(keyless(route));
        }
        self.pass_unprotected(head, body, Unprotected::KeyMissing).await
    }

    /// What becomes of a request that is too large to be protected: with a key of the caller's,
    /// it has asked for a protection that it can't get; otherwise it is passed on, marked so.
    async fn oversize(
        &self,
        route: &Route,
        chosen: Chosen,
        head: Head<'_>,
        body: Body,
    ) -> Result<Reply, Problem> {
        if route.rejects_oversize(chosen) {
            let max = route.request_bytes_max;
            let detail = format!("a request that is to be protected may have {max} bytes at most");
            return Err(Problem::new(ProblemKind::TooLarge, detail));
        }
        self.pass_unprotected(head, body, Unprotected::BodyTooLarge).await
    }

    /// Passes a request on that should be protected, and says that it is not.
    async fn pass_unprotected(
        &self,
        head: Head<'_>,
        body: Body,
        reason: Unprotected,
    ) -> Result<Reply, Problem> {
        self.metrics.unprotected.increment(reason);
        let mut reply = self.pass_on(head, body).await?;
        reply.response.headers_mut().insert(DUPLICATE_PROTECTION, unprotected(reason));
        Ok(reply)
    }
}

/// Where the key of a request is. A gRPC call is guarded only by one in its header: no JSON is in
/// its body, and a checksum would have to read what may be a stream.
pub(super) fn choose(
    route: &Route,
    asked: &Asked<'_>,
    style: Style,
) -> Result<Chosen, IdentifyError> {
    match style {
        Style::Plain => route.choose(asked),
        Style::Grpc => route.choose_in_header(asked),
    }
}

/// How large a body may be to be identified at once.
fn inline_bytes_max(route: &Route, chosen: Chosen, fields: Fields) -> usize {
    match (route.looks_into(chosen), fields.has(Field::ContentEncoding)) {
        (false, false) => HASHED_INLINE_BYTES_MAX,
        (true, false) | (false, true) => PARSED_INLINE_BYTES_MAX,
        // It may be a thousand times as large when it is decoded.
        (true, true) => 0,
    }
}

/// What a body takes of the budget while it is decoded.
struct Room(Reservation);

impl Watch for Room {
    fn has_room(&mut self, bytes: usize) -> bool {
        self.0.grow(bytes)
    }
}

pub(super) fn malformed(error: &IdentifyError) -> Problem {
    let kind = match error {
        IdentifyError::Malformed(..) => ProblemKind::KeyMalformed,
        IdentifyError::TooLarge => ProblemKind::TooLarge,
        IdentifyError::NoRoom => ProblemKind::Busy,
    };
    Problem::new(kind, error.to_string())
}

fn keyless(route: &Route) -> Problem {
    let sources: Vec<_> = route.key.iter().map(ToString::to_string).collect();
    let detail = format!("a request here needs a key in {}", sources.join(" or "));
    Problem::new(ProblemKind::KeyMissing, detail)
}

fn nobody(route: &Route) -> Problem {
    let sources: Vec<_> = route.caller.iter().map(ToString::to_string).collect();
    let detail = format!("a request here needs to say whose it is by {}", sources.join(" or "));
    Problem::new(ProblemKind::CallerMissing, detail)
}

pub(super) fn unread(error: &ReadError) -> Problem {
    match error {
        ReadError::Broken | ReadError::Streams(_) | ReadError::TooLarge(_) => {
            Problem::new(ProblemKind::BadRequest, "the body broke off, or is not well framed")
        }
        ReadError::OverBudget(_) => Problem::new(
            ProblemKind::Busy,
            "too many bytes of bodies are held in memory; try again later",
        ),
        ReadError::TooSlow(_) => {
            Problem::new(ProblemKind::RequestTimeout, "the body came more slowly than is allowed")
        }
    }
}
