//! What answers do to their keys, and how long repeats wait for them.

use std::time::{Duration, Instant};

use super::{assert_one_operation, assert_refused, told};
use crate::support::{
    Answer, Origin, Proxy, assert_executed, assert_marked, assert_replay, assert_unknown, client,
    eventually, problem_of,
};

/// Lets the origin answer with the status that is the last part of the path.
fn answers_as_asked(origin: &Origin) {
    origin.respond(|received| {
        let status = received.target.rsplit('/').next().and_then(|last| last.parse().ok());
        let body = if status == Some(204) { "" } else { "the answer" };
        Answer::new(status.expect("a status in the path")).body(body).into()
    });
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Released,
    Held,
}
use Fate::{Held, Kept, Released};

/// Fails unless an answer with this status does this to its key, on this route.
async fn assert_fate(origin: &Origin, proxy: &Proxy, route: &str, (status, fate): (u16, Fate)) {
    let request = client(proxy).post(&format!("/{route}/{status}")).key("k1").body("10");
    let before = origin.hits();
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_eq!(first.status, status, "{first:?}");
    let second = request.clone().send().await;
    let what = format!("/{route}/{status} is {fate:?}: {second:?}");
    let executed = match fate {
        Kept => {
            assert!(second.is_repeat(), "{what}");
            assert_replay(&first, &second);
            1
        }
        Released => {
            assert!(!second.is_repeat(), "{what}");
            assert_eq!((second.status, &second.body), (status, &first.body), "{what}");
            2
        }
        Held => {
            assert_eq!(problem_of(&second).as_deref(), Some("outcome-unknown"), "{what}");
            assert_unknown(None, request).await;
            1
        }
    };
    assert_eq!(origin.hits(), before + executed, "{what}");
}

const LISTS: &str = r#"
    [defaults]
    keep = [503]
    release = [404, 410]
    [[route]]
    name = "lists"
    path = "/lists/{status}"
    keep = [409, 502, "5xx"]
    release = [200, "4xx"]
    hold = [404, 500, 201]
    [[route]]
    name = "one"
    path = "/one/{status}"
    keep = [404]
    [[route]]
    name = "hold"
    path = "/hold/{status}"
    hold = ["5xx", "2xx"]
    keep = [204]
"#;

/// What is not said stays as it is by default; a status goes before its class, and a route before
/// the defaults.
#[tokio::test]
async fn statuses_and_classes_are_kept_released_and_held() {
    let origin = Origin::start().await;
    answers_as_asked(&origin);
    let proxy = told(&origin, LISTS).await;
    let table: [(&str, &[(u16, Fate)]); 4] = [
        (
            "lists",
            &[
                (200, Released),
                (202, Kept),
                (201, Held),
                (301, Kept),
                (400, Released),
                (401, Released),
                (404, Held),
                (409, Kept),
                (410, Released),
                (500, Held),
                (501, Kept),
                (502, Kept),
                (503, Kept),
                (504, Kept),
            ],
        ),
        (
            "one",
            &[
                (200, Kept),
                (404, Kept),
                (410, Released),
                (400, Kept),
                (429, Released),
                (503, Kept),
                (500, Released),
                (502, Held),
            ],
        ),
        (
            "hold",
            &[(200, Held), (204, Kept), (500, Held), (503, Held), (504, Held), (404, Released)],
        ),
        ("none", &[(201, Kept), (404, Released), (422, Kept), (503, Kept), (500, Released)]),
    ];
    for (route, answers) in table {
        for answer in answers {
            assert_fate(&origin, &proxy, route, *answer).await;
        }
    }
}

/// Lets the origin answer with this status, and this word on how long that is to be kept.
fn steers(origin: &Origin, status: u16, word: &str) {
    origin.next(Answer::new(status).header("Oncegate-Keep", word).body("the answer"));
}

#[tokio::test]
async fn the_upstream_may_give_a_key_back() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    for (number, word) in ["no", "No", " no ", "0", "00"].into_iter().enumerate() {
        for status in [200, 404, 502] {
            let request = || client(&proxy).post("/a").key(format!("k{number}-{status}")).body("1");
            let before = origin.hits();
            steers(&origin, status, word);
            let first = request().send().await;
            assert_eq!((first.status, first.has("oncegate-keep")), (status, false), "{first:?}");
            assert_one_operation(&origin, [request(), request()]).await;
            assert_eq!(origin.hits(), before + 2);
        }
    }
}

/// What the upstream says of one answer goes before what the route says of its status, and counts
/// from the first request on.
#[tokio::test]
async fn the_upstream_may_say_how_long_its_answer_is_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--window", "1s").start().await;
    let post = |key: &str| client(&proxy).post("/a").key(key).body("10");
    for (status, key) in [(200, "kept"), (500, "failed"), (502, "unknown")] {
        steers(&origin, status, "3600");
        let first = post(key).send().await;
        assert_eq!((first.status, first.has("oncegate-keep")), (status, false), "{first:?}");
        assert_replay(&first, &post(key).send().await);
    }
    let hits = origin.hits();
    // When one that is kept for the route's window is free again, those are still kept.
    eventually("the end of a window", async || {
        post("plain").send().await;
        origin.hits() >= hits + 2
    })
    .await;
    for key in ["kept", "failed", "unknown"] {
        assert_marked(&post(key).send().await);
    }
    assert_eq!(origin.hits(), hits + 2);
}

