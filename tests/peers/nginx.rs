//! nginx on either side: as the load balancer in front, and as the upstream.

use tokio::net::TcpStream;

use crate::authority::{Authority, Files};
use crate::front::{Front, Setup};
use crate::program::{Program, Running};
use crate::support::{
    Client, Folder, Origin, Reserved, assert_executed, assert_problem, assert_replay, eventually,
};

/// Where Debian has the module for streams; elsewhere it may be a part of the program.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// An nginx at a port of its own.
struct Nginx {
    port: Reserved,
    folder: Folder,
    _running: Running,
}

impl Nginx {
    /// Starts with this text of a config, in which `PORT` is where it listens.
    async fn start(text: &str) -> Self {
        let (port, folder) = (Reserved::new(), Folder::new());
        let module = if std::path::Path::new(STREAM_MODULE).exists() {
            format!("load_module {STREAM_MODULE};")
        } else {
            String::new()
        };
        let text = text.replace("PORT", &port.addr.to_string());
        let config = format!(
            "{module}\nmaster_process off; daemon off; pid pid; error_log stderr info;\n\
             events {{}}\n{text}\n",
        );
        folder.write("nginx.conf", config);
        let nginx = Program::new("nginx").arg("-p").arg(folder.path("")).args(["-e", "stderr"]);
        let running = nginx.args(["-c", "nginx.conf"]).start();
        eventually("nginx to listen", async || TcpStream::connect(port.addr).await.is_ok()).await;
        Self { port, folder, _running: running }
    }

    /// One that speaks HTTP: lines of its only server, and others besides that.
    async fn http(server: &str, others: &str) -> Self {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {name};")).join(" ");
        let server = format!("server {{ {server} }}");
        Self::start(&format!("http {{ access_log log; {temporary}\n{others}\n{server}\n}}")).await
    }

    fn client(&self) -> Client {
        Client::of(self.port.addr)
    }

    /// How many requests have come by this method.
    fn logged(&self, method: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(&format!("\"{method} "))).count()
    }
}

/// What a load balancer says of its callers reaches the origin.
#[tokio::test]
async fn a_stream_announces_whose_it_is() {
    let origin = Origin::start().await;
    let front = Setup::before(&origin).top("proxy_protocol = true").start().await;
    let balanced = Nginx::start(&format!(
        "stream {{ server {{ listen PORT; proxy_pass {}; proxy_protocol on; }} }}",
        front.addr(),
    ))
    .await;
    let url = format!("http://{}/charges", balanced.port.addr);
    for (version, caller) in [("--http1.1", "127.0.0.5"), ("--http2-prior-knowledge", "127.0.0.6")]
    {
        for _ in 0..2 {
            let curl = Program::new("curl").args(["-q", "-sS", "--interface", caller, version]);
            let curl = curl.args(["-H", &format!("Idempotency-Key: {caller}"), "-d", "10", &url]);
            curl.run().await.well();
        }
        assert_eq!(origin.last().header("x-forwarded-for"), Some(caller));
    }
    assert_eq!(origin.hits(), 2);
    let unannounced = Client::of(front.addr()).get("/charges").try_send().await;
    unannounced.expect_err("a connection that nobody announces is closed");
}

/// One connection over a Unix socket is kept, and carries the requests of many callers.
#[tokio::test]
async fn a_balancer_keeps_its_connection_over_a_unix_socket() {
    let origin = Origin::start().await;
    let front = Setup::before(&origin).at_socket().start().await;
    let server = "listen PORT; location / { proxy_pass http://oncegate; proxy_http_version 1.1; \
                  proxy_set_header Connection \"\"; proxy_set_header Host $host; \
                  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
                  proxy_pass_header Date; }";
    let upstream = format!("upstream oncegate {{ server unix:{}; keepalive 1; }}", front.socket());
    let balanced = Nginx::http(server, &upstream).await;
    for number in 0..10 {
        let post = || balanced.client().post("/charges").key(format!("k{number}")).body("10");
        let first = post().send().await;
        assert_executed(&first);
        assert_replay(&first, &post().send().await);
        assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1, unknown"));
    }
    assert_eq!(origin.hits(), 10);
    let socket = front.socket();
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("the sockets of the system");
    let connected = |line: &&str| line.ends_with(&socket) && line.contains(" 0001 03 ");
    assert_eq!(sockets.lines().filter(connected).count(), 1, "{sockets}");
}

/// A refused upload, an answer in pieces and a hang-up look to a balancer as they should.
#[tokio::test]
async fn a_balancer_understands_refusals() {
    let origin = Origin::start().await;
    let limit = "[defaults]\nmax_request = \"64KiB\"";
    let front = Setup::before(&origin).table(limit).start().await;
    let server = format!(
        "listen PORT; proxy_request_buffering off; client_max_body_size 0; \
         location / {{ proxy_pass http://{}; proxy_http_version 1.1; }}",
        front.addr(),
    );
    let balanced = Nginx::http(&server, "").await;
    let body = vec![b'x'; 3 << 20];
    for chunks in [None, Some(100_000)] {
        let post = balanced.client().post("/files").key("k1").body(&body).chunked_if(chunks);
        assert_problem(&post.send().await, 413, "too-large");
    }
    assert_eq!(origin.hits(), 0);
}

