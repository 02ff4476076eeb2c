//! Who may ask for what, for everything that there is.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::support::{Folder, Origin, Proxy, Request, run, within};

const TOKEN: &str = "a-token-of-this-test-alone";

/// Everything that can be asked for, and who may.
const ENDPOINTS: [(&str, &str, Who); 16] = [
    ("GET", "/livez", Who::Everybody),
    ("GET", "/readyz", Who::Everybody),
    ("GET", "/metrics", Who::Everybody),
    ("GET", "/", Who::Page),
    ("GET", "/style.css", Who::Page),
    ("GET", "/script.js", Who::Page),
    ("GET", "/api/status", Who::Operators),
    ("GET", "/api/duplicates", Who::Operators),
    ("GET", "/api/drain", Who::Operators),
    ("GET", "/api/openapi.json", Who::Operators),
    ("GET", "/api/records", Who::Operators),
    ("GET", RECORD, Who::Lookers),
    ("DELETE", RECORD, Who::Lookers),
    ("POST", ACK, Who::Lookers),
    ("POST", FAIL, Who::Lookers),
    ("POST", "/api/drain", Who::Operators),
];

/// A record that is not there.
const RECORD: &str = "/api/records/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const ACK: &str = "/api/records/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/ack";
const FAIL: &str = "/api/records/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/fail";

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Everybody,
    /// Everybody who sees the page, which holds nothing.
    Page,
    Operators,
    /// The same, who find nothing.
    Lookers,
}

/// What an instance is told, and what the API answers to somebody without and with the token.
struct Case {
    admin: &'static str,
    has_token: bool,
    page: u16,
    without: u16,
    with: u16,
}

const CASES: [Case; 4] = [
    Case { admin: "127.0.0.1:0", has_token: false, page: 200, without: 200, with: 200 },
    Case { admin: "127.0.0.1:0", has_token: true, page: 200, without: 401, with: 200 },
    Case { admin: "0.0.0.0:0", has_token: false, page: 403, without: 403, with: 403 },
    Case { admin: "0.0.0.0:0", has_token: true, page: 200, without: 401, with: 200 },
];

fn with_token(request: Request, token: Option<&str>) -> Request {
    match token {
        Some(token) => request.header("Authorization", format!("Bearer {token}")),
        None => request,
    }
}

/// The status of an answer, which may have no end.
async fn status(addr: SocketAddr, method: &str, path: &str, token: Option<&str>) -> u16 {
    let mut stream = TcpStream::connect(addr).await.expect("connecting");
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{token}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sending");
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line).await;
    read.expect("an answer");
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

#[tokio::test]
async fn the_token_is_needed_exactly_where_it_should_be() {
    let origin = Origin::start().await;
    for Case { admin, has_token, page, without, with } in CASES {
        let mut starting = Proxy::before(&origin).file("token", format!("{TOKEN}\n"));
        let told = match has_token {
            true => format!("admin = \"{admin}\"\nadmin_token_file = \"token\"\n"),
            false => format!("admin = \"{admin}\"\n"),
        };
        // A variable would go before the file.
        starting = starting.toml(&told).arg("--admin", admin);
        let proxy = starting.start().await;
        let addr = SocketAddr::from(([127, 0, 0, 1], proxy.admin().port()));
        for (method, path, who) in ENDPOINTS {
            for (token, api) in
                [(None, without), (Some("another-token-than-that"), without), (Some(TOKEN), with)]
            {
                let expected = match who {
                    Who::Everybody => 200,
                    Who::Page => page,
                    // Draining is accepted.
                    Who::Operators if api == 200 && method == "POST" => 202,
                    Who::Lookers if api == 200 => 404,
                    Who::Operators | Who::Lookers => api,
                };
                // Once it drains it is not ready.
                if path == "/readyz" && token.is_some() {
                    continue;
                }
                let asked = status(addr, method, path, token);
                let found = within("a status", asked).await;
                let told = format!("{method} {path} at {admin} (token set: {has_token})");
                assert_eq!(found, expected, "{told}, shown: {token:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_without_a_token_is_a_mistake() {
    let folder = Folder::new();
    let file = folder.write("token", "short");
    let upstream = ["run", "--upstream", "http://127.0.0.1:9", "--admin-token-file", &file];
    let ended = run(&upstream, &[]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("admin-token-file: the file holds no token"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("short"), "what is there may be a secret: {}", ended.stderr);
}

#[tokio::test]
async fn a_token_that_is_replaced_holds_without_a_restart() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let file = folder.write("token", TOKEN);
    let proxy = crate::looked_after(&origin).arg("--admin-token-file", &file).start().await;
    let ask = |token| {
        let request = crate::operator(&proxy).get("/api/status");
        with_token(request, Some(token)).send()
    };
    assert_eq!(ask(TOKEN).await.status, 200);
    folder.replace("token", "another-token-from-now-on");
    proxy.signal("HUP");
    proxy.wait_for_log("the reload", |line| line.contains("settings were read again")).await;
    assert_eq!(ask(TOKEN).await.status, 401);
    assert_eq!(ask("another-token-from-now-on").await.status, 200);
}

#[tokio::test]
async fn answers_are_for_nobody_else() {
    let origin = Origin::start().await;
    let proxy = crate::looked_after(&origin).start().await;
    for (_, path, _) in ENDPOINTS.iter().filter(|(method, path, _)| {
        // It has no end.
        *method == "GET" && *path != "/api/duplicates"
    }) {
        let reply = crate::operator(&proxy).get(path).send().await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert!(!reply.has("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told_what_would_be_right() {
    let origin = Origin::start().await;
    let proxy = crate::looked_after(&origin).start().await;
    let operator = crate::operator(&proxy);
    let ask = |method: &str, path: &str| operator.method(method, path);
    for (request, status, name) in [
        (ask("GET", "/nothing"), 404, "not-found"),
        (ask("DELETE", "/api/drain"), 405, "method-not-allowed"),
        (ask("GET", "/livez").host("evil.example"), 403, "bad-host"),
        (ask("POST", "/api/drain").header("Origin", "http://evil.example"), 403, "cross-origin"),
        (ask("POST", "/api/drain").header("Sec-Fetch-Site", "same-site"), 403, "cross-origin"),
        (ask("POST", "/api/drain").body(vec![b'a'; 20_000]), 413, "too-large"),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.status, status, "{name}");
        let problem = reply.json();
        assert_eq!(problem["type"], format!("urn:oncegate:{name}"));
        assert_eq!(problem["status"], status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    let reply = ask("DELETE", "/api/drain").send().await;
    assert_eq!(reply.header("allow"), Some("GET, POST"));
    assert_eq!(ask("GET", "/readyz").send().await.status, 200, "nothing of that had it drained");
}
