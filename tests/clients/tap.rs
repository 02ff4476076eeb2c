//! A tap between a client and the proxy: passes everything on, and remembers it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ledger::{decoded, operations_of};
use crate::support::{Client, Ending, Fields, Framing, Reply, Wire, problem_of};

/// One request of the client, and what it was told.
#[derive(Clone)]
pub struct Attempt {
    pub operations: Vec<String>,
    pub head: Fields,
    pub body: Vec<u8>,
    /// Nothing if the client left before.
    pub reply: Option<Reply>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = decoded(&self.head, &self.body);
        writeln!(f, "\n{} {:?}", self.head.start, self.head.lines)?;
        write!(f, "{} -> {}", String::from_utf8_lossy(&body), self.answer())
    }
}

impl Attempt {
    /// The answer in a word: a problem of the proxy, or a status, and whether it is a repeat.
    pub fn answer(&self) -> String {
        let Some(reply) = &self.reply else { return "none".to_owned() };
        let answer = problem_of(reply).unwrap_or_else(|| reply.status.to_string());
        if reply.is_repeat() { format!("{answer} again") } else { answer }
    }

    /// What is not the same in both: names of header fields, and pointers into a JSON body.
    pub fn differences(&self, other: &Self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if self.head.start != other.head.start {
            found.insert("request line".to_owned());
        }
        let names = self.head.lines.iter().chain(&other.head.lines);
        let names = names.map(|line| line.name.to_ascii_lowercase());
        // another gzip of another text may have another length
        for name in names.filter(|name| name != "content-length") {
            if self.head.all(&name) != other.head.all(&name) {
                found.insert(name);
            }
        }
        let bodies = [self, other].map(|attempt| decoded(&attempt.head, &attempt.body));
        match bodies.each_ref().map(|body| serde_json::from_slice::<Value>(body)) {
            [Ok(one), Ok(two)] => compare(&one, &two, "", &mut found),
            _ if bodies[0] == bodies[1] => {}
            _ => drop(found.insert("body".to_owned())),
        }
        found
    }
}

fn compare(one: &Value, two: &Value, place: &str, found: &mut BTreeSet<String>) {
    match (one, two) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys()) {
                compare(&one[name], &two[name], &format!("{place}/{name}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, &format!("{place}/{index}"), found);
            }
        }
        _ if one == two => {}
        _ => drop(found.insert(place.to_owned())),
    }
}

struct Shared {
    proxy: SocketAddr,
    attempts: Mutex<Vec<Attempt>>,
    repeats: mpsc::UnboundedSender<Vec<String>>,
}

/// A listener whose connections lead to the proxy.
pub struct Tap {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Tap {
    /// A tap, and the operations that it hears for a second time, once they are passed on.
    pub async fn before(proxy: SocketAddr) -> (Self, mpsc::UnboundedReceiver<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (repeats, heard) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { proxy, attempts: Mutex::default(), repeats });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        (Self { addr, shared, accepting }, heard)
    }

    /// All attempts in their order.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.attempts.lock().expect("attempts").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// Passes on one connection until either side leaves; the other is left then, too.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut client = Wire::new(stream);
    let mut proxy = Client::of(shared.proxy).connect().await;
    while let Ok(Some(head)) = client.head().await {
        let length = head.first("content-length").and_then(|length| length.parse().ok());
        let framing = length.map_or(Framing::Empty, Framing::Length);
        let (body, ending) = client.body(framing).await;
        if ending != Ending::Complete {
            return;
        }
        proxy.write(&bytes_of(&head, &body)).await;
        let number = shared.heard(head, body);
        let reply = tokio::select! {
            biased;
            _ = client.fill() => return,
            reply = proxy.try_read() => reply,
        };
        let Ok(reply) = reply else { return };
        let answer = bytes_of(&reply.head, &reply.body);
        shared.told(number, reply);
        if client.write(&answer).await.is_err() {
            return;
        }
    }
}

impl Shared {
    fn heard(&self, head: Fields, body: Vec<u8>) -> usize {
        let operations = operations_of(&head, &body);
        let mut attempts = self.attempts.lock().expect("attempts");
        if attempts.iter().any(|earlier| earlier.operations == operations) {
            self.repeats.send(operations.clone()).ok();
        }
        attempts.push(Attempt { operations, head, body, reply: None });
        attempts.len() - 1
    }

    fn told(&self, number: usize, reply: Reply) {
        self.attempts.lock().expect("attempts")[number].reply = Some(reply);
    }
}

fn bytes_of(head: &Fields, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}\r\n", head.start).into_bytes();
    for line in &head.lines {
        bytes.extend_from_slice(line.name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(&line.value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
