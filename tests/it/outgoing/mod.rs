//! The way to the upstream: HTTP/2, TLS and Unix sockets, and every way in which they fail.

mod broken;
mod certificates;
mod frames;
mod front;
mod http2;
mod ledger;
mod mutual;
mod sharing;
mod tls;
mod unix;
mod unsent;

use std::net::SocketAddr;

use crate::support::{Proxy, Reply, Request, Starting, assert_problem};

/// A proxy with one worker before what this URL leads to, which waits longer than any test for a
/// connection, and keeps those that it has.
fn before(url: &str) -> Starting {
    Proxy::before_url(url)
        .arg("--workers", "1")
        .env("ONCEGATE_UPSTREAM_CONNECT_TIMEOUT", "40s")
        .env("ONCEGATE_UPSTREAM_IDLE_TIMEOUT", "1m")
}

/// The same by HTTP/2.
fn by_http2_to(url: &str) -> Starting {
    before(url).env("ONCEGATE_UPSTREAM_HTTP2", "true")
}

/// A proxy with one worker that speaks HTTP/2 to this address.
fn by_http2(upstream: SocketAddr) -> Starting {
    by_http2_to(&format!("http://{upstream}"))
}

/// Fails unless the caller was told that its request was not sent, and for which reason of
/// RFC 9209.
#[track_caller]
fn assert_unsent(reply: &Reply, reason: &str) {
    assert_problem(reply, 502, "upstream-unreachable");
    assert_eq!(reply.json()["retryable"], true, "{reply:?}");
    let status = reply.header("proxy-status");
    assert_eq!(status, Some(format!("oncegate; error={reason}").as_str()), "{reply:?}");
}

/// Sends a request so often, and fails unless each is told that it was not sent: the key is free
/// each time.
async fn assert_never_sent(request: &Request, times: usize, reason: &str) -> Reply {
    for _ in 1..times {
        assert_unsent(&request.clone().send().await, reason);
    }
    let last = request.clone().send().await;
    assert_unsent(&last, reason);
    last
}