#[tokio::test]
async fn the_upstream_may_shorten_the_window() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/a").key("k1").body("10");
    steers(&origin, 201, "1");
    let before = Instant::now();
    assert_executed(&request.clone().send().await);
    eventually("the end of the shorter window", async || {
        let reply = request.clone().send().await;
        // a lower bound: however slow the machine is, this can only be larger
        assert!(reply.is_repeat() || before.elapsed() >= Duration::from_secs(1), "{reply:?}");
        !reply.is_repeat()
    })
    .await;
    assert_marked(&request.send().await);
    assert_eq!(origin.hits(), 2);
}

/// What can't be understood says nothing, and never reaches anybody.
#[tokio::test]
async fn a_word_on_keeping_that_is_none_is_passed_over() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let words = ["", "yes", "-1", "+1", "1h", "1.5", "3600s", "99999999999999999999", "no, no"];
    for (number, word) in words.into_iter().enumerate() {
        for (status, kept) in [(200, true), (500, false)] {
            let request = client(&proxy).post("/a").key(format!("k{number}-{status}")).body("1");
            steers(&origin, status, word);
            let first = request.clone().send().await;
            assert_eq!((first.status, first.has("oncegate-keep")), (status, false), "{first:?}");
            let second = request.send().await;
            assert_eq!(second.is_repeat(), kept, "{word}: {second:?}");
            assert!(!second.has("oncegate-keep"), "{second:?}");
        }
    }
    let twice = Answer::new(200).header("Oncegate-Keep", "1").header("Oncegate-Keep", "3600");
    origin.next(twice.body("the answer"));
    let request = || client(&proxy).post("/a").key("twice").body("1");
    assert_one_operation(&origin, [request(), request()]).await;
    let one_no = Answer::new(200).header("Oncegate-Keep", "3600").header("Oncegate-Keep", "no");
    origin.next(one_no.body("the answer"));
    let request = || client(&proxy).post("/a").key("no").body("1");
    assert_executed(&request().send().await);
    assert_executed(&request().send().await);
}

/// Only the upstream steers: what a caller sends of the kind goes nowhere.
#[tokio::test]
async fn a_caller_does_not_steer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let steered = |word: &str| client(&proxy).post("/a").header("Oncegate-Keep", word).body("1");
    assert_one_operation(&origin, [steered("no"), steered("1"), steered("no")]).await;
    assert!(!origin.last().head.has("oncegate-keep"), "{:?}", origin.last().head);
    client(&proxy).get("/a").header("Oncegate-Keep", "no").send().await;
    assert!(!origin.last().head.has("oncegate-keep"), "{:?}", origin.last().head);
    steers(&origin, 200, "no");
    assert!(!client(&proxy).get("/a").send().await.has("oncegate-keep"));
}

/// An answer that is not kept anyway can at least give its key back.
#[tokio::test]
async fn the_upstream_steers_answers_that_are_not_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "1KiB").start().await;
    let large = || Answer::new(200).body("x".repeat(5000));
    let events =
        || Answer::new(200).header("Content-Type", "text/event-stream").body("data: 1\n\n");
    let chunks = || large().chunked();
    let shapes: [(&str, &dyn Fn() -> Answer); 3] =
        [("large", &large), ("events", &events), ("chunks", &chunks)];
    for (shape, answer) in shapes {
        for (word, released) in [("no", true), ("3600", false), ("often", false)] {
            let request = || client(&proxy).post("/a").key(format!("{shape}{word}")).body("1");
            origin.next(answer().header("Oncegate-Keep", word));
            let before = origin.hits();
            let first = request().send().await;
            assert_executed(&first);
            assert_eq!((first.status, first.has("oncegate-keep")), (200, false), "{first:?}");
            if released {
                assert_one_operation(&origin, [request(), request()]).await;
            } else {
                assert_refused(&origin, &request(), (409, "answer-not-kept")).await;
            }
            assert_eq!(origin.hits(), before + if released { 2 } else { 1 }, "{shape} {word}");
        }
    }
}

/// A failure that says "not executed" says so in whatever shape it comes: its key is free again,
/// although it could not have been kept.
#[tokio::test]
async fn a_failure_that_could_not_be_kept_gives_its_key_back() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-response", "1KiB").start().await;
    let large = |status: u16| Answer::new(status).body("x".repeat(5000));
    let chunks = |status: u16| large(status).chunked();
    let closed = |status: u16| Answer::new(status).body("out of order").until_close();
    let shapes: [(&str, &dyn Fn(u16) -> Answer); 3] =
        [("large", &large), ("chunks", &chunks), ("closed", &closed)];
    for (shape, answer) in shapes {
        for (status, released) in [(500, true), (503, true), (429, true), (404, false)] {
            let request = || client(&proxy).post("/a").key(format!("{shape}{status}")).body("1");
            origin.next(answer(status));
            let first = request().send().await;
            assert_executed(&first);
            assert_eq!(first.status, status, "{first:?}");
            if released {
                assert_one_operation(&origin, [request(), request()]).await;
            } else {
                assert_refused(&origin, &request(), (409, "answer-not-kept")).await;
            }
        }
    }
}
