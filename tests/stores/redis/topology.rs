//! Servers that stand in for one another, and servers that share the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncegate::idempotency::{RecordKey, State};
use oncegate::store::{RedisOpenError, RedisOptions, RedisStore, Store as _, Swap};

use super::{Process, essence, until};
use crate::groups::{
    Wire, cluster, cluster_by, is_primary, on_port, reshard, sentinel, wait_for_copies,
    wait_for_replica,
};
use crate::server::free_port;
use crate::{key, list};

/// How long a call may take: less than a server stands still.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed() {
    let (first_port, first) = on_port(&[]);
    let (_, second) = on_port(&["--replicaof", "127.0.0.1", &first_port.to_string()]);
    let (port, sentinel) = sentinel(first_port);
    wait_for_replica(&sentinel);
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/0");
    let options =
        RedisOptions { url: url.parse().unwrap(), timeout: SHORT, ..RedisOptions::default() };
    let process = Process::new(options).await;
    let kept = process.keep(&key(1), 1, "answer").await;
    until("the replica has it", async || {
        let size = second.ask(&["DBSIZE"]);
        // The record and the mark of the data.
        matches!(size, redis::Value::Int(size) if size >= 2)
    })
    .await;
    first.signal("STOP");
    process.claim_at_last(&key(2), &process.in_flight(2)).await;
    assert_eq!(process.store.trouble(), None);
    assert_eq!(essence(process.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    assert_eq!(process.metrics.store_resets.value(), 0);
    assert!(is_primary(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_primary_is_waited_for() {
    let (server_port, _server) = on_port(&[]);
    let (port, _sentinel) = sentinel(server_port);
    crate::server::until("the Sentinel answers", || {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        client.get_connection().is_ok()
    });
    let url = format!("redis+sentinel://127.0.0.1:{port}/other").parse().unwrap();
    let process = Process::new(RedisOptions { url, ..RedisOptions::default() }).await;
    let trouble = process.store.trouble().unwrap();
    assert!(trouble.contains("knows no other"), "{trouble}");
}

fn cluster_options(ports: &[u16]) -> RedisOptions {
    let [first, second, ..] = *ports else { panic!("{ports:?}") };
    // The first is not there.
    let url = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{first},127.0.0.1:{second}");
    RedisOptions { url: url.parse().unwrap(), timeout: crate::PATIENCE, ..RedisOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_holds_records_on_all_its_nodes() {
    let (ports, servers) = cluster();
    let first = cluster_options(&ports);
    let second = first.clone();
    let (first, second) = (Process::new(first).await, Process::new(second).await);
    assert_eq!((first.store.trouble(), second.store.trouble()), (None, None));
    let mut claims = Vec::new();
    for number in 0..60 {
        let claim = first.leased(number as u64, Duration::from_secs(1));
        assert_eq!(first.claim(&key(number), &claim).await, Ok(Swap::Done));
        let lost = second.claim(&key(number), &second.in_flight(1000)).await;
        assert_eq!(super::loser_to(lost), Some(claim.token));
        claims.push((key(number), claim.token));
    }
    for server in &servers {
        let size = server.ask(&["DBSIZE"]);
        assert!(matches!(size, redis::Value::Int(size) if size > 0), "{size:?}");
    }
    for records_max in [7, 500] {
        let now = second.clock.now();
        let whole = list::all_of(&*second.store, now, records_max).await;
        assert_eq!((whole.records.len(), whole.unreadable), (60, 0));
        assert_eq!(whole.keys(), claims.iter().map(|(key, _)| *key).collect());
    }
    let now = second.clock.now();
    first.store.renew(&claims).await.unwrap();
    for (number, (key, token)) in claims.iter().enumerate() {
        let found = second.load(key).await.unwrap();
        let State::InFlight { lease_until } = found.state else { panic!() };
        assert!(lease_until > now.after(Duration::from_secs(10)));
        // Whatever node a record is on, its end is told.
        let changed = second.store.changed(key);
        let claim = first.in_flight(token.0);
        let kept = first.completed(&claim, &number.to_string());
        assert_eq!(first.settle(key, &kept).await, Ok(Swap::Done));
        tokio::time::timeout(crate::PATIENCE, changed).await.expect("it is woken");
        assert_eq!(essence(second.load(key).await.as_ref()), essence(Some(&kept)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_still_does_not_end_the_claims_of_others() {
    let (ports, servers) = cluster();
    let options = cluster_options(&ports);
    let (first, second) = (Process::new(options.clone()).await, Process::new(options).await);
    let mut claims = Vec::new();
    for number in 0..60 {
        let claim = first.leased(number as u64, Duration::from_secs(1));
        assert_eq!(first.claim(&key(number), &claim).await, Ok(Swap::Done));
        claims.push((key(number), claim.token));
    }
    let names = format!("{:?}", servers[2].ask(&["KEYS", "*"]));
    let is_stuck = |key: &RecordKey| {
        let digits: Vec<_> = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        names.contains(&digits.concat())
    };
    let (stuck, others): (Vec<_>, Vec<_>) = claims.into_iter().partition(|(key, _)| is_stuck(key));
    assert!(stuck.len() > 5 && others.len() > 5, "{} {}", stuck.len(), others.len());
    servers[2].signal("STOP");
    // Each of the first ones waits, for as long as the client has patience with the node.
    let now = second.clock.now();
    let all = [stuck, others.clone()].concat();
    let store = Arc::clone(&first.store);
    let renewal = tokio::spawn(async move { store.renew(&all).await });
    for (key, _) in &others {
        until("it is renewed", async || {
            let Ok(Some(found)) = second.store.load(key).await else { return false };
            matches!(found.state, State::InFlight { lease_until }
                if lease_until > now.after(Duration::from_secs(10)))
        })
        .await;
    }
    assert_eq!(first.store.trouble(), None);
    renewal.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_may_move_records_while_they_are_claimed() {
    let (ports, servers) = cluster();
    let process = Process::new(cluster_options(&ports)).await;
    let is_moved = AtomicBool::new(false);
    let claims = async {
        let mut number = 0;
        while !is_moved.load(Ordering::SeqCst) || number < 200 {
            let claim = process.in_flight(number as u64);
            process.claim_at_last(&key(number), &claim).await;
            number += 1;
        }
        number
    };
    let moving = tokio::task::spawn_blocking(move || {
        reshard(&servers[0], &servers[1], ports[0], 3000);
        servers
    });
    let moved = async {
        let servers = moving.await.unwrap();
        is_moved.store(true, Ordering::SeqCst);
        servers
    };
    let (number, _servers) = tokio::join!(claims, moved);
    for number in 0..number {
        let claim = process.in_flight(number as u64);
        let found = process.load(&key(number)).await;
        assert_eq!(essence(found.as_ref()), essence(Some(&claim)));
        let other = process.in_flight(1_000_000);
        assert_eq!(super::loser_to(process.claim(&key(number), &other).await), Some(claim.token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_a_cluster_is_followed() {
    let (ports, servers) = cluster_by(&Wire::plain(), 1, &["--cluster-node-timeout", "1000"]);
    let options = RedisOptions { timeout: SHORT, ..cluster_options(&ports) };
    let process = Process::new(options).await;
    let mut kept = Vec::new();
    for number in 0..60 {
        let record = process.keep(&key(number), number as u64, "answer").await;
        kept.push(record);
    }
    wait_for_copies(&servers[..3]);
    servers[0].signal("STOP");
    for number in 60..120 {
        process.claim_at_last(&key(number), &process.in_flight(number as u64)).await;
    }
    for (number, kept) in kept.iter().enumerate() {
        let claim = process.in_flight(1000 + number as u64);
        until("it is held", async || {
            let lost = super::loser_to(process.claim(&key(number), &claim).await);
            lost == Some(kept.token)
        })
        .await;
        assert_eq!(essence(process.load(&key(number)).await.as_ref()), essence(Some(kept)));
    }
    assert_eq!(process.store.trouble(), None);
    assert_eq!(process.metrics.store_resets.value(), 0);
    assert!(servers[3..].iter().any(is_primary));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_and_a_single_server_are_told_apart() {
    let (port, _single) = on_port(&[]);
    let (member_port, _member) =
        on_port(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    let url = format!("redis://127.0.0.1:{member_port}").parse().unwrap();
    let store = connect(RedisOptions { url, ..RedisOptions::default() }).await;
    assert!(matches!(store, Err(RedisOpenError::Topology(_))), "{store:?}");
    let url = format!("redis+cluster://127.0.0.1:{port}").parse().unwrap();
    let store = connect(RedisOptions { url, ..RedisOptions::default() }).await;
    // The client asks for the cluster's map first, which a single server does not have.
    assert!(store.is_err() || store.is_ok_and(|store| store.trouble().is_some()));
}

async fn connect(options: RedisOptions) -> Result<RedisStore, RedisOpenError> {
    let clock = oncegate::clock::Clock::system();
    RedisStore::connect(options, clock, Arc::default()).await
}
