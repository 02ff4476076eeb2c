//! Requests that the upstream has not looked at, as it says itself: their keys are free.

use super::frames::{
    ANY_STREAM, CANCEL, ENHANCE_YOUR_CALM, FramePeer, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR,
    REFUSED_STREAM,
};
use super::{assert_unsent, by_http2};
use crate::support::{
    How, Proxy, Request, assert_executed, assert_replay, client, none_connected_to,
};

fn post(proxy: &Proxy, key: &str) -> Request {
    client(proxy).post("/charges").key(key).body("10")
}

/// A request that is refused on a connection of its own is not tried again by the proxy; its key
/// is free, and the connection is used on.
#[tokio::test]
async fn a_first_request_that_is_refused_leaves_its_key_free() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.accept().await;
    let refused = frames.request().await;
    frames.reset(refused.stream, REFUSED_STREAM).await;
    assert_unsent(&caller.read().await, "destination_unavailable");
    let mut caller = post(&proxy, "k1").open().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "done").await;
    let reply = caller.read().await;
    assert_executed(&reply);
    assert_replay(&reply, &post(&proxy, "k1").send().await);
    assert_eq!(frames.requests, 2);
    peer.assert_no_more_connections();
}

/// A request that is refused on a connection that others share is tried once more, on a new one.
#[tokio::test]
async fn a_refused_request_is_tried_once_more_on_a_new_connection() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut frames = used(&proxy, &peer).await;
    let mut caller = post(&proxy, "k1").open().await;
    let refused = frames.request().await;
    frames.reset(refused.stream, REFUSED_STREAM).await;
    let mut second = peer.accept().await;
    let whole = second.request().await;
    assert_eq!(whole.body, b"10");
    second.answer(whole.stream, "done").await;
    let reply = caller.read().await;
    assert_executed(&reply);
    assert_eq!(reply.text(), "done");
    assert_replay(&reply, &post(&proxy, "k1").send().await);

    let mut caller = post(&proxy, "k2").open().await;
    let refused = frames.request().await;
    frames.reset(refused.stream, REFUSED_STREAM).await;
    let mut third = peer.accept().await;
    let refused = third.request().await;
    third.reset(refused.stream, REFUSED_STREAM).await;
    assert_unsent(&caller.read().await, "destination_unavailable");
    peer.assert_no_more_connections();
}

/// A request whose body has gone by is not tried again by the proxy.
#[tokio::test]
async fn a_streamed_request_that_is_refused_is_not_tried_again() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let mut frames = used(&proxy, &peer).await;
    let upload = client(&proxy).post("/upload").body("0123456789").chunked(3);
    let mut caller = client(&proxy).connect().await;
    let bytes = upload.bytes();
    let (most, last) = bytes.split_at(bytes.len() - 5);
    caller.write(most).await;
    let part = frames.wait_for("a part", |frame| frame.kind == 0).await;
    frames.reset(part.stream, REFUSED_STREAM).await;
    assert_unsent(&caller.read().await, "destination_unavailable");
    caller.write(last).await;
    peer.assert_no_more_connections();
}

/// Streams after the last one of a GOAWAY were not looked at, whatever its reason.
#[tokio::test]
async fn a_request_after_the_last_of_a_goaway_leaves_its_key_free() {
    for reason in [NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM] {
        let peer = FramePeer::start().await;
        let proxy = by_http2(peer.addr).start().await;
        let mut caller = post(&proxy, "k1").open().await;
        let mut frames = peer.accept().await;
        frames.request().await;
        frames.go_away(0, reason).await;
        assert_unsent(&caller.read().await, "destination_unavailable");
        frames.close(How::Close);
        let mut caller = post(&proxy, "k1").open().await;
        let mut frames = peer.accept().await;
        let whole = frames.request().await;
        frames.answer(whole.stream, "done").await;
        assert_executed(&caller.read().await);
    }
}

/// A GOAWAY tells apart what is still answered and what is not: the first goes on, the second is
/// tried on a new connection, at once.
#[tokio::test]
async fn a_goaway_divides_the_requests_of_a_connection() {
    for last_first in [false, true] {
        let peer = FramePeer::start().await;
        let proxy = by_http2(peer.addr).start().await;
        let mut first = post(&proxy, "k1").open().await;
        let mut frames = peer.accept().await;
        let kept = frames.request().await;
        let mut second = post(&proxy, "k2").open().await;
        frames.request().await;
        if last_first {
            frames.go_away(ANY_STREAM, NO_ERROR).await;
        }
        frames.go_away(kept.stream, NO_ERROR).await;
        let mut other = peer.accept().await;
        let whole = other.request().await;
        other.answer(whole.stream, "second").await;
        frames.answer(kept.stream, "first").await;
        let (first, second) = (first.read().await, second.read().await);
        assert_executed(&first);
        assert_executed(&second);
        assert_eq!((first.text().as_str(), second.text().as_str()), ("first", "second"));
        assert_eq!(frames.end().await, 2);
        peer.assert_no_more_connections();
    }
}

