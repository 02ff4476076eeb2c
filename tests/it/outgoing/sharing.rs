//! Many requests on few connections: how many there are, who waits for them, and when they close.

use tokio::net::TcpStream;

use super::frames::{FramePeer, STREAMS_MAX};
use super::ledger::{Ledger, Saying};
use super::{assert_unsent, by_http2};
use crate::support::{
    Connection, Gate, Peer, Proxy, Reserved, assert_executed, assert_problem, client, read_all,
};

/// So many requests, none equal to another, which have reached the ledger.
async fn running(proxy: &Proxy, ledger: &Ledger, count: usize) -> Vec<Connection> {
    let mut callers = Vec::new();
    for number in 0..count {
        let request = client(proxy).post("/charges").key(format!("k{number}"));
        callers.push(request.body(format!("{number}")).open().await);
    }
    ledger.wait_for_hits(count).await;
    callers
}

/// Waits until every request that was sent waits for a connection.
async fn all_wait(proxy: &Proxy) {
    proxy.has_read_all().await;
    for _ in 0..3 {
        // one that the proxy answers by itself comes after all that it has read before
        let refused = client(proxy).get("/").host("a,b").send().await;
        assert_problem(&refused, 400, "bad-request");
    }
}

/// Requests that come together before there is a connection share one.
#[tokio::test]
async fn first_requests_share_one_connection() {
    let ledger = Ledger::start(200).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let mut callers = running(&proxy, &ledger, 60).await;
    assert_eq!(ledger.connections(), 1);
    gate.open();
    for reply in read_all(&mut callers).await {
        assert_executed(&reply);
        assert_eq!(reply.text(), "done");
    }
    assert_eq!((ledger.hits(), ledger.executions_max()), (60, 1));
}

/// No more than a hundred run on a connection, whatever the upstream allows.
#[tokio::test]
async fn a_full_connection_gets_another_beside_it() {
    let ledger = Ledger::start(1000).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let mut callers = running(&proxy, &ledger, 150).await;
    assert_eq!(ledger.connections(), 2);
    gate.open();
    read_all(&mut callers).await.iter().for_each(assert_executed);
    // one is enough again
    let mut connections = Vec::new();
    for number in 0..10 {
        let request = client(&proxy).post("/more").key(format!("more{number}")).body("10");
        assert_executed(&request.send().await);
        connections.push(ledger.last().connection);
    }
    assert!(connections.windows(2).all(|pair| pair[0] == pair[1]), "{connections:?}");
}

/// What the upstream allows is kept to, from the first request on.
#[tokio::test]
async fn as_many_run_on_a_connection_as_the_upstream_allows() {
    let ledger = Ledger::start(3).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let mut callers = running(&proxy, &ledger, 10).await;
    assert_eq!(ledger.connections(), 4);
    gate.open();
    read_all(&mut callers).await.iter().for_each(assert_executed);
    assert_eq!(ledger.executions_max(), 1);
}

/// When all connections that may be are full, a request is turned away, and not kept waiting; its
/// key is free.
#[tokio::test]
async fn a_request_that_finds_no_room_is_not_sent() {
    let ledger = Ledger::start(1).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let mut callers = running(&proxy, &ledger, 100).await;
    let request = client(&proxy).post("/charges").key("one-more").body("one more");
    for _ in 0..3 {
        assert_unsent(&request.clone().send().await, "connection_limit_reached");
    }
    assert_eq!((ledger.hits(), ledger.connections()), (100, 100));
    gate.open();
    read_all(&mut callers).await.iter().for_each(assert_executed);
    assert_executed(&request.send().await);
    assert_eq!(ledger.executions_max(), 1);
}

/// A connection that is not used is closed in good order; the next request gets a new one.
#[tokio::test]
async fn an_idle_connection_is_closed() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).arg("--upstream-idle-timeout", "500ms").start().await;
    let gate = Gate::shut();
    for round in 1..=3 {
        let request = client(&proxy).post("/charges").key(format!("round{round}")).body("10");
        assert_executed(&request.send().await);
        assert_eq!(ledger.connections(), round);
        ledger.wait_for_ends(round).await;
    }
    // one with a request on it is not idle, however long that takes
    ledger.always(Saying::new("done").after(&gate));
    let mut callers = running(&proxy, &ledger, 4).await.split_off(3);
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    gate.open();
    assert_executed(&callers[0].read().await);
    assert_eq!(ledger.connections(), 4);
}

