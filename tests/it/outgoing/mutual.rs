//! Servers that ask for a certificate: the right one is shown, and any other outcome is one in
//! which no request was read.

use super::certificates::{Authority, ONLY_12, ONLY_13, Signed, Terms, Versions};
use super::front::TlsFront;
use super::ledger::Ledger;
use super::{assert_never_sent, before};
use crate::support::{Origin, Peer, Proxy, Starting, assert_executed, assert_replay, client};

/// Everything that a server and its client need.
struct Cast {
    /// Signs the server's certificate.
    authority: Authority,
    /// Signs the clients'.
    clients: Authority,
    server: Signed,
}

impl Cast {
    fn new() -> Self {
        let authority = Authority::new("servers");
        let server = authority.sign("localhost");
        Self { authority, clients: Authority::new("clients"), server }
    }

    fn terms(&self, versions: Versions) -> Terms<'_> {
        Terms { versions, clients: Some(&self.clients), ..Terms::of(&self.server) }
    }

    /// A proxy before this front that shows this certificate, if any.
    fn showing(&self, front: &TlsFront, shown: Option<&Signed>, is_http2: bool) -> Starting {
        let starting = before(&front.url())
            .env("ONCEGATE_UPSTREAM_HTTP2", if is_http2 { "true" } else { "false" })
            .file("authority.pem", &self.authority.pem);
        let tls = "[upstream.tls]\nca_file = \"authority.pem\"\n";
        match shown {
            None => starting.toml(tls),
            Some(signed) => starting
                .file("own.pem", &signed.pem)
                .file("own.key", &signed.key_pem)
                .toml(&format!("{tls}cert_file = \"own.pem\"\nkey_file = \"own.key\"\n")),
        }
    }
}

/// The right certificate is shown to a server that asks for it.
#[tokio::test]
async fn the_right_certificate_is_accepted() {
    let cast = Cast::new();
    let own = cast.clients.sign("proxy.example");
    for versions in [ONLY_13, ONLY_12] {
        for is_http2 in [false, true] {
            let (origin, ledger) = (Origin::start().await, Ledger::start(100).await);
            let upstream = if is_http2 { ledger.addr } else { origin.addr };
            let front = TlsFront::before(upstream, cast.terms(versions).config()).await;
            let proxy = cast.showing(&front, Some(&own), is_http2).start().await;
            let request = client(&proxy).post("/charges").key("k1").body("10");
            let first = request.clone().send().await;
            assert_executed(&first);
            assert_replay(&first, &request.send().await);
            assert_eq!((origin.hits() + ledger.hits(), front.seen().failed), (1, 0));
        }
    }
}

/// A server that needs a certificate and is shown none, or another, has read nothing, although by
/// TLS 1.3 the request may have been written by then: the key is free, each time.
#[tokio::test]
async fn a_certificate_that_is_missing_or_wrong_leaves_the_key_free() {
    let cast = Cast::new();
    let others = Authority::new("others").sign("proxy.example");
    for versions in [ONLY_13, ONLY_12] {
        for shown in [None, Some(&others)] {
            for is_http2 in [false, true] {
                let (origin, ledger) = (Origin::start().await, Ledger::start(100).await);
                let upstream = if is_http2 { ledger.addr } else { origin.addr };
                let front = TlsFront::before(upstream, cast.terms(versions).config()).await;
                let proxy = cast.showing(&front, shown, is_http2).start().await;
                let request = client(&proxy).post("/charges").key("k1").body("10");
                let told = assert_never_sent(&request, 10, "tls_alert_received").await;
                let detail = told.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains("does not accept the certificate"), "{detail}");
                assert_eq!(front.seen().failed, 10);
                let warnings = proxy.log().lines().filter(|line| line.contains("WARN")).count();
                assert_eq!(warnings, 1, "one for all of a kind: {}", proxy.log());
                assert_eq!((origin.hits(), ledger.hits()), (0, 0));
            }
        }
    }
}

/// The same holds for connections of their own.
#[tokio::test]
async fn an_upgrade_is_told_the_same() {
    let cast = Cast::new();
    let own = cast.clients.sign("proxy.example");
    let peer = Peer::start().await;
    let front = TlsFront::before(peer.addr, cast.terms(rustls::ALL_VERSIONS).config()).await;
    let asking = |proxy: &Proxy| {
        let get = client(proxy).get("/chat").header("Connection", "Upgrade");
        get.header("Upgrade", "websocket")
    };
    let proxy = cast.showing(&front, None, true).start().await;
    assert_never_sent(&asking(&proxy), 3, "tls_alert_received").await;
    // with the right one, it goes by HTTP/1.1, which is agreed on
    let proxy = cast.showing(&front, Some(&own), true).start().await;
    let mut caller = asking(&proxy).open().await;
    let mut exchange = peer.accept().await;
    let (head, _) = exchange.request().await;
    assert_eq!(head.start, "GET /chat HTTP/1.1");
    assert_eq!(front.seen().agreed[0].1.as_deref(), Some("http/1.1"));
    exchange.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n").await;
    exchange.write("Upgrade: websocket\r\n\r\n").await;
    assert_eq!(caller.read().await.status, 101);
    caller.write(b"ping").await;
    assert_eq!(exchange.take(4).await, b"ping");
    exchange.write("pong").await;
    caller.sees(b"pong").await;
}
