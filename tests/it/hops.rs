//! What a request is told about the hops that it has come by, and what trailers do.

use crate::support::{
    Exchange, Fields, How, Origin, Peer, Proxy, Reply, assert_executed, client, talk,
};

/// What the upstream is sent for a request with these fields, passed and guarded.
async fn seen(proxy: &Proxy, origin: &Origin, fields: &[(&str, &str)]) -> [Fields; 2] {
    let mut heads = Vec::new();
    for (number, method) in ["GET", "POST"].into_iter().enumerate() {
        let request = client(proxy).method(method, "/charges");
        let request = fields.iter().fold(request, |all, (name, value)| all.header(name, value));
        // No two of them are one operation.
        let request = request.header("X-Count", format!("{number} {}", origin.hits()));
        assert_executed(&request.send().await);
        heads.push(origin.last().head);
    }
    heads.try_into().expect("two")
}

/// Who reads trailers still does so behind this proxy, on each of its connections; nothing else
/// that `TE` says goes on.
#[tokio::test]
async fn whoever_reads_trailers_is_sent_on_as_one_who_does() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (fields, expected) in [
        (&[][..], false),
        (&[("TE", "trailers"), ("Connection", "TE")], true),
        (&[("TE", "trailers")], true),
        (&[("TE", "gzip;q=0.5, Trailers")], true),
        (&[("TE", "gzip"), ("TE", "\ttrailers ")], true),
        (&[("TE", "gzip"), ("Connection", "te")], false),
        (&[("TE", "x-trailers"), ("TE", "")], false),
        (&[("Trailers", "1"), ("Connection", "te, trailers")], false),
    ] {
        for head in seen(&proxy, &origin, fields).await {
            let te = if expected { vec![&b"trailers"[..]] } else { Vec::new() };
            assert_eq!(head.all("te"), te, "{fields:?}: {head:?}");
            let connection = if expected { vec![&b"te"[..]] } else { Vec::new() };
            assert_eq!(head.all("connection"), connection, "{fields:?}: {head:?}");
        }
    }
}

/// `TE` tells attempts of one operation apart as little as ever.
#[tokio::test]
async fn reading_trailers_makes_no_other_operation() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for key in [Some("k1"), None] {
        let post = || client(&proxy).post("/charges").key_if(key).body("10");
        assert_executed(&post().header("TE", "trailers").send().await);
        assert!(post().send().await.is_repeat());
        assert!(post().header("TE", "gzip").header("Connection", "TE").send().await.is_repeat());
    }
    assert_eq!(origin.hits(), 2);
}

#[tokio::test]
async fn via_names_the_version_that_a_request_came_by() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for head in seen(&proxy, &origin, &[]).await {
        assert_eq!(head.all("via"), [b"1.1 oncegate"]);
        assert_eq!(head.first("x-forwarded-proto"), Some("http"));
    }
    for head in seen(&proxy, &origin, &[("Via", "2.0 edge, 1.1 b")]).await {
        assert_eq!(head.all("via"), [b"2.0 edge, 1.1 b, 1.1 oncegate"]);
    }
    client(&proxy).get("/").version10().send().await;
    assert_eq!(origin.last().head.all("via"), [b"1.0 oncegate"]);
}

/// C14: a trailer of a request that is passed on changes neither its length, nor whose it is, nor
/// what the upstream takes for the next request.
#[tokio::test]
async fn trailers_of_passed_requests_are_no_header() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let request = "QUERY /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\
                   Trailer: Content-Length, Authorization, Request-ID, X-Checksum, Host\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nContent-Length: 50\r\n\
                   Authorization: Bearer eve\r\nX-Checksum: 7\r\nHost: other\r\n\
                   Transfer-Encoding: gzip\r\n\r\n";
    let asking = talk(&proxy, request);
    let answering = async {
        let mut exchange = peer.accept().await;
        let head = exchange.head().await;
        for name in ["authorization", "content-length", "request-id", "x-checksum"] {
            assert!(!head.has(name), "{head:?}");
        }
        assert_eq!(
            (head.all("host"), head.all("transfer-encoding")),
            (vec![&b"a"[..]], vec![&b"chunked"[..]])
        );
        exchange.sees(b"\r\n\r\n").await;
        let body = b"2\r\nab\r\n0\r\nx-checksum: 7\r\n\r\n";
        assert_eq!(exchange.take(body.len()).await.escape_ascii().to_string(), shown(body));
        exchange.assert_nothing_came().await;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        exchange
    };
    let (replies, _exchange) = tokio::join!(asking, answering);
    assert_eq!((replies.len(), replies[0].status), (1, 200), "{replies:?}");
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The answer to a request that is passed on, as it came behind its header.
async fn answered(proxy: &Proxy, peer: &Peer, fields: &str) -> String {
    let mut caller = client(proxy).connect().await;
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close{fields}\r\n\r\n");
    caller.write(request.as_bytes()).await;
    let mut exchange = peer.accept().await;
    exchange.head().await;
    trailed(&mut exchange).await;
    let (bytes, _) = caller.rest().await;
    exchange.close(How::Close);
    let all = String::from_utf8(bytes).expect("text");
    all.split_once("\r\n\r\n").expect("a header").1.to_owned()
}

async fn trailed(exchange: &mut Exchange) {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                  Trailer: X-Checksum, Content-Length, Set-Cookie\r\n\r\n2\r\nok\r\n0\r\n\
                  X-Checksum: 7\r\nContent-Length: 50\r\nSet-Cookie: a=b\r\nX-Other: 1\r\n\r\n";
    exchange.write(answer).await;
}

/// What an upstream sends behind its answer reaches who said that it reads that, and nobody else.
#[tokio::test]
async fn trailers_of_passed_answers_reach_who_reads_them() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let with = answered(&proxy, &peer, ", te\r\nTE: trailers").await;
    assert_eq!(with, "2\r\nok\r\n0\r\nx-checksum: 7\r\n\r\n");
    let without = answered(&proxy, &peer, "").await;
    assert_eq!(without, "2\r\nok\r\n0\r\n\r\n");
}

/// A target without a path has one when it goes on, whatever follows it.
#[tokio::test]
async fn a_target_without_a_path_is_given_one() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (target, expected) in [
        ("http://api.example", "/"),
        ("http://api.example?a=1", "/?a=1"),
        ("http://api.example#a", "/"),
        ("http://api.example/#a", "/"),
        ("http://api.example/b?a=1", "/b?a=1"),
    ] {
        for request in [client(&proxy).get(target), client(&proxy).post(target).key(target)] {
            let reply: Reply = request.send().await;
            assert_eq!((reply.status, origin.last().target.as_str()), (201, expected), "{target}");
        }
    }
}
