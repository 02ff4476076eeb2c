//! Which requests are one operation, and which only look alike.
//!
//! Extensions of chunks and spellings of a method on the wire are for HTTP/1.1 callers alone.

use crate::support::{
    Origin, Proxy, Reply, Way, assert_executed, assert_problem, assert_replay, client, every_way,
    every_way_out, gzip,
};

every_way! {
    chunks_and_length_frame_the_same_body,
    gzip_with_another_time_is_the_same_body,
    a_body_that_is_not_what_its_encoding_says_is_hashed_raw,
    volatile_headers_do_not_change_the_checksum,
    headers_that_change_what_is_asked_for_count_in_the_checksum,
    order_and_case_of_header_names_do_not_matter,
    another_path_method_or_host_is_an_independent_record,
    another_caller_is_an_independent_record,
    a_key_with_another_payload_is_refused,
    other_headers_with_the_same_key_are_the_same_operation,
    a_quoted_key_equals_the_bare_key,
    idempotency_key_wins_over_request_id,
    x_request_id_is_no_key,
    headers_that_name_somebody_are_not_volatile,
}

every_way_out! {
    chunk_extensions_are_no_part_of_the_body,
    no_spelling_of_a_method_passes_the_guard,
}

/// C16: the same bytes are the same body, however they are framed.
async fn chunks_and_length_frame_the_same_body() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let body: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8).collect();
    for (hits, key) in [None, Some("k1")].into_iter().enumerate() {
        let plain = client(&proxy).post("/charges").key_if(key).body(&body);
        let first = plain.clone().send().await;
        for size in [Way::now().incoming.least_piece(), 7, 4096] {
            let repeat = plain.clone().chunked(size).send().await;
            assert_replay(&first, &repeat);
        }
        assert_eq!(origin.hits(), hits + 1);
        assert_eq!(origin.last().body, body);
    }
}

/// C16: extensions of chunks say nothing.
async fn chunk_extensions_are_no_part_of_the_body() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let first = client(&proxy).post("/charges").key("k1").body("0123456789").send().await;
    let head = client(&proxy).post("/charges").key("k1").body("x").chunked(1).head_bytes();
    let mut connection = client(&proxy).connect().await;
    connection.write(&head).await;
    connection.write(b"4;a=b\r\n0123\r\n6;c=\"d\"\r\n456789\r\n0;e\r\n\r\n").await;
    assert_replay(&first, &connection.read().await);
    assert_eq!(origin.hits(), 1);
}

/// A compressed body is what it says, not when it was compressed.
async fn gzip_with_another_time_is_the_same_body() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let text = r#"{"event":"paid","amount":10}"#.repeat(20);
    let (one, two) = (gzip(text.as_bytes(), 1_000), gzip(text.as_bytes(), 2_000));
    assert_ne!(one, two, "the two differ as bytes");
    for (hits, key) in [None, Some("k1")].into_iter().enumerate() {
        let plain = client(&proxy).post("/batch").key_if(key);
        let plain = plain.header("Content-Type", "application/json");
        let zipped = plain.clone().header("Content-Encoding", "gzip");
        let first = zipped.clone().body(&one).send().await;
        assert_eq!(origin.last().body, one, "the upstream gets the bytes of the caller");
        assert_replay(&first, &zipped.body(&two).send().await);
        assert_replay(&first, &plain.body(&text).send().await);
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// A body that only claims to be compressed is taken as it is.
async fn a_body_that_is_not_what_its_encoding_says_is_hashed_raw() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/batch").header("Content-Encoding", "gzip");
    let first = request.clone().body("no gzip").send().await;
    assert_replay(&first, &request.clone().body("no gzip").send().await);
    assert_executed(&request.body("no gzip either").send().await);
    assert_eq!(origin.hits(), 2);
}

