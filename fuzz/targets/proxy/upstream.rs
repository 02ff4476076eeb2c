//! An upstream that counts what reaches it whole, and answers what it is told to, until it behaves.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oncegate::upstream::Protocol;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::observer::{Answers, observe};
use super::script::{read, shut_down, write};
use super::stage::Way;
use super::strict::{self, Head};
use super::{DEADLINE, frames};

/// Methods that are guarded.
const GUARDED: [&str; 4] = ["DELETE", "PATCH", "POST", "PUT"];

/// Fields that say whose a request is, for whom, and what it is, besides its key.
const IDENTITY: [&str; 8] = [
    "authorization",
    "content-type",
    "cookie",
    "host",
    "x-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// What an operation was executed for: its method, its path, and what says whose it is. Two of one
/// operation are equal.
pub type Execution = Vec<String>;

/// What an upstream that behaves answers to the operation with this key.
pub fn answer_to(key: &str) -> Vec<u8> {
    format!("done {key}").into_bytes()
}

/// What an operation is, if it is one that is guarded by this key.
pub fn execution<'a>(
    key: &str,
    (method, target): (&str, &[u8]),
    lines: impl Fn(&'static str) -> Vec<&'a [u8]>,
) -> Option<Execution> {
    let [own] = lines("idempotency-key")[..] else { return None };
    let has_key = strict::find(own, key.as_bytes()).is_some();
    if !has_key || !GUARDED.contains(&method) {
        return None;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut execution = vec![method.as_bytes().to_vec(), path.to_vec(), own.to_vec()];
    for name in IDENTITY {
        // Its content is compared, and is no part of the key, unless it is gRPC.
        let is_compared =
            |line: &&[u8]| name == "content-type" && !line.starts_with(b"application/grpc");
        let said = lines(name).into_iter().filter(|line| !is_compared(line));
        let mut said = said.collect::<Vec<_>>().join(&b'\n');
        if name == "host" {
            said.make_ascii_lowercase();
        }
        execution.push(said);
    }
    Some(execution.iter().map(|part| part.escape_ascii().to_string()).collect())
}

/// An upstream that listens.
pub struct Upstream {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

pub struct Shared {
    key: String,
    protocol: Protocol,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    behaves: bool,
    connections: Vec<Connection>,
    executions: Vec<Execution>,
    /// How many bytes have come, and how many had when that was last looked at.
    received: usize,
    looked_at: usize,
    fault: Option<String>,
}

struct Connection {
    stream: Arc<UnixStream>,
    /// What was written to it.
    answered: Vec<u8>,
    is_ignored: bool,
}

impl Upstream {
    /// Listens for what has this key.
    pub fn listen(way: &Way, key: &str) -> Self {
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            protocol: way.protocol,
            state: Mutex::default(),
            changed: Notify::new(),
        });
        let (listener, accepted) = (Arc::clone(&way.upstream), Arc::clone(&shared));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.accept(stream);
            }
        });
        Self { shared, accepting }
    }

    /// Writes these bytes to the last connection, or to one that is made soon.
    pub async fn answer(&self, bytes: &[u8], patience: Duration) {
        if self.state().connections.is_empty() {
            self.changes(patience, |state| !state.connections.is_empty()).await;
        }
        let stream = self.state().connections.last_mut().map(|last| {
            last.answered.extend_from_slice(bytes);
            Arc::clone(&last.stream)
        });
        if let Some(stream) = stream {
            write(&stream, bytes).await;
        }
    }

    /// Waits until more has come, but not for long.
    pub async fn receives(&self, patience: Duration) {
        self.changes(patience, |state| state.received > state.looked_at).await;
        // What belongs together may come in pieces.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut state = self.state();
        state.looked_at = state.received;
    }

    async fn changes(&self, patience: Duration, holds: impl Fn(&State) -> bool) {
        let changes = async {
            while !holds(&self.state()) {
                self.shared.changed.notified().await;
            }
        };
        // What has not come is not waited for.
        let _ = tokio::time::timeout(patience, changes).await;
    }

    /// Closes the last connection.
    pub fn close(&self) {
        if let Some(last) = self.state().connections.last() {
            shut_down(&last.stream, Shutdown::Both);
        }
    }

    /// Reads nothing more from the last connection.
    pub fn ignore(&self) {
        if let Some(last) = self.state().connections.last_mut() {
            last.is_ignored = true;
        }
    }

    /// Closes all connections.
    pub fn close_all(&self) {
        for connection in &self.state().connections {
            shut_down(&connection.stream, Shutdown::Both);
        }
    }

    /// Answers from now on as it should.
    pub fn behave(&self) {
        self.state().behaves = true;
    }

    /// What has been executed so far.
    pub fn executions(&self) -> Vec<Execution> {
        self.state().executions.clone()
    }

    /// Whether what it has answered may have meant that nothing was executed.
    pub fn may_have_released(&self) -> bool {
        let state = self.state();
        let mut answers = state.connections.iter().map(|connection| &connection.answered);
        match self.shared.protocol {
            Protocol::Http1 => answers.any(|answer| frames::may_release_http1(answer)),
            Protocol::Http2 => answers.any(|answer| frames::may_release_http2(answer)),
        }
    }

    /// Ends it, and fails if anything was sent that could be read in two ways.
    pub async fn end(&self) {
        self.accepting.abort();
        let ended = async {
            while self.state().connections.iter().any(|one| Arc::strong_count(&one.stream) > 1) {
                self.shared.changed.notified().await;
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.expect("an upstream that ends");
        let fault = self.state().fault.take();
        assert_eq!(fault, None, "what is sent on has one meaning");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, stream: UnixStream) {
        let stream = Arc::new(stream);
        let connection =
            Connection { stream: Arc::clone(&stream), answered: Vec::new(), is_ignored: false };
        let (number, behaves) = {
            let mut state = self.state();
            state.connections.push(connection);
            (state.connections.len() - 1, state.behaves)
        };
        self.changed.notify_one();
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            match (shared.protocol, behaves) {
                (Protocol::Http1, _) => shared.serve(&stream, number).await,
                (Protocol::Http2, false) => shared.watch(&stream, number).await,
                (Protocol::Http2, true) => shared.serve_http2(&stream).await,
            }
            shut_down(&stream, Shutdown::Both);
            drop(stream);
            shared.changed.notify_one();
        });
    }

    /// Reads requests of HTTP/1.1, and answers them if it behaves.
    async fn serve(&self, stream: &UnixStream, number: usize) {
        let mut unread = Vec::new();
        while let Some(bytes) = self.more(stream, number).await {
            unread.extend_from_slice(&bytes);
            loop {
                match whole(&unread) {
                    Ok(Some((_, 0))) => return self.drain(stream).await,
                    Ok(Some((head, length))) => {
                        unread.drain(..length);
                        self.executed(&head);
                    }
                    Ok(None) => break,
                    Err(fault) => {
                        self.state().fault.get_or_insert(fault);
                        return;
                    }
                }
                if self.state().behaves {
                    let body = answer_to(&self.key);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    write(stream, &[head.into_bytes(), body].concat()).await;
                }
            }
        }
    }

    /// Reads whatever comes over a connection that is no longer HTTP.
    async fn drain(&self, stream: &UnixStream) {
        while read(stream).await.is_some() {}
    }

    /// Lets a server see what comes in HTTP/2, while nobody sees what it says to that.
    async fn watch(&self, stream: &UnixStream, number: usize) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut unheard, mut told) = tokio::io::split(near);
        let copying = async {
            while let Some(bytes) = self.more(stream, number).await {
                if told.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            self.drain(stream).await;
        };
        let mut nowhere = tokio::io::sink();
        let observing = async {
            let silence = tokio::io::copy(&mut unheard, &mut nowhere);
            let _ = tokio::join!(observe(far, self, Answers::Nothing), silence);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = copying => {}
            () = observing => {}
        }
    }

    /// Answers in HTTP/2.
    async fn serve_http2(&self, stream: &UnixStream) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (mut answers, mut told) = tokio::io::split(near);
        let requests = async {
            while let Some(bytes) = read(stream).await {
                if told.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        };
        let replies = async {
            let mut bytes = Vec::with_capacity(1 << 14);
            while tokio::io::AsyncReadExt::read_buf(&mut answers, &mut bytes)
                .await
                .is_ok_and(|length| length > 0)
            {
                write(stream, &bytes).await;
                bytes.clear();
            }
        };
        tokio::select! {
            () = requests => {}
            ((), ()) = async { tokio::join!(observe(far, self, Answers::All), replies) } => {}
        }
    }

    /// What comes next, unless it is ignored.
    async fn more(&self, stream: &UnixStream, number: usize) -> Option<Vec<u8>> {
        let bytes = read(stream).await?;
        if self.state().connections[number].is_ignored {
            return None;
        }
        self.state().received += bytes.len();
        self.changed.notify_one();
        Some(bytes)
    }

    fn executed(&self, head: &Head) {
        let (method, target) = head.start.split_once(' ').unwrap_or_default();
        let target = target.strip_suffix(" HTTP/1.1").unwrap_or_default();
        let found = execution(&self.key, (method, target.as_bytes()), |name| head.all(name));
        let Some(execution) = found else { return };
        let framings = head.framings();
        let mut state = self.state();
        if framings != (1, 0) {
            state.fault = Some(format!("{framings:?} framing fields in {head:?}"));
        }
        state.executions.push(execution);
    }

    /// Notes an execution.
    pub fn note(&self, execution: Execution) {
        self.state().executions.push(execution);
    }

    /// The key of what is counted.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a whole request, and says how long it is: nothing for one after which the connection may
/// be something else.
fn whole(bytes: &[u8]) -> strict::Read<Head> {
    let Some((head, at)) = strict::head(bytes)? else { return Ok(None) };
    if !head.start.ends_with(" HTTP/1.1") || head.all("host").len() != 1 {
        return Err(format!("a request line, or its host: {head:?}"));
    }
    if !head.all("upgrade").is_empty() {
        return Ok(Some((head, 0)));
    }
    let body = strict::body(&bytes[at..], head.framing()?)?;
    Ok(body.map(|(_, length)| (head, at + length)))
}
