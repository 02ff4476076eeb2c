//! What watching makes of failures: what is no duplicate when it is enforced is none here.

use serde_json::Value;

use super::logged;
use crate::support::{
    Act, Answer, Gate, How, Origin, Proxy, assert_executed, assert_problem, client, eventually,
};

async fn observing(origin: &Origin, more: &str) -> Proxy {
    let starting = Proxy::before(origin).arg("--access-log", "all");
    starting.toml(&format!("{more}\n[defaults]\nmode = \"observe\"\n")).start().await
}

fn would_be(line: &Value) -> Option<&str> {
    line["would_be"].as_str()
}

/// What a first answer makes of the next request with its key.
#[tokio::test]
async fn answers_decide_what_their_repeats_would_be() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    let steered = |status: u16, word: &str| Answer::new(status).header("Oncegate-Keep", word);
    let table: [(&str, Act, Option<&str>); 10] = [
        ("200", Answer::new(200).into(), Some("replayed")),
        ("404", Answer::new(404).into(), Some("replayed")),
        ("500", Answer::new(500).into(), None),
        ("429", Answer::new(429).into(), None),
        ("502", Answer::new(502).into(), Some("outcome-unknown")),
        ("no", steered(200, "no").into(), None),
        ("kept", steered(500, "60").into(), Some("replayed")),
        ("close", Act::DropAfterExecuting(How::Close), Some("outcome-unknown")),
        ("reset", Act::DropAfterExecuting(How::Reset), Some("outcome-unknown")),
        (
            "garbage",
            Answer::raw("NOT HTTP\r\n\r\n").then(How::Close).into(),
            Some("outcome-unknown"),
        ),
    ];
    for (key, act, _) in &table {
        let request = client(&proxy).post("/a").key(key).body("10");
        let before = origin.hits();
        origin.next(act.clone());
        request.clone().send().await;
        let second = request.send().await;
        assert_executed(&second);
        assert_eq!((second.status, origin.hits()), (201, before + 2), "{key}");
    }
    let lines = logged(&proxy, 2 * table.len()).await;
    for (pair, (key, _, expected)) in lines.chunks(2).zip(&table) {
        assert_eq!(would_be(&pair[0]), None, "{key}: {}", pair[0]);
        assert_eq!(would_be(&pair[1]), *expected, "{key}: {}", pair[1]);
    }
}

/// A retry after a failure is no duplicate, and what comes after the retry is.
#[tokio::test]
async fn a_retry_after_a_failure_is_no_duplicate() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    let request = client(&proxy).post("/a").key("k1").body("10");
    origin.next(Answer::new(500)).next(Answer::new(503));
    for _ in 0..4 {
        request.clone().send().await;
    }
    let lines = logged(&proxy, 4).await;
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(500), Some(503), Some(201), Some(201)]);
    let said: Vec<_> = lines.iter().map(would_be).collect();
    assert_eq!(said, [None, None, None, Some("replayed")]);
    assert_eq!(origin.hits(), 4);
}

/// An answer that would not be kept has no replay to count on.
#[tokio::test]
async fn answers_that_would_not_be_kept_would_not_be_replayed() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    let large = || Answer::new(200).body("x".repeat(2 << 20));
    let events =
        || Answer::new(200).header("Content-Type", "text/event-stream").body("data: 1\n\n");
    let closed = || Answer::new(200).body("as much as there is").until_close();
    let shapes: [(&str, &dyn Fn() -> Answer); 3] =
        [("large", &large), ("events", &events), ("closed", &closed)];
    for (key, answer) in shapes {
        let request = || client(&proxy).post("/a").key(key).body("10");
        origin.next(answer()).next(answer());
        assert_eq!(request().send().await.body, request().send().await.body);
    }
    let lines = logged(&proxy, 6).await;
    for (pair, (key, _)) in lines.chunks(2).zip(shapes) {
        assert_eq!(would_be(&pair[1]), Some("answer-not-kept"), "{key}: {}", pair[1]);
    }
    assert_eq!(origin.hits(), 6);
}

