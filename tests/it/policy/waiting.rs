//! What repeats get while the first request runs, when nobody knows how it ended, and when they
//! ask for something else.

use std::time::{Duration, Instant};

use super::{assert_one_operation, assert_refused, told};
use crate::support::{
    Act, Gate, How, Origin, Proxy, assert_executed, assert_one_executed, assert_problem,
    assert_replay, assert_unknown, client, eventually, outstanding, read_all,
};

#[tokio::test]
async fn a_key_whose_outcome_is_unknown_may_be_given_back() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        on_unknown = "release"
        [[route]]
        name = "held"
        path = "/held"
        on_unknown = "hold"
    "#;
    let proxy = told(&origin, toml).await;
    for (hits, how) in [How::Close, How::Reset].into_iter().enumerate() {
        let post = |path: &str| client(&proxy).post(path).key(format!("k{hits}")).body("10");
        origin.next(Act::DropAfterExecuting(how));
        let broken = post("/free").send().await;
        assert_problem(&broken, 502, "upstream-broken");
        assert_one_operation(&origin, [post("/free"), post("/free")]).await;
        origin.next(Act::DropAfterExecuting(how));
        assert_problem(&post("/held").send().await, 502, "upstream-broken");
        assert_unknown(None, post("/held")).await;
        assert_eq!(origin.hits(), 3 * (hits + 1));
    }
}

/// A key that was given back when time ran out is not settled by the late answer.
#[tokio::test]
async fn a_late_answer_settles_no_key_that_was_given_back() {
    let origin = Origin::start().await;
    let toml = r#"
        [upstream]
        timeout = "2s"
        [defaults]
        on_unknown = "release"
    "#;
    let proxy = told(&origin, toml).await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/a").key("k1").body("10");
    assert_problem(&request.clone().send().await, 504, "upstream-timeout");
    let second = request.clone().send().await;
    assert_executed(&second);
    gate.open();
    // The late answer is the first one's; repeats get the second one's, whenever it comes.
    for _ in 0..20 {
        assert_replay(&second, &request.clone().send().await);
    }
    assert_eq!((second.json()["execution"].as_u64(), origin.hits()), (Some(2), 2));
}

#[tokio::test]
async fn repeats_may_be_refused_while_the_first_request_runs() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "refuse"
        path = "/refuse"
        in_flight = "refuse"
        [[route]]
        name = "short"
        path = "/short"
        wait = "100ms"
    "#;
    let proxy = told(&origin, toml).await;
    for (number, path) in ["/refuse", "/short"].into_iter().enumerate() {
        let gate = Gate::shut();
        origin.next(Act::Ledger.after(&gate));
        let request = client(&proxy).post(path).key("k1").body("10");
        let mut first = request.clone().open().await;
        origin.wait_for_hits(number + 1).await;
        for _ in 0..3 {
            let refused = request.clone().send().await;
            assert_problem(&refused, 409, "in-progress");
            assert_eq!(refused.json()["retryable"], true);
            assert!(refused.has("duplicate-key"), "{refused:?}");
        }
        gate.open();
        assert_replay(&first.read().await, &request.send().await);
        assert_eq!(origin.hits(), number + 1);
    }
}

#[tokio::test]
async fn repeats_wait_unless_their_route_says_otherwise() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        in_flight = "refuse"
        [[route]]
        name = "wait"
        path = "/wait"
        in_flight = "wait"
    "#;
    let proxy = told(&origin, toml).await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/wait").key("k1").body("10");
    let mut all = outstanding(&proxy, &request, 8).await;
    origin.wait_for_hits(1).await;
    gate.open();
    assert_one_executed(&read_all(&mut all).await);
    assert_eq!(origin.hits(), 1);
}

/// Where a key alone counts, whatever else is sent with it gets the first one's answer.
#[tokio::test]
async fn a_key_may_stand_for_its_first_request_alone() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "replay"
        path = "/replay"
        on_mismatch = "replay"
    "#;
    let proxy = told(&origin, toml).await;
    let post = |target: &str, body: &str| client(&proxy).post(target).key("k1").body(body);
    let alike = [
        post("/replay", "10"),
        post("/replay", "11"),
        post("/replay?x=1", "10"),
        post("/replay", "10").header("Content-Type", "text/plain"),
        post("/replay", "").header("Content-Encoding", "gzip"),
    ];
    assert_one_operation(&origin, alike).await;
    assert_eq!(origin.last().body, b"10", "it is the first that is executed");
    // Without a key of the caller's, another request is another operation.
    let keyless = |body: &str| client(&proxy).post("/replay").body(body).send();
    assert_executed(&keyless("10").await);
    assert_executed(&keyless("11").await);
    assert_one_operation(&origin, [post("/other", "10"), post("/other", "10")]).await;
    assert_refused(&origin, &post("/other", "11"), (422, "key-reused")).await;
}

#[tokio::test]
async fn a_key_stands_for_its_first_request_while_that_runs_too() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[defaults]\non_mismatch = \"replay\"\n").await;
    for round in 0..3 {
        let gate = Gate::shut();
        origin.next(Act::Ledger.after(&gate));
        let key = format!("k{round}");
        let post = |body: String| client(&proxy).post("/a").key(&key).body(body);
        let mut all = Vec::new();
        for number in 0..8 {
            all.push(post(format!("{number}")).open().await);
        }
        proxy.has_read_all().await;
        origin.wait_for_hits(round + 1).await;
        gate.open();
        let replies = read_all(&mut all).await;
        assert_one_executed(&replies);
        let executed = replies.iter().position(|reply| !reply.is_repeat()).expect("one");
        assert_eq!(origin.last().body, executed.to_string().into_bytes());
        let later = post("later".to_owned()).send().await;
        assert_replay(&replies[executed], &later);
        assert_eq!(origin.hits(), round + 1);
    }
}

/// Of requests that differ and come at once, each is told so, and none waits for another's answer.
#[tokio::test]
async fn another_request_with_the_key_is_refused_while_the_first_runs() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let post = |body: &str| client(&proxy).post("/a").key("k1").body(body);
    let mut first = post("10").open().await;
    origin.wait_for_hits(1).await;
    assert_refused(&origin, &post("11"), (422, "key-reused")).await;
    gate.open();
    assert_executed(&first.read().await);
    assert_eq!(origin.hits(), 1);
}

/// Each route has a window of its own.
#[tokio::test]
async fn a_window_is_its_routes() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        window = "1s"
        [[route]]
        name = "day"
        path = "/day"
        window = "1d"
    "#;
    let proxy = told(&origin, toml).await;
    let post = |path: &str| client(&proxy).post(path).key("k1").body("10");
    let before = Instant::now();
    let kept = post("/day").send().await;
    assert_executed(&post("/second").send().await);
    eventually("the end of the shorter window", async || {
        let reply = post("/second").send().await;
        // a lower bound: however slow the machine is, this can only be larger
        assert!(reply.is_repeat() || before.elapsed() >= Duration::from_secs(1), "{reply:?}");
        !reply.is_repeat()
    })
    .await;
    assert_replay(&kept, &post("/day").send().await);
    assert_eq!(origin.hits(), 3);
}
