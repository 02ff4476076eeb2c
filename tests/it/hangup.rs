//! Callers that hang up, crawl or stall: the work goes on without them, and they may come back.
//!
//! Half-closed connections and heads that never end are for HTTP/1.1 callers alone: HTTP/2 has an
//! end of each stream, and frames for heads.

use std::time::Duration;

use crate::support::{
    Act, Answer, Client, Gate, How, Incoming, Origin, Proxy, Request, Way, assert_executed,
    assert_marked, assert_problem, assert_replay, client, eventually, every_way, every_way_in,
    every_way_out, within,
};

every_way! {
    a_request_cut_before_its_end_is_not_executed,
    a_caller_that_leaves_after_its_request_may_ask_again,
    work_goes_on_when_its_caller_leaves,
    an_answer_that_nobody_waits_for_is_kept,
    a_caller_that_leaves_inside_the_answer_finds_all_of_it,
    a_caller_that_leaves_a_stream_does_not_free_its_key,
    two_hundred_random_cuts_execute_each_operation_once,
    stalled_readers_are_dropped_and_others_are_served,
    bodies_that_never_end_are_cut_off,
    bodies_that_trickle_are_cut_off,
}

every_way_in! { readers_are_not_charged_for_time_in_which_the_proxy_stood_still }

every_way_out! { a_caller_that_half_closes_gets_its_answer }

const BREAKS: [How; 2] = [How::Close, How::Reset];

/// C2: a request that was cut anywhere before its end reaches nobody and claims nothing.
async fn a_request_cut_before_its_end_is_not_executed() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let body = "0123456789".repeat(100);
    let cuts = [
        ("before any byte", 0),
        ("in the request line", 9),
        ("after the request line", "POST /charges HTTP/1.1\r\n".len()),
        ("in the headers", 60),
        ("right before the end of the head", usize::MAX - 1),
        ("after the head", usize::MAX),
    ];
    let mut operations = 0;
    for framing in [None, Some(7), Some(4096)] {
        for how in BREAKS {
            let request = || {
                let post = client.post("/charges").key(format!("k{operations}"));
                post.body(&body).chunked_if(framing)
            };
            let (head, whole) = (request().head_bytes().len(), request().bytes());
            let in_head = cuts.map(|(what, at)| {
                (
                    what,
                    match at {
                        usize::MAX => head,
                        at if at > whole.len() => head - 1,
                        at => at,
                    },
                )
            });
            let in_body = [
                ("in the first bytes of the body", head + 3),
                ("in the middle of the body", head + (whole.len() - head) / 2),
                ("before the last byte", whole.len() - 1),
            ];
            for (what, at) in in_head.into_iter().chain(in_body) {
                let connection = request().open_cut(at).await;
                proxy.has_read_all().await;
                connection.leave(how);
                assert_eq!(origin.hits(), operations, "cut {what} by {how:?}, {framing:?}");
            }
            let first = request().send().await;
            assert_executed(&first);
            assert_replay(&first, &request().send().await);
            operations += 1;
            assert_eq!((origin.hits(), origin.heads()), (operations, operations));
        }
    }
}

/// C1: a caller that leaves right after its request finds the one answer when it returns.
async fn a_caller_that_leaves_after_its_request_may_ask_again() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (hits, how) in [BREAKS, BREAKS, BREAKS].into_iter().flatten().enumerate() {
        let post = client(&proxy).post("/charges").key(format!("k{hits}"));
        let request = post.body(format!("{hits}"));
        request.clone().open().await.leave(how);
        let retry = request.clone().send().await;
        assert_eq!((retry.status, retry.json()["execution"].as_u64()), (201, Some(1)), "{how:?}");
        assert!(request.send().await.is_repeat());
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// C1: the work does not depend on its caller; the answer is kept for the retry.
async fn work_goes_on_when_its_caller_leaves() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (hits, how) in BREAKS.into_iter().enumerate() {
        for keyed in [true, false] {
            let gate = Gate::shut();
            origin.next(Act::Ledger.after(&gate));
            let post = client(&proxy).post("/charges").body(format!("{hits}{keyed}"));
            let request = if keyed { post.key(format!("k{hits}")) } else { post };
            let before = origin.hits();
            let connection = request.clone().open().await;
            origin.wait_for_hits(before + 1).await;
            connection.leave(how);
            let retry = request.clone().open().await;
            proxy.has_read_all().await;
            retry.leave(how);
            gate.open();
            let retry = request.send().await;
            assert_marked(&retry);
            assert_eq!((retry.status, retry.json()["execution"].as_u64()), (201, Some(1)));
            assert_eq!(origin.hits(), before + 1);
        }
    }
}

