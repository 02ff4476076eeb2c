//! Requests that are passed on, streamed both ways.

use http::request::Parts;
use http::{HeaderValue, Method, Response, Version, header};
use http_body::Body as _;

use super::attempt::failure;
use super::framing::Framing;
use super::note::{Took, answered, is_failure, outgoing};
use super::reply::{Reply, failed};
use super::{Head, Proxy, ReplyBody, outbound};
use crate::idempotency::Failure;
use crate::message::{Body, Field, Inbound, Problem, ProblemKind, clean, scan};
use crate::telemetry::Handled;
use crate::telemetry::trace::Span;
use crate::upstream::Lane;

impl Proxy {
    /// Passes a request on that is not guarded.
    pub(super) async fn pass(&self, head: Head<'_>, body: Inbound) -> Result<Reply, Problem> {
        head.authority()?;
        if head.fields.has(Field::Upgrade) && Self::may_tunnel(&head) {
            return self.tunnel(head, body).await;
        }
        if !may_pass(&head) {
            let detail = "the target needs a path that begins with /, or OPTIONS and *";
            return Err(Problem::new(ProblemKind::BadRequest, detail));
        }
        self.pass_on(head, body.into()).await
    }

    /// Sends a request on, and its answer back.
    pub(super) async fn pass_on(&self, head: Head<'_>, mut body: Body) -> Result<Reply, Problem> {
        let uploaded = match &mut body {
            Body::Arriving(arriving) => Some(arriving.sent()),
            Body::Empty | Body::Full(_) => None,
        };
        let mut request = outbound::passed(head, body, &self.upstream);
        let (took, mut span) = (Took::default(), outgoing(&mut request, &self.upstream));
        let measured = took.begin();
        let sent = self.upstream.send(request, Lane::Streamed);
        let response = match uploaded {
            None => tokio::time::timeout(self.limits.pass_timeout, sent).await.ok(),
            // The upstream's time begins when it has all that it could answer to.
            Some(uploaded) => tokio::select! {
                biased;
                response = sent => Some(response),
                () = async {
                    let _ = uploaded.await;
                    tokio::time::sleep(self.limits.pass_timeout).await;
                } => None,
            },
        };
        drop(measured);
        match response {
            None => Err(lost(Failure::TimedOut, &mut span)),
            Some(Err(error)) => Err(lost(failure(error), &mut span)),
            Some(Ok(response)) => {
                answered(&mut span, response.status(), is_failure);
                Ok(passed(response.map(ReplyBody::Passed))?.after(took.time()))
            }
        }
    }
}

/// What is told, also to those who trace it, when there is no answer.
pub(super) fn lost(failure: Failure, span: &mut Span) -> Problem {
    let problem = failed(failure);
    span.fail(problem.kind().name());
    problem
}

fn may_pass(head: &Head<'_>) -> bool {
    let Parts { method, uri, .. } = &head.parts;
    uri.path().starts_with('/') || (method == Method::OPTIONS && uri.path() == "*")
}

/// An answer that is passed on.
pub(super) fn passed(response: Response<ReplyBody>) -> Result<Reply, Problem> {
    let (parts, body) = response.into_parts();
    if Framing::of(&parts, &body).is_err() {
        return Err(unasked());
    }
    let response = passed_on(Response::from_parts(parts, body));
    Ok(Reply::without_key(response, Handled::Passed))
}

/// A well framed answer without what belonged to the upstream's connection.
pub(super) fn passed_on(response: Response<ReplyBody>) -> Response<ReplyBody> {
    let (mut parts, body) = response.into_parts();
    let fields = scan(&parts.headers);
    clean(&mut parts.headers, fields);
    if fields.has(Field::ContentLength)
        && !fields.has(Field::TransferEncoding)
        && let Some(length) = body.size_hint().exact().filter(|length| *length != 0)
    {
        // One line, whatever the upstream wrote. An answer to HEAD keeps its own.
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, body)
}

/// What is told when the upstream answers in a way that nobody had asked for.
pub(super) fn unasked() -> Problem {
    let detail = "the upstream answered in a protocol or a transfer coding that was not asked for";
    Problem::new(ProblemKind::UpstreamBroken, detail).cause("http_protocol_error")
}
