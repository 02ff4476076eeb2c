//! Instances that die, or stop for longer than their lease.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::fleet::{Fleet, charge, sized};
use crate::support::{
    Act, Client, Gate, Reply, assert_executed, assert_replay, client, eventually, problem_of,
};

const LEASE: (&str, &str) = ("--store-lease", "1s");

/// The claim of an instance that was killed is an unknown outcome for the others, and stays one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claim_of_a_dead_instance_is_held() {
    let mut fleet = Fleet::start(2, &[LEASE]).await;
    let gate = Gate::shut();
    fleet.origin.next(Act::Ledger.after(&gate));
    let _open = fleet.charge(0, "a").open().await;
    fleet.origin.wait_for_hits(1).await;
    fleet.replicas[0].kill_9().await;
    // It waits for the one that is gone until the lease has run out.
    let repeat = fleet.charge(1, "a").send().await;
    assert_eq!(problem_of(&repeat).as_deref(), Some("outcome-unknown"), "{repeat:?}");
    gate.open();
    let repeat = fleet.charge(1, "a").send().await;
    assert_eq!(problem_of(&repeat).as_deref(), Some("outcome-unknown"));
    assert_eq!(fleet.origin.hits(), 1);
}

/// Where a route says so, another instance takes it over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claim_of_a_dead_instance_may_be_taken_over() {
    let folder = crate::support::Folder::new();
    let config = folder.write("release.toml", "[defaults]\non_unknown = \"release\"\n");
    let config: &'static str = config.leak();
    let mut fleet = Fleet::start(2, &[LEASE, ("--config", config)]).await;
    let gate = Gate::shut();
    fleet.origin.next(Act::Ledger.after(&gate));
    let _open = fleet.charge(0, "a").open().await;
    fleet.origin.wait_for_hits(1).await;
    fleet.replicas[0].kill_9().await;
    assert_executed(&fleet.charge(1, "a").send().await);
    assert_eq!(fleet.origin.hits(), 2);
    gate.open();
}

/// An instance that was stopped for longer than its lease finds its claim when it goes on: what it
/// has executed is kept, and was not executed by anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_stopped_goes_on() {
    let fleet = Fleet::start(2, &[LEASE]).await;
    let gate = Gate::shut();
    fleet.origin.next(Act::Ledger.after(&gate));
    let mut open = fleet.charge(0, "a").open().await;
    fleet.origin.wait_for_hits(1).await;
    fleet.replicas[0].signal("STOP");
    let repeat = fleet.charge(1, "a").send().await;
    assert_eq!(problem_of(&repeat).as_deref(), Some("outcome-unknown"), "{repeat:?}");
    gate.open();
    fleet.replicas[0].signal("CONT");
    let first = open.read().await;
    assert_executed(&first);
    eventually("the answer for everybody", async || fleet.charge(1, "a").send().await.is_repeat())
        .await;
    assert_replay(&first, &fleet.charge(1, "a").send().await);
    assert_eq!(fleet.origin.hits(), 1);
}

/// Who has asked for what, and the first whole answer to it.
pub type Asked = Arc<Mutex<BTreeMap<String, Option<Reply>>>>;

/// Callers that go round the instances, and ask each thing until they have an answer to it or are
/// told that nobody knows.
pub fn load(
    addresses: &Arc<Mutex<Vec<Client>>>,
    stop: &Arc<AtomicBool>,
    asked: &Asked,
) -> JoinSet<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..6 {
        let (addresses, stop) = (Arc::clone(addresses), Arc::clone(stop));
        let (asked, count) = (Arc::clone(asked), Arc::clone(&count));
        callers.spawn(async move {
            let mut replica = caller;
            while !stop.load(Ordering::SeqCst) {
                let name = format!("op-{}", count.fetch_add(1, Ordering::SeqCst));
                asked.lock().unwrap().insert(name.clone(), None);
                for _ in 0..20 {
                    replica += 1;
                    let client = {
                        let addresses = addresses.lock().unwrap();
                        addresses[replica % addresses.len()].clone()
                    };
                    let patience = Duration::from_secs(3);
                    let reply = tokio::time::timeout(patience, charge(&client, &name).try_send());
                    match reply.await {
                        Ok(Ok(reply)) if reply.status == 201 && !reply.is_cut() => {
                            asked.lock().unwrap().insert(name.clone(), Some(reply));
                            break;
                        }
                        Ok(Ok(reply))
                            if problem_of(&reply).as_deref() == Some("outcome-unknown") =>
                        {
                            break;
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        });
    }
    callers
}

/// Instances are killed and replaced, and stopped past their lease and resumed, while callers go
/// round all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_executed_twice_whoever_dies() {
    let rounds = sized(4, 60);
    let mut fleet = Fleet::start(3, &[LEASE]).await;
    let addresses = Arc::new(Mutex::new(fleet.replicas.iter().map(client).collect::<Vec<_>>()));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Asked::default());
    let mut callers = load(&addresses, &stop, &asked);
    for round in 0..rounds {
        let victim = round % 3;
        if round % 2 == 0 {
            fleet.replicas[victim].kill_9().await;
            let next = fleet.another().await;
            addresses.lock().unwrap()[victim] = client(&next);
            fleet.replicas[victim] = next;
        } else {
            fleet.replicas[victim].signal("STOP");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            fleet.replicas[victim].signal("CONT");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop.store(true, Ordering::SeqCst);
    while callers.join_next().await.is_some() {}
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let (mut replayed, mut unknown) = (0, 0);
    for (number, (name, first)) in asked.iter().enumerate() {
        let repeat = fleet.charge(number, name).send().await;
        match first {
            Some(first) => {
                assert!(repeat.is_repeat(), "the answer to {name} was lost: {repeat:?}");
                assert_eq!(first.body, repeat.body);
                replayed += 1;
            }
            None if problem_of(&repeat).as_deref() == Some("outcome-unknown") => unknown += 1,
            None => assert_eq!(repeat.status, 201, "{repeat:?}"),
        }
    }
    assert_eq!(fleet.origin.executions_max(), 1, "something was executed twice");
    println!(
        "{rounds} deaths and stops among 3 replicas, {} operations: 0 executed twice, {replayed} \
         answers all replayed, {unknown} outcome-unknown",
        asked.len()
    );
}
