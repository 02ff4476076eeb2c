//! Where a key may be, and what is one.

use super::{
    assert_one_operation, assert_own_operations, assert_refused, assert_unguarded, duplicate_key,
    told,
};
use crate::support::{Origin, Proxy, client, gzip};

const REUSED: (u16, &str) = (422, "key-reused");
const MALFORMED: (u16, &str) = (400, "key-malformed");

/// A proxy whose keys are in these places.
async fn keyed_by(origin: &Origin, sources: &[&str]) -> Proxy {
    told(origin, &format!("[defaults]\nkey = {sources:?}\n")).await
}

/// One source that a body's JSON has, and one for requests that lack it.
const JSON_ELSE_HEADER: [&str; 2] = ["json:/id", "header:X-Else"];

#[tokio::test]
async fn a_parameter_of_the_query_is_a_key() {
    let origin = Origin::start().await;
    let proxy = keyed_by(&origin, &["query:id", "checksum"]).await;
    let post = |target: &str| client(&proxy).post(target).body("10");
    assert_one_operation(&origin, [post("/a?id=7"), post("/a?id=7").header("X-More", "1")]).await;
    for other in [post("/a?id=7&x=1"), post("/a?x=1&id=7"), post("/a?id=7").body("11")] {
        assert_refused(&origin, &other, REUSED).await;
    }
    let others = ["/a?id=8", "/a?id=%37", "/a?ID=7", "/a?xid=7", "/a?i%64=7", "/b?id=7", "/a"];
    assert_own_operations(&origin, others.map(post)).await;
    for bad in ["/a?id=", "/a?id", "/a?id=7&id=7", "/a?id=7&id=8", "/a?id&id=7"] {
        assert_refused(&origin, &post(bad), MALFORMED).await;
    }
    let long = |length: usize| post(&format!("/a?id={}", "k".repeat(length)));
    assert_one_operation(&origin, [long(255), long(255)]).await;
    assert_refused(&origin, &long(256), MALFORMED).await;
}

#[tokio::test]
async fn a_parameter_of_the_path_is_a_key() {
    let origin = Origin::start().await;
    let toml = r#"
        [[route]]
        name = "one"
        path = "/lists/{list_id}/add"
        key = ["path:list_id"]
        [[route]]
        name = "rest"
        path = "/files/{*path}"
        key = ["path:path"]
    "#;
    let proxy = told(&origin, toml).await;
    let post = |target: &str| client(&proxy).post(target).body("10");
    for path in ["/lists/7/add", "/files/a/b"] {
        let noisy = || post(path).key("k1").header("X-More", "1");
        assert_one_operation(&origin, [post(path), post(path), noisy()]).await;
        assert_refused(&origin, &post(path).body("11"), REUSED).await;
    }
    let others = ["/lists/8/add", "/lists/%37/add", "/files/a", "/files/a/b/"];
    assert_own_operations(&origin, others.map(post)).await;
    let long = post(&format!("/files/{}", "k".repeat(256)));
    assert_refused(&origin, &long, MALFORMED).await;
}

#[tokio::test]
async fn a_cookie_is_a_key() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        key = ["cookie:op"]
        caller = ["header:Authorization"]
    "#;
    let proxy = told(&origin, toml).await;
    let post = |cookies: &str| client(&proxy).post("/a").header("Cookie", cookies).body("10");
    let alike =
        [post("op=7"), post("a=1; op=7"), post("op=7;b=2"), post("a=1").header("Cookie", "op=7")];
    assert_one_operation(&origin, alike).await;
    assert_refused(&origin, &post("op=7").body("11"), REUSED).await;
    assert_own_operations(&origin, [post("op=8"), post("op=\"7\""), post("op=7=")]).await;
    let two_lines = post("op=7").header("Cookie", "op=8");
    for bad in [post("op="), post("op=7; op=7"), post("op=7; op=8"), two_lines, post("op=a b")] {
        assert_refused(&origin, &bad, MALFORMED).await;
    }
    for none in [post("Op=7"), post("xop=7"), post("a=op=7"), post("op")] {
        assert_unguarded(&origin, &none).await;
    }
}

