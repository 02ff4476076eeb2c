//! Unix sockets in: who asks there, and what becomes of their files.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{TcpStream, UnixStream};

use super::asked::Asked;
use super::certs::{Authority, NAME, Tls, shake_hands};
use super::plain::Plain;
use super::raw::Raw;
use crate::support::{
    Act, Folder, Gate, Origin, Proxy, Reply, Request, Starting, assert_executed, assert_replay,
    client, eventually, run,
};

/// A proxy that listens at a TCP port and at this socket.
fn listening(origin: &Origin, folder: &Folder, path: &Path, more: &str) -> Starting {
    let toml = format!(
        "listen = [\"unix:{}\", \"127.0.0.1:0\"]\nupstream.url = \"http://{}\"\n{more}\n",
        path.display(),
        origin.addr
    );
    Proxy::told_by(folder.write("oncegate.toml", toml))
}

async fn start(origin: &Origin, folder: &Folder, path: &Path) -> Proxy {
    listening(origin, folder, path, "").start().await
}

async fn connect(path: &Path) -> Plain {
    Plain::over(UnixStream::connect(path).await.expect("connecting to the socket"))
}

fn post(proxy: &Proxy, key: &str) -> Request {
    client(proxy).post("/charges").key(key).body("10")
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket())
}

fn socket(folder: &Folder) -> PathBuf {
    // The path of a socket has little room.
    let path = std::env::temp_dir().join(folder.path("").file_name().expect("a name"));
    path.with_extension("sock")
}

/// Requests over a socket are as all others are: one operation, whatever its attempts come by.
#[tokio::test]
async fn a_socket_is_one_more_way_in() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let path = socket(&folder);
    let proxy = start(&origin, &folder, &path).await;
    let mut by_socket = connect(&path).await;
    let first = by_socket.send(&post(&proxy, "k1")).await;
    assert_executed(&first);
    let sent = origin.last();
    assert_eq!(sent.header("x-forwarded-for"), Some("unknown"));
    assert_eq!(sent.header("x-forwarded-proto"), Some("http"));
    assert_replay(&first, &by_socket.send(&post(&proxy, "k1")).await);
    assert_replay(&first, &post(&proxy, "k1").send().await);
    let mut raw = Raw::over(UnixStream::connect(&path).await.expect("connecting")).await;
    assert!(raw.send_request(&Asked::post("k1")).await.is_repeat());
    let mut by_port = post(&proxy, "k2").send().await;
    assert_executed(&by_port);
    by_port.head.lines.retain(|line| line.name != "connection");
    assert_replay(&by_port, &raw_reply(&mut raw, "k2").await);
    let hop = post(&proxy, "k3").header("X-Forwarded-For", "192.0.2.7");
    by_socket.send(&hop).await;
    assert_eq!(origin.last().header("x-forwarded-for"), Some("192.0.2.7, unknown"));
    assert_eq!(origin.hits(), 3);
}

async fn raw_reply(raw: &mut Raw, key: &str) -> Reply {
    raw.send_request(&Asked::post(key)).await
}

/// A peer at a socket is believed what it says of hops before it, whoever else is not.
#[tokio::test]
async fn a_peer_at_a_socket_is_believed() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let path = socket(&folder);
    let toml = "trusted_hops = [\"192.0.2.0/24\"]";
    let proxy = listening(&origin, &folder, &path, toml).start().await;
    let hop = client(&proxy).get("/").header("X-Forwarded-For", "198.51.100.7");
    connect(&path).await.send(&hop).await;
    assert_eq!(origin.last().header("x-forwarded-for"), Some("198.51.100.7, unknown"));
    hop.send().await;
    assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
}

/// TLS is for networks: a socket has none, and its peers have no certificate.
#[tokio::test]
async fn a_socket_has_no_tls() {
    let (origin, folder, authority) = (Origin::start().await, Folder::new(), Authority::new());
    let path = socket(&folder);
    let pair = authority.proxy();
    folder.write("tls.crt", &pair.certificate);
    folder.write("tls.key", &pair.key);
    let toml = "proxy_protocol = false\n[tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"";
    let proxy = listening(&origin, &folder, &path, toml).start().await;
    let first = connect(&path).await.send(&post(&proxy, "k1")).await;
    assert_executed(&first);
    assert_eq!(origin.last().header("x-forwarded-proto"), Some("http"));
    let mut secure = Plain::over(Tls::trusting(&authority).connect(&proxy).await);
    assert_replay(&first, &secure.send(&post(&proxy, "k1")).await);
    assert!(TcpStream::connect(proxy.addr()).await.is_ok());
    assert!(shake_hands(&proxy, Tls::trusting(&authority).config(), NAME).await.is_ok());
}

