//! `oncegate explain`: what is made of one request, and that it is what an instance makes of it.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::shown;
use crate::support::{
    Ended, Folder, Origin, Proxy, Request, assert_marked, assert_replay, client, gzip, run, within,
};

const SECRET: &str = "a secret of thirty-two characters";

/// `{"alg":"HS256","typ":"JWT"}.{"sub":"alice","exp":32503680000}`, signed with the secret.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
                     eyJzdWIiOiJhbGljZSIsImV4cCI6MzI1MDM2ODAwMDB9.\
                     S26LT7G03gmqYOjL6Hh54s9JfQabP1K6MsYfEVNa-EA";

const CONFIG: &str = r#"
    [store]
    secret_file = "secret"
    [jwt]
    secret_file = "secret"
    algorithm = "HS256"
    [[route]]
    name = "batch"
    path = "/v1/batch"
    key = ["json:/batch/*/messageId", "checksum"]
    ignore_json = ["/sentAt"]
    [[route]]
    name = "lists"
    path = "/lists/{list_id}/{*rest}"
    key = ["path:list_id+query:op", "header:X-Op"]
    caller = ["basic", "cookie:sid"]
    authority = false
    forward_key = "Operation-Id"
    [[route]]
    name = "tokens"
    path = "/tokens"
    caller = ["jwt:sub"]
    only_headers = ["X-Tenant"]
    [[route]]
    name = "reports"
    host = "*.example"
    path = "/reports"
    methods = ["GET"]
    [[route]]
    name = "strict"
    path = "/strict"
    key = ["header:X-Op", "json:/id"]
    require_key = true
    anonymous = "refuse"
    max_request = "1KiB"
    [[route]]
    name = "guests"
    path = "/guests"
    anonymous = "pass"
    [[route]]
    name = "off"
    path = "/off"
    mode = "off"
"#;

/// A config with its secret, and requests beside it.
fn folder() -> (Folder, String) {
    let folder = Folder::new();
    folder.write("secret", SECRET);
    let path = folder.write("oncegate.toml", CONFIG);
    (folder, path)
}

/// Explains a raw request under the config.
async fn explain(raw: &[u8]) -> Ended {
    let (folder, config) = folder();
    let request = folder.write("request", raw);
    run(&["explain", "--config", &config, "--upstream", "http://127.0.0.1:9", &request], &[]).await
}

async fn explained(request: &Request) -> String {
    let ended = explain(&request.bytes()).await;
    assert_eq!(ended.status.code(), Some(0), "{}\n{ended:?}", shown(request));
    assert!(ended.stderr.is_empty(), "{ended:?}");
    ended.stdout
}

/// What a line with this heading says, of which there must be one.
#[track_caller]
fn said<'a>(text: &'a str, heading: &str) -> &'a str {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(heading));
    let line = found.next().unwrap_or_else(|| panic!("no {heading} in {text}"));
    assert_eq!(found.next(), None, "one {heading} in {text}");
    line.trim()
}

async fn instance(origin: &Origin) -> Proxy {
    Proxy::before(origin).file("secret", SECRET).toml(CONFIG).start().await
}

