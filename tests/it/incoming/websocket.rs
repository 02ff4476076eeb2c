//! `WebSocket` connections by TLS: bytes both ways, whatever they are.

use super::asked::Asked;
use super::certs::{Authority, Tls, by_tls};
use super::frame;
use super::plain::Plain;
use super::raw::{Outcome, Raw};
use crate::support::{Exchange, Origin, Peer, Proxy, Starting, client};
use tokio::io::AsyncWriteExt as _;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A proxy by TLS before an upstream by hand.
async fn start(peer: &Peer, authority: &Authority) -> Proxy {
    starting(peer, authority).start().await
}

fn starting(peer: &Peer, authority: &Authority) -> Starting {
    let shown = authority.proxy();
    let toml = "[tls]\ncert_file = \"shown.pem\"\nkey_file = \"shown.key\"\n";
    let proxy = Proxy::before_address(peer.addr).file("shown.pem", shown.certificate);
    proxy.file("shown.key", shown.key).toml(toml)
}

/// A tunnel through the proxy: both its ends.
async fn open(proxy: &Proxy, peer: &Peer, tls: &Tls) -> (Plain, Exchange) {
    let mut caller = Plain::over(tls.connect(proxy).await);
    let asking = client(proxy).get("/chat").header("Connection", "Upgrade");
    let asking = asking.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
    let asking = asking.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    caller.write(&asking.bytes()).await.expect("room");
    let mut exchange = peer.accept().await;
    let (head, _) = exchange.request().await;
    assert_eq!(head.first("upgrade"), Some("websocket"));
    assert_eq!(head.first("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(head.first("x-forwarded-proto"), Some("https"));
    exchange.write(SWITCH).await;
    let reply = caller.read().await.expect("an answer");
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    (caller, exchange)
}

/// A3: large and small messages both ways, at once, in order.
#[tokio::test]
async fn a_websocket_goes_through_tls() {
    let (peer, authority) = (Peer::start().await, Authority::new());
    let proxy = start(&peer, &authority).await;
    for version in super::certs::BOTH {
        let tls = Tls::trusting(&authority).version(version).speaking(&["http/1.1"]);
        let (mut caller, mut exchange) = open(&proxy, &peer, &tls).await;
        for length in [1, 125, 70_000, 1 << 20] {
            let up: Vec<u8> = (0..length).map(|at: usize| at.to_le_bytes()[0]).collect();
            let down: Vec<u8> = up.iter().map(|byte| !byte).collect();
            let (written, ()) = tokio::join!(caller.write(&up), exchange.write(&down));
            written.expect("room");
            let (came, answered) = tokio::join!(exchange.take(length), caller.take(length));
            assert!(came == up && answered == down, "{length} bytes both ways");
        }
        caller.stream.shutdown().await.expect("an end");
        assert!(exchange.rest().await.0.is_empty(), "the end of one side is the end for the other");
        exchange.write("last words").await;
        drop(exchange);
        assert_eq!(caller.rest().await.expect("the end is announced"), b"last words");
    }
}

/// A3: each end learns that the other has gone, and the proxy ends in time though they have not.
#[tokio::test]
async fn a_websocket_by_tls_ends_with_either_side() {
    let (peer, authority) = (Peer::start().await, Authority::new());
    let mut proxy = starting(&peer, &authority).arg("--drain-timeout", "200ms").start().await;
    let tls = Tls::trusting(&authority);
    let (caller, mut exchange) = open(&proxy, &peer, &tls).await;
    drop(caller);
    exchange.rest().await;
    let (mut caller, exchange) = open(&proxy, &peer, &tls).await;
    drop(exchange);
    caller.stream.shutdown().await.ok();
    caller.rest().await.ok();
    let (mut caller, mut exchange) = open(&proxy, &peer, &tls).await;
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(1), "{}", proxy.log());
    caller.rest().await.ok();
    exchange.rest().await;
}

/// A3: over HTTP/2 there is no upgrade, and no other way to a tunnel is offered or taken (RFC 8441).
#[tokio::test]
async fn there_is_no_tunnel_over_http2() {
    let (origin, authority) = (Origin::start().await, Authority::new());
    let proxy = by_tls(&origin, &authority, "").start().await;
    let tls = Tls::trusting(&authority).speaking(&["h2"]);
    let mut raw = Raw::over(tls.connect(&proxy).await).await;
    let settings = raw.settings().await;
    assert!(settings.iter().all(|(name, _)| *name != frame::ENABLE_CONNECT_PROTOCOL));
    let mut connect = Asked::new("CONNECT", "/chat").header("sec-websocket-version", "13");
    connect.fields.insert(0, (":protocol".to_owned(), "websocket".into()));
    let stream = raw.ask(&connect).await;
    assert!(matches!(raw.outcome(stream).await, Outcome::Reset(_) | Outcome::Gone));
    assert_eq!(origin.heads(), 0);
}
