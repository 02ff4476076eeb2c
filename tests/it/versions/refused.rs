//! Requests by HTTP/2 that are not what they should be.

use http::{Request, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Caller, post, request};
use crate::support::{Origin, Proxy, within};

/// What HTTP/1.1 is refused for, HTTP/2 is as well; its connection goes on, for each request has a
/// stream of its own.
#[tokio::test]
async fn what_is_refused_leaves_the_connection_open() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut caller = Caller::of(&proxy).await;
    for bad in [
        post(&[("host", "other.example")], "10"),
        post(&[("host", "api.example:8080")], "10"),
        post(&[("host", "api.example"), ("host", "api.example")], "10"),
        request("POST", "http://eve@api.example/", &[], "10"),
        request("POST", "http://api.example?a=1", &[], "10"),
        request("GET", "http://api.example?a=1", &[], ""),
        without_authority("POST", "/", &[]),
        without_authority("GET", "/", &[("host", "a"), ("host", "a")]),
        without_authority("POST", "*", &[("host", "a")]),
        post(&[("idempotency-key", " k")], "10"),
        post(&[("x", "a\t")], "10"),
        request("post", "http://api.example/", &[], "10"),
    ] {
        let shown = format!("{bad:?}");
        let answer = caller.send(bad).await;
        assert_eq!(answer.status, 400, "{shown}");
        answer.assert_problem(400, "bad-request");
    }
    let answer = caller.send(post(&[("expect", "200-ok")], "10")).await;
    answer.assert_problem(417, "expectation-failed");
    let answer = caller.send(request("CONNECT", "api.example:443", &[], "")).await;
    answer.assert_problem(501, "not-implemented");
    assert_eq!(origin.heads(), 0);
    let good = post(&[("expect", "100-continue"), ("idempotency-key", "k")], "10");
    assert_eq!(caller.send(good).await.status, 201);
    assert!(!origin.last().head.has("expect"));
}

/// A request with a Host field and no `:authority`, as one that was HTTP/1.1 before.
fn without_authority(method: &str, target: &str, lines: &[(&str, &str)]) -> Request<&'static str> {
    let request = Request::builder().method(method).uri(target).version(Version::HTTP_11);
    let request =
        lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body("").expect("a request")
}

/// One frame of HTTP/2, on stream 1 if it is of a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Header lines as HPACK has them without any compression.
fn hpack(lines: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    lines.iter().flat_map(|(name, value)| [&[0], &*text(name), &*text(value)].concat()).collect()
}

/// How the stream of a request ends that is made of these lines: by an answer, or a reset.
async fn ended(proxy: &Proxy, lines: &[(&str, &str)]) -> &'static str {
    let (headers, reset, goodbye) = (1, 3, 7);
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // END_STREAM and END_HEADERS.
    let sent = [preface, frame(4, 0, 0, &[]), frame(headers, 5, 1, &hpack(lines))].concat();
    stream.write_all(&sent).await.expect("sending");
    loop {
        let mut head = [0; 9];
        within("a frame", stream.read_exact(&mut head)).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        within("a frame", stream.read_exact(&mut payload)).await.expect("a frame");
        match head[3] {
            kind if kind == headers => return "answered",
            kind if kind == reset => return "reset",
            kind if kind == goodbye => return "closed",
            _ => {}
        }
    }
}

/// A4: what belongs to one connection has no place in HTTP/2, where it could be taken for framing
/// behind this proxy.
#[tokio::test]
async fn fields_of_a_connection_are_refused_over_http2() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let usual =
        [(":method", "POST"), (":scheme", "http"), (":authority", "api.example"), (":path", "/a")];
    let with = |more: &[(&'static str, &'static str)]| [&usual[..], more].concat();
    for line in [
        ("connection", "close"),
        ("connection", "authorization"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("te", "gzip, trailers"),
        ("content-length", "5"),
        ("Idempotency-Key", "k1"),
        ("x: y", "1"),
        ("x", "1\r\nHost: other"),
        (":authority", "other.example"),
        (":protocol", "websocket"),
    ] {
        assert_ne!(ended(&proxy, &with(&[line])).await, "answered", "{line:?}");
    }
    let lengths = [("content-length", "0"), ("content-length", "5")];
    assert_ne!(ended(&proxy, &with(&lengths)).await, "answered");
    let tunnel = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http")];
    let tunnel = [&tunnel[..], &usual[2..]].concat();
    assert_ne!(ended(&proxy, &tunnel).await, "answered");
    assert_eq!(origin.heads(), 0);
    let fine = with(&[("te", "trailers"), ("http2-settings", "AAMA"), ("content-length", "0")]);
    assert_eq!(ended(&proxy, &fine).await, "answered");
    origin.wait_for_hits(1).await;
    assert!(!origin.last().head.has("http2-settings"));
}
