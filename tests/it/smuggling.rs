//! Bodies that look like requests, behind every kind of early answer: none is ever taken for one.
//!
//! All of this is for HTTP/1.1 callers alone, whose bytes are written by hand; in HTTP/2, a stream
//! holds one request. What comes of it is seen on every way out.

use crate::support::{
    Act, Answer, Connection, Gate, How, Origin, Proxy, Request, Reserved, Starting,
    assert_executed, assert_marked, assert_one_executed, assert_problem, client, every_way_out,
    read_all, talk,
};

every_way_out! {
    a_body_behind_a_refusal_is_never_a_request,
    a_body_behind_a_known_key_is_never_a_request,
    a_body_behind_a_running_key_is_never_a_request,
    a_body_behind_an_unreachable_upstream_is_never_a_request,
    nothing_is_parsed_after_connect,
    a_caller_that_expects_to_be_told_is_told_once_to_continue,
    a_caller_that_is_refused_is_not_told_to_continue,
    unknown_expectations_are_refused,
    pipelined_requests_are_answered_in_their_order,
    a_repeat_that_is_pipelined_behind_its_first_request_waits_for_it,
}

const SMUGGLED: &str = "GET /admin HTTP/1.1\r\nHost: api.example\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: api.example\r\n\r\n";

/// How often a request for this target has reached the origin.
fn seen(origin: &Origin, target: &str) -> usize {
    origin.requests().iter().filter(|request| request.target == target).count()
}

/// A proxy that lets callers take their time: they may have to wait for a processor between the
/// parts of a request.
fn unhurried(origin: &Origin) -> Starting {
    Proxy::before(origin).arg("--min-body-rate", "1B")
}

/// Sends a request with a request inside its body and another one behind it, and fails unless
/// it has this answer, and what is behind it is all that may be answered, too.
async fn assert_swallowed(origin: &Origin, proxy: &Proxy, request: &Request, status: u16) {
    let inside = SMUGGLED.repeat(30);
    for chunk in [None, Some(inside.len()), Some(SMUGGLED.len()), Some(7)] {
        let before = seen(origin, "/next");
        let request = request.clone().body(&inside).chunked_if(chunk);
        let what = request.head_bytes().escape_ascii().to_string();
        let replies = talk(proxy, [request.bytes(), NEXT.into()].concat()).await;
        assert_eq!(replies.first().map(|reply| reply.status), Some(status), "{what}");
        assert_eq!(seen(origin, "/admin"), 0, "{what}");
        assert_eq!(seen(origin, "/next") - before, replies.len() - 1, "{what}, {replies:?}");
        let mut late = client(proxy).connect().await;
        // The beginning of the body gives the rest of it its time.
        let bytes = request.bytes();
        let (early, rest) = bytes.split_at(request.head_bytes().len() + SMUGGLED.len());
        late.write(early).await;
        proxy.has_read_all().await;
        late.write(rest).await;
        late.finish().await;
        assert_eq!(late.read().await.status, status, "{what}");
        assert!(late.try_read().await.is_err(), "{what}");
        assert_eq!(seen(origin, "/admin"), 0, "{what}");
    }
}

/// C10: refusals before the body has been read leave none of it behind.
async fn a_body_behind_a_refusal_is_never_a_request() {
    let origin = Origin::start().await;
    let proxy = unhurried(&origin).arg("--max-request", "1KiB").start().await;
    let post = || client(&proxy).post("/charges");
    let long = "x".repeat(9_000);
    let refused = [
        (413, post().key("k1")),
        (400, post().key("two words")),
        (400, post().key("k1").key("k2")),
        (400, post().header("Connection", "Host")),
        (400, post().without_host()),
        (400, post().header("Host", "other")),
        (400, post().header("Connection", "upgrade").header("Upgrade", "websocket")),
        (417, post().header("Expect", "else")),
        (417, client(&proxy).get("/charges").header("Expect", "else")),
        (414, client(&proxy).post(&format!("/{long}")).key("k1")),
        (501, client(&proxy).method("CONNECT", "api.example:80").host("api.example:80")),
    ];
    for (status, request) in refused {
        assert_swallowed(&origin, &proxy, &request, status).await;
    }
    let coded = post().header("Transfer-Encoding", "gzip");
    let coded = coded.body(SMUGGLED.repeat(30)).chunked(50);
    let replies = talk(&proxy, [coded.bytes(), NEXT.into()].concat()).await;
    assert_eq!((replies[0].status, seen(&origin, "/admin")), (501, 0));
    assert_eq!(origin.hits(), seen(&origin, "/next"));
}

