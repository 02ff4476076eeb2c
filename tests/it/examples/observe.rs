//! `examples/observe.toml`: everything is forwarded, and the log says what would have been.

use super::{before, executions};
use crate::support::{
    Act, Answer, Folder, Gate, How, MARKS, Origin, Proxy, Reply, Request, assert_executed,
    assert_replay, client, eventually, example,
};

const CONFIG: &str = "observe.toml";

fn order(proxy: &Proxy, body: &str) -> Request {
    client(proxy).post("/orders").caller("a").body(body)
}

/// The lines of the access log, of which there must be so many.
async fn logged(proxy: &Proxy, count: usize) -> Vec<serde_json::Value> {
    let lines = proxy.access_lines(count).await;
    assert_eq!(lines.len(), count, "{lines:#?}");
    let parse = |line: &String| serde_json::from_str(line).expect("a line of JSON");
    lines.iter().map(parse).collect()
}

#[track_caller]
fn assert_plain(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{reply:?}");
    for mark in MARKS.iter().chain(&["duplicate-protection", "proxy-status"]) {
        assert!(!reply.has(mark), "{mark}: {reply:?}");
    }
}

#[tokio::test]
async fn a_repeat_is_executed_and_logged_as_what_it_would_have_been() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for execution in 1..=3 {
        let reply = order(&proxy, r#"{"op":"o1"}"#).send().await;
        assert_plain(&reply, 201);
        assert_eq!(reply.json()["execution"], execution, "each gets its own answer");
    }
    let lines = logged(&proxy, 2).await;
    for line in &lines {
        assert_eq!(line["outcome"], "observed", "{line}");
        assert_eq!(line["would_be"], "replayed", "{line}");
        assert_eq!((&line["path"], &line["route"]), (&"/orders".into(), &"orders".into()));
        assert_eq!(line["status"], 201);
        assert!(line.get("problem").is_none(), "nobody was told of a problem: {line}");
        assert!(line["duplicate_key"].is_string(), "{line}");
        assert_eq!(line["duplicate_key"], lines[0]["duplicate_key"], "they belong together");
    }
}

/// One key for two requests: both run, and the log says that the second would have got 422.
#[tokio::test]
async fn a_key_that_is_used_for_two_requests_is_found() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let pay = |body: &str| client(&proxy).post("/payments/1").caller("a").key("k1").body(body);
    assert_plain(&pay("10").send().await, 201);
    assert_plain(&pay("20").send().await, 201);
    assert_eq!(origin.hits(), 2);
    let line = &logged(&proxy, 1).await[0];
    assert_eq!((&line["outcome"], &line["would_be"]), (&"observed".into(), &"key-reused".into()));
    assert_eq!(line["route"], "payments");
}

/// Nobody waits: a repeat goes to the API while the first is still there.
#[tokio::test]
async fn a_repeat_does_not_wait_for_the_first() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut first = order(&proxy, "10").open().await;
    origin.wait_for_hits(1).await;
    assert_plain(&order(&proxy, "10").send().await, 201);
    gate.open();
    assert_plain(&first.read().await, 201);
    let line = &logged(&proxy, 1).await[0];
    assert_eq!((&line["outcome"], &line["would_be"]), (&"observed".into(), &"collapsed".into()));
}

/// What the API says frees or holds a key in the log, too; callers get what they would without us.
#[tokio::test]
async fn what_the_api_says_counts() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for (status, would_be) in [(500, None), (409, None), (404, Some("replayed"))] {
        let body = format!("{status}");
        origin.next(Answer::new(status));
        assert_plain(&order(&proxy, &body).send().await, status);
        assert_plain(&order(&proxy, &body).send().await, 201);
        assert_plain(&order(&proxy, &body).send().await, 201);
        let lines = proxy.access_lines(1).await;
        let last: serde_json::Value = serde_json::from_str(&lines[lines.len() - 1]).expect("JSON");
        assert_eq!(last["would_be"], would_be.unwrap_or("replayed"), "{status}");
    }
    // one repeat each of the second answer to 500 and 409, and two of the 404
    logged(&proxy, 4).await;
    origin.next(Answer::new(502));
    assert_plain(&order(&proxy, "502").send().await, 502);
    assert_plain(&order(&proxy, "502").send().await, 201);
    let lines = logged(&proxy, 5).await;
    assert_eq!(lines[4]["would_be"], "outcome-unknown", "it would have got 409");
}

