//! Limits on what runs and waits: beyond them callers are told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::support::{
    Act, Gate, Origin, Proxy, Reply, Request, assert_executed, assert_marked, assert_problem,
    assert_replay, client, eventually, every_way, outstanding, problem_of, read_all,
};

every_way! {
    waiters_of_one_key_are_capped,
    waiters_of_all_keys_are_capped,
    running_operations_are_capped,
    a_keyed_body_beyond_the_limit_is_refused,
    an_unkeyed_body_beyond_the_limit_passes_unprotected,
    work_that_lingers_counts_as_running,
}

/// Sends one of these on a connection each, counts those that are refused as busy, and opens
/// the gate when enough are.
async fn refuse_some(requests: Vec<Request>, busy_min: usize, gate: &Gate) -> Vec<Reply> {
    let busy = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for request in requests {
        let busy = Arc::clone(&busy);
        callers.spawn(async move {
            let reply = request.send().await;
            if problem_of(&reply).as_deref() == Some("busy") {
                assert_problem(&reply, 503, "busy");
                busy.fetch_add(1, Ordering::SeqCst);
            }
            reply
        });
    }
    let what = format!("{busy_min} refusals");
    eventually(&what, async || busy.load(Ordering::SeqCst) >= busy_min).await;
    gate.open();
    callers.join_all().await
}

/// K9: one key has so many waiters, and those beyond are refused at once.
async fn waiters_of_one_key_are_capped() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-waiters-per-key", "10").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut leader = request.clone().open().await;
    origin.wait_for_hits(1).await;
    let replies = refuse_some(vec![request.clone(); 40], 30, &gate).await;
    let served = replies.iter().filter(|reply| reply.status == 201).count();
    // the first caller may be counted as the one that waits first
    assert!((9..=10).contains(&served), "{served} of 40 were let in");
    let first = leader.read().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// K9: all keys together have so many waiters, and other keys still start.
async fn waiters_of_all_keys_are_capped() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-waiters", "10").start().await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let keyed = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    let mut leaders = Vec::new();
    for key in 0..4 {
        leaders.push(keyed(key).open().await);
        origin.wait_for_hits(key + 1).await;
    }
    let replies = refuse_some((0..40).map(|caller| keyed(caller % 4)).collect(), 30, &gate).await;
    let served = replies.iter().filter(|reply| reply.status == 201).count();
    assert!((6..=10).contains(&served), "{served} of 40 were let in");
    for reply in read_all(&mut leaders).await {
        assert_executed(&reply);
    }
    assert_eq!(origin.hits(), 4);
}

/// A15: so many operations run at once; one more is refused, and never sent.
async fn running_operations_are_capped() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-flights", "5").start().await;
    let gate = Gate::shut();
    let script_gate = gate.clone();
    origin.respond(move |received| match received.method.as_str() {
        "POST" => Act::Ledger.after(&script_gate),
        _ => Act::Ledger,
    });
    let keyed = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    let mut leaders = Vec::new();
    for key in 0..5 {
        leaders.push(keyed(key).open().await);
        origin.wait_for_hits(key + 1).await;
    }
    let refused = keyed(5).send().await;
    assert_problem(&refused, 503, "busy");
    assert_eq!(client(&proxy).get("/charges").send().await.status, 201, "what is unguarded passes");
    let mut followers = outstanding(&proxy, &keyed(0), 3).await;
    gate.open();
    for reply in read_all(&mut leaders).await {
        assert_executed(&reply);
    }
    for reply in read_all(&mut followers).await {
        assert_marked(&reply);
    }
    assert_executed(&keyed(5).send().await);
    assert_eq!(origin.requests().iter().filter(|seen| seen.method == "POST").count(), 6);
}

/// C7: a caller that asked for protection is told where it cannot be given.
async fn a_keyed_body_beyond_the_limit_is_refused() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "1KiB").start().await;
    let post = |length: usize| {
        client(&proxy).post("/charges").key(format!("k{length}")).body("x".repeat(length))
    };
    for framing in [None, Some(100)] {
        for length in [1025, 5_000] {
            let refused = post(length).chunked_if(framing).send().await;
            assert_problem(&refused, 413, "too-large");
        }
    }
    assert_eq!(origin.heads(), 0);
    let fits = post(1024).send().await;
    assert_replay(&fits, &post(1024).chunked(100).send().await);
    assert_eq!(origin.hits(), 1);
}

/// C7: without a key of its own a large request passes, and says that it is unprotected.
async fn an_unkeyed_body_beyond_the_limit_passes_unprotected() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "1KiB").start().await;
    let body = "0123456789".repeat(20_000);
    for (hits, framing) in [None, None, Some(1000), Some(70_000)].into_iter().enumerate() {
        let post = client(&proxy).post("/import").body(&body).chunked_if(framing);
        let passed = post.send().await;
        assert_executed(&passed);
        assert_eq!(passed.status, 201);
        let said = passed.header("duplicate-protection");
        assert_eq!(said, Some(r#"none; reason="body-too-large""#), "{passed:?}");
        assert_eq!(origin.hits(), hits + 1);
        assert_eq!(origin.last().body, body.as_bytes());
    }
}

/// A15, U6: what has timed out still runs as long as its late answer is listened for, and counts.
async fn work_that_lingers_counts_as_running() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-flights", "2");
    let proxy = proxy.arg("--upstream-timeout", "100ms").start().await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let request = |key: &str| client(&proxy).post("/charges").key(key).body("10");
    for key in ["k1", "k2"] {
        assert_problem(&request(key).send().await, 504, "upstream-timeout");
    }
    assert_problem(&request("k3").send().await, 503, "busy");
    gate.open();
    eventually("a late answer makes room", async || request("k3").send().await.status == 201).await;
    assert_eq!(origin.hits(), 3);
}
