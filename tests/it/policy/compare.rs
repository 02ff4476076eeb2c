//! What counts of a request, and what a route leaves out.

use super::{assert_one_operation, assert_own_operations, assert_refused, told};
use crate::support::{Origin, Request, client, gzip};

const REUSED: (u16, &str) = (422, "key-reused");

/// The bodies that are one operation, and those that are others, under these ignored places.
async fn assert_compared(ignored: &[&str], alike: &[&str], others: &[&str]) {
    let origin = Origin::start().await;
    let proxy = told(&origin, &format!("[defaults]\nignore_json = {ignored:?}\n")).await;
    let plain = |body: &&str| client(&proxy).post("/v1/track").body(*body);
    let packed = |body: &&str| {
        let zipped = gzip(body.as_bytes(), u32::try_from(body.len()).expect("a small body"));
        client(&proxy).post("/v1/track").header("Content-Encoding", "gzip").body(zipped)
    };
    let keyed = |body: &&str| plain(body).key("k1");
    // Without a key, plain and compressed; then as what must not change under a key.
    let all = alike.iter().map(plain).chain(alike.iter().map(packed));
    assert_one_operation(&origin, all.collect::<Vec<_>>()).await;
    assert_own_operations(&origin, others.iter().map(plain)).await;
    let before = origin.hits();
    for body in others {
        assert!(packed(body).send().await.is_repeat(), "{body}");
    }
    assert_eq!(origin.hits(), before);
    assert_one_operation(&origin, alike.iter().map(keyed).collect::<Vec<_>>()).await;
    for body in others {
        assert_refused(&origin, &keyed(body), REUSED).await;
    }
}

#[tokio::test]
async fn an_ignored_member_may_stand_anywhere_or_not_at_all() {
    let alike = [
        r#"{"event":"paid","amount":10}"#,
        r#"{"sentAt":"2026-01-01","event":"paid","amount":10}"#,
        r#"{"event":"paid","sentAt":"2026-01-02","amount":10}"#,
        r#"{"event":"paid","amount":10,"sentAt":"2026-01-03"}"#,
        r#"{"event":"paid","amount":10,"sentAt":{"at":[1,{"sentAt":"}"}]}}"#,
        r#"{"event":"paid","amount":10,"\u0073entAt":null}"#,
    ];
    let others = [
        r#"{"event":"paid","amount":11,"sentAt":"2026-01-01"}"#,
        r#"{"event":"paid","sentAt":"2026-01-01"}"#,
        r#"{"amount":10,"event":"paid"}"#,
        r#"{"event":"paid","amount":10,"sentat":"2026-01-01"}"#,
        r#"{"event":"paid","amount":10,"context":{"sentAt":"2026-01-01"}}"#,
        r#"[{"event":"paid","amount":10,"sentAt":"2026-01-01"}]"#,
        r#"{"sentAt":"2026-01-01"}"#,
    ];
    assert_compared(&["/sentAt"], &alike, &others).await;
}

#[tokio::test]
async fn an_ignored_place_may_be_deep_and_in_every_element() {
    let alike = [
        r#"{"batch":[{"id":1,"sentAt":1},{"id":2,"sentAt":2}],"meta":{"a":1,"try":1}}"#,
        r#"{"batch":[{"sentAt":3,"id":1},{"id":2,"sentAt":4}],"meta":{"a":1,"try":2}}"#,
        r#"{"batch":[{"id":1},{"id":2}],"meta":{"a":1}}"#,
        r#"{"batch":[{"id":1},{"id":2,"sentAt":{}}],"meta":{"try":[],"a":1}}"#,
    ];
    let others = [
        r#"{"batch":[{"id":2},{"id":1}],"meta":{"a":1}}"#,
        r#"{"batch":[{"id":1},{"id":2},{"sentAt":3}],"meta":{"a":1}}"#,
        r#"{"batch":[{"id":1},{"id":2}],"meta":{"a":1},"try":1}"#,
        r#"{"batch":[{"id":1},{"id":2}],"meta":{"a":1},"sentAt":1}"#,
        r#"{"batch":[{"id":1,"x":{"sentAt":1}},{"id":2}],"meta":{"a":1}}"#,
        r#"{"batch":{"sentAt":1},"meta":{"a":1}}"#,
    ];
    assert_compared(&["/batch/*/sentAt", "/meta/try"], &alike, &others).await;
}

