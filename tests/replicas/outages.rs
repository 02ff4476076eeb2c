//! A Redis that stops, dies, or comes back without what it knew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, sized};
use crate::support::{Act, Gate, assert_executed, assert_replay, client, eventually, problem_of};

/// While Redis is stopped, what is guarded is refused, and what this instance has at hand is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_refuses_what_is_guarded() {
    let fleet = Fleet::start(2, &[]).await;
    let first = fleet.charge(0, "a").send().await;
    fleet.redis().signal("STOP");
    let refused = fleet.charge(0, "b").send().await;
    assert_eq!(problem_of(&refused).as_deref(), Some("store-unavailable"), "{refused:?}");
    assert_eq!(refused.status, 503);
    assert!(refused.has("retry-after"), "{refused:?}");
    assert_replay(&first, &fleet.charge(0, "a").send().await);
    let elsewhere = fleet.charge(1, "a").send().await;
    assert_eq!(elsewhere.status, 503, "it is not known there: {elsewhere:?}");
    fleet.redis().signal("CONT");
    eventually("service again", async || fleet.charge(1, "a").send().await.is_repeat()).await;
    eventually("service again", async || fleet.charge(0, "b").send().await.status == 201).await;
    assert_eq!(fleet.origin.executions_max(), 1);
}

/// Where a route says so, guarded requests pass, unprotected and marked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_lets_pass_where_that_is_agreed() {
    let fleet = Fleet::start(1, &[("--on-store-error", "pass")]).await;
    fleet.redis().signal("STOP");
    let passed = fleet.charge(0, "a").send().await;
    assert_eq!(passed.status, 201);
    let mark = passed.header("duplicate-protection");
    assert_eq!(mark, Some("none; reason=\"store-unavailable\""), "{passed:?}");
    let again = fleet.charge(0, "a").send().await;
    assert_eq!((again.status, fleet.origin.hits()), (201, 2), "nothing was kept");
    fleet.redis().signal("CONT");
    eventually("protection again", async || {
        fleet.charge(0, "c").send().await;
        fleet.charge(0, "c").send().await.is_repeat()
    })
    .await;
}

/// An answer that comes while Redis is away is kept once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_during_an_outage_is_kept_afterwards() {
    let fleet = Fleet::start(2, &[]).await;
    let gate = Gate::shut();
    fleet.origin.next(Act::Ledger.after(&gate));
    let mut open = fleet.charge(0, "a").open().await;
    fleet.origin.wait_for_hits(1).await;
    fleet.redis().signal("STOP");
    gate.open();
    let first = open.read().await;
    assert_executed(&first);
    fleet.redis().signal("CONT");
    eventually("the answer for everybody", async || fleet.charge(1, "a").send().await.is_repeat())
        .await;
    assert_replay(&first, &fleet.charge(1, "a").send().await);
    assert_eq!(fleet.origin.hits(), 1);
}

/// A Redis that comes back empty has lost its records: what was kept may be executed again, which
/// is said in the log; what each instance has at hand is still replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_is_noticed() {
    let fleet = Fleet::start(2, &[]).await;
    let first = fleet.charge(0, "a").send().await;
    fleet.redis().end();
    let refused = fleet.charge(1, "b").send().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    fleet.redis().start_again();
    eventually("service again", async || fleet.charge(1, "b").send().await.status == 201).await;
    assert_replay(&first, &fleet.charge(0, "a").send().await);
    fleet.replicas[0].wait_for_log("a word of the loss", |line| line.contains("lost")).await;
    assert_eq!(fleet.origin.executions("b"), 1);
}

/// What is not guarded never notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unguarded_requests_do_not_notice() {
    let fleet = Fleet::start(1, &[]).await;
    let outage = Duration::from_secs(sized(2, 10));
    let quiet = measure(&fleet, outage).await;
    fleet.redis().signal("STOP");
    let stop = Arc::new(AtomicBool::new(false));
    let guarded = {
        let (client, stop) = (client(&fleet.replicas[0]), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut count, mut longest) = (0, Duration::ZERO);
            while !stop.load(Ordering::SeqCst) {
                let began = Instant::now();
                let reply = crate::fleet::charge(&client, &format!("g{count}")).send().await;
                assert_eq!(problem_of(&reply).as_deref(), Some("store-unavailable"));
                longest = longest.max(began.elapsed());
                count += 1;
            }
            (count, longest)
        })
    };
    let stopped = measure(&fleet, outage).await;
    stop.store(true, Ordering::SeqCst);
    let (count, longest) = guarded.await.unwrap();
    fleet.redis().signal("CONT");
    println!(
        "Redis stopped for {outage:?}: unguarded p99 {:.2} of what it was before; {count} guarded \
         requests refused, the slowest after {longest:?}",
        stopped.as_secs_f64() / quiet.as_secs_f64()
    );
}

/// The 99th percentile of unguarded requests.
async fn measure(fleet: &Fleet, time: Duration) -> Duration {
    let client = client(&fleet.replicas[0]);
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        let asked = Instant::now();
        assert_eq!(client.get("/things").send().await.status, 201);
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    times[times.len() * 99 / 100]
}
