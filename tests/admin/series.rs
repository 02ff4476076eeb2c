//! Whatever callers and the upstream send, the number of series stays what it was.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::operator;
use crate::support::Proxy;

/// How many requests there are, on how many connections.
const REQUESTS: usize = 100_000;
const CONNECTIONS: usize = 8;

/// How many are sent before their answers are read.
const BATCH: usize = 50;

/// Numbers that look random and are the same in each run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap()
    }

    fn word(&mut self) -> String {
        const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";
        (0..=self.next() % 12).map(|_| char::from(LETTERS[self.next() % 26])).collect()
    }
}

/// An upstream that answers everything with some status.
async fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut random = Random(1);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Random(random.next() as u64)));
        }
    });
    addr
}

/// Answers each request, none of which has a body.
async fn answer(mut stream: TcpStream, mut random: Random) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        while let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let is_head = read.starts_with(b"HEAD ");
            read.drain(..end + 4);
            let status = 200 + random.next() % 400;
            let length =
                if is_head || matches!(status, 204 | 304) { "" } else { "Content-Length: 0\r\n" };
            let answer = format!("HTTP/1.1 {status} Some\r\n{length}\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Sends so many requests of all kinds over one connection at a time, and reads their answers.
async fn load(addr: SocketAddr, seed: u64, count: usize) {
    const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let mut random = Random(seed);
    let mut sent = 0;
    while sent < count {
        let mut requests = String::new();
        let batch = BATCH.min(count - sent);
        for number in 0..batch {
            let method = match random.next() % 4 {
                0 => random.word().to_uppercase(),
                _ => METHODS[random.next() % METHODS.len()].to_owned(),
            };
            let (path, key) = (random.word(), random.word());
            let close = if number + 1 == batch { "Connection: close\r\n" } else { "" };
            let _ = write!(
                requests,
                "{method} /{path} HTTP/1.1\r\nHost: {}.example\r\nIdempotency-Key: {key}\r\n\
                 Content-Length: 0\r\n{close}\r\n",
                random.word()
            );
        }
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        // An instance may close a connection on which it has refused something.
        stream.read_to_end(&mut answers).await.ok();
        assert!(answers.starts_with(b"HTTP/1.1 "), "nothing was answered");
        sent += batch;
    }
}

async fn series(proxy: &Proxy) -> Vec<String> {
    let text = operator(proxy).get("/metrics").send().await.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_outside_can_make_another_series() {
    let upstream = start_upstream().await;
    let proxy = Proxy::before_address(upstream).arg("--admin", "127.0.0.1:0");
    let proxy = proxy.arg("--access-log", "off").start().await;
    let before = series(&proxy).await;
    let loads: Vec<_> = (0..CONNECTIONS as u64)
        .map(|seed| tokio::spawn(load(proxy.addr(), seed, REQUESTS / CONNECTIONS)))
        .collect();
    for load in loads {
        load.await.unwrap();
    }
    assert_eq!(series(&proxy).await, before);
    let status = operator(&proxy).get("/api/status").send().await.json();
    let counted: u64 =
        status["requests"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(counted >= REQUESTS as u64 * 9 / 10, "{counted} of {REQUESTS} were counted");
    println!("{} series after {counted} requests", before.len());
}
