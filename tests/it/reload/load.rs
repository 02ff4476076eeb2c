//! Another config every second, under load: no request fails, and nothing is executed twice.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Heard, Setup};
use crate::support::{Client, Connection, Folder, Origin, Proxy, Reply, client, eventually};

const CLIENTS: usize = 6;

/// How long it lasts, in seconds, unless this variable says so.
const SECONDS: &str = "ONCEGATE_RELOAD_SECONDS";
const SECONDS_DEFAULT: u64 = 60;

/// What a client has counted.
#[derive(Debug, Default)]
struct Counts {
    keys: usize,
    requests: usize,
    executed: usize,
    repeats: usize,
    passed: usize,
    failed: Vec<String>,
}

/// A config that differs from the one before it in much, and derives the same keys.
fn good(origin: SocketAddr, number: usize) -> String {
    fn pick<const N: usize>(number: usize, of: [&str; N]) -> &str {
        of[number % N]
    }
    let host = pick(number, ["127.0.0.1", "127.0.0.2"]);
    let log = pick(number, ["off", "off", "duplicates"]);
    let timeout = pick(number, ["30s", "2m", "5m"]);
    let window = pick(number, ["1h", "24h", "7d", "2h", "3d"]);
    let response = pick(number, ["1MiB", "64KiB"]);
    let lists = pick(
        number,
        [
            "",
            "keep = [\"4xx\"]",
            "release = [503, 404]\nhold = [500]",
            "keep = [\"5xx\", 429]\non_unknown = \"release\"",
        ],
    );
    let charges = "[[route]]\nname = \"charges\"\npath = \"/charges/{id}\"\nwindow = \"7d\"\n";
    let others = "[[route]]\nname = \"search\"\npath = \"/search\"\nmode = \"off\"\n\
                  [[route]]\nname = \"all\"\nforward_key = \"X-Key\"\n";
    let routes = pick(number, ["", charges, others]);
    format!(
        "listen = \"127.0.0.1:0\"\nupstream.url = \"http://{host}:{}\"\n\
         upstream.timeout = \"{timeout}\"\ntelemetry.log_format = \"json\"\n\
         telemetry.access_log = \"{log}\"\n[defaults]\nwindow = \"{window}\"\n\
         max_response = \"{response}\"\n{lists}\n{routes}",
        origin.port()
    )
}

/// A config that is not taken.
fn bad(origin: SocketAddr, number: usize) -> String {
    let good = good(origin, number);
    match number % 4 {
        0 => good[..good.len() / 2].to_owned() + "\n= [",
        1 => format!("workers = 9\n{good}"),
        2 => good.replace("[defaults]", "[defaults]\ncaller = [\"header:X-Other\"]"),
        _ => String::new(),
    }
}

