//! The upstream fails in every way: what may have been executed is never executed again.
//!
//! Requests that are cut off at a byte, and what an upstream writes by hand, are for HTTP/1.1
//! upstreams alone.

use crate::support::{
    Act, Answer, Gate, How, Incoming, Origin, Peer, Proxy, Reserved, Way, assert_executed,
    assert_held, assert_marked, assert_problem, assert_replay, assert_unknown, client, eventually,
    every_way, every_way_in, none_connected_to, outstanding, problem_of,
};

every_way! {
    a_refused_connection_leaves_the_key_free,
    a_connection_that_is_reset_when_it_is_made_is_judged_by_what_was_written,
    an_execution_without_an_answer_is_never_repeated,
    an_unguarded_request_is_not_sent_again_by_the_proxy,
    released_answers_are_passed_on_and_leave_the_key_free,
    a_gateway_that_does_not_know_holds_the_key,
    a_late_answer_heals_its_key,
    an_answer_that_stalls_in_its_body_times_out_and_heals,
    an_answer_that_never_comes_leaves_its_key_held,
    an_unguarded_request_times_out,
    a_stale_connection_is_replaced_without_a_second_execution,
    a_connection_that_closes_under_a_request_never_executes_it_twice,
    an_answer_to_a_head_is_the_answer,
    interim_answers_are_never_the_answer,
    the_proxy_outlives_its_upstream,
}

every_way_in! {
    a_request_of_which_a_byte_was_sent_is_never_sent_again,
    an_answer_that_comes_early_is_the_answer,
    an_unasked_upgrade_is_no_answer,
}

const BREAKS: [How; 2] = [How::Close, How::Reset];

/// U1: nothing was sent where nobody listens, so the key is free, however often it was tried.
async fn a_refused_connection_leaves_the_key_free() {
    let reserved = Reserved::new();
    let proxy = Proxy::before_address(reserved.addr).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    for _ in 0..3 {
        let refused = request.clone().send().await;
        assert_problem(&refused, 502, "upstream-unreachable");
        assert_eq!(refused.json()["retryable"], true);
        assert!(refused.has("duplicate-key"), "{refused:?}");
    }
    let passed = client(&proxy).get("/charges").send().await;
    assert_problem(&passed, 502, "upstream-unreachable");
    let origin = reserved.serve().await;
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// U2: a connection that is reset as soon as it is made: either nothing was written and the key
/// is free, or something was and it is held. Nothing is executed in either case.
async fn a_connection_that_is_reset_when_it_is_made_is_judged_by_what_was_written() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let mut executed = 0;
    for number in 0..Way::now().share(40) {
        origin.reset_next_connections(1);
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let broken = request.clone().send().await;
        match problem_of(&broken).as_deref() {
            Some("upstream-unreachable") => {
                assert_problem(&broken, 502, "upstream-unreachable");
                assert_executed(&request.clone().send().await);
                executed += 1;
                // nothing is left to be reused by the next round
                origin.close_idle();
                none_connected_to(origin.addr).await;
            }
            _ => assert_held(&broken, request).await,
        }
        assert_eq!(origin.hits(), executed, "round {number}");
    }
}

/// U2: cut off after its first byte, in its head, after it, in its body and at its end.
async fn a_request_of_which_a_byte_was_sent_is_never_sent_again() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let post = |key: &str| client(&proxy).post("/charges").key(key).body("0123456789");
    let mut sample = post("k00").open().await;
    let mut exchange = peer.accept().await;
    let (head, body) = exchange.request().await;
    let lines = head.lines.iter().map(|line| line.name.len() + 2 + line.value.len() + 2);
    let head = head.start.len() + 2 + lines.sum::<usize>() + 2;
    exchange.write("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(sample.read().await.status, 200);
    exchange.close(How::Close);
    none_connected_to(peer.addr).await;
    let cuts = [1, 4, head - 1, head, head + 1, head + body.len() - 1, head + body.len()];
    for (number, (cut, how)) in
        cuts.into_iter().flat_map(|cut| BREAKS.map(|how| (cut, how))).enumerate()
    {
        let request = post(&format!("k{:02}", number + 1));
        let mut caller = request.clone().open().await;
        let mut exchange = peer.accept().await;
        exchange.take(cut).await;
        exchange.close(how);
        assert_held(&caller.read().await, request).await;
        peer.assert_no_more_connections();
    }
}

