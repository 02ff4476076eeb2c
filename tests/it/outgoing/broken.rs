//! Exchanges by HTTP/2 that break off: what may have been executed is never executed again, and
//! what has not come whole is never an answer.

use super::by_http2;
use super::frames::{
    ANY_STREAM, CANCEL, ENHANCE_YOUR_CALM, FramePeer, Frames, HTTP_1_1_REQUIRED, INTERNAL_ERROR,
    NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM,
};
use crate::support::{
    Connection, How, Proxy, Request, assert_executed, assert_held, assert_problem, assert_unknown,
    client, eventually,
};

/// Where an exchange breaks off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    BeforeTheAnswer,
    AfterAnInterimAnswer,
    AfterTheHead,
    InTheBody,
}

const PLACES: [Place; 4] =
    [Place::BeforeTheAnswer, Place::AfterAnInterimAnswer, Place::AfterTheHead, Place::InTheBody];

const AFTER_THE_HEAD: [Place; 2] = [Place::AfterTheHead, Place::InTheBody];

fn post(proxy: &Proxy, key: &str) -> Request {
    client(proxy).post("/charges").key(key).body("10")
}

/// Answers a request as far as this place.
async fn answer_until(frames: &mut Frames, stream: u32, place: Place) {
    match place {
        Place::BeforeTheAnswer => {}
        Place::AfterAnInterimAnswer => frames.head(stream, 103, &[("link", "</a>")]).await,
        Place::AfterTheHead => frames.head(stream, 200, &[]).await,
        Place::InTheBody => {
            frames.head(stream, 200, &[]).await;
            frames.data(stream, b"looks whole").await;
        }
    }
}

/// Fails unless a request that is treated so is held.
async fn assert_breaks(
    proxy: &Proxy,
    frames: &mut Frames,
    key: &str,
    breaking: impl AsyncFnOnce(&mut Frames, u32),
) {
    let mut caller = post(proxy, key).open().await;
    let whole = frames.request().await;
    breaking(frames, whole.stream).await;
    assert_held(&caller.read().await, post(proxy, key)).await;
}

/// No reason of a reset makes an end of it, nor says that nothing was executed, but one before
/// the answer.
#[tokio::test]
async fn a_reset_is_a_cut_wherever_it_comes_and_whatever_it_says() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut caller = post(&proxy, "first").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "first").await;
    assert_eq!(caller.read().await.text(), "first");
    let reasons = [NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM]
        .into_iter()
        .chain([HTTP_1_1_REQUIRED, REFUSED_STREAM]);
    let mut count = 1;
    for reason in reasons {
        for place in PLACES {
            if (reason, place) == (REFUSED_STREAM, Place::BeforeTheAnswer) {
                continue;
            }
            let key = format!("k{reason}{place:?}");
            assert_breaks(&proxy, &mut frames, &key, async |frames, stream| {
                answer_until(frames, stream, place).await;
                frames.reset(stream, reason).await;
            })
            .await;
            count += 1;
        }
    }
    assert_eq!(frames.requests, count);
    peer.assert_no_more_connections();
}

/// The same to a caller whose request is passed on: its answer is visibly cut.
#[tokio::test]
async fn a_passed_answer_that_is_cut_is_seen_to_be() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut frames = None;
    for reason in [NO_ERROR, CANCEL, INTERNAL_ERROR, REFUSED_STREAM] {
        for place in AFTER_THE_HEAD {
            let mut caller = client(&proxy).get("/charges").open().await;
            let frames = match &mut frames {
                Some(frames) => frames,
                None => frames.insert(peer.accept().await),
            };
            let whole = frames.request().await;
            answer_until(frames, whole.stream, place).await;
            frames.reset(whole.stream, reason).await;
            match caller.try_read().await {
                Ok(reply) => assert!(reply.is_cut(), "{reason} {place:?}: {reply:?}"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof),
            }
        }
    }
}

/// A connection that closes takes the outcome of all its requests with it, wherever they are.
#[tokio::test]
async fn a_connection_that_closes_leaves_its_requests_unknown() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    for how in [How::Close, How::Reset] {
        let keys: Vec<_> = PLACES.iter().map(|place| format!("k{place:?}{how:?}")).collect();
        let mut callers: Vec<Connection> = Vec::new();
        let mut frames = None;
        for (key, place) in keys.iter().zip(PLACES) {
            callers.push(post(&proxy, key).open().await);
            let frames = match &mut frames {
                Some(frames) => frames,
                None => frames.insert(peer.accept().await),
            };
            let whole = frames.request().await;
            answer_until(frames, whole.stream, place).await;
        }
        frames.expect("a connection").close(how);
        for (caller, key) in callers.iter_mut().zip(&keys) {
            assert_held(&caller.read().await, post(&proxy, key)).await;
        }
        peer.assert_no_more_connections();
    }
}

