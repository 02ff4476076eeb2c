//! An upstream that speaks HTTP/2, counts what it executes, and answers as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Gate, within};

/// One request as it reached the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    pub method: String,
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The number of the connection that it came on, from 1.
    pub connection: usize,
}

impl Entry {
    /// The value of a header field, where there is one line of text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// How the ledger answers.
#[derive(Clone, Default)]
pub struct Saying {
    pub status: u16,
    pub lines: Vec<(&'static str, String)>,
    pub pieces: Vec<Vec<u8>>,
    pub trailers: Vec<(&'static str, &'static str)>,
    /// What it waits for before it answers.
    pub gate: Option<Gate>,
    /// What it waits for after the first piece.
    pub body_gate: Option<Gate>,
    /// Statuses of interim answers.
    pub interim: Vec<u16>,
}

impl Saying {
    pub fn new(body: impl AsRef<[u8]>) -> Self {
        Self { status: 200, pieces: vec![body.as_ref().to_vec()], ..Self::default() }
    }

    pub fn after(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }
}

type Script = Arc<dyn Fn(&Entry) -> Saying + Send + Sync>;

struct State {
    entries: Vec<Entry>,
    executions: HashMap<Vec<u8>, usize>,
    connections: usize,
    /// How many connections have ended.
    ended: usize,
    script: Script,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<usize>,
}

/// A server on loopback that executes what it is sent by HTTP/2, and remembers it.
#[derive(Clone)]
pub struct Ledger {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Ledger {
    /// A ledger that lets so many requests run on a connection.
    pub async fn start(streams_max: u32) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), streams_max).await
    }

    /// The same at this address.
    pub async fn at(addr: SocketAddr, streams_max: u32) -> Self {
        let listener = TcpListener::bind(addr).await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            entries: Vec::new(),
            executions: HashMap::new(),
            connections: 0,
            ended: 0,
            script: Arc::new(|_| Saying::new("done")),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::channel(0).0 });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = accepting.note(|state| {
                    state.connections += 1;
                    state.connections
                });
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move {
                    serve(stream, connection, streams_max, &shared).await;
                    shared.note(|state| state.ended += 1);
                });
            }
        });
        Self { addr, shared }
    }

    /// Lets `script` choose the answer to each request, once it has been executed.
    pub fn respond(&self, script: impl Fn(&Entry) -> Saying + Send + Sync + 'static) {
        self.shared.note(|state| state.script = Arc::new(script));
    }

    /// Answers every request so.
    pub fn always(&self, saying: Saying) {
        self.respond(move |_| saying.clone());
    }

    /// How many whole requests have come.
    pub fn hits(&self) -> usize {
        self.shared.note(|state| state.entries.len())
    }

    /// The highest number of executions of requests with one body.
    pub fn executions_max(&self) -> usize {
        self.shared.note(|state| state.executions.values().copied().max().unwrap_or_default())
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> usize {
        self.shared.note(|state| state.connections)
    }

    /// The last whole request.
    pub fn last(&self) -> Entry {
        self.shared.note(|state| state.entries.last().cloned()).expect("a request has come")
    }

    pub async fn wait_for_hits(&self, count: usize) {
        self.wait(&format!("{count} hits"), |state| state.entries.len() >= count).await;
    }

    /// Waits until so many connections have come and gone.
    pub async fn wait_for_ends(&self, count: usize) {
        self.wait(&format!("the end of {count} connections"), |state| state.ended >= count).await;
    }

    async fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(what, async {
            while !holds(&self.shared.state.lock().expect("the ledger")) {
                changed.changed().await.expect("the ledger is there");
            }
        })
        .await;
    }
}

impl Shared {
    /// Changes the state and tells those who wait for it.
    fn note<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().expect("the ledger"));
        self.changed.send_modify(|changes| *changes += 1);
        result
    }
}

async fn serve(stream: TcpStream, connection: usize, streams_max: u32, shared: &Arc<Shared>) {
    stream.set_nodelay(true).ok();
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams_max).initial_window_size(1 << 20);
    let Ok(mut requests) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = requests.accept().await {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            if let Some(saying) = execute(request, connection, &shared).await {
                // A caller who has left is none of the ledger's business.
                let _ = say(saying, respond).await;
            }
        });
    }
}

/// Reads a request and writes it into the ledger; nothing if it does not come whole.
async fn execute(
    request: Request<RecvStream>,
    connection: usize,
    shared: &Shared,
) -> Option<Saying> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.ok()?;
        stream.flow_control().release_capacity(piece.len()).ok()?;
        body.extend_from_slice(&piece);
    }
    let entry = Entry {
        method: parts.method.to_string(),
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body,
        trailers: stream.trailers().await.ok()?,
        connection,
    };
    let script = shared.note(|state| {
        *state.executions.entry(entry.body.clone()).or_default() += 1;
        state.entries.push(entry.clone());
        Arc::clone(&state.script)
    });
    Some(script(&entry))
}

async fn say(saying: Saying, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    for status in saying.interim {
        let interim = Response::builder().status(status).header("x-interim", "1").body(());
        respond.send_informational(interim.expect("an interim answer"))?;
    }
    if let Some(gate) = &saying.gate {
        gate.passed().await;
    }
    let mut head = Response::builder().status(saying.status);
    for (name, value) in saying.lines {
        head = head.header(name, value);
    }
    let is_empty = saying.pieces.iter().all(Vec::is_empty) && saying.trailers.is_empty();
    let mut stream = respond.send_response(head.body(()).expect("an answer"), is_empty)?;
    if is_empty {
        return Ok(());
    }
    for (number, piece) in saying.pieces.iter().enumerate() {
        if let Some(gate) = saying.body_gate.as_ref().filter(|_| number == 1) {
            gate.passed().await;
        }
        send(&mut stream, piece).await?;
    }
    if saying.trailers.is_empty() {
        return stream.send_data(Bytes::new(), true);
    }
    let mut trailers = HeaderMap::new();
    for (name, value) in saying.trailers {
        trailers.insert(name, value.parse().expect("a value"));
    }
    stream.send_trailers(trailers)
}

/// Sends a piece no faster than the other side takes it.
async fn send(stream: &mut SendStream<Bytes>, piece: &[u8]) -> Result<(), h2::Error> {
    for part in piece.chunks(16 << 10) {
        stream.reserve_capacity(part.len());
        while stream.capacity() < part.len() {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(more) => drop(more?),
                None => return Err(h2::Reason::CANCEL.into()),
            }
        }
        stream.send_data(Bytes::copy_from_slice(part), false)?;
    }
    Ok(())
}
