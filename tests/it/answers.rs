//! Answers that break off, lie about their length or never end: none is ever taken for another.
//!
//! What an upstream writes by hand in HTTP/1.1 reaches callers on every way in; HTTP/2 has no such
//! bytes: a length, chunks and the end of a connection do not frame anything there.

use crate::support::{
    Answer, Ending, Exchange, Gate, How, Incoming, Origin, Peer, Proxy, Reply, Request, Way,
    assert_executed, assert_held, assert_problem, assert_replay, client, every_way, every_way_in,
    gzip, none_connected_to,
};

every_way! {
    an_answer_that_breaks_off_is_never_kept,
    a_passed_answer_that_breaks_off_is_seen_to,
    a_streamed_answer_that_breaks_off_is_seen_to_and_not_replayed,
    an_unguarded_stream_comes_as_it_is_sent_and_ends_with_its_caller,
}

every_way_in! {
    a_close_delimited_answer_is_never_kept_wherever_it_ends,
    an_answer_in_another_coding_is_never_kept,
    an_answer_too_many_is_given_to_nobody,
    an_answer_before_its_request_is_given_to_nobody,
    malformed_answers_are_refused_and_hold_their_keys,
    an_answer_in_several_codings_is_refused,
    an_answer_that_is_framed_twice_is_reframed_or_refused,
    a_streamed_answer_is_read_to_its_end_when_its_caller_has_left,
}

const BREAKS: [How; 2] = [How::Close, How::Reset];

/// Fails unless a repeat is refused, and not with a part of an answer.
async fn assert_not_replayed(request: Request) {
    let repeat = request.send().await;
    assert_problem(&repeat, 409, "answer-not-kept");
    assert!(repeat.has("duplicate-key"), "{repeat:?}");
}

/// U4: a captured answer that breaks off anywhere is no answer: its caller is told, its key held.
async fn an_answer_that_breaks_off_is_never_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let body = "0123456789".repeat(20);
    let zipped = gzip(body.as_bytes(), 0);
    let plain = Answer::new(200).body(&body);
    let shapes = [
        ("length", plain.clone(), body.len() - 1),
        ("chunked", plain.clone().chunked(), body.len() - 1),
        ("without a last chunk", plain.chunked(), body.len()),
        ("gzip", Answer::new(200).header("Content-Encoding", "gzip").body(&zipped), 40),
    ];
    let mut executed = 0;
    for (shape, answer, last) in shapes {
        for cut in [0, 1, last / 2, last] {
            for how in BREAKS {
                origin.next(answer.clone().cut_after(cut, how));
                let key = format!("k{executed}");
                let request = client(&proxy).post("/report").key(key).body("10");
                let broken = request.clone().send().await;
                executed += 1;
                assert_held(&broken, request).await;
                assert_eq!(origin.hits(), executed, "{shape}, {cut} bytes, {how:?}");
            }
        }
    }
}

/// U4: an answer that is passed on is broken for its caller where it broke for the proxy.
async fn a_passed_answer_that_breaks_off_is_seen_to() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let body = "0123456789".repeat(20);
    let plain = Answer::new(200).body(&body);
    for answer in [plain.clone(), plain.clone().chunked()] {
        for cut in [1, 100, 199] {
            for how in BREAKS {
                let gate = Gate::shut();
                let answer = answer.clone().body_after(&gate, "rest").cut_after(cut, how);
                gate.open();
                origin.next(answer);
                let reply = client(&proxy).get("/report").try_send().await;
                assert!(is_broken(reply.ok().as_ref()), "{cut} bytes, {how:?}");
            }
        }
    }
    origin.next(plain.chunked().cut_after(200, How::Close));
    let reply = client(&proxy).get("/report").try_send().await;
    assert!(is_broken(reply.as_ref().ok()), "without a last chunk: {reply:?}");
}

/// Whether a caller can tell that this is not a whole answer.
fn is_broken(reply: Option<&Reply>) -> bool {
    reply.is_none_or(|reply| reply.is_cut() || reply.status == 502)
}