/// C10: what is known about a key is told after the body has been read, and leaves nothing.
async fn a_body_behind_a_known_key_is_never_a_request() {
    let origin = Origin::start().await;
    let proxy = unhurried(&origin).arg("--max-response", "1KiB").start().await;
    origin.always(Answer::new(201).body("ok"));
    let inside = SMUGGLED.repeat(30);
    let post = |key: &str| client(&proxy).post("/charges").key(key);
    let first = |key: &str, body: &str| post(key).body(body).send();
    assert_executed(&first("replayed", &inside).await);
    assert_executed(&first("reused", "10").await);
    origin.next(Act::DropAfterExecuting(How::Close));
    assert_problem(&first("unknown", &inside).await, 502, "upstream-broken");
    origin.next(Answer::new(200).body("x".repeat(5_000)));
    assert_executed(&first("large", &inside).await);
    let executed = origin.hits();
    for (status, key) in [(201, "replayed"), (422, "reused"), (409, "unknown"), (409, "large")] {
        assert_swallowed(&origin, &proxy, &post(key), status).await;
    }
    assert_eq!(origin.hits(), executed + seen(&origin, "/next"));
}

/// C10: the same for a repeat that has waited in vain.
async fn a_body_behind_a_running_key_is_never_a_request() {
    let origin = Origin::start().await;
    let proxy = unhurried(&origin).arg("--wait", "20ms").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1");
    let mut leader = request.clone().body(SMUGGLED.repeat(30)).open().await;
    origin.wait_for_hits(1).await;
    assert_swallowed(&origin, &proxy, &request, 409).await;
    gate.open();
    assert_executed(&leader.read().await);
    assert_eq!(origin.hits(), 1 + seen(&origin, "/next"));
}

/// C10: an upstream that cannot be reached leaves the bodies of its callers unread, not parsed.
async fn a_body_behind_an_unreachable_upstream_is_never_a_request() {
    let reserved = Reserved::new();
    let proxy = Proxy::before_address(reserved.addr).start().await;
    let inside = SMUGGLED.repeat(30);
    for request in [client(&proxy).post("/charges").key("k1"), client(&proxy).get("/charges")] {
        for chunk in [None, Some(inside.len()), Some(7)] {
            let request = request.clone().body(&inside).chunked_if(chunk);
            let replies = talk(&proxy, [request.bytes(), NEXT.into()].concat()).await;
            assert!(matches!(replies.len(), 1 | 2), "{chunk:?}: {replies:?}");
            for reply in replies {
                assert_problem(&reply, 502, "upstream-unreachable");
            }
        }
    }
}

/// Bytes after CONNECT are not HTTP, whatever they look like: the connection ends.
async fn nothing_is_parsed_after_connect() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for target in ["api.example:80", "/", "*", "http://api.example/"] {
        let connect =
            format!("CONNECT {target} HTTP/1.1\r\nHost: api.example:80\r\n\r\n{SMUGGLED}");
        let replies = talk(&proxy, connect).await;
        assert!(matches!(replies[0].status, 400 | 501), "{target}: {replies:?}");
        assert_eq!((replies.len(), origin.heads()), (1, 0), "{target}: {replies:?}");
    }
}

async fn expecting(proxy: &Proxy, request: Request) -> Connection {
    let mut connection = client(proxy).connect().await;
    connection.write(&request.header("Expect", "100-Continue").head_bytes()).await;
    connection
}

