//! Streams that are begun and taken back, by whoever began them or by what they are made to break.

use super::asked::Asked;
use super::frame::{self, Frame};
use super::raw::{Outcome, Raw};
use super::{MIB, Peak, assert_others_served};
use crate::support::{
    Act, Gate, Origin, Proxy, assert_executed, assert_marked, assert_problem, client, eventually,
};

const STREAMS: usize = 10_000;

/// A request of its own on every stream: passed on, or guarded by a key of its own.
fn request(method: &str, number: usize) -> Asked {
    let request = Asked::new(method, &format!("/{method}/{number}"));
    match method {
        "GET" => request,
        _ => request.header("idempotency-key", format!("k{number}")),
    }
}

/// Fails if any guarded operation was executed more than once.
#[track_caller]
fn assert_each_once(origin: &Origin) {
    for sent in origin.requests().iter().filter(|sent| sent.method == "POST") {
        assert_eq!(origin.executions(&sent.operation()), 1, "{sent:?}");
    }
}

/// A12, CVE-2023-44487: streams that are taken back before anybody has looked at them.
#[tokio::test]
async fn streams_that_are_reset_at_once_end_their_connection() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    assert_others_served(&proxy).await;
    let peak = Peak::of(&proxy);
    for method in ["GET", "POST", "GET", "POST"] {
        let mut raw = Raw::connect(&proxy).await;
        let mut bytes = Vec::new();
        for number in 0..STREAMS {
            let stream = raw.number();
            bytes.extend(request(method, number).frames(stream)[0].bytes());
            bytes.extend(Frame::reset(stream, frame::CANCEL).bytes());
        }
        let (written, ()) = tokio::join!(raw.write(&bytes), assert_others_served(&proxy));
        drop(written);
        let gone = raw.gone().await.expect("a GOAWAY");
        assert_eq!(gone.code, frame::ENHANCE_YOUR_CALM, "{gone:?}");
        assert!(gone.last < 1_000, "{gone:?}");
    }
    peak.assert_below(&proxy, 32 * MIB);
    assert_others_served(&proxy).await;
    assert_each_once(&origin);
    assert!(origin.heads() < 1_000, "{} have reached the upstream", origin.heads());
}

/// A12: streams that are taken back once their requests are on their way.
#[tokio::test]
async fn streams_that_are_reset_while_they_run_leave_nothing_behind() {
    for method in ["GET", "POST"] {
        let origin = Origin::start().await;
        let proxy = Proxy::before(&origin).start().await;
        assert_others_served(&proxy).await;
        let peak = Peak::of(&proxy);
        let mut raw = Raw::connect(&proxy).await;
        let mut begun = 0;
        while begun < STREAMS {
            let mut resets = Vec::new();
            for _ in 0..50 {
                let stream = raw.ask(&request(method, begun)).await;
                resets.push(Frame::reset(stream, frame::CANCEL));
                begun += 1;
            }
            assert!(raw.has_looked().await, "{:?}", raw.goaway());
            raw.send_all(&resets).await;
            if begun.is_multiple_of(1_000) {
                assert_others_served(&proxy).await;
            }
        }
        assert!(raw.has_looked().await, "{:?}", raw.goaway());
        peak.assert_below(&proxy, 32 * MIB);
        assert_each_once(&origin);
        if method == "POST" {
            for number in (0..STREAMS).step_by(500) {
                let repeat = raw.send_request(&request(method, number)).await;
                assert_eq!(repeat.status, 201, "{repeat:?}");
            }
            assert_each_once(&origin);
        }
    }
}

