//! The proxy's own answers: problem details (RFC 9457) with a `Proxy-Status` (RFC 9209).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// What an answer of the proxy's own says; the list is closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProblemKind {
    /// The operation was executed, but its answer could not be kept.
    AnswerNotKept,
    /// The request is not one that can be forwarded safely.
    BadRequest,
    /// A limit on simultaneous work was reached.
    Busy,
    /// The request does not say whose it is, where that is asked for.
    CallerMissing,
    /// An `Expect` field asks for something unknown.
    ExpectationFailed,
    /// The header section is larger than allowed.
    HeaderTooLarge,
    /// The first request with the key is still running.
    InProgress,
    /// The key is not well formed.
    KeyMalformed,
    /// The request has no key, where one is asked for.
    KeyMissing,
    /// The key was used before for another request.
    KeyReused,
    /// The method or the transfer coding is not implemented.
    NotImplemented,
    /// Whether the operation was executed is not known.
    OutcomeUnknown,
    /// The body arrived too slowly.
    RequestTimeout,
    /// The store holds as much as it may.
    StoreFull,
    /// The store could not be asked.
    StoreUnavailable,
    /// The request target is longer than allowed.
    TargetTooLong,
    /// The body is larger than can be protected.
    TooLarge,
    /// The upstream broke off, or answered what is not HTTP.
    UpstreamBroken,
    /// The upstream has not answered in time.
    UpstreamTimeout,
    /// The request never reached the upstream.
    UpstreamUnreachable,
}

/// One answer of the proxy's own.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    pub(super) detail: Cow<'static, str>,
    cause: &'static str,
    duplicate_key: Option<HeaderValue>,
}

/// When to try again.
const RETRY_AFTER_SECONDS: u16 = 1;

impl ProblemKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 20] = [
        Self::AnswerNotKept,
        Self::BadRequest,
        Self::Busy,
        Self::CallerMissing,
        Self::ExpectationFailed,
        Self::HeaderTooLarge,
        Self::InProgress,
        Self::KeyMalformed,
        Self::KeyMissing,
        Self::KeyReused,
        Self::NotImplemented,
        Self::OutcomeUnknown,
        Self::RequestTimeout,
        Self::StoreFull,
        Self::StoreUnavailable,
        Self::TargetTooLong,
        Self::TooLarge,
        Self::UpstreamBroken,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
    ];

    /// The name in the problem's type, `urn:oncegate:NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnswerNotKept => "answer-not-kept",
            Self::BadRequest => "bad-request",
            Self::Busy => "busy",
            Self::CallerMissing => "caller-missing",
            Self::ExpectationFailed => "expectation-failed",
            Self::HeaderTooLarge | Self::TargetTooLong | Self::TooLarge => "too-large",
            Self::InProgress => "in-progress",
            Self::KeyMalformed => "key-malformed",
            Self::KeyMissing => "key-missing",
            Self::KeyReused => "key-reused",
            Self::NotImplemented => "not-implemented",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::RequestTimeout => "request-timeout",
            Self::StoreFull => "store-full",
            Self::StoreUnavailable => "store-unavailable",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamUnreachable => "upstream-unreachable",
        }
    }

    /// The status that the answer has.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::CallerMissing | Self::KeyMalformed | Self::KeyMissing => {
                StatusCode::BAD_REQUEST
            }
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::AnswerNotKept | Self::InProgress | Self::OutcomeUnknown => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::UpstreamBroken | Self::UpstreamUnreachable => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::StoreFull | Self::StoreUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The problem in a few words.
    const fn title(self) -> &'static str {
        match self {
            Self::AnswerNotKept => "The answer was not kept",
            Self::BadRequest => "Bad request",
            Self::Busy => "Too busy",
            Self::CallerMissing => "The caller is not known",
            Self::ExpectationFailed => "Expectation failed",
            Self::HeaderTooLarge => "The header is too large",
            Self::InProgress => "The first request is still running",
            Self::KeyMalformed => "The key is malformed",
            Self::KeyMissing => "A key is needed",
            Self::KeyReused => "The key was used for another request",
            Self::NotImplemented => "Not implemented",
            Self::OutcomeUnknown => "The outcome is unknown",
            Self::RequestTimeout => "The body came too slowly",
            Self::StoreFull => "The store is full",
            Self::StoreUnavailable => "The store is unavailable",
            Self::TargetTooLong => "The target is too long",
            Self::TooLarge => "The body is too large",
            Self::UpstreamBroken => "The upstream broke off",
            Self::UpstreamTimeout => "The upstream has not answered in time",
            Self::UpstreamUnreachable => "The upstream cannot be reached",
        }
    }

    /// Whether the same request may be sent again, and may fare better then.
    pub(super) const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::InProgress
                | Self::RequestTimeout
                | Self::StoreFull
                | Self::StoreUnavailable
                | Self::UpstreamUnreachable
        )
    }

    /// The error of RFC 9209, section 2.3, unless a more exact one is known.
    const fn cause(self) -> &'static str {
        match self {
            Self::BadRequest
            | Self::ExpectationFailed
            | Self::HeaderTooLarge
            | Self::KeyMalformed
            | Self::KeyMissing
            | Self::NotImplemented
            | Self::RequestTimeout
            | Self::TargetTooLong => "http_request_error",
            Self::AnswerNotKept
            | Self::CallerMissing
            | Self::InProgress
            | Self::KeyReused
            | Self::OutcomeUnknown
            | Self::TooLarge => "http_request_denied",
            Self::Busy => "connection_limit_reached",
            Self::StoreFull | Self::StoreUnavailable => "proxy_internal_error",
            Self::UpstreamBroken => "http_response_incomplete",
            Self::UpstreamTimeout => "http_response_timeout",
            Self::UpstreamUnreachable => "destination_unavailable",
        }
    }
}

