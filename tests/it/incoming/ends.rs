//! How connections by HTTP/2 begin and end: prefaces, silence, idleness, and the end of the proxy.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::asked::Asked;
use super::assert_others_served;
use super::frame::{self, Frame, PREFACE};
use super::hpack::{block, literal};
use super::raw::{Outcome, Raw};
use crate::support::{Act, Gate, Origin, Proxy, assert_executed, assert_marked, client, within};

async fn told(origin: &Origin, limits: &str) -> Proxy {
    Proxy::before(origin).toml(&format!("[limits]\n{limits}")).start().await
}

/// Everything that the proxy says to these bytes until it closes.
async fn said_to(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
    stream.write_all(bytes).await.expect("room for a few bytes");
    let mut said = Vec::new();
    within("the end of the connection", stream.read_to_end(&mut said)).await.ok();
    said
}

/// What is no preface is no HTTP/2, and what is only a part of one is nothing.
#[tokio::test]
async fn a_preface_is_whole_or_is_none() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "header_timeout = \"1s\"").await;
    for wrong in
        ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "PRI / HTTP/2.0\r\n"]
    {
        let said = said_to(&proxy, format!("{wrong}Host: a\r\n\r\n").as_bytes()).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{wrong:?}: {said}");
    }
    for length in [1, 3, PREFACE.len() - 1] {
        assert_eq!(said_to(&proxy, &PREFACE[..length]).await, b"", "{length}");
    }
    assert_others_served(&proxy).await;
    assert_eq!(origin.hits(), 1);
}

/// A preface may come in any pieces, as may all that follows it.
#[tokio::test]
async fn what_comes_byte_by_byte_is_understood() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    let stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
    stream.set_nodelay(true).expect("setting TCP_NODELAY");
    let mut raw = Raw::bare(stream);
    let frames: Vec<_> = Asked::post("k1").frames(1).iter().flat_map(Frame::bytes).collect();
    for byte in [PREFACE, &Frame::settings(&[]).bytes(), &frames].concat() {
        raw.write(&[byte]).await.expect("room for a byte");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_executed(&raw.reply(1).await);
}

/// A12: who asks nothing is not waited for, whatever else is said meanwhile.
#[tokio::test]
async fn connections_without_a_request_are_closed() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "header_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"").await;
    let mut silent = Raw::connect(&proxy).await;
    let mut pinging = Raw::connect(&proxy).await;
    let mut begun = Raw::connect(&proxy).await;
    let unended = Frame::new(frame::HEADERS, 0, 1, block(&Asked::get("/").fields));
    begun.send(&unended).await;
    silent.gone().await;
    begun.gone().await;
    // One whose only frame comes byte by byte.
    let mut trickling = Raw::connect(&proxy).await;
    trickling.write(&Frame::new(0x42, 0, 0, [0; 16_384]).bytes()[..9]).await.expect("room");
    while trickling.write(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while pinging.has_looked().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(origin.heads(), 0);
}

/// C4: a connection may be idle between its requests, and not for ever, however often it says that
/// it is there; and it is told so, so that no request is lost on the way.
#[tokio::test]
async fn idle_connections_are_told_to_go() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "keep_alive_timeout = \"1s\"\nping_interval = \"400ms\"").await;
    for pings in [false, true] {
        let mut raw = Raw::connect(&proxy).await;
        assert_executed(&raw.send_request(&Asked::post(&format!("k{pings}"))).await);
        while pings && raw.has_looked().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let gone = raw.gone().await.expect("a GOAWAY");
        assert_eq!((gone.last, gone.code), (1, frame::NO_ERROR));
    }
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut busy = Raw::connect(&proxy).await;
    let stream = busy.ask(&Asked::post("k3")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(busy.has_looked().await && busy.goaway().is_none(), "one that waits is not idle");
    gate.open();
    assert_executed(&busy.reply(stream).await);
}

