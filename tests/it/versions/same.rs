//! Attempts of one operation that come by both versions.

use http::{HeaderMap, Request, Version};

use super::{Caller, post, request};
use crate::support::{Origin, Peer, Proxy, assert_executed, client};

/// An operation has one key, whichever version its attempts come by, and however HTTP/2 lets them
/// be written.
#[tokio::test]
async fn an_operation_is_the_same_by_both_versions() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut caller = Caller::of(&proxy).await;
    for key in [&[("idempotency-key", "k1")][..], &[]] {
        let before = origin.hits();
        let first = client(&proxy).post("/charges?a=%2F").header("Cookie", "a=1; b=2; c=3");
        let first = key.iter().fold(first, |first, (name, value)| first.header(name, value));
        let first = first.body("10").send().await;
        assert_executed(&first);
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
        let some = [("cookie", "a=1; b=2"), ("te", "trailers"), ("cookie", "c=3")];
        let whole = [("cookie", "a=1; b=2; c=3"), ("host", "API.example:80")];
        for cookies in [&crumbs[..], &some[..], &whole[..]] {
            let repeat = caller.send(post(&[cookies, key].concat(), "10")).await;
            assert!(repeat.is_repeat(), "{cookies:?}: {repeat:?}");
            assert_eq!((repeat.status, &repeat.body), (201, &first.body));
        }
        assert_eq!(origin.hits(), before + 1);
        let other = [("cookie", "a=1"), ("cookie", "b=2")];
        assert!(!caller.send(post(&[&other[..], key].concat(), "10")).await.is_repeat());
    }
    // And the other way round.
    let first =
        caller.send(post(&[("request-id", "r1"), ("authorization", "Bearer a")], "7")).await;
    assert!(!first.is_repeat());
    let repeat = client(&proxy).post("/charges?a=%2F").caller("a").request_id("r1").body("7");
    let repeat = repeat.send().await;
    assert!(repeat.is_repeat() && repeat.body == first.body, "{repeat:?}");
}

/// What reaches an upstream of HTTP/1.1 looks as if it had come by that.
#[tokio::test]
async fn the_upstream_sees_one_shape() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut caller = Caller::of(&proxy).await;
    let lines = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-latin", "a  b")];
    for (method, body) in [("POST", "10"), ("GET", ""), ("GET", "10"), ("PROPFIND", "10")] {
        let target = "/a//b/../%2e?x=%41&y#";
        let uri = format!("http://API.example:8080{}", target.trim_end_matches('#'));
        let answer = caller.send(request(method, &uri, &lines, body)).await;
        assert_eq!(answer.status, 201);
        let seen = origin.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, "/a//b/../%2e?x=%41&y"));
        assert_eq!(seen.body, body.as_bytes());
        for (name, value) in [
            ("host", "API.example:8080"),
            ("cookie", "a=1; b=2"),
            ("te", "trailers"),
            ("connection", "te"),
            ("via", "2.0 oncegate"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "API.example:8080"),
            ("x-latin", "a  b"),
        ] {
            assert_eq!(seen.head.all(name), [value.as_bytes()], "{name} of {method}: {seen:?}");
        }
        let is_chunked = seen.head.has_token("transfer-encoding", "chunked");
        let expected = method != "POST" && !body.is_empty();
        assert_eq!((is_chunked, seen.head.has("content-length")), (expected, method == "POST"));
    }
    let options = Request::builder().method("OPTIONS").uri("*").version(Version::HTTP_11);
    let options = options.header("host", "api.example").body("").expect("a request");
    assert_eq!(caller.send(options).await.status, 201, "Host without :authority");
    assert_eq!(origin.last().target, "*");
    assert_eq!(origin.last().head.all("host"), [b"api.example"]);
}

/// C14: as over HTTP/1.1, trailers name no key, caller or length.
#[tokio::test]
async fn trailers_of_http2_requests_have_no_effect() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut caller = Caller::of(&proxy).await;
    let sets: [&[(&'static str, &'static str)]; 4] = [
        &[],
        &[("request-id", "r1"), ("idempotency-key", "two words")],
        &[("authorization", "Bearer eve"), ("content-length", "50"), ("host", "other")],
        &[("cookie", "a=b"), ("x-forwarded-user", "alice")],
    ];
    for (number, lines) in sets.into_iter().enumerate() {
        let mut trailers = HeaderMap::new();
        for (name, value) in lines {
            trailers.append(*name, value.parse().expect("a value"));
        }
        let answer = caller.try_send(post(&[], "10"), Some(trailers)).await.expect("an answer");
        assert_eq!((answer.status, answer.is_repeat()), (201, number > 0), "{lines:?}");
        let framing = origin.last().head.all("content-length") == [b"2"];
        assert!(framing && !origin.last().head.has("transfer-encoding"), "{:?}", origin.last());
    }
    assert_eq!(origin.hits(), 1);
    let mut trailers = HeaderMap::new();
    trailers.insert("content-length", "50".parse().expect("a value"));
    let passed = request("QUERY", "http://api.example/", &[], "10");
    let answer = caller.try_send(passed, Some(trailers)).await.expect("an answer");
    assert_eq!((answer.status, origin.last().body.as_slice()), (201, &b"10"[..]));
    assert!(!origin.last().head.has("content-length"));
}

/// hyper's server has no interim answers over HTTP/2; the final one comes all the same, and
/// nothing is written into the connection by hand.
#[tokio::test]
async fn hints_do_not_go_on_over_http2() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let mut caller = Caller::of(&proxy).await;
    for key in [&[("idempotency-key", "k1")][..], &[]] {
        let method = if key.is_empty() { "GET" } else { "POST" };
        let asking = caller.send(request(method, "http://api.example/", key, ""));
        let answering = async {
            let mut exchange = peer.accept().await;
            exchange.request().await;
            exchange.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
            exchange
                .write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
                .await;
        };
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"done"[..]));
        assert_eq!((answer.header("link"), answer.header("connection")), (None, None));
    }
}