impl Problem {
    /// A problem of this kind; `detail` says what was found and what would be right.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), cause: kind.cause(), duplicate_key: None }
    }

    /// The same with a more exact error of RFC 9209, section 2.3.
    #[must_use]
    pub const fn cause(mut self, cause: &'static str) -> Self {
        self.cause = cause;
        self
    }

    /// The same about a key, so that an operator can look it up.
    #[must_use]
    pub fn about(mut self, duplicate_key: HeaderValue) -> Self {
        self.duplicate_key = Some(duplicate_key);
        self
    }

    /// The kind.
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The whole answer.
    pub fn into_response(self) -> Response<Bytes> {
        let kind = self.kind;
        let retryable = kind.is_retryable();
        let body = format!(
            "{{\"type\":\"urn:oncegate:{}\",\"title\":{},\"status\":{},\"detail\":{},\
             \"retryable\":{retryable}}}\n",
            kind.name(),
            serde_json::Value::from(kind.title()),
            kind.status().as_u16(),
            serde_json::Value::from(self.detail.as_ref()),
        );
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = kind.status();
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.mark(headers);
        response
    }

    /// Says whose answer it is and why, when to try again, and which key it is about.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        if let Ok(status) = format!("oncegate; error={}", self.cause).parse() {
            headers.insert("proxy-status", status);
        }
        if self.kind.is_retryable() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if let Some(key) = self.duplicate_key {
            headers.insert("duplicate-key", key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_valid_json_and_says_what_it_is() {
        for kind in ProblemKind::ALL {
            let response = Problem::new(kind, "found \"a\"\n").into_response();
            let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(json["type"], format!("urn:oncegate:{}", kind.name()));
            assert_eq!(json["status"], response.status().as_u16());
            assert_eq!(json["detail"], "found \"a\"\n");
            let retryable = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(json["retryable"], retryable);
            assert!(response.headers()["proxy-status"].to_str().unwrap().contains("error="));
        }
    }

    #[test]
    fn a_problem_about_a_key_names_it() {
        let key = HeaderValue::from_static("a2V5");
        let response = Problem::new(ProblemKind::KeyReused, "").about(key).into_response();
        assert_eq!(response.headers()["duplicate-key"], "a2V5");
    }
}
