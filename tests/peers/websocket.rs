//! The WebSocket protocol, by the library `websockets` for Python on both sides.

use serde_json::json;

use crate::authority::Authority;
use crate::front::{Front, Setup};
use crate::program::{Program, Running};
use crate::support::{Client, assert_problem, eventually};

/// An echo, and where it is.
async fn echo() -> (Running, String) {
    let server = Program::driver("websocket_server.py").start();
    let port = server.says("port", |line| line.strip_prefix("listening ").map(str::to_owned));
    let url = format!("http://127.0.0.1:{}", port.await);
    (server, url)
}

/// All that there is to do with an echo, through the proxy.
async fn assert_echoes(server: &Running, url: &str, authority: Option<&Authority>) {
    let options = json!({"url": url, "ca": authority.map(Authority::certificate)});
    let said = Program::driver("websocket_client.py").arg(options.to_string()).run().await.well();
    let expected = json!({
        "text": "h\u{e9}llo \u{1f44b}",
        "binary": [0, 255],
        "empty": "",
        "large": true,
        "fragments": "a message in parts",
        "pings": "you are",
        "in turns": "echo",
        "closed by us": 4000,
        "closed by them": [4001, "told to"],
        "forbidden": [403, "not you\n"],
        "many": 20,
    });
    assert_eq!(said.json(), expected, "{}", said.stderr);
    eventually("the end of all connections", async || {
        server.count("closed 4000 bye") == 1 && server.count("closed 1000") == 28
    })
    .await;
}

/// Whoever would open a WebSocket by what is guarded is told that it can't.
async fn assert_guarded_requests_open_none(front: &Front) {
    let post = Client::of(front.addr()).post("/echo").key("k1").body("10");
    let asking = post.header("Connection", "Upgrade").header("Upgrade", "websocket");
    let asking = asking.header("Sec-WebSocket-Version", "13");
    let refused = asking.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await;
    assert_problem(&refused, 400, "bad-request");
}

#[tokio::test]
async fn an_echo_is_reached_without_tls() {
    let (server, url) = echo().await;
    let front = Setup::before_url(&url).start().await;
    assert_echoes(&server, &format!("ws://{}", front.addr()), None).await;
    assert_guarded_requests_open_none(&front).await;
}

#[tokio::test]
async fn an_echo_is_reached_with_tls() {
    let (server, url) = echo().await;
    let authority = Authority::new("Peers");
    let front = Setup::before_url(&url).showing(&authority.server()).start().await;
    let url = format!("wss://localhost:{}", front.addr().port());
    assert_echoes(&server, &url, Some(&authority)).await;
}
