//! Frames that cost more than they say, or that never end what they have begun.

use super::asked::Asked;
use super::frame::{self, Frame};
use super::hpack::{block, literal, newest, remembered};
use super::raw::{Outcome, Raw, narrow};
use super::{MIB, Peak, assert_others_served};
use crate::support::{Origin, Proxy, within};

/// What is common to all floods.
struct Setup {
    origin: Origin,
    proxy: Proxy,
    peak: Peak,
}

impl Setup {
    async fn start(limits: &str) -> Self {
        let origin = Origin::start().await;
        let proxy = Proxy::before(&origin).toml(&format!("[limits]\n{limits}")).start().await;
        assert_others_served(&proxy).await;
        let peak = Peak::of(&proxy);
        Self { origin, proxy, peak }
    }

    /// Writes frames again and again until the connection has ended, or `count` were written. Other
    /// callers are served meanwhile.
    async fn flood(&self, raw: &mut Raw, frame: &Frame, count: usize) {
        let bytes = frame.bytes();
        let piece = bytes.repeat((64 * 1024 / bytes.len()).clamp(1, count));
        let pieces = (count * bytes.len()).div_ceil(piece.len());
        for number in 0..pieces {
            if raw.write(&piece).await.is_err() {
                break;
            }
            if number % 16 == 0 {
                assert_others_served(&self.proxy).await;
            }
        }
    }

    /// The connection was told to go away for this reason; memory is bounded, and nothing but
    /// probes has reached the upstream.
    async fn assert_sent_away(&self, raw: &mut Raw, code: u32) {
        let gone = raw.gone().await.expect("a GOAWAY");
        assert_eq!(gone.code, code, "{gone:?}");
        assert_others_served(&self.proxy).await;
        self.peak.assert_below(&self.proxy, 16 * MIB);
        assert!(self.origin.requests().iter().all(|sent| sent.target == "/probe"));
    }
}

/// The fields that every request needs.
fn needed() -> Vec<u8> {
    block(&Asked::get("/").fields)
}

/// A12, CVE-2024-27316: a header that never ends, in frames of any size.
#[tokio::test]
async fn endless_continuations_end_their_connection() {
    let setup = Setup::start("").await;
    let pieces = [
        Vec::new(),
        b"\0".to_vec(),
        literal("a", ""),
        literal("x-more", "y".repeat(16_000)),
        literal("x-more", "y".repeat(100)).repeat(100),
        // the beginning of a value that is said to have 2 GB
        b"\0\x01a\x7f\xff\xff\xff\xff\x07yyyyyyyyyyyyyyyyyyyyyyy".to_vec(),
        b"y".repeat(16_384),
    ];
    for begins in [needed(), Vec::new(), b"\0\x01a\x7f\xff\xff\xff\xff\x07".to_vec()] {
        for piece in &pieces {
            let mut raw = Raw::connect(&setup.proxy).await;
            raw.send(&Frame::new(frame::HEADERS, frame::END_STREAM, 1, &begins)).await;
            let more = Frame::new(frame::CONTINUATION, 0, 1, piece);
            setup.flood(&mut raw, &more, 20_000).await;
            let gone = raw.gone().await;
            assert!(gone.is_some_and(|gone| gone.code != frame::NO_ERROR), "{gone:?}");
        }
    }
    setup.peak.assert_below(&setup.proxy, 16 * MIB);
    assert!(setup.origin.requests().iter().all(|sent| sent.target == "/probe"));
}

/// A12: a few bytes that stand for a large field, thousands of times.
#[tokio::test]
async fn small_blocks_that_decode_to_large_headers_are_refused() {
    let setup = Setup::start("").await;
    for (count, is_answered) in [(9, true), (20, true), (200, false), (11_000, false)] {
        let mut raw = Raw::connect(&setup.proxy).await;
        for round in 0..20 {
            let stream = raw.number();
            let large = remembered("x-large", "y".repeat(4_000));
            let fields = if round == 0 { large } else { newest() };
            let bomb = [needed(), fields, newest().repeat(count)].concat();
            raw.send(&Frame::headers(stream, bomb).last()).await;
            match raw.outcome(stream).await {
                Outcome::Answered(reply) => assert_eq!((reply.status, is_answered), (431, true)),
                Outcome::Reset(code) => panic!("{count} fields were reset for {code}"),
                Outcome::Gone => {
                    assert!(!is_answered, "{count}");
                    assert_eq!(raw.goaway().map(|gone| gone.code), Some(frame::ENHANCE_YOUR_CALM));
                    break;
                }
            }
        }
        assert_others_served(&setup.proxy).await;
    }
    setup.peak.assert_below(&setup.proxy, 16 * MIB);
    assert!(setup.origin.requests().iter().all(|sent| sent.target == "/probe"));
}

/// A12: the same field by its index in every one of many requests, which is what indexes are for.
#[tokio::test]
async fn what_is_remembered_may_be_said_again() {
    let setup = Setup::start("").await;
    let mut raw = Raw::connect(&setup.proxy).await;
    for round in 0..200 {
        let stream = raw.number();
        let large = remembered("x-large", "y".repeat(3_900));
        let fields = if round == 0 { large } else { newest() };
        raw.send(&Frame::headers(stream, [needed(), fields].concat()).last()).await;
        assert_eq!(raw.reply(stream).await.status, 201);
        assert_eq!(setup.origin.last().header("x-large").map(str::len), Some(3_900));
    }
}

