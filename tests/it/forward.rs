//! What is passed on and what is not, in both directions, and over which connections.
//!
//! Fields of a connection, and answers that announce its end, are for HTTP/1.1 upstreams alone.

use crate::support::{
    Answer, How, Origin, Proxy, Reply, Request, Way, assert_executed, assert_replay, client,
    every_way, every_way_in, gzip, none_connected_to,
};

every_way! {
    answers_reach_their_callers_unchanged,
    a_repeat_that_refuses_gzip_is_not_given_any,
    an_answer_that_is_encoded_unasked_is_replayed_as_it_is,
    ranges_are_dropped_from_guarded_requests_and_conditions_are_not,
    requests_reach_the_upstream_unchanged,
    targets_are_forwarded_and_told_apart_byte_by_byte,
    parts_that_join_to_the_same_text_are_different_operations,
    head_answers_keep_their_length_and_have_no_body,
    the_length_of_an_answer_that_has_no_body_is_not_waited_for,
    one_connection_serves_many_requests,
    idle_connections_to_the_upstream_are_closed,
}

every_way_in! {
    the_upstream_cannot_speak_for_the_proxy,
    a_connection_that_was_announced_to_end_is_not_used_again,
}

/// The values of these fields, each field's in their order.
fn values(reply: &Reply, names: &[&str]) -> Vec<(String, Vec<Vec<u8>>)> {
    let of = |name: &str| reply.headers(name).into_iter().map(<[u8]>::to_vec).collect();
    names.iter().map(|name| ((*name).to_owned(), of(name))).collect()
}

/// U20: an answer reaches its first caller as the upstream wrote it, guarded or not, and fields
/// that a cache might change are left alone.
async fn answers_reach_their_callers_unchanged() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let fields: [(&str, &[u8]); 15] = [
        ("Date", b"Tue, 15 Nov 1994 08:12:31 GMT"),
        ("Server", b"ledger/1 (test)"),
        ("Via", b"1.1 inner"),
        ("Alt-Svc", b"h3=\":443\"; ma=86400"),
        ("Strict-Transport-Security", b"max-age=1"),
        ("Clear-Site-Data", b"\"cookies\""),
        ("Set-Cookie", b"a=1"),
        ("Set-Cookie", b"b=2, c"),
        ("Vary", b"Accept"),
        ("Vary", b"Origin"),
        ("ETag", b"W/\"7\""),
        ("Location", b"/charges/7?a=%2F"),
        ("X-Latin", b"\xe9\xff"),
        ("X-Empty", b""),
        ("X-Spaced", b"a  b\tc"),
    ];
    let answer = Answer::new(201).body("ok");
    let answer = fields.iter().fold(answer, |answer, (name, value)| answer.header(name, value));
    origin.always(answer);
    let names = fields.map(|(name, _)| name);
    let expected: Vec<_> = names
        .iter()
        .map(|name| {
            let same = fields.iter().filter(|(other, _)| other == name);
            ((*name).to_owned(), same.map(|(_, value)| value.to_vec()).collect::<Vec<_>>())
        })
        .collect();
    let post = client(&proxy).post("/charges").caller("a").key("k1").body("10");
    let first = post.clone().send().await;
    assert_eq!(values(&first, &names), expected);
    assert_replay(&first, &post.send().await);
    let passed = client(&proxy).get("/charges").send().await;
    assert_eq!(values(&passed, &names), expected);
    for reply in [first, passed] {
        let own = ["content-length", "connection"];
        let foreign = reply.head.lines.iter().map(|line| line.name.to_ascii_lowercase());
        let foreign: Vec<_> = foreign.filter(|name| !own.contains(&name.as_str())).collect();
        assert_eq!(foreign.len(), fields.len(), "nothing is added: {foreign:?}");
    }
}

