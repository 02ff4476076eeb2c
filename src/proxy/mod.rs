//! The path of one request: admit, match, identify, run, attempt, reply.

mod admit;
mod attempt;
mod body;
mod capture;
mod framing;
mod guard;
mod outbound;
mod pass;
mod reply;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub use self::body::{ReplyBody, Streamed};
use self::reply::Reply;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::message::{Authority, Budget, Field, Fields, Pace, Problem, ProblemKind, scan};
use crate::policy::Guard;
use crate::server::{Caller, Service};
use crate::telemetry::{AccessLog, Entry, Metrics};
use crate::upstream::Upstream;

/// Answers requests: guarded ones through the engine, others by passing them on.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// How requests are guarded.
    pub guard: Arc<Guard>,
    /// What runs guarded operations.
    pub engine: Engine,
    /// Where requests go.
    pub upstream: Upstream,
    /// What requests may be like.
    pub limits: ProxyLimits,
    /// What all bodies together may take in memory.
    pub budget: Budget,
    /// Places for connections that have become something else than HTTP.
    pub tunnels: Arc<Semaphore>,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are logged.
    pub access_log: AccessLog,
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
}

impl Service for Proxy {
    type Body = ReplyBody;

    async fn call(&self, request: Request<Incoming>, caller: &Caller) -> Response<ReplyBody> {
        let started = self.clock.now();
        let (parts, body) = request.into_parts();
        let logged = self.access_log.is_on().then(|| (parts.method.clone(), parts.uri.clone()));
        let fields = scan(&parts.headers);
        let reply = self.handle(Head { parts, fields, caller }, body).await;
        self.metrics.requests.increment(reply.handled);
        if let Some(problem) = reply.problem {
            self.metrics.refusals.increment(problem);
        }
        if let Some((method, uri)) = logged.filter(|_| self.access_log.wants(reply.handled)) {
            self.access_log.log(&Entry {
                time: started,
                method: method.as_str(),
                path: uri.path(),
                status: reply.response.status().as_u16(),
                handled: reply.handled,
                key: reply.key.as_ref().map(|key| key.to_base64()).as_deref(),
                problem: reply.problem.map(ProblemKind::name),
                duration: self.clock.now().since(started),
            });
        }
        reply.response
    }
}

impl Head<'_> {
    /// The host that the request is for, in one spelling.
    fn authority(&self) -> Result<Authority<'_>, Problem> {
        Authority::of(&self.parts.uri, &self.parts.headers, self.parts.version)
            .map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))
    }
}

impl Proxy {
    /// Whether a request is guarded: by its method, or by one that it asks for instead.
    fn guards(&self, head: &Head<'_>) -> bool {
        self.guard.guards(&head.parts.method) || head.fields.has(Field::MethodOverride)
    }

    async fn handle(&self, head: Head<'_>, body: Incoming) -> Reply {
        let handled = match self.admit(&head) {
            // Whatever follows on the connection may not be what it seems.
            Err(problem) => return Reply::from(problem).and_close(),
            Ok(()) if self.guards(&head) => self.guard(head, body).await,
            Ok(()) => self.pass(head, body).await,
        };
        handled.unwrap_or_else(Reply::from)
    }
}