/// U3: an upstream that dies after it has executed; its caller and all repeats are told.
async fn an_execution_without_an_answer_is_never_repeated() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, how) in BREAKS.into_iter().enumerate() {
        for keyed in [true, false] {
            let body = format!(r#"{{"op":"charge-{number}-{keyed}"}}"#);
            let key = keyed.then(|| format!("k{number}"));
            let request = client(&proxy).post("/charges").key_if(key.as_deref()).body(&body);
            origin.next(Act::DropAfterExecuting(how));
            let broken = request.clone().send().await;
            assert!(broken.has("duplicate-key"), "{broken:?}");
            for _ in 0..3 {
                assert_held(&broken, request.clone()).await;
            }
            assert_eq!(origin.executions(&format!("charge-{number}-{keyed}")), 1);
        }
    }
    assert_eq!(origin.hits(), 4);
}

/// U2: what is not guarded is not sent twice either; only its caller may do that.
async fn an_unguarded_request_is_not_sent_again_by_the_proxy() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, how) in BREAKS.into_iter().enumerate() {
        origin.next(Act::DropAfterExecuting(how));
        let broken = client(&proxy).get("/charges").send().await;
        assert_problem(&broken, 502, "upstream-broken");
        assert!(!broken.has("duplicate-key"), "{broken:?}");
        assert_eq!(origin.hits(), number + 1);
    }
}

/// U7, U8: what the upstream says it has not done, or has failed at, may be tried again.
async fn released_answers_are_passed_on_and_leave_the_key_free() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let released = [401, 403, 407, 408, 409, 421, 425, 429, 500, 501, 503, 505, 507, 511, 599];
    for (number, status) in released.into_iter().enumerate() {
        let request = client(&proxy).post("/charges").key(format!("k{status}")).body("10");
        let answer = Answer::new(status).header("Retry-After", "7").header("X-Why", "busy");
        origin.next(answer.clone().body("not now")).next(answer.body("nor now"));
        for said in ["not now", "nor now"] {
            let passed = request.clone().send().await;
            assert_executed(&passed);
            assert_eq!((passed.status, passed.text().as_str()), (status, said));
            assert_eq!(passed.header("retry-after"), Some("7"));
            assert_eq!(passed.header("x-why"), Some("busy"));
            assert!(!passed.has("proxy-status"), "it is not the proxy that says so: {passed:?}");
        }
        let executed = request.clone().send().await;
        assert_replay(&executed, &request.send().await);
        assert_eq!(origin.hits(), (number + 1) * 3, "{status}");
    }
}

/// U7: a gateway behind the upstream does not know what became of the request: nor do we.
async fn a_gateway_that_does_not_know_holds_the_key() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, status) in [502, 504].into_iter().enumerate() {
        let request = client(&proxy).post("/charges").key(format!("k{status}")).body("10");
        origin.next(Answer::new(status).header("X-Gateway", "inner").body("no idea"));
        let passed = request.clone().send().await;
        assert_executed(&passed);
        assert_eq!((passed.status, passed.text().as_str()), (status, "no idea"));
        assert_eq!(passed.header("x-gateway"), Some("inner"));
        assert_unknown(None, request.clone()).await;
        assert_unknown(None, request).await;
        assert_eq!(origin.hits(), number + 1);
    }
}

