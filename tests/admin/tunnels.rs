//! Draining with tunnels open: they are seen, waited for, and said so when they are cut.

use crate::support::{Connection, Exchange, Peer, Proxy, Starting, client, eventually, run};
use crate::{metric, operator};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: abc\r\n\r\n";

fn before(peer: &Peer) -> Starting {
    Proxy::before_address(peer.addr).arg("--admin", "127.0.0.1:0")
}

/// A tunnel through the proxy: both its ends.
async fn tunnel(proxy: &Proxy, peer: &Peer) -> (Connection, Exchange) {
    let get = client(proxy).get("/chat").header("Connection", "Upgrade");
    let get = get.header("Upgrade", "websocket").header("Sec-WebSocket-Key", "xyz");
    let mut caller = get.open().await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    exchange.write(SWITCH).await;
    assert_eq!(caller.read().await.status, 101);
    (caller, exchange)
}

/// How many connections are open, by both who tell.
async fn connections(proxy: &Proxy) -> (u64, f64) {
    let left = operator(proxy).get("/api/drain").send().await.json();
    (left["connections"].as_u64().expect("a number"), metric(proxy, "oncegate_connections").await)
}

/// A connection that is one tunnel is one connection, to its end.
#[tokio::test]
async fn a_tunnel_is_a_connection() {
    let peer = Peer::start().await;
    let proxy = before(&peer).start().await;
    let (mut caller, exchange) = tunnel(&proxy, &peer).await;
    // For a moment it may be counted as both.
    eventually("one connection", async || connections(&proxy).await == (1, 1.0)).await;
    let (other, _held) = tunnel(&proxy, &peer).await;
    eventually("two connections", async || connections(&proxy).await == (2, 2.0)).await;
    drop(exchange);
    caller.finish().await;
    caller.rest().await;
    eventually("one connection", async || connections(&proxy).await == (1, 1.0)).await;
    other.reset();
    eventually("no connection", async || connections(&proxy).await == (0, 0.0)).await;
}

/// Tunnels take nothing away from what HTTP may have, and have as much.
#[tokio::test]
async fn tunnels_have_a_limit_of_their_own() {
    let peer = Peer::start().await;
    let starting = before(&peer).toml("[limits]\nmax_connections = 1\n");
    let proxy = starting.start().await;
    let (mut caller, mut exchange) = tunnel(&proxy, &peer).await;
    eventually("one connection", async || connections(&proxy).await == (1, 1.0)).await;
    let get = client(&proxy).get("/chat").header("Connection", "Upgrade");
    let refused = get.header("Upgrade", "websocket").send().await;
    assert_eq!(refused.status, 503, "it is served, and no second tunnel is opened: {refused:?}");
    assert!(refused.text().contains("tunnels"), "{refused:?}");
    exchange.write("still here").await;
    caller.sees(b"still here").await;
}

/// `oncegate drain` does not say that an instance is drained through which a tunnel still goes.
#[tokio::test]
async fn a_tunnel_is_not_drained() {
    let peer = Peer::start().await;
    let proxy = before(&peer).start().await;
    let (caller, mut exchange) = tunnel(&proxy, &peer).await;
    let admin = proxy.admin().to_string();
    let args = ["drain", "--admin", &admin, "--settle", "10ms", "--timeout", "500ms"];
    let ended = run(&args, &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 connections and 0 operations"), "{}", ended.stderr);
    caller.reset();
    exchange.rest().await;
    let args = ["drain", "--admin", &admin, "--settle", "10ms", "--timeout", "30s"];
    let ended = run(&args, &[]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// The end waits for a tunnel, through which bytes go both ways meanwhile.
#[tokio::test]
async fn the_end_waits_for_a_tunnel() {
    let peer = Peer::start().await;
    let mut proxy = before(&peer).start().await;
    let (mut caller, mut exchange) = tunnel(&proxy, &peer).await;
    proxy.terminate();
    proxy.wait_for_log("the signal", |line| line.contains("SIGTERM")).await;
    // Longer than a connection that asks nothing is waited for.
    for _ in 0..10 {
        exchange.write("down").await;
        caller.sees(b"down").await;
        caller.write(b"up").await;
        assert_eq!(exchange.take(2).await, b"up");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(proxy.runs(), "{}", proxy.log());
    assert_eq!(metric(&proxy, "oncegate_connections").await, 1.0);
    drop(exchange);
    caller.finish().await;
    caller.rest().await;
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
}

/// What does not end in time is cut, and that is no good end.
#[tokio::test]
async fn tunnels_that_are_cut_are_said() {
    let peer = Peer::start().await;
    let mut proxy = before(&peer).arg("--drain-timeout", "300ms").start().await;
    let (mut caller, mut exchange) = tunnel(&proxy, &peer).await;
    let (mut second, _held) = tunnel(&proxy, &peer).await;
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(1), "{}", proxy.log());
    let said = "0 operations or late answers were left when the time to end had passed, \
                and 2 tunnels were cut";
    proxy.wait_for_log("what was cut", |line| line.contains(said)).await;
    caller.rest().await;
    second.rest().await;
    exchange.rest().await;
}
