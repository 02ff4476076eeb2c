//! What a caller gets: outcomes and problems as answers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::body::Trailed;
use super::{Head, Proxy, ReplyBody};
use crate::idempotency::{
    Answer, Broken, Caller, Failure, Limit, Line, Outcome, Provenance, RecordKey, Refusal,
    Unreachable,
};
use crate::message::{Problem, ProblemKind, Style};
use crate::policy::Identified;
use crate::telemetry::trace::SpanContext;
use crate::telemetry::{Handled, Unprotected};

const DUPLICATE_KEY: HeaderName = HeaderName::from_static("duplicate-key");
pub(super) const DUPLICATE_PROTECTION: HeaderName = HeaderName::from_static("duplicate-protection");
const DUPLICATE_REQUEST: HeaderName = HeaderName::from_static("duplicate-request");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer, and what is counted and logged of it.
pub(super) struct Reply {
    /// The answer; if there is a problem, what it says besides that.
    pub(super) response: Response<ReplyBody>,
    pub(super) handled: Handled,
    pub(super) key: Option<RecordKey>,
    pub(super) problem: Option<Box<Problem>>,
    /// What would have become of the request, if it was only observed.
    pub(super) would_be: Option<&'static str>,
    /// How long the upstream took for it.
    pub(super) upstream: Option<Duration>,
    /// The span of the first request, if this is a repeat.
    pub(super) first: Option<SpanContext>,
}

/// Whose operation an answer is about.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) key: RecordKey,
    pub(super) caller: Caller,
    /// The version in which it is asked for.
    pub(super) version: Version,
}

impl About {
    pub(super) fn of(identified: &Identified, head: &Head<'_>) -> Self {
        let (key, version) = (identified.identity.key, head.parts.version);
        Self { key, caller: identified.caller, version }
    }

