//! What happens when a server, or the way to it, fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncegate::idempotency::{LeaseToken, State};
use oncegate::store::{RedisOptions, Store as _, StoreError, Swap};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::{Process, essence, is_unavailable, loser_to, options, until};
use crate::server::{Folder, Server};
use crate::{answer, key};

/// How long a call may take, where it must come to nothing.
const SHORT: Duration = Duration::from_millis(300);

/// A way to a server on which answers can be lost.
struct Way {
    folder: Folder,
    is_deaf: Arc<AtomicBool>,
    accepts: JoinHandle<()>,
}

impl Way {
    fn to(server: &Server) -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let (is_deaf, to) = (Arc::new(AtomicBool::new(false)), server.socket());
        let deaf = Arc::clone(&is_deaf);
        let accepts = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, to.clone(), Arc::clone(&deaf)));
            }
        });
        Self { folder, is_deaf, accepts }
    }

    fn options(&self, server: &Server) -> RedisOptions {
        let url = format!("redis+unix://{}", self.folder.path().join("s").display());
        RedisOptions { url: url.parse().unwrap(), timeout: SHORT, ..options(server) }
    }

    /// Loses what the server answers from now on, and with it the connection.
    fn lose_answers(&self, lose: bool) {
        self.is_deaf.store(lose, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn carry(mut client: UnixStream, to: PathBuf, is_deaf: Arc<AtomicBool>) {
    let Ok(mut server) = UnixStream::connect(to).await else { return };
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(read @ 1..) => if server.write_all(&asked[..read]).await.is_err() { return },
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(read @ 1..) if !is_deaf.load(Ordering::SeqCst) => {
                    if client.write_all(&answered[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_is_ours_when_it_is_asked_for_again() {
    let server = Server::shared();
    let way = Way::to(&server);
    let near = options(&server);
    let far = RedisOptions { namespace: near.namespace.clone(), ..way.options(&server) };
    let (far, near) = (Process::new(far).await, Process::new(near).await);
    // The server knows the script from now on.
    far.claim_at_last(&key(0), &far.in_flight(0)).await;
    let claim = far.in_flight(1);
    way.lose_answers(true);
    let swapped = far.claim(&key(1), &claim).await;
    assert!(is_unavailable(&swapped), "{swapped:?}");
    assert_eq!(essence(near.load(&key(1)).await.as_ref()), essence(Some(&claim)));
    assert_eq!(loser_to(near.claim(&key(1), &near.in_flight(2)).await), Some(LeaseToken(1)));
    way.lose_answers(false);
    let mut tries = 0;
    let swapped = loop {
        match far.claim(&key(1), &claim).await {
            Err(StoreError::Unavailable(_)) if tries < 1000 => tries += 1,
            swapped => break swapped,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(swapped, Ok(Swap::Done));
    // Nor is it given back later. There is nothing to see; others would see it gone.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(essence(near.load(&key(1)).await.as_ref()), essence(Some(&claim)));
    let kept = far.completed(&claim, "answer");
    assert_eq!(far.settle(&key(1), &kept).await, Ok(Swap::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_nobody_asks_for_again_is_given_back() {
    let server = Server::shared();
    let way = Way::to(&server);
    let near = options(&server);
    let far = RedisOptions { namespace: near.namespace.clone(), ..way.options(&server) };
    let (far, near) = (Process::new(far).await, Process::new(near).await);
    way.lose_answers(true);
    for number in 0..100 {
        let swapped = far.claim(&key(number), &far.in_flight(1)).await;
        assert!(is_unavailable(&swapped), "{swapped:?}");
    }
    way.lose_answers(false);
    for number in 0..100 {
        until("it is given back", async || near.load(&key(number)).await.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_while_nobody_listened_is_not_given() {
    let server = Server::shared();
    let way = Way::to(&server);
    let near = options(&server);
    let far = RedisOptions { namespace: near.namespace.clone(), ..way.options(&server) };
    let (far, near) = (Process::new(far).await, Process::new(near).await);
    far.claim_at_last(&key(0), &far.in_flight(0)).await;
    let kept = near.keep(&key(1), 1, "answer").await;
    until("it is at hand", async || {
        far.store.load(&key(1)).await.is_ok() && far.store.peek(&key(1)).is_some()
    })
    .await;
    // The message that tells of it is lost, and the connection with it.
    way.lose_answers(true);
    assert_eq!(near.release(&key(1), &kept).await, Ok(Swap::Done));
    until("the connection is lost", async || far.store.trouble().is_some()).await;
    assert!(far.store.peek(&key(1)).is_some());
    way.lose_answers(false);
    until("it is forgotten", async || far.store.peek(&key(1)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_whose_answer_was_lost_can_be_written_again() {
    let server = Server::shared();
    let way = Way::to(&server);
    let process = Process::new(way.options(&server)).await;
    let claim = process.in_flight(1);
    process.claim_at_last(&key(1), &claim).await;
    let kept = process.completed(&claim, "answer");
    way.lose_answers(true);
    assert!(is_unavailable(&process.settle(&key(1), &kept).await));
    way.lose_answers(false);
    until("it is written", async || process.settle(&key(1), &kept).await == Ok(Swap::Done)).await;
    assert_eq!(essence(process.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    let other = process.completed(&claim, "other");
    assert_eq!(loser_to(process.settle(&key(1), &other).await), Some(LeaseToken(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_given_up_and_used_again() {
    let server = Server::start(&[]);
    let process =
        Process::new(RedisOptions { timeout: SHORT, failures_max: 3, ..options(&server) }).await;
    let kept = process.keep(&key(1), 1, "answer").await;
    assert_eq!(process.store.trouble(), None);
    server.signal("STOP");
    // They may be made when the server goes on, and are given back then.
    for _ in 0..3 {
        assert!(is_unavailable(&process.claim(&key(1 << 8), &process.in_flight(2)).await));
    }
    until("it is given up", async || process.store.trouble().is_some()).await;
    assert!(is_unavailable(&process.claim(&key(2), &process.in_flight(2)).await));
    // What is at hand is still at hand.
    assert_eq!(essence(process.store.peek(&key(1)).as_ref()), essence(Some(&kept)));
    server.signal("CONT");
    process.claim_at_last(&key(1 << 8), &process.in_flight(3)).await;
    assert_eq!(process.store.trouble(), None);
    assert_eq!(essence(process.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    assert_eq!(process.metrics.store_resets.value(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_records_are_noticed() {
    let server = Server::start(&[]);
    let process = Process::new(RedisOptions { timeout: SHORT, ..options(&server) }).await;
    process.claim_at_last(&key(1), &process.in_flight(1)).await;
    let kept = process.keep(&key(2), 2, "answer").await;
    server.end();
    until("it is gone", async || process.store.trouble().is_some()).await;
    server.start_again();
    process.claim_at_last(&key(3), &process.in_flight(3)).await;
    assert_eq!(process.metrics.store_resets.value(), 1);
    assert_eq!(process.load(&key(1)).await, None);
    // The answer that is at hand is all that is left of it.
    assert_eq!(essence(process.store.peek(&key(2)).as_ref()), essence(Some(&kept)));

    server.ask(&["FLUSHALL"]);
    until("it is noticed", async || {
        process.store.maintain().await.unwrap();
        process.metrics.store_resets.value() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_records_are_noticed_by_everyone() {
    let server = Server::start(&[]);
    let asked = RedisOptions { timeout: SHORT, ..options(&server) };
    let processes = [Process::new(asked.clone()).await, Process::new(asked).await];
    let [process, other] = &processes;
    let resets = || processes.each_ref().map(|process| process.metrics.store_resets.value());
    process.claim_at_last(&key(1), &process.in_flight(1)).await;
    other.store.maintain().await.unwrap();
    let start_again = async || {
        server.end();
        for process in &processes {
            until("it is gone", async || process.store.trouble().is_some()).await;
        }
        server.start_again();
        for process in &processes {
            until("it is back", async || process.store.load(&key(1)).await.is_ok()).await;
        }
    };
    server.ask(&["SAVE"]);
    start_again().await;
    assert_eq!(resets(), [0, 0]);
    assert!(process.load(&key(1)).await.is_some());

    server.ask(&["SAVE"]);
    process.claim_at_last(&key(2), &process.in_flight(2)).await;
    let kept = process.keep(&key(3), 3, "answer").await;
    for _ in 0..5 {
        process.store.maintain().await.unwrap();
    }
    start_again().await;
    for process in &processes {
        process.store.maintain().await.unwrap();
    }
    assert_eq!(process.load(&key(2)).await, None);
    assert_eq!(resets(), [1, 1]);
    // The answer that is at hand is all that is left of it.
    assert_eq!(essence(process.store.peek(&key(3)).as_ref()), essence(Some(&kept)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_replaced() {
    let server = Server::start(&[]);
    let first = options(&server);
    let second = first.clone();
    let (first, second) = (Process::new(first).await, Process::new(second).await);
    let stale = first.keep(&key(2), 2, "stale").await;
    for round in 10..20 {
        server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        first.claim_at_last(&key(round), &first.in_flight(1)).await;
    }
    assert_eq!(first.metrics.store_resets.value(), 0);
    // It listens again.
    until("the second can be used", async || second.store.load(&key(1)).await.is_ok()).await;
    let claim = second.in_flight(1);
    second.claim_at_last(&key(1), &claim).await;
    until("the first knows of it", async || {
        first.store.load(&key(1)).await.is_ok_and(|found| found.is_some())
    })
    .await;
    let waited_for = key(1);
    let changed = first.store.changed(&waited_for);
    assert_eq!(second.settle(&key(1), &second.completed(&claim, "a")).await, Ok(Swap::Done));
    tokio::time::timeout(crate::PATIENCE, changed).await.expect("it is woken");
    // What was at hand before may have been forgotten meanwhile.
    assert_eq!(essence(first.load(&key(2)).await.as_ref()), essence(Some(&stale)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_no_claims_and_shows_what_it_has() {
    let server = Server::start(&[]);
    let process = Process::new(options(&server)).await;
    let kept = process.keep(&key(1), 1, "answer").await;
    let claim = process.leased(3, Duration::from_secs(1));
    assert_eq!(process.claim(&key(3), &claim).await, Ok(Swap::Done));
    let ends = process.in_flight(4);
    assert_eq!(process.claim(&key(4), &ends).await, Ok(Swap::Done));
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = process.claim(&key(2), &process.in_flight(2)).await;
    assert_eq!(refused, Err(StoreError::Full));
    assert_eq!(process.load(&key(2)).await, None);
    // It has room for what it has, and for its end.
    assert_eq!(process.claim(&key(3), &claim).await, Ok(Swap::Done));
    let end = process.completed(&ends, &"long ".repeat(1000));
    assert_eq!(process.settle(&key(4), &end).await, Ok(Swap::Done));
    assert_eq!(essence(process.load(&key(4)).await.as_ref()), essence(Some(&end)));
    assert_eq!(process.store.trouble(), None);
    assert_eq!(essence(process.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    assert_eq!(process.release(&key(1), &kept).await, Ok(Swap::Done));
    // What runs goes on.
    let now = process.clock.now();
    process.store.renew(&[(key(3), claim.token)]).await.unwrap();
    let State::InFlight { lease_until } = process.load(&key(3)).await.unwrap().state else {
        panic!("it is not in flight")
    };
    assert!(lease_until > now.after(Duration::from_secs(10)));
    assert_eq!(process.release(&key(3), &claim).await, Ok(Swap::Done));
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(process.claim(&key(2), &process.in_flight(2)).await, Ok(Swap::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_leaves_the_server() {
    let server = Server::start(&[]);
    let process = Process::new(options(&server)).await;
    process.keep(&key(1), 1, "answer").await;
    let mut connection = server.connection();
    let mut clients = || {
        let list = crate::server::ask(&mut connection, &["CLIENT", "LIST"]);
        let list: String = redis::from_redis_value(list).unwrap();
        list.lines().count()
    };
    until("it has all its connections", async || clients() == 4).await;
    drop(process);
    until("its connections are closed", async || clients() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_scripts_are_sent_again() {
    let server = Server::start(&[]);
    let process = Process::new(options(&server)).await;
    for round in 0..5 {
        server.ask(&["SCRIPT", "FLUSH"]);
        let claim = process.in_flight(1);
        assert_eq!(process.claim(&key(round), &claim).await, Ok(Swap::Done));
        server.ask(&["SCRIPT", "FLUSH"]);
        process.store.renew(&[(key(round), claim.token)]).await.unwrap();
        server.ask(&["SCRIPT", "FLUSH"]);
        assert!(process.load(&key(round)).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_calls_do_not_mix_answers_up() {
    let server = Server::shared();
    let process = Process::new(options(&server)).await;
    let mut kept = Vec::new();
    for number in 0..50 {
        kept.push(process.keep(&key(number), number as u64, &number.to_string()).await);
    }
    for round in 0..2000 {
        let number = round % 50;
        let key = key(number);
        let load = process.store.load(&key);
        tokio::select! {
            biased;
            () = give_way(round % 4) => {}
            found = load => assert_eq!(essence(found.unwrap().as_ref()), essence(Some(&kept[number]))),
        }
    }
    for (number, kept) in kept.iter().enumerate() {
        let found = process.load(&key(number)).await;
        assert_eq!(essence(found.as_ref()), Some((kept.token, Some(&answer(&number.to_string())))));
    }
}

/// Lets others go first so many times.
async fn give_way(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_limited() {
    let server = Server::start(&[]);
    let process = Process::new(RedisOptions { calls_max: 2, ..options(&server) }).await;
    server.signal("STOP");
    let (first, second) = (key(1), key(2));
    let mut waiting = [process.store.load(&first), process.store.load(&second)];
    for load in &mut waiting {
        assert!(super::replicas::poll_once(load.as_mut()).is_pending());
    }
    let turned_away = process.store.load(&first).await;
    assert_eq!(turned_away, Err(StoreError::Unavailable("too many calls at a time".into())));
    server.signal("CONT");
    for load in waiting {
        assert_eq!(load.await, Ok(None));
    }
    assert_eq!(process.load(&first).await, None);
}
