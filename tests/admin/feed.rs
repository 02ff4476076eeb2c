//! The feed of duplicates.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Act, Gate, Origin, Proxy, client, eventually, within};
use crate::{looked_after, operator};

/// Somebody who reads the feed.
struct Reader {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Reader {
    /// Reads from now on.
    async fn of(proxy: &Proxy) -> Self {
        let mut stream = TcpStream::connect(proxy.admin()).await.unwrap();
        stream.write_all(b"GET /api/duplicates HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut reader = Self { stream, read: Vec::new() };
        reader.until(":\n\n").await;
        let text = String::from_utf8_lossy(&reader.read).into_owned();
        assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
        reader
    }

    /// Reads until this has come.
    async fn until(&mut self, text: &str) {
        within(text, async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                assert_ne!(self.stream.read_buf(&mut self.read).await.unwrap(), 0, "it has ended");
            }
        })
        .await;
    }

    /// The events that have come so far.
    fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.read).into_owned();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|json| serde_json::from_str(json).unwrap()).collect()
    }
}

#[tokio::test]
async fn repeats_are_told_of_and_first_requests_are_not() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let proxy = looked_after(&origin).arg("--wait", "50ms").start().await;
    let mut reader = Reader::of(&proxy).await;
    let pay = |key: &str| client(&proxy).post("/pay?secret=1").key(key).body("10");
    let first = pay("k").send().await;
    let repeat = pay("k").send().await;
    client(&proxy).get("/pay").send().await;
    pay("k").body("11").send().await;
    origin.next(Act::Ledger.after(&gate));
    let running = pay("slow").open().await;
    origin.wait_for_hits(3).await;
    pay("slow").send().await;
    reader.until("in-progress").await;
    gate.open();
    drop((first, running));
    let events = reader.events();
    let shown: Vec<_> = events
        .iter()
        .map(|event| (event["outcome"].as_str().unwrap(), event["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(shown, [("replayed", 201), ("refused", 422), ("refused", 409)], "{events:?}");
    assert_eq!(events[0]["key"].as_str(), repeat.header("duplicate-key"));
    assert_eq!((&events[0]["method"], &events[0]["path"]), (&"POST".into(), &"/pay".into()));
    assert_eq!(events[1]["problem"], "key-reused");
    assert!(!format!("{events:?}").contains("secret"), "a query is nobody's business: {events:?}");
}

/// Who is refused for want of something may be the first to ask.
#[tokio::test]
async fn those_who_are_only_refused_are_not_told_of() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let proxy = looked_after(&origin).arg("--max-flights", "1").start().await;
    let mut reader = Reader::of(&proxy).await;
    let pay = |key: &str| client(&proxy).post("/pay").key(key).body("10");
    let mut running = pay("runs").open().await;
    origin.wait_for_hits(1).await;
    assert_eq!(pay("first").send().await.status, 503);
    gate.open();
    running.read().await;
    assert!(pay("runs").send().await.is_repeat());
    reader.until("replayed").await;
    assert_eq!(reader.events().len(), 1, "{:?}", reader.events());
}

/// Who does not read misses what there was; nobody waits for it.
#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_has_missed() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    let mut reader = Reader::of(&proxy).await;
    let path = format!("/{}", "a".repeat(4000));
    let mut connection = client(&proxy).connect().await;
    for _ in 0..4000 {
        let repeat = client(&proxy).post(&path).key("k").send_on(&mut connection).await;
        assert_eq!(repeat.status, 201);
    }
    reader.until("event: missed\n").await;
    reader.until("\"count\":").await;
}

#[tokio::test]
async fn there_is_room_for_so_many_readers_and_for_others_once_they_have_left() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    let mut readers = Vec::new();
    for _ in 0..16 {
        readers.push(Reader::of(&proxy).await);
    }
    let reply = operator(&proxy).get("/api/duplicates").send().await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    readers.clear();
    eventually("room for a reader", async || {
        let mut stream = TcpStream::connect(proxy.admin()).await.unwrap();
        stream.write_all(b"GET /api/duplicates HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        status == *b"HTTP/1.1 200"
    })
    .await;
}
