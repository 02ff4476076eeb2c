//! Requests and answers that are larger than is read, or than is kept.

use super::{assert_one_operation, assert_refused, assert_unguarded, told};
use crate::support::{
    Answer, Origin, Request, assert_executed, assert_problem, assert_replay, client,
};

const TOO_LARGE: (u16, &str) = (413, "too-large");

/// A body of so many bytes, in chunks or with its length.
fn sized(request: &Request, length: usize) -> [Request; 2] {
    let request = request.clone().body("x".repeat(length));
    [request.clone(), request.chunked(100)]
}

/// Fails unless the request is passed on unprotected, and says so.
async fn assert_unprotected(origin: &Origin, request: &Request) {
    assert_unguarded(origin, request).await;
    let passed = request.clone().send().await;
    let mark = passed.header("duplicate-protection");
    assert_eq!(mark, Some("none; reason=\"body-too-large\""), "{passed:?}");
}

async fn assert_guarded(origin: &Origin, request: &Request) {
    assert_one_operation(origin, [request.clone(), request.clone()]).await;
}

/// By default, a key asks for a protection that can't be given, and a checksum does not.
#[tokio::test]
async fn each_route_has_its_own_largest_request() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        max_request = "1KiB"
        [[route]]
        name = "large"
        path = "/large"
        max_request = "4KiB"
    "#;
    let proxy = told(&origin, toml).await;
    for (path, max) in [("/small", 1024), ("/large", 4096)] {
        for (number, keyed) in [true, false].into_iter().enumerate() {
            for (framed, request) in sized(&client(&proxy).post(path), max).into_iter().enumerate()
            {
                let key = format!("k{number}{framed}");
                let request = request.header("X-Number", &key).key_if(keyed.then_some(&*key));
                assert_guarded(&origin, &request).await;
            }
            let over = client(&proxy).post(path).key_if(keyed.then_some("over"));
            for request in sized(&over, max + 1) {
                match keyed {
                    true => drop(assert_refused(&origin, &request, TOO_LARGE).await),
                    false => assert_unprotected(&origin, &request).await,
                }
            }
        }
    }
}

#[tokio::test]
async fn a_route_may_reject_or_pass_whatever_is_too_large() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        max_request = "1KiB"
        key = ["header:Idempotency-Key", "json:/id", "checksum"]
        oversize = "pass"
        [[route]]
        name = "reject"
        path = "/reject"
        oversize = "reject"
    "#;
    let proxy = told(&origin, toml).await;
    for key in [Some("k1"), None] {
        let post = |path: &str| client(&proxy).post(path).key_if(key);
        for request in sized(&post("/pass"), 5000) {
            assert_unprotected(&origin, &request).await;
        }
        for request in sized(&post("/reject"), 5000) {
            assert_refused(&origin, &request, TOO_LARGE).await;
        }
        let large = format!(r#"{{"id":1,"x":"{}"}}"#, "x".repeat(5000));
        assert_unprotected(&origin, &post("/pass").body(&large)).await;
        assert_refused(&origin, &post("/reject").body(&large), TOO_LARGE).await;
        for path in ["/pass", "/reject"] {
            assert_guarded(&origin, &post(path).body(r#"{"id":2}"#)).await;
        }
    }
}

/// A key that may be in a body that is too large to look at is one that the caller has chosen.
#[tokio::test]
async fn a_body_that_may_hold_a_key_is_refused_when_it_is_too_large() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        max_request = "1KiB"
        key = ["json:/id", "checksum"]
    "#;
    let proxy = told(&origin, toml).await;
    let large = client(&proxy).post("/a").body(format!(r#"{{"id":1,"x":"{}"}}"#, "x".repeat(5000)));
    assert_refused(&origin, &large, TOO_LARGE).await;
    assert_refused(&origin, &large.chunked(100), TOO_LARGE).await;
}

#[tokio::test]
async fn each_route_has_its_own_largest_answer() {
    let origin = Origin::start().await;
    let toml = r#"
        [defaults]
        max_response = "1KiB"
        [[route]]
        name = "large"
        path = "/large"
        max_response = "4KiB"
    "#;
    let proxy = told(&origin, toml).await;
    for (path, max) in [("/small", 1024), ("/large", 4096)] {
        for chunked in [false, true] {
            for (length, kept) in [(max, true), (max + 1, false)] {
                let answer = Answer::new(200).body("x".repeat(length));
                origin.next(if chunked { answer.chunked() } else { answer });
                let key = format!("k{length}{chunked}");
                let request = client(&proxy).post(path).key(key).body("10");
                let before = origin.hits();
                let first = request.clone().send().await;
                assert_executed(&first);
                assert_eq!(first.body.len(), length);
                let repeat = request.send().await;
                match kept {
                    true => assert_replay(&first, &repeat),
                    false => assert_problem(&repeat, 409, "answer-not-kept"),
                }
                assert_eq!(origin.hits(), before + 1);
            }
        }
    }
}