/// A GOAWAY says nothing of the streams that it does not leave out: if they get no answer, nobody
/// knows.
#[tokio::test]
async fn a_goaway_leaves_what_it_names_unknown() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    for (number, reason) in [NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR].into_iter().enumerate() {
        for any in [false, true] {
            for place in PLACES {
                let key = format!("k{number}{any}{place:?}");
                let mut caller = post(&proxy, &key).open().await;
                let mut frames = peer.accept().await;
                let whole = frames.request().await;
                answer_until(&mut frames, whole.stream, place).await;
                frames.go_away(if any { ANY_STREAM } else { whole.stream }, reason).await;
                frames.close(How::Close);
                assert_held(&caller.read().await, post(&proxy, &key)).await;
            }
        }
    }
    peer.assert_no_more_connections();
}

/// A GOAWAY that leaves out a request of which an answer has begun contradicts itself.
#[tokio::test]
async fn a_goaway_after_an_answer_has_begun_says_nothing() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    for place in [Place::AfterAnInterimAnswer, Place::AfterTheHead, Place::InTheBody] {
        let key = format!("k{place:?}");
        let mut caller = post(&proxy, &key).open().await;
        let mut frames = peer.accept().await;
        let whole = frames.request().await;
        answer_until(&mut frames, whole.stream, place).await;
        frames.go_away(0, NO_ERROR).await;
        assert_held(&caller.read().await, post(&proxy, &key)).await;
    }
    peer.assert_no_more_connections();
}

/// An answer that is not what it says it is, or is none, is no answer.
#[tokio::test]
async fn an_answer_that_contradicts_itself_is_none() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let mut caller = post(&proxy, "first").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "first").await;
    assert_eq!(caller.read().await.text(), "first");
    let lengths: [&[(&str, &str)]; 5] = [
        &[("content-length", "5")],
        &[("content-length", "3")],
        &[("content-length", "4"), ("content-length", "5")],
        &[("content-length", "4, 4")],
        &[("content-length", "+4")],
    ];
    for (number, lines) in lengths.into_iter().enumerate() {
        let key = format!("k{number}");
        assert_breaks(&proxy, &mut frames, &key, async |frames, stream| {
            frames.head(stream, 200, lines).await;
            frames.last_data(stream, b"done").await;
        })
        .await;
    }
    assert_breaks(&proxy, &mut frames, "connection", async |frames, stream| {
        frames.head(stream, 200, &[("connection", "close")]).await;
    })
    .await;
    assert_breaks(&proxy, &mut frames, "no-status", async |frames, stream| {
        frames.trailers(stream, &[("x-a", "b")]).await;
    })
    .await;
    let many: Vec<_> = (0..201).map(|number| format!("x-{number}")).collect();
    assert_breaks(&proxy, &mut frames, "many-lines", async |frames, stream| {
        let lines: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
        frames.head(stream, 200, &lines).await;
    })
    .await;
    peer.assert_no_more_connections();
}

/// A peer that breaks the rules of the connection takes the outcome of its requests with it.
#[tokio::test]
async fn a_peer_that_breaks_the_rules_leaves_its_requests_unknown() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let large = vec![0; 20_000];
    let rules: [(&str, u8, u8, u32, &[u8]); 4] = [
        ("data on a stream that is none", 0, 0, 99, b"x"),
        ("a push", 5, 4, 1, &[0, 0, 0, 2, 0x82]),
        ("a frame that is too large", 0, 0, 1, &large),
        ("settings that are none", 4, 0, 0, &[1, 2, 3]),
    ];
    for (number, (what, kind, flags, stream, payload)) in rules.into_iter().enumerate() {
        let key = format!("k{number}");
        let mut caller = post(&proxy, &key).open().await;
        let mut frames = peer.accept().await;
        frames.request().await;
        frames.write(kind, flags, stream, payload).await;
        let reply = caller.read().await;
        assert_eq!(
            reply.header("proxy-status"),
            Some("oncegate; error=http_protocol_error"),
            "{what}"
        );
        assert_held(&reply, post(&proxy, &key)).await;
        frames.wait_for("a GOAWAY", super::frames::Frame::is_go_away).await;
    }
    peer.assert_no_more_connections();
}

/// An answer that never comes: the caller is told, the key is held, and a late answer heals it.
#[tokio::test]
async fn a_late_answer_heals_its_key() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).arg("--upstream-timeout", "500ms").start().await;
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    assert_problem(&caller.read().await, 504, "upstream-timeout");
    assert_unknown(None, post(&proxy, "k1")).await;
    frames.answer(whole.stream, "late").await;
    eventually("the late answer", async || {
        let repeat = post(&proxy, "k1").send().await;
        repeat.is_repeat() && repeat.text() == "late"
    })
    .await;
    assert_eq!(frames.requests, 1);
}

/// An answer that is given up resets its stream, and leaves the connection to others.
#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).arg("--upstream-timeout", "500ms");
    let proxy = proxy.arg("--upstream-linger", "500ms").start().await;
    let mut caller = post(&proxy, "k1").open().await;
    let mut frames = peer.accept().await;
    let whole = frames.request().await;
    assert_problem(&caller.read().await, 504, "upstream-timeout");
    let reset = frames.wait_for("a reset", |frame| frame.reset().is_some()).await;
    assert_eq!((reset.stream, reset.reset()), (whole.stream, Some(CANCEL)));
    assert_unknown(None, post(&proxy, "k1")).await;
    let mut other = post(&proxy, "k2").open().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "done").await;
    assert_executed(&other.read().await);
    peer.assert_no_more_connections();
}
