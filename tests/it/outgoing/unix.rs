//! Unix sockets to the upstream.

use super::front::UnixFront;
use super::ledger::Ledger;
use super::{assert_never_sent, before, by_http2_to};
use crate::support::{Act, How, Origin, Peer, assert_executed, assert_held, assert_replay, client};

/// What goes over a Unix socket is what goes over TCP.
#[tokio::test]
async fn an_answer_over_a_unix_socket_is_kept_and_replayed() {
    let origin = Origin::start().await;
    let front = UnixFront::before(origin.addr);
    let proxy = before(&front.url()).start().await;
    for number in 0..5 {
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_replay(&first, &request.send().await);
    }
    assert_eq!(origin.last().header("host"), Some("api.example"));
    let old = client(&proxy).get("/old").version10().without_host();
    assert_eq!(old.send().await.status, 201);
    assert_eq!(origin.last().header("host"), Some("localhost"));
    assert_eq!((origin.hits(), origin.connections()), (6, 1));
}

/// The same by HTTP/2.
#[tokio::test]
async fn http2_goes_over_a_unix_socket() {
    let ledger = Ledger::start(100).await;
    let front = UnixFront::before(ledger.addr);
    let proxy = by_http2_to(&front.url()).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
    assert_eq!(ledger.last().uri, "http://api.example/charges");
    let old = client(&proxy).get("/old").version10().without_host();
    assert_eq!(old.send().await.status, 200);
    assert_eq!((ledger.last().uri.as_str(), ledger.hits()), ("http://localhost/old", 2));
}

/// A socket that is not there, or at which nobody listens, is sent nothing: the key is free.
#[tokio::test]
async fn a_socket_without_a_listener_leaves_the_key_free() {
    let origin = Origin::start().await;
    let folder = crate::support::Folder::new();
    let path = folder.path("app.sock");
    let proxy = before(&format!("unix:{}", path.display())).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_never_sent(&request, 2, "connection_refused").await;
    drop(std::os::unix::net::UnixListener::bind(&path).expect("binding a path"));
    assert_never_sent(&request, 2, "connection_refused").await;
    std::fs::remove_file(&path).expect("removing a socket");
    let front = UnixFront::before(origin.addr);
    std::fs::rename(&front.path, &path).expect("moving a socket");
    assert_executed(&request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// An exchange that breaks off is unknown, as over TCP.
#[tokio::test]
async fn an_exchange_that_breaks_off_is_unknown() {
    let origin = Origin::start().await;
    let front = UnixFront::before(origin.addr);
    let proxy = before(&front.url()).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    origin.next(Act::DropAfterExecuting(How::Close));
    assert_held(&request.clone().send().await, request).await;
    assert_eq!(origin.hits(), 1);
}

/// A tunnel leads through a Unix socket, too.
#[tokio::test]
async fn an_upgrade_goes_over_a_unix_socket() {
    let peer = Peer::start().await;
    let front = UnixFront::before(peer.addr);
    let proxy = before(&front.url()).start().await;
    let get = client(&proxy).get("/chat").header("Connection", "Upgrade");
    let mut caller = get.header("Upgrade", "websocket").open().await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    exchange.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n").await;
    exchange.write("Upgrade: websocket\r\n\r\n").await;
    assert_eq!(caller.read().await.status, 101);
    caller.write(b"ping").await;
    assert_eq!(exchange.take(4).await, b"ping");
}
