//! What is logged and traced of a request, once it is known what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;

use super::reply::Reply;
use super::{Proxy, ReplyBody, authority_of, scheme};
use crate::idempotency::RecordKey;
use crate::message::{Inbound, ProblemKind};
use crate::policy::Route;
use crate::server::Peer;
use crate::telemetry::trace::{Kind, Span, SpanContext, TraceId, child};
use crate::telemetry::{Entry, Handled, Label as _};
use crate::upstream::Upstream;

/// What is known of a request before it is handled.
pub(super) struct Came {
    method: Method,
    target: Option<PathAndQuery>,
    request_bytes: Option<u64>,
    trace_id: Option<TraceId>,
}

/// What became of a request.
pub(super) struct Became<'a> {
    route: Option<&'a Route>,
    /// How long it took until its answer began.
    took: Duration,
    handled: Handled,
    status: StatusCode,
    key: Option<RecordKey>,
    problem: Option<ProblemKind>,
    would_be: Option<&'static str>,
    upstream: Option<Duration>,
    first: Option<SpanContext>,
}

/// How long the upstream took, told by whoever sent the request there. A clone is told the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Took(Arc<AtomicU64>);

impl Took {
    /// Begins to measure.
    pub(super) fn begin(&self) -> Measure {
        Measure { took: self.clone(), began: Instant::now() }
    }

    /// The time that was measured, if it was.
    pub(super) fn time(&self) -> Option<Duration> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }
}

/// A time that is measured; it ends when this is dropped.
pub(super) struct Measure {
    took: Took,
    began: Instant,
}

impl Drop for Measure {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.took.0.store(nanos.max(1), Ordering::Relaxed);
    }
}

impl Came {
    pub(super) fn of(parts: &Parts, body: &Inbound, span: &Span) -> Self {
        let said = || SpanContext::of(&parts.headers).map(|context| context.trace_id);
        Self {
            method: parts.method.clone(),
            target: parts.uri.path_and_query().cloned(),
            request_bytes: body.size_hint().exact(),
            trace_id: span.trace_id().or_else(said),
        }
    }
}

impl<'a> Became<'a> {
    pub(super) fn of(route: Option<&'a Route>, took: Duration, reply: &Reply) -> Self {
        Self {
            route,
            took,
            handled: reply.handled,
            status: reply.status(),
            key: reply.key,
            problem: reply.problem(),
            would_be: reply.would_be,
            upstream: reply.upstream,
            first: reply.first,
        }
    }
}

impl Proxy {
    /// Logs a request, and says in its span what became of it.
    pub(super) fn note(
        &self,
        came: &Came,
        became: &Became<'_>,
        response: &Response<ReplyBody>,
        span: &mut Span,
    ) {
        let is_logged = self.access_log.wants(became.handled);
        if !(is_logged || self.feed.is_watched() || span.is_recorded()) {
            return;
        }
        let key = became.key.map(RecordKey::to_base64);
        let response_bytes = response.body().known_bytes();
        let entry = Entry {
            time: self.clock.now().before(became.took),
            route: became.route(),
            method: came.method.as_str(),
            path: came.target.as_ref().map_or("", PathAndQuery::path),
            status: became.status.as_u16(),
            handled: became.handled,
            key: key.as_deref(),
            problem: became.problem.map(ProblemKind::name),
            would_be: became.would_be,
            duration: became.took,
            upstream: became.upstream,
            request_bytes: came.request_bytes,
            response_bytes,
            trace_id: came.trace_id,
        };
        if is_logged {
            self.access_log.log(&entry);
        }
        self.feed.tell(&entry);
        if !span.is_recorded() {
            return;
        }
        for (name, bytes) in [
            ("http.request.body.size", came.request_bytes),
            ("http.response.body.size", response_bytes),
        ] {
            if let Some(bytes) = bytes {
                span.set(name, bytes);
            }
        }
        if let Some(path) = became.route.and_then(|route| route.rule.path.as_ref()) {
            span.set("http.route", path.to_string());
            span.name(format!("{} {path}", known(&came.method).unwrap_or("HTTP")));
        }
        if let Some(key) = key {
            span.set("oncegate.duplicate_key", key);
        }
        became.tell(span);
    }
}

impl<'a> Became<'a> {
    /// What the route is called.
    fn route(&self) -> &'a str {
        self.route.map_or("", |route| &route.name)
    }

    fn tell(&self, span: &mut Span) {
        span.set("oncegate.outcome", self.handled.name());
        span.set("oncegate.route", self.route().to_owned());
        answered(span, self.status, |status| status.is_server_error());
        if let Some(problem) = self.problem {
            span.set("oncegate.problem", problem.name());
            if self.status.is_server_error() {
                span.fail(problem.name());
            }
        }
        if let Some(would_be) = self.would_be {
            span.set("oncegate.would_be", would_be);
        }
        if let Some(first) = self.first {
            span.link(first);
        }
    }
}

/// Says in a span which status a request was answered with, which may be a failure.
pub(super) fn answered(span: &mut Span, status: StatusCode, fails: fn(StatusCode) -> bool) {
    span.set("http.response.status_code", status.as_u16());
    if fails(status) {
        span.fail(status.as_str().to_owned());
    } else {
        span.succeed();
    }
}

/// Whether a status is a failure for whoever has asked.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Says in the span of a request what it asks for. Queries may hold secrets, and are left out.
pub(super) fn asked(span: &mut Span, parts: &Parts, peer: &Peer) {
    if !span.is_recorded() {
        return;
    }
    named(span, &parts.method);
    span.set("url.scheme", scheme(peer).name());
    span.set("url.path", parts.uri.path().to_owned());
    span.set("network.protocol.version", version(parts.version));
    // One that is not valid may be anything.
    if let Ok(authority) = authority_of(parts, peer) {
        let (host, port) = authority.host_and_port();
        span.set("server.address", host.to_owned());
        span.set("server.port", port);
    }
    // Unless it is answered, its caller has left.
    span.set("error.type", "caller-left");
}

/// Begins the span of a request that is sent to the upstream, and makes the request part of it.
pub(super) fn outgoing<B>(request: &mut Request<B>, upstream: &Upstream) -> Span {
    let mut span = child(Kind::Client);
    if span.is_recorded() {
        named(&mut span, request.method());
        let (host, port) = upstream.place();
        span.set("server.address", host);
        if let Some(port) = port {
            span.set("server.port", port);
        }
        span.set("url.path", request.uri().path().to_owned());
        // Unless it is answered, it was given up.
        span.fail("given-up");
        span.show(request.headers_mut());
    }
    span
}

/// Names a span after a method, if that is one of those that are known: others could be anything.
fn named(span: &mut Span, method: &Method) {
    let known = known(method);
    span.name(known.unwrap_or("HTTP"));
    span.set("http.request.method", known.unwrap_or("_OTHER"));
}

/// The name of a method, if it is one of those that are known.
fn known(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => return None,
    })
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