/// U6: all who wait are told of the timeout; the answer that comes late is kept all the same.
async fn a_late_answer_heals_its_key() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-timeout", "1s").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 5).await;
    for caller in &mut callers {
        let told = caller.read().await;
        assert_problem(&told, 504, "upstream-timeout");
        assert_eq!(told.json()["retryable"], false);
        assert!(told.has("duplicate-key"), "{told:?}");
    }
    assert_unknown(None, request.clone()).await;
    gate.open();
    let mut healed = None;
    eventually("the late answer", async || {
        let repeat = request.clone().send().await;
        healed = repeat.is_repeat().then_some(repeat);
        healed.is_some()
    })
    .await;
    let healed = healed.expect("a replay");
    assert_marked(&healed);
    assert_eq!((healed.status, healed.json()["execution"].as_u64()), (201, Some(1)));
    assert_eq!(origin.hits(), 1);
}

/// U6: an answer that has begun is waited for as one that has not.
async fn an_answer_that_stalls_in_its_body_times_out_and_heals() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-timeout", "1s").start().await;
    let gate = Gate::shut();
    origin.next(Answer::new(200).body("begun ").body_after(&gate, "and ended"));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_problem(&request.clone().send().await, 504, "upstream-timeout");
    assert_unknown(None, request.clone()).await;
    gate.open();
    eventually("the late end", async || {
        let repeat = request.clone().send().await;
        repeat.is_repeat() && repeat.text() == "begun and ended"
    })
    .await;
    assert_eq!(origin.hits(), 1);
}

/// U6: an answer that never comes is given up in the end, and its key stays held.
async fn an_answer_that_never_comes_leaves_its_key_held() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-timeout", "500ms");
    let proxy = proxy.arg("--upstream-linger", "500ms").start().await;
    origin.next(Act::Ledger.after(&Gate::shut()));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_problem(&request.clone().send().await, 504, "upstream-timeout");
    origin.wait_for_broken_off(1).await;
    assert_unknown(None, request).await;
    assert_eq!(origin.heads(), 1);
}

/// U6: what is not guarded times out, too, and nobody listens for its late answer.
async fn an_unguarded_request_times_out() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-timeout", "500ms").start().await;
    origin.next(Act::Ledger.after(&Gate::shut()));
    assert_problem(&client(&proxy).get("/charges").send().await, 504, "upstream-timeout");
    origin.wait_for_broken_off(1).await;
    assert_eq!(origin.heads(), 1);
}

/// U12: a pooled connection that is known to be closed is replaced before anything is sent.
async fn a_stale_connection_is_replaced_without_a_second_execution() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    for number in 0..Way::now().share(30) {
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body("10");
        let reply = request.send().await;
        assert_executed(&reply);
        assert_eq!((reply.status, origin.hits()), (201, number + 1), "{reply:?}");
        assert_eq!(origin.connections(), number + 1, "none could be reused");
        origin.close_idle();
        none_connected_to(origin.addr).await;
    }
}

/// U12: an upstream that closes while the next request is on its way: once, or not known.
async fn a_connection_that_closes_under_a_request_never_executes_it_twice() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let mut caller = client(&proxy).connect().await;
    for number in 0..Way::now().share(200) {
        let before = origin.hits();
        origin.close_idle();
        let op = format!("charge-{number}");
        let body = format!(r#"{{"op":"{op}"}}"#);
        let request = client(&proxy).post("/charges").key(format!("k{number}")).body(body);
        let reply = request.clone().send_on(&mut caller).await;
        if reply.status == 201 {
            assert!(request.send_on(&mut caller).await.is_repeat());
            assert_eq!((origin.hits(), origin.executions(&op)), (before + 1, 1));
        } else {
            assert_held(&reply, request).await;
            assert!(origin.executions(&op) <= 1);
        }
    }
    assert_eq!(origin.executions_max(), 1);
}

