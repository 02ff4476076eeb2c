//! Room for bodies and answers, and peers that give none, or more than there can be.

use super::asked::Asked;
use super::frame::{self, Frame};
use super::hpack::block;
use super::raw::{Outcome, Raw};
use super::{MIB, Peak, assert_others_served};
use crate::support::{Answer, Gate, Origin, Proxy, assert_executed, assert_marked, client, memory};

const NO_ROOM: [(u16, u32); 1] = [(frame::INITIAL_WINDOW_SIZE, 0)];

async fn told(origin: &Origin, limits: &str) -> Proxy {
    Proxy::before(origin).toml(&format!("[limits]\n{limits}")).start().await
}

/// A12: whoever takes nothing of a large answer is let go, on all its streams; answers that are
/// kept are not copied for it, and it may come back for them.
#[tokio::test]
async fn streams_without_room_for_their_answers_are_reset() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "write_timeout = \"1s\"").await;
    origin.respond(|sent| match sent.target.as_str() {
        "/probe" => Answer::new(201).into(),
        _ => Answer::new(200).body(vec![b'x'; MIB]).into(),
    });
    let first = client(&proxy).post("/charges").key("k1").body("10").send().await;
    assert_executed(&first);
    let peak = Peak::of(&proxy);
    for room in [0, 1, 100, 20_000] {
        for request in [Asked::post("k1"), Asked::get("/large")] {
            let settings = [(frame::INITIAL_WINDOW_SIZE, room)];
            let mut raw = Raw::with_settings(&proxy, &settings).await;
            raw.makes_room = false;
            let mut streams = Vec::new();
            for _ in 0..if request.fields[0].1 == b"GET" { 20 } else { 100 } {
                streams.push(raw.ask(&request).await);
            }
            assert_others_served(&proxy).await;
            for stream in streams {
                match raw.outcome(stream).await {
                    Outcome::Answered(reply) => assert!(reply.is_cut(), "{room} {reply:?}"),
                    other @ (Outcome::Reset(_) | Outcome::Gone) => panic!("{other:?}"),
                }
            }
            assert!(raw.has_looked().await, "the connection itself is as good as ever");
            assert_eq!(raw.send_request(&Asked::new("HEAD", "/probe")).await.status, 201);
        }
    }
    peak.assert_below(&proxy, 64 * MIB);
    let mut raw = Raw::connect(&proxy).await;
    let again = raw.send_request(&Asked::post("k1")).await;
    assert_marked(&again);
    assert_eq!(again.body, first.body);
}

/// Room that comes piece by piece is enough: what is taken slowly is taken whole.
#[tokio::test]
async fn an_answer_that_is_taken_slowly_comes_whole() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "write_timeout = \"1s\"").await;
    let body: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    origin.always(Answer::new(200).body(&body));
    let mut raw = Raw::with_settings(&proxy, &NO_ROOM).await;
    raw.makes_room = false;
    let stream = raw.ask(&Asked::post("k1")).await;
    let other = raw.ask(&Asked::get("/other")).await;
    let mut given = 0;
    while given < body.len() {
        let more = [1, 50_000, 30_001, 20_000][given % 4];
        given += more;
        let more = u32::try_from(more).expect("a number");
        raw.send(&Frame::window_update(0, more)).await;
        raw.send(&Frame::window_update(stream, more)).await;
        while raw.body_bytes(stream) < given.min(body.len()) {
            assert!(raw.next_frame().await.is_some(), "it stays");
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    let reply = raw.reply(stream).await;
    assert!(!reply.is_cut() && reply.body == body, "{reply:?}");
    assert!(matches!(raw.outcome(other).await, Outcome::Answered(reply) if reply.is_cut()));
    assert_eq!(origin.hits(), 2);
}

/// More room than there can be is an error of the stream, or of the connection.
#[tokio::test]
async fn windows_that_overflow_are_refused() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let proxy = told(&origin, "").await;
    let most = 0x7fff_ffff;
    for (frame, code) in [
        (Frame::window_update(0, most), frame::FLOW_CONTROL_ERROR),
        (Frame::window_update(0, 0), frame::PROTOCOL_ERROR),
        (Frame::settings(&[(frame::INITIAL_WINDOW_SIZE, most + 1)]), frame::PROTOCOL_ERROR),
        (Frame::window_update(99, 1), frame::PROTOCOL_ERROR),
    ] {
        let mut raw = Raw::connect(&proxy).await;
        raw.send_request(&Asked::get("/probe")).await;
        raw.send(&frame).await;
        let gone = raw.gone().await.unwrap_or_else(|| panic!("a GOAWAY for {frame:?}"));
        assert_eq!(gone.code, code, "{frame:?}");
        assert_others_served(&proxy).await;
    }
    origin.next(crate::support::Act::Ledger.after(&gate));
    let hits = origin.hits();
    let mut raw = Raw::connect(&proxy).await;
    let stream = raw.ask(&Asked::post("k1")).await;
    origin.wait_for_hits(hits + 1).await;
    raw.send(&Frame::window_update(stream, most)).await;
    assert!(matches!(raw.outcome(stream).await, Outcome::Reset(frame::FLOW_CONTROL_ERROR)));
    gate.open();
    assert_eq!(raw.send_request(&Asked::post("k1")).await.status, 201);
    assert_marked(&raw.send_request(&Asked::post("k1")).await);
    assert_eq!(origin.hits(), hits + 1);
}