/// C13: a stream that is reset after its request is over is a caller that has left.
#[tokio::test]
async fn a_stream_that_is_reset_after_its_request_is_executed_once() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for code in [frame::CANCEL, frame::NO_ERROR, frame::PROTOCOL_ERROR, 99] {
        let gate = Gate::shut();
        origin.next(Act::Ledger.after(&gate));
        let hits = origin.hits();
        let mut raw = Raw::connect(&proxy).await;
        let post = Asked::post(&format!("k{code}"));
        let stream = raw.ask(&post).await;
        origin.wait_for_hits(hits + 1).await;
        raw.send(&Frame::reset(stream, code)).await;
        let retry = raw.ask(&post).await;
        assert!(raw.has_looked().await, "a stream that is reset is no fault");
        gate.open();
        let retry = raw.reply(retry).await;
        assert_marked(&retry);
        assert_eq!(retry.json()["execution"], hits + 1, "of all keys together");
        assert_marked(&raw.send_request(&post).await);
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// C13, K1: the same key on many streams at once is one operation, whoever of them leaves.
#[tokio::test]
async fn streams_with_one_key_are_one_operation() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut raw = Raw::connect(&proxy).await;
    let mut streams = Vec::new();
    for _ in 0..80 {
        streams.push(raw.ask(&Asked::post("k1")).await);
    }
    origin.wait_for_hits(1).await;
    assert!(raw.has_looked().await);
    for stream in streams.drain(..40) {
        raw.send(&Frame::reset(stream, frame::CANCEL)).await;
    }
    assert!(raw.has_looked().await);
    gate.open();
    let mut replies = Vec::new();
    for stream in streams {
        replies.push(raw.reply(stream).await);
    }
    let executed = replies.iter().filter(|reply| !reply.is_repeat()).count();
    assert!(executed <= 1, "the first one may be among those that have left");
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.body == replies[0].body));
    let again = client(&proxy).post("/charges").key("k1").body("10").send().await;
    assert_marked(&again);
    assert_eq!((again.body, origin.hits()), (replies[0].body.clone(), 1));
}

/// A12: a connection has as many streams as it was told; one more is refused, not executed, and may
/// be begun again.
#[tokio::test]
async fn streams_beyond_their_limit_are_refused() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let proxy = Proxy::before(&origin).start().await;
    let mut raw = Raw::connect(&proxy).await;
    let told: std::collections::HashMap<_, _> = raw.settings().await.into_iter().collect();
    assert_eq!(told.get(&frame::MAX_CONCURRENT_STREAMS), Some(&100), "{told:?}");
    assert_eq!(told.get(&frame::MAX_HEADER_LIST_SIZE), Some(&65_536), "{told:?}");
    let mut streams = Vec::new();
    for number in 0..130 {
        streams.push(raw.ask(&request("POST", number)).await);
    }
    for stream in streams.drain(100..) {
        let outcome = raw.outcome(stream).await;
        assert!(matches!(outcome, Outcome::Reset(frame::REFUSED_STREAM)), "{outcome:?}");
    }
    origin.wait_for_hits(100).await;
    assert!(raw.has_looked().await, "{:?}", raw.goaway());
    assert_eq!(origin.hits(), 100);
    gate.open();
    for stream in streams {
        assert_executed(&raw.reply(stream).await);
    }
    for number in 100..130 {
        assert_executed(&raw.send_request(&request("POST", number)).await);
    }
    assert_each_once(&origin);
}

/// C13, A12: what one connection has begun and left runs on, and there is an end to how much of it
/// one connection may begin; others are served.
#[tokio::test]
async fn a_connection_may_have_only_so_much_running() {
    for (limits, max) in [("", 100), ("[limits]\nmax_streams = 7", 7)] {
        let origin = Origin::start().await;
        let gate = Gate::shut();
        origin.respond({
            let gate = gate.clone();
            move |sent| match sent.target.as_str() {
                "/probe" | "/POST/9999" => Act::Ledger,
                _ => Act::Ledger.after(&gate),
            }
        });
        let proxy = Proxy::before(&origin).toml(limits).start().await;
        let mut raw = Raw::connect(&proxy).await;
        for number in 0..max + 50 {
            let stream = raw.ask(&request("POST", number)).await;
            assert!(raw.has_looked().await, "{:?}", raw.goaway());
            raw.send(&Frame::reset(stream, frame::CANCEL)).await;
        }
        origin.wait_for_hits(max).await;
        let busy = raw.send_request(&request("POST", 9_999)).await;
        assert_problem(&busy, 503, "busy");
        assert_eq!(origin.hits(), max, "no more than that have begun");
        let other = Raw::connect(&proxy).await.send_request(&request("POST", 9_999)).await;
        assert_executed(&other);
        assert_marked(&raw.send_request(&request("POST", 9_999)).await);
        assert_others_served(&proxy).await;
        gate.open();
        eventually("room for more", async || {
            raw.send_request(&request("POST", max + 60)).await.status == 201
        })
        .await;
        for number in 0..max {
            assert_marked(&raw.send_request(&request("POST", number)).await);
        }
        assert_each_once(&origin);
    }
}

