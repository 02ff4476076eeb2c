//! Keys of several parts, the order of sources, and keys that must be there.

use super::{
    assert_one_operation, assert_own_operations, assert_refused, assert_unguarded, duplicate_key,
    told,
};
use crate::support::{Origin, Request, client};

const MALFORMED: (u16, &str) = (400, "key-malformed");
const MISSING: (u16, &str) = (400, "key-missing");

/// No two lists of parts run into one another.
#[tokio::test]
async fn the_boundary_between_joined_parts_counts() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        ignore_json = ["/account", "/id"]
        [[route]]
        name = "json"
        path = "/json"
        key = ["json:/account+json:/id"]
        [[route]]
        name = "header"
        path = "/header"
        key = ["header:X-Account+header:X-Id"]
        [[route]]
        name = "mixed"
        path = "/mixed"
        key = ["header:X-Account+json:/id"]
    "#;
    let proxy = told(&origin, toml).await;
    // Nothing but the key tells these apart: what the body has for it is ignored beside it.
    let pairs = [("a", "bc"), ("ab", "c"), ("abc", "+"), ("a+", "bc"), ("bc", "a"), ("a", "b")];
    let json = |(account, id): (&str, &str)| {
        let body = format!(r#"{{"account":"{account}","id":"{id}"}}"#);
        client(&proxy).post("/json").body(body)
    };
    let header = |(account, id): (&str, &str)| {
        client(&proxy).post("/header").header("X-Account", account).header("X-Id", id).body("10")
    };
    let mixed = |(account, id): (&str, &str)| {
        let body = format!(r#"{{"id":"{id}"}}"#);
        client(&proxy).post("/mixed").header("X-Account", account).body(body)
    };
    assert_own_operations(&origin, pairs.map(json)).await;
    assert_own_operations(&origin, pairs.map(header)).await;
    assert_own_operations(&origin, pairs.map(mixed)).await;
    let swapped = client(&proxy).post("/json").body(r#"{"id":"bc","account":"a"}"#);
    assert_one_operation(&origin, [json(("x", "y")), json(("x", "y"))]).await;
    assert!(swapped.send().await.is_repeat(), "the order of members is not that of the parts");
}

/// A key of several parts is there if all of them are.
#[tokio::test]
async fn a_joined_key_that_lacks_a_part_is_no_key() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["header:X-Account+query:op+json:/id", "header:X-Else"]
    "#;
    let proxy = told(&origin, toml).await;
    let whole = || client(&proxy).post("/a?op=1").header("X-Account", "1").body(r#"{"id":1}"#);
    assert_one_operation(&origin, [whole(), whole().header("X-Else", "1")]).await;
    let lacking = [
        client(&proxy).post("/a?op=1").body(r#"{"id":1}"#),
        client(&proxy).post("/a").header("X-Account", "1").body(r#"{"id":1}"#),
        client(&proxy).post("/a?op=1").header("X-Account", "1").body(r#"{"no":1}"#),
    ];
    for (number, request) in lacking.into_iter().enumerate() {
        assert_unguarded(&origin, &request).await;
        let known = |request: Request| request.header("X-Else", number.to_string());
        assert_one_operation(&origin, [known(request.clone()), known(request)]).await;
    }
    let malformed = |request: Request| request.header("X-Account", "two words");
    let bad = malformed(client(&proxy).post("/a?op=1").body(r#"{"id":1}"#));
    assert_refused(&origin, &bad, MALFORMED).await;
}

#[tokio::test]
async fn the_first_source_that_a_request_has_is_its_key() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["json:/id", "query:id", "header:X-Op", "checksum"]
    "#;
    let proxy = told(&origin, toml).await;
    let post = |target: &str, body: &str| client(&proxy).post(target).body(body);
    let json = |op: &str| post("/a?id=2", r#"{"id":"1"}"#).header("X-Op", op);
    assert_one_operation(&origin, [json("3"), json("4")]).await;
    let query = |op: &str| post("/a?id=2", "{}").header("X-Op", op);
    assert_one_operation(&origin, [query("3"), query("4")]).await;
    let header = |more: &str| post("/a", "{}").header("X-Op", "3").header("X-More", more);
    assert_one_operation(&origin, [header("1"), header("2")]).await;
    let plain = |more: &str| post("/a", "{}").header("X-More", more);
    assert_one_operation(&origin, [plain("1"), plain("1")]).await;
    assert_own_operations(&origin, [plain("2"), plain("2").key("k1")]).await;
    // A malformed key is looked at when its turn comes, and no other source takes its place.
    let bad = |request: Request| request.header("X-Op", "two words");
    assert_one_operation(&origin, [bad(post("/b?id=5", "{}")), post("/b?id=5", "{}")]).await;
    assert_refused(&origin, &bad(post("/b", "{}")), MALFORMED).await;
}

/// One value is another key in another place.
#[tokio::test]
async fn the_source_is_part_of_the_key() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["header:X-One", "header:X-Two", "json:/id", "json:/ref"]
        ignore_json = ["/id", "/ref"]
    "#;
    let proxy = told(&origin, toml).await;
    let header = |name: &str| client(&proxy).post("/a").header(name, "7").body("{}");
    let json = |name: &str| client(&proxy).post("/a").body(format!(r#"{{"{name}":"7"}}"#));
    let all = [header("X-One"), header("X-Two"), json("id"), json("ref")];
    assert_own_operations(&origin, all.clone()).await;
    let mut keys = Vec::new();
    for request in &all {
        keys.push(duplicate_key(request).await);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all.len(), "{keys:?}");
}

/// Where no source but those of the route counts, a request without them passes.
#[tokio::test]
async fn without_a_checksum_a_request_may_have_no_key() {
    let origin = Origin::start().await;
    let proxy = told(&origin, "[defaults]\nkey = [\"json:/id\"]\n").await;
    let request = client(&proxy).post("/a").key("k1").request_id("r1").body(r#"{"id":null}"#);
    assert_unguarded(&origin, &request).await;
    let large = client(&proxy).post("/a").body(" ".repeat(100_000));
    assert_unguarded(&origin, &large).await;
    assert_eq!(origin.last().body.len(), 100_000, "what was looked into goes on whole");
}

#[tokio::test]
async fn a_key_that_must_be_there_is_asked_for_by_its_places() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["json:/messageId", "header:X-Op", "query:id", "header:X-A+header:X-B"]
        require_key = true
        [[route]]
        name = "head"
        path = "/head"
        key = ["header:X-Op"]
    "#;
    let proxy = told(&origin, toml).await;
    let places = ["json:/messageId", "header:x-op", "query:id", "header:x-a+header:x-b"];
    let post = |target: &str| client(&proxy).post(target).key("k1").body("{}");
    for request in [post("/a"), post("/a").header("X-A", "1"), post("/a").chunked(1)] {
        let refused = assert_refused(&origin, &request, MISSING).await;
        let detail = refused.json()["detail"].as_str().expect("a detail").to_lowercase();
        for place in places {
            assert!(detail.contains(&place.to_lowercase()), "{place}: {detail}");
        }
        assert_eq!(refused.json()["retryable"], false, "{refused:?}");
        assert!(!refused.has("duplicate-key"), "no key, no hash: {refused:?}");
    }
    let refused = assert_refused(&origin, &post("/head"), MISSING).await;
    let detail = refused.json()["detail"].as_str().expect("a detail").to_lowercase();
    assert!(detail.contains("header:x-op") && !detail.contains("messageid"), "{detail}");
    for request in [
        client(&proxy).post("/a").body(r#"{"messageId":"m1"}"#),
        post("/a").header("X-Op", "1"),
        post("/a?id=1"),
        post("/a").header("X-A", "1").header("X-B", "1"),
    ] {
        assert_one_operation(&origin, [request.clone(), request]).await;
    }
    let read = client(&proxy).get("/a");
    assert_unguarded(&origin, &read).await;
}

/// A refusal for want of a key is about one request: its connection goes on.
#[tokio::test]
async fn a_refusal_leaves_the_connection_open() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nkey = [\"json:/id\", \"header:X-Op\"]\nrequire_key = true\n";
    let proxy = told(&origin, toml).await;
    let mut connection = client(&proxy).connect().await;
    for round in 0..3 {
        let post = || client(&proxy).post("/a");
        let refused = post().body("{}").send_on(&mut connection).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        let refused = post().header("X-Op", "two words").body("{}").send_on(&mut connection).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        let body = format!(r#"{{"id":{round}}}"#);
        assert_eq!(post().body(body).send_on(&mut connection).await.status, 201);
    }
    assert_eq!(origin.hits(), 3);
}

/// What a route reads of a request can't be taken off it on the way.
#[tokio::test]
async fn connection_may_not_name_what_a_route_reads() {
    let origin = Origin::start().await;
    let toml = r#"
        [jwt]
        trusted = true
        header = "X-Token"
        [[route]]
        name = "a"
        path = "/a"
        key = ["header:X-Op", "json:/id+header:X-Account"]
        caller = ["jwt:sub", "header:X-Caller"]
    "#;
    let proxy = told(&origin, toml).await;
    let post = |named: &str| client(&proxy).post("/a").header("Connection", named).body("10");
    for name in ["X-Op", "x-account", "X-Token", "X-CALLER", "close, X-Op"] {
        assert_refused(&origin, &post(name), (400, "bad-request")).await;
    }
    let harmless = post("X-Other").header("X-Other", "1").header("X-Op", "1");
    assert_one_operation(&origin, [harmless.clone(), harmless]).await;
    assert!(!origin.last().head.has("x-other") && origin.last().head.has("x-op"));
}