/// U15: fields that only the proxy may set, or that belong to the upstream's connection, are
/// taken off; what frames the answer stays, whatever `Connection` names.
async fn the_upstream_cannot_speak_for_the_proxy() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let answer = Answer::new(200)
        .header("Connection", "set-cookie, content-length")
        .header("Connection", "X-Hop , transfer-encoding")
        .header("Set-Cookie", "a=1")
        .header("X-Hop", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authenticate", "Basic")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "trailers")
        .header("Upgrade", "h2c")
        .header("Duplicate-Request", "true")
        .header("Duplicate-Key", "mine")
        .header("Duplicate-Protection", "none")
        .header("Idempotent-Replayed", "true")
        .header("X-End", "stays");
    let gone = [
        "set-cookie",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "upgrade",
        "duplicate-request",
        "duplicate-protection",
        "idempotent-replayed",
    ];
    for (number, answer) in
        [answer.clone().body("ok"), answer.body("ok").chunked()].into_iter().enumerate()
    {
        origin.always(answer);
        let post = client(&proxy).post("/charges").caller("a").key(format!("k{number}"));
        let first = post.clone().send().await;
        assert_replay(&first, &post.send().await);
        for reply in [first, client(&proxy).get("/charges").send().await] {
            assert_eq!((reply.text().as_str(), reply.header("x-end")), ("ok", Some("stays")));
            assert!(!reply.is_cut(), "{reply:?}");
            assert_ne!(reply.header("duplicate-key"), Some("mine"));
            for name in gone {
                assert!(!reply.has(name), "{name}: {reply:?}");
            }
        }
    }
}

/// U18: guarded answers are asked for in no coding, for a repeat may understand none.
async fn a_repeat_that_refuses_gzip_is_not_given_any() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.respond(|received| match received.header("accept-encoding") {
        Some(codings) if codings.contains("gzip") => {
            Answer::new(200).header("Content-Encoding", "gzip").body(gzip(b"hello", 0)).into()
        }
        _ => Answer::new(200).body("hello").into(),
    });
    let post = |codings: &str| {
        let post = client(&proxy).post("/charges").key("k1").body("10");
        post.header("Accept-Encoding", codings).send()
    };
    let first = post("gzip").await;
    assert_eq!((first.text().as_str(), first.has("content-encoding")), ("hello", false));
    assert_eq!(origin.last().head.all("accept-encoding"), [b"identity"]);
    for codings in ["gzip;q=0", "br", "identity", ""] {
        assert_replay(&first, &post(codings).await);
    }
    let passed = client(&proxy).get("/charges").header("Accept-Encoding", "gzip").send().await;
    assert_eq!(passed.header("content-encoding"), Some("gzip"), "what passes is left alone");
}

/// U18: what an upstream encodes all the same is replayed as it was, and says so.
async fn an_answer_that_is_encoded_unasked_is_replayed_as_it_is() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let encoded = gzip(b"hello", 7);
    origin.always(Answer::new(200).header("Content-Encoding", "gzip").body(&encoded));
    let post = client(&proxy).post("/charges").key("k1").body("10");
    let first = post.clone().send().await;
    assert_eq!((first.header("content-encoding"), &first.body), (Some("gzip"), &encoded));
    assert_replay(&first, &post.send().await);
}

