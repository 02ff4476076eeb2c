//! TLS in: what is agreed on, who is kept waiting, and how it ends.

use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::asked::Asked;
use super::certs::{Authority, BOTH, NAME, Tls, by_tls, shake_hands};
use super::frame::PREFACE;
use super::plain::Plain;
use super::raw::Raw;
use crate::support::{
    Act, Answer, Gate, Origin, Proxy, Request, assert_executed, assert_marked, assert_problem,
    client, eventually, within,
};

fn post(proxy: &Proxy, key: &str) -> Request {
    client(proxy).post("/charges").key(key).body("10")
}

/// A probe by TLS: another caller is served.
async fn assert_others_served(proxy: &Proxy, tls: &Tls) {
    let mut other = Plain::over(tls.connect(proxy).await);
    assert_eq!(other.send(&client(proxy).get("/probe")).await.status, 201);
}

/// Both versions of TLS, and what can be agreed on; whoever names nothing speaks HTTP/1.1. Who the
/// proxy is taken for does not matter. However a request comes, it is the same operation.
#[tokio::test]
async fn callers_agree_on_what_they_speak() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let proxy = by_tls(&origin, &authority, "").start().await;
    for (number, version) in BOTH.into_iter().enumerate() {
        let key = format!("k{number}");
        for protocols in [
            &["h2"][..],
            &["http/1.1"],
            &[],
            &["http/1.1", "h2"],
            &["h2", "http/1.1"],
            &["x", "http/1.1"],
        ] {
            for name in [NAME, "other.example", "127.0.0.1"] {
                let hits = origin.hits();
                let tls = Tls::trusting(&authority).version(version).speaking(protocols);
                let stream = shake_hands(&proxy, tls.config(), name).await.expect("a handshake");
                let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
                let reply = if agreed.as_deref() == Some(b"h2") {
                    assert!(protocols.contains(&"h2"));
                    Raw::over(stream).await.send_request(&Asked::post(&key)).await
                } else {
                    assert!(agreed.is_none_or(|agreed| agreed == b"http/1.1"));
                    Plain::over(stream).send(&post(&proxy, &key)).await
                };
                assert_eq!(reply.status, 201, "{reply:?}");
                assert_eq!(reply.is_repeat(), origin.hits() == hits, "{reply:?}");
            }
        }
        assert_eq!(origin.hits(), number + 1, "one operation");
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
        assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
    }
    let unknown = Tls::trusting(&authority).speaking(&["x", "h3"]);
    assert!(shake_hands(&proxy, unknown.config(), NAME).await.is_err(), "nothing to agree on");
    assert_others_served(&proxy, &Tls::trusting(&authority)).await;
}

/// The first bytes of a handshake, as they are.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from(NAME).expect("a name");
    let tls = Tls::trusting(authority).config();
    let mut connection = rustls::ClientConnection::new(tls, name).expect("a connection");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("writing to memory");
    hello
}

/// Everything that comes on a connection on which these bytes were sent, until it ends.
async fn said_to(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
    stream.write_all(bytes).await.expect("room for a few bytes");
    let mut said = Vec::new();
    within("the end of the connection", stream.read_to_end(&mut said)).await.ok();
    said
}

/// C4: a handshake that does not come, or trickles, or stops, has its time; nobody waits for it.
#[tokio::test]
async fn handshakes_have_their_time() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let more = "[limits]\nhandshake_timeout = \"1s\"\nheader_timeout = \"60s\"";
    let proxy = by_tls(&origin, &authority, more).start().await;
    let tls = Tls::trusting(&authority);
    let mut before = Plain::over(tls.connect(&proxy).await);
    let hello = hello(&authority);
    let trickled = async {
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
        for byte in hello[..5].iter().chain(std::iter::repeat_n(&0, 10_000)) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it goes on for ever");
    };
    let (silent, half, whole, (), ()) = tokio::join!(
        said_to(&proxy, b""),
        said_to(&proxy, &hello[..hello.len() / 2]),
        said_to(&proxy, &hello),
        within("the end of what trickles", trickled),
        assert_others_served(&proxy, &tls),
    );
    assert_eq!((silent, half), (Vec::new(), Vec::new()));
    assert!(!whole.is_empty(), "it was answered, and did not go on");
    assert_executed(&before.send(&post(&proxy, "k1")).await);
    assert_eq!(origin.hits(), 2);
}

