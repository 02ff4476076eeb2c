//! Requests over HTTP/2 that would be something else over HTTP/1.1 (A4): nothing that is malformed
//! reaches the upstream, and what is well-formed reaches it framed by the proxy.

use super::asked::Asked;
use super::assert_others_served;
use super::frame::Frame;
use super::hpack::block;
use super::raw::{Outcome, Raw};
use crate::support::{Origin, Proxy, Reply, assert_executed, assert_marked};

/// A guarded request, and one that is passed on, each without a body.
fn requests() -> [Asked; 2] {
    let post = Asked::new("POST", "/charges").header("idempotency-key", "k1");
    [post, Asked::get("/charges")]
}

/// Sends a request that is malformed on a connection of its own, before one that is not.
///
/// It is refused, as a whole or its stream or its connection; nothing of it reaches the upstream,
/// and a connection that stays is as good as before.
async fn assert_refused(origin: &Origin, proxy: &Proxy, request: &Asked) {
    let (heads, mut raw) = (origin.heads(), Raw::connect(proxy).await);
    let stream = raw.ask(request).await;
    let outcome = raw.outcome(stream).await;
    let shown = format!("{:?}", Frame::headers(stream, block(&request.fields)));
    if let Outcome::Answered(reply) = &outcome {
        assert!((400..500).contains(&reply.status) || reply.status == 501, "{shown}: {reply:?}");
        assert!(reply.header("proxy-status").is_some(), "an answer of the proxy's: {reply:?}");
    }
    assert_eq!(origin.heads(), heads, "{shown} has reached the upstream: {outcome:?}");
    match outcome {
        Outcome::Gone => assert!(raw.goaway().is_some(), "{shown}"),
        Outcome::Answered(_) | Outcome::Reset(_) => {
            let next = raw.send_request(&Asked::get("/next")).await;
            assert_eq!((next.status, origin.heads()), (201, heads + 1), "after {shown}");
        }
    }
}

/// Fields that belong to a connection, of which HTTP/2 has none (RFC 9113, section 8.2.2).
#[tokio::test]
async fn fields_of_a_connection_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "idempotency-key"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ] {
        for request in requests() {
            assert_refused(&origin, &proxy, &request.clone().header(name, value)).await;
            assert_refused(&origin, &proxy, &request.header(name, value).body("10")).await;
        }
    }
    assert_others_served(&proxy).await;
}

/// Names and values that would be more than one line, or another one, over HTTP/1.1.
#[tokio::test]
async fn fields_that_would_be_others_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let smuggled = "x\r\ncontent-length: 0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let names = [
        "X-Upper",
        "Content-Length",
        "a b",
        "a:",
        "a:b",
        " a",
        "a\r\nb",
        "a\nb",
        "a\0b",
        "",
        "\u{e9}",
        "a\tb",
        "(a)",
        "transfer-encoding\r\n",
        "host:",
    ];
    for name in names {
        for request in requests() {
            assert_refused(&origin, &proxy, &request.header(name, "1")).await;
        }
    }
    let values = [
        smuggled, "a\nb", "a\rb", "a\0b", "\r\n", "\n", " a", "a ", "\ta", "a\t", " ", "a\x7fb",
        "a\x01b",
    ];
    for value in values {
        for request in requests() {
            for name in ["x-field", "cookie", "user-agent"] {
                assert_refused(&origin, &proxy, &request.clone().header(name, value)).await;
            }
        }
    }
    for value in [smuggled, "a\nb", "a b", " a", "a ", "a\0", "a\x7f"] {
        for name in [":method", ":path", ":authority", ":scheme"] {
            for request in requests() {
                assert_refused(&origin, &proxy, &request.with(name, value)).await;
            }
        }
    }
    assert_others_served(&proxy).await;
}

