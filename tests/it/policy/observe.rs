//! Being watched: everything is forwarded, and the access log says what would have been.

use serde_json::Value;

use super::{logged, told};
use crate::support::{
    Act, Answer, Ending, Field, Gate, Origin, Proxy, Request, assert_executed, assert_replay,
    client, outstanding, problem_of, read_all,
};

const OBSERVE: &str = "[defaults]\nmode = \"observe\"\n";

async fn observing(origin: &Origin, more: &str) -> Proxy {
    let starting = Proxy::before(origin).arg("--access-log", "all");
    starting.toml(&format!("{OBSERVE}{more}")).start().await
}

/// What the access log says of a request: what became of it, and what would have.
fn said(line: &Value) -> (&str, Option<&str>) {
    (line["outcome"].as_str().expect("an outcome"), line["would_be"].as_str())
}

/// Sends these one after another, each of which must be forwarded and answered without a mark; then
/// the access log must say this of them.
async fn assert_watched(origin: &Origin, proxy: &Proxy, table: &[(Request, Option<&str>)]) {
    for (request, _) in table {
        let before = origin.hits();
        let reply = request.clone().send().await;
        assert_eq!(origin.hits(), before + 1, "{request:?}\n{reply:?}");
        assert_executed(&reply);
        assert!(!reply.has("duplicate-protection"), "{reply:?}");
        assert_eq!(problem_of(&reply), None, "{reply:?}");
    }
    for (line, (request, would_be)) in logged(proxy, table.len()).await.iter().zip(table) {
        let expected = match would_be {
            Some(would_be) => ("observed", Some(*would_be)),
            None => ("passed", None),
        };
        assert_eq!(said(line), expected, "{request:?}: {line}");
    }
}

/// Routes on which there is more to be noted.
const MORE: &str = r#"
    max_request = "1KiB"
    [[route]]
    name = "keyed"
    path = "/keyed"
    key = ["json:/id", "header:X-Op"]
    require_key = true
    oversize = "reject"
    [[route]]
    name = "known"
    path = "/known"
    anonymous = "refuse"
    [[route]]
    name = "unknown"
    path = "/unknown"
    anonymous = "pass"
"#;

