//! From an accepted stream to a connection: what a load balancer says of it, TLS, and which
//! version of HTTP is spoken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt as _;

use super::Peer;
use super::proxy_protocol::{Said, read_header};
use super::socket::Socket;
use super::wire::Wire;
use crate::transport::{Networks, Shown, Stream, TlsServer};

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once while it is found out what is spoken.
const READ_BYTES: usize = 2048;

/// What a record of a handshake begins with, the bytes before its content, and the most of those.
const HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 5;
const RECORD_BYTES_MAX: usize = 1 << 14;

/// How connections come in. Another may take its place while a server runs.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// Whether connections over TCP are by TLS, and by which certificate.
    pub tls: Option<TlsServer>,
    /// Whether connections over TCP begin with what a load balancer says of them.
    pub proxy_protocol: bool,
    /// The peers that are believed what they say of those before them; all, if it is empty.
    pub trusted: Networks,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Who has connected, and what for.
pub(super) struct Entered {
    pub(super) wire: Wire,
    pub(super) peer: Arc<Peer>,
    pub(super) version: Version,
}

impl Entrance {
    /// Finds out what is spoken, and by whom; nothing if the peer has left without a word.
    ///
    /// `handshake` is held while hands are shaken.
    pub(super) async fn enter<P>(
        &self,
        mut socket: Socket,
        address: Option<SocketAddr>,
        handshake: impl AsyncFnOnce() -> io::Result<P>,
    ) -> io::Result<Option<Entered>> {
        let is_tcp = matches!(socket.stream(), Stream::Tcp(_));
        let mut peer = Peer::new(address);
        if self.proxy_protocol && is_tcp {
            if address.is_some_and(|address| !self.trusts(address)) {
                return Err(invalid("a peer that is not trusted is not believed its address"));
            }
            match read_header(&mut socket).await? {
                Said::Nothing => return Ok(None),
                Said::Own => {}
                Said::For(source) => peer = Peer::new(Some(source)),
            }
        }
        match self.tls.as_ref().filter(|_| is_tcp) {
            Some(tls) => {
                if !hello(&mut socket).await? {
                    return Ok(None);
                }
                let place = handshake().await?;
                let stream = tls.accept(socket).await?;
                drop(place);
                peer.is_secure = true;
                peer.certificate = Shown::by(&stream);
                let version = match TlsServer::has_agreed_on_http2(&stream) {
                    true => Version::Http2,
                    false => Version::Http1,
                };
                Ok(Some(Entered { wire: Wire::tls(stream), peer: Arc::new(peer), version }))
            }
            None => {
                let Some(version) = spoken(&mut socket).await? else { return Ok(None) };
                Ok(Some(Entered { wire: Wire::plain(socket), peer: Arc::new(peer), version }))
            }
        }
    }

    fn trusts(&self, address: SocketAddr) -> bool {
        self.trusted.is_empty() || self.trusted.contains(address.ip())
    }
}

/// The version whose first bytes come; they stay to be read.
async fn spoken(socket: &mut Socket) -> io::Result<Option<Version>> {
    loop {
        let ahead = socket.ahead();
        let common = ahead.iter().zip(PREFACE).take_while(|(one, other)| one == other).count();
        if common == PREFACE.len() {
            return Ok(Some(Version::Http2));
        }
        if common < ahead.len() {
            return Ok(Some(Version::Http1));
        }
        if !read_ahead(socket).await? {
            // Whoever leaves in the middle of the preface has said nothing in HTTP/1.1 either.
            return Ok(None);
        }
    }
}

/// Waits until the first record of a handshake is there (RFC 8446, section 5.1): whoever has said
/// nothing yet takes no place from others. False at the end of the stream.
async fn hello(socket: &mut Socket) -> io::Result<bool> {
    loop {
        let length = match socket.ahead() {
            [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let record = RECORD_HEADER + length.min(RECORD_BYTES_MAX);
        let is_other = socket.ahead().first().is_some_and(|kind| *kind != HANDSHAKE);
        if is_other || socket.ahead().len() >= record {
            return Ok(true);
        }
        if !read_ahead(socket).await? {
            return Ok(false);
        }
    }
}

/// Reads more without taking it away; false at the end of the stream.
pub(super) async fn read_ahead(socket: &mut Socket) -> io::Result<bool> {
    let mut bytes = socket.take_ahead();
    bytes.reserve(READ_BYTES);
    let read = socket.read_buf(&mut bytes).await?;
    socket.give_back(bytes);
    Ok(read != 0)
}

pub(super) fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
