//! A Redis whose primary is replaced, and one whose records move between its servers, while callers
//! go round the instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::deaths::{Asked, load};
use crate::fleet::{Fleet, sized};
use crate::groups::{cluster, is_primary, on_port, reshard, sentinel, wait_for_replica};
use crate::support::{client, eventually, problem_of};

/// Sees what has become of all that was asked: how many answers were lost, and how many operations
/// were executed more than once.
async fn judge(fleet: &Fleet, asked: &Asked) -> (usize, usize, usize) {
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let (mut lost, mut repeated) = (0, 0);
    for (number, (name, first)) in asked.iter().enumerate() {
        let before = fleet.origin.executions(name);
        repeated += usize::from(before > 1);
        let repeat = fleet.charge(number, name).send().await;
        match first {
            Some(first) if repeat.is_repeat() => assert_eq!(first.body, repeat.body),
            Some(_) => lost += 1,
            None => {
                let unknown = problem_of(&repeat).as_deref() == Some("outcome-unknown");
                assert!(unknown || repeat.status == 201, "{repeat:?}");
            }
        }
    }
    (asked.len(), lost, repeated)
}

/// With `?wait=1`, what was acknowledged is on the replica that takes over: nothing is executed
/// twice while Sentinel fails over, and no answer is lost that was kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_executes_nothing_twice() {
    let (first_port, first) = on_port(&[]);
    let (second_port, _second) = on_port(&["--replicaof", "127.0.0.1", &first_port.to_string()]);
    let (port, _sentinel) = sentinel(first_port);
    wait_for_replica(port);
    let url = format!("redis+sentinel://127.0.0.1:{port}/main?wait=1&wait_timeout=500ms");
    let told: &'static str = url.leak();
    let patient = [("--store-timeout", "2s"), ("--store-lease", "8s")];
    let fleet = Fleet::on(told, 2, &patient).await;
    let clients = Arc::new(std::sync::Mutex::new(fleet.replicas.iter().map(client).collect()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Asked::default());
    let mut callers = load(&clients, &stop, &asked);
    eventually("some operations", async || asked.lock().unwrap().len() > 30).await;
    first.signal("STOP");
    // Claims have nobody left to wait for once the replica is the primary, until it has one.
    eventually("a primary that takes over", async || is_primary(second_port)).await;
    let (_, _third) = on_port(&["--replicaof", "127.0.0.1", &second_port.to_string()]);
    let before = asked.lock().unwrap().values().filter(|reply| reply.is_some()).count();
    eventually("operations after the failover", async || {
        asked.lock().unwrap().values().filter(|reply| reply.is_some()).count() > before + 10
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let (count, lost, repeated) = judge(&fleet, &asked).await;
    println!(
        "a Sentinel failover, ?wait=1: {count} operations, {repeated} executed twice, {lost} answers lost"
    );
    assert_eq!(repeated, 0, "something was executed twice");
}

/// Records that move between the servers of a cluster stay the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_executes_nothing_twice() {
    let (ports, _servers) = cluster();
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    let told: &'static str = url.leak();
    let patient = [("--store-timeout", "2s"), ("--store-lease", "8s")];
    let fleet = Fleet::on(told, 2, &patient).await;
    let clients = Arc::new(std::sync::Mutex::new(fleet.replicas.iter().map(client).collect()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Asked::default());
    let mut callers = load(&clients, &stop, &asked);
    eventually("some operations", async || asked.lock().unwrap().len() > 30).await;
    let slots = sized(500, 4000);
    let moving = tokio::task::spawn_blocking(move || reshard(ports[0], ports[1], slots));
    moving.await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let (count, lost, repeated) = judge(&fleet, &asked).await;
    println!(
        "{slots} slots of a cluster moved: {count} operations, {repeated} executed twice, {lost} answers lost"
    );
    assert_eq!((repeated, lost), (0, 0));
}
