//! `examples/webhooks.toml`: each sender's events run once, however often they are sent.

use std::time::{Duration, Instant};

use super::senders::{SENDERS, Sender};
use super::{before, executions};
use crate::support::{
    Act, Answer, Folder, Gate, How, Origin, Proxy, assert_executed, assert_one_executed,
    assert_problem, assert_replay, assert_same_answer, client, outstanding, read_all,
};

const CONFIG: &str = "webhooks.toml";

/// An instance whose repeats wait longer than any machine is slow.
async fn patient(origin: &Origin) -> Proxy {
    let folder = Folder::new();
    let waits = ["2s", "4s", "9s", "14s"].map(|wait| format!("wait = \"{wait}\""));
    let edits = waits.each_ref().map(|wait| (wait.as_str(), "wait = \"60s\""));
    let config = folder.edited(CONFIG, &edits);
    Proxy::before(origin).config(config).start().await
}

#[tokio::test]
async fn an_event_runs_once_however_its_attempts_differ() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for sender in &SENDERS {
        let hits = origin.hits();
        let first = sender.attempt(&proxy, "e1", 1).send().await;
        for number in 2..5 {
            assert_replay(&first, &sender.attempt(&proxy, "e1", number).send().await);
        }
        assert_executed(&sender.attempt(&proxy, "e2", 1).send().await);
        assert_eq!(origin.hits() - hits, 2, "{}", sender.name);
    }
}

/// Such as a 400 for a forged delivery, which must not stick to the id of the true one.
#[tokio::test]
async fn only_a_success_is_kept() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for sender in &SENDERS {
        let hits = origin.hits();
        for status in [400, 403, 404, 422, 302, 500, 503] {
            origin.next(Answer::new(status));
            let failed = sender.attempt(&proxy, "e1", 1).send().await;
            assert_eq!(failed.status, status, "{}", sender.name);
            assert_executed(&failed);
        }
        origin.next(Answer::new(200).body("ok"));
        let first = sender.attempt(&proxy, "e1", 2).send().await;
        assert_replay(&first, &sender.attempt(&proxy, "e1", 3).send().await);
        assert_eq!(origin.hits() - hits, 8, "{}", sender.name);
    }
}

#[tokio::test]
async fn deliveries_at_the_same_time_are_one() {
    let origin = Origin::start().await;
    let proxy = patient(&origin).await;
    for sender in &SENDERS {
        let (hits, gate) = (origin.hits(), Gate::shut());
        origin.next(Act::Ledger.after(&gate));
        let mut callers = Vec::new();
        for number in 1..4 {
            let attempt = sender.attempt(&proxy, "e1", number);
            callers.extend(outstanding(&proxy, &attempt, 1).await);
        }
        origin.wait_for_hits(hits + 1).await;
        gate.open();
        assert_one_executed(&read_all(&mut callers).await);
        assert_eq!(origin.hits(), hits + 1, "{}", sender.name);
    }
}

#[tokio::test]
async fn a_delivery_that_was_given_up_goes_on() {
    let origin = Origin::start().await;
    let proxy = patient(&origin).await;
    for sender in &SENDERS {
        let (hits, gate) = (origin.hits(), Gate::shut());
        origin.next(Act::Ledger.after(&gate));
        let given_up = sender.attempt(&proxy, "e1", 1).open().await;
        origin.wait_for_hits(hits + 1).await;
        drop(given_up);
        let mut next = sender.attempt(&proxy, "e1", 2).open().await;
        proxy.has_read_all().await;
        gate.open();
        let answer = next.read().await;
        assert_eq!((answer.status, answer.is_repeat()), (201, true), "{}", sender.name);
        assert_eq!(origin.hits(), hits + 1, "{}", sender.name);
    }
}

/// Where it is not known, an event does not run again; with Shopify it does, so as not to lose the
/// subscription.
#[tokio::test]
async fn what_may_have_been_processed_is_held_but_for_shopify() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let unknown = [
        Act::Answer(Answer::new(502)),
        Act::Answer(Answer::new(504)),
        Act::DropAfterExecuting(How::Close),
    ];
    for sender in &SENDERS {
        for (number, act) in unknown.iter().enumerate() {
            let hits = origin.hits();
            origin.next(act.clone());
            let event = format!("e{number}");
            let failed = sender.attempt(&proxy, &event, 1).send().await;
            assert!(failed.status == 502 || failed.status == 504, "{failed:?}");
            let next = sender.attempt(&proxy, &event, 2).send().await;
            if sender.name == "shopify" {
                assert_executed(&next);
                assert_eq!(origin.hits() - hits, 2);
            } else {
                assert_problem(&next, 409, "outcome-unknown");
                assert_eq!(origin.hits() - hits, 1, "{}", sender.name);
            }
        }
    }
}

