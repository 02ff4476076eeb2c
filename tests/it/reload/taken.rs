//! What new settings change for new requests.

use std::time::{Duration, Instant};

use super::Setup;
use crate::support::{
    Act, Answer, Gate, How, Origin, assert_executed, assert_held, assert_marked, assert_problem,
    assert_replay, client, eventually, none_connected_to, outstanding, read_all,
};

/// What was kept for long is kept for long; what comes now is kept for as long as is said now.
#[tokio::test]
async fn a_window() {
    let setup = Setup::start("defaults.window = \"1h\"").await;
    let old = setup.post("old").send().await;
    setup.takes("defaults.window = \"1s\"").await;
    let before = Instant::now();
    assert_executed(&setup.post("new").send().await);
    eventually("the end of the window", async || {
        let is_over = !setup.post("new").send().await.is_repeat();
        assert!(!is_over || before.elapsed() >= Duration::from_secs(1), "too early");
        is_over
    })
    .await;
    assert_replay(&old, &setup.post("old").send().await);
    setup.takes("defaults.window = \"2h\"").await;
    assert_replay(&old, &setup.post("old").send().await);
}

#[tokio::test]
async fn what_an_answer_does_to_its_key() {
    let setup = Setup::start("").await;
    let answers = |status| setup.origin.always(Answer::new(status).body("x"));
    let twice = async |key: &str| setup.executions([setup.post(key), setup.post(key)]).await;
    answers(500);
    assert_eq!(twice("a").await, 2);
    setup.takes("defaults.keep = [\"5xx\"]").await;
    assert_eq!(twice("a").await, 1);
    setup.takes("defaults.release = [\"2xx\"]").await;
    assert_eq!(twice("a").await, 0, "what was kept holds on");
    assert_eq!(twice("b").await, 2, "and nothing more is kept");
    answers(201);
    assert_eq!(twice("c").await, 2);
    setup.takes("defaults.hold = [201]").await;
    assert_executed(&setup.post("d").send().await);
    assert_problem(&setup.post("d").send().await, 409, "outcome-unknown");
}

#[tokio::test]
async fn where_the_upstream_is() {
    let setup = Setup::start("").await;
    let other = Origin::start().await;
    let mut connection = client(&setup.proxy).connect().await;
    let first = setup.post("k1").send_on(&mut connection).await;
    client(&setup.proxy).get("/a").send_on(&mut connection).await;
    let heard = setup.told(&super::text(&other, "")).await;
    assert_eq!(heard.refused, None);
    assert_replay(&first, &setup.post("k1").send_on(&mut connection).await);
    assert_executed(&setup.post("k2").send_on(&mut connection).await);
    client(&setup.proxy).get("/a").send_on(&mut connection).await;
    assert_eq!((setup.origin.hits(), other.hits()), (2, 2));
    assert_eq!(other.last().header("host"), Some("api.example"));
    none_connected_to(setup.origin.addr).await;
    setup.takes("").await;
    assert_replay(&first, &setup.post("k1").send_on(&mut connection).await);
    assert_executed(&setup.post("k3").send_on(&mut connection).await);
    assert_eq!((setup.origin.hits(), other.hits()), (3, 2));
}

/// An upstream that is not there yet, and is when the first request comes.
#[tokio::test]
async fn an_upstream_that_cannot_be_reached() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    let nowhere = Origin::nowhere().await;
    let text = setup.text("").replace(&setup.origin.addr.to_string(), &nowhere.to_string());
    assert_eq!(setup.told(&text).await.refused, None);
    assert_problem(&setup.post("k2").send().await, 502, "upstream-unreachable");
    assert_replay(&first, &setup.post("k1").send().await);
    setup.takes("").await;
    assert_executed(&setup.post("k2").send().await);
}

#[tokio::test]
async fn how_long_the_upstream_may_take() {
    let setup = Setup::start("").await;
    let gate = Gate::shut();
    setup.origin.always(Act::Ledger.after(&gate));
    setup.takes("upstream.timeout = \"300ms\"").await;
    assert_problem(&setup.post("k1").send().await, 504, "upstream-timeout");
    let passed = client(&setup.proxy).get("/a").send().await;
    assert_problem(&passed, 504, "upstream-timeout");
    gate.open();
    eventually("the late answer", async || setup.post("k1").send().await.is_repeat()).await;
}

