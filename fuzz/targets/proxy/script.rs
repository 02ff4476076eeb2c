//! What an input makes the caller and the upstream do.
//!
//! It is divided by the byte 0xFE: first, how they behave, and then one step after the other, each
//! with what it does in its first byte.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream as Socket;
use std::sync::Arc;
use std::time::Duration;

use oncegate::upstream::Protocol;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::DEADLINE;
use super::stage::Way;
use super::upstream::Upstream;

/// What divides the steps.
const DIVIDER: u8 = 0xfe;

/// What stands for the key, wherever it is: as long as every key.
const KEY: &[u8] = b"@key@key";

/// More steps would say no more than these.
const STEPS_MAX: usize = 40;

/// How long a step waits for somebody else to do something.
const PATIENCE: Duration = Duration::from_millis(15);

/// How long the upstream's connections stay while callers wait for more.
const STAY: Duration = Duration::from_millis(200);

/// What the caller and the upstream do.
#[derive(Debug)]
pub struct Script {
    /// What the upstream speaks.
    pub protocol: Protocol,
    /// Whether connections of the upstream's stay when all is done, and nobody waits for more.
    pub stays: bool,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    /// The caller writes.
    Call(Vec<u8>),
    /// It goes on over another connection.
    CallAgain,
    /// It has said all over this one.
    Finish,
    /// It leaves.
    Leave,
    /// The upstream writes.
    Answer(Vec<u8>),
    /// It closes its last connection.
    Close,
    /// It reads nothing more over its last connection.
    Ignore,
    /// Both wait until the upstream has got something.
    Wait,
    /// Both do nothing for a moment.
    Rest,
}

impl Script {
    /// Reads an input, with this key in the place of what stands for one.
    pub fn read(data: &[u8], key: &str) -> Self {
        let mut parts = data.split(|byte| *byte == DIVIDER);
        let manner = parts.next().unwrap_or_default();
        let protocol = match manner.contains(&b'2') {
            true => Protocol::Http2,
            false => Protocol::Http1,
        };
        // What an HTTP/2 connection has been told stays with it.
        let stays = manner.contains(&b's') && protocol == Protocol::Http1;
        let steps = parts.filter_map(|part| Step::read(part, key)).take(STEPS_MAX).collect();
        Self { protocol, stays, steps }
    }
}

impl Step {
    fn read(part: &[u8], key: &str) -> Option<Self> {
        let (kind, rest) = part.split_first()?;
        Some(match kind {
            b'c' => Self::Call(with_key(rest, key)),
            b'n' => Self::CallAgain,
            b'f' => Self::Finish,
            b'q' => Self::Leave,
            b'u' => Self::Answer(with_key(rest, key)),
            b'x' => Self::Close,
            b'i' => Self::Ignore,
            b'w' => Self::Wait,
            b'r' => Self::Rest,
            _ => return None,
        })
    }
}

fn with_key(bytes: &[u8], key: &str) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), bytes);
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(KEY) {
            replaced.extend_from_slice(key.as_bytes());
            rest = after;
        } else {
            replaced.push(*first);
            rest = after;
        }
    }
    replaced
}

/// One connection of the caller's: it reads whatever comes.
struct Caller {
    stream: Arc<UnixStream>,
    reading: JoinHandle<()>,
}

impl Caller {
    async fn connect(way: &Way) -> Self {
        let stream = Arc::new(UnixStream::connect(&way.listen).await.expect("connecting"));
        let reader = Arc::clone(&stream);
        let reading = tokio::spawn(async move { while read(&reader).await.is_some() {} });
        Self { stream, reading }
    }

    /// Waits until the proxy has closed the connection, which this side has done.
    async fn ended(self) {
        let ended = tokio::time::timeout(DEADLINE, self.reading).await;
        ended.expect("a connection hangs").expect("reading");
    }
}

/// Does all steps, and waits until the caller's connections have ended.
pub async fn perform(script: &Script, way: &Way, upstream: &Upstream) {
    let mut callers = vec![Caller::connect(way).await];
    for step in &script.steps {
        let caller = callers.last().map(|caller| Arc::clone(&caller.stream));
        match (step, caller) {
            (Step::Call(bytes), Some(caller)) => write(&caller, bytes).await,
            (Step::Finish, Some(caller)) => shut_down(&caller, std::net::Shutdown::Write),
            (Step::Leave, Some(caller)) => shut_down(&caller, std::net::Shutdown::Both),
            (Step::CallAgain, _) => callers.push(Caller::connect(way).await),
            (Step::Answer(bytes), _) => upstream.answer(bytes, PATIENCE).await,
            (Step::Close, _) => upstream.close(),
            (Step::Ignore, _) => upstream.ignore(),
            (Step::Wait, _) => upstream.receives(PATIENCE).await,
            (Step::Rest, _) => tokio::time::sleep(Duration::from_millis(1)).await,
            (Step::Call(_) | Step::Finish | Step::Leave, None) => {}
        }
    }
    for caller in &callers {
        shut_down(&caller.stream, std::net::Shutdown::Write);
    }
    let stays = script.stays && tokio::time::timeout(STAY, all_ended(&callers)).await.is_ok();
    if !stays {
        // An answer may go on for as long as its connection does.
        upstream.close_all();
    }
    for caller in callers {
        caller.ended().await;
    }
}

async fn all_ended(callers: &[Caller]) {
    while callers.iter().any(|caller| !caller.reading.is_finished()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads once; nothing at the end.
pub async fn read(stream: &UnixStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1 << 14];
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(length) => {
                bytes.truncate(length);
                return Some(bytes);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// Writes these bytes, as far as the other side takes them soon.
pub async fn write(stream: &UnixStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, stream.ready(Interest::WRITABLE)).await
        else {
            return;
        };
        match stream.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Ends what is said over a connection, or all of it.
pub fn shut_down(stream: &UnixStream, how: std::net::Shutdown) {
    // Whoever has ended it already has done the same.
    if let Ok(socket) = stream.as_fd().try_clone_to_owned() {
        let _ = Socket::from(socket).shutdown(how);
    }
}
