//! What an upstream of HTTP/2 is sent, whichever version a request has come by.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Answered, Caller, request};
use crate::support::{Proxy, client, talk, within};

/// What came with a request: its header, its body, and its trailers if there were any.
type Seen = (Parts, Vec<u8>, Option<HeaderMap>);

/// An upstream that speaks HTTP/2 alone, and answers everything with these trailers.
struct Upstream {
    addr: std::net::SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (told, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, told.clone()));
            }
        });
        Self { addr, seen }
    }

    async fn seen(&mut self) -> Seen {
        within("a request", self.seen.recv()).await.expect("the upstream is there")
    }

    async fn before(&self) -> Proxy {
        let proxy = Proxy::before_address(self.addr);
        proxy.toml("[upstream]\nhttp2 = true\n").start().await
    }
}

async fn serve(stream: tokio::net::TcpStream, told: mpsc::UnboundedSender<Seen>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let told = told.clone();
        tokio::spawn(async move {
            let (head, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(piece) = incoming.data().await {
                let piece = piece.expect("a whole body");
                body.extend_from_slice(&piece);
            }
            let trailers = incoming.trailers().await.expect("a whole request");
            told.send((head, body, trailers)).expect("the test goes on");
            let answer = Response::builder().status(201).header("trailer", "x-checksum");
            let answer = answer.body(()).expect("an answer");
            let mut stream = respond.send_response(answer, false).expect("sending");
            stream.send_data(Bytes::from_static(b"done"), false).expect("sending");
            stream.send_trailers(trailer_fields()).expect("sending");
        });
    }
}

fn trailer_fields() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in [
        ("x-checksum", "7"),
        ("grpc-status", "0"),
        ("content-length", "50"),
        ("authorization", "Bearer eve"),
        ("x-forwarded-user", "alice"),
        ("duplicate-request", "true"),
        ("set-cookie", "a=b"),
    ] {
        trailers.insert(name, value.parse().expect("a value"));
    }
    trailers
}

#[track_caller]
fn assert_harmless(trailers: Option<&HeaderMap>) {
    let trailers = trailers.expect("trailers");
    let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-status", "x-checksum"]);
}

/// Fails unless the header says what it should of the hops, and nothing of any connection.
#[track_caller]
fn assert_shape(head: &Parts, te: bool, via: &str) {
    assert_eq!(head.uri.path_and_query().map(http::uri::PathAndQuery::as_str), Some("/a//b?x=%41"));
    assert_eq!(head.uri.authority().map(http::uri::Authority::as_str), Some("api.example"));
    let te = te.then_some("trailers");
    for (name, value) in [("te", te), ("via", Some(via)), ("x-forwarded-proto", Some("http"))] {
        let found: Vec<_> = head.headers.get_all(name).iter().collect();
        assert_eq!(found, value.into_iter().collect::<Vec<_>>(), "{name}: {head:?}");
    }
    for name in ["connection", "transfer-encoding", "keep-alive", "http2-settings"] {
        assert!(!head.headers.contains_key(name), "{name}: {head:?}");
    }
}

/// Trailers go all the way where both sides speak HTTP/2, but for what only a header may say; and
/// to a caller of HTTP/1.1 if it reads them.
#[tokio::test]
async fn trailers_go_all_the_way_over_http2() {
    let mut upstream = Upstream::start().await;
    let proxy = upstream.before().await;
    let mut caller = Caller::of(&proxy).await;
    let asked = request("QUERY", "http://api.example/a//b?x=%41", &[("te", "trailers")], "10");
    let Answered { status, body, trailers, .. } =
        caller.try_send(asked, Some(trailer_fields())).await.expect("an answer");
    assert_eq!((status, body.as_slice()), (201, &b"done"[..]));
    assert_harmless(trailers.as_ref());
    let (head, body, trailers) = upstream.seen().await;
    assert_shape(&head, true, "2.0 oncegate");
    assert_eq!(body, b"10");
    assert_harmless(trailers.as_ref());

    let request = "QUERY /a//b?x=%41 HTTP/1.1\r\nHost: api.example\r\nTE: trailers\r\n\
                   Connection: TE, close, keep-alive\r\nKeep-Alive: timeout=5\r\n\
                   Trailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\n10\r\n0\r\nX-Checksum: 7\r\ngrpc-status: 0\r\n\
                   Content-Length: 50\r\n\r\n";
    let mut connection = client(&proxy).connect().await;
    connection.write(request.as_bytes()).await;
    let (answer, _) = connection.rest().await;
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.ends_with("\r\n\r\n4\r\ndone\r\n0\r\nx-checksum: 7\r\n\r\n"), "{answer}");
    let (head, body, trailers) = upstream.seen().await;
    assert_shape(&head, true, "1.1 oncegate");
    assert_eq!(body, b"10");
    assert_harmless(trailers.as_ref());
}

/// A guarded request has no trailers and one length of ours; its repeat gets the answer by either
/// version.
#[tokio::test]
async fn guarded_requests_are_framed_once_over_http2() {
    let mut upstream = Upstream::start().await;
    let proxy = upstream.before().await;
    let mut caller = Caller::of(&proxy).await;
    let asked = request("POST", "http://api.example/a//b?x=%41", &[("request-id", "r1")], "10");
    let first = caller.try_send(asked, Some(trailer_fields())).await.expect("an answer");
    assert_eq!((first.status, first.body.as_slice()), (201, &b"done"[..]));
    let (head, body, trailers) = upstream.seen().await;
    assert_shape(&head, false, "2.0 oncegate");
    assert_eq!((body.as_slice(), trailers), (&b"10"[..], None));
    let lengths: Vec<_> = head.headers.get_all("content-length").iter().collect();
    assert_eq!(lengths, ["2"]);
    let request = "POST /a//b?x=%41 HTTP/1.1\r\nHost: api.example\r\nRequest-ID: r1\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\n10\r\n0\r\nX-Checksum: 7\r\n\r\n";
    let replies = talk(&proxy, request).await;
    assert!(replies.len() == 1 && replies[0].is_repeat(), "{replies:?}");
    assert_eq!(replies[0].body, first.body);
    assert!(upstream.seen.try_recv().is_err(), "it was executed once");
}