#[tokio::test]
async fn how_repeats_wait() {
    let setup = Setup::start("").await;
    let gate = Gate::shut();
    setup.origin.next(Act::Ledger.after(&gate));
    let mut first = setup.post("k1").open().await;
    setup.origin.wait_for_hits(1).await;
    let mut patient = outstanding(&setup.proxy, &setup.post("k1"), 2).await;
    for more in ["defaults.in_flight = \"refuse\"", "defaults.wait = \"200ms\""] {
        setup.takes(more).await;
        assert_problem(&setup.post("k1").send().await, 409, "in-progress");
    }
    gate.open();
    let first = first.read().await;
    assert_executed(&first);
    for reply in read_all(&mut patient).await {
        assert_replay(&first, &reply);
    }
}

/// A key that is held is a new request's to take, where that is said now.
#[tokio::test]
async fn what_becomes_of_a_key_whose_outcome_is_unknown() {
    let setup = Setup::start("").await;
    setup.origin.next(Act::DropAfterExecuting(How::Close));
    assert_held(&setup.post("k1").send().await, setup.post("k1")).await;
    setup.takes("defaults.on_unknown = \"release\"").await;
    let first = setup.post("k1").send().await;
    assert_executed(&first);
    setup.takes("").await;
    assert_replay(&first, &setup.post("k1").send().await);
    assert_eq!(setup.origin.hits(), 2);
}

#[tokio::test]
async fn what_a_key_for_something_else_gets() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    let other = setup.post("k1").body("20");
    assert_problem(&other.clone().send().await, 422, "key-reused");
    setup.takes("defaults.on_mismatch = \"replay\"").await;
    assert_replay(&first, &other.clone().send().await);
    setup.takes("").await;
    assert_problem(&other.send().await, 422, "key-reused");
}

#[tokio::test]
async fn what_is_too_large() {
    let setup = Setup::start("defaults.max_response = \"1KiB\"").await;
    let sends = |key: &str| setup.post(key).body("x".repeat(100));
    setup.takes("defaults.max_request = \"10B\"").await;
    assert_problem(&sends("a").send().await, 413, "too-large");
    setup.takes("defaults.max_request = \"10B\"\ndefaults.oversize = \"pass\"").await;
    assert!(sends("a").send().await.has("duplicate-protection"));
    setup.takes("defaults.max_response = \"64KiB\"").await;
    setup.origin.always(Answer::new(201).body("x".repeat(10_000)));
    let first = sends("b").send().await;
    assert_replay(&first, &sends("b").send().await);
    setup.takes("defaults.max_response = \"1KiB\"").await;
    assert_replay(&first, &sends("b").send().await);
    assert_executed(&sends("c").send().await);
    assert_problem(&sends("c").send().await, 409, "answer-not-kept");
}

#[tokio::test]
async fn who_and_what_is_let_in() {
    let setup = Setup::start("defaults.key = [\"header:Idempotency-Key\"]").await;
    let key = "defaults.key = [\"header:Idempotency-Key\"]\n";
    let keyless = client(&setup.proxy).post("/charges").body("10");
    assert_executed(&keyless.clone().send().await);
    setup.takes(&format!("{key}defaults.require_key = true")).await;
    assert_problem(&keyless.send().await, 400, "key-missing");
    setup.takes(&format!("{key}defaults.anonymous = \"refuse\"")).await;
    assert_problem(&setup.post("k1").send().await, 400, "caller-missing");
    setup.takes(&format!("{key}defaults.anonymous = \"pass\"")).await;
    assert!(setup.post("k1").send().await.has("duplicate-protection"));
    setup.takes(&format!("{key}defaults.methods = [\"PUT\"]")).await;
    assert_eq!(setup.executions([setup.post("k2"), setup.post("k2")]).await, 2);
    setup.takes(&format!("{key}defaults.forward_key = \"Idempotency-Key\"")).await;
    assert_executed(&setup.post("k3").send().await);
    let sent = setup.origin.last();
    assert!(sent.header("idempotency-key").is_some_and(|key| key.len() == 36), "{sent:?}");
}

#[tokio::test]
async fn what_is_logged() {
    let setup = Setup::start("telemetry.access_log = \"off\"").await;
    setup.post("k1").send().await;
    setup.takes("telemetry.access_log = \"all\"").await;
    setup.post("k1").send().await;
    setup.takes("telemetry.access_log = \"duplicates\"").await;
    setup.post("k2").send().await;
    setup.post("k2").send().await;
    let lines = setup.proxy.access_lines(2).await;
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("replayed")), "{lines:?}");
}