async fn assert_guarded(server: &Nginx, front: &Front) {
    let client = Client::of(front.addr());
    assert_eq!(client.get("/got").send().await.text(), "answered GET");
    let post = || client.post("/charges").key("k1").body("10");
    let first = post().send().await;
    assert_executed(&first);
    assert_eq!((first.status, first.text().as_str()), (201, "answered POST"), "{first:?}");
    assert_replay(&first, &post().send().await);
    eventually("the log of nginx", async || server.logged("GET") == 1).await;
    assert_eq!(server.logged("POST"), 1);
}

/// The lines of a server by TLS.
fn secure(files: &Files, more: &str) -> String {
    let Files { certificate, key } = files;
    format!(
        "listen PORT ssl{more}; ssl_certificate {certificate}; ssl_certificate_key {key}; \
         location / {{ return 201 \"answered $request_method\"; }} \
         location /got {{ return 200 \"answered $request_method\"; }}"
    )
}

/// A proxy that speaks TLS to this server.
fn before(server: &Nginx, authority: &Authority, upstream: &str) -> Setup {
    let url = format!("https://localhost:{}", server.port.addr.port());
    Setup::before_url(&url).upstream(upstream).trusting(authority)
}

#[tokio::test]
async fn an_upstream_by_tls_is_spoken_to_in_either_version() {
    let authority = Authority::new("Peers");
    for (more, http2) in [("", "http2 = false"), (" http2", "http2 = true")] {
        let server = Nginx::http(&secure(&authority.server(), more), "").await;
        let front = before(&server, &authority, http2).start().await;
        assert_guarded(&server, &front).await;
    }
}

/// An upstream that ends its connections now and then has executed each request once, and answered
/// all of them.
#[tokio::test]
async fn connections_that_the_upstream_ends_are_replaced() {
    let authority = Authority::new("Peers");
    for (more, http2) in [("", "http2 = false"), (" http2", "http2 = true")] {
        let few = format!("keepalive_requests 7; {}", secure(&authority.server(), more));
        let server = Nginx::http(&few, "").await;
        let front = before(&server, &authority, http2).start().await;
        for round in 0..10 {
            let mut connections = Vec::new();
            for number in 0..10 {
                let post = Client::of(front.addr()).post("/charges").body("10");
                connections.push(post.key(format!("k{round}-{number}")).open().await);
            }
            for connection in &mut connections {
                let reply = connection.read().await;
                assert_eq!((reply.status, reply.is_repeat()), (201, false), "{http2}: {reply:?}");
            }
        }
        eventually("the log of nginx", async || server.logged("POST") >= 100).await;
        assert_eq!(server.logged("POST"), 100, "{http2}");
    }
}

/// An upstream that does not agree on HTTP/2 by TLS has seen nothing.
#[tokio::test]
async fn an_upstream_that_does_not_agree_has_seen_nothing() {
    let authority = Authority::new("Peers");
    let server = Nginx::http(&secure(&authority.server(), ""), "").await;
    let front = before(&server, &authority, "http2 = true").start().await;
    let refused = Client::of(front.addr()).post("/charges").key("k1").body("10").send().await;
    assert_problem(&refused, 502, "upstream-unreachable");
    assert_eq!(server.logged("POST"), 0);
}

/// The proxy shows its certificate to an upstream that asks for one.
#[tokio::test]
async fn an_upstream_may_ask_for_a_certificate() {
    let (authority, stranger) = (Authority::new("Peers"), Authority::new("Stranger"));
    let asking = format!(
        "ssl_verify_client on; ssl_client_certificate {}; {}",
        authority.certificate(),
        secure(&authority.server(), ""),
    );
    let server = Nginx::http(&asking, "").await;
    let shown = |files: Files| {
        let Files { certificate, key } = files;
        format!("cert_file = {certificate:?}\nkey_file = {key:?}")
    };
    let own = shown(authority.sign(&["oncegate.example"]));
    let front = before(&server, &authority, "").table(&own).start().await;
    assert_guarded(&server, &front).await;
    // nginx shakes hands with everybody, and says afterwards that it does not like them.
    for foreign in [shown(stranger.sign(&["oncegate.example"])), String::new()] {
        let front = before(&server, &authority, "").table(&foreign).start().await;
        let refused = Client::of(front.addr()).post("/x").key("k2").body("10").send().await;
        assert_eq!((refused.status, refused.has("duplicate-request")), (400, false), "{refused:?}");
    }
}