/// C4: a handshake that is over has the time until the first request that it has without TLS.
#[tokio::test]
async fn whoever_asks_nothing_after_the_handshake_is_not_waited_for() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let more = "[limits]\nheader_timeout = \"1s\"\nkeep_alive_timeout = \"1s\"";
    let proxy = by_tls(&origin, &authority, more).start().await;
    for protocol in ["h2", "http/1.1"] {
        let tls = Tls::trusting(&authority).speaking(&[protocol]);
        let mut silent = Plain::over(tls.connect(&proxy).await);
        silent.rest().await.ok();
        let mut used = tls.connect(&proxy).await;
        if protocol == "h2" {
            let mut used = Raw::over(used).await;
            assert_eq!(used.send_request(&Asked::get("/probe")).await.status, 201);
            assert!(used.gone().await.is_some());
        } else {
            used.write_all(&client(&proxy).get("/probe").bytes()).await.expect("room");
            let mut used = Plain::over(used);
            assert_eq!(used.read().await.expect("an answer").status, 201);
            used.rest().await.ok();
        }
    }
}

/// A12: there are only so many handshakes at a time; others are turned away at once, and those that
/// have shaken hands notice nothing.
#[tokio::test]
async fn handshakes_have_a_limit() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let more =
        "[limits]\nmax_handshakes = 3\nhandshake_timeout = \"60s\"\nheader_timeout = \"60s\"";
    let proxy = by_tls(&origin, &authority, more).start().await;
    let tls = Tls::trusting(&authority);
    let mut before = Plain::over(tls.connect(&proxy).await);
    let mut half = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
        stream.write_all(&hello(&authority)).await.expect("room for a hello");
        within("an answer to it", stream.read_u8()).await.expect("an answer to it");
        half.push(stream);
    }
    // Whoever has said nothing takes no place.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(proxy.addr()).await.expect("connecting"));
    }
    for number in 0..50 {
        assert!(shake_hands(&proxy, tls.config(), NAME).await.is_err(), "{number}");
        assert_eq!(before.send(&client(&proxy).get("/kept")).await.status, 201);
    }
    drop(half.pop());
    drop(silent);
    eventually("a free place", async || shake_hands(&proxy, tls.config(), NAME).await.is_ok())
        .await;
    drop(half);
    eventually("free places", async || {
        let (one, other) = tokio::join!(
            shake_hands(&proxy, tls.config(), NAME),
            shake_hands(&proxy, tls.config(), NAME)
        );
        one.is_ok() && other.is_ok()
    })
    .await;
    assert_eq!(origin.hits(), 50);
}

/// A12: whoever has not said hello to its end takes no place from others.
#[tokio::test]
async fn silent_peers_take_no_place_from_those_who_shake_hands() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let more =
        "[limits]\nmax_handshakes = 3\nhandshake_timeout = \"60s\"\nheader_timeout = \"60s\"";
    let proxy = by_tls(&origin, &authority, more).start().await;
    let hello = hello(&authority);
    let mut silent = Vec::new();
    for said in [0, 1, 4, 5, 6, hello.len() / 2, hello.len() - 1] {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
            stream.write_all(&hello[..said]).await.expect("room for a hello");
            silent.push(stream);
        }
        proxy.has_read_all().await;
        assert_others_served(&proxy, &Tls::trusting(&authority)).await;
    }
    for stream in &mut silent[18..] {
        stream.write_all(&hello[hello.len() - 1..]).await.expect("room for a byte");
        within("an answer to it", stream.read_u8()).await.expect("an answer to it");
    }
    let late = shake_hands(&proxy, Tls::trusting(&authority).config(), NAME).await;
    assert!(late.is_err(), "all places are taken");
}

/// C12: whoever speaks something else than the port is told so, or nothing, and reaches nobody.
#[tokio::test]
async fn the_wrong_protocol_ends_cleanly() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let secure = by_tls(&origin, &authority, "").start().await;
    let open = Proxy::before(&origin).start().await;
    let http = post(&secure, "k1").bytes();
    for bytes in
        [&http[..], PREFACE, b"\x16\x03\x01\x00\x02\x01\x00", b"\x80\x2e\x01\x00\x02", &[0; 64]]
    {
        let said = said_to(&secure, bytes).await;
        assert!(
            said.is_empty() || said[0] == 0x15,
            "nothing but an alert: {}",
            said.escape_ascii()
        );
    }
    let hello = hello(&authority);
    let said = said_to(&open, &[&hello[..], b"\r\n\r\n"].concat()).await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", said.escape_ascii());
    assert!(shake_hands(&open, Tls::trusting(&authority).config(), NAME).await.is_err());
    // What is agreed on is what is spoken.
    for (agreed, bytes) in [("http/1.1", PREFACE), ("h2", &http[..])] {
        let tls = Tls::trusting(&authority).speaking(&[agreed]);
        let mut caller = Plain::over(tls.connect(&secure).await);
        caller.write(bytes).await.expect("room");
        caller.rest().await.ok();
    }
    assert_eq!(origin.heads(), 0);
    assert_others_served(&secure, &Tls::trusting(&authority)).await;
}