/// C1: nobody waits any more when the answer comes, and still it is kept.
async fn an_answer_that_nobody_waits_for_is_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let connection = request.clone().open().await;
    origin.wait_for_hits(1).await;
    connection.reset();
    proxy.has_read_all().await;
    gate.open();
    let retry = request.send().await;
    assert_marked(&retry);
    assert_eq!(origin.hits(), 1);
}

/// C1: an answer that was cut on its way to the caller is whole in the store.
async fn a_caller_that_leaves_inside_the_answer_finds_all_of_it() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "8MiB").start().await;
    let body: String = (0..1_000_000_u32).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    for (hits, how) in BREAKS.into_iter().enumerate() {
        origin.next(Answer::new(200).body(&body));
        let request = client(&proxy).post("/report").key(format!("k{hits}")).body("10");
        let mut connection = client(&proxy).connect_narrow().await;
        request.open_on(&mut connection).await;
        connection.sees(b"abcdefgh").await;
        connection.leave(how);
        let retry = request.send().await;
        assert_marked(&retry);
        assert_eq!(retry.text(), body);
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// U17: a stream has no other reader, so its end is not waited for; its key stays used.
async fn a_caller_that_leaves_a_stream_does_not_free_its_key() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    let events = Answer::new(200).header("Content-Type", "text/event-stream").chunked();
    origin.next(events.body("data: one\n\n").body_after(&gate, "data: two\n\n"));
    let request = client(&proxy).post("/events").key("k1").body("10");
    let mut connection = request.clone().open().await;
    connection.sees(b"data: one\n\n").await;
    connection.reset();
    assert_problem(&request.clone().send().await, 409, "answer-not-kept");
    gate.open();
    assert_problem(&request.send().await, 409, "answer-not-kept");
    assert_eq!(origin.hits(), 1);
}

/// C3: a caller that has said all it will say still gets its answer.
async fn a_caller_that_half_closes_gets_its_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut first = request.clone().open().await;
    first.finish().await;
    origin.wait_for_hits(1).await;
    let mut repeat = request.open().await;
    repeat.finish().await;
    proxy.has_read_all().await;
    gate.open();
    let first = first.read().await;
    assert_replay(&first, &repeat.read().await);
    assert_eq!(origin.hits(), 1);
}

/// A small generator: the same seed gives the same numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("below a usize")
    }
}

/// C1, C2: wherever a caller is cut off, its retry gets the answer of the one execution.
async fn two_hundred_random_cuts_execute_each_operation_once() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let rounds = Way::now().share(200);
    for seed in 1..=rounds as u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let padding = "x".repeat(dice.below(2_000));
        let body = format!(r#"{{"op":"charge-{seed}","padding":"{padding}"}}"#);
        let request = client(&proxy).post("/charges").caller("a").body(&body);
        let request = if dice.below(3) > 0 { request.key(format!("k{seed}")) } else { request };
        let request =
            if dice.below(2) > 0 { request.chunked(1 + dice.below(500)) } else { request };
        let bytes = request.bytes();
        for _ in 0..=dice.below(3) {
            // as often at the very end as anywhere else
            let at = if dice.below(3) > 0 { dice.below(bytes.len()) } else { bytes.len() };
            request.open_cut(at).await.leave(BREAKS[dice.below(2)]);
        }
        let retry = request.clone().send().await;
        assert_eq!(retry.status, 201, "seed {seed}: {retry:?}");
        assert_eq!(retry.json()["op"], format!("charge-{seed}"), "seed {seed}");
        assert_eq!(retry.json()["execution"], 1, "seed {seed}");
        let again = request.send().await;
        assert!(again.is_repeat() && again.body == retry.body, "seed {seed}: {again:?}");
        assert_eq!(origin.executions(&format!("charge-{seed}")), 1, "seed {seed}");
    }
    assert_eq!((origin.hits(), origin.executions_max()), (rounds, 1));
}

