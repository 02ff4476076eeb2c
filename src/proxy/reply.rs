//! What a caller gets: outcomes and problems as answers.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{Proxy, ReplyBody};
use crate::idempotency::{
    Answer, Broken, Caller, Failure, Limit, Outcome, Provenance, RecordKey, Refusal, Unreachable,
};
use crate::message::{Problem, ProblemKind};
use crate::telemetry::Handled;

const DUPLICATE_KEY: HeaderName = HeaderName::from_static("duplicate-key");
const DUPLICATE_REQUEST: HeaderName = HeaderName::from_static("duplicate-request");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer, and what is counted and logged of it.
pub(super) struct Reply {
    pub(super) response: Response<ReplyBody>,
    pub(super) handled: Handled,
    pub(super) key: Option<RecordKey>,
    pub(super) problem: Option<ProblemKind>,
    /// What would have become of the request, if it was only observed.
    pub(super) would_be: Option<&'static str>,
}

/// Whose operation an answer is about.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) key: RecordKey,
    pub(super) caller: Caller,
}

impl About {
    fn duplicate_key(&self) -> HeaderValue {
        // Base64 is visible ASCII.
        HeaderValue::try_from(self.key.to_base64()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Reply {
    /// The answer to a request that has no key.
    pub(super) fn without_key(response: Response<ReplyBody>, handled: Handled) -> Self {
        Self { response, handled, key: None, problem: None, would_be: None }
    }

    /// The same to a request that was only observed: this would have become of it.
    pub(super) fn but_for(self, would_be: &'static str, key: Option<RecordKey>) -> Self {
        Self { handled: Handled::Observed, would_be: Some(would_be), key, ..self }
    }

    /// The same, as the last one of its connection.
    pub(super) fn and_close(mut self) -> Self {
        let close = HeaderValue::from_static("close");
        self.response.headers_mut().insert(header::CONNECTION, close);
        self
    }

    fn problem(problem: Problem, handled: Handled, key: Option<RecordKey>) -> Self {
        let kind = problem.kind();
        let response = problem.into_response().map(ReplyBody::Full);
        Self { response, handled, key, problem: Some(kind), would_be: None }
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
        Self::problem(problem, handled, None)
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
            Outcome::Answered { answer, provenance, answered_at } => {
                let age = self.clock.now().since(answered_at).as_secs();
                let handled = match provenance {
                    Provenance::Executed => Handled::Executed,
                    Provenance::Collapsed => Handled::Collapsed,
                    Provenance::Replayed => Handled::Replayed,
                };
                let response = answered(&about, &answer, provenance, age);
                return Reply { key: Some(about.key), ..Reply::without_key(response, handled) };
            }
            Outcome::Streaming => match streamed {
                Some(response) => {
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
    let mut response = Response::new(ReplyBody::Full(answer.body()));
    *response.status_mut() =
        StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let lines = answer.lines();
    let headers = response.headers_mut();
    headers.reserve(lines.len() + 5);
    let is_repeat = provenance != Provenance::Executed;
    let hides_cookies = is_repeat && about.caller == Caller::Anonymous;
    for line in lines {
        // They were names and values when the upstream sent them.
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line.name), HeaderValue::from_maybe_shared(line.value))
        else {
            continue;
        };
        // Nobody knows whether this is who the cookie was made for.
        if !(hides_cookies && name == header::SET_COOKIE) {
            headers.append(name, value);
        }
    }
    if is_repeat {
        headers.insert(DUPLICATE_REQUEST, HeaderValue::from_static("true"));
        headers.insert(DUPLICATE_KEY, about.duplicate_key());
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        headers.insert(header::AGE, HeaderValue::from(age));
    }
    response
}

/// What is told when there is no answer.
pub(super) fn failed(failure: Failure) -> Problem {
    use ProblemKind::{UpstreamBroken, UpstreamTimeout, UpstreamUnreachable};
    let (kind, detail, cause) = match failure {
        Failure::Unreachable(Unreachable::Refused) => {
            (UpstreamUnreachable, "the upstream refuses connections", "connection_refused")
        }
        Failure::Unreachable(Unreachable::ConnectTimeout) => {
            (UpstreamUnreachable, "the upstream did not accept in time", "connection_timeout")
        }
        Failure::Unreachable(Unreachable::NoAddress) => {
            (UpstreamUnreachable, "the upstream's name has no address", "dns_error")
        }
        Failure::Unreachable(Unreachable::Unsent) => {
            (UpstreamUnreachable, "the upstream closed unused connections", "connection_terminated")
        }
        Failure::Broken(Broken::Incomplete) => (
            UpstreamBroken,
            "the upstream broke off before its answer had come whole; \
             whether the request was executed is not known",
            "http_response_incomplete",
        ),
        Failure::Broken(Broken::Malformed) => (
            UpstreamBroken,
            "the upstream's answer is not valid HTTP; \
             whether the request was executed is not known",
            "http_protocol_error",
        ),
        Failure::Broken(Broken::Abandoned) => (
            UpstreamBroken,
            "the work was abandoned; whether the request was executed is not known",
            "proxy_internal_error",
        ),
        Failure::TimedOut => (
            UpstreamTimeout,
            "the upstream has not answered in time; the request may still be executed",
            "http_response_timeout",
        ),
    };
    Problem::new(kind, detail).cause(cause)
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
        Limit::Waiters => "too many requests wait for others; try again later",
        Limit::WaitersPerKey => "too many requests wait for this key; try again later",
        Limit::Bytes => "too many bytes of bodies are held in memory; try again later",
    }
}
