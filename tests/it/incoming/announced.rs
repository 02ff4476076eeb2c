//! The PROXY protocol in: what a load balancer says of a connection, and what it must not be.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::asked::Asked;
use super::certs::{Authority, NAME, Tls};
use super::plain::Plain;
use super::raw::Raw;
use crate::support::{
    Origin, Proxy, Reply, Request, assert_executed, assert_marked, client, within,
};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n";

/// A header of version 2: the command, what kind of address, and all that comes after the length.
fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length").to_be_bytes();
    [V2, &[command, kind], &length, rest].concat()
}

/// The addresses of a connection from 192.0.2.7.
fn v4() -> Vec<u8> {
    [&[192, 0, 2, 7, 10, 0, 0, 1][..], &[0x12, 0x67, 0, 80]].concat()
}

fn v6() -> Vec<u8> {
    let source: [u8; 16] =
        "2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address").octets();
    [&source[..], &[0; 16], &[0x12, 0x67, 0, 80]].concat()
}

/// What may stand behind the addresses: `length` bytes of it.
fn extension(length: u16) -> Vec<u8> {
    [&[0xe0][..], &length.to_be_bytes(), &vec![b'x'; length.into()]].concat()
}

async fn told(origin: &Origin, more: &str) -> Proxy {
    Proxy::before(origin).toml(&format!("proxy_protocol = true\n{more}")).start().await
}

fn post(proxy: &Proxy, key: &str) -> Request {
    client(proxy).post("/charges").key(key).body("10")
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
    stream.set_nodelay(true).expect("setting TCP_NODELAY");
    stream
}

/// The answer to a request behind this header.
async fn ask(proxy: &Proxy, header: &[u8], request: &Request) -> Reply {
    let mut caller = Plain::over(connect(proxy).await);
    caller.write(&[header, &request.bytes()].concat()).await.expect("room");
    caller.read().await.expect("an answer")
}

/// Headers that are right, and whom they announce.
fn right() -> Vec<(Vec<u8>, &'static str)> {
    let announced = |rest: &[u8]| v2(0x21, 0x11, &[&v4(), rest].concat());
    vec![
        (V1.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(), "127.0.0.1"),
        (announced(b""), "192.0.2.7"),
        (v2(0x21, 0x21, &v6()), "2001:db8::7"),
        (announced(&extension(5)), "192.0.2.7"),
        (announced(&extension(3_000)), "192.0.2.7"),
        (announced(&[extension(0), extension(1), extension(2_000)].concat()), "192.0.2.7"),
        (v2(0x20, 0x00, b""), "127.0.0.1"),
        (v2(0x20, 0x11, &v4()), "127.0.0.1"),
        (v2(0x20, 0x00, &extension(100)), "127.0.0.1"),
        (v2(0x21, 0x00, b""), "127.0.0.1"),
        (v2(0x21, 0x31, &[b'/'; 216]), "127.0.0.1"),
    ]
}

/// Both versions, with what they announce; a load balancer that speaks for itself, or does not
/// know, is the peer itself.
#[tokio::test]
async fn who_is_announced_is_the_peer() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    for (number, (header, peer)) in right().iter().enumerate() {
        let shown = header.escape_ascii();
        let request = post(&proxy, &format!("k{number}"));
        assert_executed(&ask(&proxy, header, &request).await);
        assert_eq!(origin.last().header("x-forwarded-for"), Some(*peer), "{shown}");
        assert_marked(&ask(&proxy, header, &request).await);
        let mut stream = connect(&proxy).await;
        stream.write_all(header).await.expect("room");
        let mut raw = Raw::over(stream).await;
        assert_marked(&raw.send_request(&Asked::post(&format!("k{number}"))).await);
        raw.send_request(&Asked::get("/by-http2")).await;
        assert_eq!(origin.last().header("x-forwarded-for"), Some(*peer), "{shown}");
    }
}

