//! Repeats that land on any instance.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::fleet::{Fleet, sized};
use crate::support::{
    Act, Gate, assert_executed, assert_one_executed, assert_replay, eventually, problem_of,
};

/// A retry on another instance gets the answer that the first one has kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_another_instance_is_a_replay() {
    let fleet = Fleet::start(3, &[]).await;
    let first = fleet.charge(0, "a").send().await;
    assert_executed(&first);
    for replica in [1, 2, 0, 1] {
        assert_replay(&first, &fleet.charge(replica, "a").send().await);
    }
    assert_eq!(fleet.origin.hits(), 1);
    // Another payload is refused wherever it comes.
    let other = fleet.client(2).post("/charges").key("a").body("{\"op\":\"b\"}").send().await;
    assert_eq!(problem_of(&other).as_deref(), Some("key-reused"));
}

/// Whoever asks while it runs elsewhere waits, and is answered once it has ended there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_waits_for_another_instance() {
    let fleet = Fleet::start(2, &[]).await;
    let gate = Gate::shut();
    fleet.origin.next(Act::Ledger.after(&gate));
    let mut first = fleet.charge(0, "a").open().await;
    fleet.origin.wait_for_hits(1).await;
    let mut second = fleet.charge(1, "a").open().await;
    fleet.replicas[1].has_read_all().await;
    gate.open();
    let first = first.read().await;
    assert_executed(&first);
    assert_replay(&first, &second.read().await);
    assert_eq!(fleet.origin.hits(), 1);
}

/// What is not kept is free on every instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_key_is_free_everywhere() {
    let fleet = Fleet::start(2, &[]).await;
    fleet.origin.next(crate::support::Answer::new(503).body("later"));
    assert_eq!(fleet.charge(0, "a").send().await.status, 503);
    let second = fleet.charge(1, "a").send().await;
    assert_executed(&second);
    assert_replay(&second, &fleet.charge(0, "a").send().await);
}

/// Many repeats of each key at once, spread over all instances: each is executed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_repeats_at_once_are_one_execution() {
    let (keys, repeats) = sized((20, 45), (100, 500));
    let fleet = Fleet::start(3, &[]).await;
    for key in 0..keys {
        let name = format!("key-{key}");
        let gate = Gate::shut();
        fleet.origin.next(Act::Ledger.after(&gate));
        let mut asked = JoinSet::new();
        for number in 0..repeats {
            asked.spawn(fleet.charge(number, &name).send());
        }
        fleet.origin.wait_for_hits(key + 1).await;
        // Some come while it runs, the rest when it has ended.
        tokio::time::sleep(Duration::from_millis(5)).await;
        gate.open();
        assert_one_executed(&asked.join_all().await);
        assert_eq!(fleet.origin.executions(&name), 1);
    }
    assert_eq!(fleet.origin.hits(), keys);
    println!("{keys} keys, {repeats} repeats each at once over 3 replicas: {keys} executions");
}

/// Instances with a `namespace` of their own know nothing of each other's records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_apart() {
    let fleet = Fleet::start(1, &[]).await;
    let url = format!("redis+unix://{}", fleet.redis().socket().display());
    let apart = Fleet::on(&url, 1, &[("--store-namespace", "other")]).await;
    let first = fleet.charge(0, "a").send().await;
    let other = apart.charge(0, "a").send().await;
    assert_executed(&first);
    assert_executed(&other);
    eventually("both were executed", async || fleet.origin.hits() == 1 && apart.origin.hits() == 1)
        .await;
}

/// What a worker asks goes by a connection of its own, beside the two that all share; the thread
/// that looks after the store needs none.
#[tokio::test(flavor = "multi_thread")]
async fn each_worker_has_a_connection_of_its_own() {
    let fleet = Fleet::start(2, &[]).await;
    let connections = || {
        let list = fleet.redis().ask(&["CLIENT", "LIST"]);
        let list: String = redis::from_redis_value(list).unwrap();
        list.lines().filter(|client| !client.contains("cmd=client")).count()
    };
    eventually("three for each instance", async || connections() == 6).await;
    assert_executed(&fleet.charge(0, "a").send().await);
    assert!(fleet.charge(1, "a").send().await.is_repeat());
    assert_eq!(connections(), 6);
    for replica in &fleet.replicas {
        assert!(!replica.log().contains("panic"), "{}", replica.log());
    }
}