/// After a GOAWAY, requests go over another connection, and none is lost.
#[tokio::test]
async fn a_connection_that_ends_is_replaced() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut frames = used(&proxy, &peer).await;
    for round in 0..5 {
        let key = format!("k{round}");
        match round % 3 {
            0 => frames.go_away(ANY_STREAM, NO_ERROR).await,
            1 => frames.go_away(1, NO_ERROR).await,
            _ => {}
        }
        if round % 3 == 2 {
            frames.close(How::Close);
        } else {
            assert_eq!(frames.end().await, 1, "it is closed when nothing runs on it");
        }
        none_connected_to(peer.addr).await;
        let mut caller = post(&proxy, &key).open().await;
        let mut next = peer.accept().await;
        let whole = next.request().await;
        next.answer(whole.stream, "done").await;
        assert_executed(&caller.read().await);
        frames = next;
    }
}

/// A connection that closes while nobody looks is noticed before anything is written to it.
#[tokio::test]
async fn a_stale_connection_is_replaced_without_a_second_execution() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut frames = used(&proxy, &peer).await;
    for round in 0..20 {
        proxy.signal("STOP");
        frames.close(if round % 2 == 0 { How::Close } else { How::Reset });
        none_connected_to(peer.addr).await;
        let mut caller = post(&proxy, &format!("k{round}")).open().await;
        proxy.signal("CONT");
        frames = tokio::select! {
            frames = peer.accept() => frames,
            reply = caller.read() => panic!("round {round}: {reply:?}"),
        };
        let whole = frames.request().await;
        frames.answer(whole.stream, "done").await;
        assert_executed(&caller.read().await);
        assert_eq!(frames.requests, 1);
    }
    peer.assert_no_more_connections();
}

/// Who does not speak HTTP/2 is sent no request.
#[tokio::test]
async fn who_does_not_speak_http2_is_sent_no_request() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).arg("--upstream-connect-timeout", "400ms").start().await;
    for (said, reason) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "http_protocol_error"),
        ("", "connection_terminated"),
    ] {
        let mut caller = post(&proxy, "k1").open().await;
        let mut frames = peer.connection().await;
        frames.write_bytes(said.as_bytes()).await;
        if said.is_empty() {
            frames.close(How::Close);
        } else {
            assert_eq!(frames.end().await, 0);
        }
        assert_unsent(&caller.read().await, reason);
    }
    proxy.wait_for_log("a warning", |line| line.contains("does not speak HTTP/2")).await;
    // who says nothing at all is not waited for longer than a connection may take
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.connection().await;
    assert_unsent(&caller.read().await, "connection_timeout");
    assert_eq!(frames.end().await, 0);
    // and who lets no request run is sent none
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.accept_with(&[(super::frames::STREAMS_MAX, 0)]).await;
    assert_unsent(&caller.read().await, "connection_timeout");
    assert_eq!(frames.end().await, 0);
}

/// Who goes away as soon as it has come has seen nothing.
#[tokio::test]
async fn a_connection_that_ends_before_its_first_request_leaves_the_key_free() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    for reason in [NO_ERROR, CANCEL] {
        let mut caller = post(&proxy, "k1").open().await;
        let mut frames = peer.connection().await;
        frames.go_away(0, reason).await;
        frames.close(How::Close);
        let reply = caller.read().await;
        assert!(
            ["connection_terminated", "http_protocol_error"]
                .iter()
                .any(|reason| reply.header("proxy-status").is_some_and(|s| s.ends_with(reason))),
            "{reply:?}"
        );
    }
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "done").await;
    assert_executed(&caller.read().await);
}

/// A connection over which one request was answered.
async fn used(proxy: &Proxy, peer: &FramePeer) -> super::frames::Frames {
    let mut caller = client(proxy).post("/first").key("first").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "first").await;
    assert_eq!(caller.read().await.text(), "first");
    frames
}