/// U4: the same for a guarded answer that is too large to be kept and so is streamed.
async fn a_streamed_answer_that_breaks_off_is_seen_to_and_not_replayed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "1KiB").start().await;
    let body = "0123456789".repeat(20_000);
    let plain = Answer::new(200).body(&body);
    let mut executed = 0;
    for answer in [plain.clone(), plain.chunked()] {
        for cut in [5_000, 199_999] {
            for how in BREAKS {
                origin.next(answer.clone().cut_after(cut, how));
                let key = format!("k{executed}");
                let request = client(&proxy).post("/report").key(key).body("10");
                let reply = request.clone().try_send().await;
                executed += 1;
                assert!(is_broken(reply.as_ref().ok()), "{cut} bytes, {how:?}: {reply:?}");
                let repeat = request.send().await;
                assert_eq!((repeat.status, origin.hits()), (409, executed), "{repeat:?}");
            }
        }
    }
}

/// U5: an answer that ends with its connection is never kept, wherever it ends; and one that is
/// reset is seen to be broken.
async fn a_close_delimited_answer_is_never_kept_wherever_it_ends() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let body = "0123456789";
    let mut executed = 0;
    for answer in [Answer::new(200).body(body), Answer::new(200).body(body).http10()] {
        for cut in 1..=body.len() {
            let key = format!("k{executed}");
            let request = client(&proxy).post("/report").key(key).body("10");
            origin.next(answer.clone().until_close().cut_after(cut, How::Close));
            let first = request.clone().send().await;
            executed += 1;
            assert_executed(&first);
            assert_eq!(first.text(), body[..cut]);
            assert_not_replayed(request).await;
            assert_eq!(origin.hits(), executed);
        }
    }
    for number in 0..5 {
        let key = format!("reset{number}");
        let request = client(&proxy).post("/report").key(key).body("10");
        origin.next(Answer::new(200).body(body).until_close().cut_after(5, How::Reset));
        let first = request.clone().try_send().await;
        assert!(is_broken(first.as_ref().ok()), "{first:?}");
        assert_eq!(request.send().await.status, 409);
    }
}

/// U5: an answer in a coding without chunks ends with its connection, too, and may be cut.
async fn an_answer_in_another_coding_is_never_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, coding) in ["gzip", "identity", "chunked, gzip"].into_iter().enumerate() {
        let raw = format!("HTTP/1.1 200 A\r\nTransfer-Encoding: {coding}\r\n\r\ntruncat");
        origin.next(Answer::raw(raw).then(How::Close));
        let request = client(&proxy).post("/report").key(format!("k{number}")).body("10");
        let first = request.clone().send().await;
        assert!(matches!(first.status, 200 | 502), "{coding}: {first:?}");
        assert_eq!(request.send().await.status, 409, "{coding}: a cut answer was kept");
        assert_eq!(origin.hits(), number + 1);
    }
}

/// U13: what follows an answer belongs to nobody: it is never given to another request.
async fn an_answer_too_many_is_given_to_nobody() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let own = |key: &str| client(&proxy).post("/charges").caller(key).key(key).body("10");
    let second = "HTTP/1.1 200 Fine\r\nContent-Length: 7\r\n\r\nanother";
    let leftovers = [second, "extra bytes", "\r\n", "HTTP/1.1 200 Fine\r\n", "0\r\n\r\n", "\0"];
    for (number, leftover) in leftovers.into_iter().enumerate() {
        for chunked in [false, true] {
            let answer = Answer::new(200).body("mine").followed_by(leftover);
            origin.next(if chunked { answer.chunked() } else { answer });
            let key = format!("k{number}{chunked}");
            let first = own(&key).send().await;
            assert_eq!((first.status, first.text().as_str()), (200, "mine"), "{leftover:?}");
            for other in ["a", "b"] {
                let reply = own(&format!("{other}{key}")).send().await;
                assert_eq!(reply.json()["caller"], format!("Bearer {other}{key}"), "{leftover:?}");
            }
            assert_replay(&first, &own(&key).send().await);
        }
    }
    let passed = Answer::new(200).body("mine").followed_by(second);
    origin.next(passed.clone()).next(passed);
    for _ in 0..2 {
        assert_eq!(client(&proxy).get("/charges").send().await.text(), "mine");
    }
    assert_eq!(client(&proxy).get("/charges").send().await.status, 201);
}

/// U13: an answer that nobody has asked for is not waiting for the next request.
async fn an_answer_before_its_request_is_given_to_nobody() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let mut first = client(&proxy).post("/charges").key("k1").body("10").open().await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    exchange.write("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\none").await;
    assert_eq!(first.read().await.text(), "one");
    exchange.write("HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\nstray").await;
    let (rest, _) = exchange.rest().await;
    assert!(rest.is_empty(), "the connection is given up: {}", rest.escape_ascii());
    let mut second = client(&proxy).post("/charges").key("k2").body("10").open().await;
    let mut other = peer.accept().await;
    let (head, _) = other.request().await;
    assert_eq!(head.first("idempotency-key"), Some("k2"));
    other.write("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\ntwo").await;
    assert_eq!(second.read().await.text(), "two");
}

