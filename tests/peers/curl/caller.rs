//! curl as a caller: the ways to reach the proxy by it, and what came of each use.

use serde_json::Value;

use crate::authority::{Authority, Files};
use crate::front::Front;
use crate::program::{Program, Ran};
use crate::support::{Ending, Field, Fields, Folder, Reply};

/// A way to reach the proxy by curl: where, by which arguments, and in which version of HTTP.
#[derive(Clone, Debug)]
pub struct Way {
    pub base: String,
    pub version: &'static str,
    args: Vec<String>,
}

impl Way {
    fn new(base: &str, version: &'static str, args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { base: base.to_owned(), version, args }
    }

    /// The ways to a port without TLS.
    pub fn plain(front: &Front) -> Vec<Self> {
        let base = format!("http://{}", front.addr());
        vec![
            Self::new(&base, "1.1", &["--http1.1"]),
            Self::new(&base, "1", &["--http1.0"]),
            Self::new(&base, "2", &["--http2-prior-knowledge"]),
            // It asks for an upgrade, which the proxy may do without (RFC 9113, section 3.1).
            Self::new(&base, "1.1", &["--http2"]),
        ]
    }

    /// The ways to a port with TLS.
    pub fn tls(front: &Front, authority: &Authority) -> Vec<Self> {
        let base = format!("https://localhost:{}", front.addr().port());
        let trusted = authority.certificate();
        let way = |version, args: &[&str]| {
            Self::new(&base, version, &[&["--cacert", &trusted], args].concat())
        };
        vec![
            way("2", &["--http2"]),
            way("2", &["--http2", "--tls-max", "1.2"]),
            way("1.1", &["--http1.1"]),
            way("1", &["--http1.0"]),
            way("1.1", &["--no-alpn"]),
        ]
    }

    /// The ways to a Unix socket.
    pub fn unix(front: &Front) -> Vec<Self> {
        let socket = &front.socket();
        let way =
            |version, arg| Self::new("http://localhost", version, &["--unix-socket", socket, arg]);
        vec![way("1.1", "--http1.1"), way("1", "--http1.0"), way("2", "--http2-prior-knowledge")]
    }

    /// The same, announced by a PROXY header.
    pub fn announced(mut self) -> Self {
        self.args.push("--haproxy-protocol".to_owned());
        self
    }

    /// The same, with a certificate.
    pub fn showing(mut self, files: &Files) -> Self {
        let args = ["--cert", &files.certificate, "--key", &files.key];
        self.args.extend(args.map(str::to_owned));
        self
    }

    /// A request of curl's choice of method.
    pub fn ask(&self, target: &str) -> Curl {
        let folder = Folder::new();
        let curl = Program::new("curl").args(["-q", "-sS", "-w", "%{json}", "-o"]);
        let curl = curl.arg(folder.path("body")).arg("-D").arg(folder.path("head"));
        let curl = curl.args(&self.args).args(["-H", "Host: api.example"]);
        Curl { program: curl.arg(format!("{}{target}", self.base)), folder, way: self.clone() }
    }

    /// A POST with a key.
    pub fn post(&self, key: &str, body: &str) -> Curl {
        self.ask("/charges").key(key).args(["--data-binary", body])
    }
}

/// One use of curl.
pub struct Curl {
    program: Program,
    folder: Folder,
    way: Way,
}

impl Curl {
    pub fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        Self { program: self.program.args(args), ..self }
    }

    pub fn header(self, line: &str) -> Self {
        self.args(["-H", line])
    }

    pub fn key(self, key: &str) -> Self {
        self.header(&format!("Idempotency-Key: {key}"))
    }

    /// Gives it a file to send.
    pub fn data(self, bytes: &[u8], flag: &str) -> Self {
        let path = self.folder.write("data", bytes);
        let value = if flag == "-T" { path } else { format!("@{path}") };
        self.args([flag, &value])
    }

    /// Gives it a body to send of which it does not know how long it is.
    pub fn piped(self, bytes: &[u8]) -> Self {
        let curl = self.args(["-T", "-"]);
        Self { program: curl.program.input(bytes), ..curl }
    }

    /// Sends the request; the answer must come, in the version that it should.
    pub async fn send(self) -> Sent {
        let way = self.way.clone();
        let sent = self.try_send().await.unwrap_or_else(|ran| panic!("{way:?}: {ran:?}"));
        assert_eq!(sent.facts["http_version"], way.version, "{way:?}");
        sent
    }

    /// Sends the request; no answer is what curl says of it.
    pub async fn try_send(self) -> Result<Sent, Ran> {
        let ran = self.program.run().await;
        if !ran.status.success() {
            return Err(ran);
        }
        let read = |name| std::fs::read(self.folder.path(name)).unwrap_or_default();
        let mut heads = heads(&String::from_utf8_lossy(&read("head")));
        let head = heads.pop().expect("an answer has a head");
        let status = status_of(&head);
        let (body, ending) = (read("body"), Ending::Complete);
        let trailers = Fields::default();
        let reply = Reply { status, head, body, ending, interim: heads, trailers };
        let mut facts = serde_json::Deserializer::from_slice(&ran.stdout).into_iter::<Value>();
        let facts = facts.by_ref().last().expect("facts").expect("facts in JSON");
        Ok(Sent { reply, facts })
    }
}

/// What came of one use of curl.
#[derive(Debug)]
pub struct Sent {
    pub reply: Reply,
    pub facts: Value,
}

impl Sent {
    /// How many bytes of the body were sent.
    pub fn uploaded(&self) -> u64 {
        self.facts["size_upload"].as_u64().expect("a number of bytes")
    }

    pub fn interim(&self) -> Vec<u16> {
        self.reply.interim.iter().map(status_of).collect()
    }
}

/// The heads that curl has noted, interim ones first.
fn heads(text: &str) -> Vec<Fields> {
    let blocks = text.split("\r\n\r\n").filter(|block| !block.is_empty());
    let head = |block: &str| {
        let mut lines = block.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let lines = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header line has a colon");
            Field { name: name.to_owned(), value: value.trim().as_bytes().to_vec() }
        });
        Fields { start, lines: lines.collect() }
    };
    blocks.map(head).collect()
}

fn status_of(head: &Fields) -> u16 {
    let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("a status line: {head:?}"))
}
