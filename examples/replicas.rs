//! Three instances of Oncegate that share their records in a Redis, before one small API.
//!
//! `cargo run --release --example replicas` starts redis-server, the API and the three, sends a
//! charge to one and its retries to the others, kills one, and shows that there was one charge.
//! With `stay` after a `--`, everything stays up until Ctrl-C. redis-server must be installed.
#![allow(clippy::print_stdout, reason = "it talks to a person")]

#[path = "ledger/api.rs"]
mod api;

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::Parser;
use oncegate::app::App;
use oncegate::cli::{Cli, Command as Asked};
use oncegate::idempotency::Secret;
use oncegate::telemetry::{Format, start_log};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How often something is looked for that is about to come, each tenth of a second.
const LOOKS: usize = 100;

/// The host that callers ask for, whichever instance their requests land on.
const HOST: &str = "account.example";

/// A process that ends with this.
struct Process(Child);

/// An instance of Oncegate, and where it listens.
struct Replica {
    process: Process,
    address: String,
}

/// A folder that goes with this.
struct Folder(PathBuf);

fn main() -> Result<()> {
    // Each instance is this same program, told to be one.
    if std::env::args().nth(1).as_deref() == Some("run") {
        return be_replica();
    }
    let folder = Folder::make()?;
    let api = api::start()?;
    let _redis = start_redis(&folder.0)?;
    let replica = || Replica::start(&folder.0, &format!("http://{api}"));
    let (mut one, two, three) = (replica()?, replica()?, replica()?);
    println!("One Redis, one API, and three instances of Oncegate between:");
    for replica in [&one, &two, &three] {
        println!("    http://{}", replica.address);
    }
    println!("\nA charge, sent to the first:\n{}", one.charge("order-1")?);
    println!("Its retry lands on the second:\n{}", two.charge("order-1")?);
    one.process.0.kill()?;
    println!("The first is killed. A retry lands on the third:\n{}", three.charge("order-1")?);
    println!("The account, asked by way of the second:\n{}", two.send("GET /account", "")?);
    if std::env::args().nth(1).as_deref() == Some("stay") {
        println!("All but the first stay up until Ctrl-C.");
        loop {
            thread::park();
        }
    }
    Ok(())
}

/// Runs as `oncegate` would with these arguments.
fn be_replica() -> Result<()> {
    let _log = start_log(Format::Text, tracing::Level::WARN)?;
    let Asked::Run(run) = Cli::try_parse()?.command else {
        return Err("not the command that was given".into());
    };
    let given = run.given();
    let (settings, files) = given.load(&Secret::random()?);
    let app = App::start(given, settings?, files)?;
    let address = app.addresses().first().ok_or("it listens nowhere")?;
    println!("{address}");
    Ok(app.run_until_signal()?)
}

impl Replica {
    fn start(folder: &Path, api: &str) -> Result<Self> {
        let (redis, secret) = (folder.join("redis"), folder.join("secret"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--access-log",
            "off",
            "--admin",
            "off",
            "--upstream",
            api,
        ]);
        command.args(["--store", &format!("redis+unix://{}", redis.display())]);
        command.arg("--store-secret-file").arg(secret).stdout(Stdio::piped());
        let mut process = Process(command.spawn()?);
        let stdout = process.0.stdout.take().ok_or("its standard output is not there")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        match address.trim() {
            "" => Err("an instance has not started".into()),
            address => Ok(Self { process, address: address.to_owned() }),
        }
    }

    fn charge(&self, order: &str) -> Result<String> {
        let key = format!("Idempotency-Key: {order}\r\n");
        self.send("POST /charges", &format!("{key}Content-Length: 9\r\n\r\namount=10"))
    }

    /// Sends a request, and returns the answer as a person would read it.
    fn send(&self, request: &str, rest: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let end = if rest.is_empty() { "\r\n" } else { rest };
        let head = format!("{request} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
        stream.write_all(format!("{head}{end}").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let lines: Vec<_> = answer.lines().map(|line| format!("    {line}\n")).collect();
        Ok(lines.concat())
    }
}

fn start_redis(folder: &Path) -> Result<Process> {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--unixsocket", "redis", "--save", "", "--appendonly", "no"]);
    command.current_dir(folder).stdout(Stdio::null());
    let process =
        command.spawn().map_err(|error| format!("redis-server can't be started: {error}"));
    let process = Process(process?);
    for _ in 0..LOOKS {
        if folder.join("redis").exists() {
            return Ok(process);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("redis-server has not started".into())
}

impl Folder {
    fn make() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("oncegate-replicas-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let folder = Self(folder);
        // All instances derive their keys from the same secret, and find each other's records.
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        fs::write(folder.0.join("secret"), secret)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is one of the system's temporary folders, which are cleared some day anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