/// C5: callers that never read do not keep others from the answer, and are let go in the end.
async fn stalled_readers_are_dropped_and_others_are_served() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "16MiB");
    // long enough for a slow machine to hand over an answer that is read
    let proxy = proxy.arg("--write-timeout", "3s").start().await;
    let body = "x".repeat(8 * 1024 * 1024);
    origin.always(Answer::new(200).body(&body));
    let request = client(&proxy).post("/report").key("k1").body("10");
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut connection = client(&proxy).connect_narrow().await;
        request.open_on(&mut connection).await;
        stalled.push(connection);
    }
    origin.wait_for_hits(1).await;
    let served = request.send().await;
    assert_marked(&served);
    assert_eq!(served.body.len(), body.len());
    for mut connection in stalled {
        // the first write makes the proxy wait, and no reading gives it room
        let (bytes, _) = within("a stalled reader to be dropped", async {
            eventually("the end of a stalled connection", async || connection.has_ended()).await;
            connection.rest().await
        })
        .await;
        assert!(bytes.len() < body.len(), "a stalled reader is cut off");
    }
    assert_eq!(origin.hits(), 1);
}

/// C5: a proxy that was held up does not take its own pause for one of the peer's.
async fn readers_are_not_charged_for_time_in_which_the_proxy_stood_still() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "16MiB").arg("--workers", "1");
    let proxy = proxy.arg("--write-timeout", "3s").start().await;
    let body = "x".repeat(8 * 1024 * 1024);
    origin.next(Answer::new(200).body(&body));
    let mut connection = client(&proxy).connect_narrow().await;
    client(&proxy).post("/report").key("k1").body("10").open_on(&mut connection).await;
    connection.sees(b"xxxx").await;
    for _ in 0..3 {
        // by then its one worker has written as much as there is room for
        probe(&client(&proxy)).await;
    }
    proxy.signal("STOP");
    tokio::time::sleep(Duration::from_secs(5)).await;
    proxy.signal("CONT");
    probe(&client(&proxy)).await;
    assert_eq!(connection.read().await.body.len(), body.len());
}

async fn probe(client: &Client) {
    let reply = client.post("/charges").key("probe").body("10").send().await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// C4: callers that never end their headers are dropped; meanwhile others are served.
#[tokio::test]
async fn headers_that_never_end_are_cut_off() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--header-timeout", "2s").start().await;
    let client = client(&proxy);
    let mut slow = Vec::new();
    let starts = ["", "P", "POST /charges HT", "POST /charges HTTP/1.1\r\nHost: a\r\nX-A:"];
    for number in 0..100 {
        let mut connection = client.connect().await;
        connection.write(starts[number % 4].as_bytes()).await;
        slow.push(connection);
    }
    probe(&client).await;
    for connection in &mut slow {
        // one more byte now and then does not buy more time
        connection.try_write(b"X").await.ok();
    }
    probe(&client).await;
    for mut connection in slow {
        let (bytes, _) = connection.rest().await;
        let said = String::from_utf8_lossy(&bytes);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 40"), "{said}");
    }
    probe(&client).await;
    assert_eq!(origin.hits(), 1);
}

/// C4: a caller that stalls inside its body is told so, and nothing is executed.
async fn bodies_that_never_end_are_cut_off() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--body-timeout", "2s").start().await;
    let mut slow = Vec::new();
    for number in 0..50 {
        let post = client(&proxy).post("/charges").key(format!("k{number}")).body("0123456789");
        let post = if number % 2 == 0 { post } else { post.chunked(4) };
        let mut connection = post.begin().await;
        connection.push("0123456").await;
        slow.push(connection);
    }
    probe(&client(&proxy)).await;
    for mut connection in slow {
        assert_problem(&connection.read().await, 408, "request-timeout");
        if Way::now().incoming == Incoming::Http1 {
            assert_eq!(connection.rest().await.0, b"", "the connection ends");
        }
    }
    assert_eq!(origin.hits(), 1);
    assert_executed(&client(&proxy).post("/charges").key("k0").body("0123456789").send().await);
}

/// C4: a body that only trickles is cut off long before the deadline of a whole body.
async fn bodies_that_trickle_are_cut_off() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--body-timeout", "10m");
    let proxy = proxy.arg("--min-body-rate", "1KiB").start().await;
    let request: Request = client(&proxy).post("/charges").key("k1").body("x".repeat(100_000));
    let mut connection = request.begin().await;
    let told = within("an end of the trickle", async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            connection.push("x").await;
            if connection.has_ended() {
                return connection.try_read().await.ok();
            }
        }
    })
    .await;
    if let Some(told) = told {
        assert_problem(&told, 408, "request-timeout");
    }
    assert_eq!(origin.heads(), 0);
}