#[tokio::test]
async fn everything_is_forwarded_and_duplicates_are_noted() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, MORE).await;
    let post = |path: &str, key: Option<&str>, body: &str| {
        client(&proxy).post(path).key_if(key).body(body)
    };
    let large = "x".repeat(5000);
    let table = [
        (post("/a", Some("k1"), "10"), None),
        (post("/a", Some("k1"), "10"), Some("replayed")),
        (post("/a", Some("k1"), "10").chunked(1), Some("replayed")),
        (post("/a", Some("k1"), "11"), Some("key-reused")),
        (post("/a?x=1", Some("k1"), "10"), Some("key-reused")),
        (post("/a", Some("k1"), "10").caller("bob"), None),
        (post("/a", None, "10"), None),
        (post("/a", None, "10"), Some("replayed")),
        (post("/a", Some("two words"), "10"), Some("key-malformed")),
        (post("/a", Some("k2"), "10").key("k2"), Some("key-malformed")),
        (post("/a", Some("k3"), &large), Some("too-large")),
        (post("/a", Some("k3"), &large).chunked(99), Some("too-large")),
        (post("/a", None, &large), None),
        (post("/keyed", None, &large), Some("too-large")),
        (post("/keyed", None, "{}"), Some("key-missing")),
        (post("/keyed", None, r#"{"id":1}"#), None),
        (post("/keyed", None, r#"{"id":1}"#), Some("replayed")),
        (post("/keyed", None, "{}").header("X-Op", "a b"), Some("key-malformed")),
        (post("/known", Some("k1"), "10"), Some("caller-missing")),
        (post("/known", Some("k1"), "10").caller("bob"), None),
        (post("/known", Some("k1"), "10").caller("bob"), Some("replayed")),
        (post("/unknown", Some("k1"), "10"), None),
        (post("/unknown", Some("k1"), "10"), None),
        (client(&proxy).get("/a").key("k1"), None),
        (client(&proxy).get("/a").key("k1"), None),
        (client(&proxy).get("/a").header("X-HTTP-Method-Override", "POST"), None),
        (client(&proxy).get("/a").header("X-HTTP-Method-Override", "POST"), Some("replayed")),
    ];
    assert_watched(&origin, &proxy, &table).await;
    let sent: Vec<_> = table.iter().map(|(request, _)| request.bytes()).collect();
    for (received, sent) in origin.requests().iter().zip(sent) {
        let framed = received.head.has_token("transfer-encoding", "chunked");
        assert_eq!(framed, sent.windows(7).any(|bytes| bytes == b"chunked"), "framed as it came");
    }
    for line in logged(&proxy, table.len()).await {
        let about_a_key = matches!(said(&line).1, Some("replayed" | "key-reused"));
        assert!(!about_a_key || line["duplicate_key"].is_string(), "{line}");
    }
}

/// Only duplicates are in the log by default.
#[tokio::test]
async fn the_log_of_duplicates_has_those_that_would_have_been() {
    let origin = Origin::start().await;
    let proxy = told(&origin, OBSERVE).await;
    let post = || client(&proxy).post("/a").key("k1").body("10");
    post().send().await;
    post().send().await;
    client(&proxy).get("/a").send().await;
    post().send().await;
    let lines = logged(&proxy, 2).await;
    for line in &lines {
        assert_eq!(said(line), ("observed", Some("replayed")));
        assert_eq!((&line["status"], &line["route"]), (&201.into(), &"default".into()));
        assert_eq!(line["duplicate_key"], lines[0]["duplicate_key"]);
        assert!(line["duplicate_key"].is_string(), "{line}");
    }
    assert_eq!(origin.hits(), 4);
}

/// A repeat goes on while the first request runs: nobody waits.
#[tokio::test]
async fn concurrent_repeats_are_forwarded_at_once() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    for (round, key) in [Some("k1"), None].into_iter().enumerate() {
        let gate = Gate::shut();
        origin.always(Act::Ledger.after(&gate));
        let request = client(&proxy).post("/a").key_if(key).body("10");
        let mut all = outstanding(&proxy, &request, 6).await;
        origin.wait_for_hits(6 * (round + 1)).await;
        gate.open();
        let mut executions = Vec::new();
        for reply in read_all(&mut all).await {
            assert_executed(&reply);
            executions.push(reply.json()["serial"].as_u64());
        }
        executions.sort_unstable();
        executions.dedup();
        assert_eq!(executions.len(), 6, "each has an answer of its own");
        let lines = logged(&proxy, 6 * (round + 1)).await;
        let mut lines: Vec<_> = lines.iter().skip(6 * round).map(said).collect();
        lines.sort_unstable();
        let collapsed = ("observed", Some("collapsed"));
        assert_eq!(lines[..5], [collapsed; 5]);
        assert_eq!(lines[5], ("passed", None));
    }
}

/// What goes each way is what would go if nobody watched, in every field.
#[tokio::test]
async fn requests_and_answers_are_what_they_are_when_nobody_watches() {
    let origin = Origin::start().await;
    let more = "[[route]]\nname = \"off\"\npath = \"/off\"\nmode = \"off\"\n";
    let proxy = observing(&origin, more).await;
    let body = "x".repeat(20_000);
    // Dated, since what has no date gets that of the moment.
    let dated = |status: u16| Answer::new(status).header("Date", "Tue, 15 Nov 1994 08:12:31 GMT");
    let plain = || {
        let answer = dated(200).header("Age", "7").header("X-Upper", "1");
        answer.header("Set-Cookie", "a=1").header("Set-Cookie", "b=2").header("Vary", "Accept")
    };
    let answers = [
        plain().body("whole"),
        plain().body(&body),
        plain().body(&body).chunked(),
        plain().body("until the end").until_close(),
        plain().header("Duplicate-Key", "mine").header("Oncegate-Keep", "60").body("marked"),
        dated(204),
        dated(404).header("Content-Type", "text/event-stream").body("data: 1\n\n"),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        for repeat in [false, true] {
            let post = |path: &str| {
                let post = client(&proxy).post(path).key(format!("k{number}")).body("10");
                let post = post.header("Accept-Encoding", "br").header("Range", "bytes=0-1");
                post.header("If-Match", "\"1\"").header("TE", "trailers").header("Age", "5")
            };
            origin.always(answer.clone());
            let unwatched = post("/off").send().await;
            let (sent, watched) = (origin.last(), post("/on").send().await);
            let what = format!("answer {number}, repeat {repeat}");
            assert_eq!(watched.head.start, unwatched.head.start, "{what}");
            // The origin dates each answer anew.
            let undated = |lines: &[Field]| {
                let lines = lines.iter().filter(|line| !line.name.eq_ignore_ascii_case("date"));
                lines.cloned().collect::<Vec<_>>()
            };
            let (watched_lines, lines) = (&watched.head.lines, &unwatched.head.lines);
            assert_eq!(undated(watched_lines), undated(lines), "{what}");
            assert_eq!(watched.body, unwatched.body, "{what}");
            assert_eq!(watched.ending, unwatched.ending, "{what}");
            assert_eq!(origin.last().head.lines, sent.head.lines, "{what}");
            assert_eq!(origin.last().body, sent.body, "{what}");
        }
    }
    assert_eq!(origin.hits(), 28);
}

#[tokio::test]
async fn answers_are_streamed_piece_by_piece() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "").await;
    for repeat in [false, true] {
        for chunked in [true, false] {
            let gate = Gate::shut();
            let answer = Answer::new(200).body("first half").body_after(&gate, ", second half");
            origin.next(if chunked { answer.chunked() } else { answer });
            let request = client(&proxy).post("/a").key(format!("k{chunked}")).body("10");
            let mut connection = request.open().await;
            connection.sees(b"first half").await;
            gate.open();
            let reply = connection.read().await;
            assert_eq!(reply.text(), "first half, second half", "repeat: {repeat}");
            assert_eq!(reply.ending, Ending::Complete);
        }
    }
    assert_eq!(origin.hits(), 4);
}

