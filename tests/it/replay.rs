//! A repeat gets the first answer back, byte for byte, and the upstream is not called again.
//!
//! HTTP/1.0 and fields of a connection are for callers and upstreams that speak HTTP/1.1.

use crate::support::{
    Answer, Origin, Proxy, Reply, Request, Way, assert_executed, assert_marked, assert_replay,
    client, every_way, every_way_in, every_way_out,
};

every_way! {
    a_repeat_by_idempotency_key_is_replayed,
    a_repeat_by_request_id_is_replayed,
    a_repeat_without_a_key_is_replayed_by_its_checksum,
    a_third_and_a_tenth_repeat_are_the_first_answer_too,
    repeats_on_one_connection_are_replayed,
    header_fields_are_replayed_line_by_line_and_byte_by_byte,
    a_chunked_answer_is_replayed_whole,
    answers_without_a_body_are_replayed,
    final_answers_of_any_kept_status_are_replayed,
    every_mutating_method_is_guarded,
    other_methods_pass_through_each_time,
    anonymous_replays_carry_no_set_cookie,
}

every_way_in! { hop_by_hop_fields_of_the_upstream_are_not_passed_on }

every_way_out! {
    http_1_0_callers_are_served_and_replayed,
    http_1_0_connections_end_unless_kept_alive,
    the_upstream_gets_one_framed_plain_request,
}

/// Sends the same request twice, each on a connection of its own.
async fn twice(request: Request) -> (Reply, Reply) {
    let first = request.clone().send().await;
    (first, request.send().await)
}

async fn a_repeat_by_idempotency_key_is_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let (first, repeat) = twice(client(&proxy).post("/charges").key("k1").body("10")).await;
    assert_eq!(first.status, 201);
    assert_replay(&first, &repeat);
    assert_eq!(origin.hits(), 1);
}

async fn a_repeat_by_request_id_is_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let (first, repeat) = twice(client(&proxy).post("/charges").request_id("r1").body("10")).await;
    assert_replay(&first, &repeat);
    assert_eq!(origin.hits(), 1);
}

async fn a_repeat_without_a_key_is_replayed_by_its_checksum() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let (first, repeat) = twice(client(&proxy).post("/charges?a=1").body("10")).await;
    assert_replay(&first, &repeat);
    assert_eq!(origin.hits(), 1);
}

async fn a_third_and_a_tenth_repeat_are_the_first_answer_too() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let first = request.clone().send().await;
    for _ in 0..10 {
        assert_replay(&first, &request.clone().send().await);
    }
    assert_eq!(origin.hits(), 1);
}

async fn repeats_on_one_connection_are_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let mut connection = client.connect().await;
    let request = client.post("/charges").key("k1").body("10");
    let first = request.clone().send_on(&mut connection).await;
    for _ in 0..5 {
        assert_replay(&first, &request.clone().send_on(&mut connection).await);
    }
    let other = client.post("/charges").key("k2").body("10").send_on(&mut connection).await;
    assert_executed(&other);
    assert_eq!(origin.hits(), 2);
}

/// U20: every end-to-end field comes back as it was: lines, order, bytes, and the first date.
async fn header_fields_are_replayed_line_by_line_and_byte_by_byte() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let answer = Answer::new(200)
        .header("Set-Cookie", "a=1; Path=/")
        .header("X-First", "1")
        .header("Set-Cookie", "b=2; HttpOnly")
        .header("X-Latin", b"caf\xe9 \xff\xfe")
        .header("Date", "Tue, 15 Nov 1994 08:12:31 GMT")
        .header("X-Empty", "")
        .header("Warning", "199 - \"one, two\"")
        .header("X-First", "2")
        .header("Set-Cookie", "a=3")
        .header("Server", "ledger/1")
        .header("Content-Type", "text/plain; charset=latin1")
        .body(b"\x00\x01\xffbytes");
    origin.next(answer);
    let request = client(&proxy).post("/charges").caller("a").key("k1").body("10");
    let (first, repeat) = twice(request).await;
    assert_replay(&first, &repeat);
    assert_eq!(repeat.body, b"\x00\x01\xffbytes");
    assert_eq!(repeat.header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
    assert_eq!(repeat.headers("date").len(), 1);
    assert_eq!(repeat.headers("x-latin"), [b"caf\xe9 \xff\xfe"]);
    assert_eq!(repeat.headers("x-first"), [b"1", b"2"]);
    let cookies: [&[u8]; 3] = [b"a=1; Path=/", b"b=2; HttpOnly", b"a=3"];
    assert_eq!(repeat.headers("set-cookie"), cookies);
    assert_eq!(repeat.headers("warning"), [b"199 - \"one, two\""]);
    assert_eq!(repeat.headers("x-empty"), [b""]);
    assert_eq!(origin.hits(), 1);
}

