//! Requests that ask for another protocol: tunnelled where that is safe, and only once it is
//! agreed on.
//!
//! All of this is for HTTP/1.1 alone: HTTP/2 has no upgrades.

use crate::support::{
    Answer, Connection, Exchange, Origin, Peer, Proxy, Request, assert_executed, assert_problem,
    assert_replay, client,
};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: abc\r\n\r\n";

/// A request that asks for a WebSocket.
fn asking(proxy: &Proxy) -> Request {
    let get = client(proxy).get("/chat").caller("a").header("Connection", "keep-alive, Upgrade");
    get.header("Upgrade", "websocket").header("Sec-WebSocket-Key", "xyz")
}

/// A tunnel through the proxy: both its ends.
async fn tunnel(proxy: &Proxy, peer: &Peer) -> (Connection, Exchange) {
    let mut caller = asking(proxy).open().await;
    let mut exchange = peer.accept().await;
    let (head, _) = exchange.request().await;
    assert_eq!(
        (head.first("upgrade"), head.first("sec-websocket-key")),
        (Some("websocket"), Some("xyz"))
    );
    assert!(head.has_token("connection", "upgrade"), "{head:?}");
    assert_eq!(
        (head.first("host"), head.first("authorization")),
        (Some("api.example"), Some("Bearer a"))
    );
    exchange.write(SWITCH).await;
    let reply = caller.read().await;
    assert_eq!((reply.status, reply.header("sec-websocket-accept")), (101, Some("abc")));
    assert!(reply.head.has_token("connection", "upgrade"), "{reply:?}");
    assert_eq!(reply.header("upgrade"), Some("websocket"));
    assert!(!reply.has("content-length") && !reply.has("transfer-encoding"), "{reply:?}");
    (caller, exchange)
}

/// A3: bytes go both ways, in both orders, whatever they look like, until both sides have ended.
#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let (mut caller, mut exchange) = tunnel(&proxy, &peer).await;
    for turn in 0..10 {
        let bytes =
            format!("POST /{turn} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\0\u{ff}");
        caller.write(bytes.as_bytes()).await;
        assert_eq!(exchange.take(bytes.len()).await, bytes.as_bytes());
        exchange.write(bytes.to_uppercase()).await;
        caller.sees(bytes.to_uppercase().as_bytes()).await;
    }
    caller.finish().await;
    assert!(exchange.rest().await.0.is_empty(), "the end of one side is the end for the other");
    exchange.write("last words").await;
    caller.sees(b"last words").await;
    drop(exchange);
    caller.rest().await;
    peer.assert_no_more_connections();
}

/// A3: each end of a tunnel learns that the other has gone.
#[tokio::test]
async fn a_tunnel_ends_with_either_side() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let (caller, mut exchange) = tunnel(&proxy, &peer).await;
    caller.reset();
    exchange.rest().await;
    let (mut caller, exchange) = tunnel(&proxy, &peer).await;
    exchange.close(crate::support::How::Reset);
    caller.rest().await;
    let (mut caller, exchange) = tunnel(&proxy, &peer).await;
    drop(exchange);
    caller.finish().await;
    caller.rest().await;
}

/// P1: nobody knows when a tunnel will end, so it does not hold up the end of the proxy for
/// longer than other work.
#[tokio::test]
async fn a_tunnel_does_not_hold_up_the_end_for_ever() {
    let peer = Peer::start().await;
    let starting = Proxy::before_address(peer.addr).arg("--drain-timeout", "200ms");
    let mut proxy = starting.start().await;
    let (mut caller, mut exchange) = tunnel(&proxy, &peer).await;
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(1), "{}", proxy.log());
    caller.rest().await;
    exchange.rest().await;
}

/// A3: what a caller sends too early does not reach the upstream before its 101.
#[tokio::test]
async fn nothing_is_tunnelled_before_the_upstream_has_agreed() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let early = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut caller = client(&proxy).connect().await;
    caller.write(&[&asking(&proxy).bytes(), early.as_bytes()].concat()).await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    caller.write(early.as_bytes()).await;
    // one whole exchange through the same worker: what would have been sent by then has been
    let mut other = client(&proxy).get("/other").open().await;
    let mut second = peer.accept().await;
    second.request().await;
    second.write("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(other.read().await.status, 200);
    exchange.assert_nothing_came().await;
    exchange.write(SWITCH).await;
    assert_eq!(caller.read().await.status, 101);
    let both = early.repeat(2);
    assert_eq!(exchange.take(both.len()).await, both.as_bytes());
    peer.assert_no_more_connections();
}