/// U19: a part of an answer is no answer to keep; conditions are the upstream's business.
async fn ranges_are_dropped_from_guarded_requests_and_conditions_are_not() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let conditions = [
        ("If-Match", "\"1\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("If-Unmodified-Since", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("Prefer", "return=minimal"),
    ];
    let with = |request: Request| {
        let request = request.header("Range", "bytes=0-1").header("If-Range", "\"1\"");
        conditions.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    with(client(&proxy).post("/charges").key("k1").body("10")).send().await;
    let guarded = origin.last();
    with(client(&proxy).get("/charges")).send().await;
    let passed = origin.last();
    for (name, value) in conditions {
        assert_eq!(guarded.header(name), Some(value));
        assert_eq!(passed.header(name), Some(value));
    }
    for name in ["range", "if-range"] {
        assert!(!guarded.head.has(name) && passed.head.has(name), "{name}");
    }
}

/// A request reaches the upstream as its caller wrote it, hop by hop fields aside.
async fn requests_reach_the_upstream_unchanged() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let fields: [(&str, &[u8]); 8] = [
        ("Authorization", b"Bearer a"),
        ("Cookie", b"a=1; b=2"),
        ("X-Latin", b"\xe9\xff"),
        ("X-Empty", b""),
        ("X-Twice", b"1, 2"),
        ("X-Twice", b"3"),
        ("X-Request-ID", b"r1"),
        ("User-Agent", b"test/1 (a; b)"),
    ];
    let with = |request: Request| {
        fields.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    for request in [
        client(&proxy).post("/charges").key("k1").body(b"\x00\xff\r\n"),
        client(&proxy).get("/charges"),
        client(&proxy).method("QUERY", "/charges").body(b"\x00\xff\r\n"),
        client(&proxy).method("DELETE", "/charges").body(b"\x00\xff\r\n").chunked(2),
    ] {
        with(request).send().await;
        let seen = origin.last();
        for (name, _) in fields {
            let sent = fields.iter().filter(|(other, _)| *other == name);
            let sent: Vec<_> = sent.map(|(_, value)| *value).collect();
            assert_eq!(seen.head.all(name), sent, "{name} of {}", seen.method);
        }
        assert_eq!(seen.head.all("host"), [b"api.example"]);
        assert!(seen.body.is_empty() || seen.body == b"\x00\xff\r\n", "{:?}", seen.body);
        assert_eq!(seen.body.is_empty(), seen.method == "GET");
    }
    assert_eq!(origin.hits(), 4);
}

/// A7: a target is raw bytes: none is tidied up, and two spellings are two operations.
async fn targets_are_forwarded_and_told_apart_byte_by_byte() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let targets = [
        "/a/b",
        "/a/b/",
        "/a//b",
        "//a/b",
        "/a/./b",
        "/a/x/../b",
        "/../a/b",
        "/a%2Fb",
        "/a%2fb",
        "/%61/b",
        "/a;v=1/b",
        "/a/b%00",
        "/a/b?",
        "/a/b?q=1&r=2",
        "/a/b?r=2&q=1",
        "/a/b?q=a+b",
        "/a/b?q=a%20b",
        "/a/b?q=1&q=1",
        "/A/b",
        "/a/b?/../c",
    ];
    for (number, target) in targets.into_iter().enumerate() {
        let request = client(&proxy).post(target).body("10");
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_eq!((origin.hits(), origin.last().target.as_str()), (number + 1, target));
        assert_replay(&first, &request.send().await);
    }
    for target in targets {
        client(&proxy).get(target).send().await;
        assert_eq!(origin.last().target, target);
    }
}

/// P9: what two requests say together does not hide where one part ends and the next begins.
async fn parts_that_join_to_the_same_text_are_different_operations() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = |target: &str, body: &str| client(&proxy).post(target).body(body);
    let alike = [
        post("/ab", "c"),
        post("/a", "bc"),
        post("/a?b", "c"),
        post("/a?bc", ""),
        post("/a", "c").header("X-B", "1"),
        post("/a", "c").header("X-B1", ""),
        post("/a", "c").header("X-", "B1"),
        post("/a", "").header("X-B", "1c"),
        post("/a", "c").header("X-A", "1").header("X-B", "2"),
        post("/a", "c").header("X-A", "1X-B2"),
        post("/a", "c").header("X-A", "1").header("X-A", "2"),
        post("/a", "c").header("X-A", "1, 2"),
        post("/a", "c").header("X-A", "2").header("X-A", "1"),
        post("/a", "c").header("Authorization", "ab"),
        post("/a", "c").header("X-API-Key", "ab"),
        post("/a", "c").header("Authorization", "a").header("X-API-Key", "b"),
        post("/a", "c").key("ab"),
        post("/ab", "c").key("a"),
    ];
    for (number, request) in alike.into_iter().enumerate() {
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_eq!(origin.hits(), number + 1);
        assert_replay(&first, &request.send().await);
    }
}