/// Limits of which nothing was built at the start; a larger one would need more room than there is.
#[tokio::test]
async fn limits_of_a_request() {
    let setup = Setup::start("limits.max_headers = 50").await;
    let target = |length: usize| client(&setup.proxy).get(&format!("/{}", "a".repeat(length)));
    setup.takes("limits.max_headers = 50\nlimits.max_target_bytes = \"20B\"").await;
    assert_problem(&target(20).send().await, 414, "too-large");
    setup.takes("limits.max_headers = 5").await;
    assert_eq!(target(20).send().await.status, 201);
    let many = (0..6).fold(target(1), |request, name| request.header(&format!("X-{name}"), "1"));
    assert_problem(&many.clone().send().await, 431, "too-large");
    setup.takes("limits.max_headers = 50").await;
    assert_eq!(many.send().await.status, 201);
    setup.takes("limits.max_headers = 50\nlimits.body_timeout = \"300ms\"").await;
    let mut slow = client(&setup.proxy).connect().await;
    let bytes = setup.post("k1").bytes();
    slow.write(&bytes[..bytes.len() - 1]).await;
    assert_problem(&slow.read().await, 408, "request-timeout");
}

/// Routes come, change their names and places, and go, as long as keys are derived as before.
#[tokio::test]
async fn routes_that_derive_the_same_keys() {
    let setup = Setup::start("telemetry.access_log = \"all\"").await;
    let all = "telemetry.access_log = \"all\"\n";
    let route = |name: &str, more: &str| format!("[[route]]\nname = \"{name}\"\n{more}\n");
    let first = setup.post("k1").send().await;
    let charges = route("charges", "path = \"/charges\"\nwindow = \"7d\"");
    let search = route("search", "path = \"/search\"\nmode = \"off\"");
    let any = route("any", "path = \"/{*rest}\"\nmax_request = \"10B\"");
    for (more, name) in [
        (charges.clone(), "charges"),
        (format!("{search}{charges}"), "charges"),
        (format!("{charges}{any}"), "charges"),
        (format!("{search}{any}"), "any"),
        (charges.replace("\"charges\"", "\"renamed\""), "renamed"),
        (String::new(), "default"),
    ] {
        setup.takes(&format!("{all}{more}")).await;
        assert_replay(&first, &setup.post("k1").send().await);
        eventually("the line of the route", async || {
            let log = setup.proxy.access_log();
            log.lines().last().is_some_and(|line| line.contains(&format!("\"route\":\"{name}\"")))
        })
        .await;
    }
    assert_eq!(setup.origin.hits(), 1);
}

/// Off and on again: what was kept before is still there, and what passed meanwhile is not.
#[tokio::test]
async fn whether_anything_is_guarded() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    setup.takes("defaults.mode = \"off\"").await;
    assert_eq!(setup.executions([setup.post("k1"), setup.post("k2")]).await, 2);
    setup.takes("defaults.mode = \"observe\"").await;
    assert_executed(&setup.post("k1").send().await);
    let line = setup.proxy.access_lines(1).await.remove(0);
    assert!(line.contains("\"would_be\":\"replayed\""), "{line}");
    setup.takes("").await;
    assert_replay(&first, &setup.post("k1").send().await);
    assert_executed(&setup.post("k2").send().await);
    assert_marked(&setup.post("k2").send().await);
    assert_eq!(setup.origin.hits(), 5);
}

/// What was only observed has left no answer: once guarded, a request gets a whole one.
#[tokio::test]
async fn guarding_what_was_observed() {
    let setup = Setup::start("defaults.mode = \"observe\"").await;
    setup.origin.respond(|received| Answer::ledger(received).header("X-A", "1").into());
    let observed = setup.post("k1").send().await;
    assert_executed(&observed);
    setup.takes("").await;
    let first = setup.post("k1").send().await;
    assert_eq!((first.status, first.header("x-a")), (201, Some("1")), "{first:?}");
    assert_eq!(first.json()["op"], observed.json()["op"], "{first:?}");
    let repeat = setup.post("k1").send().await;
    assert_marked(&repeat);
    assert_eq!(repeat.body, first.body);
}
