//! Connections of single workers, beside those that all share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oncegate::store::{RedisOptions, Store as _, Swap};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Process, is_unavailable, options, until};
use crate::key;
use crate::server::{Folder, Server};

/// A way to servers on which single connections can be held up; each that comes has a number.
struct Way {
    folder: Folder,
    /// From which connection on nothing goes to the server.
    held_from: watch::Sender<usize>,
    seen: Arc<Seen>,
    accepts: JoinHandle<()>,
}

/// What has been seen on a way.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// How many bytes have come from callers, and gone to servers.
    come: AtomicUsize,
    gone: AtomicUsize,
    /// How many have come by another than the first connection.
    come_by_others: AtomicUsize,
}

impl Way {
    /// The first connection leads to the first server, and so on; all further ones to the last.
    fn to(servers: &[&Server]) -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let targets: Vec<_> = servers.iter().map(|server| server.socket()).collect();
        let (held_from, held) = watch::channel(usize::MAX);
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let accepts = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counts.connections.fetch_add(1, Ordering::SeqCst);
                let target = targets.get(number).or(targets.last()).unwrap().clone();
                let held = (number, held.clone());
                tokio::spawn(carry(stream, target, held, Arc::clone(&counts)));
            }
        });
        Self { folder, held_from, seen, accepts }
    }

    /// One connection that is shared, and calls that may be silent for long.
    fn options(&self, server: &Server) -> RedisOptions {
        let url = format!("redis+unix://{}", self.socket().display());
        let timeout = Duration::from_millis(300);
        let url = url.parse().unwrap();
        RedisOptions { url, timeout, connections: 1, failures_max: 1000, ..options(server) }
    }

    fn socket(&self) -> PathBuf {
        Path::new(self.folder.path()).join("s")
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Whether all that callers have sent is with the servers.
    fn is_clear(&self) -> bool {
        self.seen.come.load(Ordering::SeqCst) == self.seen.gone.load(Ordering::SeqCst)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

async fn carry(
    client: UnixStream,
    to: PathBuf,
    (number, mut held): (usize, watch::Receiver<usize>),
    seen: Arc<Seen>,
) {
    let Ok(server) = UnixStream::connect(to).await else { return };
    let (mut asks, mut answers) = client.into_split();
    let (mut answered, mut asked) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut answered, &mut answers).await });
    let mut bytes = vec![0; 65536];
    while let Ok(read @ 1..) = asks.read(&mut bytes).await {
        seen.come.fetch_add(read, Ordering::SeqCst);
        seen.come_by_others.fetch_add(read * number.min(1), Ordering::SeqCst);
        if held.wait_for(|from| number < *from).await.is_err()
            || asked.write_all(&bytes[..read]).await.is_err()
        {
            break;
        }
        seen.gone.fetch_add(read, Ordering::SeqCst);
    }
    back.abort();
}