/// Requests of every kind that the config knows, and the route and the source of the key of each.
fn requests(proxy: &Proxy) -> Vec<(Request, &'static str, &'static str)> {
    let post = |target: &str| client(proxy).post(target);
    let batch = r#"{"sentAt":1,"batch":[{"messageId":"m1"},{"messageId":2}]}"#;
    let events = "json:/batch/*/messageId";
    let basic = "Basic YWxpY2U6czNjcmV0";
    let zipped = || post("/v1/batch").header("Content-Encoding", "gzip");
    let key = "header:idempotency-key";
    vec![
        (post("/a").key("k1").body("10"), "default", key),
        (post("/a?x=1").key("\"k1\"").caller("bob").chunked(1).body("10"), "default", key),
        (
            post("/a").request_id("r1").host("API.Example.:80").body("10"),
            "default",
            "header:request-id",
        ),
        (post("/a?x").header("X-B", "2").header("X-A", "1").body("10"), "default", "checksum"),
        (client(proxy).method("DELETE", "/a%2F/b"), "default", "checksum"),
        (post("/v1/batch").body(batch), "batch", events),
        (zipped().body(gzip(batch.replace("m1", "m3").as_bytes(), 7)), "batch", events),
        (zipped().body(batch), "batch", "checksum"),
        (post("/v1/batch").body(r#"{"batch":[],"sentAt":1}"#), "batch", "checksum"),
        (
            post("/lists/7/a/b?op=x").host("b.example").header("Authorization", basic).body("1"),
            "lists",
            "path:list_id+query:op",
        ),
        (
            post("/lists/7/a").header("X-Op", "o1").header("Cookie", "sid=1; x=2"),
            "lists",
            "header:x-op",
        ),
        (
            post("/tokens").caller(TOKEN).header("X-Tenant", "t").header("X-No", "1"),
            "tokens",
            "checksum",
        ),
        (post("/tokens").caller("forged.token.here").key("k1"), "tokens", key),
        (client(proxy).get("/reports").host("www.example").key("k1"), "reports", key),
        (post("/strict").caller("bob").body(r#"{"id":true}"#), "strict", "json:/id"),
        (post("/guests").header("X-API-Key", "1").body("1"), "guests", "checksum"),
        (client(proxy).get("/a").header("X-HTTP-Method-Override", "POST"), "default", "checksum"),
    ]
}

/// The point of it: the key that it prints is the one under which an instance knows the request.
#[tokio::test]
async fn the_key_is_the_one_that_an_instance_sends() {
    let origin = Origin::start().await;
    let proxy = instance(&origin).await;
    for (request, route, source) in requests(&proxy) {
        let hits = origin.hits();
        let first = request.clone().send().await;
        assert_eq!(origin.hits(), hits + 1, "{}\n{first:?}", shown(&request));
        let forwarded = origin.last();
        let repeat = request.clone().send().await;
        assert_marked(&repeat);
        assert_replay(&first, &repeat);
        let text = explained(&request).await;
        assert_eq!(said(&text, "route "), route, "{}\n{text}", shown(&request));
        assert_eq!(said(&text, "key "), source, "{}\n{text}", shown(&request));
        assert_eq!(Some(said(&text, "Duplicate-Key ")), repeat.header("duplicate-key"), "{text}");
        if let Some(key) = forwarded.header("operation-id") {
            assert_eq!(said(&text, "forwarded "), format!("operation-id: {key}"), "{text}");
        }
    }
}

/// What an instance would not guard, or would refuse, has no key and says why.
#[tokio::test]
async fn what_has_no_key_says_why() {
    let origin = Origin::start().await;
    let proxy = instance(&origin).await;
    let post = |target: &str| client(&proxy).post(target);
    let strict = || post("/strict").caller("bob");
    for (request, status, said) in [
        (client(&proxy).get("/a").key("k1"), 201, "passed on"),
        (post("/off").key("k1").body("10"), 201, "passed on"),
        (post("/guests").key("k1").body("10"), 201, "caller-unknown"),
        (post("/lists/7/a").body("10"), 201, "key-missing"),
        (post("/strict").header("X-Op", "1").body("10"), 400, "caller-missing"),
        (strict().body("{}"), 400, "key-missing"),
        (strict().header("X-Op", "two words").body("10"), 400, "key-malformed"),
        (strict().header("X-Op", "1").header("X-Op", "1").body("10"), 400, "key-malformed"),
        (strict().header("X-Op", "1").body("x".repeat(2000)), 413, "too-large"),
        (strict().header("X-Op", "a b").body("x".repeat(2000)), 400, "key-malformed"),
        (post("/a").without_host().key("k1").body("10"), 400, "bad-request"),
        (post("/a").host("a b").key("k1").body("10"), 400, "bad-request"),
        (
            post("/a").header("Connection", "Idempotency-Key").key("k1").body("1"),
            400,
            "bad-request",
        ),
        (client(&proxy).method("post", "/a").body("1"), 400, "bad-request"),
    ] {
        let reply = request.clone().send().await;
        assert_eq!(reply.status, status, "{}\n{reply:?}", shown(&request));
        let text = explained(&request).await;
        assert!(text.contains(said), "{said}: {}\n{text}", shown(&request));
        assert!(!text.contains("Duplicate-Key"), "{}\n{text}", shown(&request));
    }
}

/// Every part is named with what becomes of it.
#[tokio::test]
async fn every_part_is_told_with_its_reason() {
    let origin = Origin::start().await;
    let proxy = instance(&origin).await;
    let body = r#"{"sentAt":1,"batch":[]}"#;
    let request = client(&proxy).post("/v1/batch?x=1").header("X-Retry-Count", "2");
    let request = request.header("X-Tenant", "7").caller("bob").body(body);
    let text = explained(&request).await;
    let line = |heading: &str, rest: &str| {
        let found = text.lines().any(|line| {
            line.starts_with(heading) && line[heading.len()..].trim().starts_with(rest)
        });
        assert!(found, "{heading} {rest}: {text}");
    };
    line("request", "POST /v1/batch for api.example");
    line("no key in", "json:/batch/*/messageId");
    line("key", "checksum");
    line("caller", "header authorization (10 bytes)");
    line("left out", "header authorization: it says who the caller is");
    line("left out", "header x-retry-count: it changes between attempts");
    line("left out", "header content-length: it changes between attempts");
    line("compared", "header x-tenant");
    line("compared", "query");
    line("compared", "body (12 of 23 bytes");
    let tokens = client(&proxy).post("/tokens").header("X-Other", "1").body("10");
    let text = explained(&tokens).await;
    assert!(text.contains("header x-other: it is not among only_headers"), "{text}");
    assert!(text.contains("anonymous"), "{text}");
}

/// Whom a token names is told where the token is genuine, and nothing of the kind where it is not.
#[tokio::test]
async fn a_caller_is_told_as_what_proves_them() {
    let origin = Origin::start().await;
    let proxy = instance(&origin).await;
    let tokens = |token: &str| client(&proxy).post("/tokens").key("k1").caller(token).body("10");
    let text = explained(&tokens(TOKEN)).await;
    assert!(said(&text, "caller ").starts_with("jwt sub ("), "{text}");
    for forged in [&format!("{TOKEN}A"), "alice", "e30.e30."] {
        let text = explained(&tokens(forged)).await;
        assert!(said(&text, "caller ").starts_with("header authorization ("), "{text}");
        assert!(!text.contains("jwt"), "{text}");
    }
    let lists = |name: &str, value: &str| {
        client(&proxy).post("/lists/7/a").header("X-Op", "1").header(name, value).body("10")
    };
    for (name, value, caller) in [
        ("Authorization", "Basic YWxpY2U6czNjcmV0", "basic (5 bytes)"),
        ("Cookie", "x=1; sid=123", "cookie sid (3 bytes)"),
    ] {
        let text = explained(&lists(name, value)).await;
        assert_eq!(said(&text, "caller "), caller, "{text}");
    }
}

/// Nothing that is secret is shown: not keys, not credentials, not bodies, not queries.
#[tokio::test]
async fn no_values_are_shown() {
    let origin = Origin::start().await;
    let proxy = instance(&origin).await;
    let noisy = |request: Request| {
        let request = request.caller("s3cret-token").header("Cookie", "sid=s3cret-cookie");
        request.header("X-API-Key", "s3cret-api").header("X-Tenant", "s3cret-tenant")
    };
    let post = |target: &str| noisy(client(&proxy).post(target));
    let json = r#"{"id":"s3cret-id","batch":[{"messageId":"s3cret-m1"}],"sentAt":"s3cret"}"#;
    for request in [
        post("/a?q=s3cret-query").key("s3cret-key").body("s3cret-body"),
        post("/a").key("s3cret bad").body("s3cret-body"),
        post("/a").request_id("s3cret-id").request_id("s3cret-id").body("s3cret-body"),
        post("/a?s3cret").body("s3cret-body"),
        post("/v1/batch").body(json),
        post("/strict").body(json),
        post("/strict").body("s3cret"),
        post("/strict").key("s3cret-key").body("s3cret".repeat(1000)),
        post("/tokens").body("s3cret"),
        post("/lists/7/a?op=s3cret-op").body("s3cret"),
        noisy(client(&proxy).get("/a?q=s3cret-query")),
        post("/off?q=s3cret").body("s3cret"),
    ] {
        let text = explained(&request).await;
        assert!(!text.contains("s3cret"), "{}\n{text}", shown(&request));
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// A request comes from the standard input, too; without a secret of its own, an instance's key
/// can't be foretold.
#[tokio::test]
async fn a_request_may_come_on_the_standard_input() {
    let request: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k1\r\n\r\n";
    for args in [&["explain"][..], &["explain", "-"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oncegate"));
        command
            .args(args)
            .args(["--upstream", "http://127.0.0.1:9"])
            .env_clear()
            .env("ONCEGATE_ADMIN", "off");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("starting the binary");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(request).await.expect("writing the request");
        drop(stdin);
        let output = within("the end of it", child.wait_with_output()).await.expect("an end");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(said(&text, "key "), "header:idempotency-key");
        let key = said(&text, "Duplicate-Key ");
        assert!(key.contains("store.secret_file"), "{key}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_an_error() {
    let inputs: [&[u8]; 9] = [
        b"",
        b"\r\n\r\n",
        b"hello",
        b"POST /a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n1234567890",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for raw in inputs {
        let ended = explain(raw).await;
        assert_eq!(ended.status.code(), Some(2), "{}: {ended:?}", raw.escape_ascii());
        assert!(ended.stderr.contains("HTTP/1.1 request"), "{}: {ended:?}", raw.escape_ascii());
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("panicked"), "{ended:?}");
    }
    let (folder, config) = folder();
    let args = ["explain", "--config", &config, "--upstream", "http://127.0.0.1:9"];
    let missing = folder.path("missing");
    let missing = missing.to_str().expect("text");
    let ended = run(&[&args[..], &[missing]].concat(), &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(missing) && ended.stdout.is_empty(), "{ended:?}");
    let broken = folder.write("broken.toml", "[upstream]\nurl = 1\n");
    let ended = run(&["explain", "--config", &broken, missing], &[]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(ended.stderr.contains("broken.toml:2:7"), "{ended:?}");
}
