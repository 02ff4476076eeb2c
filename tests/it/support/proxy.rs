//! The binary under test: started as a child, watched, signalled, and killed on drop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Folder, Incoming, Origin, Outgoing, Way, eventually, tls, within};

/// The proxy that is yet to start: its arguments and variables.
#[derive(Default)]
pub struct Starting {
    args: Vec<String>,
    env: Vec<(String, String)>,
    folder: Option<Folder>,
    config: Option<PathBuf>,
    /// Lines that the config has in tables besides, as the way asks for.
    keys: Vec<(&'static str, String)>,
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
    pub fn config(mut self, path: impl AsRef<Path>) -> Self {
        self.config = Some(path.as_ref().to_path_buf());
        self
    }

    /// Gives it this to read on its standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Gives it a config file with this text.
    pub fn toml(mut self, text: &str) -> Self {
        let path = self.folder.get_or_insert_with(Folder::new).write("oncegate.toml", text);
        self.config(path)
    }

    /// Speaks with callers, and with an upstream that speaks this, as the way asks for.
    fn on_the_way(mut self, speaks: Outgoing) -> Self {
        if Way::now().incoming == Incoming::Http2Tls {
            let made = tls::made();
            self = self.file("shown.pem", &made.certificate).file("shown.key", &made.key);
            self.keys.push(("tls", "cert_file = \"shown.pem\"".to_owned()));
            self.keys.push(("tls", "key_file = \"shown.key\"".to_owned()));
        }
        if speaks.is_http2() {
            self.keys.push(("upstream", "http2 = true".to_owned()));
        }
        self
    }

    /// Adds to the config what the way asks for.
    fn with_keys(mut self) -> Self {
        if self.keys.is_empty() {
            return self;
        }
        let text = self.config.take().map(|path| std::fs::read_to_string(path).expect("a config"));
        let keys = std::mem::take(&mut self.keys);
        let text = keys
            .iter()
            .fold(text.unwrap_or_default(), |text, (table, line)| with_line(&text, table, line));
        self.toml(&text)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the binary and waits for its ready line.
    pub async fn start(self) -> Proxy {
        let told = self.with_keys();
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command
            .arg("run")
            .args(&told.args)
            .env_clear()
            .env("ONCEGATE_ADMIN", "off")
            .envs(told.env)
            .kill_on_drop(true);
        command.args(told.config.iter().flat_map(|path| ["--config".as_ref(), path.as_os_str()]));
        let stdin = if told.input.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starting the binary");
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), told.input) {
            stdin.write_all(text.as_bytes()).await.expect("the binary reads its input");
        }
        let stdout = Lines::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::read(child.stderr.take().expect("stderr is piped"));
        let ready = within("the ready line", stderr.find(ready_addresses)).await;
        let Some((addr, admin)) = ready else {
            let status = child.wait().await.expect("waiting for the child");
            panic!("the proxy ended with {status} before it was ready:\n{}", stderr.text());
        };
        Proxy { child, addr, admin, stdout, stderr, _folder: told.folder }
    }
}

/// A running proxy.
pub struct Proxy {
    child: Child,
    addr: SocketAddr,
    admin: Option<SocketAddr>,
    stdout: Lines,
    stderr: Lines,
    /// The config, at which it looks again and again.
    _folder: Option<Folder>,
}

impl Proxy {
    /// A proxy before this origin.
    pub fn before(origin: &Origin) -> Starting {
        Self::between(origin.addr, origin.speaks)
    }

    /// A proxy before this address, where somebody may or may not listen.
    pub fn before_address(upstream: SocketAddr) -> Starting {
        Self::between(upstream, Way::now().outgoing)
    }

    fn between(upstream: SocketAddr, speaks: Outgoing) -> Starting {
        Self::before_url(&format!("http://{upstream}")).on_the_way(speaks)
    }

    /// A proxy before what this URL leads to, which speaks with it as its config says.
    pub fn before_url(url: &str) -> Starting {
        Starting::default().arg("--listen", "127.0.0.1:0").arg("--upstream", url)
    }

    /// A proxy that this config file tells everything.
    pub fn told_by(config: impl AsRef<Path>) -> Starting {
        Starting::default().config(config)
    }

    /// The address that it is bound to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of its admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("the test has given it an --admin address")
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
            let lines = sockets.lines().filter(|line| line.contains(&port));
            let mut columns = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
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

    /// Waits until it is connecting to somebody who does not answer.
    pub async fn wait_for_connecting(&self) {
        let pid = self.pid();
        eventually("a connection that is being made", async || {
            let sockets =
                std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
            let owned = sockets_of(pid);
            sockets.lines().skip(1).any(|line| {
                let columns: Vec<_> = line.split_whitespace().collect();
                // SYN_SENT
                matches!(columns[..], [_, _, _, "02", _, _, _, _, _, inode, ..]
                    if owned.iter().any(|socket| socket == inode))
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

    /// Waits for a line of access log that is the last one, and returns those after the first
    /// `from` up to it.
    pub async fn access_lines_since(
        &self,
        from: usize,
        is_last: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let waiting = self.stdout.wait(|lines| {
            let new = lines.get(from..).unwrap_or_default();
            let last = new.iter().position(|line| is_last(line));
            found = last.map_or(&[][..], |last| &new[..=last]).to_vec();
            last.is_some()
        });
        assert!(within("the last line of access log", waiting).await, "the log has ended");
        found
    }
}

impl Drop for Proxy {
    /// Shows what the proxy has to say where a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the proxy:\n{}", self.log());
        }
    }
}

/// The text of a config with a line added to one of its tables, which it may have or not.
fn with_line(config: &str, table: &str, line: &str) -> String {
    let header = format!("[{table}]");
    if config.lines().any(|line| line.trim() == header) {
        return config.replacen(&header, &format!("{header}\n{line}"), 1);
    }
    if config.lines().any(|line| line.trim().starts_with(&format!("{table}."))) {
        return format!("{table}.{line}\n{config}");
    }
    format!("{config}\n{header}\n{line}\n")
}

/// The inodes of the sockets that a process has.
pub fn sockets_of(pid: u32) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let names = links.filter_map(|link| link.to_str().map(str::to_owned));
    names
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

/// The first TCP address in a ready line, and that of the admin listener if it has one, if the line
/// is one, in either format.
fn ready_addresses(line: &str) -> Option<(SocketAddr, Option<SocketAddr>)> {
    if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
        let is_ready = event["message"].as_str()?.contains(" ready");
        let addr = event["listen"].as_str().filter(|_| is_ready).and_then(first_address)?;
        return Some((addr, event["admin"].as_str().and_then(first_address)));
    }
    let line = without_colours(line);
    let rest = line.split_once(" ready ")?.1;
    let address = |name| {
        let mut words = rest.split_whitespace();
        let word = words.find_map(|word| word.strip_prefix(name))?;
        first_address(word.trim_matches('"'))
    };
    Some((address("listen=")?, address("admin=")))
}

fn first_address(addresses: &str) -> Option<SocketAddr> {
    addresses.split(',').find_map(|address| address.parse().ok())
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