/// Ways to make the proxy reset a stream whose request is whole, or the whole connection.
fn provocations(stream: u32) -> [(u32, Frame); 9] {
    let itself = [&stream.to_be_bytes()[..], &[0]].concat();
    let late = super::hpack::literal("x", "y");
    [
        (frame::ENHANCE_YOUR_CALM, Frame::window_update(stream, 0x7fff_ffff)),
        (frame::ENHANCE_YOUR_CALM, Frame::new(frame::PRIORITY, 0, stream, itself)),
        (frame::ENHANCE_YOUR_CALM, Frame::headers(stream, &late)),
        (frame::PROTOCOL_ERROR, Frame::window_update(stream, 0)),
        (frame::PROTOCOL_ERROR, Frame::data(stream, "x")),
        (frame::PROTOCOL_ERROR, Frame::headers(stream, &late).last()),
        (frame::PROTOCOL_ERROR, Frame::new(frame::PRIORITY, 0, stream, [0; 4])),
        (frame::PROTOCOL_ERROR, Frame::new(frame::RST_STREAM, 0, stream, [0; 3])),
        (frame::PROTOCOL_ERROR, Frame::new(frame::WINDOW_UPDATE, 0, stream, [0; 5])),
    ]
}

/// A12, CVE-2025-8671: the caller does not take its requests back, but makes the proxy do it.
#[tokio::test]
async fn streams_that_the_proxy_is_made_to_reset_end_their_connection() {
    for method in ["GET", "POST"] {
        for how in 0..provocations(1).len() {
            let origin = Origin::start().await;
            let gate = Gate::shut();
            origin.respond({
                let gate = gate.clone();
                move |sent| match sent.target.as_str() {
                    "/probe" => Act::Ledger,
                    _ => Act::Ledger.after(&gate),
                }
            });
            let proxy = Proxy::before(&origin).start().await;
            assert_others_served(&proxy).await;
            let peak = Peak::of(&proxy);
            let mut raw = Raw::connect(&proxy).await;
            let mut begun = 0;
            while begun < 3_000 {
                let mut provoking = Vec::new();
                for number in begun..begun + 50 {
                    let stream = raw.ask(&request(method, number)).await;
                    provoking.push(provocations(stream)[how].1.clone());
                }
                begun += 50;
                if !raw.has_looked().await {
                    break;
                }
                raw.send_all(&provoking).await;
            }
            assert_others_served(&proxy).await;
            let (code, frame) = provocations(1)[how].clone();
            // Of guarded requests, all but what may be begun are refused before they can be reset.
            if code != frame::ENHANCE_YOUR_CALM || method == "GET" {
                let gone = raw.gone().await.unwrap_or_else(|| panic!("a GOAWAY for {frame:?}"));
                assert_eq!(gone.code, code, "{frame:?}, {gone:?}");
                assert!(begun <= 1_100, "{begun} streams before {frame:?} was too much");
            }
            let posts = origin.requests().iter().filter(|sent| sent.method == "POST").count();
            assert!(posts <= 100, "{posts} operations of one connection have begun");
            peak.assert_below(&proxy, 48 * MIB);
            gate.open();
            assert_each_once(&origin);
        }
    }
}
