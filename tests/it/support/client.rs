//! A caller on a real socket: a request as it is put together, and how it is sent.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::wire::chunked;
use super::{Connection, Proxy, Reply, within};

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
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            fields: vec![("Host".to_owned(), self.host.clone().into_bytes())],
            body: Vec::new(),
            chunk: None,
            framed: matches!(method, "POST" | "PUT" | "PATCH"),
        }
    }

    /// A bare connection.
    pub async fn connect(&self) -> Connection {
        self.try_connect().await.expect("connecting to the proxy")
    }

    /// A bare connection, if the proxy takes another.
    pub async fn try_connect(&self) -> io::Result<Connection> {
        let stream = within("a connection to the proxy", TcpStream::connect(self.addr)).await;
        Connection::over(stream?).await
    }

    /// A bare connection that takes in little before it is read.
    pub async fn connect_narrow(&self) -> Connection {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("setting SO_RCVBUF");
        let stream = within("a connection to the proxy", socket.connect(self.addr)).await;
        let connection = Connection::over(stream.expect("connecting to the proxy")).await;
        connection.expect("connecting to the proxy")
    }
}

/// One request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    addr: SocketAddr,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: &'static str,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) chunk: Option<usize>,
    pub(super) framed: bool,
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
        self.version = "HTTP/1.0";
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.framed = true;
        self
    }

    /// Sends the body in chunks of this size; in HTTP/2 these are frames, and no length is said.
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

    /// Its body.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The exact bytes of the head in HTTP/1.1, framing included.
    pub fn head_bytes(&self) -> Vec<u8> {
        let start = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let mut bytes = start.into_bytes();
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

    /// The exact bytes of the request in HTTP/1.1.
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
        let start = format!("{} {}", self.method, self.target);
        let reply = self.try_send().await;
        reply.unwrap_or_else(|error| panic!("no answer to {start}: {error}"))
    }

    /// As [`send`](Self::send), where no answer is an answer too.
    pub async fn try_send(self) -> io::Result<Reply> {
        let mut connection = Client::of(self.addr).try_connect().await?;
        connection.ask(&self).await;
        connection.try_read().await
    }

    /// Sends it on a connection of its own, and leaves the answer unread.
    pub async fn open(self) -> Connection {
        let mut connection = Client::of(self.addr).connect().await;
        connection.ask(&self).await;
        connection
    }

    /// Sends its head on a connection of its own; its body, as it is announced, is for the test to
    /// [`push`](Connection::push).
    pub async fn begin(self) -> Connection {
        let mut connection = Client::of(self.addr).connect().await;
        connection.begin(&self).await;
        connection
    }

    /// Sends the beginning of it on a connection of its own: so many of the bytes that it has in
    /// HTTP/1.1, and in HTTP/2 what these stand for.
    pub async fn open_cut(&self, at: usize) -> Connection {
        let mut connection = Client::of(self.addr).connect().await;
        connection.cut(self, at).await;
        connection
    }

    /// Sends it on this connection and reads the answer, which must come.
    pub async fn send_on(self, connection: &mut Connection) -> Reply {
        connection.ask(&self).await;
        connection.read().await
    }

    /// Sends it on this connection, and leaves the answer unread.
    pub async fn open_on(&self, connection: &mut Connection) {
        connection.ask(self).await;
    }
}
