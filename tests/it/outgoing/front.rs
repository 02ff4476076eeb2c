//! What stands before an origin of plain TCP: TLS, or a Unix socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::support::Folder;

/// What a front has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The name and the protocol of each handshake that has succeeded.
    pub agreed: Vec<(Option<String>, Option<String>)>,
    /// How many handshakes have failed.
    pub failed: usize,
}

/// A server of TLS before an origin.
pub struct TlsFront {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

impl TlsFront {
    pub async fn before(origin: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binding a loopback port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let config = Arc::new(Mutex::new(config));
        let (noted, current) = (Arc::clone(&seen), Arc::clone(&config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&current.lock().expect("how it shakes hands"));
                tokio::spawn(shake_hands(stream, origin, config, Arc::clone(&noted)));
            }
        });
        Self { addr, seen, config }
    }

    /// Shakes hands so from now on.
    pub fn renew(&self, config: Arc<ServerConfig>) {
        *self.config.lock().expect("how it shakes hands") = config;
    }

    /// The URL that leads to it, by the name of its certificate.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("what was seen").clone()
    }
}

async fn shake_hands(
    stream: TcpStream,
    origin: SocketAddr,
    config: Arc<ServerConfig>,
    seen: Arc<Mutex<Seen>>,
) {
    stream.set_nodelay(true).ok();
    match TlsAcceptor::from(config).accept(stream).into_fallible().await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let name = session.server_name().map(str::to_owned);
            let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
            seen.lock().expect("what was seen").agreed.push((name, protocol));
            relay(stream, origin).await;
        }
        Err((_, mut stream)) => {
            seen.lock().expect("what was seen").failed += 1;
            // Its alert is to arrive: closing now would reset what the other side has yet to read.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        }
    }
}

/// A Unix socket before an origin.
pub struct UnixFront {
    pub path: PathBuf,
    _folder: Folder,
}

impl UnixFront {
    pub fn before(origin: SocketAddr) -> Self {
        let folder = Folder::new();
        let path = folder.path("app.sock");
        let listener = UnixListener::bind(&path).expect("binding a path");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, origin));
            }
        });
        Self { path, _folder: folder }
    }

    /// What leads to it.
    pub fn url(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

async fn relay(mut stream: impl AsyncRead + AsyncWrite + Unpin, origin: SocketAddr) {
    let Ok(mut upstream) = TcpStream::connect(origin).await else { return };
    upstream.set_nodelay(true).ok();
    // What breaks one side is the end of both.
    copy_bidirectional(&mut stream, &mut upstream).await.ok();
}