/// A body of another length than was said, or of a length that nobody can tell.
#[tokio::test]
async fn lengths_that_are_not_kept_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for lengths in [
        &["0"][..],
        &["1"],
        &["3"],
        &["2", "3"],
        &["3", "2"],
        &["2, 2"],
        &["2,3"],
        &["+2"],
        &["-2"],
        &["0x2"],
        &["2 "],
        &[""],
        &["two"],
        &["2.0"],
        &["99999999999999999999"],
        &["18446744073709551616"],
        &["18446744073709551618"],
    ] {
        for request in requests() {
            let said = |request: Asked| {
                lengths
                    .iter()
                    .fold(request, |request, length| request.header("content-length", length))
            };
            assert_refused_or_broken(&origin, &proxy, &said(request.clone().body("10"))).await;
            if lengths != ["0"] {
                assert_refused(&origin, &proxy, &said(request)).await;
            }
        }
    }
    // What was said twice is said once, by the proxy.
    let mut raw = Raw::connect(&proxy).await;
    for request in requests() {
        let twice = request.header("content-length", "2").header("content-length", "2");
        assert_eq!(raw.send_request(&twice.body("10")).await.status, 201);
        let sent = origin.last();
        assert_eq!(
            (sent.head.all("content-length"), &sent.body[..]),
            (vec![&b"2"[..]], &b"10"[..])
        );
    }
    assert_others_served(&proxy).await;
}

/// The same where the beginning of a request that is passed on may reach the upstream before its
/// body turns out to be another one: it is broken off then, and never whole.
async fn assert_refused_or_broken(origin: &Origin, proxy: &Proxy, request: &Asked) {
    let (hits, mut raw) = (origin.hits(), Raw::connect(proxy).await);
    let stream = raw.ask(request).await;
    let outcome = raw.outcome(stream).await;
    let shown = format!("{:?}", Frame::headers(stream, block(&request.fields)));
    if let Outcome::Answered(reply) = &outcome {
        assert!((400..600).contains(&reply.status), "{shown}: {reply:?}");
    }
    assert_eq!(origin.hits(), hits, "{shown} has reached the upstream whole: {outcome:?}");
}

/// Pseudo-header fields: each once, before all others, and no unknown ones (section 8.3).
#[tokio::test]
async fn pseudo_fields_are_there_once_and_first() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for request in requests() {
        for name in [":method", ":path", ":scheme"] {
            assert_refused(&origin, &proxy, &request.clone().without(name)).await;
        }
        assert_refused(&origin, &proxy, &request.clone().without(":authority")).await;
        for (name, value) in request.fields.clone() {
            if name.starts_with(':') {
                let mut twice = request.clone();
                twice.fields.insert(0, (name.clone(), value.clone()));
                assert_refused(&origin, &proxy, &twice).await;
                let late = request.clone().without(&name).header("x", "y").header(&name, &value);
                assert_refused(&origin, &proxy, &late).await;
            }
        }
        for (name, value) in [
            (":status", "200"),
            (":protocol", "websocket"),
            (":unknown", "1"),
            (":", "1"),
            (":Method", "GET"),
            (":method ", "GET"),
        ] {
            let mut more = request.clone();
            more.fields.insert(0, (name.to_owned(), value.into()));
            assert_refused(&origin, &proxy, &more).await;
        }
        for method in ["", "post", "Post", "P OST", "CONNECT", "GET /x HTTP/1.1\r\n", "G\u{e9}T"] {
            assert_refused(&origin, &proxy, &request.clone().with(":method", method)).await;
        }
        // What else a scheme may look like does not matter: it is not looked at.
        for scheme in ["ht tp", "http:", "http\r\n"] {
            assert_refused(&origin, &proxy, &request.clone().with(":scheme", scheme)).await;
        }
    }
    // Both forms of CONNECT.
    let connect = Asked::new("CONNECT", "/").with(":authority", "db.internal:5432");
    let plain = connect.clone().without(":path").without(":scheme");
    let mut extended = connect.clone();
    extended.fields.insert(0, (":protocol".to_owned(), "websocket".into()));
    for request in [connect, plain.clone(), extended, plain.body("10")] {
        assert_refused(&origin, &proxy, &request).await;
    }
    assert_others_served(&proxy).await;
}

