//! The path of one request: admit, match, identify, run, attempt, reply.

mod admit;
mod attempt;
mod body;
mod capture;
mod framing;
mod grpc;
mod guard;
mod hops;
mod live;
mod note;
mod observe;
mod outbound;
mod pass;
mod reply;
mod run;
mod shape;
mod steering;
mod tunnel;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

pub use self::body::{ReplyBody, Streamed, Trailed};
pub use self::live::Live;
use self::note::{Became, Came};
use self::reply::Reply;
pub use self::tunnel::Tunnels;
use crate::clock::{Clock, Timestamp};
use crate::engine::Engine;
use crate::message::{
    Authority, Budget, Field, Fields, Inbound, Pace, Problem, ProblemKind, Scheme,
    overriding_method, scan,
};
use crate::policy::{Asked, Hop, Mode, Policy, Route};
use crate::server::{Caller, Peer};
use crate::telemetry::trace::Traces;
use crate::telemetry::{AccessLog, Feed, Metrics, Tally};
use crate::transport::{Networks, Shown};
use crate::upstream::Upstream;

/// Answers requests: guarded ones through the engine, others by passing them on.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// How requests are guarded.
    pub policy: Arc<Policy>,
    /// What runs guarded operations.
    pub engine: Engine,
    /// Where requests go.
    pub upstream: Upstream,
    /// What requests may be like.
    pub limits: ProxyLimits,
    /// The hops that are believed when they say for whom they speak; none: all of them.
    pub trusted: Networks,
    /// What all bodies together may take in memory.
    pub budget: Budget,
    /// Connections that have become something else than HTTP.
    pub tunnels: Tunnels,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are counted by their route.
    pub tally: Tally,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Where they are traced.
    pub traces: Traces,
    /// Where duplicates are told of.
    pub feed: Feed,
}

/// What requests may be like.
#[derive(Clone, Copy, Debug)]
pub struct ProxyLimits {
    /// The largest header section, in bytes, request line included.
    pub header_bytes_max: usize,
    /// The most header lines.
    pub headers_max: usize,
    /// The longest target, in bytes.
    pub target_bytes_max: usize,
    /// How slowly a body that is read whole may come.
    pub pace: Pace,
    /// How long the upstream may take until its answer to a passed request begins.
    pub pass_timeout: Duration,
}

/// A request's header, and who sent it.
pub(crate) struct Head<'a> {
    parts: Parts,
    fields: Fields,
    caller: &'a Caller,
    /// The method that it asks for instead of its own.
    acts_as: Option<Method>,
    /// Whether its peer is believed when it says for whom it speaks.
    hop: Hop,
}