/// U14: what is not HTTP, or says two things about its length, is no answer.
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn malformed_answers_are_refused_and_hold_their_keys() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let many = "X-A: 1\r\n".repeat(500);
    let large = format!("X-Large: {}\r\n", "x".repeat(100_000));
    let malformed: Vec<(&str, String)> = [
        ("two lengths", "HTTP/1.1 200 A\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        ("a list of lengths", "HTTP/1.1 200 A\r\nContent-Length: 2, 3\r\n\r\nabc"),
        ("a signed length", "HTTP/1.1 200 A\r\nContent-Length: +2\r\n\r\nab"),
        ("a negative length", "HTTP/1.1 200 A\r\nContent-Length: -2\r\n\r\nab"),
        ("a length in hex", "HTTP/1.1 200 A\r\nContent-Length: 0x2\r\n\r\nab"),
        ("no number", "HTTP/1.1 200 A\r\nContent-Length: two\r\n\r\nab"),
        ("a huge length", "HTTP/1.1 200 A\r\nContent-Length: 99999999999999999999\r\n\r\nab"),
        (
            "a bad chunk",
            "HTTP/1.1 200 A\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab\r\n0\r\n\r\n",
        ),
        (
            "a signed chunk",
            "HTTP/1.1 200 A\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n",
        ),
        (
            "a chunk that overflows",
            "HTTP/1.1 200 A\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n",
        ),
        (
            "a chunk longer than it says",
            "HTTP/1.1 200 A\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        ),
        ("garbage", "\x01\x02\x03 this is no HTTP\r\n\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        ("another version", "HTTP/3.0 200 Fine\r\nContent-Length: 2\r\n\r\nab"),
        ("no status", "HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"),
        ("a status of four digits", "HTTP/1.1 2000 A\r\nContent-Length: 2\r\n\r\nab"),
        ("a status of letters", "HTTP/1.1 abc A\r\nContent-Length: 2\r\n\r\nab"),
        ("no colon", "HTTP/1.1 200 A\r\nContent-Length 2\r\n\r\nab"),
        ("a space in a name", "HTTP/1.1 200 A\r\nContent Length: 2\r\n\r\nab"),
        ("a folded line", "HTTP/1.1 200 A\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nab"),
        ("a control character", "HTTP/1.1 200 A\r\nX-A: \x01\r\nContent-Length: 2\r\n\r\nab"),
    ]
    .map(|(what, raw)| (what, raw.to_owned()))
    .into_iter()
    .chain([
        ("too many lines", format!("HTTP/1.1 200 A\r\n{many}Content-Length: 2\r\n\r\nab")),
        ("a large line", format!("HTTP/1.1 200 A\r\n{large}Content-Length: 2\r\n\r\nab")),
    ])
    .collect();
    for (number, (what, raw)) in malformed.iter().enumerate() {
        origin.next(Answer::raw(raw).then(How::Close));
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let broken = request.clone().send().await;
        assert_eq!(broken.status, 502, "{what}: {broken:?}");
        assert_held(&broken, request).await;
        assert_eq!(origin.hits(), number + 1, "{what}");
    }
    for (what, raw) in &malformed {
        origin.next(Answer::raw(raw).then(How::Close));
        let reply = client(&proxy).get("/charges").try_send().await;
        assert!(is_broken(reply.as_ref().ok()), "{what}: {reply:?}");
    }
}

/// U14: a coding that is not undone is another body, so that it is no answer.
async fn an_answer_in_several_codings_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let codings =
        ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "chunked, chunked", ", gzip"];
    for (number, coding) in codings.into_iter().enumerate() {
        let raw =
            format!("HTTP/1.1 200 A\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nab\r\n0\r\n\r\n");
        let answer = Answer::raw(raw).then(How::Close);
        origin.next(answer.clone()).next(answer);
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let guarded = request.clone().send().await;
        assert_eq!(guarded.status, 502, "{coding}: {guarded:?}");
        assert_held(&guarded, request).await;
        assert_problem(&client(&proxy).get("/charges").send().await, 502, "upstream-broken");
        let next = client(&proxy).post("/charges").key(format!("next{number}")).send().await;
        assert_eq!(next.status, 201, "after {coding}: {next:?}");
    }
}