/// A target is a path (section 8.3.1); what it is for must be clear.
#[tokio::test]
async fn targets_and_hosts_are_what_they_should_be() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for request in requests() {
        for path in [
            "",
            "charges",
            "*",
            "?x=1",
            "/a b",
            "/a\tb",
            "/a\r\nb",
            "/a\0",
            "http://evil/x",
            "/a\u{e9}\x00",
            "/#",
            "/a#b",
            "evil:80",
            "@evil/",
        ] {
            let request = request.clone().with(":path", path);
            assert_refused_unless(&origin, &proxy, &request, &["/", "/a"]).await;
        }
        for authority in [
            "",
            "u@api.example",
            "u:p@api.example",
            "api.example, evil",
            "api.example:",
            "api.example:99999",
            "api.example:80:80",
            "[::1",
            "api.example/x",
            "api.example?x",
            "a\\b",
            "api.example#x",
            "%00",
        ] {
            let request = request.clone().with(":authority", authority);
            assert_refused_unless(&origin, &proxy, &request, &["/charges"]).await;
        }
        for (authority, hosts) in [
            (Some("api.example"), &["evil.example"][..]),
            (Some("api.example"), &["api.example", "evil.example"]),
            (Some("api.example"), &["api.example", "api.example"]),
            (Some("api.example"), &[""]),
            (Some("api.example"), &["api.example:8080"]),
            (Some("api.example"), &["api.example.evil"]),
            (None, &["api.example", "evil.example"]),
            (None, &[""]),
            (None, &["u@api.example"]),
        ] {
            let request = match authority {
                Some(authority) => request.clone().with(":authority", authority),
                None => request.clone().without(":authority"),
            };
            let request = hosts.iter().fold(request, |request, host| request.header("host", host));
            assert_refused(&origin, &proxy, &request).await;
        }
    }
    assert_others_served(&proxy).await;
}

/// Fails unless the request is refused, or reaches the upstream once, with this target and one
/// host.
async fn assert_refused_unless(origin: &Origin, proxy: &Proxy, request: &Asked, targets: &[&str]) {
    let (hits, mut raw) = (origin.hits(), Raw::connect(proxy).await);
    let stream = raw.ask(request).await;
    let outcome = raw.outcome(stream).await;
    let shown = format!("{:?}", Frame::headers(stream, block(&request.fields)));
    if let Outcome::Answered(Reply { status: 201, .. }) = &outcome {
        let sent = origin.last();
        assert!(targets.contains(&&sent.target[..]), "{shown}: {sent:?}");
        assert_eq!(sent.head.all("host").len(), 1, "{shown}: {sent:?}");
        return;
    }
    assert_eq!(origin.hits(), hits, "{shown}: {outcome:?}");
}

/// What is well-formed but unusual reaches the upstream as it was said, framed by the proxy.
#[tokio::test]
async fn what_is_odd_but_well_formed_is_passed_on_as_it_is() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut raw = Raw::connect(&proxy).await;
    for (number, path) in [
        "//evil/x",
        "/a//b/../c",
        "/%2e%2E/%00",
        "/a?b=c?d#".trim_end_matches('#'),
        "/*",
        "/;a=b",
        "/\\",
    ]
    .iter()
    .enumerate()
    {
        let request = Asked::post(&format!("k{number}")).with(":path", path);
        assert_executed(&raw.send_request(&request).await);
        let sent = origin.last();
        assert_eq!((&sent.target[..], sent.header("host")), (*path, Some("api.example")));
        assert_eq!(sent.head.all("content-length"), [b"2"]);
        assert!(!sent.head.has("transfer-encoding"), "{sent:?}");
        assert_marked(&raw.send_request(&request).await);
    }
    let options = Asked::new("OPTIONS", "*");
    assert_eq!(raw.send_request(&options).await.status, 201);
    assert_eq!((&origin.last().method[..], &origin.last().target[..]), ("OPTIONS", "*"));
    let host = Asked::post("host").without(":authority").header("host", "api.example");
    assert_executed(&raw.send_request(&host).await);
    assert_marked(&raw.send_request(&Asked::post("host")).await);
    let bytes = Asked::post("bytes").header("x-bytes", b"\xff\x80").header("te", "trailers");
    assert_executed(&raw.send_request(&bytes).await);
    assert_eq!(origin.last().head.all("x-bytes"), [b"\xff\x80"]);
}