/// U9: an answer that comes before the request is read counts, and its connection is not
/// trusted with another request before it is done with this one.
async fn an_answer_that_comes_early_is_the_answer() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--workers", "1").start().await;
    let large = "x".repeat(6 << 20);
    let request = client(&proxy).post("/upload").key("k1").body(&large);
    let mut caller = request.clone().open().await;
    let mut early = peer.accept().await;
    early.head().await;
    early.write("HTTP/1.1 413 Too Much\r\nContent-Length: 6\r\n\r\nenough").await;
    let reply = caller.read().await;
    assert_executed(&reply);
    assert_eq!((reply.status, reply.text().as_str()), (413, "enough"));
    let mut second = client(&proxy).post("/charges").key("k2").body("10").open().await;
    let mut other = peer.accept().await;
    let (head, _) = other.request().await;
    assert_eq!(head.first("idempotency-key"), Some("k2"));
    other.write("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\ntwo").await;
    assert_eq!(second.read().await.text(), "two");
    assert_replay(&reply, &request.send().await);
}

/// U9: the same of an upstream that reads nothing of a body.
async fn an_answer_to_a_head_is_the_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let large = "x".repeat(6 << 20);
    let request = |key: &str| client(&proxy).post("/upload").key(key).body(&large);
    for key in ["k1", "k2"] {
        origin.next(Act::Early(Answer::new(413).body("enough")));
        let reply = request(key).send().await;
        assert_executed(&reply);
        assert_eq!((reply.status, reply.text().as_str()), (413, "enough"));
        assert_executed(&client(&proxy).post("/charges").key(key).body("10").send().await);
        assert_replay(&reply, &request(key).send().await);
    }
    assert_eq!((origin.heads(), origin.hits()), (4, 2));
}

/// U10: answers on the way to the answer are passed on or dropped, and never kept; who speaks
/// HTTP/1.0 knows of none.
async fn interim_answers_are_never_the_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let answer = Answer::new(200).hint(100, "X-Go", "on").hint(103, "Link", "</a>");
    let answer = answer.hint(103, "Link", "</b>").hint(102, "X-Wait", "1");
    origin.always(answer.body("done"));
    let post = |key: &str| client(&proxy).post("/charges").key(key).body("10");
    let first = post("k1").send().await;
    let repeat = post("k1").send().await;
    assert_replay(&first, &repeat);
    let passed = client(&proxy).get("/charges").send().await;
    let mut without = vec![repeat];
    if Way::now().incoming == Incoming::Http1 {
        without.push(post("k2").version10().send().await);
        without.push(client(&proxy).get("/charges").version10().send().await);
    }
    for reply in without.iter().chain([&first, &passed]) {
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"), "{reply:?}");
        assert!(!reply.has("link") && !reply.has("x-wait"), "{reply:?}");
    }
    for reply in &without {
        assert!(reply.interim.is_empty(), "{:?}", reply.interim);
    }
    assert_eq!(origin.hits(), without.len() + 1);
}

/// U10: an upstream that switches protocols although nobody has asked is broken.
async fn an_unasked_upgrade_is_no_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    origin.next(Answer::raw(switch)).next(Answer::raw(switch));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    assert_held(&request.clone().send().await, request).await;
    assert_eq!(origin.hits(), 1);
    let passed = client(&proxy).get("/charges").send().await;
    assert_problem(&passed, 502, "upstream-broken");
    let next = client(&proxy).get("/charges").send().await;
    assert_eq!((next.status, next.json()["serial"].as_u64()), (201, Some(3)));
}

/// P11: an upstream that comes up after the proxy, goes and comes back is served when it is there.
async fn the_proxy_outlives_its_upstream() {
    let mut origin = Origin::start().await;
    let addr = origin.addr;
    let proxy = Proxy::before(&origin).start().await;
    for round in 0..3 {
        let request = client(&proxy).post("/charges").key(format!("k{round}")).body("10");
        assert_executed(&request.clone().send().await);
        origin.stop().await;
        origin.close_idle();
        none_connected_to(addr).await;
        let other = client(&proxy).post("/charges").key(format!("other-{round}")).body("10");
        assert_problem(&other.clone().send().await, 502, "upstream-unreachable");
        assert!(request.send().await.is_repeat(), "replays need no upstream");
        origin = Origin::at(addr).await;
        assert_executed(&other.send().await);
        assert_eq!(origin.hits(), 1);
    }
}
