//! Fields behind a body (C14): trailers, and nothing else.

use super::asked::Asked;
use super::frame::{self, Frame};
use super::hpack::block;
use super::raw::{Outcome, Raw};
use crate::support::{Origin, Peer, Proxy, Reply, assert_executed, assert_replay};

/// A charge with this key and these trailers, on the next stream of a connection.
fn with_trailers(raw: &mut Raw, key: &str, trailers: &[(&str, &str)]) -> (u32, [Frame; 3]) {
    let stream = raw.number();
    let frames = [
        Frame::headers(stream, block(&Asked::post(key).fields)),
        Frame::data(stream, "10"),
        Frame::headers(stream, block(trailers)).last(),
    ];
    (stream, frames)
}

/// C14: trailers of a guarded request are dropped: none of them is taken for a field, whatever its
/// name; those that can't be trailers make the request malformed.
#[tokio::test]
async fn trailers_are_no_fields() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut raw = Raw::connect(&proxy).await;
    let harmless = [
        ("idempotency-key", "other"),
        ("content-length", "99"),
        ("host", "evil"),
        ("authorization", "Bearer evil"),
        ("cookie", "evil"),
        ("x-checksum", "1"),
        ("duplicate-request", "true"),
    ];
    for (number, trailer) in harmless.iter().enumerate() {
        let key = format!("k{number}");
        let (stream, frames) = with_trailers(&mut raw, &key, &[*trailer]);
        raw.send_all(&frames).await;
        let first = raw.reply(stream).await;
        assert_executed(&first);
        let sent = origin.last();
        assert_eq!((sent.header("idempotency-key"), &sent.body[..]), (Some(&key[..]), &b"10"[..]));
        assert_eq!(sent.head.all("content-length"), [b"2"], "{trailer:?}");
        assert!(!sent.head.has("x-checksum") && !sent.head.has("authorization"), "{sent:?}");
        assert_replay(&first, &raw.send_request(&Asked::post(&key)).await);
    }
    // h2 drops known pseudo-header fields from trailers without a word.
    for (number, trailer) in [(":path", "/evil"), (":method", "GET")].iter().enumerate() {
        let (stream, frames) = with_trailers(&mut raw, &format!("p{number}"), &[*trailer]);
        raw.send_all(&frames).await;
        raw.reply(stream).await;
        let sent = origin.last();
        assert_eq!((&sent.method[..], &sent.target[..]), ("POST", "/charges"), "{trailer:?}");
    }
}

/// C14: trailers that can't be any make the request malformed, and so do trailers before its end.
#[tokio::test]
async fn trailers_that_are_none_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let hits = origin.hits();
    let malformed = [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("X-Upper", "1"),
        (":unknown", "1"),
        ("a b", "1"),
        ("x", "a\r\nb"),
    ];
    for trailer in malformed {
        let mut raw = Raw::connect(&proxy).await;
        let (stream, frames) = with_trailers(&mut raw, "never", &[trailer]);
        raw.send_all(&frames).await;
        let outcome = raw.outcome(stream).await;
        assert!(matches!(outcome, Outcome::Gone | Outcome::Reset(_)), "{trailer:?}: {outcome:?}");
        assert_eq!(origin.hits(), hits, "{trailer:?}: {:?}", origin.last());
    }
    // Trailers before the end are no trailers.
    let mut raw = Raw::connect(&proxy).await;
    let (stream, mut frames) = with_trailers(&mut raw, "never", &[("x", "y")]);
    frames[2].flags &= !frame::END_STREAM;
    raw.send_all(&frames).await;
    raw.send(&Frame::data(stream, "11").last()).await;
    assert!(!matches!(raw.outcome(stream).await, Outcome::Answered(Reply { status: 201, .. })));
    assert_eq!(origin.hits(), hits);
}

/// C14: trailers of a request that is passed on are trailers, or nothing.
#[tokio::test]
async fn trailers_of_a_passed_request_stay_trailers() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let mut raw = Raw::connect(&proxy).await;
    let stream = raw.number();
    let search = Asked::new("QUERY", "/search");
    let trailers = [
        ("x-checksum", "1"),
        ("content-length", "99"),
        ("transfer-encoding-not", "1"),
        ("host", "evil"),
        ("idempotency-key", "evil"),
        ("authorization", "evil"),
        ("x-forwarded-for", "evil"),
    ];
    raw.send_all(&[
        Frame::headers(stream, block(&search.fields)),
        Frame::data(stream, "10"),
        Frame::headers(stream, block(&trailers)).last(),
    ])
    .await;
    let mut exchange = peer.accept().await;
    let head = exchange.head().await;
    assert!(
        head.has_token("transfer-encoding", "chunked") && !head.has("content-length"),
        "{head:?}"
    );
    exchange.write("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    exchange.sees(b"0\r\n").await;
    let body = exchange.take(b"2\r\n10\r\n0\r\n".len()).await;
    assert_eq!(body, b"2\r\n10\r\n0\r\n");
    assert_eq!(raw.reply(stream).await.status, 200);
}