/// A peer that was told to go, and neither goes nor answers, is left.
#[tokio::test]
async fn idle_connections_that_do_not_listen_are_closed() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "keep_alive_timeout = \"1s\"").await;
    let mut raw = Raw::connect(&proxy).await;
    raw.answers_pings = false;
    assert_executed(&raw.send_request(&Asked::post("k1")).await);
    assert!(raw.gone().await.is_some());
}

/// A peer that is there answers when it is asked; one that does not is gone.
#[tokio::test]
async fn peers_that_do_not_answer_are_gone() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "ping_interval = \"500ms\"\nping_timeout = \"500ms\"").await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let mut gone = Raw::connect(&proxy).await;
    gone.answers_pings = false;
    let mut there = Raw::connect(&proxy).await;
    gone.ask(&Asked::post("k1")).await;
    let stream = there.ask(&Asked::post("k1")).await;
    origin.wait_for_hits(1).await;
    let (_, ()) = tokio::join!(gone.gone(), async {
        while tokio::time::timeout(Duration::from_secs(3), there.next_frame()).await.is_ok() {
            assert_eq!(there.goaway(), None);
            if there.pings_seen() > 3 {
                break;
            }
        }
    });
    gate.open();
    assert_eq!(there.reply(stream).await.status, 201);
    assert_eq!(origin.hits(), 1);
}

/// P1: what was asked before the end is answered, what comes after it is not begun, and the
/// connection says which is which.
#[tokio::test]
async fn the_end_answers_what_was_asked() {
    let origin = Origin::start().await;
    let mut proxy = told(&origin, "").await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let mut raw = Raw::connect(&proxy).await;
    let mut streams = Vec::new();
    for number in 0..50 {
        streams.push(raw.ask(&Asked::post(&format!("k{number}"))).await);
    }
    origin.wait_for_hits(50).await;
    let mut idle = Raw::connect(&proxy).await;
    assert!(idle.has_looked().await);
    proxy.terminate();
    while raw.goaway().is_none_or(|gone| gone.last == 0x7fff_ffff) {
        assert!(raw.next_frame().await.is_some(), "it stays until all is answered");
    }
    assert_eq!(raw.goaway().map(|gone| gone.last), streams.last().copied());
    let late = raw.ask(&Asked::post("late")).await;
    gate.open();
    for stream in streams {
        assert_executed(&raw.reply(stream).await);
    }
    assert!(matches!(raw.outcome(late).await, Outcome::Gone | Outcome::Reset(_)));
    idle.gone().await;
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert_eq!(origin.hits(), 50);
}

/// P1: a peer that asks nothing and does not listen does not hold up the end.
#[tokio::test]
async fn peers_that_do_not_listen_do_not_hold_up_the_end() {
    let origin = Origin::start().await;
    let mut proxy = told(&origin, "").await;
    let mut mute = Raw::connect(&proxy).await;
    mute.answers_pings = false;
    assert_executed(&mute.send_request(&Asked::post("k1")).await);
    let _silent = Raw::connect(&proxy).await;
    let _begun = Raw::bare(TcpStream::connect(proxy.addr()).await.expect("connecting"));
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert_eq!(mute.gone().await.map(|gone| gone.code), Some(frame::NO_ERROR));
}

