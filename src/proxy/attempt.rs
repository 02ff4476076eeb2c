//! One exchange with the upstream, as the work of an operation: here HTTP and idempotency meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::ReplyBody;
use super::body::Streamed;
use super::capture::{Captured, capture};
use super::framing::Framing;
use super::grpc::{self, Ending};
use super::note::{Took, answered, is_failure, outgoing};
use super::pass::passed_on;
use super::reply::{broken_cause, unreachable_cause};
use super::steering::Steering;
use crate::clock::Clock;
use crate::idempotency::{Answer, AnswerBuilder, Attempt, Broken, Failure, Unreachable};
use crate::message::{Body, Field, Reservation, Style, clean, scan};
use crate::policy::{Class, Route};
use crate::server::Running;
use crate::telemetry::trace::Span;
use crate::transport::TlsFault;
use crate::upstream::{AnswerBody, Lane, Lost, NotSent, SendError, Upstream};

/// One exchange with the upstream.
pub(super) struct Exchange {
    pub(super) upstream: Upstream,
    pub(super) request: Request<Body>,
    pub(super) answering: Answering,
    /// Who is told how long it took.
    pub(super) took: Took,
}

/// What becomes of the answer.
pub(super) struct Answering {
    pub(super) route: Arc<Route>,
    pub(super) goal: Goal,
    /// What the answer's body consists of.
    pub(super) style: Style,
    /// The memory that the request takes, and that its answer may take.
    pub(super) reservation: Reservation,
    /// Where an answer goes that is not kept.
    pub(super) stream: oneshot::Sender<Response<ReplyBody>>,
    pub(super) clock: Clock,
    /// That it counts as begun by its connection.
    pub(super) running: Running,
}

/// What an exchange is for.
pub(super) enum Goal {
    /// Its answer is to be kept.
    Keep,
    /// Its answer goes to the caller as it comes, and that there was one is kept.
    Stream,
    /// Only what kind of answer it has is; the answer itself goes to the caller as it comes.
    Observe {
        /// That it has begun.
        begun: Arc<AtomicBool>,
        /// The room that the request takes.
        _room: Arc<Reservation>,
    },
}

impl Goal {
    /// Which requests it may share a connection with.
    const fn lane(&self) -> Lane {
        match self {
            Self::Keep => Lane::Whole,
            Self::Stream | Self::Observe { .. } => Lane::Streamed,
        }
    }
}

impl Exchange {
    /// Sends the request, and reads the answer whole.
    pub(super) async fn attempt(mut self) -> Attempt {
        let mut span = outgoing(&mut self.request, &self.upstream);
        let _measured = self.took.begin();
        let attempt = self.exchange(&mut span).await;
        match &attempt {
            Attempt::NotSent(reason) => span.fail(unreachable_cause(*reason)),
            Attempt::Unknown(reason) => span.fail(broken_cause(*reason)),
            Attempt::Keep(_)
            | Attempt::KeepFor(..)
            | Attempt::Discard(_)
            | Attempt::Hold(_)
            | Attempt::Streaming
            | Attempt::StreamingDiscard
            | Attempt::StreamingHold => {}
        }
        attempt
    }

    async fn exchange(self, span: &mut Span) -> Attempt {
        let Self { upstream, request, mut answering, took: _ } = self;
        if let Goal::Observe { begun, .. } = &answering.goal {
            begun.store(true, Ordering::Release);
        }
        let response = match upstream.send(request, answering.goal.lane()).await {
            Ok(response) => response,
            Err(error) => return without_answer(error),
        };
        let (mut parts, body) = response.into_parts();
        answered(span, parts.status, is_failure);
        let Ok(framing) = Framing::of(&parts, &body) else {
            return Attempt::Unknown(Broken::Malformed);
        };
        let steering = Steering::of(&parts.headers);
        let response_bytes_max = answering.route.response_bytes_max;
        let streams = matches!(answering.goal, Goal::Stream)
            || framing == Framing::Close
            || is_stream(&parts)
            || body.size_hint().lower() > response_bytes_max as u64;
        if let Goal::Observe { .. } = answering.goal {
            return answering.observed(steering, streams, Response::from_parts(parts, body));
        }
        clean_answer(&mut parts, &answering.clock);
        if streams {
            return answering.stream(steering, parts, Bytes::new(), body);
        }
        let Answering { style, reservation, .. } = &mut answering;
        match capture(parts, body, *style, response_bytes_max, reservation).await {
            Ok(Captured::Whole(answer)) => answering.judge(steering, answer),
            Ok(Captured::Partly(parts, first, rest)) => {
                answering.stream(steering, parts, first, rest)
            }
            Err(_) => Attempt::Unknown(Broken::Incomplete),
        }
    }
}

impl Answering {
    /// What a whole answer does to its key.
    fn judge(&self, steering: Steering, answer: Answer) -> Attempt {
        match (steering, self.class(&answer)) {
            (Steering::No, _) | (Steering::None, Class::Release) => Attempt::Discard(answer),
            (Steering::For(window), _) => Attempt::KeepFor(answer, window),
            (Steering::None, Class::Keep) => Attempt::Keep(answer),
            (Steering::None, Class::Hold) => Attempt::Hold(answer),
        }
    }