/// Whoever is passed on can make the upstream close a connection, by a body in crumbs, say: no
/// request whose outcome is kept is on it.
#[tokio::test]
async fn what_is_passed_on_shares_no_connection_with_what_is_kept() {
    let peer = FramePeer::start().await;
    let observed = "[[route]]\nname = \"observed\"\npath = \"/observed\"\nmode = \"observe\"\n";
    let proxy = by_http2(peer.addr).toml(observed).start().await;
    let mut guarded = client(&proxy).post("/charges").key("k1").body("10").open().await;
    let mut kept = peer.accept().await;
    let charge = kept.request().await;
    let mut reading = client(&proxy).get("/charges").open().await;
    let mut passed = peer.accept().await;
    let read = passed.request().await;
    let mut observed = client(&proxy).post("/observed").key("k1").open().await;
    let would_be_kept = passed.request().await;
    passed.answer(read.stream, "read").await;
    assert_eq!(reading.read().await.text(), "read");
    passed.answer(would_be_kept.stream, "observed").await;
    assert_eq!(observed.read().await.text(), "observed");
    drop(passed);
    kept.answer(charge.stream, "charged").await;
    assert_eq!(guarded.read().await.text(), "charged");
    peer.assert_no_more_connections();
}

/// A body in crumbs goes on in fewer frames, as far as they come together.
#[tokio::test]
async fn crumbs_are_put_together() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let body = "x".repeat(400);
    let mut caller = client(&proxy).post("/import").body(&body).chunked(1).open().await;
    let mut frames = peer.accept().await;
    let (mut pieces, mut bytes) = (0, 0);
    let stream = loop {
        let frame = frames.wait_for("a piece", |frame| frame.kind == 0).await;
        (pieces, bytes) = (pieces + 1, bytes + frame.payload.len());
        if frame.flags & 1 != 0 {
            break frame.stream;
        }
    };
    assert_eq!(bytes, body.len());
    // how many come together is for the network to say
    assert!(pieces < 100, "{pieces} pieces");
    frames.answer(stream, "imported").await;
    assert_eq!(caller.read().await.text(), "imported");
}

/// The connection that a request has caused does not depend on it: who waits for it, too, gets it.
#[tokio::test]
async fn a_request_that_is_taken_back_takes_no_connection_along() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let stream = TcpStream::connect(proxy.addr()).await.expect("connecting to the proxy");
    let (mut caller, connection) = h2::client::handshake(stream).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let first = http::Request::get("http://api.example/one").body(()).expect("a request");
    let (answer, _) = caller.send_request(first, true).expect("a stream");
    let mut frames = peer.connection().await;
    drop(answer);
    drop(caller);
    // it ends when the reset has gone
    driver.await.expect("no panic").expect("a good end");
    let mut second = client(&proxy).get("/two").open().await;
    all_wait(&proxy).await;
    frames.settings(&[]).await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "two").await;
    assert_eq!(second.read().await.text(), "two");
    assert_eq!(frames.requests, 1, "nothing is sent for what was taken back");
    peer.assert_no_more_connections();
}

/// A connection that can't be made fails those who wait for it, together and at once, and nobody
/// after them.
#[tokio::test]
async fn a_failed_connection_fails_only_who_waits_for_it() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut callers = Vec::new();
    for number in 0..20 {
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        callers.push(request.open().await);
    }
    let frames = peer.connection().await;
    all_wait(&proxy).await;
    drop(frames);
    for reply in read_all(&mut callers).await {
        assert_unsent(&reply, "connection_terminated");
    }
    peer.assert_no_more_connections();
    let mut caller = client(&proxy).post("/charges").key("k0").body("10").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "done").await;
    assert_executed(&caller.read().await);
}

/// An upstream that is not there is tried anew for each request, and is found when it comes.
#[tokio::test]
async fn an_upstream_that_comes_late_is_found() {
    let reserved = Reserved::new();
    let proxy = by_http2(reserved.addr).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    for _ in 0..3 {
        assert_unsent(&request.clone().send().await, "connection_refused");
    }
    let ledger = Ledger::at(reserved.release(), 100).await;
    assert_executed(&request.send().await);
    assert_eq!(ledger.hits(), 1);
}

/// Streams that the upstream takes away while requests run are not used by further ones.
#[tokio::test]
async fn what_the_upstream_allows_may_change() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut one = client(&proxy).get("/one").open().await;
    let mut frames = peer.accept_with(&[(STREAMS_MAX, 5)]).await;
    let first = frames.request().await;
    frames.settings(&[(STREAMS_MAX, 1)]).await;
    frames.wait_for("that it is known", |frame| frame.kind == 4 && frame.flags == 1).await;
    let mut two = client(&proxy).get("/two").open().await;
    let mut others = peer.accept().await;
    let second = others.request().await;
    others.answer(second.stream, "two").await;
    frames.answer(first.stream, "one").await;
    assert_eq!(two.read().await.text(), "two");
    assert_eq!(one.read().await.text(), "one");
    assert_eq!((frames.requests, others.requests), (1, 1));
}

/// By HTTP/1.1, nothing of this changes anything.
#[tokio::test]
async fn by_http1_each_request_has_its_connection() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let mut one = client(&proxy).get("/one").open().await;
    let mut first = peer.accept().await;
    first.request().await;
    let mut two = client(&proxy).get("/two").open().await;
    let mut second = peer.accept().await;
    second.request().await;
    second.write("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\ntwo").await;
    first.write("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\none").await;
    assert_eq!(two.read().await.text(), "two");
    assert_eq!(one.read().await.text(), "one");
}