/// The headers that hops, tracers and retry loops change are left out of the checksum.
async fn volatile_headers_do_not_change_the_checksum() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let plain = client(&proxy).post("/charges").header("Content-Type", "text/plain").body("10");
    let first = plain.clone().send().await;
    let volatile = [
        ("X-Retry-Count", "2"),
        ("User-Agent", "curl/8"),
        ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("X-Request-ID", "7e1b"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Amzn-Trace-Id", "Root=1-67891233"),
        ("X-Stainless-Retry-Count", "1"),
        ("Amz-Sdk-Request", "attempt=2; max=3"),
        ("X-Envoy-Attempt-Count", "2"),
        ("Cache-Control", "no-cache"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip"),
        ("Connection", "keep-alive"),
        ("Date", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("B3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"),
    ];
    let is_sayable = |name: &str| name != "Connection" || !Way::now().incoming.is_http2();
    let volatile = || volatile.into_iter().filter(|(name, _)| is_sayable(name));
    for (name, value) in volatile() {
        let repeat = plain.clone().header(name, value).send().await;
        assert_replay(&first, &repeat);
    }
    let all = volatile().fold(plain, |request, (name, value)| request.header(name, value));
    assert_replay(&first, &all.send().await);
    assert_eq!(origin.hits(), 1);
}

/// C24, U19: what changes the operation counts: conditions, preferences, overrides, types.
async fn headers_that_change_what_is_asked_for_count_in_the_checksum() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let plain = client(&proxy).method("PUT", "/items/7").body("10");
    plain.clone().send().await;
    let telling = [
        ("Content-Type", "application/json"),
        ("Content-Type", "text/plain"),
        ("If-Match", "\"1\""),
        ("If-None-Match", "*"),
        ("If-Unmodified-Since", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("Prefer", "return=minimal"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method-Override", "PATCH"),
        ("X-Tenant", "7"),
        ("X-Tena", "nt7"),
    ];
    for (executed, (name, value)) in telling.into_iter().enumerate() {
        let request = plain.clone().header(name, value);
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_replay(&first, &request.send().await);
        assert_eq!(origin.hits(), executed + 2, "{name}: {value}");
    }
}

async fn order_and_case_of_header_names_do_not_matter() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = || client(&proxy).post("/charges").body("10");
    let first = post().header("X-A", "1").header("X-B", "2").send().await;
    assert_replay(&first, &post().header("x-b", "2").header("X-a", "1").send().await);
    assert_executed(&post().header("X-A", "2").header("X-B", "1").send().await);
    assert_eq!(origin.hits(), 2);
}

/// C17, C21: the place that a request is sent to is part of its identity.
async fn another_path_method_or_host_is_an_independent_record() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for key in [Some("k1"), None] {
        let before = origin.hits();
        let requests = [
            client(&proxy).post("/charges"),
            client(&proxy).post("/refunds"),
            client(&proxy).post("/charges/"),
            client(&proxy).method("PUT", "/charges"),
            client(&proxy).post("/charges").host("other.example"),
            client(&proxy).post("/charges").host("api.example:8443"),
        ];
        let requests = requests.map(|request| request.key_if(key).body("10"));
        for (place, request) in requests.iter().enumerate() {
            assert_executed(&request.clone().send().await);
            assert_eq!(origin.hits(), before + place + 1);
        }
        for request in requests {
            assert!(request.send().await.is_repeat());
        }
        assert_eq!(origin.hits(), before + 6);
    }
}

/// C18: the same key of another caller is another operation.
async fn another_caller_is_an_independent_record() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for key in [Some("k1"), None] {
        let before = origin.hits();
        let plain = client(&proxy).post("/charges").key_if(key).body("10");
        let callers = [
            plain.clone(),
            plain.clone().header("Authorization", "a"),
            plain.clone().header("Authorization", "b"),
            plain.clone().header("X-API-Key", "a"),
            plain.clone().header("Cookie", "a"),
            plain.clone().header("X-Auth-Token", "a"),
            plain.clone().header("X-Auth-Token", "b"),
            plain.clone().header("X-Forwarded-User", "a"),
            plain.clone().header("X-Forwarded-User", "b"),
            plain.clone().header("X-Forwarded-Client-Cert", "a"),
            plain.clone().header("Authorization", "a").header("X-API-Key", "a"),
            plain.header("Authorization", "a").header("Cookie", "a"),
        ];
        let mut firsts = Vec::new();
        for request in &callers {
            let first = request.clone().send().await;
            assert_executed(&first);
            firsts.push(first);
        }
        for (request, first) in callers.into_iter().zip(&firsts) {
            assert_replay(first, &request.send().await);
        }
        assert_eq!(origin.hits(), before + firsts.len());
    }
}

