//! Listing what is on a server is in nobody's way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oncegate::idempotency::{Record, RecordKey};
use oncegate::store::{RedisOptions, SealKeys, Store as _, Summary, Swap};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::{Process, options};
use crate::list::{self, Whole};
use crate::server::{Folder, Server};
use crate::{PATIENCE, key};

const KEYS: &str = "only:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

/// The size of an answer that is large.
const LARGE: usize = 900_000;

/// Keeps large answers, and some that are small.
async fn fill(process: &Process, count: usize) -> BTreeMap<RecordKey, Record> {
    let large = "x".repeat(LARGE);
    let mut filled = BTreeMap::new();
    for number in 0..count {
        let body = if number % 4 == 0 { "small" } else { &large[number..] };
        let kept = process.keep(&key(number), number as u64, body).await;
        filled.insert(key(number), kept);
    }
    filled
}

/// A record in short, without the times that are translated whenever it is read.
fn but_for_times(summary: Summary) -> Summary {
    let now = summary.expires_at;
    Summary { kept_at: summary.kept_at.map(|_| now), expires_at: now, ..summary }
}

#[track_caller]
fn check(process: &Process, whole: &Whole, filled: &BTreeMap<RecordKey, Record>) {
    assert_eq!((whole.records.len(), whole.unreadable), (filled.len(), 0));
    assert_eq!(whole.keys().len(), filled.len());
    for shown in &whole.records {
        let expected = Summary::of(&shown.key, &filled[&shown.key], process.clock.now());
        let expected = Summary { expires_at: shown.expires_at, ..expected };
        assert_eq!(but_for_times(shown.clone()), but_for_times(expected));
    }
}

/// How many bytes the server has sent until now.
fn sent(server: &Server) -> u64 {
    let redis::Value::BulkString(told) = server.ask(&["INFO", "stats"]) else { panic!() };
    let told = String::from_utf8(told).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_listed_and_not_fetched() {
    let server = Server::start(&[]);
    let writer = options(&server);
    let reader = Process::new(RedisOptions { front_bytes_max: 0, ..writer.clone() }).await;
    let writer = Process::new(writer).await;
    let filled = fill(&writer, 60).await;
    for process in [&reader, &writer] {
        let before = sent(&server);
        let whole = list::all_of(&*process.store, process.clock.now(), 500).await;
        check(process, &whole, &filled);
        let sent = sent(&server) - before;
        assert!(sent < LARGE as u64, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_listed_where_they_are_encrypted() {
    let server = Server::start(&[]);
    let seal_keys = Some(Arc::new(SealKeys::parse(KEYS).unwrap()));
    let process = Process::new(RedisOptions { seal_keys, ..options(&server) }).await;
    let filled = fill(&process, 110).await;
    let whole = list::all_of(&*process.store, process.clock.now(), 500).await;
    check(&process, &whole, &filled);
    // A page has an end although there is room for more records.
    assert_eq!(whole.pages, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_there_is_listed_as_unreadable_at_worst() {
    let server = Server::start(&[]);
    let options = options(&server);
    let process = Process::new(options.clone()).await;
    let filled = fill(&process, 8).await;
    let name = |number: usize| {
        let digits = key(number).as_bytes().map(|byte| format!("{byte:02x}")).concat();
        format!("oncegate:{{{}:{digits}}}", options.namespace)
    };
    server.ask(&["DEL", &name(1)]);
    server.ask(&["RPUSH", &name(1), "no value"]);
    // Each of the bytes before the answer, one after the other.
    let mut changed = 0;
    for at in 0..300 {
        let at = at.to_string();
        let redis::Value::BulkString(before) = server.ask(&["GETRANGE", &name(2), &at, &at]) else {
            panic!()
        };
        server.ask(&["SETRANGE", &name(2), &at, if before == b"z" { "y" } else { "z" }]);
        let whole = list::all_of(&*process.store, process.clock.now(), 500).await;
        assert!((1..=2).contains(&whole.unreadable), "{at}: {}", whole.unreadable);
        let listed = whole.records.len() + usize::try_from(whole.unreadable).unwrap();
        // What seems to have expired is neither.
        assert!((filled.len() - 1..=filled.len()).contains(&listed), "{at}: {listed}");
        changed += usize::from(whole.unreadable == 2);
        let mut command = redis::cmd("SETRANGE");
        let command = command.arg(name(2)).arg(&at).arg(before);
        let _: redis::Value = command.query(&mut server.connection()).unwrap();
    }
    assert!(changed > 40, "{changed}");
    // Cut to less than its head says, or to a beginning alone.
    let redis::Value::BulkString(beginning) = server.ask(&["GETRANGE", &name(2), "0", "1023"])
    else {
        panic!()
    };
    for length in [0, 1, 26, 27, 76, 100, 1023, 1024] {
        let mut command = redis::cmd("SET");
        let command = command.arg(name(2)).arg(&beginning[..length]);
        let _: redis::Value = command.query(&mut server.connection()).unwrap();
        let whole = list::all_of(&*process.store, process.clock.now(), 500).await;
        assert!((1..=2).contains(&whole.unreadable), "{length}: {}", whole.unreadable);
    }
}

/// A way to a server on which nothing is answered any more once the server is asked for its keys.
struct Way {
    folder: Folder,
    asked: watch::Receiver<bool>,
}

impl Way {
    fn to(server: &Server) -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let (to, (tells, asked)) = (server.socket(), watch::channel(false));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, to.clone(), tells.clone()));
            }
        });
        Self { folder, asked }
    }
}

