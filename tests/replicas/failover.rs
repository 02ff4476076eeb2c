//! A Redis whose primary is replaced, and one whose records move between its servers, while callers
//! go round the instances.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::deaths::{Asked, load};
use crate::fleet::{Fleet, sized};
use crate::groups::{
    Wire, cluster, cluster_by, is_primary, on_port, reshard, sentinel, wait_for_copies,
    wait_for_replica,
};
use crate::support::{client, eventually, problem_of};

/// What has become of all that was asked.
struct Judged {
    count: usize,
    /// What was answered, and is not a second time.
    lost: Vec<String>,
    /// What was executed more than once.
    repeated: Vec<String>,
}

impl Judged {
    fn print(&self, of: &str) {
        let Self { count, lost, repeated } = self;
        let (lost, repeated) = (lost.len(), repeated.len());
        println!("{of}: {count} operations, {repeated} executed twice, {lost} answers lost");
    }
}

async fn judge(fleet: &Fleet, asked: &Asked) -> Judged {
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let mut judged = Judged { count: asked.len(), lost: Vec::new(), repeated: Vec::new() };
    for (number, (name, first)) in asked.into_iter().enumerate() {
        if fleet.origin.executions(&name) > 1 {
            judged.repeated.push(name.clone());
        }
        let mut repeat = fleet.charge(number, &name).send().await;
        // The store may not be asked in time just now; that loses nothing.
        eventually("the store can be asked", async || {
            if problem_of(&repeat).as_deref() == Some("store-unavailable") {
                repeat = fleet.charge(number, &name).send().await;
            }
            problem_of(&repeat).as_deref() != Some("store-unavailable")
        })
        .await;
        match first {
            Some(first) if repeat.is_repeat() => assert_eq!(first.body, repeat.body),
            Some(_) => judged.lost.push(name),
            None => {
                let unknown = problem_of(&repeat).as_deref() == Some("outcome-unknown");
                assert!(unknown || repeat.status == 201, "{repeat:?}");
            }
        }
    }
    judged
}

/// With `?wait=1`, what was acknowledged is on the replica that takes over: nothing is executed
/// twice while Sentinel fails over, and no answer is lost that was kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_executes_nothing_twice() {
    let (first_port, first) = on_port(&[]);
    let (second_port, second) = on_port(&["--replicaof", "127.0.0.1", &first_port.to_string()]);
    let (port, sentinel) = sentinel(first_port);
    wait_for_replica(&sentinel);
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
    eventually("a primary that takes over", async || is_primary(&second)).await;
    let (_, _third) = on_port(&["--replicaof", "127.0.0.1", &second_port.to_string()]);
    let before = asked.lock().unwrap().values().filter(|reply| reply.is_some()).count();
    eventually("operations after the failover", async || {
        asked.lock().unwrap().values().filter(|reply| reply.is_some()).count() > before + 10
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let judged = judge(&fleet, &asked).await;
    judged.print("a Sentinel failover, ?wait=1");
    assert!(judged.repeated.is_empty(), "{:?}", judged.repeated);
}

/// A node of a cluster is replaced by its replica: what that has taken is neither executed again nor
/// lost. What was asked for in the last moment may be, since nobody waits for replicas there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_in_a_cluster_executes_nothing_twice_that_was_copied() {
    let (ports, servers) = cluster_by(&Wire::plain(), 1, &["--cluster-node-timeout", "1000"]);
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    let fleet = Fleet::on(url.leak(), 2, &[("--store-lease", "2s")]).await;
    let clients = Arc::new(std::sync::Mutex::new(fleet.replicas.iter().map(client).collect()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Asked::default());
    let mut callers = load(&clients, &stop, &asked);
    let answered = || asked.lock().unwrap().values().filter(|reply| reply.is_some()).count();
    let many = sized(100, 3000);
    eventually("some operations", async || answered() > many).await;
    let is_answered = |(name, reply): (&String, &Option<_>)| reply.is_some().then(|| name.clone());
    let before: BTreeSet<_> = asked.lock().unwrap().iter().filter_map(is_answered).collect();
    wait_for_copies(&servers[..3]);
    servers[0].signal("STOP");
    let is_replaced = || servers[3..].iter().any(is_primary);
    eventually("a replica that takes over", async || is_replaced()).await;
    let then = answered();
    eventually("operations after the failover", async || answered() > then + many).await;
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let judged = judge(&fleet, &asked).await;
    judged.print("a failover in a cluster");
    for (what, names) in [("executed twice", &judged.repeated), ("lost", &judged.lost)] {
        let copied: Vec<_> = names.iter().filter(|name| before.contains(*name)).collect();
        assert!(copied.is_empty(), "{what}: {copied:?}");
    }
}

/// Records that move between the servers of a cluster stay the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reshard_executes_nothing_twice() {
    let (ports, servers) = cluster();
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    let told: &'static str = url.leak();
    let patient = [("--store-timeout", "2s"), ("--store-lease", "8s")];
    let fleet = Fleet::on(told, 2, &patient).await;
    let clients = Arc::new(std::sync::Mutex::new(fleet.replicas.iter().map(client).collect()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Asked::default());
    let mut callers = load(&clients, &stop, &asked);
    eventually("some operations", async || asked.lock().unwrap().len() > 30).await;
    let slots = sized(500, 4000);
    let moving = tokio::task::spawn_blocking(move || {
        reshard(&servers[0], &servers[1], ports[0], slots);
        servers
    });
    let _servers = moving.await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let judged = judge(&fleet, &asked).await;
    judged.print(&format!("{slots} slots of a cluster moved"));
    assert_eq!((judged.repeated, judged.lost), (Vec::new(), Vec::new()));
}