/// C17: a key with another payload is refused; the answer names the part, never its value.
async fn a_key_with_another_payload_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = |target: &str, kind: &str, body: &str| {
        let post = client(&proxy).post(target).key("the-key").header("Content-Type", kind);
        post.body(body)
    };
    let first = request("/charges?q=tellq1", "text/tellt1", "tellb1").send().await;
    let repeat = request("/charges?q=tellq1", "text/tellt1", "tellb1").send().await;
    assert_replay(&first, &repeat);
    let others = [
        ("query", request("/charges?q=tellq2", "text/tellt1", "tellb1")),
        ("query", request("/charges", "text/tellt1", "tellb1")),
        ("content type", request("/charges?q=tellq1", "text/tellt2", "tellb1")),
        ("body", request("/charges?q=tellq1", "text/tellt1", "tellb2")),
        ("body", request("/charges?q=tellq1", "text/tellt1", "")),
    ];
    for (part, request) in others {
        for source in [request.clone(), request.chunked(2)] {
            let refused = source.send().await;
            assert_problem(&refused, 422, "key-reused");
            assert_names_only(&refused, part);
            assert_eq!(refused.header("duplicate-key"), repeat.header("duplicate-key"));
            let whole = format!("{refused:?}");
            assert!(!whole.contains("tell") && !whole.contains("the-key"), "{whole}");
        }
    }
    let again = request("/charges?q=tellq1", "text/tellt1", "tellb1").send().await;
    assert_replay(&first, &again);
    assert_eq!(origin.hits(), 1);
}

#[track_caller]
fn assert_names_only(refused: &Reply, part: &str) {
    let detail = refused.json()["detail"].as_str().expect("a detail").to_lowercase();
    let detail = detail.replace('-', " ");
    for named in ["query", "content type", "body"] {
        assert_eq!(detail.contains(named), named == part, "{part} differs: {detail}");
    }
}

async fn other_headers_with_the_same_key_are_the_same_operation() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let plain = client(&proxy).post("/charges").key("k1").body("10");
    let first = plain.clone().header("X-Anything", "1").send().await;
    assert_replay(&first, &plain.clone().header("X-Anything", "2").send().await);
    assert_replay(&first, &plain.header("Accept", "text/csv").send().await);
    assert_eq!(origin.hits(), 1);
}

async fn a_quoted_key_equals_the_bare_key() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = || client(&proxy).post("/charges").body("10");
    let first = post().key("\"8e03978e-40d5\"").send().await;
    assert_replay(&first, &post().key("8e03978e-40d5").send().await);
    let second = post().request_id("r1").send().await;
    assert_replay(&second, &post().request_id("\"r1\"").send().await);
    let escaped = post().key(r#""a\\b\"c""#).send().await;
    assert_executed(&escaped);
    assert_replay(&escaped, &post().key(r#""a\\b\"c""#).send().await);
    assert_eq!(origin.hits(), 3);
}

/// C15: where both key headers are present, the first source of the order decides alone.
async fn idempotency_key_wins_over_request_id() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = || client(&proxy).post("/charges").body("10");
    let first = post().request_id("r1").key("k1").send().await;
    assert_replay(&first, &post().key("k1").request_id("r2").send().await);
    assert_replay(&first, &post().key("k1").send().await);
    assert_executed(&post().key("k2").request_id("r1").send().await);
    assert_executed(&post().request_id("r1").send().await);
    assert_executed(&post().request_id("k1").send().await);
    assert_eq!(origin.hits(), 4);
}

async fn x_request_id_is_no_key() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = |body| client(&proxy).post("/charges").body(body);
    let first = post("10").header("X-Request-ID", "x1").send().await;
    assert_replay(&first, &post("10").header("X-Request-ID", "x2").send().await);
    assert_executed(&post("20").header("X-Request-ID", "x1").send().await);
    assert_eq!(origin.hits(), 2);
}

/// C18: without a key, whoever says who they are, or which event it is, in any header that is not
/// known to change between attempts, is told apart.
async fn headers_that_name_somebody_are_not_volatile() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for name in ["Cf-Access-Authenticated-User-Email", "Svix-Id", "L5d-Client-Id", "X-Tenant"] {
        let request = |value: &str| client(&proxy).post("/charges").header(name, value).body("10");
        let alice = request("alice").send().await;
        assert_executed(&alice);
        assert_executed(&request("bob").send().await);
        assert_replay(&alice, &request("alice").send().await);
    }
    assert_eq!(origin.hits(), 8);
}

/// C24: a method in another case is no way past the guard, and neither is a header that asks for
/// another method.
async fn no_spelling_of_a_method_passes_the_guard() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for method in ["post", "Put", "pATCH"] {
        let mut connection = client(&proxy).connect().await;
        let raw = format!("{method} /charges HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        connection.write(raw.as_bytes()).await;
        assert_problem(&connection.read().await, 400, "bad-request");
    }
    assert_eq!(origin.hits(), 0);
    let request =
        || client(&proxy).get("/charges").key("k1").header("X-HTTP-Method-Override", "POST");
    let first = request().send().await;
    assert_executed(&first);
    assert_replay(&first, &request().send().await);
    assert_eq!(origin.hits(), 1);
}