/// A body that is not looked at is streamed, too.
#[tokio::test]
async fn a_body_that_is_too_large_goes_on_as_it_comes() {
    let origin = Origin::start().await;
    let proxy = observing(&origin, "max_request = \"1KiB\"\n").await;
    let request = client(&proxy).post("/a").key("k1").body("x".repeat(10_000)).chunked(1000);
    let mut connection = client(&proxy).connect().await;
    let bytes = request.bytes();
    connection.write(&bytes[..5000]).await;
    origin.wait_for_heads(1).await;
    assert_eq!(origin.hits(), 0, "half of it is still to come");
    connection.write(&bytes[5000..]).await;
    assert_eq!(connection.read().await.status, 201);
    assert_eq!(origin.last().body.len(), 10_000);
    assert_eq!(said(&logged(&proxy, 1).await[0]), ("observed", Some("too-large")));
}

/// An answer that was only watched was not kept: a route that shares its keys never replays it.
#[tokio::test]
async fn what_was_watched_is_never_replayed() {
    let origin = Origin::start().await;
    let toml = "[defaults]\nauthority = false\n\
                [[route]]\nname = \"canary\"\nhost = \"canary.example\"\nmode = \"observe\"\n";
    let proxy = Proxy::before(&origin).toml(toml).start().await;
    let post = |host: &str| client(&proxy).post("/a").host(host).key("k1").body("10");
    let watched = post("canary.example").send().await;
    let first = post("api.example").send().await;
    let repeat = post("www.example").send().await;
    assert_executed(&watched);
    assert_replay(&first, &repeat);
    assert!(!repeat.body.is_empty());
    assert_eq!(origin.hits(), 2);
}
