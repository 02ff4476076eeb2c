//! The program, kept running for as long as a test takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::tools::oncegate;

/// How long anything may take before its test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running instance, which ends with the test.
pub struct Instance {
    child: Child,
    /// Where operators ask.
    admin: SocketAddr,
}

impl Instance {
    /// One before nothing at all.
    pub fn start() -> Self {
        let nothing = ["run", "--upstream", "http://127.0.0.1:9"];
        let free = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::of(oncegate().args(nothing).args(free))
    }

    /// The one that this command starts, once it is ready.
    pub fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let admin = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("{command:?} has not become ready: {}", said.join("\n"));
            };
            if let Some(admin) = address(&line, "admin=") {
                break admin;
            }
            said.push(line);
        };
        // Whatever else it says must find a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, admin }
    }

    /// The body of an answer of the admin listener.
    pub fn get(&self, path: &str) -> String {
        let (status, body) = get(self.admin, path);
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
