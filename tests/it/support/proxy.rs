//! The binary under test: started as a child, watched, signalled, and killed on drop.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Folder, Origin, eventually, within};

/// The proxy that is yet to start: its arguments and variables.
pub struct Starting {
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<Folder>,
    input: Option<String>,
}

impl Starting {
    /// Adds a flag with its value, such as `--wait 2s`.
    pub fn arg(mut self, flag: &str, value: &str) -> Self {
        self.args.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Writes a file beside the config, which may name it.
    pub fn file(mut self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        self.folder.get_or_insert_with(Folder::new).write(name, contents);
        self
    }

    /// Reads this config file; what it says of the upstream and the address does not count.
    pub fn config(self, path: impl AsRef<Path>) -> Self {
        self.arg("--config", &path.as_ref().to_string_lossy())
    }

    /// Gives it this to read on its standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Gives it a config file with this text.
    pub fn toml(mut self, text: &str) -> Self {
        let path = self.folder.get_or_insert_with(Folder::new).write("oncegate.toml", text);
        self.arg("--config", &path)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary and waits for its ready line.
    pub async fn start(self) -> Proxy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command.arg("run").args(&self.args).env_clear().envs(self.env).kill_on_drop(true);
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starting the binary");
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), self.input) {
            stdin.write_all(text.as_bytes()).await.expect("the binary reads its input");
        }
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr is piped"));
        let ready = within("the ready line", stderr.find(ready_address)).await;
        let Some(addr) = ready else {
            let status = child.wait().await.expect("waiting for the child");
            panic!("the proxy ended with {status} before it was ready:\n{}", stderr.text());
        };
        Proxy { child, addr, stdout, stderr, _folder: self.folder }
    }
}

/// A running proxy.
pub struct Proxy {
    child: Child,
    addr: SocketAddr,
    stdout: Lines,
    stderr: Lines,
    /// The config, at which it looks again and again.
    _folder: Option<Folder>,
}

impl Proxy {
    /// A proxy before this origin.
    pub fn before(origin: &Origin) -> Starting {
        Self::before_address(origin.addr)
    }

    /// A proxy before this address, where somebody may or may not listen.
    pub fn before_address(upstream: SocketAddr) -> Starting {
        let starting = Starting { args: Vec::new(), env: Vec::new(), folder: None, input: None };
        starting.arg("--listen", "127.0.0.1:0").arg("--upstream", &format!("http://{upstream}"))
    }

    /// A proxy that this config file tells everything.
    pub fn told_by(config: impl AsRef<Path>) -> Starting {
        Starting { args: Vec::new(), env: Vec::new(), folder: None, input: None }.config(config)
    }

    /// The address that it is bound to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the proxy runs")
    }

    /// Sends a signal by its name, such as `TERM` or `STOP`.
    pub fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        let sent = kill.arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} was accepted");
    }

    /// Asks it to drain, as a scheduler does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Ends it at once.
    pub async fn kill_9(&mut self) {
        self.child.kill().await.expect("killing the child");
    }

    /// Waits until it has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let ended = within("the end of the proxy", self.child.wait()).await;
        ended.expect("waiting for the child")
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("asking for the child").is_none()
    }

    /// Waits until it has accepted every connection and read every byte that was sent to it.
    pub async fn has_read_all(&self) {
        let port = format!(":{:04X}", self.addr.port());
        eventually("an empty receive queue of the proxy", async || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            let mut columns =
                sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            columns.all(|columns| match columns[..] {
                // a listener's queue counts connections, a connection's bytes and its end
                [_, local, _, state, queues, ..] if local.ends_with(&port) => {
                    let end_only = state == "08" && queues.ends_with(":00000001");
                    end_only || queues.ends_with(":00000000")
                }
                _ => true,
            })
        })
        .await;
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// What is in its access log so far.
    pub fn access_log(&self) -> String {
        self.stdout.text()
    }

    /// Waits for a line of its log that `holds`.
    pub async fn wait_for_log(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let found = within(what, self.stderr.find(|line| holds(line).then(|| line.to_owned())));
        found.await.unwrap_or_else(|| panic!("the log ended without {what}:\n{}", self.log()))
    }

    /// Waits until the access log has so many lines, and returns them.
    pub async fn access_lines(&self, count: usize) -> Vec<String> {
        let what = format!("{count} lines of access log");
        within(&what, self.stdout.wait(|lines| lines.len() >= count)).await;
        self.stdout.lines.lock().expect("lines").clone()
    }
}

/// The address in a ready line, if the line is one, in either format.
fn ready_address(line: &str) -> Option<SocketAddr> {
    if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
        let is_ready = event["message"].as_str()?.contains(" ready");
        return event["listen"].as_str().filter(|_| is_ready)?.parse().ok();
    }
    let line = without_colours(line);
    let rest = line.split_once(" ready ")?.1;
    let word = rest.split_whitespace().find_map(|word| word.strip_prefix("listen="));
    word.and_then(|addr| addr.trim_matches('"').parse().ok())
}

/// The line without terminal escapes, which a log may put around its words.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// The lines of one output of the child, as they come.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    changed: watch::Receiver<usize>,
}

impl Lines {
    fn read(output: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, changed) = watch::channel(0);
        let shared = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                shared.lock().expect("lines").push(text);
                told.send_modify(|count| *count += 1);
                line.clear();
            }
        });
        Self { lines, changed }
    }

    fn text(&self) -> String {
        self.lines.lock().expect("lines").join("\n")
    }

    /// Waits until the lines hold; false if the output ends before.
    async fn wait(&self, mut holds: impl FnMut(&[String]) -> bool) -> bool {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if holds(&self.lines.lock().expect("lines")) {
                return true;
            }
            if changed.changed().await.is_err() {
                return holds(&self.lines.lock().expect("lines"));
            }
        }
    }

    /// What the first fitting line says; nothing if the output ends before.
    async fn find<T>(&self, fits: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.wait(|lines| {
            found = lines.iter().find_map(|line| fits(line));
            found.is_some()
        })
        .await;
        found
    }
}
