//! Keys from hostile and careless callers, and what must not leak out of them.
//!
//! Control characters and `Connection` are for HTTP/1.1 callers alone: HTTP/2 has neither.

use crate::support::{
    Answer, MARKS, Origin, Proxy, Request, Way, assert_executed, assert_problem, assert_replay,
    assert_standard_base64, client, every_way, every_way_out,
};

every_way! {
    malformed_keys_are_refused,
    keys_up_to_their_limit_work,
    two_lines_of_one_key_header_are_refused,
    a_malformed_key_is_not_replaced_by_another_source,
    spoofed_marks_are_stripped_both_ways,
    guessable_keys_and_shown_hashes_give_nothing_away,
    a_hash_cannot_be_recomputed_elsewhere,
    logs_show_no_secrets,
    the_access_log_shows_duplicates_alone_when_asked_to,
    many_callers_with_the_same_keys_never_cross,
    refusals_about_a_key_carry_its_hash,
}

every_way_out! {
    control_characters_in_keys_are_refused,
    connection_may_not_name_keys_credentials_or_framing,
}

/// C15: what is no key is refused, and nothing is executed.
async fn malformed_keys_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let long = "k".repeat(256);
    let long_quoted = format!("\"{long}\"");
    let malformed: [&[u8]; 16] = [
        b"",
        b"   ",
        b"\"\"",
        long.as_bytes(),
        long_quoted.as_bytes(),
        b"two words",
        b"a, b",
        b"tab\tinside",
        b"caf\xc3\xa9",
        b"\xff",
        b"\"not ended",
        b"\"",
        b"\"ended\" twice\"",
        b"\"bad \\escape\"",
        b"\"caf\xc3\xa9\"",
        b"\"ends in a backslash\\",
    ];
    for name in ["Idempotency-Key", "Request-ID"] {
        for key in malformed {
            let request = client(&proxy).post("/charges").header(name, key).body("10");
            let refused = request.send().await;
            // white space around a value is a mistake in HTTP/2 itself
            let is_padded = Way::now().incoming.is_http2() && key.starts_with(b" ");
            let problem = if is_padded { "bad-request" } else { "key-malformed" };
            assert_problem(&refused, 400, problem);
            assert!(!refused.has("duplicate-key"), "no key, no hash: {refused:?}");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// C15: a control character in a key is refused before anything looks at it.
async fn control_characters_in_keys_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let controls: [&[u8]; 4] = [b"a\x01b", b"a\x1b[31mb", b"a\x7fb", b"a\x00b"];
    for key in controls {
        let refused = client(&proxy).post("/charges").key(key).body("10").send().await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    assert_eq!(origin.heads(), 0);
}

/// C15: keys of every length that is allowed work, bare and quoted.
async fn keys_up_to_their_limit_work() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let longest = "k".repeat(255);
    let every: String = (b'!'..=b'~').filter(|&byte| byte != b'"').map(char::from).collect();
    for (hits, key) in ["1", longest.as_str(), every.as_str()].into_iter().enumerate() {
        let request = client(&proxy).post("/charges").key(key).body("10");
        let first = request.clone().send().await;
        assert_replay(&first, &request.send().await);
        assert_eq!(origin.hits(), hits + 1, "{key}");
    }
    let quoted = client(&proxy).post("/charges").key(format!("\"{longest}\"")).body("10");
    assert!(quoted.send().await.is_repeat());
}

/// C15: two lines of one key header are refused, equal or not, whatever their case.
async fn two_lines_of_one_key_header_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (one, two) in [("Idempotency-Key", "idempotency-key"), ("Request-ID", "REQUEST-ID")] {
        for value in ["k1", "k2"] {
            let request = client(&proxy).post("/charges").header(one, "k1").header(two, value);
            assert_problem(&request.body("10").send().await, 400, "key-malformed");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// C15: a malformed key is not passed over for a good one of lower rank.
async fn a_malformed_key_is_not_replaced_by_another_source() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/charges").key("two words").request_id("r1").body("10");
    assert_problem(&request.send().await, 400, "key-malformed");
    assert_eq!(origin.heads(), 0);
}

/// A6, C23: no caller can have its key, credential or framing taken off on the way.
async fn connection_may_not_name_keys_credentials_or_framing() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let plain = || {
        let post = client(&proxy).post("/charges").key("k1").request_id("r1").body("10");
        post.header("Authorization", "a").header("X-API-Key", "b").header("Cookie", "c=d")
    };
    let named = [
        "Idempotency-Key",
        "request-id",
        "AUTHORIZATION",
        "X-API-Key",
        "Cookie",
        "Host",
        "Content-Length",
        "close, Request-ID",
        "X-Other , Authorization",
    ];
    for name in named {
        let refused = plain().header("Connection", name).send().await;
        assert_problem(&refused, 400, "bad-request");
        let two_lines = plain().header("Connection", "keep-alive").header("Connection", name);
        assert_problem(&two_lines.send().await, 400, "bad-request");
    }
    assert_eq!(origin.heads(), 0);
    let harmless = plain().header("Connection", "X-Other").header("X-Other", "1").send().await;
    assert_executed(&harmless);
    let seen = origin.last();
    assert!(!seen.head.has("x-other"), "{:?}", seen.head);
    assert_eq!(seen.head.all("request-id"), [b"r1"]);
    assert_eq!(seen.head.all("idempotency-key"), [b"k1"]);
}

/// A10: nobody but the proxy says what is a repeat.
async fn spoofed_marks_are_stripped_both_ways() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let spoof = |request: Request| {
        let request = request.header("Duplicate-Request", "true").header("Duplicate-Key", "mine");
        request.header("Idempotent-Replayed", "true").header("Age", "77")
    };
    let lie = Answer::new(200).header("Duplicate-Request", "true").header("Duplicate-Key", "yours");
    let lie = lie.header("Idempotent-Replayed", "true").header("Age", "99").body("ok");
    origin.always(lie);
    let request = spoof(client(&proxy).post("/charges").key("k1").body("10"));
    let first = request.clone().send().await;
    assert_executed(&first);
    for mark in MARKS {
        assert!(!origin.last().head.has(mark), "{mark} reached the upstream");
    }
    let repeat = request.send().await;
    assert_replay(&first, &repeat);
    assert_ne!(repeat.header("age"), Some("99"), "{repeat:?}");
    let passed = spoof(client(&proxy).get("/charges")).send().await;
    for mark in ["duplicate-request", "duplicate-key", "idempotent-replayed"] {
        assert!(!origin.last().head.has(mark), "{mark} reached the upstream");
        assert!(!passed.has(mark), "{passed:?}");
    }
    let checked = |value: &str| {
        client(&proxy).post("/checked").header("Duplicate-Request", value).body("10").send()
    };
    let first = checked("true").await;
    assert_replay(&first, &checked("false").await);
}