/// A header that comes in any pieces is the same header.
#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    for (number, (header, peer)) in
        right().iter().filter(|(header, _)| header.len() < 300).enumerate()
    {
        let mut caller = Plain::over(connect(&proxy).await);
        let request = post(&proxy, &format!("k{number}")).bytes();
        for byte in header.iter().chain(&request) {
            caller.write(&[*byte]).await.expect("room");
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        assert_executed(&caller.read().await.expect("an answer"));
        assert_eq!(origin.last().header("x-forwarded-for"), Some(*peer));
        for at in [1, header.len() - 1, header.len(), header.len() + 1] {
            let whole = [&header[..], &request].concat();
            let mut caller = Plain::over(connect(&proxy).await);
            caller.write(&whole[..at]).await.expect("room");
            proxy.has_read_all().await;
            caller.write(&whole[at..]).await.expect("room");
            assert_marked(&caller.read().await.expect("an answer"));
        }
    }
}

/// Without a header, or with a wrong one, nobody is answered, and nothing reaches the upstream.
#[tokio::test]
async fn connections_without_a_right_header_are_closed() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[limits]\nheader_timeout = \"1s\"").await;
    let request = post(&proxy, "k1").bytes();
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(5_000));
    let endless = format!("PROXY TCP4 {}", "1".repeat(5_000));
    let wrong = [
        Vec::new(),
        b"\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.300 10.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 ::1 4711 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n".to_vec(),
        b"PROXY TCP5 192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 10.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY \r\n".to_vec(),
        [b" ", V1].concat(),
        long.into_bytes(),
        endless.into_bytes(),
        v2(0x11, 0x11, &v4()),
        v2(0x31, 0x11, &v4()),
        v2(0x22, 0x11, &v4()),
        v2(0x21, 0x41, &v4()),
        v2(0x21, 0x11, &v4()[..11]),
        v2(0x21, 0x21, &v4()),
        v2(0x21, 0x31, &v4()),
        v2(0x21, 0x11, &[v4(), extension(5_000)].concat()),
        v2(0x21, 0x11, &[v4(), vec![0; 60_000]].concat()),
        V2.to_vec(),
        V2[..8].to_vec(),
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec(),
        super::frame::PREFACE.to_vec(),
    ];
    for header in wrong {
        let mut caller = Plain::over(connect(&proxy).await);
        caller.write(&[&header[..], &request].concat()).await.ok();
        let said = caller.rest().await.unwrap_or_default();
        let shown = header[..header.len().min(60)].escape_ascii();
        assert_eq!(said, b"", "nothing is said to {shown}");
        assert_eq!(origin.heads(), 0, "{shown}");
    }
    for part in [&b""[..], &V1[..10], &V2[..5], &v2(0x21, 0x11, &v4())[..20]] {
        let mut silent = Plain::over(connect(&proxy).await);
        silent.write(part).await.expect("room");
        assert_eq!(silent.rest().await.unwrap_or_default(), b"");
    }
    assert_executed(&ask(&proxy, V1, &post(&proxy, "k1")).await);
    assert_eq!(origin.heads(), 1);
}

/// A second header is no header: it is a request that is none.
#[tokio::test]
async fn a_header_is_there_once() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "").await;
    for header in [V1.to_vec(), v2(0x21, 0x11, &v4())] {
        let mut caller = Plain::over(connect(&proxy).await);
        let twice = [&header[..], &header, &post(&proxy, "k1").bytes()].concat();
        caller.write(&twice).await.expect("room");
        let said = caller.rest().await.unwrap_or_default();
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", said.escape_ascii());
        assert_eq!(origin.heads(), 0);
    }
    // Nor is one that nobody has asked for.
    let plain = Proxy::before(&origin).start().await;
    let mut caller = Plain::over(connect(&plain).await);
    caller.write(&[V1, &post(&plain, "k1").bytes()].concat()).await.expect("room");
    let said = caller.rest().await.unwrap_or_default();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", said.escape_ascii());
    assert_eq!(origin.heads(), 0);
}