    fn duplicate_key(&self) -> HeaderValue {
        // Base64 is visible ASCII.
        HeaderValue::try_from(self.key.to_base64()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Reply {
    /// The answer to a request that has no key.
    pub(super) fn without_key(response: Response<ReplyBody>, handled: Handled) -> Self {
        Self {
            response,
            handled,
            key: None,
            problem: None,
            would_be: None,
            upstream: None,
            first: None,
        }
    }

    /// The same to a request that was only observed: this would have become of it.
    pub(super) fn but_for(self, would_be: &'static str, key: Option<RecordKey>) -> Self {
        Self { handled: Handled::Observed, would_be: Some(would_be), key, ..self }
    }

    /// The same, for which the upstream took so long.
    pub(super) fn after(self, upstream: Option<Duration>) -> Self {
        Self { upstream, ..self }
    }

    /// The same, as the last one of its connection.
    pub(super) fn and_close(mut self) -> Self {
        let close = HeaderValue::from_static("close");
        self.response.headers_mut().insert(header::CONNECTION, close);
        self
    }

    /// The problem that it tells of, if any.
    pub(super) fn problem(&self) -> Option<ProblemKind> {
        self.problem.as_ref().map(|problem| problem.kind())
    }

    /// The status that it has, or would have if its caller did not speak gRPC.
    pub(super) fn status(&self) -> StatusCode {
        self.problem().map_or(self.response.status(), ProblemKind::status)
    }

    /// The answer as its caller understands it.
    pub(super) fn into_response(self, style: Style) -> Response<ReplyBody> {
        let Some(problem) = self.problem else { return self.response };
        let response = match style {
            Style::Plain => problem.into_response(),
            Style::Grpc => problem.into_grpc_response(),
        };
        let mut response = response.map(ReplyBody::Full);
        response.headers_mut().extend(self.response.into_parts().0.headers);
        response
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let handled = match problem.kind() {
            ProblemKind::UpstreamBroken
            | ProblemKind::UpstreamTimeout
            | ProblemKind::UpstreamUnreachable => Handled::Failed,
            ProblemKind::AnswerNotKept
            | ProblemKind::BadRequest
            | ProblemKind::Busy
            | ProblemKind::CallerMissing
            | ProblemKind::ExpectationFailed
            | ProblemKind::HeaderTooLarge
            | ProblemKind::InProgress
            | ProblemKind::KeyMalformed
            | ProblemKind::KeyMissing
            | ProblemKind::KeyReused
            | ProblemKind::NotImplemented
            | ProblemKind::OutcomeUnknown
            | ProblemKind::RequestTimeout
            | ProblemKind::StoreFull
            | ProblemKind::StoreUnavailable
            | ProblemKind::TargetTooLong
            | ProblemKind::TooLarge => Handled::Refused,
        };
        let response = Response::new(ReplyBody::empty());
        Self { problem: Some(Box::new(problem)), ..Self::without_key(response, handled) }
    }
}

impl Proxy {
    /// The reply that an outcome is; `streamed` is an answer that was not kept.
    pub(super) fn reply(
        &self,
        about: About,
        outcome: Outcome,
        streamed: Option<Response<ReplyBody>>,
    ) -> Reply {
        let problem = match outcome {
            Outcome::Answered { answer, provenance, answered_at, origin } => {
                let age = self.clock.now().since(answered_at).as_secs();
                let handled = match provenance {
                    Provenance::Executed | Provenance::Unprotected => Handled::Executed,
                    Provenance::Collapsed => Handled::Collapsed,
                    Provenance::Replayed => Handled::Replayed,
                };
                let response = answered(&about, &answer, provenance, age);
                let first = match provenance {
                    Provenance::Executed | Provenance::Unprotected => None,
                    Provenance::Collapsed | Provenance::Replayed => {
                        origin.and_then(|origin| origin.span())
                    }
                };
                let key = Some(about.key);
                return Reply { key, first, ..Reply::without_key(response, handled) };
            }
            Outcome::Streaming(provenance) => match streamed {
                Some(mut response) => {
                    if provenance == Provenance::Unprotected {
                        let mark = unprotected(Unprotected::StoreUnavailable);
                        response.headers_mut().insert(DUPLICATE_PROTECTION, mark);
                    }
                    let handled = Handled::Executed;
                    return Reply { key: Some(about.key), ..Reply::without_key(response, handled) };
                }
                None => refused(Refusal::AnswerNotKept),
            },
            Outcome::Failed(failure) => failed(failure),
            Outcome::Refused(refusal) => refused(refusal),
        };
        let reply = Reply::from(problem.about(about.duplicate_key()));
        Reply { key: Some(about.key), ..reply }
    }
}

/// An answer of the upstream's, marked unless this caller's request was executed.
fn answered(
    about: &About,
    answer: &Answer,
    provenance: Provenance,
    age: u64,
) -> Response<ReplyBody> {
    let mut response = Response::new(body_of(answer, about.version));
    *response.status_mut() =
        StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let lines = answer.lines();
    let headers = response.headers_mut();
    headers.reserve(lines.len() + 5);
    let is_repeat = matches!(provenance, Provenance::Collapsed | Provenance::Replayed);
    let hides_cookies = is_repeat && about.caller == Caller::Anonymous;
    for (name, value) in lines.filter_map(field) {
        // Nobody knows whether this is who the cookie was made for.
        if !(hides_cookies && name == header::SET_COOKIE) {
            headers.append(name, value);
        }
    }
    if provenance == Provenance::Unprotected {
        headers.insert(DUPLICATE_PROTECTION, unprotected(Unprotected::StoreUnavailable));
    }
    if is_repeat {
        headers.insert(DUPLICATE_REQUEST, HeaderValue::from_static("true"));
        headers.insert(DUPLICATE_KEY, about.duplicate_key());
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        headers.insert(header::AGE, HeaderValue::from(age));
    }
    response
}

/// What the answer to a request says that went without protection.
pub(super) const fn unprotected(reason: Unprotected) -> HeaderValue {
    HeaderValue::from_static(match reason {
        Unprotected::BodyTooLarge => "none; reason=\"body-too-large\"",
        Unprotected::CallerUnknown => "none; reason=\"caller-unknown\"",
        Unprotected::KeyMissing => "none; reason=\"key-missing\"",
        Unprotected::StoreUnavailable => "none; reason=\"store-unavailable\"",
    })
}

/// The body of an answer, with its trailers where they can be told.
///
/// Over HTTP/1 they can't: its answers have a length, so that nothing follows them.
fn body_of(answer: &Answer, version: Version) -> ReplyBody {
    if version != Version::HTTP_2 || !answer.has_trailers() {
        return ReplyBody::Full(answer.body());
    }
    let mut trailers = HeaderMap::with_capacity(answer.trailers().len());
    for (name, value) in answer.trailers().filter_map(field) {
        trailers.append(name, value);
    }
    ReplyBody::Trailed(Box::new(Trailed::new(answer.body(), trailers)))
}

/// A line as a header field: it was one when the upstream sent it.
fn field(line: Line<'_>) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(line.name).ok()?;
    Some((name, HeaderValue::from_maybe_shared(line.value).ok()?))
}

/// What is told when there is no answer.
pub(super) fn failed(failure: Failure) -> Problem {
    use ProblemKind::{UpstreamBroken, UpstreamTimeout, UpstreamUnreachable};
    let (kind, (detail, cause)) = match failure {
        // It fares no better the next time.
        Failure::Unreachable(Unreachable::UnsendableHost) => {
            (ProblemKind::BadRequest, unreachable(Unreachable::UnsendableHost))
        }
        Failure::Unreachable(reason) => (UpstreamUnreachable, unreachable(reason)),
        Failure::Broken(reason) => (UpstreamBroken, broken(reason)),
        Failure::TimedOut => (
            UpstreamTimeout,
            (
                "the upstream has not answered in time; the request may still be executed",
                "http_response_timeout",
            ),
        ),
    };
    Problem::new(kind, detail).cause(cause)
}

/// The error of RFC 9209 that it is that a request was not sent.
pub(super) const fn unreachable_cause(reason: Unreachable) -> &'static str {
    unreachable(reason).1
}

/// The error of RFC 9209 that it is that nobody knows what became of a request.
pub(super) const fn broken_cause(reason: Broken) -> &'static str {
    broken(reason).1
}

/// Why a request was not sent, and the error of RFC 9209 that it is.
const fn unreachable(reason: Unreachable) -> (&'static str, &'static str) {
    match reason {
        Unreachable::Refused => ("the upstream refuses connections", "connection_refused"),
        Unreachable::ConnectTimeout => {
            ("the upstream did not accept in time", "connection_timeout")
        }
        Unreachable::NoAddress => ("the upstream's name has no address", "dns_error"),
        Unreachable::Unsent => ("the upstream closed unused connections", "connection_terminated"),
        Unreachable::CertificateNotTrusted => {
            ("nobody who is trusted has signed the upstream's certificate", "tls_certificate_error")
        }
        Unreachable::CertificateOfAnother => {
            ("the upstream's certificate is made out for another name", "tls_certificate_error")
        }
        Unreachable::CertificateExpired => {
            ("the upstream's certificate has expired, or is not valid yet", "tls_certificate_error")
        }
        Unreachable::CertificateInvalid => {
            ("the upstream's certificate is not valid", "tls_certificate_error")
        }
        Unreachable::CertificateRefused => (
            "the upstream does not accept the certificate that this proxy has shown, or needs one",
            "tls_alert_received",
        ),
        Unreachable::TlsAlert => {
            ("the upstream has ended the TLS handshake with an alert", "tls_alert_received")
        }
        Unreachable::TlsFailed => {
            ("the TLS handshake with the upstream has failed", "tls_protocol_error")
        }
        Unreachable::ProtocolNotAgreed => (
            "the upstream does not speak the version of HTTP over TLS that it should",
            "tls_protocol_error",
        ),
        Unreachable::NotHttp2 => ("the upstream does not speak HTTP/2", "http_protocol_error"),
        Unreachable::TurnedAway => {
            ("the upstream has turned the request away unseen", "destination_unavailable")
        }
        Unreachable::ConnectionsFull => {
            ("all connections to the upstream are full of requests", "connection_limit_reached")
        }
        Unreachable::UnsendableHost => {
            ("the Host field is none that can be sent on by HTTP/2", "http_request_error")
        }
    }
}

/// Why it is not known what became of a request, and the error of RFC 9209 that it is.
const fn broken(reason: Broken) -> (&'static str, &'static str) {
    match reason {
        Broken::Incomplete => (
            "the upstream broke off before its answer had come whole; \
             whether the request was executed is not known",
            "http_response_incomplete",
        ),
        Broken::Malformed => (
            "the upstream's answer is not valid HTTP; \
             whether the request was executed is not known",
            "http_protocol_error",
        ),
        Broken::Abandoned => (
            "the work was abandoned; whether the request was executed is not known",
            "proxy_internal_error",
        ),
    }
}

pub(super) fn refused(refusal: Refusal) -> Problem {
    use ProblemKind as Kind;
    match refusal {
        Refusal::KeyReused(part) => Problem::new(
            Kind::KeyReused,
            format!("the key was used before for a request with another {}", part.name()),
        ),
        Refusal::InProgress => Problem::new(
            Kind::InProgress,
            "the first request with this key is still running; try again later",
        ),
        Refusal::OutcomeUnknown => Problem::new(
            Kind::OutcomeUnknown,
            "an earlier request with this key may have been executed; it is not sent again",
        ),
        Refusal::AnswerNotKept => Problem::new(
            Kind::AnswerNotKept,
            "the first request with this key was executed, and its answer was not kept",
        ),
        Refusal::Busy(limit) => Problem::new(Kind::Busy, busy(limit)),
        Refusal::StoreFull => {
            Problem::new(Kind::StoreFull, "no more answers can be kept; try again later")
        }
        Refusal::StoreUnavailable => {
            Problem::new(Kind::StoreUnavailable, "the store cannot be asked; try again later")
        }
    }
}

const fn busy(limit: Limit) -> &'static str {
    match limit {
        Limit::Flights => "too many operations are running; try again later",
        Limit::FlightsPerConnection => {
            "too many operations that this connection has begun are running; try again later"
        }
        Limit::Waiters => "too many requests wait for others; try again later",
        Limit::WaitersPerKey => "too many requests wait for this key; try again later",
        Limit::Bytes => "too many bytes of bodies are held in memory; try again later",
    }
}
