//! The program, kept running for as long as a test takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::tools::oncegate;

/// How long anything may take before its test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running instance, which ends with the test.
pub struct Instance {
    child: Child,
    admin: SocketAddr,
}

impl Instance {
    /// One before nothing at all.
    pub fn start() -> Self {
        let nothing = ["run", "--upstream", "http://127.0.0.1:9"];
        let free = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::of(oncegate().args(nothing).args(free))
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The one that this command starts, once it is ready.
    pub fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut instance = Self { child, admin: ([0; 4], 0).into() };
        let (told, said) = mpsc::channel();
        // To its end, since whatever it says must find a reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The test may have ended.
                let _ = told.send(line);
            }
        });
        let mut before = Vec::new();
        while let Ok(line) = said.recv_timeout(DEADLINE) {
            if let Some(admin) = address(&line, "admin=") {
                instance.admin = admin;
                return instance;
            }
            before.push(line);
        }
        panic!("{command:?} has not become ready: {}", before.join("\n"));
    }

    /// Where operators ask.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The status and the body of an answer of the admin listener.
    pub fn ask(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    /// The body of one that is all right.
    pub fn get(&self, path: &str) -> String {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the body of an answer.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let host = address.to_string();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn address(line: &str, name: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once(name)?;
    after.split(' ').next()?.parse().ok()
}