/// Streams are begun by callers, each once, in their order (RFC 9113, section 5.1.1); anything else
/// ends the connection, and nothing of it is executed.
#[tokio::test]
async fn streams_that_cannot_be_begun_end_their_connection() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    let block = block(&Asked::post("k1").fields);
    let headers = |stream| Frame::headers(stream, &block).last();
    let promise = [&2_u32.to_be_bytes()[..], &block].concat();
    let wrong = [
        vec![headers(0)],
        vec![headers(2)],
        vec![headers(4)],
        vec![headers(0x8000_0000)],
        vec![Frame::data(0, "x")],
        vec![Frame::data(99, "x").last()],
        vec![Frame::reset(99, frame::CANCEL)],
        vec![Frame::reset(0, frame::CANCEL)],
        vec![Frame::new(frame::CONTINUATION, frame::END_HEADERS, 99, &block)],
        vec![Frame::new(frame::HEADERS, 0, 99, &block), Frame::ping(1)],
        vec![Frame::new(frame::HEADERS, 0, 99, &block), Frame::new(9, 4, 101, literal("a", "b"))],
        vec![Frame::new(frame::PUSH_PROMISE, frame::END_HEADERS, 1, &promise)],
        vec![Frame::new(frame::PUSH_PROMISE, frame::END_HEADERS, 0, &promise)],
        vec![Frame::new(frame::SETTINGS, 0, 1, "")],
        vec![Frame::new(frame::SETTINGS, 0, 0, [0; 5])],
        vec![Frame::new(frame::SETTINGS, frame::ACK, 0, [0; 6])],
        vec![Frame::settings(&[(5, 1)])],
        vec![Frame::settings(&[(2, 2)])],
        vec![Frame::new(frame::PING, 0, 0, [0; 7])],
        vec![Frame::new(frame::PING, 0, 1, [0; 8])],
        vec![Frame::new(frame::GOAWAY, 0, 1, [0; 8])],
        vec![Frame::data(1, vec![0; 16_385])],
        vec![Frame::new(frame::DATA, 0x8, 1, [9, 0])],
        vec![Frame::new(frame::HEADERS, 0x4 | 0x8, 99, [200, 0])],
        vec![Frame::headers(99, b"\xff\xff\xff\xff\xff\xff\xff")],
        vec![Frame::headers(99, b"\xbe")],
        vec![Frame::headers(99, b"\x80")],
        vec![Frame::headers(99, b"\x3f\xff\xff\x7f")],
    ];
    for (number, frames) in wrong.iter().enumerate() {
        let mut raw = Raw::connect(&proxy).await;
        let hits = origin.hits();
        raw.send_request(&Asked::get(&format!("/{number}"))).await;
        raw.send_all(frames).await;
        let gone = raw.gone().await;
        assert!(gone.is_some_and(|gone| gone.code != frame::NO_ERROR), "{gone:?}: {frames:?}");
        assert_eq!(origin.hits(), hits + 1, "{frames:?}");
    }
    // A stream that was left out, or used before, can't be begun any more.
    for stream in [1, 3] {
        let mut raw = Raw::connect(&proxy).await;
        raw.number();
        raw.number();
        raw.send_request(&Asked::get("/five")).await;
        let hits = origin.hits();
        raw.send(&headers(stream)).await;
        let gone = raw.gone().await;
        assert!(gone.is_some_and(|gone| gone.code != frame::NO_ERROR), "{gone:?}: {stream}");
        assert_eq!(origin.hits(), hits);
    }
    let again = client(&proxy).post("/charges").key("k1").send().await;
    assert_executed(&again);
    assert_marked(&client(&proxy).post("/charges").key("k1").send().await);
}

/// What a peer says of itself is no fault: it goes, or has something to say to nobody.
#[tokio::test]
async fn a_peer_that_goes_gets_its_answers() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut raw = Raw::connect(&proxy).await;
    let stream = raw.ask(&Asked::post("k1")).await;
    raw.send(&Frame::new(frame::GOAWAY, 0, 0, [0; 8])).await;
    assert!(raw.has_looked().await);
    gate.open();
    assert_executed(&raw.reply(stream).await);
    raw.gone().await;
    // One that has stopped sending is gone: what it has begun is done, and kept for it.
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut raw = Raw::connect(&proxy).await;
    let stream = raw.ask(&Asked::post("k2")).await;
    origin.wait_for_hits(2).await;
    raw.finish().await;
    proxy.has_read_all().await;
    gate.open();
    raw.outcome(stream).await;
    let again = client(&proxy).post("/charges").key("k2").body("10").send().await;
    assert_marked(&again);
    assert_eq!(origin.hits(), 2);
}