/// Where enforcing would refuse a shape of request, watching lets it through.
#[tokio::test]
async fn what_can_not_be_guarded_is_forwarded() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    let post = client(&proxy).post("/a").key("k1").body("10");
    let upgrade = post.header("Connection", "upgrade").header("Upgrade", "websocket");
    let spelled = client(&proxy).method("post", "/a").body("10");
    for (hits, request) in [upgrade, spelled].into_iter().enumerate() {
        let reply = request.send().await;
        assert_eq!((reply.status, origin.hits()), (201, hits + 1), "{reply:?}");
    }
    let lines = logged(&proxy, 2).await;
    assert_eq!(would_be(&lines[0]), Some("bad-request"), "{lines:?}");
}

/// An upstream that takes too long is told of as if nobody watched; when its late answer comes,
/// that is what repeats would get.
#[tokio::test]
async fn a_slow_upstream_is_waited_for_as_long_as_ever() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "[upstream]\ntimeout = \"2s\"").await;
    let gate = Gate::shut();
    let request = || client(&proxy).post("/a").key("k1").body("10");
    origin.next(Act::Ledger.after(&gate));
    assert_problem(&request().send().await, 504, "upstream-timeout");
    assert_eq!(request().send().await.status, 201);
    let lines = logged(&proxy, 2).await;
    assert_eq!(lines[0]["outcome"], "failed", "{lines:?}");
    assert_eq!(would_be(&lines[1]), Some("outcome-unknown"), "{lines:?}");
    gate.open();
    let mut count = lines.len();
    eventually("the late answer", async || {
        assert_eq!(request().send().await.status, 201);
        count += 1;
        would_be(&logged(&proxy, count).await[count - 1]) == Some("replayed")
    })
    .await;
    assert_eq!(origin.hits(), count);
}

/// A caller who leaves does not undo that the request was executed.
#[tokio::test]
async fn a_caller_who_leaves_has_executed_all_the_same() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    for key in [Some("k1"), None] {
        let before = origin.hits();
        let gate = Gate::shut();
        let request = || client(&proxy).post("/a").key_if(key).body("10");
        origin.next(Act::Ledger.after(&gate));
        let connection = request().open().await;
        origin.wait_for_hits(before + 1).await;
        connection.reset();
        gate.open();
        let (observed, mut repeats) = (observed(&proxy).len(), 0);
        eventually("the answer that nobody waits for", async || {
            assert_executed(&request().send().await);
            repeats += 1;
            would_have_been(&proxy, observed + repeats).await == "replayed"
        })
        .await;
        assert_eq!(origin.hits(), before + 1 + repeats, "each repeat was forwarded");
    }
}

/// The lines of the access log that tell of repeats.
fn observed(proxy: &Proxy) -> Vec<String> {
    let log = proxy.access_log();
    let lines = log.lines().filter(|line| line.contains(r#""outcome":"observed""#));
    lines.map(str::to_owned).collect()
}

/// What the last of so many repeats would have been.
async fn would_have_been(proxy: &Proxy, count: usize) -> String {
    eventually("a line of each repeat", async || observed(proxy).len() >= count).await;
    let line: Value = serde_json::from_str(&observed(proxy)[count - 1]).expect("a line of JSON");
    would_be(&line).expect("what it would be").to_owned()
}

/// An upstream that refuses connections is told of; nothing was executed, so that nothing is one
/// more.
#[tokio::test]
async fn what_was_never_sent_has_no_duplicate() {
    let mut origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    let request = || client(&proxy).post("/a").key("k1").body("10");
    origin.stop().await;
    for _ in 0..2 {
        assert_problem(&request().send().await, 502, "upstream-unreachable");
    }
    let origin = Origin::at(origin.addr).await;
    assert_eq!(request().send().await.status, 201);
    assert_eq!(request().send().await.status, 201);
    let lines = logged(&proxy, 4).await;
    let said: Vec<_> = lines.iter().map(would_be).collect();
    assert_eq!(said, [None, None, None, Some("replayed")]);
    assert_eq!(origin.hits(), 2);
}
