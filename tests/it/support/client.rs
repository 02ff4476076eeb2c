//! A caller on a real socket: exact bytes out, answers in as they are.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::wire::{Ending, Field, Fields, Framing, Wire, chunked};
use super::{MARKS, Proxy, within};

/// A caller of this proxy.
pub fn client(proxy: &Proxy) -> Client {
    Client::of(proxy.addr())
}

/// Makes requests to one address, each on a connection of its own unless told otherwise.
#[derive(Clone, Debug)]
pub struct Client {
    addr: SocketAddr,
    host: String,
}

impl Client {
    pub fn of(addr: SocketAddr) -> Self {
        Self { addr, host: "api.example".to_owned() }
    }

    pub fn get(&self, target: &str) -> Request {
        self.method("GET", target)
    }

    pub fn post(&self, target: &str) -> Request {
        self.method("POST", target)
    }

    /// A request of any method to any target.
    pub fn method(&self, method: &str, target: &str) -> Request {
        Request {
            addr: self.addr,
            start: format!("{method} {target} HTTP/1.1"),
            fields: vec![("Host".to_owned(), self.host.clone().into_bytes())],
            body: Vec::new(),
            chunk: None,
            framed: matches!(method, "POST" | "PUT" | "PATCH"),
        }
    }

    /// A bare connection.
    pub async fn connect(&self) -> Connection {
        let stream = within("a connection to the proxy", TcpStream::connect(self.addr)).await;
        Connection { wire: Wire::new(stream.expect("connecting to the proxy")), head_only: false }
    }

    /// A bare connection that takes in little before it is read.
    pub async fn connect_narrow(&self) -> Connection {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("setting SO_RCVBUF");
        let stream = within("a connection to the proxy", socket.connect(self.addr)).await;
        Connection { wire: Wire::new(stream.expect("connecting to the proxy")), head_only: false }
    }
}

/// One request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    addr: SocketAddr,
    start: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    chunk: Option<usize>,
    framed: bool,
}

impl Request {
    /// Adds a header line.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("Idempotency-Key", key)
    }

    /// Adds the key, where there is one.
    pub fn key_if(self, key: Option<&str>) -> Self {
        match key {
            Some(key) => self.key(key),
            None => self,
        }
    }

    pub fn request_id(self, id: impl AsRef<[u8]>) -> Self {
        self.header("Request-ID", id)
    }

    /// Says who calls, as a bearer token.
    pub fn caller(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Replaces the Host line.
    pub fn host(mut self, host: &str) -> Self {
        self.fields.retain(|(name, _)| name != "Host");
        self.fields.insert(0, ("Host".to_owned(), host.as_bytes().to_vec()));
        self
    }

    pub fn without_host(mut self) -> Self {
        self.fields.retain(|(name, _)| name != "Host");
        self
    }

    /// Speaks HTTP/1.0.
    pub fn version10(mut self) -> Self {
        self.start = self.start.replace("HTTP/1.1", "HTTP/1.0");
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.framed = true;
        self
    }

    /// Sends the body in chunks of this size.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    /// Sends the body in chunks, where there is a size for them.
    pub fn chunked_if(mut self, size: Option<usize>) -> Self {
        self.chunk = size;
        self
    }

    /// Adds no framing field: those of the test stand alone.
    pub fn unframed(mut self) -> Self {
        self.framed = false;
        self
    }

    /// The exact bytes of the head, framing included.
    pub fn head_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        match (self.framed, self.chunk) {
            (true, None) => {
                bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
            }
            (true, Some(_)) => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            (false, _) => {}
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The exact bytes of the request.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes();
        match self.chunk.filter(|_| self.framed) {
            Some(size) => bytes.extend(chunked(&self.body, size)),
            None => bytes.extend_from_slice(&self.body),
        }
        bytes
    }

    /// Sends it on a connection of its own and reads the answer, which must come.
    pub async fn send(self) -> Reply {
        let start = self.start.clone();
        let reply = self.try_send().await;
        reply.unwrap_or_else(|error| panic!("no answer to {start}: {error}"))
    }

    /// As [`send`](Self::send), where no answer is an answer too.
    pub async fn try_send(self) -> io::Result<Reply> {
        self.open().await.try_read().await
    }

    /// Sends it on a connection of its own, and leaves the answer unread.
    pub async fn open(self) -> Connection {
        let mut connection = Client::of(self.addr).connect().await;
        connection.head_only = self.start.starts_with("HEAD ");
        connection.write(&self.bytes()).await;
        connection
    }

    /// Sends it on this connection and reads the answer, which must come.
    pub async fn send_on(self, connection: &mut Connection) -> Reply {
        connection.head_only = self.start.starts_with("HEAD ");
        connection.write(&self.bytes()).await;
        connection.read().await
    }
}

