//! The key that the upstream is sent.

use super::told;
use crate::support::{
    Act, Answer, How, Origin, Proxy, Received, Request, assert_executed, assert_problem, client,
};

const NAMED: &str = "[defaults]\nforward_key = \"Operation-Id\"\n";

/// The only value that a request has of the header, which must be a UUID of version 8.
#[track_caller]
fn forwarded(received: &Received) -> String {
    let values = received.head.all("operation-id");
    assert_eq!(values.len(), 1, "{:?}", received.head);
    let value = String::from_utf8(values[0].to_vec()).expect("text");
    let groups: Vec<_> = value.split('-').collect();
    let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{value}");
    assert!(groups[2].starts_with('8') && groups[3].starts_with(['8', '9', 'a', 'b']), "{value}");
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    assert!(groups.concat().bytes().all(is_digit), "{value}");
    value
}

/// What the upstream is sent for a request that is executed.
async fn executed(origin: &Origin, request: Request) -> String {
    let before = origin.hits();
    assert_executed(&request.send().await);
    assert_eq!(origin.hits(), before + 1);
    forwarded(&origin.last())
}

#[tokio::test]
async fn every_operation_is_sent_on_under_a_key_of_its_own() {
    let origin = Origin::start().await;
    let proxy = told(&origin, NAMED).await;
    let post = |path: &str, caller: &str, key: &str| {
        client(&proxy).post(path).caller(caller).key(key).body("10")
    };
    let mut keys = Vec::new();
    for request in [
        post("/a", "alice", "k1"),
        post("/a", "alice", "k2"),
        post("/a", "bob", "k1"),
        post("/b", "alice", "k1"),
        client(&proxy).post("/a").caller("alice").request_id("k1").body("10"),
        client(&proxy).post("/a").caller("alice").body("10"),
        client(&proxy).post("/a").caller("alice").body("11"),
        client(&proxy).post("/a").body("10"),
    ] {
        let key = executed(&origin, request).await;
        let shown = origin.last();
        assert!(!key.contains("k1") && shown.header("operation-id") == Some(&*key), "{shown:?}");
        keys.push(key);
    }
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "{keys:?}");
}

/// What it is for: an upstream that executed the first attempt knows the second one.
#[tokio::test]
async fn a_retry_that_is_executed_has_the_same_key() {
    let origin = Origin::start().await;
    let proxy = told(&origin, NAMED).await;
    for keyed in [Some("k1"), None] {
        let request = || client(&proxy).post("/a").key_if(keyed).body("10");
        origin.next(Answer::new(500)).next(Answer::new(429));
        let mut keys = Vec::new();
        for _ in 0..3 {
            keys.push(executed(&origin, request()).await);
        }
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        let hits = origin.hits();
        assert!(request().send().await.is_repeat());
        assert_eq!(origin.hits(), hits);
    }
    let toml = format!("{NAMED}on_unknown = \"release\"\n");
    let proxy = told(&origin, &toml).await;
    let request = || client(&proxy).post("/a").key("k1").body("10");
    origin.next(Act::DropAfterExecuting(How::Close));
    assert_problem(&request().send().await, 502, "upstream-broken");
    let first = forwarded(&origin.last());
    assert_eq!(executed(&origin, request()).await, first);
}

/// What a caller sends under the name goes no further, in however many lines.
#[tokio::test]
async fn a_callers_own_header_of_the_name_is_replaced() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nforward_key = \"Idempotency-Key\"\n";
    let proxy = told(&origin, toml).await;
    let mut seen = Vec::new();
    for key in ["k1", "k2"] {
        client(&proxy).post("/a").key(key).body("10").send().await;
        let values = origin.last().head.all("idempotency-key").len();
        assert_eq!(values, 1, "{:?}", origin.last().head);
        let value = origin.last().header("idempotency-key").map(str::to_owned);
        assert!(value.as_ref().is_some_and(|value| value.len() == 36), "{value:?}");
        seen.push(value);
    }
    assert_ne!(seen[0], seen[1]);
    let named = told(&origin, NAMED).await;
    let forged = "00000000-0000-8000-8000-000000000000";
    let request = client(&named).post("/a").key("k1").header("Operation-Id", forged);
    let request = request.header("operation-id", "second").body("10");
    assert_ne!(executed(&origin, request).await, forged);
    // Nor can a caller have it taken off on the way.
    let off = client(&named).post("/a").key("k2").header("Connection", "Operation-Id").body("10");
    executed(&origin, off).await;
}

#[tokio::test]
async fn what_is_not_guarded_has_no_key_of_ours() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        forward_key = "Operation-Id"
        max_request = "1KiB"
        [[route]]
        name = "off"
        path = "/off"
        mode = "off"
        [[route]]
        name = "keyless"
        path = "/keyless"
        key = ["header:X-Op"]
        [[route]]
        name = "anonymous"
        path = "/anonymous"
        anonymous = "pass"
    "#;
    let proxy = told(&origin, toml).await;
    let post = |path: &str| client(&proxy).post(path).body("10");
    for request in [
        client(&proxy).get("/a"),
        post("/off"),
        post("/keyless"),
        post("/anonymous"),
        post("/a").body("x".repeat(5000)),
    ] {
        request.clone().send().await;
        assert!(!origin.last().head.has("operation-id"), "{:?}", origin.last().head);
        request.header("Operation-Id", "mine").send().await;
        assert_eq!(origin.last().head.all("operation-id"), [b"mine"], "it goes on as it came");
    }
    assert_eq!(origin.hits(), 10);
}

/// Two instances with one secret send one operation on under one key; with another secret, nobody
/// can tell what it will be.
#[tokio::test]
async fn the_key_depends_on_the_secret() {
    let origin = Origin::start().await;
    let toml = format!("[store]\nsecret_file = \"secret\"\n{NAMED}");
    let mut keys = Vec::new();
    for secret in [
        "one secret of thirty-two letters",
        "one secret of thirty-two letters\n",
        "another secret of 32 characters!",
    ] {
        let proxy = Proxy::before(&origin).file("secret", secret).toml(&toml).start().await;
        let log = proxy.log();
        assert!(!log.contains("WARN"), "nothing to warn of: {log}");
        let request = || client(&proxy).post("/a").key("k1").body("10");
        keys.push(executed(&origin, request()).await);
        assert!(request().send().await.is_repeat());
    }
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
    let proxy = told(&origin, NAMED).await;
    assert!(proxy.log().contains("give it a store.secret_file"), "{}", proxy.log());
}
