//! Requests that turn their connection into something else, such as a WebSocket.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::admit::{is_http, names_upgrade, upgrades};
use super::attempt::failure;
use super::note::{answered, is_failure, outgoing};
use super::pass::{lost, passed, unasked};
use super::reply::Reply;
use super::{Head, Proxy, ReplyBody, outbound};
use crate::idempotency::Failure;
use crate::message::{Body, Inbound, Problem, ProblemKind, clean, scan};
use crate::telemetry::Handled;

/// Connections that have become something else than HTTP. A clone is the same ones.
#[derive(Clone, Debug)]
pub struct Tunnels {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Tunnels {
    /// None yet, and at most so many at a time.
    pub fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { places, tasks: TaskTracker::new() }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until all that are open have ended.
    pub async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

impl Proxy {
    /// Whether the connection may become something else.
    ///
    /// Never HTTP again: inside such a tunnel, requests would reach the upstream unguarded.
    pub(super) fn may_tunnel(head: &Head<'_>) -> bool {
        let headers = &head.parts.headers;
        head.parts.version == Version::HTTP_11
            && names_upgrade(headers)
            && !upgrades(headers).any(is_http)
    }

    /// Passes a request on over a connection of its own, and joins both connections if the
    /// upstream switches. No byte goes either way before that.
    pub(super) async fn tunnel(&self, mut head: Head<'_>, body: Inbound) -> Result<Reply, Problem> {
        let Some(place) = self.tunnels.take() else {
            let detail = "too many connections are tunnels; try again later";
            return Err(Problem::new(ProblemKind::Busy, detail));
        };
        let asked = head.parts.headers.get(header::UPGRADE).cloned();
        let caller = head.parts.extensions.remove::<OnUpgrade>();
        let mut request = outbound::passed(head, body.into(), &self.upstream);
        ask(&mut request, asked.clone());
        let mut span = outgoing(&mut request, &self.upstream);
        let sent = self.upstream.send_alone(request);
        let mut response = match tokio::time::timeout(self.limits.pass_timeout, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(lost(failure(error), &mut span)),
            Err(_) => return Err(lost(Failure::TimedOut, &mut span)),
        };
        answered(&mut span, response.status(), is_failure);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return passed(response.map(ReplyBody::Alone));
        }
        if !was_asked_for(asked.as_ref(), response.headers()) {
            return Err(unasked());
        }
        let upstream = hyper::upgrade::on(&mut response);
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let mut response = response.map(|_| ReplyBody::empty());
        let headers = response.headers_mut();
        let fields = scan(headers);
        clean(headers, fields);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            headers.insert(header::UPGRADE, protocol);
        }
        if let Some(caller) = caller {
            // Counted from before the caller's connection is not counted any more.
            let open = self.metrics.open();
            self.tunnels.tasks.spawn(async move {
                join(caller, upstream).await;
                drop((place, open));
            });
        }
        Ok(Reply::without_key(response, Handled::Passed))
    }
}

fn ask(request: &mut Request<Body>, protocol: Option<HeaderValue>) {
    let headers = request.headers_mut();
    let options = if headers.contains_key(header::TE) { "te, upgrade" } else { "upgrade" };
    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Whether the protocol that the upstream switches to is one that the caller named.
fn was_asked_for(asked: Option<&HeaderValue>, answer: &HeaderMap) -> bool {
    let Some(protocol) = answer.get(header::UPGRADE) else { return false };
    let protocol = protocol.as_bytes().trim_ascii();
    asked.is_some_and(|asked| {
        let mut names = asked.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(protocol))
    })
}

/// Copies both ways until both sides have ended.
async fn join(caller: OnUpgrade, upstream: OnUpgrade) {
    let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else { return };
    let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
    // What breaks a tunnel is seen by both sides.
    let _ = tokio::io::copy_bidirectional(&mut caller, &mut upstream).await;
}
