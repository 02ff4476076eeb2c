//! The proxy's own answers to gRPC calls: a header that is also the trailers, and no body.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::Code;
use crate::message::{Problem, ProblemKind};

/// When a client may try again, in milliseconds; a negative number tells it not to (gRFC A6).
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

impl ProblemKind {
    /// How a gRPC call ends of which that is said.
    pub const fn grpc_code(self) -> Code {
        match self {
            Self::BadRequest | Self::KeyMalformed | Self::KeyMissing | Self::KeyReused => {
                Code::InvalidArgument
            }
            Self::CallerMissing => Code::Unauthenticated,
            Self::InProgress => Code::Aborted,
            // Not to be tried again as it is.
            Self::AnswerNotKept | Self::OutcomeUnknown => Code::FailedPrecondition,
            Self::HeaderTooLarge | Self::TargetTooLong | Self::TooLarge => Code::ResourceExhausted,
            Self::ExpectationFailed | Self::NotImplemented => Code::Unimplemented,
            Self::RequestTimeout | Self::UpstreamTimeout => Code::DeadlineExceeded,
            Self::Busy | Self::StoreFull | Self::StoreUnavailable | Self::UpstreamUnreachable => {
                Code::Unavailable
            }
            Self::UpstreamBroken => Code::Unknown,
        }
    }
}

impl Problem {
    /// The whole answer to a gRPC call: its header is its trailers, and ends it.
    pub fn into_grpc_response(self) -> Response<Bytes> {
        let kind = self.kind();
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(kind.grpc_code().number()));
        let message = percent_encoded(&format!("{}: {}", kind.name(), self.detail));
        if let Ok(message) = message.parse() {
            headers.insert("grpc-message", message);
        }
        let pushback = if kind.is_retryable() { "1000" } else { "-1" };
        headers.insert(RETRY_PUSHBACK, HeaderValue::from_static(pushback));
        self.mark(headers);
        response
    }
}

/// A text as a `grpc-message` field has it.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // Writing to a string can't fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_code() {
        use ProblemKind as Kind;
        let codes = [
            (Kind::AnswerNotKept, 9),
            (Kind::BadRequest, 3),
            (Kind::Busy, 14),
            (Kind::CallerMissing, 16),
            (Kind::ExpectationFailed, 12),
            (Kind::HeaderTooLarge, 8),
            (Kind::InProgress, 10),
            (Kind::KeyMalformed, 3),
            (Kind::KeyMissing, 3),
            (Kind::KeyReused, 3),
            (Kind::NotImplemented, 12),
            (Kind::OutcomeUnknown, 9),
            (Kind::RequestTimeout, 4),
            (Kind::StoreFull, 14),
            (Kind::StoreUnavailable, 14),
            (Kind::TargetTooLong, 8),
            (Kind::TooLarge, 8),
            (Kind::UpstreamBroken, 2),
            (Kind::UpstreamTimeout, 4),
            (Kind::UpstreamUnreachable, 14),
        ];
        assert_eq!(codes.map(|(kind, _)| kind), Kind::ALL);
        for (kind, code) in codes {
            assert_eq!(kind.grpc_code().number(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_header_that_ends_the_call() {
        for kind in ProblemKind::ALL {
            let response = Problem::new(kind, "why").into_grpc_response();
            assert_eq!(response.status(), 200);
            assert!(response.body().is_empty());
            let plain = Problem::new(kind, "why").into_response();
            let (headers, plain) = (response.headers(), plain.headers());
            assert_eq!(headers[header::CONTENT_TYPE], "application/grpc");
            assert_eq!(headers["grpc-message"], format!("{}: why", kind.name()));
            assert_eq!(headers["proxy-status"], plain["proxy-status"]);
            assert_eq!(headers.get(header::RETRY_AFTER), plain.get(header::RETRY_AFTER));
            let pushback = headers[RETRY_PUSHBACK].to_str().unwrap();
            assert_eq!(pushback != "-1", headers.contains_key(header::RETRY_AFTER), "{kind:?}");
        }
    }

    #[test]
    fn a_refusal_about_a_key_names_it() {
        let key = HeaderValue::from_static("a2V5");
        let response = Problem::new(ProblemKind::KeyReused, "").about(key).into_grpc_response();
        assert_eq!(response.headers()["duplicate-key"], "a2V5");
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(percent_encoded("a ~\"b\""), "a ~\"b\"");
        assert_eq!(percent_encoded("100%\n\u{7f}\u{e9}"), "100%25%0A%7F%C3%A9");
    }
}