impl Proxy {
    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>, caller: &Caller) -> Response<ReplyBody> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let mut span = self.traces.begin(&mut parts.headers);
        let hop = hops::judge(&caller.peer, &self.trusted);
        let shaped = shape(&mut parts, &caller.peer, hop);
        let fields = scan(&parts.headers);
        let acts_as = fields.has(Field::MethodOverride).then(|| overriding_method(&parts.headers));
        let body = Inbound::new(body, parts.version);
        let is_told = self.access_log.is_on() || self.feed.is_watched() || span.is_recorded();
        let came = is_told.then(|| Came::of(&parts, &body, &span));
        note::asked(&mut span, &parts, &caller.peer);
        let end = body.end();
        let head = Head { parts, fields, caller, acts_as, hop };
        let style = head.style();
        let (route, reply) = match shaped {
            Ok(()) if span.is_recorded() => Box::pin(span.around(self.handle(head, body))).await,
            Ok(()) => self.handle(head, body).await,
            Err(problem) => (None, problem.into()),
        };
        let switches = reply.response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let reply = if end.is_found() || switches { reply } else { reply.and_close() };
        let took = started.elapsed();
        self.tally.count(route.map(|route| route.index), reply.handled, took);
        if let Some(problem) = reply.problem() {
            self.metrics.refusals.increment(problem);
        }
        let Some(came) = came else { return reply.into_response(style) };
        let became = Became::of(route, took, &reply);
        let response = reply.into_response(style);
        self.note(&came, &became, &response, &mut span);
        response
    }

    /// Answers a request, and says which route it took, if it came to one.
    async fn handle(&self, head: Head<'_>, body: Inbound) -> (Option<&Route>, Reply) {
        if let Err(problem) = self.admit(&head) {
            return (None, turned_away(problem, &head));
        }
        let route = match head.authority() {
            Ok(authority) => {
                // Who asks for another method than its own is after the route of that.
                let method = head.acts_as.as_ref().unwrap_or(&head.parts.method);
                self.policy.route(method, &authority, head.parts.uri.path())
            }
            Err(problem) => return (None, problem.into()),
        };
        let mode = if guards(route, &head) { route.mode } else { Mode::Off };
        let handled = match (mode, admit::admit_guarded(&head)) {
            (Mode::Enforce, Ok(())) => self.guard(route, head, body).await,
            (Mode::Enforce, Err(problem)) => return (Some(route), turned_away(problem, &head)),
            (Mode::Observe, Ok(())) => Box::pin(self.observe(route, head, body)).await,
            (Mode::Observe, Err(problem)) => {
                let passed = self.pass(head, body).await;
                passed.map(|reply| reply.but_for(problem.kind().name(), None))
            }
            (Mode::Off, _) => self.pass(head, body).await,
        };
        (Some(route), handled.unwrap_or_else(Reply::from))
    }
}

/// Brings a request into the shape that all others look at: what it is taken for must not depend
/// on the version that it came by, nor on what was said by whom nobody believes.
fn shape(parts: &mut Parts, peer: &Peer, hop: Hop) -> Result<(), Problem> {
    if hop == Hop::Doubted {
        hops::forget(&mut parts.headers);
    }
    if peer.certificate.is_some() {
        // Who has shown one does not speak for somebody else's.
        parts.headers.remove("x-forwarded-client-cert");
    }
    if parts.version == Version::HTTP_2 {
        shape::to_http1(parts, scheme(peer))
            .map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))?;
    }
    Ok(())
}

/// The refusal of a request that is not what it should be. In HTTP/1, what follows on the
/// connection may not be what it seems; in HTTP/2, a stream never runs into another.
fn turned_away(problem: Problem, head: &Head<'_>) -> Reply {
    match head.parts.version {
        Version::HTTP_2 => Reply::from(problem),
        _ => Reply::from(problem).and_close(),
    }
}

/// Whether a request is guarded: by its method, or since it asks for another.
fn guards(route: &Route, head: &Head<'_>) -> bool {
    route.guards(&head.parts.method) || head.acts_as.is_some()
}

impl Head<'_> {
    /// The host that the request is for, in one spelling.
    fn authority(&self) -> Result<Authority<'_>, Problem> {
        authority_of(&self.parts, &self.caller.peer)
    }

    /// What the request asks for.
    fn asked<'a>(&'a self, authority: &'a Authority<'a>, now: Timestamp) -> Asked<'a> {
        let certificate = self.caller.peer.certificate.as_ref().map(Shown::as_bytes);
        let (head, acts_as) = (&self.parts, self.acts_as.as_ref());
        Asked { authority, head, certificate, now, acts_as, hop: self.hop }
    }

    /// The same header once more, without what can be there only once.
    fn again(&self) -> Self {
        let mut again = Request::new(()).into_parts().0;
        again.method = self.parts.method.clone();
        again.uri = self.parts.uri.clone();
        again.version = self.parts.version;
        again.headers = self.parts.headers.clone();
        Head { parts: again, acts_as: self.acts_as.clone(), ..*self }
    }
}

/// What the connection of a peer is; what its requests say of that does not count.
fn scheme(peer: &Peer) -> Scheme {
    if peer.is_secure { Scheme::Https } else { Scheme::Http }
}

fn authority_of<'a>(parts: &'a Parts, peer: &Peer) -> Result<Authority<'a>, Problem> {
    Authority::of(&parts.uri, &parts.headers, parts.version, scheme(peer))
        .map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))
}
