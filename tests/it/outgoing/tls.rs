//! TLS to the upstream: whom it trusts, what it agrees on, and what callers are told when it fails.

use super::certificates::{Authority, ONLY_12, ONLY_13, Signed, Terms, Valid};
use super::front::TlsFront;
use super::ledger::Ledger;
use super::{assert_never_sent, assert_unsent, before, by_http2_to};
use crate::support::{
    Origin, Peer, Starting, assert_executed, assert_held, assert_replay, client, run,
};

/// A proxy before this front that trusts this authority.
fn trusting(front: &TlsFront, authority: &Authority) -> Starting {
    before(&front.url())
        .file("authority.pem", &authority.pem)
        .toml("[upstream.tls]\nca_file = \"authority.pem\"\n")
}

/// The same by HTTP/2.
fn trusting_by_http2(front: &TlsFront, authority: &Authority) -> Starting {
    trusting(front, authority).env("ONCEGATE_UPSTREAM_HTTP2", "true")
}

/// An answer that came by TLS is kept like any other, by both versions of both protocols.
#[tokio::test]
async fn an_answer_by_tls_is_kept_and_replayed() {
    let authority = Authority::new("a");
    let signed = authority.sign("localhost");
    for (versions, protocol) in
        [(ONLY_13, "h2"), (ONLY_12, "h2"), (ONLY_13, "http/1.1"), (ONLY_12, "http/1.1")]
    {
        let (origin, ledger) = (Origin::start().await, Ledger::start(100).await);
        let is_http2 = protocol == "h2";
        let upstream = if is_http2 { ledger.addr } else { origin.addr };
        let terms = Terms { versions, ..Terms::of(&signed) };
        let front = TlsFront::before(upstream, terms.config()).await;
        let starting = match is_http2 {
            true => trusting_by_http2(&front, &authority),
            false => trusting(&front, &authority),
        };
        let proxy = starting.start().await;
        for number in 0..3 {
            let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
            let first = request.clone().send().await;
            assert_executed(&first);
            assert_replay(&first, &request.send().await);
        }
        assert_eq!(origin.hits() + ledger.hits(), 3);
        let agreed = (Some("localhost".to_owned()), Some(protocol.to_owned()));
        assert_eq!(front.seen().agreed, [agreed], "one connection is used on");
        if is_http2 {
            assert_eq!(ledger.last().uri, "https://api.example/charges");
        }
    }
}

/// What is wrong with a certificate is told to callers in a few words, and in detail only to who
/// runs the proxy; nothing is sent, and the key is free.
#[tokio::test]
async fn a_certificate_that_is_not_to_be_trusted_ends_it() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let wrong: [(Signed, &str); 4] = [
        (other.sign("localhost"), "nobody who is trusted has signed"),
        (authority.sign("secret.example"), "made out for another name"),
        (authority.sign_for("localhost", Valid::InThePast), "has expired, or is not valid yet"),
        (authority.sign_for("localhost", Valid::InTheFuture), "has expired, or is not valid yet"),
    ];
    for (signed, said) in wrong {
        let (origin, ledger) = (Origin::start().await, Ledger::start(100).await);
        for is_http2 in [false, true] {
            let upstream = if is_http2 { ledger.addr } else { origin.addr };
            let front = TlsFront::before(upstream, Terms::of(&signed).config()).await;
            let starting = match is_http2 {
                true => trusting_by_http2(&front, &authority),
                false => trusting(&front, &authority),
            };
            let proxy = starting.start().await;
            let request = client(&proxy).post("/charges").key("k1").body("10");
            let told = assert_never_sent(&request, 3, "tls_certificate_error").await;
            assert!(told.json()["detail"].as_str().unwrap().contains(said), "{told:?}");
            assert!(!told.text().contains("secret"), "{told:?}");
            let passed = client(&proxy).get("/charges").send().await;
            assert_unsent(&passed, "tls_certificate_error");
            proxy.wait_for_log("a warning", |line| line.contains(said)).await;
            let warnings = proxy.log().lines().filter(|line| line.contains("WARN")).count();
            assert_eq!(warnings, 1, "one for all of a kind: {}", proxy.log());
            assert_eq!((origin.hits(), ledger.hits()), (0, 0));
            assert_eq!(front.seen().agreed, []);
        }
    }
}

