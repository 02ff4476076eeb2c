//! Stands between the proxy and the origin, and reads every byte that goes to it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::strict::{self, Head};

/// A request as it went to the origin.
#[derive(Clone, Debug)]
pub struct Forwarded {
    pub method: String,
    pub target: String,
    pub head: Head,
    pub body: Vec<u8>,
}

/// One connection of the proxy.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    /// Every byte that was sent.
    pub bytes: Vec<u8>,
    /// How many of these were whole requests.
    pub read: usize,
    /// Why the rest is not one.
    pub fault: Option<String>,
    pub has_ended: bool,
}

#[derive(Default)]
struct State {
    connections: Vec<Carried>,
    requests: Vec<Forwarded>,
}

/// A relay on loopback that knows what went through it.
pub struct Tap {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Tap {
    /// A relay to this address.
    pub async fn before(origin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, origin, Arc::clone(&shared)));
            }
        });
        Self { addr, state, accepting }
    }

    /// The whole requests after the first `from`, in their order.
    pub fn since(&self, from: usize) -> Vec<Forwarded> {
        self.state.lock().expect("the tap").requests[from..].to_vec()
    }

    /// All connections so far.
    pub fn connections(&self) -> Vec<Carried> {
        self.state.lock().expect("the tap").connections.clone()
    }

    /// The connections on which something else than whole requests was sent.
    pub fn broken(&self) -> Vec<(usize, Carried)> {
        let state = self.state.lock().expect("the tap");
        let numbered = state.connections.iter().enumerate();
        let broken = numbered.filter(|(_, one)| one.fault.is_some() || one.read < one.bytes.len());
        broken.map(|(number, one)| (number, one.clone())).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn carry(&mut self, number: usize, bytes: &[u8]) {
        let Self { connections, requests } = self;
        let connection = &mut connections[number];
        connection.bytes.extend_from_slice(bytes);
        while connection.fault.is_none() {
            match request(&connection.bytes[connection.read..]) {
                Ok(Some((request, length))) => {
                    connection.read += length;
                    requests.push(request);
                }
                Ok(None) => return,
                Err(fault) => connection.fault = Some(fault),
            }
        }
    }
}

async fn relay(stream: TcpStream, origin: SocketAddr, state: Arc<Mutex<State>>) {
    let number = {
        let mut state = state.lock().expect("the tap");
        state.connections.push(Carried::default());
        state.connections.len() - 1
    };
    let onward = TcpStream::connect(origin).await.expect("connecting to the origin");
    stream.set_nodelay(true).ok();
    onward.set_nodelay(true).ok();
    let (mut requests, mut answers) = stream.into_split();
    let (mut from_origin, mut to_origin) = onward.into_split();
    tokio::spawn(async move {
        copy(&mut from_origin, &mut answers).await.ok();
        answers.shutdown().await.ok();
    });
    let mut buffer = Vec::with_capacity(8192);
    while requests.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        state.lock().expect("the tap").carry(number, &buffer);
        to_origin.write_all(&buffer).await.ok();
        buffer.clear();
    }
    state.lock().expect("the tap").connections[number].has_ended = true;
    to_origin.shutdown().await.ok();
}

/// Reads a request that nobody could read in another way.
fn request(bytes: &[u8]) -> strict::Read<Forwarded> {
    let Some((head, at)) = strict::head(bytes)? else { return Ok(None) };
    let words: Vec<_> = head.start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err(format!("a request line {:?}", head.start));
    };
    if !strict::is_token(method.as_bytes()) || target.is_empty() || head.all("host").len() != 1 {
        return Err(format!("a request for nobody, or of no method: {head:?}"));
    }
    let (method, target) = (method.to_owned(), target.to_owned());
    let body = strict::body(&bytes[at..], head.framing()?)?;
    Ok(body.map(|(body, length)| (Forwarded { method, target, head, body }, at + length)))
}