#[tokio::test]
async fn what_has_no_id_passes() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for sender in &SENDERS {
        let request = sender.request(&proxy).body("{}");
        assert_eq!(executions(&origin, [request.clone(), request]).await, 2, "{}", sender.name);
    }
    let slack = Sender::named("slack").request(&proxy);
    let question = r#"{"type":"url_verification","token":"t","challenge":"c"}"#;
    origin.next(Answer::new(200).body("c")).next(Answer::new(200).body("c"));
    for _ in 0..2 {
        let reply = slack.clone().body(question).send().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "c"));
        assert_executed(&reply);
    }
    let form = "application/x-www-form-urlencoded";
    let command = client(&proxy).post("/webhooks/slack/events").header("Content-Type", form);
    let command = command.body("command=%2Fweather&text=94070");
    assert_eq!(executions(&origin, [command.clone(), command]).await, 2);
    let get = client(&proxy).get("/webhooks/twilio/voice?CallSid=CA1");
    let get = get.header("I-Twilio-Idempotency-Token", "e1");
    assert_eq!(executions(&origin, [get.clone(), get]).await, 2);
    let other = client(&proxy).post("/orders").key("k1").body("{}");
    assert_eq!(executions(&origin, [other.clone(), other]).await, 2);
}

/// Credentials where there are some, and a path for each sender.
#[tokio::test]
async fn senders_that_can_be_told_apart_do_not_meet() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let attempt = |name| Sender::named(name).attempt(&proxy, "e1", 1);
    let by = |token: &str| attempt("gitlab").header("X-Gitlab-Token", token);
    assert_eq!(executions(&origin, [by("a"), by("b"), by("a"), attempt("gitlab")]).await, 3);
    for name in ["github", "stripe", "twilio", "shopify"] {
        let by = |user: &str| attempt(name).header("Authorization", format!("Basic {user}"));
        assert_eq!(executions(&origin, [by("YTpi"), by("Yzpk"), by("YTpi")]).await, 2, "{name}");
    }
    let of = |sender: &str| {
        let post = client(&proxy).post(&format!("/webhooks/standard/{sender}"));
        post.header("webhook-id", "msg_1").body("{}")
    };
    assert_eq!(executions(&origin, [of("a"), of("b"), of("a")]).await, 2);
    let both = of("c").header("svix-id", "msg_2");
    assert_eq!(executions(&origin, [of("c"), both]).await, 1, "the first name counts");
}

/// All senders to one path are one caller: little can go wrong with an "ok", but a cookie might.
#[tokio::test]
async fn a_repeat_never_gets_a_cookie() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    for sender in &SENDERS {
        origin.next(Answer::new(200).header("Set-Cookie", "sid=1").body("<Response/>"));
        let first = sender.attempt(&proxy, "e1", 1).send().await;
        assert_eq!(first.header("set-cookie"), Some("sid=1"));
        let repeat = sender.attempt(&proxy, "e1", 2).send().await;
        assert!(repeat.is_repeat() && !repeat.has("set-cookie"), "{}: {repeat:?}", sender.name);
        assert_eq!(repeat.text(), "<Response/>", "a repeat must get what the first got");
    }
}

/// Those that send much are guarded up to what they may send.
#[tokio::test]
async fn large_deliveries_of_github_and_gitlab_are_guarded() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    origin.always(Answer::new(200).body("ok"));
    let body = format!(r#"{{"commits":"{}"}}"#, "x".repeat(9 << 20));
    for name in ["github", "gitlab"] {
        let attempt = |number| Sender::named(name).attempt(&proxy, "large", number).body(&body);
        let first = attempt(1).send().await;
        let repeat = attempt(2).send().await;
        assert_same_answer(&first, &repeat);
        assert!(repeat.is_repeat(), "{name}");
    }
    assert_eq!(origin.hits(), 2);
}

/// Slack waits for 3 s: what is left of them is enough to say that the event is being processed.
#[tokio::test]
async fn slack_hears_of_progress_before_it_gives_up() {
    let origin = Origin::start().await;
    let proxy = before(&origin, CONFIG).await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let slack = Sender::named("slack");
    let mut first = slack.attempt(&proxy, "e1", 1).open().await;
    origin.wait_for_hits(1).await;
    let before = Instant::now();
    assert_problem(&slack.attempt(&proxy, "e1", 2).send().await, 409, "in-progress");
    assert!(before.elapsed() >= Duration::from_secs(2), "it waits as long as it can");
    gate.open();
    assert_replay(&first.read().await, &slack.attempt(&proxy, "e1", 3).send().await);
}