/// U14: an answer that is framed twice is framed once for its callers, or refused; whatever it
/// was, the next answer is the next one's.
async fn an_answer_that_is_framed_twice_is_reframed_or_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let chunks = "2\r\nab\r\n0\r\n\r\n";
    let twice = [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", chunks),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", chunks),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2", chunks),
        ("Content-Length: 2\r\nContent-Length: 2", "ab"),
    ];
    for (number, (fields, body)) in twice.into_iter().enumerate() {
        let raw = Answer::raw(format!("HTTP/1.1 200 A\r\n{fields}\r\n\r\n{body}"));
        origin.next(raw.clone()).next(raw);
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let mut caller = client(&proxy).connect().await;
        let guarded = request.clone().send_on(&mut caller).await;
        if guarded.status == 200 {
            assert_replay(&guarded, &request.send_on(&mut caller).await);
        } else {
            assert_held(&guarded, request).await;
        }
        let passed = client(&proxy).get("/charges").send_on(&mut caller).await;
        for reply in [guarded, passed] {
            assert!(reply.status == 502 || reply.text() == "ab", "{fields}: {reply:?}");
            assert_eq!(reply.ending, Ending::Complete, "{fields}: {reply:?}");
            let codings = reply.headers("transfer-encoding").len();
            let framings = reply.headers("content-length").len() + codings;
            match Way::now().incoming {
                Incoming::Http1 => assert_eq!(framings, 1, "{fields}: {reply:?}"),
                Incoming::Http2 | Incoming::Http2Tls => {
                    assert!(codings == 0 && framings <= 1, "{fields}: {reply:?}");
                }
            }
        }
        let next = client(&proxy).post("/charges").key(format!("next{number}"));
        assert_eq!(next.send_on(&mut caller).await.status, 201, "after {fields}");
    }
}

async fn write_much(mut exchange: Exchange, pieces: usize) -> Exchange {
    for _ in 0..pieces {
        exchange.write("x".repeat(1 << 20)).await;
    }
    exchange
}

/// U17: a caller that leaves in the middle of a streamed answer is not noticed by the upstream,
/// whose work may go on while it writes.
async fn a_streamed_answer_is_read_to_its_end_when_its_caller_has_left() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let head = format!("HTTP/1.1 200 Fine\r\nContent-Length: {}\r\n\r\n", 33 << 20);
    for (number, how) in BREAKS.into_iter().enumerate() {
        let request = client(&proxy).post("/report").key(format!("k{number}")).body("10");
        let mut caller = request.clone().open().await;
        let mut exchange = peer.accept().await;
        exchange.request().await;
        exchange.write(&head).await;
        let exchange = write_much(exchange, 1).await;
        caller.sees(b"xxxx").await;
        caller.leave(how);
        let mut exchange = write_much(exchange, 32).await;
        assert_not_replayed(request).await;
        // it was read whole, so that it can be used for another request
        let mut next = client(&proxy).get("/next").open().await;
        let (head, _) = exchange.request().await;
        assert!(head.start.starts_with("GET /next "), "{head:?}");
        exchange.write("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(next.read().await.text(), "ok");
        exchange.close(How::Close);
        none_connected_to(peer.addr).await;
    }
}

/// U17: what is not guarded is streamed both ways: events come as they are sent, and the upstream
/// learns that nobody listens any more, at the latest when it has something to say.
async fn an_unguarded_stream_comes_as_it_is_sent_and_ends_with_its_caller() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let event = |number: usize| format!("data: {number}\n\n");
    for (number, how) in BREAKS.into_iter().enumerate() {
        let gates = [(); 4].map(|()| Gate::shut());
        let events = Answer::new(200).header("Content-Type", "text/event-stream").chunked();
        let events = gates
            .iter()
            .enumerate()
            .fold(events, |events, (number, gate)| events.body_after(gate, event(number)));
        origin.next(events.endless(event(4)));
        let mut caller = client(&proxy).get("/events").open().await;
        for (number, gate) in gates[..3].iter().enumerate() {
            gate.open();
            caller.sees(event(number).as_bytes()).await;
        }
        caller.leave(how);
        gates[3].open();
        origin.wait_for_broken_off(number + 1).await;
    }
}