/// U15, U20: what belongs to the upstream's connection reaches nobody, first or repeat.
async fn hop_by_hop_fields_of_the_upstream_are_not_passed_on() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let answer = Answer::new(200)
        .header("Connection", "keep-alive, X-Hop")
        .header("Keep-Alive", "timeout=5")
        .header("X-Hop", "secret")
        .header("X-End", "stays")
        .header("Proxy-Connection", "keep-alive")
        .body("ok");
    origin.next(answer);
    let (first, repeat) = twice(client(&proxy).post("/charges").key("k1").body("10")).await;
    assert_replay(&first, &repeat);
    for reply in [&first, &repeat] {
        for hop in ["keep-alive", "x-hop", "proxy-connection", "transfer-encoding"] {
            assert!(!reply.has(hop), "{hop}: {reply:?}");
        }
        assert_eq!(reply.header("x-end"), Some("stays"));
        assert_eq!(reply.headers("content-length"), [b"2"]);
    }
}

/// A chunked answer is kept whole, and framed by its length when it is replayed.
async fn a_chunked_answer_is_replayed_whole() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.next(Answer::new(200).chunked().body("one ").body("two ").body("three"));
    let (first, repeat) = twice(client(&proxy).post("/charges").key("k1").body("10")).await;
    assert_eq!(first.text(), "one two three");
    assert_replay(&first, &repeat);
    assert_eq!(repeat.headers("content-length"), [b"13"]);
    assert_eq!(origin.hits(), 1);
}

/// U11: answers without a body are replayed without one, and no length is invented.
async fn answers_without_a_body_are_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let cases = [(204, "no content"), (304, "not modified"), (200, "empty"), (201, "also empty")];
    for (hits, (status, key)) in cases.into_iter().enumerate() {
        origin.next(Answer::new(status).header("ETag", "\"7\""));
        let key = key.replace(' ', "-");
        let (first, repeat) = twice(client(&proxy).post("/charges").key(key).body("10")).await;
        assert_eq!((first.status, first.body.len()), (status, 0));
        assert_replay(&first, &repeat);
        // in HTTP/2 the head says that it is the end
        let has_length = status < 204 && !Way::now().incoming.is_http2();
        assert_eq!(repeat.has("content-length"), has_length, "{repeat:?}");
        assert!(!repeat.has("transfer-encoding"), "{repeat:?}");
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// The answers of class keep, refusals and redirects among them, are all final.
async fn final_answers_of_any_kept_status_are_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let kept = [200, 202, 206, 299, 301, 303, 308, 400, 402, 404, 405, 410, 415, 422, 451];
    for (hits, status) in kept.into_iter().enumerate() {
        origin.next(Answer::new(status).header("Location", "/there").body(status.to_string()));
        let request = client(&proxy).post("/charges").key(format!("k{status}")).body("10");
        let (first, repeat) = twice(request).await;
        assert_eq!(first.status, status);
        assert_replay(&first, &repeat);
        assert_eq!(origin.hits(), hits + 1);
    }
}

async fn every_mutating_method_is_guarded() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (hits, method) in ["POST", "PUT", "PATCH", "DELETE"].into_iter().enumerate() {
        let (first, repeat) = twice(client(&proxy).method(method, "/charges/7").key("k1")).await;
        assert_replay(&first, &repeat);
        assert_eq!(origin.hits(), hits + 1);
        assert_eq!(origin.last().method, method);
    }
}

async fn other_methods_pass_through_each_time() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (pairs, method) in ["GET", "HEAD", "OPTIONS", "PURGE"].into_iter().enumerate() {
        let (first, second) = twice(client(&proxy).method(method, "/charges/7").key("k1")).await;
        assert_executed(&first);
        assert_executed(&second);
        assert_eq!(origin.hits(), (pairs + 1) * 2);
    }
}