/// What the server says of its connections, but for the one that asks; the oldest first.
fn clients(server: &Server) -> Vec<String> {
    let list = server.ask(&["CLIENT", "LIST"]);
    let list: String = redis::from_redis_value(list).unwrap();
    let others = list.lines().filter(|client| !client.contains("cmd=client"));
    others.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_has_a_connection_of_its_own() {
    let server = Server::start(&[]);
    let process = Arc::new(Process::new(options(&server)).await);
    until("the first has its own", async || clients(&server).len() == 3).await;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let other = builder.worker_threads(1).enable_all().build().unwrap();
    for _ in 0..3 {
        process.store.attach(other.handle());
    }
    until("the second has its own, too", async || clients(&server).len() == 4).await;
    let mut number = 10;
    until("it is used", async || {
        number += 1;
        let process = Arc::clone(&process);
        other.spawn(async move { process.keep(&key(number), 1, "a").await }).await.unwrap();
        clients(&server).last().unwrap().contains("cmd=eval")
    })
    .await;
    // It ends with its worker, and nobody else minds.
    other.shutdown_background();
    until("it has gone", async || clients(&server).len() == 3).await;
    assert_eq!(process.claim(&key(3), &process.in_flight(3)).await, Ok(Swap::Done));
    assert_eq!(process.store.trouble(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_server_closes_is_replaced_and_nothing_else() {
    let server = Server::start(&[]);
    let process = Process::new(options(&server)).await;
    process.keep(&key(1), 1, "answer").await;
    until("it has its own", async || {
        let clients = clients(&server);
        let is_ours = |cmd| clients.get(2).is_some_and(|client| client.contains(cmd));
        clients.len() == 3 && (is_ours("cmd=info") || is_ours("cmd=eval"))
    })
    .await;
    let before = clients(&server);
    server.ask(&["CLIENT", "KILL", "ID", id(before.last().unwrap())]);
    until("it has another", async || {
        let now = clients(&server);
        now.len() == 3 && id(now.last().unwrap()) != id(before.last().unwrap())
    })
    .await;
    assert_eq!(process.claim(&key(2), &process.in_flight(2)).await, Ok(Swap::Done));
    // What is at hand is dropped where a session ends.
    assert!(process.store.peek(&key(1)).is_some());
    let kept =
        clients(&server).iter().filter(|now| before.iter().any(|it| id(it) == id(now))).count();
    assert_eq!(kept, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_what_is_idle_ends_no_session() {
    let server = Server::start(&["--timeout", "3"]);
    let process = Process::new(options(&server)).await;
    let shared = clients(&server)[..2].to_vec();
    process.keep(&key(1), 1, "answer").await;
    until("it has its own", async || clients(&server).len() == 3).await;
    // The server looks for idle ones once a second; whoever looks after the store is no worker.
    let store = Arc::clone(&process.store);
    let looks_after = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            for _ in 0..40 {
                store.maintain().await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    });
    looks_after.await.unwrap();
    assert_eq!(process.claim(&key(2), &process.in_flight(2)).await, Ok(Swap::Done));
    assert!(process.store.peek(&key(1)).is_some());
    let now = clients(&server);
    for client in &shared {
        assert!(now.iter().any(|it| id(it) == id(client)), "{client}\n{now:?}");
    }
}

/// What the server calls a connection.
fn id(client: &str) -> &str {
    client.split([' ', '=']).nth(1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_late_on_a_workers_own_connection_is_given_back() {
    let server = Server::start(&[]);
    let way = Way::to(&[&server]);
    let asked = way.options(&server);
    let plain = RedisOptions { url: server.url(), ..asked.clone() };
    let (process, other) = (Process::new(asked).await, Process::new(plain).await);
    let (mut number, by_others) = (100, &way.seen.come_by_others);
    until("the worker's own connection is used", async || {
        let before = by_others.load(Ordering::SeqCst);
        number += 1;
        let claim = process.in_flight(number as u64);
        process.claim_at_last(&key(number), &claim).await;
        // What it takes to connect is less than a claim.
        by_others.load(Ordering::SeqCst) > before + 300
    })
    .await;
    way.held_from.send_replace(1);
    let late = number + 1;
    let claimed = process.claim(&key(late), &process.in_flight(late as u64)).await;
    assert!(is_unavailable(&claimed), "{claimed:?}");
    // Long enough for it to be given back twice by the connection that is shared.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(other.load(&key(late)).await, None);
    way.held_from.send_replace(usize::MAX);
    until("the claim has come", async || way.is_clear()).await;
    until("it is given back", async || other.load(&key(late)).await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_another_server_by_now_is_not_followed() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let way = Way::to(&[&first, &second]);
    let process = Process::new(way.options(&first)).await;
    until("another connection was tried", async || way.connections() >= 2).await;
    for number in 10..30 {
        process.claim_at_last(&key(number), &process.in_flight(number as u64)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(process.store.trouble(), None);
    assert!(matches!(second.ask(&["DBSIZE"]), redis::Value::Int(0)));
}