/// A9: a guessed key shows nothing of another caller, and a shown hash is no key.
async fn guessable_keys_and_shown_hashes_give_nothing_away() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let charge = |caller: &str, id: &str| {
        client(&proxy).post("/charges").caller(caller).request_id(id).body("10").send()
    };
    charge("alice", "1").await;
    let alices = charge("alice", "1").await;
    for id in ["1", "2", "01"] {
        let eves = charge("eve", id).await;
        assert_executed(&eves);
        assert_eq!(eves.json()["caller"], "Bearer eve");
    }
    let eves = charge("eve", "1").await;
    let (hers, his) = (alices.header("duplicate-key"), eves.header("duplicate-key"));
    assert_ne!(hers, his, "a key's hash depends on who calls");
    let shown = hers.expect("a mark");
    assert_standard_base64(shown);
    for name in ["Request-ID", "Idempotency-Key", "Duplicate-Key"] {
        let request = client(&proxy).post("/charges").caller("eve").header(name, shown);
        assert_executed(&request.body(name).send().await);
    }
    let again = charge("alice", "1").await;
    assert_eq!(again.header("duplicate-key"), Some(shown), "the same hash each time");
}

/// P9: the hash is keyed, so that the same request has another hash in another process.
async fn a_hash_cannot_be_recomputed_elsewhere() {
    let origin = Origin::start().await;
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let proxy = Proxy::before(&origin).start().await;
        let request = client(&proxy).post("/charges").key("k1").body("10");
        request.clone().send().await;
        let repeat = request.send().await;
        hashes.push(repeat.header("duplicate-key").expect("a mark").to_owned());
    }
    assert_ne!(hashes[0], hashes[1]);
}

