//! `examples/altcraft.toml`: a `Request-ID`, or else a checksum where the platform has one.

use super::{before, executions};
use crate::support::{
    Act, Answer, Gate, Origin, Proxy, Request, assert_executed, assert_marked, assert_one_executed,
    assert_problem, assert_replay, client, outstanding, read_all,
};

const IMPORT: &str = "/api/v1.1/profiles/import";
const START: &str = "/api/v1.1/workflows/start";
const BODY: &str = r#"{"db_id":1,"matching":"email_profile","email":"a@example.com"}"#;

fn post(proxy: &Proxy, path: &str) -> Request {
    client(proxy).post(path).header("Content-Type", "application/json").body(BODY)
}

/// What a client and the hops before us add, which is another with each attempt.
fn attempt(request: &Request, number: usize) -> Request {
    request
        .clone()
        .header("User-Agent", format!("client/{number}"))
        .header("traceparent", format!("00-{number:032x}-{number:016x}-01"))
        .header("X-Request-ID", format!("r{number}"))
        .header("X-Forwarded-For", format!("192.0.2.{number}"))
}

#[tokio::test]
async fn a_checksum_survives_what_clients_add() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let request = post(&proxy, IMPORT).caller("t1");
    let first = attempt(&request, 1).send().await;
    for number in 2..5 {
        assert_replay(&first, &attempt(&request, number).send().await);
    }
    assert_eq!(origin.hits(), 1);
    assert_executed(&request.clone().body(r#"{"db_id":2}"#).send().await);
    assert_executed(&request.header("X-Tenant", "another").send().await);
    assert_eq!(origin.hits(), 3, "what changes the meaning still counts");
}

#[tokio::test]
async fn what_may_be_meant_twice_is_known_by_its_request_id_only() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let request = post(&proxy, START).caller("t1");
    let known = |id: &str| request.clone().request_id(id);
    assert_eq!(executions(&origin, [request.clone(), request.clone()]).await, 2);
    assert_eq!(executions(&origin, [known("r1"), known("r1"), known("r1")]).await, 1);
    assert_eq!(executions(&origin, [known("r2"), known("r3")]).await, 2);
    assert_eq!(origin.last().header("request-id"), Some("r3"), "it is sent on to the platform");
}

#[tokio::test]
async fn the_list_in_the_path_counts() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let subscribe = |list: usize| {
        post(&proxy, &format!("/api/v1.0/lists/{list}/lead/subscribe")).request_id("r1")
    };
    assert_eq!(executions(&origin, [subscribe(5), subscribe(6)]).await, 2);
    assert_eq!(executions(&origin, [subscribe(5), subscribe(6)]).await, 0);
}

/// The token in the query or in `Authorization` is the caller; one in the body is compared.
#[tokio::test]
async fn two_tokens_never_share_an_answer() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let in_query = |token: &str| post(&proxy, &format!("{IMPORT}?token={token}"));
    let known = |token: &str| in_query(token).request_id("r1");
    assert_eq!(executions(&origin, [in_query("a"), in_query("b"), in_query("a")]).await, 2);
    assert_eq!(executions(&origin, [known("a"), known("b"), known("b")]).await, 2);
    let bearer = |token: &str| post(&proxy, IMPORT).caller(token).request_id("r1");
    assert_eq!(executions(&origin, [bearer("a"), bearer("b"), bearer("b")]).await, 2);
    let in_body = |token: &str| {
        let body = format!(r#"{{"token":"{token}","email":"a@example.com"}}"#);
        post(&proxy, START).request_id("r2").body(body)
    };
    assert_eq!(executions(&origin, [in_body("a"), in_body("a")]).await, 1);
    assert_problem(&in_body("b").send().await, 422, "key-reused");
    assert_eq!(origin.hits(), 7);
}

