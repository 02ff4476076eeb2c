//! Programs that tests drive: found, run to their ends, or kept running for as long as a test takes.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::support::within;

/// What the install script notes last: the lock file that it has installed.
const LOCK: &str = include_str!("requirements.txt");

/// The Debian package of each program.
const PACKAGES: [(&str, &str); 8] = [
    ("chromedriver", "chromium-driver"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("nghttp", "nghttp2-client"),
    ("nghttpd", "nghttp2-server"),
    ("nginx", "nginx"),
    ("openssl", "openssl"),
];

/// A program with its arguments.
pub struct Program {
    name: String,
    command: Command,
    input: Vec<u8>,
}

/// A program that has ended.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Program {
    /// A program of the system, which must be installed.
    pub fn new(name: &str) -> Self {
        Self::at(name, &find(name))
    }

    /// A driver in Python.
    pub fn driver(name: &str) -> Self {
        let drivers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/drivers");
        let program = Self::at(name, &libraries().join("venv/bin/python"));
        program.arg("-I").arg("-u").arg(Path::new(drivers).join(name))
    }

    fn at(name: &str, path: &Path) -> Self {
        let mut command = Command::new(path);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { name: name.to_owned(), command, input: Vec::new() }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Gives it this to read on its standard input.
    pub fn input(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.input = bytes.as_ref().to_vec();
        self
    }

    /// Runs it to its end, which must come.
    pub async fn run(mut self) -> Ran {
        self.command.stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() });
        let mut child = self.spawn();
        let (stdin, input) = (child.stdin.take(), self.input);
        let told = async {
            if let Some(mut stdin) = stdin {
                // Whoever has heard enough may leave before the end.
                stdin.write_all(&input).await.ok();
            }
        };
        let ended = async { tokio::join!(child.wait_with_output(), told).0 };
        let output = within(&format!("the end of {}", self.name), ended).await;
        let output = output.expect("waiting for a program");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { status: output.status, stdout: output.stdout, stderr }
    }

    /// Starts it, and lets it run until it is dropped.
    pub fn start(mut self) -> Running {
        self.command.stdin(Stdio::null());
        let mut child = self.spawn();
        let (told, changed) = watch::channel(());
        let lines = Arc::<Mutex<Vec<String>>>::default();
        note(child.stdout.take().expect("stdout is piped"), &lines, told.clone());
        note(child.stderr.take().expect("stderr is piped"), &lines, told);
        Running { name: self.name, lines, changed, child }
    }

    fn spawn(&mut self) -> Child {
        self.command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.name))
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}", self.status, self.text(), self.stderr)
    }
}

impl Ran {
    /// The same, which must have ended well.
    #[track_caller]
    pub fn well(self) -> Self {
        assert!(self.status.success(), "{self:?}");
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it has written, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text(), self.stderr))
    }
}

/// A program that runs until it is dropped.
pub struct Running {
    name: String,
    lines: Arc<Mutex<Vec<String>>>,
    changed: watch::Receiver<()>,
    child: Child,
}

impl Running {
    /// The lines that it has written so far, to both its outputs.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// Ends it at once.
    pub async fn end(mut self) {
        self.child.kill().await.expect("ending a program");
    }

    /// How many of its lines are this one.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|found| *found == line).count()
    }

    /// What the first line says that says something.
    pub async fn says<T>(&self, what: &str, fits: impl Fn(&str) -> Option<T>) -> T {
        let mut changed = self.changed.clone();
        let waited_for = format!("{what} from {}", self.name);
        let found = within(&waited_for, async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = self.lines().iter().find_map(|line| fits(line)) {
                    return Some(found);
                }
                if changed.changed().await.is_err() {
                    return self.lines().iter().find_map(|line| fits(line));
                }
            }
        });
        found.await.unwrap_or_else(|| panic!("{} says no {what}: {:?}", self.name, self.lines()))
    }
}

/// Notes the lines of an output as they come.
fn note(
    output: impl AsyncRead + Unpin + Send + 'static,
    lines: &Arc<Mutex<Vec<String>>>,
    told: watch::Sender<()>,
) {
    let lines = Arc::clone(lines);
    tokio::spawn(async move {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.lock().expect("lines").push(text);
            told.send_replace(());
            line.clear();
        }
    });
}

/// Where a program is; servers may be where only administrators look.
fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        let package = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = package.map_or(name, |(_, package)| package);
        panic!("There is no {name} here: install {package}, which tests/run does.")
    })
}

/// The folder of the installed libraries, which must be those that the lock file names.
fn libraries() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    let stamp = std::fs::read_to_string(folder.join("stamp")).unwrap_or_default();
    assert!(
        stamp.ends_with(LOCK),
        "gRPC and WebSockets for Python are not installed in {}: run tests/peers/install, which \
         tests/run does.",
        folder.display(),
    );
    folder
}
