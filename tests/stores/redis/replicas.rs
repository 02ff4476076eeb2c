//! Several processes with one store between them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oncegate::clock::{Clock, Timestamp};
use oncegate::idempotency::{LeaseToken, Record, State};
use oncegate::store::{Expected, Store as _, StoreError, Swap};

use super::{Process, essence, is_unavailable, loser_to, options, until};
use crate::server::Server;
use crate::{answer, at_once, key};

/// Looks once whether a future is ready.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Two processes with one store between them.
async fn pair() -> (Arc<Server>, Process, Process) {
    let server = Server::shared();
    let first = options(&server);
    let second = first.clone();
    (server, Process::new(first).await, Process::new(second).await)
}

fn lease_until(record: &Record) -> Timestamp {
    let State::InFlight { lease_until } = record.state else {
        panic!("it is not in flight: {record:?}")
    };
    lease_until
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_processes_wins() {
    let (_server, first, second) = pair().await;
    let processes = Arc::new([first, second]);
    for round in 0..20 {
        let results = at_once(16, |number| {
            let processes = Arc::clone(&processes);
            async move {
                let process = &processes[number % 2];
                let claim = process.in_flight(number as u64);
                (claim.token, process.claim(&key(round), &claim).await)
            }
        })
        .await;
        let won: Vec<_> =
            results.iter().filter(|(_, swapped)| *swapped == Ok(Swap::Done)).collect();
        assert_eq!(won.len(), 1, "round {round}: {results:?}");
        let winner = won[0].0;
        for (token, swapped) in results {
            assert!(token == winner || loser_to(swapped) == Some(winner));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_woken() {
    let (_server, first, second) = pair().await;
    let claim = first.in_flight(1);
    let ends = [Some(first.completed(&claim, "answer")), None];
    for (number, end) in ends.iter().enumerate() {
        let key = key(number);
        assert_eq!(first.claim(&key, &claim).await, Ok(Swap::Done));
        assert!(second.load(&key).await.is_some());
        let mut changed = second.store.changed(&key);
        assert!(poll_once(changed.as_mut()).is_pending());
        let swapped = first.swap(&key, Expected::HeldBy(claim.token), end.as_ref()).await;
        assert_eq!(swapped, Ok(Swap::Done));
        tokio::time::timeout(crate::PATIENCE, changed).await.expect("it is woken");
        assert_eq!(essence(second.load(&key).await.as_ref()), essence(end.as_ref()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_where_nobody_waits() {
    let server = Server::start(&[]);
    let process = Process::new(options(&server)).await;
    process.keep(&key(1), 1, "answer").await;
    let redis::Value::BulkString(text) = server.ask(&["INFO", "commandstats"]) else { panic!() };
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("cmdstat_set:") && !text.contains("cmdstat_publish:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_forgets_is_forgotten_by_all() {
    let (_server, first, second) = pair().await;
    let kept = first.keep(&key(1), 1, "answer").await;
    assert_eq!(essence(second.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    assert_eq!(essence(second.store.peek(&key(1)).as_ref()), essence(Some(&kept)));
    assert_eq!(second.release(&key(1), &kept).await, Ok(Swap::Done));
    assert_eq!(second.store.peek(&key(1)), None);
    until("the first has forgotten it", async || first.store.peek(&key(1)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_run_out_can_be_taken_over_once() {
    let (_server, first, second) = pair().await;
    let claim = first.leased(1, Duration::from_millis(50));
    assert_eq!(first.claim(&key(1), &claim).await, Ok(Swap::Done));
    until("the lease has run out", async || {
        let found = second.load(&key(1)).await.expect("it is held");
        lease_until(&found) < second.clock.now()
    })
    .await;
    // It still counts: whoever finds it decides.
    let taken = second.in_flight(2);
    assert_eq!(loser_to(second.claim(&key(1), &taken).await), Some(LeaseToken(1)));
    let swapped = second.swap(&key(1), Expected::HeldBy(LeaseToken(1)), Some(&taken)).await;
    assert_eq!(swapped, Ok(Swap::Done));
    let late = first.completed(&claim, "late");
    assert_eq!(loser_to(first.settle(&key(1), &late).await), Some(LeaseToken(2)));
    first.store.renew(&[(key(1), LeaseToken(1))]).await.unwrap();
    assert_eq!(loser_to(first.release(&key(1), &claim).await), Some(LeaseToken(2)));
    let kept = second.completed(&taken, "taken");
    assert_eq!(second.settle(&key(1), &kept).await, Ok(Swap::Done));
    assert_eq!(essence(first.load(&key(1)).await.as_ref()), essence(Some(&kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_renewed_meanwhile_is_not_taken_over() {
    let (_server, first, second) = pair().await;
    let claim = first.leased(1, Duration::from_millis(50));
    assert_eq!(first.claim(&key(1), &claim).await, Ok(Swap::Done));
    until("the lease has run out", async || {
        let found = second.load(&key(1)).await.expect("it is held");
        lease_until(&found) < second.clock.now()
    })
    .await;
    first.store.renew(&[(key(1), claim.token)]).await.unwrap();
    let taken = second.in_flight(2);
    let swapped = second.swap(&key(1), Expected::HeldBy(claim.token), Some(&taken)).await;
    assert_eq!(loser_to(swapped), Some(claim.token));
    // Nor does anybody else decide how it has ended.
    let decided = Record { state: State::Indeterminate, ..taken };
    for next in [second.completed(&decided, "decided"), decided] {
        let swapped = second.swap(&key(1), Expected::HeldBy(claim.token), Some(&next)).await;
        assert_eq!(loser_to(swapped), Some(claim.token));
    }
    // Its holder can write it again, and say that nobody knows how it ends.
    let again = first.in_flight(1);
    let swapped = first.swap(&key(1), Expected::HeldBy(claim.token), Some(&again)).await;
    assert_eq!(swapped, Ok(Swap::Done));
    let unknown = Record { state: State::Indeterminate, ..again };
    let swapped = first.swap(&key(1), Expected::HeldBy(claim.token), Some(&unknown)).await;
    assert_eq!(swapped, Ok(Swap::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_claims_are_renewed_together() {
    let (_server, first, second) = pair().await;
    let short = Duration::from_secs(1);
    let mut claims = Vec::new();
    for number in 0..600 {
        let claim = first.leased(number as u64, short);
        assert_eq!(first.claim(&key(number), &claim).await, Ok(Swap::Done));
        claims.push((key(number), claim.token));
    }
    let kept = first.completed(&first.leased(7, short), "ended");
    assert_eq!(first.settle(&key(7), &kept).await, Ok(Swap::Done));
    let other = (key(8), LeaseToken(1_000_000));
    let asked_at = second.clock.now();
    first.store.renew(&[other]).await.unwrap();
    assert!(lease_until(&second.load(&key(8)).await.unwrap()) < asked_at.after(short * 5));
    first.store.renew(&claims).await.unwrap();
    for (number, (key, token)) in claims.iter().enumerate() {
        let found = second.load(key).await.unwrap();
        assert_eq!(found.token, *token);
        // The lease of these options is 15 seconds.
        assert!(number == 7 || lease_until(&found) >= asked_at.after(short * 10), "{number}");
    }
    assert_eq!(essence(second.load(&key(7)).await.as_ref()), essence(Some(&kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_differ() {
    let server = Server::shared();
    let here = options(&server);
    let there = here.clone();
    let first = Process::new(here).await;
    let day = Duration::from_hours(24);
    let ahead = Clock::system();
    let second = Process::at(there, Clock::from_fn(move || ahead.now().after(day))).await;
    let claim = first.leased(1, Duration::from_mins(10));
    assert_eq!(first.claim(&key(1), &claim).await, Ok(Swap::Done));
    let found = second.load(&key(1)).await.unwrap();
    let near = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) < Duration::from_mins(1);
    assert!(near(found.expires_at, claim.expires_at.after(day)), "{found:?}");
    assert!(near(lease_until(&found), lease_until(&claim).after(day)), "{found:?}");
    let kept = first.completed(&claim, "kept");
    assert_eq!(first.settle(&key(1), &kept).await, Ok(Swap::Done));
    let found = second.load(&key(1)).await.unwrap();
    let State::Completed { kept_at, answer: found } = found.state else { panic!("{found:?}") };
    assert_eq!(found, answer("kept"));
    assert!(near(kept_at, second.clock.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_ends_with_its_window() {
    let (server, first, second) = pair().await;
    let mut claim = first.leased(1, Duration::from_millis(50));
    claim.expires_at = first.clock.now().after(Duration::from_millis(50));
    assert_eq!(first.claim(&key(1), &claim).await, Ok(Swap::Done));
    until("it has ended", async || second.load(&key(1)).await.is_none()).await;
    assert_eq!(second.claim(&key(1), &second.in_flight(2)).await, Ok(Swap::Done));
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_comes_to_the_server_late_is_given_back() {
    let server = Server::start(&[]);
    let plain = options(&server);
    let url = format!("redis+unix://{}?wait=1&wait_timeout=2s", server.socket().display());
    let asked = oncegate::store::RedisOptions {
        url: url.parse().unwrap(),
        timeout: Duration::from_millis(300),
        connections: 1,
        failures_max: 1000,
        ..plain.clone()
    };
    let (process, other) = (Arc::new(Process::new(asked).await), Process::new(plain).await);
    // The server knows the script from now on.
    assert_eq!(other.claim(&key(9), &other.in_flight(9)).await, Ok(Swap::Done));
    // Each waits for a replica, which there is not, before the next one is looked at.
    let claims = at_once(3, |number| {
        let process = Arc::clone(&process);
        async move { process.claim(&key(number), &process.in_flight(number as u64)).await }
    });
    let mut has_come = [false; 3];
    let come = until("all have come", async || {
        for (number, has_come) in has_come.iter_mut().enumerate() {
            *has_come |= other.load(&key(number)).await.is_some();
        }
        has_come == [true; 3]
    });
    let (claims, ()) = tokio::join!(claims, come);
    assert!(claims.iter().all(is_unavailable), "{claims:?}");
    for number in 0..3 {
        until("it is given back", async || other.load(&key(number)).await.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_waits_for_replicas() {
    let server = Server::start(&[]);
    let mut asked = options(&server);
    asked.url = format!("redis+unix://{}?wait=1&wait_timeout=100ms", server.socket().display())
        .parse()
        .unwrap();
    let plain = options(&server);
    let plain = oncegate::store::RedisOptions { namespace: asked.namespace.clone(), ..plain };
    let (process, other) = (Process::new(asked).await, Process::new(plain).await);
    let claim = process.in_flight(1);
    let swapped = process.claim(&key(1), &claim).await;
    assert!(is_unavailable(&swapped), "{swapped:?}");
    assert_eq!(
        swapped,
        Err(StoreError::Unavailable("0 of 1 replicas have taken the claim".into()))
    );
    assert_eq!(other.load(&key(1)).await, None);
    // What ends a claim does not wait.
    let claim = other.in_flight(2);
    assert_eq!(other.claim(&key(1), &claim).await, Ok(Swap::Done));
    assert_eq!(process.settle(&key(1), &other.completed(&claim, "a")).await, Ok(Swap::Done));

    let port = crate::server::free_port().to_string();
    server.ask(&["CONFIG", "SET", "port", &port]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    process.claim_at_last(&key(2), &process.in_flight(3)).await;
    let mut connection = replica.connection();
    let found = crate::server::ask(&mut connection, &["KEYS", "*"]);
    assert!(matches!(&found, redis::Value::Array(keys) if !keys.is_empty()), "{found:?}");
}
