//! Requests that turn their connection into something else, such as a WebSocket.

use std::sync::Arc;

use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::admit::names_upgrade;
use super::attempt::failure;
use super::pass::passed;
use super::reply::{Reply, failed};
use super::{Head, Proxy, ReplyBody, outbound};
use crate::idempotency::Failure;
use crate::message::{Body, Problem, ProblemKind};

impl Proxy {
    /// Whether the connection may become something else.
    ///
    /// Never HTTP again: inside such a tunnel, requests would reach the upstream unguarded.
    pub(super) fn may_tunnel(head: &Head<'_>) -> bool {
        let headers = &head.parts.headers;
        let is_http = |protocol: &[u8]| {
            let name = protocol.trim_ascii().to_ascii_lowercase();
            name.starts_with(b"h2") || name.starts_with(b"http") || name.starts_with(b"tls")
        };
        let mut protocols = headers
            .get_all(header::UPGRADE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        names_upgrade(headers) && !protocols.any(is_http)
    }

    /// Passes a request on over a connection of its own, and joins both connections if the
    /// upstream switches. No byte goes either way before that.
    pub(super) async fn tunnel(
        &self,
        mut head: Head<'_>,
        body: Incoming,
    ) -> Result<Reply, Problem> {
        let Ok(place) = Arc::clone(&self.tunnels).try_acquire_owned() else {
            let detail = "too many connections are tunnels; try again later";
            return Err(Problem::new(ProblemKind::Busy, detail));
        };
        let protocol = head.parts.headers.get(header::UPGRADE).cloned();
        let caller = head.parts.extensions.remove::<OnUpgrade>();
        let mut request = outbound::passed(head, Body::Incoming(body), &self.upstream);
        ask(&mut request, protocol);
        let sent = self.upstream.send_alone(request);
        let mut response = match tokio::time::timeout(self.limits.pass_timeout, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(failure(&error))),
            Err(_) => return Err(failed(Failure::TimedOut)),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed(response.map(ReplyBody::Alone)));
        }
        let upstream = hyper::upgrade::on(&mut response);
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let mut reply = passed(response.map(|_| ReplyBody::empty()));
        let headers = reply.response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(header::UPGRADE, protocol);
        }
        if let Some(caller) = caller {
            tokio::spawn(async move {
                join(caller, upstream).await;
                drop(place);
            });
        }
        Ok(reply)
    }
}

fn ask(request: &mut Request<Body>, protocol: Option<HeaderValue>) {
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Copies both ways until both sides have ended.
async fn join(caller: OnUpgrade, upstream: OnUpgrade) {
    let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else { return };
    let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
    // What breaks a tunnel is seen by both sides.
    let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
}