async fn carry(mut client: UnixStream, to: PathBuf, tells: watch::Sender<bool>) {
    let Ok(mut server) = UnixStream::connect(to).await else { return };
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(read @ 1..) => {
                    if asked[..read].windows(4).any(|word| word == b"SCAN") {
                        tells.send_replace(true);
                        return std::future::pending().await;
                    }
                    if server.write_all(&asked[..read]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(read @ 1..) => if client.write_all(&answered[..read]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_do_not_wait_behind_a_list() {
    let server = Server::shared();
    let mut way = Way::to(&server);
    let url = format!("redis+unix://{}", way.folder.path().join("s").display());
    let url = url.parse().unwrap();
    let timeout = PATIENCE / 3;
    let process = Process::new(RedisOptions { url, timeout, ..options(&server) }).await;
    process.keep(&key(0), 0, "answer").await;
    let (store, now) = (Arc::clone(&process.store), process.clock.now());
    let list = tokio::spawn(async move { list::all_of(&*store, now, 500).await });
    way.asked.wait_for(|asked| *asked).await.unwrap();
    // As many as have every connection in use.
    for number in 1..200 {
        let kept = process.keep(&key(number), number as u64, "answer").await;
        assert_eq!(process.release(&key(number), &kept).await, Ok(Swap::Done));
    }
    assert_eq!(process.store.trouble(), None);
    assert!(!list.is_finished());
    list.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_gets_no_answer_fails_and_the_next_one_does_not() {
    let server = Server::start(&[]);
    let timeout = Duration::from_millis(300);
    let process = Process::new(RedisOptions { timeout, ..options(&server) }).await;
    process.claim_at_last(&key(0), &process.in_flight(1)).await;
    let listed = async || list::all_of(&*process.store, process.clock.now(), 500).await;
    assert_eq!(listed().await.records.len(), 1);
    // The server closes what has been idle, and may not even say so.
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    process.claim_at_last(&key(1), &process.in_flight(2)).await;
    assert_eq!(listed().await.records.len(), 2);
    server.end();
    server.start_again();
    process.claim_at_last(&key(2), &process.in_flight(3)).await;
    assert_eq!(listed().await.records.len(), 1);
}
