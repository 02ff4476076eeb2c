//! Requests that are passed on, streamed both ways.

use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::attempt::failure;
use super::reply::{Reply, failed};
use super::{Head, Proxy, ReplyBody, outbound};
use crate::idempotency::Failure;
use crate::message::{Body, Field, Problem, ProblemKind, clean, scan};
use crate::telemetry::Handled;

impl Proxy {
    /// Passes a request on that is not guarded.
    pub(super) async fn pass(&self, head: Head<'_>, body: Incoming) -> Result<Reply, Problem> {
        head.authority()?;
        if head.fields.has(Field::Upgrade) && Self::may_tunnel(&head) {
            return self.tunnel(head, body).await;
        }
        let body = if body.is_end_stream() { Body::Empty } else { Body::Incoming(body) };
        self.pass_on(head, body).await
    }

    /// Sends a request on, and its answer back.
    pub(super) async fn pass_on(&self, head: Head<'_>, body: Body) -> Result<Reply, Problem> {
        let request = outbound::passed(head, body, &self.upstream);
        let sent = self.upstream.send(request);
        let response = match tokio::time::timeout(self.limits.pass_timeout, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(failure(&error))),
            Err(_) => return Err(failed(Failure::TimedOut)),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(unasked());
        }
        Ok(passed(response.map(ReplyBody::Passed)))
    }
}

/// An answer that is passed on.
pub(super) fn passed(mut response: Response<ReplyBody>) -> Reply {
    clean_answer(response.headers_mut());
    Reply::without_key(response, Handled::Passed)
}

fn clean_answer(headers: &mut HeaderMap) {
    let fields = scan(headers);
    clean(headers, fields);
}

fn unasked() -> Problem {
    let detail = "the upstream switched to a protocol that nobody had asked for";
    Problem::new(ProblemKind::UpstreamBroken, detail).cause("http_upgrade_failed")
}
