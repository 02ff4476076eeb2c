//! Calls and answers that break off never look whole.

use std::time::Duration;

use h2::Reason;

use super::{Call, Client, Grpc, assert_refused, assert_replay, before, message};
use crate::support::{Gate, Origin, Proxy};

const CALL: &str = "/shop.Orders/Place";

/// U4: an answer that breaks off before its trailers is kept from everybody, whatever reason its
/// stream is reset for: even one that is no error.
#[tokio::test]
async fn an_answer_that_breaks_off_is_never_replayed() {
    let reasons = [
        Reason::NO_ERROR,
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::REFUSED_STREAM,
        Reason::ENHANCE_YOUR_CALM,
    ];
    let origin = Grpc::start(move |mut call: Call| async move {
        call.rest().await;
        let mut words = call.path.trim_start_matches('/').split('/');
        let reason = reasons[words.next().and_then(|word| word.parse().ok()).unwrap_or(0_usize)];
        let shape = words.next().map(str::to_owned);
        let mut answering = call.begin();
        match shape.as_deref() {
            Some("message") => answering.message("reply"),
            Some("part") => answering.bytes(message("reply")[..7].to_vec()),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answering.reset(reason);
    })
    .await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for number in 0..reasons.len() {
        for shape in ["header", "part", "message"] {
            let path = format!("/{number}/{shape}");
            let first = client.call(&path).key("k").send("order").await;
            assert_refused(&first, 2, "upstream-broken");
            let repeat = client.call(&path).key("k").send("order").await;
            assert_refused(&repeat, 9, "outcome-unknown");
            assert_eq!(origin.calls(&path), 1, "{path}");
        }
    }
}

/// U4: the same of an answer that is passed on: its caller sees that it is cut.
#[tokio::test]
async fn a_passed_answer_that_breaks_off_is_seen_to() {
    let gate = Gate::shut();
    let seen = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            call.rest().await;
            let mut answering = call.begin();
            answering.message("1");
            // A reset may overtake what was sent before it.
            seen.passed().await;
            answering.reset(Reason::NO_ERROR);
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let mut open = Client::to(&proxy).await.call(CALL).open().await;
    open.message("order");
    open.end();
    let (mut begun, _stream) = open.begun().await;
    assert_eq!(begun.message().await, b"1");
    gate.open();
    let answer = begun.whole().await;
    assert!(answer.reset.is_some_and(|reason| reason != Reason::NO_ERROR), "{answer:?}");
}

/// C2: a call that is taken back before its end is not made, whatever reason its stream is reset
/// for, even when its message is whole.
#[tokio::test]
async fn a_call_that_is_taken_back_is_not_made() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        for length in [0, 3, 8, message("order").len()] {
            let mut open = client.call(CALL).key("cut").open().await;
            open.bytes(&message("order")[..length]);
            // What is taken back has come, or it would never be sent.
            tokio::time::sleep(Duration::from_millis(20)).await;
            open.reset(reason);
        }
    }
    // All of them were looked at before this one.
    let answer = client.call(CALL).key("k1").send("order").await;
    assert_eq!(answer.texts(), ["reply 1"]);
    assert_replay(&answer, &client.call(CALL).key("k1").send("order").await);
    assert_eq!(origin.calls(CALL), 1);
}

/// C2: the same of requests that are no calls, with a checksum for a key, and of such that pass.
#[tokio::test]
async fn a_request_that_is_taken_back_is_never_whole() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        for key in [None, Some("k1")] {
            let request = client.call("/charges").field("content-type", "text/plain");
            let request = if let Some(key) = key { request.key(key) } else { request };
            let mut open = request.open().await;
            open.bytes(b"amount=1");
            // The beginning has come by the time at which the rest is taken back.
            tokio::time::sleep(Duration::from_millis(20)).await;
            open.reset(reason);
        }
    }
    let mut passed = client.call("/charges").open().await;
    passed.bytes(b"amount=1");
    origin.wait_for_heads(1).await;
    passed.reset(Reason::NO_ERROR);
    let request = client.call("/other").field("content-type", "text/plain");
    assert_eq!(request.send_bytes(b"amount=2".to_vec()).await.status, 201);
    assert_eq!(origin.executions("POST /charges amount=1"), 0);
    assert_eq!(origin.hits(), 1);
}

/// C1: a caller that takes its call back after its end stops nothing, and finds the answer.
#[tokio::test]
async fn a_call_goes_on_when_its_caller_has_left() {
    let gate = Gate::shut();
    let shut = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let gate = shut.clone();
        async move {
            call.rest().await;
            gate.passed().await;
            call.answer("reply", "0");
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call(CALL).key("k1").open().await;
    open.message("order");
    open.end();
    origin.wait_for_calls(CALL, 1).await;
    open.reset(Reason::CANCEL);
    gate.open();
    let repeat = client.call(CALL).key("k1").send("order").await;
    assert_eq!((repeat.texts(), repeat.code()), (vec!["reply".to_owned()], Some("0")));
    assert!(repeat.headers.contains_key("duplicate-request"), "{repeat:?}");
    assert_eq!(origin.calls(CALL), 1);
}
