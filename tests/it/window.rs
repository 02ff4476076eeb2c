//! How long an answer is kept, how many are, and which are not kept at all.
//!
//! Answers that end with their connection, and HTTP/1.0, are for HTTP/1.1 upstreams alone.

use std::time::{Duration, Instant};

use crate::support::{
    Act, Answer, Ending, Gate, How, Origin, Proxy, Reply, assert_executed, assert_marked,
    assert_problem, assert_replay, assert_same_answer, client, eventually, every_way, every_way_in,
};

every_way! {
    a_repeat_after_the_window_is_executed_again,
    a_window_is_not_prolonged_by_repeats,
    held_keys_are_free_after_the_window,
    a_full_store_that_evicts_keeps_the_newest,
    a_full_store_that_refuses_breaks_no_promise,
    an_answer_larger_than_the_store_is_not_kept,
    an_answer_beyond_the_limit_is_streamed_and_not_kept,
    an_answer_at_the_limit_is_kept_and_one_byte_more_is_not,
    an_event_stream_is_passed_on_event_by_event,
}

every_way_in! {
    a_close_delimited_answer_is_passed_on_and_not_kept,
    an_http_1_0_answer_with_a_length_is_kept,
}

/// S13: a key is free again when its window has passed, and not before.
async fn a_repeat_after_the_window_is_executed_again() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--window", "3s").start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let before = Instant::now();
    let first = request.clone().send().await;
    assert_executed(&first);
    eventually("the end of the window", async || {
        let reply = request.clone().send().await;
        if !reply.is_repeat() {
            // a lower bound: however slow the machine is, this can only be larger
            assert!(before.elapsed() >= Duration::from_secs(3), "too early: {reply:?}");
            return true;
        }
        assert_replay(&first, &reply);
        let age = reply.header("age").and_then(|age| age.parse::<u64>().ok());
        assert!(age <= Some(3), "older than the window: {reply:?}");
        false
    })
    .await;
    assert_eq!(origin.hits(), 2);
    assert_marked(&request.send().await);
}

/// S13: repeats do not prolong the window, which counts from the first request.
async fn a_window_is_not_prolonged_by_repeats() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--window", "1s").start().await;
    let request = client(&proxy).post("/charges").body("10");
    for executions in 1..=3 {
        eventually("the next execution", async || {
            request.clone().send().await;
            origin.hits() >= executions
        })
        .await;
    }
    assert_eq!(origin.hits(), 3);
}

/// S13: a key that is held without an answer is free again after the window, too.
async fn held_keys_are_free_after_the_window() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--window", "1s").start().await;
    let unknown = Act::DropAfterExecuting(How::Close);
    let events = Answer::new(200).header("Content-Type", "text/event-stream");
    let unkept = Act::Answer(events.body("data: one\n\n"));
    for (act, held) in [(unknown, "outcome-unknown"), (unkept, "answer-not-kept")] {
        let before = (Instant::now(), origin.hits());
        origin.next(act);
        let request = client(&proxy).post("/charges").key(held).body("10");
        request.clone().send().await;
        eventually("the end of the window", async || {
            let reply = request.clone().send().await;
            if reply.status == 201 {
                // a lower bound, as above
                assert!(before.0.elapsed() >= Duration::from_secs(1), "too early: {reply:?}");
                return true;
            }
            assert_problem(&reply, 409, held);
            assert_eq!(origin.hits(), before.1 + 1);
            false
        })
        .await;
        assert_eq!(origin.hits(), before.1 + 2);
    }
}

/// S1: a store that is full forgets its oldest answers, never its newest.
async fn a_full_store_that_evicts_keeps_the_newest() {
    let origin = Origin::start().await;
    let small = ["--store-max-bytes", "64KiB", "--when-full", "evict", "--max-response", "4KiB"];
    let proxy = Proxy::before(&origin).arg(small[0], small[1]).arg(small[2], small[3]);
    let proxy = proxy.arg(small[4], small[5]).start().await;
    origin.respond(|received| Answer::ledger(received).body(" ".repeat(1024)).into());
    let charge = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    for key in 0..300 {
        let first = charge(key).send().await;
        assert_executed(&first);
        assert_replay(&first, &charge(key).send().await);
    }
    assert_eq!(origin.hits(), 300);
    let mut oldest = 0..150;
    eventually("the oldest answers are forgotten", async || {
        // each is asked for once, since asking makes it one of the newest
        let key = oldest.next().expect("half of the answers are still there");
        !charge(key).send().await.is_repeat()
    })
    .await;
    assert!(charge(299).send().await.is_repeat(), "the newest is still there");
}

