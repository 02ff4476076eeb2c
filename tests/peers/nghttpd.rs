//! nghttp2's server as the upstream: without TLS and with it.

use tokio::net::TcpStream;

use crate::authority::{Authority, Files};
use crate::front::{Front, Setup};
use crate::program::{Program, Running};
use crate::support::{
    Client, Folder, Reserved, assert_executed, assert_problem, assert_replay, eventually,
};

/// A server that says the contents of files, and echoes what it is sent.
struct Server {
    running: Running,
    port: Reserved,
    folder: Folder,
}

impl Server {
    /// A server without TLS.
    async fn plain(args: &[&str]) -> Self {
        Self::start(args, &["--no-tls"], &[]).await
    }

    /// A server with TLS, which shows a certificate of this authority's.
    async fn secure(args: &[&str], authority: &Authority) -> Self {
        let files = authority.server();
        Self::start(args, &[], &[&files.key, &files.certificate]).await
    }

    async fn start(args: &[&str], before: &[&str], after: &[&str]) -> Self {
        let folder = Folder::new();
        folder.write("file", "what is in it");
        Self::start_at(Reserved::new(), folder, &[args, before].concat(), after).await
    }

    async fn start_at(port: Reserved, folder: Folder, before: &[&str], after: &[&str]) -> Self {
        let nghttpd = Program::new("nghttpd").args(["-v", "-a", "127.0.0.1", "--echo-upload"]);
        let nghttpd = nghttpd.arg("-d").arg(folder.path("")).args(before);
        let running = nghttpd.arg(port.addr.port().to_string()).args(after).start();
        eventually("nghttpd to listen", async || TcpStream::connect(port.addr).await.is_ok()).await;
        Self { running, port, folder }
    }

    /// How many POST requests have come.
    fn posts(&self) -> usize {
        let lines = self.running.lines();
        lines.iter().filter(|line| line.ends_with(":method: POST")).count()
    }

    /// A proxy before it, without TLS on either side.
    async fn front(&self) -> Front {
        let setup = Setup::before_url(&format!("http://{}", self.port.addr));
        setup.upstream("http2 = true").start().await
    }

    /// A proxy before it that trusts this authority, and shows this certificate.
    async fn secure_front(&self, authority: &Authority, shown: Option<&Files>) -> Front {
        let setup = Setup::before_url(&format!("https://localhost:{}", self.port.addr.port()));
        let setup = setup.upstream("http2 = true").trusting(authority);
        let setup = match shown {
            Some(Files { certificate, key }) => {
                setup.table(&format!("cert_file = {certificate:?}\nkey_file = {key:?}"))
            }
            None => setup,
        };
        setup.start().await
    }
}

async fn assert_passed_and_guarded(server: &Server, front: &Front) {
    let client = Client::of(front.addr());
    let passed = client.get("/file").send().await;
    assert_eq!((passed.status, passed.text().as_str()), (200, "what is in it"), "{passed:?}");
    let missing = client.get("/nothing").send().await;
    assert_eq!(missing.status, 404, "{missing:?}");
    let head = client.method("HEAD", "/file").send().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("13")), "{head:?}");
    let first = client.post("/echo").key("k1").body("pay 10").send().await;
    assert_executed(&first);
    assert_eq!((first.status, first.text().as_str()), (200, "pay 10"), "{first:?}");
    for _ in 0..3 {
        let repeat = client.post("/echo").key("k1").body("pay 10").send().await;
        assert_replay(&first, &repeat);
    }
    assert_eq!(server.posts(), 1);
    let bytes: Vec<u8> = (0..400_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let large = client.post("/echo").key("k2").body(&bytes).send().await;
    assert!(large.body == bytes, "{large:?}");
    let open = client.post("/echo").body(&bytes).chunked(10_000).send().await;
    assert!(open.body == bytes, "{open:?}");
    assert_eq!(server.posts(), 3);
}

#[tokio::test]
async fn requests_are_passed_and_guarded_without_tls() {
    let server = Server::plain(&[]).await;
    assert_passed_and_guarded(&server, &server.front().await).await;
}

#[tokio::test]
async fn requests_are_passed_and_guarded_with_tls() {
    let authority = Authority::new("Peers");
    let server = Server::secure(&[], &authority).await;
    let front = server.secure_front(&authority, None).await;
    assert_passed_and_guarded(&server, &front).await;
}

/// A server that takes only two streams at a time gets all, one after the other.
#[tokio::test]
async fn no_more_streams_are_opened_than_the_server_takes() {
    let server = Server::plain(&["-m", "2"]).await;
    let front = server.front().await;
    let mut connections = Vec::new();
    for number in 0..30 {
        let post = Client::of(front.addr()).post("/echo").key(format!("k{number}"));
        connections.push(post.body(format!("pay {number}")).open().await);
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let reply = connection.read().await;
        assert_eq!((reply.status, reply.text()), (200, format!("pay {number}")), "{reply:?}");
    }
    assert_eq!(server.posts(), 30);
}

/// Nothing was sent to a server that is gone, and the key is free once it is back.
#[tokio::test]
async fn a_server_that_is_gone_has_seen_nothing() {
    let server = Server::plain(&[]).await;
    let front = server.front().await;
    let post = |key| Client::of(front.addr()).post("/echo").key(key).body("pay 10");
    assert_eq!(post("k1").send().await.status, 200);
    let Server { running, port, folder } = server;
    running.end().await;
    assert_problem(&post("k2").send().await, 502, "upstream-unreachable");
    assert!(post("k1").send().await.is_repeat());
    let server = Server::start_at(port, folder, &["--no-tls"], &[]).await;
    let first = post("k2").send().await;
    assert_executed(&first);
    assert_replay(&first, &post("k2").send().await);
    assert_eq!((first.text().as_str(), server.posts()), ("pay 10", 1));
}

/// A server that nobody trusts, or that needs a certificate and gets none, is sent nothing.
#[tokio::test]
async fn handshakes_that_fail_send_nothing() {
    let (authority, stranger) = (Authority::new("Peers"), Authority::new("Stranger"));
    let post = |front: &Front| Client::of(front.addr()).post("/echo").key("k1").body("pay 10");
    let untrusted = Server::secure(&[], &stranger).await;
    let front = untrusted.secure_front(&authority, None).await;
    assert_problem(&post(&front).send().await, 502, "upstream-unreachable");
    let asking = Server::secure(&["--verify-client"], &authority).await;
    let front = asking.secure_front(&authority, None).await;
    let refused = post(&front).send().await;
    assert_problem(&refused, 502, "upstream-unreachable");
    assert_eq!((untrusted.posts(), asking.posts()), (0, 0));
    let own = authority.sign(&["oncegate.example"]);
    let front = asking.secure_front(&authority, Some(&own)).await;
    let first = post(&front).send().await;
    assert_executed(&first);
    assert_replay(&first, &post(&front).send().await);
    assert_eq!(asking.posts(), 1);
}
