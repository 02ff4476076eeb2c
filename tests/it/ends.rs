//! Where the body of a request ends, and what is made of what follows it on its connection.
//!
//! All of it is for HTTP/1.1 callers, whose requests follow each other.

use crate::support::{Origin, Peer, Proxy, Received, client, every_way_out, talk};

every_way_out! {
    nothing_is_read_behind_trailers,
    nothing_is_read_behind_a_body_that_nobody_reads,
}

/// Two requests that would be answered if they were read.
const MORE: &str = "GET /second HTTP/1.1\r\nHost: a\r\n\r\nGET /third HTTP/1.1\r\nHost: a\r\n\r\n";

/// The beginning of a request in chunks: a guarded one, and one that is passed on.
const BEGINNINGS: [&str; 2] =
    ["POST /guarded HTTP/1.1\r\nIdempotency-Key: ", "GET /passed HTTP/1.1\r\nX-Key: "];

fn beginning(start: &str, key: &str) -> String {
    format!("{start}{key}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
}

/// A1, C14: where a line feed alone ends trailers, or seems to, the next request may have been read
/// as more of them: none is answered in the place of another.
async fn nothing_is_read_behind_trailers() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, (end, guarded, passed)) in [
        ("0\r\nX-A: 1\r\n\r\n", 201, 201),
        ("0\r\nX-A: 1\n\r\n", 201, 201),
        ("0\r\n\n", 400, 502),
        ("0\r\n\nX-A: 1\r\n\r\n", 400, 502),
    ]
    .into_iter()
    .enumerate()
    {
        for (start, status) in BEGINNINGS.into_iter().zip([guarded, passed]) {
            let request = beginning(start, &format!("k{number}")) + end + MORE;
            let replies = talk(&proxy, request).await;
            assert_eq!((replies.len(), replies[0].status), (1, status), "{end:?}: {replies:?}");
            assert!(replies[0].head.has_token("connection", "close"), "{end:?}: {replies:?}");
        }
    }
    let is_more = |one: &Received| MORE.contains(&format!("GET {} ", one.target));
    assert!(!origin.requests().iter().any(is_more), "{:?}", origin.requests());
    // without trailers, all agree where it ends
    for start in BEGINNINGS {
        let replies = talk(&proxy, beginning(start, "k9") + "0\r\n\r\n" + MORE).await;
        assert_eq!(replies.len(), 3, "{replies:?}");
    }
    assert_eq!(origin.requests().into_iter().filter(is_more).count(), 4);
}

/// A1: the same where the answer did not wait for the body.
async fn nothing_is_read_behind_a_body_that_nobody_reads() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nkey = [\"header:Idempotency-Key\"]\nrequire_key = true\n";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    let head = "POST /guarded HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for end in ["0\r\n\r\n", "0\r\n\n", "0\r\nX-A: 1\n\r\n"] {
        let replies = talk(&proxy, format!("{head}{end}{MORE}")).await;
        assert_eq!((replies.len(), replies[0].status), (1, 400), "{end:?}: {replies:?}");
    }
    assert_eq!(origin.heads(), 0);
}

/// A1: the same where the body ends when its answer has gone.
#[tokio::test]
async fn nothing_is_read_behind_a_body_that_ends_after_its_answer() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    for end in ["0\r\n\r\n", "0\r\n\n", "0\r\nX-A: 1\n\r\n"] {
        let mut caller = client(&proxy).connect().await;
        caller.write(beginning(BEGINNINGS[1], "k1").as_bytes()).await;
        let mut exchange = peer.accept().await;
        exchange.head().await;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
        let reply = caller.read().await;
        assert!(reply.head.has_token("connection", "close"), "{end:?}: {reply:?}");
        caller.write(format!("{end}{MORE}").as_bytes()).await;
        assert_eq!(caller.rest().await.0.escape_ascii().to_string(), "", "{end:?}");
        peer.assert_no_more_connections();
    }
}