/// S1: a store that refuses when it is full keeps every promise that it made.
async fn a_full_store_that_refuses_breaks_no_promise() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--store-max-bytes", "1MiB");
    let proxy = proxy.arg("--when-full", "refuse").arg("--max-response", "32KiB").start().await;
    origin.respond(|received| Answer::ledger(received).body(" ".repeat(16 * 1024)).into());
    let charge = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    let mut kept: Vec<Reply> = Vec::new();
    let refused = loop {
        let reply = charge(kept.len()).send().await;
        if reply.status != 201 {
            break reply;
        }
        assert_executed(&reply);
        kept.push(reply);
        assert!(kept.len() < 300, "1 MiB cannot hold 300 answers of 16 KiB");
    };
    assert_problem(&refused, 503, "store-full");
    assert!(!kept.is_empty(), "some answers found room");
    assert_eq!(origin.hits(), kept.len(), "a refused request is not executed");
    for (key, first) in kept.iter().enumerate() {
        assert_replay(first, &charge(key).send().await);
    }
    let unguarded = client(&proxy).get("/charges").send().await;
    assert_eq!(unguarded.status, 201, "what needs no store is served");
}

/// A store too small for one answer sends it on and says so to repeats.
async fn an_answer_larger_than_the_store_is_not_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--store-max-bytes", "16KiB").start().await;
    let body = "x".repeat(100 * 1024);
    origin.next(Answer::new(200).body(&body));
    let request = client(&proxy).post("/report").key("k1").body("10");
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_eq!(first.text(), body);
    assert_problem(&request.send().await, 409, "answer-not-kept");
    assert_eq!(origin.hits(), 1);
}

/// U17: an answer beyond the limit reaches the first caller as it comes, and is not kept.
async fn an_answer_beyond_the_limit_is_streamed_and_not_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "1KiB").start().await;
    let (start, end) = ("a".repeat(20_000), "b".repeat(20_000));
    for (hits, chunked) in [false, true].into_iter().enumerate() {
        let gate = Gate::shut();
        let answer = Answer::new(200).header("X-A", "1").body(&start).body_after(&gate, &end);
        origin.next(if chunked { answer.chunked() } else { answer });
        let request = client(&proxy).post("/report").key(format!("k{hits}")).body("10");
        let mut connection = request.clone().open().await;
        connection.sees(b"aaaa").await;
        let during = request.clone().send().await;
        assert_problem(&during, 409, "answer-not-kept");
        assert!(during.has("duplicate-key"), "{during:?}");
        gate.open();
        let first = connection.read().await;
        assert_executed(&first);
        assert_eq!(first.text(), format!("{start}{end}"));
        assert_eq!((first.ending, first.header("x-a")), (Ending::Complete, Some("1")));
        assert_problem(&request.send().await, 409, "answer-not-kept");
        assert_eq!(origin.hits(), hits + 1);
    }
}

async fn an_answer_at_the_limit_is_kept_and_one_byte_more_is_not() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "1KiB").start().await;
    for chunked in [false, true] {
        for (length, kept) in [(1023, true), (1024, true), (1025, false)] {
            let answer = Answer::new(200).body("x".repeat(length));
            origin.next(if chunked { answer.chunked() } else { answer });
            let key = format!("k{length}{chunked}");
            let request = client(&proxy).post("/report").key(key).body("10");
            let first = request.clone().send().await;
            assert_executed(&first);
            assert_eq!(first.body.len(), length);
            let repeat = request.send().await;
            if kept {
                assert_replay(&first, &repeat);
            } else {
                assert_problem(&repeat, 409, "answer-not-kept");
            }
        }
    }
    assert_eq!(origin.hits(), 6);
}

/// U17: events reach the caller one by one; a stream is not replayed.
async fn an_event_stream_is_passed_on_event_by_event() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    let answer = Answer::new(200).header("Content-Type", "text/event-stream").chunked();
    origin.next(answer.body("data: one\n\n").body_after(&gate, "data: two\n\n"));
    let request = client(&proxy).post("/events").key("k1").body("10");
    let mut connection = request.clone().open().await;
    connection.sees(b"data: one\n\n").await;
    assert_problem(&request.clone().send().await, 409, "answer-not-kept");
    gate.open();
    let first = connection.read().await;
    assert_executed(&first);
    assert_eq!(first.text(), "data: one\n\ndata: two\n\n");
    assert_problem(&request.send().await, 409, "answer-not-kept");
    assert_eq!(origin.hits(), 1);
}

/// U5: an answer that ends with its connection may have been cut, so it is not kept.
async fn a_close_delimited_answer_is_passed_on_and_not_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let plain = Answer::new(200).body("as much as there is");
    for (hits, answer) in
        [plain.clone().until_close(), plain.clone().until_close().http10()].into_iter().enumerate()
    {
        origin.next(answer);
        let request = client(&proxy).post("/report").key(format!("k{hits}")).body("10");
        let first = request.clone().send().await;
        assert_eq!((first.status, first.text().as_str()), (200, "as much as there is"));
        assert_executed(&first);
        assert_ne!(first.ending, Ending::Cut);
        let repeat = request.send().await;
        assert_problem(&repeat, 409, "answer-not-kept");
        assert!(repeat.has("duplicate-key"), "{repeat:?}");
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// U5: what an HTTP/1.0 upstream frames by its length is whole, and kept.
async fn an_http_1_0_answer_with_a_length_is_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.next(Answer::new(200).http10().body("whole"));
    let request = client(&proxy).post("/report").key("k1").body("10");
    let first = request.clone().send().await;
    let repeat = request.send().await;
    assert_same_answer(&first, &repeat);
    assert_replay(&first, &repeat);
    assert_eq!(origin.hits(), 1);
}