#[tokio::test]
async fn a_value_in_a_json_body_is_a_key() {
    let origin = Origin::start().await;
    for (source, first, reused, other) in [
        ("json:/id", r#"{"id":"e1"}"#, r#"{"id":"e1","n":1}"#, r#"{"id":"e2"}"#),
        ("json:/id", r#"{"id":"e1"}"#, r#"{"id":"\u0065\u0031"}"#, r#"{"id":"E1"}"#),
        ("json:/id", r#"{"id":17}"#, r#"{ "id" : 17 }"#, r#"{"id":18}"#),
        ("json:/a/b", r#"{"a":{"b":"1"}}"#, r#"{"b":2,"a":{"b":"1"}}"#, r#"{"a":{"b":"2"}}"#),
        (
            "json:/a~1b/~0",
            r#"{"a/b":{"~":"1"}}"#,
            r#"{"a/b":{"~":"1","x":0}}"#,
            r#"{"a/b":{"~":"2"}}"#,
        ),
        (
            "json:/batch/0/id",
            r#"{"batch":[{"id":1}]}"#,
            r#"{"batch":[{"id":1},{"id":2}]}"#,
            r#"{"batch":[{"id":2}]}"#,
        ),
        ("json:/0", r#"["e1"]"#, r#"["e1","e2"]"#, r#"["e2","e1"]"#),
        ("json:/0", r#"{"0":"e1"}"#, r#"{"0":"e1","1":1}"#, r#"{"0":"e2"}"#),
    ] {
        let proxy = keyed_by(&origin, &[source]).await;
        let post = |body: &str| client(&proxy).post("/a").body(body);
        let alike = [post(first), post(first).key("k1"), post(first).chunked(3)];
        assert_one_operation(&origin, alike).await;
        assert_refused(&origin, &post(reused), REUSED).await;
        assert_own_operations(&origin, [post(other)]).await;
    }
}

/// A key in a list is the whole of it, in its order.
#[tokio::test]
async fn every_element_of_an_array_is_part_of_the_key() {
    let origin = Origin::start().await;
    let proxy = keyed_by(&origin, &["json:/batch/*/messageId", "header:X-Else"]).await;
    let post = |ids: &[&str], more: &str| {
        let events: Vec<_> =
            ids.iter().map(|id| format!(r#"{{"messageId":{id}{more}}}"#)).collect();
        client(&proxy).post("/v1/batch").body(format!(r#"{{"batch":[{}]}}"#, events.join(",")))
    };
    let lists: [&[&str]; 10] = [
        &[r#""a""#, r#""bc""#],
        &[r#""ab""#, r#""c""#],
        &[r#""a""#, r#""b""#],
        &[r#""b""#, r#""a""#],
        &[r#""a""#],
        &[r#""b""#],
        &[r#""ab""#],
        &[r#""a""#, r#""b""#, r#""c""#],
        &[r#""a""#, r#""a""#],
        &[r#""1""#, "1"],
    ];
    assert_own_operations(&origin, lists.map(|ids| post(ids, ""))).await;
    for ids in lists {
        assert_refused(&origin, &post(ids, r#","n":1"#), REUSED).await;
    }
    // What lacks one of its keys has none: it is not known by the others.
    for body in [
        r#"{"batch":[]}"#,
        r#"{"batch":[{"messageId":"a"},{}]}"#,
        r#"{"batch":[{"messageId":"a"},{"messageId":null}]}"#,
        r#"{"batch":[{"messageId":"a"},"b"]}"#,
        r#"{"batch":{"messageId":"a"}}"#,
    ] {
        assert_unguarded(&origin, &client(&proxy).post("/v1/batch").body(body)).await;
    }
    // On an object, the star is a name like any other.
    let starred = |n: u8| {
        let body = format!(r#"{{"batch":{{"*":{{"messageId":"s"}},"n":{n}}}}}"#);
        client(&proxy).post("/v1/batch").body(body)
    };
    assert_one_operation(&origin, [starred(1), starred(1)]).await;
    assert_refused(&origin, &starred(2), REUSED).await;
}

/// What is no key in a body leads to the next source: it is not a mistake of the caller's.
#[tokio::test]
async fn what_is_not_in_the_body_is_looked_for_in_the_next_source() {
    let origin = Origin::start().await;
    let proxy = keyed_by(&origin, &JSON_ELSE_HEADER).await;
    let post = |body: &[u8]| client(&proxy).post("/a").header("X-Else", "e1").body(body);
    let first = post(b"");
    assert_one_operation(&origin, [first.clone(), first.clone()]).await;
    let key_of_header = duplicate_key(&first).await;
    let without: [&[u8]; 26] = [
        b"{}",
        br#"{"id":null}"#,
        br#"{"id":""}"#,
        br#"{"id":{}}"#,
        br#"{"id":{"id":"a"}}"#,
        br#"{"id":[]}"#,
        br#"{"id":["a"]}"#,
        br#"{"ID":"a"}"#,
        br#"{"x":{"id":"a"}}"#,
        br#"[{"id":"a"}]"#,
        br#""id""#,
        b"7",
        b"null",
        b"id=a",
        br#"{"id":"a""#,
        br#"{"id":"a"}{"id":"a"}"#,
        br#"{"id":"a"} x"#,
        br#"{"id":"a",}"#,
        b"{'id':'a'}",
        br#"{"id":a}"#,
        br#"{"id":01}"#,
        br#"{"id":"\ud800"}"#,
        b"{\"id\":\"\xff\"}",
        b"\xef\xbb\xbf{\"id\":\"a\"}",
        br#"{"id":"a","id":"a"}"#,
        br#"{"id":"a","\u0069d":"b"}"#,
    ];
    for body in without {
        let refused = assert_refused(&origin, &post(body), REUSED).await;
        let key = refused.header("duplicate-key");
        assert_eq!(key, Some(key_of_header.as_str()), "{}", body.escape_ascii());
    }
    // Two members of one name beside the key say that servers may disagree about the object.
    let refused = assert_refused(&origin, &post(br#"{"id":"a","x":1,"x":2}"#), REUSED).await;
    assert_eq!(refused.header("duplicate-key"), Some(key_of_header.as_str()));
}

#[tokio::test]
async fn every_scalar_is_a_key_of_its_own() {
    let origin = Origin::start().await;
    let proxy = keyed_by(&origin, &JSON_ELSE_HEADER).await;
    let post = |value: &str| {
        let body = format!(r#"{{"id":{value},"x":{{"y":1,"y":2}}}}"#);
        client(&proxy).post("/a").header("X-Else", "e1").body(body)
    };
    let long = format!(r#""{}""#, "k".repeat(300));
    let values = [
        "1",
        r#""1""#,
        "1.0",
        "1e0",
        "0",
        "-0",
        "10",
        "true",
        r#""true""#,
        "false",
        r#"" ""#,
        r#""null""#,
        r#""e1""#,
        "12345678901234567890",
        "12345678901234567891",
        &long,
    ];
    assert_own_operations(&origin, values.map(post)).await;
}

/// A body's key is found whatever the body is said to be, and however it is packed.
#[tokio::test]
async fn a_key_is_found_in_compressed_and_mislabelled_bodies() {
    let origin = Origin::start().await;
    let proxy = keyed_by(&origin, &["json:/id"]).await;
    let large = format!(r#"{{"text":"{}","id":"large"}}"#, "x".repeat(100_000));
    for (op, body) in [("small", r#"{"id":"small"}"#), ("large", large.as_str())] {
        let post = || client(&proxy).post("/a").body(body);
        let packed = |mtime| {
            let zipped = gzip(body.as_bytes(), mtime);
            client(&proxy).post("/a").header("Content-Encoding", "gzip").body(zipped)
        };
        assert_one_operation(&origin, [post(), packed(1), packed(2), packed(1).chunked(9)]).await;
        // Another content under the key, and the same with another key.
        assert_refused(&origin, &post().body(format!("{body} ")), REUSED).await;
        let other = body.replace(&format!("\"{op}\""), &format!("\"{op}, too\""));
        assert_own_operations(&origin, [post().body(other)]).await;
    }
    for (number, kind) in
        ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "nonsense"]
            .into_iter()
            .enumerate()
    {
        let post = |n: u8| {
            let body = format!(r#"{{"id":"kind{number}","n":{n}}}"#);
            client(&proxy).post("/a").header("Content-Type", kind).body(body)
        };
        assert_one_operation(&origin, [post(1), post(1)]).await;
        assert_refused(&origin, &post(2), REUSED).await;
    }
    // What can't be unpacked has no key, and is not guessed at.
    let broken = client(&proxy).post("/a").header("Content-Encoding", "gzip");
    assert_unguarded(&origin, &broken.body(r#"{"id":"broken"}"#)).await;
}