/// Every answer comes whole, and its end is announced: nobody can cut it without being noticed.
#[tokio::test]
async fn answers_end_with_the_end_of_the_session() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let proxy = by_tls(&origin, &authority, "").start().await;
    origin.respond(|sent| match sent.method.as_str() {
        "GET" => Answer::new(200).body(vec![b'x'; 1 << 20]).until_close().into(),
        _ => Answer::new(200).body(vec![b'x'; 1 << 20]).into(),
    });
    for version in BOTH {
        let tls = Tls::trusting(&authority).version(version);
        let mut caller = Plain::over(tls.connect(&proxy).await);
        let last = post(&proxy, "k1").header("Connection", "close");
        assert_eq!(caller.send(&last).await.body.len(), 1 << 20);
        assert_eq!(caller.rest().await.expect("the end is announced"), b"");
        let mut caller = Plain::over(tls.connect(&proxy).await);
        caller.write(&client(&proxy).get("/report").version10().bytes()).await.expect("room");
        let report = caller.rest().await.expect("the end is announced");
        assert!(report.len() > 1 << 20, "{} bytes", report.len());
        // One that has announced its own end still gets its answer.
        let mut caller = Plain::over(tls.connect(&proxy).await);
        caller.write(&post(&proxy, "k1").bytes()).await.expect("room");
        caller.stream.shutdown().await.expect("an end");
        assert_eq!(caller.read().await.expect("an answer").body.len(), 1 << 20);
        assert_eq!(caller.rest().await.expect("the end is announced"), b"");
    }
}

/// C10: an answer that comes before its request is over can be read.
#[tokio::test]
async fn an_early_answer_is_not_lost() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let proxy = by_tls(&origin, &authority, "").start().await;
    for version in BOTH {
        let tls = Tls::trusting(&authority).version(version);
        let mut caller = Plain::over(tls.connect(&proxy).await);
        let large = client(&proxy).post("/charges").key("k1").unframed();
        let large = large.header("Content-Length", (10_u64 << 30).to_string());
        caller.write(&large.bytes()).await.expect("room");
        caller.write(&vec![b'x'; 100_000]).await.ok();
        assert_problem(&caller.read().await.expect("an answer"), 413, "too-large");
        caller.rest().await.ok();
    }
    assert_eq!(origin.heads(), 0);
}

/// C1, C2: a caller that breaks off without a word, before or after its request is over.
#[tokio::test]
async fn callers_may_break_off() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let proxy = by_tls(&origin, &authority, "").start().await;
    for (number, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let tls = Tls::trusting(&authority).version(version);
        let request = post(&proxy, &format!("k{number}"));
        let bytes = request.bytes();
        for length in [1, bytes.len() / 2, bytes.len() - 1] {
            let mut caller = tls.connect(&proxy).await;
            caller.write_all(&bytes[..length]).await.expect("room");
            caller.flush().await.expect("room");
            proxy.has_read_all().await;
            drop(caller);
        }
        assert_eq!(origin.hits(), number, "nothing that was cut is executed");
        let gate = Gate::shut();
        origin.next(Act::Ledger.after(&gate));
        let mut caller = tls.connect(&proxy).await;
        caller.write_all(&bytes).await.expect("room");
        caller.flush().await.expect("room");
        origin.wait_for_hits(number + 1).await;
        drop(caller);
        gate.open();
        let mut again = Plain::over(tls.connect(&proxy).await);
        assert_eq!(again.send(&request).await.status, 201);
        assert_marked(&again.send(&request).await);
        assert_eq!(origin.hits(), number + 1);
    }
}

/// P1: what was asked over TLS is answered before the end, which is announced.
#[tokio::test]
async fn the_end_answers_what_was_asked_by_tls() {
    let origin = Origin::start().await;
    let authority = Authority::new();
    let mut proxy = by_tls(&origin, &authority, "").start().await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let tls = Tls::trusting(&authority);
    let mut plain = Plain::over(tls.connect(&proxy).await);
    plain.write(&post(&proxy, "k1").bytes()).await.expect("room");
    let mut raw = Raw::over(tls.clone().speaking(&["h2"]).connect(&proxy).await).await;
    let stream = raw.ask(&Asked::post("k2")).await;
    let mut idle = Plain::over(tls.connect(&proxy).await);
    let mut half = TcpStream::connect(proxy.addr()).await.expect("connecting");
    half.write_all(b"\x16\x03").await.expect("room for two bytes");
    origin.wait_for_hits(2).await;
    proxy.terminate();
    gate.open();
    assert_executed(&plain.read().await.expect("an answer"));
    plain.rest().await.expect("the end is announced");
    assert_executed(&raw.reply(stream).await);
    idle.rest().await.ok();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
}