/// One connection to the proxy.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    head_only: bool,
}

impl Connection {
    /// Writes these bytes; a peer that has already gone away is found when reading.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("room to write", self.wire.write(bytes)).await.ok();
    }

    /// Writes these bytes as far as the peer takes them.
    pub async fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room to write", self.wire.write(bytes)).await
    }

    /// The next answer, which must come.
    pub async fn read(&mut self) -> Reply {
        self.try_read().await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer, with the interim ones that came before it.
    pub async fn try_read(&mut self) -> io::Result<Reply> {
        let mut interim = Vec::new();
        loop {
            let head = within("the head of an answer", self.wire.head()).await?;
            let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let framing = self.framing(status, &head);
            let (body, ending) = within("the end of an answer", self.wire.body(framing)).await;
            return Ok(Reply { status, head, body, ending, interim });
        }
    }

    /// Everything that comes until the proxy closes.
    pub async fn rest(&mut self) -> (Vec<u8>, Ending) {
        within("the end of the connection", self.wire.rest()).await
    }

    /// Waits until these bytes have come, and leaves them to be read.
    pub async fn sees(&mut self, bytes: &[u8]) {
        let what = format!("{} to come", bytes.escape_ascii());
        let came = within(&what, self.wire.holds(bytes)).await;
        assert!(came, "the connection ended without {}", bytes.escape_ascii());
    }

    /// Ends the sending half.
    pub async fn finish(&mut self) {
        self.wire.stream.shutdown().await.ok();
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        self.wire.stream.set_zero_linger().expect("setting SO_LINGER");
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.wire.stream
    }

    fn framing(&self, status: u16, head: &Fields) -> Framing {
        if self.head_only || matches!(status, 101 | 204 | 304) {
            return Framing::Empty;
        }
        if head.has_token("transfer-encoding", "chunked") {
            return Framing::Chunked;
        }
        let length = head.first("content-length").and_then(|length| length.parse().ok());
        length.map_or(Framing::UntilClose, Framing::Length)
    }
}

/// One answer as it came.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub head: Fields,
    pub body: Vec<u8>,
    pub ending: Ending,
    pub interim: Vec<Fields>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.head.start)?;
        for line in &self.head.lines {
            writeln!(f, "{line:?}")?;
        }
        let shown = &self.body[..self.body.len().min(500)];
        write!(f, "({} bytes, {:?}) {}", self.body.len(), self.ending, shown.escape_ascii())
    }
}

impl Reply {
    /// The first value of a header field, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// All values of a header field.
    pub fn headers(&self, name: &str) -> Vec<&[u8]> {
        self.head.all(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.head.has(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether the connection ended inside the answer.
    pub fn is_cut(&self) -> bool {
        self.ending == Ending::Cut
    }

    /// Whether it is a marked repeat.
    pub fn is_repeat(&self) -> bool {
        self.has("duplicate-request")
    }

    /// The header lines that belong to the answer and not to its connection or its repetition.
    pub fn end_to_end(&self) -> Vec<Field> {
        const HOPS: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];
        let lines = self
            .head
            .lines
            .iter()
            .map(|line| Field { name: line.name.to_ascii_lowercase(), value: line.value.clone() });
        let own = |name: &str| HOPS.contains(&name) || MARKS.contains(&name);
        lines.filter(|line| !own(&line.name)).collect()
    }
}

/// The name of the proxy's own answer, if it is one.
pub fn problem_of(reply: &Reply) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
    problem["type"].as_str()?.strip_prefix("urn:oncegate:").map(str::to_owned)
}
