//! Limits on what a request may be like: one below, at, and one above.
//!
//! The exact bytes of a head, heads that never end, and what is pipelined behind one are for
//! HTTP/1.1 callers alone; chunks as they reach the upstream, for such upstreams.

use crate::support::{
    How, Origin, Peer, Proxy, Reply, Request, Way, assert_executed, assert_problem, assert_replay,
    client, eventually, every_way, every_way_in, every_way_out, problem_of, talk,
};

every_way! {
    targets_have_a_limit,
    headers_have_a_limit_in_lines,
    bodies_have_a_limit_beyond_which_they_are_not_protected,
    a_body_that_is_declared_too_large_is_not_read,
    bodies_in_memory_have_a_limit_in_all,
    a_passed_body_that_breaks_off_never_looks_whole,
}

every_way_in! { endless_chunks_are_refused_or_passed_on_as_they_come }

every_way_out! {
    headers_have_a_limit_in_bytes,
    a_head_that_is_too_large_is_refused_alone,
}

/// A guarded and an unguarded request for this target.
fn both(proxy: &Proxy, target: &str, key: usize) -> [Request; 2] {
    let client = client(proxy);
    [client.post(target).key(format!("k{key}")).body("10"), client.get(target)]
}

/// C6: targets.
async fn targets_have_a_limit() {
    let origin = Origin::start().await;
    for (limit, flags) in [(8192, None), (100, Some("100B"))] {
        let proxy = Proxy::before(&origin);
        let proxy = match flags {
            Some(value) => proxy.arg("--max-target-bytes", value).start().await,
            None => proxy.start().await,
        };
        for query in ["", "?q="] {
            for (length, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
                let target = format!("/{query}");
                let target = format!("{target}{}", "a".repeat(length - target.len()));
                for request in both(&proxy, &target, length) {
                    let hits = origin.hits();
                    let reply = request.send().await;
                    assert_eq!(reply.status, if fits { 201 } else { 414 }, "{length} of {limit}");
                    assert_eq!(origin.hits() - hits, usize::from(fits));
                    assert!(fits || problem_of(&reply).as_deref() == Some("too-large"));
                }
            }
        }
    }
}

/// The request with a field that makes its head this long.
fn padded(request: &Request, head: usize) -> Request {
    let bare = request.clone().header("X-Padding", "").head_bytes().len();
    request.clone().header("X-Padding", "x".repeat(head - bare))
}

/// C6: headers, in bytes with the request line.
async fn headers_have_a_limit_in_bytes() {
    let origin = Origin::start().await;
    for (limit, flag) in [(32 << 10, "32KiB"), (2048, "2KiB"), (12_000, "12000B")] {
        let proxy = Proxy::before(&origin).arg("--max-header-bytes", flag).start().await;
        for (length, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            for request in both(&proxy, "/charges", length) {
                let hits = origin.hits();
                let reply = padded(&request, length).send().await;
                assert_eq!(reply.status, if fits { 201 } else { 431 }, "{length} of {limit}");
                assert_eq!(origin.hits() - hits, usize::from(fits));
            }
        }
    }
}

/// C6: headers, in lines.
async fn headers_have_a_limit_in_lines() {
    let origin = Origin::start().await;
    for limit in [100, 20, 150] {
        let proxy = Proxy::before(&origin).arg("--max-headers", &limit.to_string()).start().await;
        for (lines, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            for (request, has) in both(&proxy, "/charges", lines).into_iter().zip([3, 1]) {
                let hits = origin.hits();
                let request = (has..lines).fold(request, |request, number| {
                    request.header(&format!("X-{}", number % 50), "1")
                });
                let reply = request.send().await;
                assert_eq!(reply.status, if fits { 201 } else { 431 }, "{lines} of {limit}");
                assert_eq!(origin.hits() - hits, usize::from(fits));
            }
        }
    }
}

/// C6: a head that never ends is not read for ever.
#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for start in ["G", "GET /", "GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "POST / HTTP/1.1\r\nX-"] {
        let mut connection = client(&proxy).connect().await;
        connection.write(start.as_bytes()).await;
        eventually("the end of the head", async || {
            connection.try_write(&[b'a'; 4096]).await.is_err()
        })
        .await;
        let said = connection.rest().await.0;
        let said = String::from_utf8_lossy(&said).into_owned();
        let statuses = ["", "HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 400"];
        assert!(statuses.contains(&&said[..said.len().min(12)]), "{start}: {said}");
    }
    assert_eq!(origin.heads(), 0);
}

/// C7: bodies, with a key and without.
async fn bodies_have_a_limit_beyond_which_they_are_not_protected() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "10000B").start().await;
    for chunk in [None, Some(Way::now().incoming.least_piece()), Some(777), Some(20_000)] {
        for (length, fits) in [(9_999, true), (10_000, true), (10_001, false)] {
            let body = format!("{chunk:?}").repeat(5_000)[..length].to_owned();
            let keyed = client(&proxy).post("/charges").key(format!("k{length}{chunk:?}"));
            for request in [keyed, client(&proxy).post("/charges")] {
                let is_keyed = request.head_bytes().windows(4).any(|bytes| bytes == b"Idem");
                let request = request.body(&body).chunked_if(chunk);
                let hits = origin.hits();
                let first = request.clone().send().await;
                let second = request.send().await;
                match (fits, is_keyed) {
                    (true, _) => assert_replay(&first, &second),
                    (false, true) => [first, second].iter().for_each(assert_too_large),
                    (false, false) => [first, second].iter().for_each(assert_unprotected),
                }
                let executed = if fits { 1 } else { 2 * usize::from(!is_keyed) };
                assert_eq!(origin.hits() - hits, executed, "{length}, {chunk:?}");
                assert!(executed == 0 || origin.last().body == body.as_bytes());
            }
        }
    }
}

