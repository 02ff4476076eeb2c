//! `examples/transyt.toml`: deliveries that are tried again, although the app is at work on them.

use super::{before, executions};
use crate::support::{
    Act, Answer, Folder, Gate, How, Origin, Proxy, Request, assert_executed, assert_held,
    assert_problem, assert_replay, client, outstanding, read_all,
};

const DELIVERY: &str = "/webhooks/transyt";

fn delivery(proxy: &Proxy, body: &str) -> Request {
    client(proxy).post(DELIVERY).header("Content-Type", "application/json").body(body)
}

fn event(proxy: &Proxy, id: &str, attempt: usize) -> Request {
    let body = format!(r#"{{"event_id":"{id}","provider":"stripe","external_id":"evt_{id}"}}"#);
    signed(delivery(proxy, &body), attempt)
}

fn signed(request: Request, attempt: usize) -> Request {
    request
        .header("X-Gateway-Timestamp", format!("{}", 1_700_000_000 + attempt))
        .header("X-Gateway-Signature", format!("sha256={attempt:064x}"))
}

#[tokio::test]
async fn a_delivery_that_was_given_up_goes_on_and_the_next_gets_its_answer() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let given_up = event(&proxy, "e1", 1).open().await;
    origin.wait_for_hits(1).await;
    drop(given_up);
    let mut waiting = outstanding(&proxy, &event(&proxy, "e1", 2), 1).await;
    gate.open();
    let answer = read_all(&mut waiting).await.remove(0);
    assert_eq!((answer.status, answer.is_repeat()), (201, true));
    assert_eq!(event(&proxy, "e1", 3).send().await.body, answer.body);
    assert_eq!(origin.hits(), 1);
}

/// Nobody waited: the answer is kept all the same.
#[tokio::test]
async fn the_answer_of_a_delivery_that_was_given_up_is_kept() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let gate = Gate::shut();
    origin.next(Act::Answer(Answer::new(202).body("ok")).after(&gate));
    let given_up = event(&proxy, "e1", 1).open().await;
    origin.wait_for_hits(1).await;
    given_up.reset();
    proxy.has_read_all().await;
    gate.open();
    let next = event(&proxy, "e1", 2).send().await;
    assert_eq!((next.status, next.text().as_str(), next.is_repeat()), (202, "ok", true));
    assert_eq!(origin.hits(), 1);
}

#[tokio::test]
async fn the_id_decides_and_not_the_bytes_around_it() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let first = event(&proxy, "e1", 1).send().await;
    assert_replay(&first, &event(&proxy, "e1", 2).send().await);
    let other = r#"{ "attempt": 3, "event_id": "e1" }"#;
    assert_replay(&first, &signed(delivery(&proxy, other), 3).send().await);
    assert_executed(&event(&proxy, "e2", 1).send().await);
    assert_eq!(origin.hits(), 2);
}

#[tokio::test]
async fn without_an_event_id_the_three_others_say_which_event_it_is() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let of = |provider: &str, account: &str, id: &str, attempt| {
        let body = format!(
            r#"{{"provider":"{provider}","account_slug":"{account}","external_id":"{id}"}}"#
        );
        signed(delivery(&proxy, &body), attempt)
    };
    let same = [of("stripe", "a", "1", 1), of("stripe", "a", "1", 2)];
    assert_eq!(executions(&origin, same).await, 1);
    let others = [of("stripe", "b", "1", 1), of("github", "a", "1", 1), of("stripe", "a", "2", 1)];
    assert_eq!(executions(&origin, others).await, 3);
}

#[tokio::test]
async fn what_has_no_id_is_none_of_transyts() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    for body in [
        "",
        "{}",
        "ok",
        r#"{"event_id":""}"#,
        r#"{"event_id":null,"external_id":"1"}"#,
        r#"{"provider":"stripe","external_id":"1"}"#,
        r#"{"provider":"stripe","account_slug":"a"}"#,
    ] {
        assert_problem(&delivery(&proxy, body).send().await, 400, "key-missing");
    }
    assert_eq!(origin.hits(), 0);
}

/// A failure is no answer: the next delivery runs the event.
#[tokio::test]
async fn all_but_a_success_frees_the_event() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let failures = [301, 304, 400, 401, 403, 404, 409, 410, 422, 429, 500, 501, 503];
    for status in failures {
        let id = format!("e{status}");
        origin.next(Answer::new(status));
        let failed = event(&proxy, &id, 1).send().await;
        assert_executed(&failed);
        assert_eq!(failed.status, status);
        let first = event(&proxy, &id, 2).send().await;
        assert_executed(&first);
        assert_replay(&first, &event(&proxy, &id, 3).send().await);
    }
    assert_eq!(origin.hits(), 2 * failures.len());
    for status in [200, 201, 202, 204] {
        let id = format!("e{status}");
        origin.next(Answer::new(status));
        let first = event(&proxy, &id, 1).send().await;
        assert_replay(&first, &event(&proxy, &id, 2).send().await);
    }
}

/// What may have been processed is held, and fails at Transyt.
#[tokio::test]
async fn an_event_that_may_have_been_processed_is_never_run_twice() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    for (id, status) in [("e1", 502), ("e2", 504)] {
        origin.next(Answer::new(status));
        assert_eq!(event(&proxy, id, 1).send().await.status, status);
        assert_problem(&event(&proxy, id, 2).send().await, 409, "outcome-unknown");
    }
    origin.next(Act::DropAfterExecuting(How::Reset));
    assert_held(&event(&proxy, "e3", 1).send().await, event(&proxy, "e3", 2)).await;
    assert_eq!(origin.hits(), 3);
}

/// As the comment in the file says: if losing one is worse than doing one twice.
#[tokio::test]
async fn an_event_that_may_have_been_processed_is_run_again_if_that_is_said() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let said = [("# on_unknown = \"release\"", "on_unknown = \"release\"")];
    let config = folder.edited("transyt.toml", &said);
    let proxy = Proxy::before(&origin).config(config).start().await;
    origin.next(Answer::new(502)).next(Act::DropAfterExecuting(How::Close));
    assert_eq!(event(&proxy, "e1", 1).send().await.status, 502);
    assert_problem(&event(&proxy, "e1", 2).send().await, 502, "upstream-broken");
    assert_executed(&event(&proxy, "e1", 3).send().await);
    assert_eq!(origin.hits(), 3);
}

/// A delivery hears "in progress" before Transyt gives it up.
#[tokio::test]
async fn a_delivery_that_waits_too_long_is_told_that_it_runs() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let config = folder.edited("transyt.toml", &[("wait = \"25s\"", "wait = \"500ms\"")]);
    let proxy = Proxy::before(&origin).config(config).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut first = event(&proxy, "e1", 1).open().await;
    origin.wait_for_hits(1).await;
    assert_problem(&event(&proxy, "e1", 2).send().await, 409, "in-progress");
    gate.open();
    assert_replay(&first.read().await, &event(&proxy, "e1", 3).send().await);
}

/// A user and a password in the `delivery_url` tell callers apart; everything else passes.
#[tokio::test]
async fn credentials_count_and_other_paths_pass() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "transyt.toml").await;
    let by = |user: &str| event(&proxy, "e1", 1).header("Authorization", format!("Basic {user}"));
    assert_eq!(executions(&origin, [by("YTpi"), by("Yzpk"), by("YTpi")]).await, 2);
    for (method, path) in [("POST", "/webhooks/other"), ("GET", DELIVERY), ("PUT", DELIVERY)] {
        let request = client(&proxy).method(method, path).key("k1").body(r#"{"event_id":"e1"}"#);
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2, "{method} {path}");
    }
}