/// C8: a caller that asks first is told to go on, once, and the upstream is not asked.
async fn a_caller_that_expects_to_be_told_is_told_once_to_continue() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "1KiB").start().await;
    let large = "x".repeat(2_000);
    let requests = [
        (client(&proxy).post("/charges").key("k1").body("0123456789"), "0123456789"),
        (client(&proxy).post("/charges").body("0123456789"), "0123456789"),
        (client(&proxy).post("/import").body(&large), &large),
        (client(&proxy).method("QUERY", "/charges").body("0123456789"), "0123456789"),
    ];
    for (request, body) in requests {
        for chunk in [None, Some(4)] {
            let request = request.clone().chunked_if(chunk);
            let mut connection = expecting(&proxy, request.clone()).await;
            connection.sees(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            let whole = request.bytes();
            connection.write(&whole[request.head_bytes().len()..]).await;
            let reply = connection.read().await;
            assert_eq!((reply.status, reply.interim.len()), (201, 1), "{reply:?}");
            assert_eq!(origin.last().body, body.as_bytes());
            assert!(origin.requests().iter().all(|seen| !seen.head.has("expect")));
        }
    }
}

/// C8: where the head alone is enough to refuse, the body is not asked for.
async fn a_caller_that_is_refused_is_not_told_to_continue() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = || client(&proxy).post("/charges");
    let ten_gib = post().key("k1").unframed().header("Content-Length", (10_u64 << 30).to_string());
    for (status, request) in [
        (413, ten_gib),
        (400, post().key("two words").body("10")),
        (400, post().header("Connection", "Host").body("10")),
        (417, post().header("Expect", "else").body("10")),
    ] {
        let reply = expecting(&proxy, request.clone()).await.read().await;
        assert_eq!((reply.status, reply.interim.len()), (status, 0), "{reply:?}");
    }
    let mut old = expecting(&proxy, post().key("k1").body("10").version10()).await;
    proxy.has_read_all().await;
    old.write(b"10").await;
    let reply = old.read().await;
    assert_eq!((reply.status, reply.interim.len()), (201, 0), "HTTP/1.0 knows no 100");
    assert_eq!(origin.hits(), 1);
}

/// C8: what is expected beyond that is refused, on whatever line it stands.
async fn unknown_expectations_are_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let unknown: [&[&str]; 8] = [
        &["else"],
        &[""],
        &["100-continue, else"],
        &["100-continue;q=1"],
        &["\"100-continue\""],
        &["100-continue", "else"],
        &["else", "100-continue"],
        &["100-continue", "100-continue"],
    ];
    for lines in unknown {
        for request in
            [client(&proxy).post("/charges").key("k1").body("10"), client(&proxy).get("/")]
        {
            let request =
                lines.iter().fold(request, |request, line| request.header("Expect", line));
            assert_problem(&request.send().await, 417, "expectation-failed");
        }
    }
    assert_eq!(origin.heads(), 0);
}

/// C9: a repeat right behind its first request, and others: answers in order, and no deadlock.
async fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let post = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for number in 0..50 {
        let key = number / 2;
        let request = if number % 5 == 4 {
            client(&proxy).get(&format!("/get/{number}"))
        } else {
            post(key).header("X-Number", number.to_string())
        };
        expected.push((number % 5 < 4).then_some(key));
        bytes.extend(request.bytes());
    }
    let replies = talk(&proxy, bytes).await;
    assert_eq!(replies.len(), 50);
    let mut known = std::collections::HashSet::new();
    for (number, (reply, key)) in replies.iter().zip(expected).enumerate() {
        assert_eq!(reply.status, 201);
        match key {
            None => assert!(reply.text().contains(&format!("GET /get/{number} "))),
            Some(key) if known.insert(key) => assert_executed(reply),
            Some(_) => assert_marked(reply),
        }
    }
    assert_eq!(origin.hits(), known.len() + 10);
}

/// C9, K10: a repeat that is pipelined behind a first request that takes its time.
async fn a_repeat_that_is_pipelined_behind_its_first_request_waits_for_it() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let bytes = client(&proxy).post("/charges").key("k1").body("10").bytes();
    let mut callers = Vec::new();
    for _ in 0..3 {
        let mut caller = client(&proxy).connect().await;
        caller.write(&[bytes.clone(), bytes.clone(), bytes[..20].to_vec()].concat()).await;
        callers.push(caller);
    }
    origin.wait_for_hits(1).await;
    gate.open();
    let firsts = read_all(&mut callers).await;
    assert_one_executed(&firsts);
    for round in 0..2 {
        for caller in &mut callers {
            if round == 1 {
                caller.write(&bytes[20..]).await;
            }
            assert_marked(&caller.read().await);
        }
    }
    assert_eq!(origin.hits(), 1);
}