/// A12, CVE-2019-9518: frames without bytes, that do not end their streams either.
#[tokio::test]
async fn empty_data_without_an_end_ends_its_connection() {
    for method in ["GET", "POST"] {
        let setup = Setup::start("").await;
        let mut raw = Raw::connect(&setup.proxy).await;
        let post = Asked::new(method, "/probe").header("idempotency-key", "k1");
        raw.send(&Frame::headers(1, block(&post.fields))).await;
        setup.flood(&mut raw, &Frame::data(1, ""), 100_000).await;
        setup.assert_sent_away(&mut raw, frame::ENHANCE_YOUR_CALM).await;
    }
}

/// A12: a body in frames of one byte each costs more, but not more memory; a heap of them that
/// nobody could have read yet is too much.
#[tokio::test]
async fn a_body_in_tiny_frames_is_bounded() {
    const PIECE: usize = 1_000;
    let setup = Setup::start("").await;
    let mut raw = Raw::connect(&setup.proxy).await;
    raw.send(&Frame::headers(1, block(&Asked::post("k1").fields))).await;
    let piece = Frame::data(1, "x").bytes().repeat(PIECE);
    for sent in 0..200 {
        assert!(raw.has_room(1, (sent + 1) * PIECE).await, "{:?}", raw.goaway());
        raw.write(&piece).await.expect("room for a piece");
        assert!(raw.has_looked().await, "{:?}", raw.goaway());
    }
    assert_others_served(&setup.proxy).await;
    raw.send(&Frame::data(1, "").last()).await;
    assert_eq!(raw.reply(1).await.status, 201);
    assert_eq!(setup.origin.last().body.len(), 200 * PIECE);
    raw.send(&Frame::headers(3, block(&Asked::post("k2").fields))).await;
    raw.write(&Frame::data(3, "x").bytes().repeat(60_000)).await.ok();
    assert_eq!(raw.gone().await.map(|gone| gone.code), Some(frame::ENHANCE_YOUR_CALM));
    assert!(setup.origin.requests().iter().filter(|sent| sent.method == "POST").count() == 1);
    setup.peak.assert_below(&setup.proxy, 32 * MIB);
}

/// A12, CVE-2019-9512, -9515: answers that are asked for and not taken are not piled up.
#[tokio::test]
async fn questions_whose_answers_are_not_read_do_not_pile_up() {
    for frame in [
        Frame::ping(1),
        Frame::settings(&[]),
        Frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 70_000)]),
    ] {
        let setup = Setup::start("write_timeout = \"1s\"").await;
        let mut stream = narrow(&setup.proxy).await;
        let mut written = 0;
        let hello = [frame::PREFACE, &Frame::settings(&[]).bytes()].concat();
        write(&mut stream, &hello).await.expect("room for a preface");
        let piece = frame.bytes().repeat(1_000);
        while write(&mut stream, &piece).await.is_ok() {
            written += piece.len();
            assert!(written < 256 * MIB, "{frame:?} is taken for ever");
        }
        assert_others_served(&setup.proxy).await;
        setup.peak.assert_below(&setup.proxy, 16 * MIB);
    }
}

/// A12: the same where answers are read: it costs the caller as much as the proxy.
#[tokio::test]
async fn questions_whose_answers_are_read_are_answered() {
    let table = [(frame::HEADER_TABLE_SIZE, 0), (frame::HEADER_TABLE_SIZE, u32::MAX)];
    let settings = [&[][..], &[(frame::INITIAL_WINDOW_SIZE, 70_000); 100], &table];
    for frame in settings.map(Frame::settings).into_iter().chain([Frame::ping(7)]) {
        let setup = Setup::start("").await;
        let mut raw = Raw::connect(&setup.proxy).await;
        setup.flood(&mut raw, &frame, 50_000).await;
        assert!(raw.has_looked().await, "{:?}", raw.goaway());
        let reply = raw.send_request(&Asked::get("/probe")).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        setup.peak.assert_below(&setup.proxy, 16 * MIB);
    }
}

async fn write(stream: &mut tokio::net::TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    within("room to write, or the end", stream.write_all(bytes)).await
}

/// Frames that nobody knows are skipped (RFC 9113, section 5.5), however many; those that nobody
/// needs are, too.
#[tokio::test]
async fn frames_that_say_nothing_are_skipped() {
    let setup = Setup::start("").await;
    let mut raw = Raw::connect(&setup.proxy).await;
    for frame in [
        Frame::new(0x42, 0xff, 0, "anything"),
        Frame::new(0xff, 0, 99, ""),
        Frame::new(0x42, 0, 1, vec![0; 16_384]),
        Frame::new(frame::PRIORITY, 0, 7, [0; 5]),
        Frame::window_update(0, 1),
        Frame::settings(&[(0x9999, 1)]),
    ] {
        setup.flood(&mut raw, &frame, 2_000).await;
        let reply = raw.send_request(&Asked::get("/probe")).await;
        assert_eq!(reply.status, 201, "after {frame:?}: {reply:?}");
    }
    setup.peak.assert_below(&setup.proxy, 16 * MIB);
}