/// More of a body than there was room for.
#[tokio::test]
async fn a_body_beyond_its_window_is_refused() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "stream_window = \"64KiB\"\nconnection_window = \"128KiB\"").await;
    let peak = Peak::of(&proxy);
    let mut raw = Raw::connect(&proxy).await;
    let mut streams = Vec::new();
    for number in 0..4 {
        let stream = raw.number();
        let post = Asked::post(&format!("k{number}"));
        raw.send(&Frame::headers(stream, block(&post.fields))).await;
        streams.push(stream);
    }
    for stream in streams.iter().cycle().take(4_000) {
        raw.send(&Frame::data(*stream, vec![b'x'; 16_384])).await;
    }
    assert_eq!(raw.gone().await.map(|gone| gone.code), Some(frame::FLOW_CONTROL_ERROR));
    peak.assert_below(&proxy, 16 * MIB);
    assert_eq!(origin.heads(), 0);
}

/// Bodies that nobody reads give their room back: a refused request is no leak.
#[tokio::test]
async fn unread_bodies_give_their_room_back() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    let mut raw = Raw::connect(&proxy).await;
    let mut sent = 0;
    for round in 0..200 {
        let refused = Asked::new("POST", "/charges").header("idempotency-key", "two words");
        let stream = raw.number();
        raw.send(&Frame::headers(stream, block(&refused.fields))).await;
        // As large as there is room for, in the connection and on the stream.
        assert!(raw.has_room(0, sent + 60_000).await, "round {round}: {:?}", raw.goaway());
        for _ in 0..4 {
            raw.send(&Frame::data(stream, vec![b'x'; 15_000])).await;
        }
        sent += 60_000;
        let reply = raw.reply(stream).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        raw.send(&Frame::reset(stream, frame::CANCEL)).await;
    }
    assert_executed(&raw.send_request(&Asked::post("k1")).await);
    assert_eq!(origin.hits(), 1);
}

/// A12: a body that is begun on every stream and never ended: memory is what windows allow.
#[tokio::test]
async fn bodies_that_never_end_are_bounded_and_ended() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "body_timeout = \"2s\"").await;
    let before = memory(&proxy, "VmHWM");
    let mut raw = Raw::connect(&proxy).await;
    let mut streams = Vec::new();
    for number in 0..100 {
        let stream = raw.number();
        let post = Asked::post(&format!("k{number}"));
        raw.send(&Frame::headers(stream, block(&post.fields))).await;
        assert!(raw.has_room(0, (number + 1) * 10_000).await, "{:?}", raw.goaway());
        raw.send(&Frame::data(stream, vec![b'x'; 10_000])).await;
        streams.push(stream);
    }
    assert_others_served(&proxy).await;
    for stream in streams {
        assert_eq!(raw.reply(stream).await.status, 408);
    }
    assert!(memory(&proxy, "VmHWM").saturating_sub(before) < 16 * MIB);
    assert_eq!(origin.requests().iter().filter(|sent| sent.method == "POST").count(), 0);
    assert_executed(&raw.send_request(&Asked::post("k1")).await);
}