/// The file goes with whoever listens there; after kill -9 it stays, and is replaced.
#[tokio::test]
async fn the_file_of_a_socket_goes_with_its_proxy() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let path = socket(&folder);
    let mut proxy = start(&origin, &folder, &path).await;
    assert!(is_socket(&path));
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert!(!path.exists(), "it is gone with the proxy");
    let mut proxy = start(&origin, &folder, &path).await;
    proxy.kill_9().await;
    assert!(is_socket(&path), "nobody was left to remove it");
    let mut proxy = start(&origin, &folder, &path).await;
    assert_executed(&connect(&path).await.send(&post(&proxy, "k1")).await);
    proxy.terminate();
    proxy.wait_exit().await;
    assert!(!path.exists());
}

/// P1: a second instance does not listen where the first one does, nor in the place of a file.
#[tokio::test]
async fn a_second_instance_is_refused() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let path = socket(&folder);
    let proxy = start(&origin, &folder, &path).await;
    let (listen, upstream) =
        (format!("unix:{}", path.display()), format!("http://{}", origin.addr));
    let args = ["run", "--listen", &listen, "--upstream", &upstream];
    let second = run(&args, &[]).await;
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.stderr.contains(&listen), "{second:?}");
    assert_executed(&connect(&path).await.send(&post(&proxy, "k1")).await);
    assert!(is_socket(&path));
    let file = folder.write("a file", "its text");
    let third =
        run(&["run", "--listen", &format!("unix:{file}"), "--upstream", &upstream], &[]).await;
    assert_eq!(third.status.code(), Some(1), "{third:?}");
    assert_eq!(std::fs::read_to_string(file).expect("the file"), "its text");
}

/// P1: what is connected is answered before the end, and the next instance may listen meanwhile:
/// its file stays.
#[tokio::test]
async fn the_end_answers_what_is_connected() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let path = socket(&folder);
    let mut proxy = start(&origin, &folder, &path).await;
    for round in 0..5 {
        let gate = Gate::shut();
        origin.next(Act::Ledger.after(&gate));
        let hits = origin.hits();
        let mut busy = connect(&path).await;
        busy.write(&post(&proxy, &format!("k{round}")).bytes()).await.expect("room");
        let mut raw = Raw::over(UnixStream::connect(&path).await.expect("connecting")).await;
        assert!(raw.has_looked().await);
        origin.wait_for_hits(hits + 1).await;
        proxy.terminate();
        eventually("the end of listening", async || UnixStream::connect(&path).await.is_err())
            .await;
        let next = start(&origin, &folder, &path).await;
        let mut fresh = connect(&path).await;
        assert_executed(&fresh.send(&post(&next, "fresh")).await);
        gate.open();
        assert_executed(&busy.read().await.expect("an answer"));
        assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
        assert!(is_socket(&path), "that of the next instance is not removed");
        assert_executed(&connect(&path).await.send(&post(&next, "another")).await);
        proxy = next;
    }
}

/// Several addresses of both kinds, all of which are one proxy.
#[tokio::test]
async fn all_addresses_are_one_proxy() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let one = socket(&folder);
    let other = one.with_extension("other");
    let toml = format!(
        "listen = [\"127.0.0.1:0\", \"unix:{}\", \"[::1]:0\", \"unix:{}\", \"127.0.0.2:0\"]\n\
         upstream.url = \"http://{}\"\n",
        one.display(),
        other.display(),
        origin.addr
    );
    let mut proxy = Proxy::told_by(folder.write("oncegate.toml", toml)).start().await;
    let log = proxy.log();
    let listen = log.split("listen=").nth(1).expect("the addresses").split(' ').next();
    let addresses: Vec<_> = listen.expect("the addresses").trim_matches('"').split(',').collect();
    assert_eq!(addresses.len(), 5, "{log}");
    let request = post(&proxy, "k1");
    let first = request.clone().send().await;
    for address in addresses {
        let mut caller = match address.strip_prefix("unix:") {
            Some(path) => connect(Path::new(path)).await,
            None => Plain::over(TcpStream::connect(address).await.expect("connecting")),
        };
        assert_replay(&first, &caller.send(&request).await);
    }
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert!(!one.exists() && !other.exists());
    assert_eq!(origin.hits(), 1);
}
