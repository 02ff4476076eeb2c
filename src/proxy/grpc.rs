//! gRPC calls: which are guarded, and how their answers have ended.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};

use super::Head;
use crate::idempotency::Answer;
use crate::message::{Code, Field, Style};

/// How long a caller waits, and the largest number that may stand there.
const TIMEOUT: &str = "grpc-timeout";
const TIMEOUT_MAX: u64 = 99_999_999;

impl Head<'_> {
    /// What the bodies of the request and of its answer consist of.
    pub(super) fn style(&self) -> Style {
        let is_grpc = self.fields.has(Field::Grpc) && self.parts.method == Method::POST;
        if is_grpc { Style::Grpc } else { Style::Plain }
    }
}

/// Makes a guarded call ask for an answer that does not depend on its caller: it may be replayed to
/// one who reads no compressed messages, and to one who has more time. A caller's deadline would
/// have the upstream give up the work, of which nobody would know then how far it has come; so the
/// upstream has as long as its answer is listened for.
pub(super) fn outlive_caller(headers: &mut HeaderMap, patience: Duration) {
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    if headers.contains_key(TIMEOUT) {
        let deadline = format!("{}S", patience.as_secs().clamp(1, TIMEOUT_MAX));
        if let Ok(deadline) = deadline.parse() {
            headers.insert(TIMEOUT, deadline);
        }
    }
}

/// How a whole answer to a gRPC call says that the call has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// With this code.
    Code(Code),
    /// It says that all is well, but not how the call has ended: its end is missing, as cleanly
    /// as it was cut off, or it is none of gRPC's.
    Missing,
    /// It says by its status what a load balancer says, for one.
    Foreign,
}

/// How a whole answer to a gRPC call says that the call has ended: behind its body, or in its
/// header if it has none.
pub(super) fn ending(answer: &Answer) -> Ending {
    let mut lines = answer.trailers().chain(answer.lines());
    if let Some(status) = lines.find(|line| line.name == b"grpc-status") {
        return Ending::Code(Code::from_value(&status.value));
    }
    match answer.status() {
        200..300 => Ending::Missing,
        _ => Ending::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::AnswerBuilder;

    type Lines = [(&'static str, &'static str)];

    #[track_caller]
    fn check(status: u16, lines: &Lines, trailers: &Lines, expected: Ending) {
        let mut builder = AnswerBuilder::new(status);
        for (name, value) in lines {
            builder.line(name.as_bytes(), value.as_bytes());
        }
        for (name, value) in trailers {
            builder.trailer(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(ending(&builder.finish(b"")), expected);
    }

    #[test]
    fn a_deadline_is_never_that_of_the_caller() {
        let sent = |lines: &[&'static str], seconds| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TIMEOUT, HeaderValue::from_static(line));
            }
            outlive_caller(&mut headers, Duration::from_secs(seconds));
            let lines = headers.get_all(TIMEOUT).iter();
            lines.map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(sent(&["500m"], 900), [b"900S"]);
        assert_eq!(sent(&["1n", "2H"], 900), [b"900S"]);
        assert_eq!(sent(&["1H"], 0), [b"1S"]);
        assert_eq!(sent(&["1H"], u64::MAX), [b"99999999S"]);
        assert!(sent(&[], 900).is_empty());
    }

    #[test]
    fn an_answer_ends_as_its_trailers_say_or_else_its_header() {
        let grpc = ("content-type", "application/grpc");
        check(200, &[grpc], &[("grpc-status", "0")], Ending::Code(Code::Ok));
        check(200, &[grpc, ("grpc-status", "5")], &[], Ending::Code(Code::NotFound));
        check(
            200,
            &[grpc, ("grpc-status", "0")],
            &[("grpc-status", "13")],
            Ending::Code(Code::Internal),
        );
        check(200, &[grpc], &[("x", "1"), ("grpc-status", "99")], Ending::Code(Code::Unknown));
        check(503, &[("grpc-status", "14")], &[], Ending::Code(Code::Unavailable));
    }

    #[test]
    fn an_answer_that_does_not_say_is_cut_or_foreign() {
        let grpc = ("content-type", "application/grpc+proto");
        check(200, &[grpc], &[("x", "1")], Ending::Missing);
        check(503, &[grpc], &[], Ending::Foreign);
        check(502, &[("content-type", "text/html")], &[], Ending::Foreign);
        check(200, &[("content-type", "text/html")], &[], Ending::Missing);
        check(200, &[], &[], Ending::Missing);
    }
}