/// A failure is logged, too, as it is with every other mode.
#[tokio::test]
async fn what_failed_is_logged_as_failed() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    origin.next(Act::DropAfterExecuting(How::Close));
    let failed = order(&proxy, "10").send().await;
    assert_eq!(failed.status, 502);
    let line = &logged(&proxy, 1).await[0];
    let said = (&line["outcome"], &line["problem"]);
    assert_eq!(said, (&"failed".into(), &"upstream-broken".into()));
    assert!(line.get("would_be").is_none(), "{line}");
}

/// A question is not even looked at, nor is what has no key where there is no checksum.
#[tokio::test]
async fn what_is_off_or_has_no_key_is_not_observed() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let search = client(&proxy).post("/search").caller("a").key("k1").body("10");
    let keyless = client(&proxy).post("/payments/1").caller("a").body("10");
    let get = client(&proxy).get("/orders").key("k1");
    for request in [search, keyless, get] {
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2);
    }
    let elsewhere = client(&proxy).method("PUT", "/elsewhere").caller("a").body("10");
    assert_eq!(executions(&origin, [elsewhere.clone(), elsewhere]).await, 2);
    let line = &logged(&proxy, 1).await[0];
    assert_eq!((&line["path"], &line["route"]), (&"/elsewhere".into(), &"default".into()));
}

/// The keys of all requests are shown when they are asked for, those of first ones included.
#[tokio::test]
async fn all_keys_are_shown_when_asked_for() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).config(example(CONFIG)).arg("--access-log", "all");
    let proxy = proxy.start().await;
    for number in 1..=2 {
        let attempt = order(&proxy, "10").header("X-Attempt", format!("{number}"));
        assert_executed(&attempt.send().await);
    }
    assert_executed(&order(&proxy, "10").header("X-Attempt", "2").send().await);
    let lines = logged(&proxy, 3).await;
    let keys: Vec<_> = lines.iter().map(|line| line["duplicate_key"].as_str()).collect();
    assert!(keys.iter().all(Option::is_some) && keys[0] != keys[1], "{lines:?}");
    assert_eq!(keys[1], keys[2]);
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, [Some("passed"), Some("passed"), Some("observed")]);
}

/// After the week: one route at a time, in the same instance, and back by one word.
#[tokio::test]
async fn routes_are_enforced_one_by_one_without_a_restart() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    let config = folder.edited(CONFIG, &[]);
    let proxy = Proxy::before(&origin).config(config).start().await;
    let pay = || client(&proxy).post("/payments/1").caller("a").key("k1").body("10");
    let observed = [pay(), order(&proxy, "10")];
    assert_eq!(executions(&origin, observed).await, 2);
    let charge = "costs the most.\n# mode = \"enforce\"";
    folder.edited(CONFIG, &[(charge, &charge.replace("# mode", "mode"))]);
    proxy.signal("HUP");
    proxy.wait_for_log("the new settings", |line| line.contains("were read again")).await;
    let first = pay().send().await;
    assert_plain(&first, 201);
    assert_eq!(first.json()["execution"], 2, "what was only observed has left no answer");
    assert_replay(&first, &pay().send().await);
    assert_plain(&order(&proxy, "10").send().await, 201);
    folder.edited(CONFIG, &[]);
    proxy.signal("HUP");
    let count = |log: &str| log.matches("were read again").count();
    eventually("the old settings", async || count(&proxy.log()) == 2).await;
    assert_plain(&pay().send().await, 201);
    assert_eq!(origin.hits(), 5);
}