/// Only hops that are trusted may announce anybody; others are not let in. Whoever is announced is
/// believed only if it is a trusted hop itself.
#[tokio::test]
async fn only_trusted_hops_may_announce() {
    let origin = Origin::start().await;
    let own = Some("192.0.2.7");
    let with_claim = Some("203.0.113.9, 192.0.2.7");
    for (trusted, said) in [
        (r#""127.0.0.0/8""#, own),
        (r#""127.0.0.1""#, own),
        (r#""127.0.0.1", "192.0.2.0/24""#, with_claim),
        (r#""192.0.2.0/24""#, None),
        (r#""::1""#, None),
    ] {
        let proxy = told(&origin, &format!("trusted_hops = [{trusted}]")).await;
        let hits = origin.hits();
        let mut caller = Plain::over(connect(&proxy).await);
        let request = post(&proxy, "k1").header("X-Forwarded-For", "203.0.113.9").bytes();
        caller.write(&[V1, &request].concat()).await.ok();
        match said {
            Some(said) => {
                assert_executed(&caller.read().await.expect("an answer"));
                assert_eq!(origin.last().header("x-forwarded-for"), Some(said), "{trusted}");
            }
            None => assert_eq!(caller.rest().await.unwrap_or_default(), b"", "{trusted}"),
        }
        assert_eq!(origin.hits(), hits + usize::from(said.is_some()), "{trusted}");
    }
}

/// TLS behind a header: hands are shaken after it.
#[tokio::test]
async fn tls_comes_behind_the_header() {
    let (origin, authority) = (Origin::start().await, Authority::new());
    let shown = authority.proxy();
    let toml = "proxy_protocol = true\n[tls]\ncert_file = \"shown.pem\"\nkey_file = \"shown.key\"\n\
                [limits]\nhandshake_timeout = \"1s\"\n";
    let proxy = Proxy::before(&origin).file("shown.pem", shown.certificate);
    let proxy = proxy.file("shown.key", shown.key).toml(toml).start().await;
    for (header, peer) in right() {
        let key = header.escape_ascii().to_string();
        for protocol in ["http/1.1", "h2"] {
            let mut stream = connect(&proxy).await;
            stream.write_all(&header).await.expect("room");
            let config = Tls::trusting(&authority).speaking(&[protocol]).config();
            let name = rustls::pki_types::ServerName::try_from(NAME).expect("a name");
            let secure = tokio_rustls::TlsConnector::from(config).connect(name, stream);
            let secure = within("a handshake", secure).await.expect("a handshake");
            let target = format!("/{protocol}");
            let reply = match protocol {
                "h2" => Raw::over(secure).await.send_request(&Asked::get(&target)).await,
                _ => Plain::over(secure).send(&client(&proxy).get(&target)).await,
            };
            assert_eq!(reply.status, 201, "{key}");
            let sent = origin.last();
            assert_eq!(sent.header("x-forwarded-for"), Some(peer), "{key}");
            assert_eq!(sent.header("x-forwarded-proto"), Some("https"));
        }
    }
    let hits = origin.hits();
    // Without a header, with one inside of TLS, and with one that stops.
    assert!(
        super::certs::shake_hands(&proxy, Tls::trusting(&authority).config(), NAME).await.is_err()
    );
    for part in [&V1[..20], V1, V2] {
        let mut caller = Plain::over(connect(&proxy).await);
        caller.write(part).await.expect("room");
        caller.rest().await.ok();
    }
    let mut stream = connect(&proxy).await;
    stream.write_all(V1).await.expect("room");
    let mut plain = Plain::over(stream);
    plain.write(&post(&proxy, "k1").bytes()).await.ok();
    plain.rest().await.ok();
    assert_eq!(origin.hits(), hits);
}