#[track_caller]
fn assert_too_large(reply: &Reply) {
    assert_problem(reply, 413, "too-large");
    assert!(!reply.has("duplicate-protection"), "{reply:?}");
}

#[track_caller]
fn assert_unprotected(reply: &Reply) {
    assert_executed(reply);
    assert_eq!(reply.status, 201, "{reply:?}");
    let said = reply.header("duplicate-protection");
    assert_eq!(said, Some("none; reason=\"body-too-large\""), "{reply:?}");
}

/// C7: what is declared to be too large is refused before any of it is read.
async fn a_body_that_is_declared_too_large_is_not_read() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for length in [(8_u64 << 20) + 1, 10 << 30, u64::from(u32::MAX) + 3, i64::MAX as u64] {
        let request = client(&proxy).post("/charges").key("k1").unframed();
        let request = request.header("Content-Length", length.to_string());
        let mut connection = request.begin().await;
        assert_too_large(&connection.read().await);
    }
    assert_eq!(origin.heads(), 0);
}

/// C7: chunks without end: refused at the limit with a key, passed on as they come without.
async fn endless_chunks_are_refused_or_passed_on_as_they_come() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--max-request", "64KiB").start().await;
    let piece = [b'x'; 4096];
    let mut keyed = client(&proxy).post("/import").key("k1").chunked(1).begin().await;
    for _ in 0..17 {
        keyed.push(piece).await;
    }
    assert_too_large(&keyed.read().await);
    let mut plain = client(&proxy).post("/import").chunked(1).begin().await;
    for _ in 0..17 {
        plain.push(piece).await;
    }
    let mut exchange = peer.accept().await;
    let head = exchange.head().await;
    assert_eq!(head.all("transfer-encoding"), [b"chunked"]);
    assert!(!head.has("content-length"), "{head:?}");
    for _ in 0..1000 {
        plain.push(piece).await;
        exchange.take(4096).await;
    }
    plain.end().await;
    exchange.sees(b"0\r\n\r\n").await;
    exchange.write("HTTP/1.1 201 Fine\r\nContent-Length: 2\r\n\r\nok").await;
    assert_unprotected(&plain.read().await);
}

/// C7: all bodies together have a limit; beyond it callers are told to come back, and when
/// there is room again they are served.
async fn bodies_in_memory_have_a_limit_in_all() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-buffered", "1MiB").start().await;
    let request = |key: usize| {
        let post = client(&proxy).post("/upload").key(format!("k{key}"));
        post.body("x".repeat(300_000))
    };
    let mut held = Vec::new();
    for key in 0..3 {
        let mut connection = request(key).begin().await;
        connection.push(vec![b'x'; 299_999]).await;
        held.push(connection);
    }
    proxy.has_read_all().await;
    for key in 3..6 {
        assert_problem(&request(key).send().await, 503, "busy");
    }
    assert_eq!(origin.heads(), 0);
    let small = client(&proxy).post("/charges").key("small").body("10").send().await;
    assert_executed(&small);
    for connection in &mut held {
        connection.push("x").await;
        connection.end().await;
        assert_executed(&connection.read().await);
    }
    for key in 3..6 {
        assert_executed(&request(key).send().await);
    }
    assert_eq!(origin.hits(), 7);
}

/// C2: a body that is passed on and breaks off is broken for the upstream, too.
async fn a_passed_body_that_breaks_off_never_looks_whole() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "1KiB").start().await;
    let body = "0123456789".repeat(1_000);
    let query = client(&proxy).method("QUERY", "/search").body(&body);
    let import = client(&proxy).post("/import").body(&body);
    let requests = [query.clone(), query.chunked(1_000), import.clone(), import.chunked(1_000)];
    let breaks = [How::Close, How::Reset];
    let all = requests.iter().flat_map(|request| breaks.map(|how| (request, how)));
    for (number, (request, how)) in all.enumerate() {
        let caller = request.open_cut(request.bytes().len() - 6).await;
        origin.wait_for_heads(number + 1).await;
        caller.leave(how);
        origin.wait_for_broken_off(number + 1).await;
        assert_eq!(origin.hits(), 0, "it looks whole: {request:?}, {how:?}");
    }
}

/// C6, C10: what follows a head that is too large is the next request, or nothing.
async fn a_head_that_is_too_large_is_refused_alone() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-header-bytes", "2KiB").start().await;
    let next = client(&proxy).get("/next").bytes();
    for request in both(&proxy, "/charges", 1) {
        for length in [2_049, 3_000, 100_000] {
            let before = origin.hits();
            let replies =
                talk(&proxy, [padded(&request, length).bytes(), next.clone()].concat()).await;
            assert_eq!(replies[0].status, 431, "{replies:?}");
            assert_eq!(origin.hits() - before, replies.len() - 1, "{replies:?}");
        }
    }
    assert!(origin.requests().iter().all(|seen| seen.target == "/next"));
}