/// P8: neither log ever shows a key, a body, a credential or a query value.
async fn logs_show_no_secrets() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--access-log", "all").arg("--log-level", "debug");
    let proxy = proxy.start().await;
    let request = |body: &str| {
        let post = client(&proxy).post("/charges?card=s3cret-query").key("s3cret-key");
        let post = post.header("Authorization", "Bearer s3cret-auth").body(body);
        post.header("Cookie", "id=s3cret-cookie").header("X-API-Key", "s3cret-api")
    };
    origin.always(Answer::new(200).header("Set-Cookie", "s3cret-set").body("s3cret-answer"));
    request("s3cret-body").send().await;
    request("s3cret-body").send().await;
    request("s3cret-other").send().await;
    request("s3cret-body").key("s3cret-second").send().await;
    client(&proxy).post("/charges").request_id("s3cret-id").body("s3cret-body").send().await;
    client(&proxy).post("/charges?s3cret-query").body("s3cret-body").send().await;
    client(&proxy).get("/charges?s3cret-query").send().await;
    let lines = proxy.access_lines(7).await;
    for line in &lines {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(entry.is_object(), "{line}");
    }
    for log in [lines.join("\n"), proxy.log()] {
        assert!(!log.contains("s3cret"), "{log}");
    }
}

/// P8: the access log tells repeats apart, and with `duplicates` tells of nothing else.
async fn the_access_log_shows_duplicates_alone_when_asked_to() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--access-log", "duplicates").start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    client(&proxy).get("/charges").send().await;
    request.clone().send().await;
    request.clone().send().await;
    client(&proxy).get("/charges").send().await;
    request.send().await;
    let lines = proxy.access_lines(2).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
}

/// C18: many callers with the same keys never see each other's answers.
async fn many_callers_with_the_same_keys_never_cross() {
    const KEYS: usize = 20;
    let callers = Way::now().share(100);
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(client.connect().await);
    }
    for round in 0..3 {
        for step in 0..callers * KEYS {
            // a stride that is prime to the number of pairs visits each once, far apart
            let pair = step * 619 % (callers * KEYS);
            let (caller, key) = (format!("t{}", pair / KEYS), format!("k{}", pair % KEYS));
            let connection = &mut connections[step % 8];
            let request = client.post("/charges").caller(&caller).key(&key).body("10");
            let reply = request.send_on(connection).await;
            let line = reply.json();
            assert_eq!(line["caller"], format!("Bearer {caller}"), "{reply:?}");
            assert_eq!(reply.is_repeat(), round > 0, "{reply:?}");
        }
    }
    assert_eq!(origin.hits(), callers * KEYS);
}

/// Own answers about a key carry its hash, so that an operator can look it up.
async fn refusals_about_a_key_carry_its_hash() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let charge = |body: &str| client(&proxy).post("/charges").key("k1").body(body).send();
    charge("10").await;
    let repeat = charge("10").await;
    let refused = charge("20").await;
    assert_problem(&refused, 422, "key-reused");
    assert_eq!(refused.header("duplicate-key"), repeat.header("duplicate-key"));
    assert_eq!(refused.json()["retryable"], false);
}
