//! What a test does by hand: an upstream byte by byte, raw requests, and the binary run to its end.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, ChildStderr, Command};

use super::wire::{Ending, Fields, Framing, Wire};
use super::{Client, How, Origin, Proxy, Reply, Request, assert_problem, eventually, within};

/// A port that is taken, and at which nobody listens: connections to it are refused.
pub struct Reserved {
    socket: TcpSocket,
    pub addr: SocketAddr,
}

impl Reserved {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    /// This port. Whoever listens there next must do so with `SO_REUSEADDR`.
    pub fn at(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("setting SO_REUSEADDR");
        socket.bind(addr).expect("binding");
        let addr = socket.local_addr().expect("a bound socket has an address");
        Self { socket, addr }
    }

    /// An origin at this port.
    pub async fn serve(self) -> Origin {
        Origin::at(self.addr).await
    }

    /// The port, which is free from now on.
    pub fn release(self) -> SocketAddr {
        self.addr
    }
}

/// An upstream that does nothing by itself: the test accepts, reads and writes.
pub struct Peer {
    listener: TcpListener,
    pub addr: SocketAddr,
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        Self { listener, addr }
    }

    /// The next connection, which must come.
    pub async fn accept(&self) -> Exchange {
        let accepted = within("a connection to the upstream", self.listener.accept()).await;
        Exchange { wire: Wire::new(accepted.expect("accepting").0) }
    }

    /// Fails if a connection waits to be accepted.
    #[track_caller]
    pub fn assert_no_more_connections(&self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.listener.poll_accept(&mut context).is_pending(), "nobody has connected");
    }
}

/// One connection of the proxy to a [`Peer`].
pub struct Exchange {
    wire: Wire,
}

impl Exchange {
    /// The next request, which must come whole.
    pub async fn request(&mut self) -> (Fields, Vec<u8>) {
        let head = within("the head of a request", self.wire.head()).await;
        let head = head.expect("a well-formed head").expect("a request");
        let length = head.first("content-length").and_then(|length| length.parse().ok());
        let framing = match length {
            _ if head.has_token("transfer-encoding", "chunked") => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Empty,
        };
        let (body, ending) = within("the end of a request", self.wire.body(framing)).await;
        assert_eq!(ending, Ending::Complete, "the request comes whole");
        (head, body)
    }

    /// The head of the next request, which must come; its body is left unread.
    pub async fn head(&mut self) -> Fields {
        let head = within("the head of a request", self.wire.head()).await;
        head.expect("a well-formed head").expect("a request")
    }

    /// Exactly so many bytes.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        let (bytes, ending) = within("bytes", self.wire.body(Framing::Length(count))).await;
        assert_eq!(ending, Ending::Complete, "{count} bytes come");
        bytes
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = within("room to write", self.wire.write(bytes.as_ref())).await;
        written.expect("the proxy takes what is written");
    }

    /// Writes these bytes, if the proxy still takes any.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("room to write", self.wire.write(bytes.as_ref())).await
    }

    /// Everything that comes until the proxy closes.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        within("the end of the connection", self.wire.rest()).await
    }

    /// Fails if anything has come that was not read, the end of the connection included.
    pub async fn assert_nothing_came(&mut self) {
        let at_hand = tokio::time::timeout(Duration::ZERO, self.wire.begins()).await;
        assert!(at_hand.is_err(), "nothing was read beyond the head");
        let mut byte = [MaybeUninit::uninit()];
        let queued = socket2::SockRef::from(&self.wire.stream).peek(&mut byte);
        let kind = queued.map_err(|error| error.kind());
        assert_eq!(kind, Err(std::io::ErrorKind::WouldBlock), "nothing is queued");
    }

    /// Waits until these bytes have come, and leaves them to be read.
    pub async fn sees(&mut self, bytes: &[u8]) {
        let what = format!("{} to come", bytes.escape_ascii());
        assert!(within(&what, self.wire.holds(bytes)).await, "it ended without them");
    }

    pub fn close(self, how: How) {
        how.close(self.wire.stream);
    }
}

/// Sends these bytes and nothing more on one connection, and reads every answer until its end.
pub async fn talk(proxy: &Proxy, bytes: impl AsRef<[u8]>) -> Vec<Reply> {
    let mut connection = Client::of(proxy.addr()).connect().await;
    connection.write(bytes.as_ref()).await;
    connection.finish().await;
    let mut replies = Vec::new();
    while let Ok(reply) = connection.try_read().await {
        replies.push(reply);
    }
    let (rest, _) = connection.rest().await;
    assert!(rest.is_empty(), "no answer: {}", rest.escape_ascii());
    replies
}

/// Fails unless the caller was told that the upstream broke off, and a repeat is told so, too.
pub async fn assert_held(broken: &Reply, request: Request) {
    assert_problem(broken, 502, "upstream-broken");
    assert_eq!(broken.json()["retryable"], false, "{broken:?}");
    assert_unknown(broken.header("duplicate-key"), request).await;
}

/// Fails unless a repeat is told that the outcome is unknown.
pub async fn assert_unknown(duplicate_key: Option<&str>, request: Request) {
    let repeat = request.send().await;
    assert_problem(&repeat, 409, "outcome-unknown");
    assert_eq!(repeat.json()["retryable"], false, "{repeat:?}");
    assert!(repeat.has("duplicate-key"), "{repeat:?}");
    if duplicate_key.is_some() {
        assert_eq!(repeat.header("duplicate-key"), duplicate_key, "{repeat:?}");
    }
}

/// Waits until nobody holds an established connection to this port.
pub async fn none_connected_to(addr: SocketAddr) {
    let port = format!(":{:04X}", addr.port());
    eventually("the end of all connections to the upstream", async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
        !sockets.lines().filter(|line| line.contains(&port)).any(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            matches!(columns[..], [_, _, remote, "01", ..] if remote.ends_with(&port))
        })
    })
    .await;
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with these arguments and variables until it ends by itself.
pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
    command
        .args(args)
        .env_clear()
        .env("ONCEGATE_ADMIN", "off")
        .envs(env.iter().copied())
        .kill_on_drop(true);
    let output = within("the end of the binary", command.stdin(Stdio::null()).output()).await;
    let output = output.expect("starting the binary");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// A run of the binary with arguments of the test's own, from its first line of log to its end.
pub struct Instance {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Instance {
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command
            .args(args)
            .env_clear()
            .env("ONCEGATE_ADMIN", "off")
            .envs(env.iter().copied())
            .kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starting the binary");
        let log = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        Self { child, log }
    }

    /// The next line of its log; nothing once it has ended.
    pub async fn line(&mut self) -> Option<String> {
        within("a line of log", self.log.next_line()).await.expect("reading the log")
    }

    /// A shell that runs this script with its process id as `PID`, and is sent its input.
    pub fn shell(&self, script: &str) -> Child {
        let pid = self.child.id().expect("it runs").to_string();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).env("PID", pid).stdin(Stdio::piped()).kill_on_drop(true);
        shell.spawn().expect("starting a shell")
    }

    pub fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal was accepted");
    }

    /// Waits for its end: the status, and the rest of its log.
    pub async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        let status = within("the end of the binary", self.child.wait()).await;
        (status.expect("waiting for the child"), rest)
    }
}

/// A figure in bytes of `/proc/PID/status`, such as `VmHWM`.
pub fn memory(proxy: &Proxy, figure: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid()));
    let status = status.expect("the status of a process that runs");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("the figure");
    let kib = line.trim_matches([':', '\t', ' ', 'k', 'B']);
    kib.parse::<usize>().expect("a number") * 1024
}