/// C11: HTTP/1.0 callers get whole answers that they can read, and the same replays.
async fn http_1_0_callers_are_served_and_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.next(Answer::new(200).chunked().body("one ").body("two"));
    let request = client(&proxy).post("/charges").version10().key("k1").body("10");
    let (first, repeat) = twice(request).await;
    assert_replay(&first, &repeat);
    for reply in [&first, &repeat] {
        assert!(!reply.has("transfer-encoding"), "{reply:?}");
        assert_eq!(reply.text(), "one two");
    }
    let modern = client(&proxy).post("/charges").key("k1").body("10").send().await;
    assert_replay(&first, &modern);
    assert_eq!(origin.hits(), 1);
}

/// C11: the connection of an HTTP/1.0 caller ends after its answer unless it asks otherwise.
async fn http_1_0_connections_end_unless_kept_alive() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let request = client.post("/charges").version10().key("k1").body("10");
    let mut closing = client.connect().await;
    request.clone().send_on(&mut closing).await;
    assert_eq!(closing.rest().await.0, b"", "nothing follows the answer");
    let mut staying = client.connect().await;
    let keep = request.header("Connection", "keep-alive");
    assert_marked(&keep.clone().send_on(&mut staying).await);
    assert_marked(&keep.send_on(&mut staying).await);
    assert_eq!(origin.hits(), 1);
}

/// A stranger without any credential is never handed the cookies of another.
async fn anonymous_replays_carry_no_set_cookie() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let login = || Answer::new(200).header("Set-Cookie", "session=1").header("X-A", "1").body("hi");
    origin.next(login());
    let (first, repeat) = twice(client(&proxy).post("/login").body("me")).await;
    assert_eq!(first.headers("set-cookie"), [b"session=1"]);
    assert_executed(&first);
    assert_marked(&repeat);
    assert!(!repeat.has("set-cookie"), "{repeat:?}");
    assert_eq!((repeat.text().as_str(), repeat.header("x-a")), ("hi", Some("1")));
    origin.next(login());
    let (_, keyed) = twice(client(&proxy).post("/login").key("k1").body("me")).await;
    assert_marked(&keyed);
    assert!(!keyed.has("set-cookie"), "{keyed:?}");
    for credential in ["Authorization", "X-API-Key", "Cookie"] {
        origin.next(login());
        let request = client(&proxy).post("/login").header(credential, "mine=1").body("me");
        let (first, repeat) = twice(request).await;
        assert_replay(&first, &repeat);
        assert_eq!(repeat.headers("set-cookie"), [b"session=1"], "{credential}");
    }
}

/// The proxy asks its upstream for one plain, complete message.
async fn the_upstream_gets_one_framed_plain_request() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/charges?a=b%20c&d").key("k1").body("0123456789").chunked(3);
    let request = request
        .header("Accept-Encoding", "gzip, br")
        .header("Range", "bytes=0-1")
        .header("TE", "trailers")
        .header("Connection", "keep-alive, X-Mine")
        .header("X-Mine", "1")
        .header("X-Latin", b"\xe9")
        .header("X-Forwarded-For", "192.0.2.7");
    request.send().await;
    let seen = origin.last();
    assert_eq!(
        (seen.target.as_str(), seen.body.as_slice()),
        ("/charges?a=b%20c&d", &b"0123456789"[..])
    );
    assert_eq!(seen.head.all("content-length"), [b"10"]);
    assert_eq!(seen.head.all("accept-encoding"), [b"identity"]);
    assert_eq!(seen.head.all("idempotency-key"), [b"k1"]);
    assert_eq!(seen.head.all("x-latin"), [b"\xe9"]);
    assert_eq!(seen.head.all("host"), [b"api.example"]);
    assert!(
        seen.header("x-forwarded-for").is_some_and(|all| all.starts_with("192.0.2.7, 127.0.0.1"))
    );
    assert!(seen.header("via").is_some_and(|via| via.contains("oncegate")));
    assert_eq!(seen.head.all("te"), [b"trailers"]);
    for gone in ["transfer-encoding", "range", "x-mine", "expect", "upgrade"] {
        assert!(!seen.head.has(gone), "{gone}: {:?}", seen.head);
    }
}