/// A3: an upstream that does not agree has answered, and what follows is HTTP again, for which
/// the same rules hold as for every other request.
#[tokio::test]
async fn a_refused_upgrade_is_an_answer_and_opens_no_tunnel() {
    for (status, phrase) in [(200, "Fine"), (426, "Upgrade Required"), (403, "No"), (302, "There")]
    {
        let peer = Peer::start().await;
        let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
        let next = "GET /admin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n";
        let mut caller = client(&proxy).connect().await;
        caller.write(&[&asking(&proxy).bytes(), next.as_bytes()].concat()).await;
        let mut exchange = peer.accept().await;
        exchange.request().await;
        exchange.write(format!("HTTP/1.1 {status} {phrase}\r\nContent-Length: 2\r\n\r\nno")).await;
        let reply = caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (status, "no"));
        assert!(!reply.has("upgrade") || status == 426, "{reply:?}");
        let mut other = peer.accept().await;
        let (head, _) = other.request().await;
        assert!(head.start.starts_with("GET /admin ") && head.has("via"), "{head:?}");
        let (rest, _) = exchange.rest().await;
        assert!(rest.is_empty(), "never raw on the connection of the upgrade");
    }
}

/// A3: a guarded request is one exchange, and cannot become something else.
#[tokio::test]
async fn a_guarded_request_cannot_upgrade() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for key in [None, Some("k1")] {
            for protocol in ["websocket", "websocket, h2c", "anything/1, websocket", ""] {
                let request = client(&proxy).method(method, "/chat").key_if(key).body("10");
                let request = request.header("Connection", "close, upgrade");
                let refused = request.header("Upgrade", protocol).send().await;
                assert_problem(&refused, 400, "bad-request");
            }
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// A3: some clients ask for h2c with whatever they send first; that is answered as it has come.
#[tokio::test]
async fn a_guarded_request_may_ask_for_h2c_and_does_not_get_it() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for key in [None, Some("k1")] {
        let post = client(&proxy).post("/chat").key_if(key).body("10");
        let asking = post.clone().header("Connection", "Upgrade, HTTP2-Settings");
        let asking = asking.header("HTTP2-Settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA");
        let first = asking.header("Upgrade", "h2c").send().await;
        assert_executed(&first);
        assert_replay(&first, &post.send().await);
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!origin.last().head.has(name), "{:?}", origin.last());
        }
    }
    assert_eq!(origin.hits(), 2);
}

/// A3: a protocol that is only mentioned is not asked for, and not mentioned to the upstream.
#[tokio::test]
async fn an_upgrade_that_is_not_asked_for_is_dropped() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = client(&proxy).post("/chat").key("k1").body("10").header("Upgrade", "websocket");
    let first = post.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &post.send().await);
    client(&proxy).get("/chat").header("Upgrade", "websocket").send().await;
    let old = client(&proxy).get("/chat").version10().header("Upgrade", "websocket");
    assert_eq!(old.header("Connection", "upgrade").send().await.status, 201);
    assert_eq!(origin.hits(), 3);
    for seen in origin.requests() {
        assert!(!seen.head.has("upgrade") && !seen.head.has("connection"), "{seen:?}");
    }
}

/// A3: never HTTP again inside a tunnel, where nothing would be guarded.
#[tokio::test]
async fn no_tunnel_leads_to_http() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let settings = "AAMAAABkAARAAAAAAAIAAAAA";
    for (number, protocol) in
        ["h2c", "H2C", "h2", "websocket, h2c", "h2c , websocket", "HTTP/2.0", "TLS/1.2", "http/1.1"]
            .into_iter()
            .enumerate()
    {
        let get = client(&proxy).get("/chat").header("HTTP2-Settings", settings);
        let get = get.header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", protocol);
        let reply = get.send().await;
        assert_eq!((reply.status, origin.hits()), (201, number + 1), "{protocol}: {reply:?}");
        for name in ["upgrade", "http2-settings", "connection"] {
            assert!(!origin.last().head.has(name), "{protocol}: {:?}", origin.last());
        }
    }
    let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    origin.next(Answer::raw(switch));
    let get = client(&proxy).get("/chat").header("Connection", "upgrade").header("Upgrade", "h2c");
    assert_problem(&get.send().await, 502, "upstream-broken");
}

/// A3: an upstream that agrees to something that was not asked for is broken.
#[tokio::test]
async fn a_tunnel_is_only_for_the_protocol_that_was_asked_for() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for protocol in ["h2c", "HTTP/2.0", "TLS/1.2"] {
        let switch =
            format!("HTTP/1.1 101 A\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        origin.next(Answer::raw(switch));
        let reply = asking(&proxy).send().await;
        assert_problem(&reply, 502, "upstream-broken");
    }
}

/// A3: an upgrade that fails on its way is told as every other failure.
#[tokio::test]
async fn an_upgrade_without_an_upstream_fails() {
    let mut origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.next(crate::support::Act::DropAfterExecuting(crate::support::How::Close));
    assert_problem(&asking(&proxy).send().await, 502, "upstream-broken");
    origin.stop().await;
    assert_problem(&asking(&proxy).send().await, 502, "upstream-unreachable");
}