/// U11: an answer to HEAD says how long the body would be, and has none.
async fn head_answers_keep_their_length_and_have_no_body() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let mut caller = client(&proxy).connect().await;
    let whole = Answer::new(200).body("0123456789");
    let answers = [whole.clone(), whole.chunked(), Answer::new(204), Answer::new(304)];
    for (answer, length) in answers.into_iter().zip([Some("10"), None, None, None]) {
        origin.next(answer);
        let reply = client(&proxy).method("HEAD", "/a").send_on(&mut caller).await;
        assert_eq!((reply.header("content-length"), reply.body.len()), (length, 0), "{reply:?}");
        let next = client(&proxy).get("/a").send_on(&mut caller).await;
        assert_eq!(next.status, 201, "nothing is left over: {next:?}");
    }
    assert_eq!((origin.hits(), origin.connections()), (8, 1));
}

/// U11: a length that a bodyless answer states is no body to wait for.
async fn the_length_of_an_answer_that_has_no_body_is_not_waited_for() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let unchanged = Answer::new(304).header("Content-Length", "1000").header("ETag", "\"7\"");
    origin.next(unchanged.clone()).next(unchanged);
    let post = client(&proxy).post("/charges").key("k1").body("10");
    let other = client(&proxy).post("/charges").key("k2").body("10");
    let first = post.clone().send().await;
    assert_eq!((first.status, first.header("etag")), (304, Some("\"7\"")));
    assert_replay(&first, &post.send().await);
    assert_eq!(client(&proxy).get("/charges").send().await.status, 304);
    let none = Answer::new(204).header("Content-Length", "0");
    origin.next(none.clone()).next(none);
    let first = other.clone().send().await;
    assert_eq!(first.status, 204);
    assert_replay(&first, &other.send().await);
    assert_eq!(client(&proxy).get("/charges").send().await.status, 204);
    assert_eq!(client(&proxy).get("/charges").send().await.status, 201);
    assert_eq!((origin.hits(), origin.connections()), (5, Way::now().outgoing.connections()));
}

/// Connections to the upstream are used again, whatever was sent over them.
async fn one_connection_serves_many_requests() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1");
    let proxy = proxy.arg("--upstream-idle-timeout", "10m").start().await;
    for number in 0..50 {
        let request = match number % 5 {
            0 => client(&proxy).get("/charges"),
            1 => client(&proxy).post("/charges").key(format!("k{number}")).body("10"),
            2 => client(&proxy).post("/charges").body(format!("{number}")).chunked(1),
            3 => client(&proxy).method("HEAD", "/charges"),
            _ => client(&proxy).method("DELETE", &format!("/charges/{number}")),
        };
        if number % 2 == 0 {
            origin.next(Answer::new(200).body("a").body("b").chunked());
        }
        request.send().await;
    }
    assert_eq!((origin.hits(), origin.connections()), (50, Way::now().outgoing.connections()));
}

/// A connection that the upstream wants to end, by word or version, is not used again.
async fn a_connection_that_was_announced_to_end_is_not_used_again() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let last = Answer::new(200).header("Connection", "close").body("bye").then(How::Close);
    let old = Answer::new(200).http10().body("bye").then(How::Close);
    for (number, answer) in [last.clone(), old.clone(), last, old].into_iter().enumerate() {
        origin.next(answer);
        let post = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let reply = post.send().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "bye"));
    }
    assert_eq!((origin.hits(), origin.connections()), (4, 4));
}

/// U12: an idle connection is given up before the upstream would close it.
async fn idle_connections_to_the_upstream_are_closed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-idle-timeout", "300ms").start().await;
    for number in 1..=2 {
        let post = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        assert_executed(&post.send().await);
        assert_eq!(origin.connections(), number);
        none_connected_to(origin.addr).await;
    }
}