/// A key that is free since the certificate was wrong is executed once it is right.
#[tokio::test]
async fn a_certificate_that_is_renewed_is_trusted() {
    let authority = Authority::new("a");
    let expired = authority.sign_for("localhost", Valid::InThePast);
    let origin = Origin::start().await;
    let front = TlsFront::before(origin.addr, Terms::of(&expired).config()).await;
    let proxy = trusting(&front, &authority).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_never_sent(&request, 2, "tls_certificate_error").await;
    let signed = authority.sign("localhost");
    front.renew(Terms::of(&signed).config());
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// The name that is asked for and looked for may be another than that of the URL, or an address.
#[tokio::test]
async fn the_name_of_the_server_can_be_told() {
    let authority = Authority::new("a");
    let origin = Origin::start().await;
    for (name, shown) in [("api.example", Some("api.example")), ("127.0.0.1", None)] {
        let signed = authority.sign(name);
        let front = TlsFront::before(origin.addr, Terms::of(&signed).config()).await;
        let proxy = trusting(&front, &authority).arg("--upstream-tls-server-name", name);
        let proxy = proxy.start().await;
        let request = client(&proxy).post("/charges").key(name).body("10");
        assert_executed(&request.send().await);
        assert_eq!(front.seen().agreed[0].0.as_deref(), shown);
        // what the request is for is none of the handshake's business
        assert_eq!(origin.last().header("host"), Some("api.example"));
    }
    let signed = authority.sign("127.0.0.1");
    let front = TlsFront::before(origin.addr, Terms::of(&signed).config()).await;
    let proxy = before(&format!("https://{}", front.addr));
    let proxy = proxy.file("authority.pem", &authority.pem);
    let proxy = proxy.toml("[upstream.tls]\nca_file = \"authority.pem\"\n").start().await;
    let request = client(&proxy).post("/charges").key("k").body("10");
    assert_executed(&request.send().await);
}

/// HTTP/2 that is told to be spoken is agreed on, or nothing is sent; so is HTTP/1.1, with who
/// knows anything of protocols.
#[tokio::test]
async fn the_protocol_is_agreed_on_or_nothing_is_sent() {
    let authority = Authority::new("a");
    let signed = authority.sign("localhost");
    for (is_http2, alpn, agreed) in [
        (true, ["http/1.1"].as_slice(), false),
        (true, &[], false),
        (true, &["http/1.1", "h2"], true),
        (false, &["h2"], false),
        (false, &[], true),
        (false, &["h2", "http/1.1"], true),
    ] {
        let (origin, ledger) = (Origin::start().await, Ledger::start(100).await);
        let upstream = if is_http2 { ledger.addr } else { origin.addr };
        let terms = Terms { alpn, ..Terms::of(&signed) };
        let front = TlsFront::before(upstream, terms.config()).await;
        let starting = match is_http2 {
            true => trusting_by_http2(&front, &authority),
            false => trusting(&front, &authority),
        };
        let proxy = starting.start().await;
        let request = client(&proxy).post("/charges").key("k1").body("10");
        if agreed {
            assert_executed(&request.send().await);
        } else {
            assert_never_sent(&request, 2, "tls_protocol_error").await;
        }
        assert_eq!(origin.hits() + ledger.hits(), usize::from(agreed), "{is_http2} {alpn:?}");
    }
}

/// What is not TLS is not TLS, and who does not shake hands is not waited for.
#[tokio::test]
async fn who_does_not_speak_tls_is_sent_nothing() {
    let authority = Authority::new("a");
    let peer = Peer::start().await;
    let proxy = before(&format!("https://localhost:{}", peer.addr.port()))
        .arg("--upstream-connect-timeout", "500ms")
        .file("authority.pem", &authority.pem)
        .toml("[upstream.tls]\nca_file = \"authority.pem\"\n")
        .start()
        .await;
    let request = client(&proxy).post("/charges").key("k1").body("secret body");
    for said in ["HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", ""] {
        let mut caller = request.clone().open().await;
        let mut exchange = peer.accept().await;
        exchange.write(said).await;
        if said.is_empty() {
            drop(exchange);
        } else {
            let (came, _) = exchange.rest().await;
            assert!(!came.windows(6).any(|bytes| bytes == b"secret"), "{}", came.escape_ascii());
        }
        assert_unsent(&caller.read().await, "tls_protocol_error");
    }
    let mut caller = request.open().await;
    let mut exchange = peer.accept().await;
    assert_unsent(&caller.read().await, "connection_timeout");
    exchange.rest().await;
}

/// A connection by TLS that breaks off after the request leaves it unknown, also when the server
/// says by an alert why: most alerts say nothing of what it has read.
#[tokio::test]
async fn a_connection_that_breaks_off_leaves_its_request_unknown() {
    let authority = Authority::new("a");
    let signed = authority.sign("localhost");
    for is_http2 in [false, true] {
        let peer = Peer::start().await;
        let front = TlsFront::before(peer.addr, Terms::of(&signed).config()).await;
        let starting = match is_http2 {
            true => trusting_by_http2(&front, &authority),
            false => trusting(&front, &authority),
        };
        let proxy = starting.start().await;
        let request = client(&proxy).post("/charges").key("k1").body("10");
        let mut caller = request.clone().open().await;
        let mut exchange = peer.accept().await;
        if is_http2 {
            // its settings, which are empty
            exchange.write([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
            exchange.sees(b"10").await;
        } else {
            exchange.request().await;
        }
        drop(exchange);
        assert_held(&caller.read().await, request).await;
    }
}

/// The authorities of the system are trusted where no others are named; a system that trusts
/// nobody is a mistake that is found before anything starts.
#[tokio::test]
async fn the_authorities_of_the_system_are_trusted() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let signed = authority.sign("localhost");
    let ledger = Ledger::start(100).await;
    let front = TlsFront::before(ledger.addr, Terms::of(&signed).config()).await;
    let folder = crate::support::Folder::new();
    let trusted = folder.write("trusted.pem", &authority.pem);
    let proxy = by_http2_to(&front.url()).env("SSL_CERT_FILE", &trusted).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_executed(&request.clone().send().await);
    let others = folder.write("others.pem", &other.pem);
    let proxy = by_http2_to(&front.url()).env("SSL_CERT_FILE", &others).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_never_sent(&request, 2, "tls_certificate_error").await;
    let none = folder.write("none.pem", "");
    let ended = run(
        &["run", "--listen", "127.0.0.1:0", "--upstream", &front.url()],
        &[("SSL_CERT_FILE", none.as_str())],
    )
    .await;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("this system trusts no certificates"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ca_file"), "{}", ended.stderr);
    assert_eq!(ledger.hits(), 1);
}
