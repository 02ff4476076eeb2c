//! Redis servers that tests start, and end with themselves.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use oncegate::store::RedisUrl;

use crate::PATIENCE;

/// A server, which ends when this is dropped.
pub(crate) struct Server {
    folder: Folder,
    child: Mutex<Child>,
    arguments: Vec<String>,
}

/// A folder that goes when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        // Short: the path of a Unix socket has little room.
        let path = std::env::temp_dir().join(format!("og-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Server {
    /// A server on a Unix socket.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::try_start(arguments).expect("the server has ended")
    }

    /// The same, unless it ends at once: a port may have been taken meanwhile.
    pub(crate) fn try_start(arguments: &[&str]) -> Option<Self> {
        let server = Self::spawn(&program(), Folder::new(), arguments);
        let mut has_ended = false;
        until("the server answers or ends", || {
            has_ended = server.child.lock().unwrap().try_wait().unwrap().is_some();
            has_ended || server.answers()
        });
        (!has_ended).then_some(server)
    }

    /// The server that all cases share which need none of their own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(&[]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub(crate) fn spawn(program: &str, folder: Folder, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = Mutex::new(run(program, &folder, &arguments));
        Self { folder, child, arguments }
    }

    pub(crate) fn url(&self) -> RedisUrl {
        format!("redis+unix://{}", self.socket().display()).parse().unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A connection that the test has to itself.
    pub(crate) fn connection(&self) -> redis::Connection {
        self.try_connect().expect("a connection")
    }

    /// The same, if the server takes one.
    pub(crate) fn try_connect(&self) -> Option<redis::Connection> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket().display()));
        client.unwrap().get_connection().ok()
    }

    /// Asks the server for something.
    pub(crate) fn ask(&self, command: &[&str]) -> redis::Value {
        ask(&mut self.connection(), command)
    }

    /// Sends a signal to the server's process.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends the server at once.
    pub(crate) fn end(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts the server again, which then has nothing that was not saved.
    pub(crate) fn start_again(&self) {
        fs::remove_file(self.socket()).ok();
        *self.child.lock().unwrap() = run(&program(), &self.folder, &self.arguments);
        until("the server answers", || self.answers());
    }

    fn answers(&self) -> bool {
        self.try_connect().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            // It may be stopped, and has to be ended all the same.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The server that is started: Redis, or what `ONCEGATE_REDIS_SERVER` names that speaks as it does.
fn program() -> String {
    std::env::var("ONCEGATE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn run(program: &str, folder: &Folder, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    if program == self::program() {
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "s"]);
        command.args(["--unixsocketperm", "700"]);
    }
    command.args(arguments).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("{program} can't be started: install redis-server, which tests/run does ({error})")
    })
}

/// Asks a server for something, and must get it.
pub(crate) fn ask(connection: &mut redis::Connection, command: &[&str]) -> redis::Value {
    let mut asked = redis::cmd(command[0]);
    for argument in &command[1..] {
        asked.arg(*argument);
    }
    asked.query(connection).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A port that is free at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