#[tokio::test]
async fn a_request_id_that_was_used_for_something_else_is_refused() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let request = post(&proxy, IMPORT).caller("t1").request_id("r1");
    assert_executed(&request.clone().send().await);
    let other = request.clone().body(r#"{"db_id":2}"#).send().await;
    assert_problem(&other, 422, "key-reused");
    assert_marked(&request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// A route that is not listed, and another spelling of one that is.
#[tokio::test]
async fn on_other_routes_a_request_id_protects_and_nothing_else_does() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    for path in ["/api/v1.1/profiles/get", "/api/v1.1/profiles/import/", "/v1.1/profiles/import"] {
        let request = post(&proxy, path).caller("t1");
        let known = request.clone().request_id("r1");
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2, "{path}");
        assert_eq!(executions(&origin, [known.clone(), known]).await, 1, "{path}");
    }
}

#[tokio::test]
async fn repeats_that_come_while_the_first_runs_get_its_answer() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    for request in [post(&proxy, IMPORT), post(&proxy, START).request_id("r1")] {
        let (hits, gate) = (origin.hits(), Gate::shut());
        origin.next(Act::Ledger.after(&gate));
        let mut callers = outstanding(&proxy, &request.caller("t1"), 5).await;
        origin.wait_for_hits(hits + 1).await;
        gate.open();
        assert_one_executed(&read_all(&mut callers).await);
        assert_eq!(origin.hits(), hits + 1);
    }
}

/// The platform marks repeats, too, by a key of its own.
#[tokio::test]
async fn the_marks_of_the_platform_are_replaced_by_ours() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let marked = Answer::new(200).header("Duplicate-Key", "bXkga2V5").body(r#"{"error":0}"#);
    origin.next(marked.header("Duplicate-Request", "true"));
    let request = post(&proxy, IMPORT).caller("t1").request_id("r1");
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
}

/// A failure that is reported with status 200 is kept, until the request or its id is another.
#[tokio::test]
async fn an_error_in_a_200_is_an_answer_like_any_other() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    origin.next(Answer::new(200).body(r#"{"error":1,"error_text":"busy"}"#));
    let request = post(&proxy, IMPORT).caller("t1");
    let first = request.clone().send().await;
    assert_replay(&first, &request.clone().send().await);
    let again = [request.clone().request_id("r1"), request.body(r#"{"db_id":2}"#)];
    assert_eq!(executions(&origin, again).await, 2);
}

#[tokio::test]
async fn there_and_back_on_one_day_ends_where_the_second_request_left_it() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "altcraft.toml").await;
    let lead = |what: &str| post(&proxy, &format!("/api/v1.0/lists/5/lead/{what}")).caller("t1");
    let there = lead("subscribe");
    let back = lead("unsubscribe");
    assert_eq!(executions(&origin, [there.clone(), back.clone(), there.clone()]).await, 2);
    assert_eq!(origin.last().target, "/api/v1.0/lists/5/lead/unsubscribe");
    let id = |request: &Request, id: &str| request.clone().request_id(id);
    assert_eq!(executions(&origin, [id(&there, "1"), id(&back, "2"), id(&there, "3")]).await, 3);
}

#[tokio::test]
async fn what_is_too_large_passes_whatever_its_request_id() {
    let origin = Origin::start().await;
    origin.always(Answer::new(201).body(r#"{"error":0}"#));
    let proxy = before(&origin, "altcraft.toml").await;
    let upload = |length: usize| {
        let path = "/api/v1.0/lists/5/import";
        post(&proxy, path).request_id(format!("r{length}")).body("x".repeat(length))
    };
    assert_eq!(executions(&origin, [upload(10 << 20), upload(10 << 20)]).await, 1);
    for _ in 0..2 {
        let passed = upload((10 << 20) + 1).send().await;
        let mark = passed.header("duplicate-protection");
        assert_eq!((passed.status, mark), (201, Some("none; reason=\"body-too-large\"")));
    }
    assert_eq!(origin.hits(), 3);
}