    /// What kind of answer a whole one is: one of gRPC's by how the call has ended, and any other
    /// by its status.
    fn class(&self, answer: &Answer) -> Class {
        let classes = &self.route.classes;
        match self.style {
            Style::Plain => classes.classify(answer.status()),
            Style::Grpc => match grpc::ending(answer) {
                Ending::Code(code) => classes.classify(code.http_status()),
                Ending::Missing => Class::Hold,
                Ending::Foreign => classes.classify(answer.status()),
            },
        }
    }

    /// Hands an answer to the first caller as it comes.
    fn stream(self, steering: Steering, parts: Parts, first: Bytes, rest: AnswerBody) -> Attempt {
        let attempt = self.judge_streamed(steering, parts.status);
        let Self { route, stream, running, .. } = self;
        let streamed = Streamed::new(first, rest, route.terms.linger, running);
        let body = ReplyBody::Streamed(Box::new(streamed));
        // A caller who has left drops it.
        let _ = stream.send(Response::from_parts(parts, body));
        attempt
    }

    /// What an answer does to its key that can't be kept.
    fn judge_streamed(&self, steering: Steering, status: StatusCode) -> Attempt {
        match (steering, self.route.classes.classify(status.as_u16())) {
            (Steering::No, _) | (Steering::None, Class::Release) => Attempt::StreamingDiscard,
            (Steering::None, Class::Hold) => Attempt::StreamingHold,
            (Steering::None, Class::Keep) | (Steering::For(_), _) => Attempt::Streaming,
        }
    }

    /// Hands an answer to the caller as it comes, and keeps that there was one.
    fn observed(
        self,
        steering: Steering,
        streams: bool,
        response: Response<AnswerBody>,
    ) -> Attempt {
        let status = response.status();
        let mut seen = AnswerBuilder::new(status.as_u16());
        // Of a call that goes on, the end is not known yet: it is taken for a good one.
        let code = response.headers().get("grpc-status").map_or(&b"0"[..], HeaderValue::as_bytes);
        if self.style == Style::Grpc && status == StatusCode::OK {
            seen.line(b"grpc-status", code);
        }
        let attempt = match streams {
            true => self.judge_streamed(steering, status),
            false => self.judge(steering, seen.finish(b"")),
        };
        let response = passed_on(response.map(ReplyBody::Passed));
        let _ = self.stream.send(response);
        attempt
    }
}

/// Whether an answer has no end that could be waited for.
fn is_stream(parts: &Parts) -> bool {
    let media_type =
        parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is = |name: &[u8]| {
        media_type.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    is(b"text/event-stream") || is(b"multipart/x-mixed-replace")
}

/// Removes what belonged to the upstream's connection, and dates the answer.
fn clean_answer(parts: &mut Parts, clock: &Clock) {
    let fields = scan(&parts.headers);
    clean(&mut parts.headers, fields);
    if fields.has(Field::Age) {
        parts.headers.remove(header::AGE);
    }
    parts.version = Version::HTTP_11;
    if !fields.has(Field::Date) {
        // A repeat must not be dated otherwise than the first answer.
        let date = httpdate::fmt_http_date(clock.now().as_system_time());
        if let Ok(date) = HeaderValue::try_from(date) {
            parts.headers.insert(header::DATE, date);
        }
    }
}

/// What it means that there is no answer.
pub(super) const fn failure(error: SendError) -> Failure {
    match error {
        SendError::NotSent(reason) => Failure::Unreachable(unreachable(reason)),
        SendError::Unknown(lost) => Failure::Broken(broken(lost)),
    }
}

const fn without_answer(error: SendError) -> Attempt {
    match error {
        SendError::NotSent(reason) => Attempt::NotSent(unreachable(reason)),
        SendError::Unknown(lost) => Attempt::Unknown(broken(lost)),
    }
}

const fn unreachable(reason: NotSent) -> Unreachable {
    match reason {
        NotSent::Refused => Unreachable::Refused,
        NotSent::TimedOut => Unreachable::ConnectTimeout,
        NotSent::NoAddress => Unreachable::NoAddress,
        NotSent::Closed => Unreachable::Unsent,
        NotSent::Tls(TlsFault::NotTrusted) => Unreachable::CertificateNotTrusted,
        NotSent::Tls(TlsFault::WrongName) => Unreachable::CertificateOfAnother,
        NotSent::Tls(TlsFault::Expired) => Unreachable::CertificateExpired,
        NotSent::Tls(TlsFault::Invalid) => Unreachable::CertificateInvalid,
        NotSent::Tls(TlsFault::ClientRefused) => Unreachable::CertificateRefused,
        NotSent::Tls(TlsFault::Alerted) => Unreachable::TlsAlert,
        NotSent::Tls(TlsFault::Failed) => Unreachable::TlsFailed,
        NotSent::Tls(TlsFault::NotAgreed(_)) => Unreachable::ProtocolNotAgreed,
        NotSent::NotHttp2 => Unreachable::NotHttp2,
        NotSent::TurnedAway => Unreachable::TurnedAway,
        NotSent::Full => Unreachable::ConnectionsFull,
        NotSent::Host => Unreachable::UnsendableHost,
    }
}

const fn broken(lost: Lost) -> Broken {
    match lost {
        Lost::BrokenOff => Broken::Incomplete,
        Lost::Malformed => Broken::Malformed,
    }
}