/// Numbers are compared as they are spelled: none is rounded, and none is written anew.
#[tokio::test]
async fn numbers_are_compared_to_their_last_digit() {
    let alike = [
        r#"{"amount":12345678901234567890123}"#,
        r#"{"amount":12345678901234567890123,"sentAt":1}"#,
    ];
    let others = [
        r#"{"amount":12345678901234567890124}"#,
        r#"{"amount":12345678901234567890124,"sentAt":1.0}"#,
        r#"{"amount":9007199254740993,"sentAt":1}"#,
        r#"{"amount":9007199254740992,"sentAt":1}"#,
        r#"{"amount":0.1}"#,
        r#"{"amount":0.10}"#,
        r#"{"amount":0.1000000000000000000000001}"#,
        r#"{"amount":1e2}"#,
        r#"{"amount":100}"#,
    ];
    // The first two of the others are one operation, too: they are told apart from the first.
    let (same, others) = others.split_at(2);
    assert_compared(&["/sentAt"], &alike, others).await;
    assert_compared(&["/sentAt"], same, &[&alike[..1], others].concat()).await;
}

/// What is not surely JSON counts whole.
#[tokio::test]
async fn what_is_no_json_is_compared_whole() {
    let alike = [r#"{"a":1}"#, r#"{"sentAt":1,"a":1}"#];
    let others = [
        r#"{"a":1,"sentAt":1"#,
        r#"{"a":1,"sentAt":2"#,
        r#"{"a":1,"sentAt":1} x"#,
        r#"{"a":1,"sentAt":1,"sentAt":2}"#,
        r#"{"a":1,"sentAt":1,"sentAt":3}"#,
        r#"{"a":1,"sentAt":01}"#,
        "sentAt=1&a=1",
        "sentAt=2&a=1",
        r#"{ "a":1}"#,
        r#"{"a":1} "#,
    ];
    assert_compared(&["/sentAt"], &alike, &others).await;
}

#[tokio::test]
async fn what_one_route_ignores_counts_in_another() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        ignore_json = ["/a"]
        [[route]]
        name = "own"
        path = "/own"
        ignore_json = ["/b"]
        [[route]]
        name = "none"
        path = "/none"
        ignore_json = []
    "#;
    let proxy = told(&origin, toml).await;
    let post = |path: &str, a: u8, b: u8| {
        client(&proxy).post(path).body(format!(r#"{{"a":{a},"b":{b}}}"#))
    };
    assert_one_operation(&origin, [post("/", 1, 1), post("/", 2, 1)]).await;
    assert_own_operations(&origin, [post("/", 1, 2)]).await;
    assert_one_operation(&origin, [post("/own", 1, 1), post("/own", 1, 2)]).await;
    assert_own_operations(&origin, [post("/own", 2, 1)]).await;
    let all = [post("/none", 1, 1), post("/none", 1, 2), post("/none", 2, 1)];
    assert_own_operations(&origin, all).await;
    assert_eq!(origin.last().body, br#"{"a":2,"b":1}"#, "what is ignored goes on");
}

#[tokio::test]
async fn a_route_may_ignore_headers() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nignore_headers = [\"X-Noise\", \"X-API-Key\", \"Content-Type\"]\n";
    let proxy = told(&origin, toml).await;
    let post = || client(&proxy).post("/a").body("10");
    let alike = [
        post(),
        post().header("X-Noise", "1"),
        post().header("x-noise", "2").header("X-Noise", "3"),
        post().header("User-Agent", "curl/8"),
        post().header("Content-Type", "text/plain"),
    ];
    assert_one_operation(&origin, alike).await;
    // A credential says who calls, and nobody is ignored.
    let others = [
        post().header("X-Other", "1"),
        post().header("X-Noise-Too", "1"),
        post().header("X-API-Key", "a"),
        post().header("X-API-Key", "b"),
        post().header("Prefer", "return=minimal"),
    ];
    assert_own_operations(&origin, others).await;
}

#[tokio::test]
async fn a_route_may_name_the_headers_that_count() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        only_headers = ["X-Tenant", "User-Agent"]
        [[route]]
        name = "no-headers"
        path = "/none"
        only_headers = []
        [[route]]
        name = "all-headers"
        path = "/all"
        ignore_headers = []
    "#;
    let proxy = told(&origin, toml).await;
    let post = |path: &str, name: &str, value: &str| {
        client(&proxy).post(path).header(name, value).body("10")
    };
    let alike = [
        client(&proxy).post("/a").body("10"),
        post("/a", "X-Other", "1"),
        post("/a", "Prefer", "return=minimal"),
        post("/a", "Content-Type", "text/plain"),
        post("/a", "If-Match", "\"1\""),
    ];
    assert_one_operation(&origin, alike).await;
    let others = [
        post("/a", "X-Tenant", "1"),
        post("/a", "X-Tenant", "2"),
        post("/a", "User-Agent", "curl/8"),
        post("/a", "Authorization", "a"),
        client(&proxy).post("/a?x").body("10"),
        client(&proxy).post("/a").body("11"),
    ];
    assert_own_operations(&origin, others).await;
    let none = [post("/none", "X-Tenant", "1"), post("/none", "X-Tenant", "2")];
    assert_one_operation(&origin, none).await;
    let all = [post("/all", "X-Tenant", "1"), post("/all", "X-Other", "1")];
    assert_own_operations(&origin, all).await;
    let volatile = [post("/all", "User-Agent", "1"), post("/all", "User-Agent", "2")];
    assert_one_operation(&origin, volatile).await;
}

/// Under a key, the content type counts unless the route leaves it out.
#[tokio::test]
async fn the_content_type_counts_where_it_is_not_left_out() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "ignored"
        path = "/ignored"
        ignore_headers = ["content-type"]
        [[route]]
        name = "unlisted"
        path = "/unlisted"
        only_headers = ["X-Tenant"]
        [[route]]
        name = "listed"
        path = "/listed"
        only_headers = ["Content-Type"]
    "#;
    let proxy = told(&origin, toml).await;
    let post = |path: &str, kind: &str| {
        client(&proxy).post(path).key("k1").header("Content-Type", kind).body("10")
    };
    for path in ["/ignored", "/unlisted"] {
        let without = client(&proxy).post(path).key("k1").body("10");
        let alike = [post(path, "text/plain"), post(path, "application/json"), without];
        assert_one_operation(&origin, alike).await;
    }
    for path in ["/listed", "/other"] {
        assert_one_operation(&origin, [post(path, "text/plain"), post(path, "text/plain")]).await;
        assert_refused(&origin, &post(path, "application/json"), REUSED).await;
    }
}

#[tokio::test]
async fn a_key_may_count_for_all_hosts() {
    let origin = Origin::start().await;
    let toml = "[[route]]\nname = \"together\"\npath = \"/together\"\nauthority = false\n";
    let proxy = told(&origin, toml).await;
    let hosts = ["a.example", "b.example", "a.example:8443"];
    for keyed in [true, false] {
        let post = |path: &str, host: &str| -> Request {
            client(&proxy).post(path).host(host).key_if(keyed.then_some("k1")).body("10")
        };
        assert_one_operation(&origin, hosts.map(|host| post("/together", host))).await;
        assert_own_operations(&origin, hosts.map(|host| post("/apart", host))).await;
    }
    assert_eq!(origin.last().header("host"), Some("a.example:8443"), "it goes on as it came");
}
