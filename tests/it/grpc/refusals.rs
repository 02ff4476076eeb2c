//! What the proxy itself says to gRPC callers.

use h2::Reason;

use super::{Call, Client, Grpc, assert_refused, assert_replay, before, message, texts};
use crate::support::{Gate, Origin, Proxy, eventually};

const CALL: &str = "/shop.Orders/Place";

/// Keys that are malformed, missing, or used for another call.
#[tokio::test]
async fn a_wrong_key_is_an_invalid_argument() {
    let origin = Grpc::counting().await;
    let config = "[defaults]\nkey = [\"header:Idempotency-Key\"]\nrequire_key = true\n";
    let proxy = before(&origin).toml(config).arg("--access-log", "all").start().await;
    let client = Client::to(&proxy).await;
    let missing = client.call(CALL).send("order").await;
    assert_refused(&missing, 3, "key-missing");
    let malformed = client.call(CALL).key("").send("order").await;
    assert_refused(&malformed, 3, "key-malformed");
    let twice = client.call(CALL).key("a").key("b").send("order").await;
    assert_refused(&twice, 3, "key-malformed");
    client.call(CALL).key("k1").send("order").await;
    let reused = client.call(CALL).key("k1").send("another").await;
    assert_refused(&reused, 3, "key-reused");
    assert_eq!(texts(&reused.headers, "duplicate-key").len(), 1, "{reused:?}");
    assert_eq!(origin.calls(CALL), 1);
    // The log says what other callers would have been told.
    let statuses: Vec<_> = proxy
        .access_lines(5)
        .await
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line of JSON"))
        .map(|line| (line["status"].clone(), line["problem"].clone()))
        .collect();
    let expected = [(400, Some("key-missing")), (400, Some("key-malformed"))];
    for (found, (status, name)) in statuses.iter().zip(expected) {
        assert_eq!(*found, (status.into(), name.into()));
    }
    assert_eq!(statuses[3].0, 200);
    assert_eq!(statuses[4], (422.into(), "key-reused".into()));
}

/// A message that says that it is too large is refused before it has come.
#[tokio::test]
async fn a_message_that_is_too_large_is_refused_by_its_prefix() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).arg("--max-request", "1KiB").start().await;
    let client = Client::to(&proxy).await;
    let fits = "x".repeat(1024 - 5);
    let first = client.call(CALL).key("k1").send(&fits).await;
    assert_replay(&first, &client.call(CALL).key("k1").send(&fits).await);
    let mut open = client.call(CALL).key("k2").open().await;
    open.bytes(&message("x".repeat(1024 - 4))[..5]);
    let (begun, _stream) = open.begun().await;
    assert_refused(&begun.whole().await, 8, "too-large");
    assert_eq!(origin.calls(CALL), 1);
}

/// A repeat that may not wait, or has waited long enough, is told to come back.
#[tokio::test]
async fn a_repeat_that_is_not_answered_in_time_is_aborted() {
    let gate = Gate::shut();
    let shut = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let gate = shut.clone();
        async move {
            call.rest().await;
            gate.passed().await;
            call.answer("reply", "0");
        }
    })
    .await;
    let config = "[defaults]\nin_flight = \"refuse\"\n";
    let proxy = before(&origin).toml(config).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call(CALL).key("k1").open().await;
    open.message("order");
    open.end();
    origin.wait_for_calls(CALL, 1).await;
    let repeat = client.call(CALL).key("k1").send("order").await;
    assert_refused(&repeat, 10, "in-progress");
    assert_eq!(texts(&repeat.headers, "retry-after"), ["1"]);
    gate.open();
    let first = open.answer().await;
    assert_replay(&first, &client.call(CALL).key("k1").send("order").await);
}

/// U1, U6: an upstream that is not there, or does not answer.
#[tokio::test]
async fn an_upstream_that_fails_is_told_as_it_is() {
    let proxy = Proxy::before_address(Origin::nowhere().await);
    let proxy = proxy.env("ONCEGATE_UPSTREAM_HTTP2", "true").start().await;
    let client = Client::to(&proxy).await;
    for _ in 0..2 {
        let answer = client.call(CALL).key("k1").send("order").await;
        assert_refused(&answer, 14, "upstream-unreachable");
        let answer = client.call(CALL).send("order").await;
        assert_refused(&answer, 14, "upstream-unreachable");
    }
    let origin = Grpc::start(async |mut call: Call| {
        call.rest().await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = before(&origin).arg("--upstream-timeout", "1s").start().await;
    let client = Client::to(&proxy).await;
    let answer = client.call(CALL).key("k1").send("order").await;
    assert_refused(&answer, 4, "upstream-timeout");
    let repeat = client.call(CALL).key("k1").send("order").await;
    assert_refused(&repeat, 9, "outcome-unknown");
    assert_eq!(origin.calls(CALL), 1);
}

/// What cannot be forwarded safely is refused in the same way.
#[tokio::test]
async fn what_is_refused_at_the_door_is_refused_in_grpc() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).arg("--max-target-bytes", "100B").start().await;
    let client = Client::to(&proxy).await;
    let long = client.call(&format!("/{}", "x".repeat(100))).send("order").await;
    assert_refused(&long, 8, "too-large");
    let twice = client.call(CALL).field("host", "other.example").send("order").await;
    assert_refused(&twice, 3, "bad-request");
    // Whoever speaks plain HTTP is told so in plain HTTP.
    let web = client.call(CALL).field("content-type", "application/grpc-web").key("");
    let web = web.send("order").await;
    assert_eq!((web.status, web.trailers), (400, None));
    assert_eq!(texts(&web.headers, "content-type"), ["application/problem+json"]);
}

/// A connection that begins calls and takes them back at once can have only so many of them
/// running; others go on.
#[tokio::test]
async fn a_connection_has_only_so_many_calls_running() {
    let gate = Gate::shut();
    let shut = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let gate = shut.clone();
        async move {
            call.rest().await;
            if call.path == CALL {
                gate.passed().await;
            }
            call.answer("reply", "0");
        }
    })
    .await;
    let proxy = before(&origin).arg("--max-streams", "3").start().await;
    let client = Client::to(&proxy).await;
    for number in 1..=3 {
        let mut open = client.call(CALL).key(&format!("k{number}")).open().await;
        open.message("order");
        open.end();
        origin.wait_for_calls(CALL, number).await;
        open.reset(Reason::CANCEL);
    }
    let busy = client.call(CALL).key("k4").send("order").await;
    assert_refused(&busy, 14, "busy");
    let other = Client::to(&proxy).await.call("/other").key("k4").send("order").await;
    assert_eq!(other.code(), Some("0"));
    gate.open();
    eventually("room for another call", async || {
        client.call(CALL).key("k4").send("order").await.code() == Some("0")
    })
    .await;
    assert_eq!(origin.calls(CALL), 4);
}
