//! `examples/chord.toml`: events by their `messageId`, which may come twice.

use super::{before, executions};
use crate::support::{
    Act, Answer, Folder, Gate, How, Origin, Proxy, Request, assert_executed, assert_held,
    assert_one_executed, assert_problem, assert_replay, client, outstanding, read_all,
};

const EVENTS: &str = "/chord/events";

fn event(proxy: &Proxy, id: &str, more: &str) -> Request {
    let body = format!(r#"{{"type":"track","messageId":"{id}","properties":{{{more}}}}}"#);
    client(proxy).post(EVENTS).header("Content-Type", "application/json").body(body)
}

/// A function that runs again may have enriched the event with something newer.
#[tokio::test]
async fn an_event_that_comes_again_runs_once_whatever_was_added_to_it() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    let first = event(&proxy, "m1", "").caller("w1").send().await;
    for more in ["", r#""ltv":1"#, r#""ltv":2"#] {
        assert_replay(&first, &event(&proxy, "m1", more).caller("w1").send().await);
    }
    assert_eq!(origin.hits(), 1);
    assert_executed(&event(&proxy, "m2", "").caller("w1").send().await);
}

#[tokio::test]
async fn two_workspaces_may_use_one_message_id() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    let of = |token: &str| event(&proxy, "m1", "").caller(token);
    let by_key = |key: &str| event(&proxy, "m1", "").header("X-API-Key", key);
    assert_eq!(executions(&origin, [of("w1"), of("w2"), of("w1")]).await, 2);
    assert_eq!(executions(&origin, [by_key("w1"), by_key("w2"), by_key("w2")]).await, 2);
}

#[tokio::test]
async fn two_deliveries_at_once_are_one() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut callers = outstanding(&proxy, &event(&proxy, "m1", "").caller("w1"), 1).await;
    origin.wait_for_hits(1).await;
    let enriched = event(&proxy, "m1", r#""ltv":1"#).caller("w1");
    callers.extend(outstanding(&proxy, &enriched, 1).await);
    gate.open();
    assert_one_executed(&read_all(&mut callers).await);
    assert_eq!(origin.hits(), 1);
}

/// The API gets a key that is the same for each delivery, and says nothing of the `messageId`.
#[tokio::test]
async fn the_api_gets_the_same_derived_key_with_each_delivery() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    origin.next(Answer::new(500)).next(Answer::new(429));
    let request = event(&proxy, "m1", "").caller("w1");
    for status in [500, 429, 201] {
        let reply = request.clone().key("of-the-caller").send().await;
        assert_executed(&reply);
        assert_eq!(reply.status, status);
    }
    let sent = origin.requests();
    let keys: Vec<_> = sent.iter().map(|sent| sent.head.all("idempotency-key")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|lines| lines.len() == 1 && *lines == keys[0]), "{keys:?}");
    let key = String::from_utf8_lossy(keys[0][0]).into_owned();
    let digits: Vec<_> = key.split('-').map(str::len).collect();
    assert!(digits == [8, 4, 4, 4, 12] && !key.contains("m1"), "{key}");
    for other in [event(&proxy, "m1", "").caller("w2"), event(&proxy, "m2", "").caller("w1")] {
        assert_executed(&other.send().await);
        assert_ne!(origin.last().header("idempotency-key"), Some(key.as_str()));
    }
}

/// Another start derives another key, unless a file has the secret.
#[tokio::test]
async fn the_derived_key_survives_a_restart_where_a_file_has_the_secret() {
    let origin = Origin::start().await;
    let folder = Folder::new();
    folder.write("oncegate.secret", "s".repeat(32));
    let named = ("# secret_file = ", "secret_file = ");
    for (edits, is_same) in [(&[][..], false), (&[named], true)] {
        let config = folder.edited("chord.toml", edits);
        let mut keys = Vec::new();
        for _ in 0..2 {
            let proxy = Proxy::before(&origin).config(&config).start().await;
            event(&proxy, "m1", "").host("api.example").send().await;
            keys.push(origin.last().header("idempotency-key").map(str::to_owned));
        }
        assert!(keys[0].is_some() && (keys[0] == keys[1]) == is_same, "{keys:?}");
    }
}

#[tokio::test]
async fn an_event_without_a_message_id_passes_as_it_is() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    for body in [r#"{"type":"track"}"#, r#"{"messageId":""}"#, r#"{"messageId":null}"#, "track"] {
        let request = client(&proxy).post(EVENTS).caller("w1").key("k1").body(body);
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2, "{body}");
        assert_eq!(origin.last().header("idempotency-key"), Some("k1"), "it is left alone");
    }
}

#[tokio::test]
async fn everything_else_passes() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    let body = r#"{"messageId":"m1"}"#;
    for (method, path) in [
        ("POST", "/orders"),
        ("POST", "/chord/events/"),
        ("POST", "/chord/events/m1"),
        ("POST", "/api/s/s2s/v1/t"),
        ("PUT", EVENTS),
        ("GET", EVENTS),
    ] {
        let request = client(&proxy).method(method, path).caller("w1").key("k1").body(body);
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2, "{method} {path}");
        assert_eq!(origin.last().header("idempotency-key"), Some("k1"));
    }
    assert_eq!(proxy.access_log(), "", "nothing was a repeat");
}

/// A 409 would be reported as an event that was lost: only one of which nobody knows gets it.
#[tokio::test]
async fn an_event_of_which_nobody_knows_is_never_run_twice() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    origin.next(Act::DropAfterExecuting(How::Close));
    let request = event(&proxy, "m1", "").caller("w1");
    assert_held(&request.clone().send().await, request).await;
    origin.next(Answer::new(504));
    let request = event(&proxy, "m2", "").caller("w1");
    assert_eq!(request.clone().send().await.status, 504);
    assert_problem(&request.send().await, 409, "outcome-unknown");
    assert_eq!(origin.hits(), 2);
}

/// Before Chord's own way in, attempts differ in `sentAt`, and writers in their write key.
#[tokio::test]
async fn what_is_sent_to_chord_is_known_by_writer_and_message_id() {
    let origin = Origin::start().await;
    let proxy = before(&origin, "chord.toml").await;
    for path in ["/api/s/s2s/track", "/api/track"] {
        let send = |target: &str, sent_at: usize, id: &str, more: &str| {
            let body =
                format!(r#"{{"messageId":"{id}","sentAt":"{sent_at}","writeKey":"{more}"}}"#);
            client(&proxy).post(&format!("{path}{target}")).body(body)
        };
        let by_header = |key: &str, sent_at| send("", sent_at, "m1", "").header("X-Write-Key", key);
        let attempts = [by_header("a", 1), by_header("a", 2), by_header("b", 3), by_header("b", 4)];
        assert_eq!(executions(&origin, attempts).await, 2, "{path}");
        let by_query = |key: &str, sent_at| send(&format!("?writekey={key}"), sent_at, "m1", "");
        let attempts = [by_query("a", 1), by_query("a", 2), by_query("b", 3), by_query("b", 4)];
        assert_eq!(executions(&origin, attempts).await, 2, "{path}");
        assert_executed(&send("", 1, "m2", "a").send().await);
        assert_problem(&send("", 2, "m2", "b").send().await, 422, "key-reused");
        assert!(send("", 3, "m2", "a").send().await.is_repeat());
        let without = client(&proxy).post(path).body(r#"{"event":"a"}"#);
        assert_eq!(executions(&origin, [without.clone(), without]).await, 2, "{path}");
    }
}