/// Sends keys until the end, each of them three times.
async fn calls(client: Client, name: usize, end: Instant) -> Counts {
    let mut counts = Counts::default();
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(client.connect().await);
    }
    while Instant::now() < end && counts.failed.is_empty() {
        let number = counts.keys;
        let op = format!("op-{name}-{number}");
        let target = format!("/charges/{}", number % 7);
        let request = client.post(&target).key(&op).body(format!(r#"{{"op":"{op}"}}"#)).bytes();
        let replies = match number % 2 {
            0 => at_once(&mut connections, &request).await,
            _ => one_by_one(&mut connections[number % 3], &request).await,
        };
        counts.add(&op, replies);
        let get = client.get("/search").bytes();
        match one(&mut connections[0], &get).await {
            Ok(reply) if reply.status == 201 => counts.passed += 1,
            other => counts.failed.push(format!("GET: {other:?}")),
        }
        sleep(Duration::from_millis(3)).await;
    }
    counts
}

async fn one(connection: &mut Connection, request: &[u8]) -> std::io::Result<Reply> {
    connection.write(request).await;
    connection.try_read().await
}

async fn at_once(connections: &mut [Connection], request: &[u8]) -> Vec<std::io::Result<Reply>> {
    for connection in &mut *connections {
        connection.write(request).await;
    }
    let mut replies = Vec::new();
    for connection in connections {
        replies.push(connection.try_read().await);
    }
    replies
}

async fn one_by_one(connection: &mut Connection, request: &[u8]) -> Vec<std::io::Result<Reply>> {
    vec![
        one(connection, request).await,
        one(connection, request).await,
        one(connection, request).await,
    ]
}

impl Counts {
    /// Counts the three answers to one key: one is executed, and the others are its repeats.
    fn add(&mut self, op: &str, replies: Vec<std::io::Result<Reply>>) {
        self.keys += 1;
        self.requests += replies.len();
        let (mut executed, mut bodies) = (0, Vec::new());
        for reply in replies {
            match reply {
                Ok(reply) if reply.status == 201 && !reply.is_cut() => {
                    executed += usize::from(!reply.is_repeat());
                    self.repeats += usize::from(reply.is_repeat());
                    bodies.push(reply.body);
                }
                other => self.failed.push(format!("{op}: {other:?}")),
            }
        }
        self.executed += executed;
        if executed != 1 || bodies.iter().any(|body| *body != bodies[0]) {
            self.failed.push(format!("{op}: {executed} were executed"));
        }
    }
}

/// What was said of the settings that were asked for. On a slow machine, the look at the files may
/// find them, too.
fn asked(setup: &Setup) -> Vec<Heard> {
    setup.said().into_iter().filter(|heard| heard.cause == "SIGHUP").collect()
}

#[tokio::test]
async fn another_config_every_second_fails_nothing_and_repeats_nothing() {
    let seconds = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT));
    let origin = Origin::at("0.0.0.0:0".parse().expect("an address")).await;
    let folder = Folder::new();
    let config = folder.write("oncegate.toml", good(origin.addr, 0));
    let proxy = Proxy::told_by(config).start().await;
    let setup = Setup { folder, origin, proxy, heard: Cell::new(0) };
    let mut callers = JoinSet::new();
    for name in 0..CLIENTS {
        callers.spawn(calls(client(&setup.proxy), name, end));
    }
    let (mut taken, mut refused) = (0, 0);
    for number in 1.. {
        sleep(Duration::from_secs(1)).await;
        if Instant::now() >= end {
            break;
        }
        let is_bad = number % 5 == 0;
        let text = if is_bad {
            bad(setup.origin.addr, number / 5)
        } else {
            good(setup.origin.addr, number)
        };
        let before = asked(&setup).len();
        setup.folder.replace("oncegate.toml", text);
        setup.proxy.signal("HUP");
        eventually("a word on the settings", async || asked(&setup).len() > before).await;
        let heard = &asked(&setup)[before];
        assert_eq!(heard.refused.is_some(), is_bad, "config {number}: {heard:?}");
        *(if is_bad { &mut refused } else { &mut taken }) += 1;
    }
    let all = callers.join_all().await;
    let sum = |count: fn(&Counts) -> usize| all.iter().map(count).sum::<usize>();
    let failed: Vec<_> = all.iter().flat_map(|counts| &counts.failed).collect();
    eprintln!(
        "{taken} configs were taken and {refused} refused; {} keys, {} requests: {} executed, {} \
         repeated, {} passed, {} failed; {} executions of one operation at most",
        sum(|counts| counts.keys),
        sum(|counts| counts.requests),
        sum(|counts| counts.executed),
        sum(|counts| counts.repeats),
        sum(|counts| counts.passed),
        failed.len(),
        keyed_max(&setup.origin),
    );
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(keyed_max(&setup.origin), 1);
    assert_eq!(sum(|counts| counts.executed), sum(|counts| counts.keys));
    let posts = setup.origin.requests().iter().filter(|sent| sent.method == "POST").count();
    assert_eq!(posts, sum(|counts| counts.keys));
}

/// The most executions of an operation that had a key.
fn keyed_max(origin: &Origin) -> usize {
    let requests = origin.requests();
    let posts = requests.iter().filter(|sent| sent.method == "POST");
    posts.map(|sent| origin.executions(&sent.operation())).max().unwrap_or_default()
}
