//! Streaming calls go on as they come, with a key or without; what is one is seen on the wire. With
//! a key, they run once, and a repeat is told that there is no answer to replay.

use std::time::Duration;

use h2::Reason;

use super::{Call, Client, Grpc, assert_refused, assert_replay, before, texts};
use crate::support::Gate;

/// A server that answers each message with the same, as it comes.
async fn echo() -> Grpc {
    Grpc::start(async |mut call: Call| {
        let mut answering = call.begin();
        while let Some(message) = call.message().await {
            answering.message(&String::from_utf8_lossy(&message));
        }
        answering.end("0");
    })
    .await
}

/// A server that answers a first message, and `rest` of it once the gate is open.
async fn feed(gate: &Gate, rest: usize) -> Grpc {
    let gate = gate.clone();
    Grpc::start(move |mut call: Call| {
        let gate = gate.clone();
        async move {
            call.rest().await;
            let mut answering = call.begin();
            answering.message("event 0");
            if call.path == "/two" {
                answering.message("event 1");
            }
            gate.passed().await;
            for number in 0..rest {
                answering.message(&format!("late {number}"));
            }
            answering.end("0");
        }
    })
    .await
}

/// A call whose second message begins is a stream: it goes both ways as it comes. Its key counts:
/// a repeat is not sent.
#[tokio::test]
async fn a_call_of_several_messages_goes_on_as_it_comes() {
    let origin = echo().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call("/chat").key("k1").open().await;
    open.message("a");
    open.message("b");
    let (mut begun, mut stream) = open.begun().await;
    assert_eq!(begun.message().await, b"a");
    assert_eq!(begun.message().await, b"b");
    for text in ["c", "d"] {
        stream.send_data(super::message(text).into(), false).expect("the proxy takes it");
        assert_eq!(begun.message().await, text.as_bytes());
    }
    stream.send_data(super::message("e").into(), true).expect("the proxy takes it");
    let answer = begun.whole().await;
    assert_eq!((answer.texts().pop(), answer.code()), (Some("e".to_owned()), Some("0")));
    assert_eq!(answer.protection(), None);
    let mut open = client.call("/chat").key("k1").open().await;
    open.message("a");
    open.message("x");
    let (begun, _stream) = open.begun().await;
    assert_refused(&begun.whole().await, 9, "answer-not-kept");
    assert_eq!(origin.calls("/chat"), 1);
}

/// A call whose only message is there, but not its end, is a stream that waits for its answer.
#[tokio::test]
async fn a_call_that_does_not_end_goes_on() {
    let origin = echo().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call("/chat").key("k1").open().await;
    open.message("a");
    let (mut begun, mut stream) = open.begun().await;
    assert_eq!(begun.message().await, b"a");
    stream.send_data(super::message("b").into(), true).expect("the proxy takes it");
    assert_eq!(begun.message().await, b"b");
    let answer = begun.whole().await;
    assert_eq!((answer.protection(), answer.code()), (None, Some("0")));
}

/// A call whose end is late is one operation with those whose end is not, whichever comes first.
#[tokio::test]
async fn a_late_end_runs_nothing_again() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for _ in 0..2 {
        let mut open = client.call("/place").key("k1").open().await;
        open.message("order");
        // The key is taken before the end has come.
        origin.wait_for_calls("/place", 1).await;
        open.end();
        let (begun, _stream) = open.begun().await;
        begun.whole().await;
    }
    let repeat = client.call("/place").key("k1").send("order").await;
    assert_refused(&repeat, 9, "answer-not-kept");
    assert_eq!(origin.calls("/place"), 1);
}

/// Without a key, nothing is waited for, in either way.
#[tokio::test]
async fn a_call_without_a_key_passes_from_its_first_byte() {
    let origin = echo().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    // The header of the answer comes before the first message has gone.
    let (mut begun, mut stream) = client.call("/chat").open().await.begun().await;
    assert_eq!(texts(&begun.headers, "duplicate-protection"), ["none; reason=\\\"key-missing\\\""]);
    stream.send_data(super::message("a").into(), false).expect("the proxy takes it");
    assert_eq!(begun.message().await, b"a");
    stream.send_data(super::message("b").into(), true).expect("the proxy takes it");
    let answer = begun.whole().await;
    assert_eq!((answer.texts(), answer.code()), (vec!["b".to_owned()], Some("0")));
}

/// Whoever takes a stream back, takes it back from the server.
#[tokio::test]
async fn a_stream_that_is_taken_back_ends_at_the_server() {
    let gate = Gate::shut();
    let seen = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            let mut answering = call.begin();
            answering.message("event");
            answering.is_reset().await;
            seen.open();
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call("/chat").key("k1").open().await;
    open.message("a");
    open.message("b");
    let (mut begun, mut stream) = open.begun().await;
    assert_eq!(begun.message().await, b"event");
    stream.send_reset(Reason::CANCEL);
    drop(begun);
    crate::support::within("the server to see it", gate.passed()).await;
}

/// U17: an answer of several messages is a stream: its first caller gets it as it comes, whether
/// it has a key or not, and with one, a repeat gets nothing and starts nothing.
#[tokio::test]
async fn an_answer_of_several_messages_comes_as_it_is_sent() {
    let gate = Gate::shut();
    let origin = feed(&gate, 2).await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut begun = Vec::new();
    for (key, calls) in [(None, 1), (Some("k1"), 2)] {
        let call = client.call("/two");
        let call = if let Some(key) = key { call.key(key) } else { call };
        let mut open = call.open().await;
        open.message("subscribe");
        open.end();
        let (mut answer, stream) = open.begun().await;
        assert_eq!(answer.message().await, b"event 0");
        assert_eq!(answer.message().await, b"event 1");
        assert_eq!(origin.calls("/two"), calls);
        begun.push((answer, stream));
    }
    let repeat = client.call("/two").key("k1").send("subscribe").await;
    assert_refused(&repeat, 9, "answer-not-kept");
    gate.open();
    for (answer, _stream) in begun {
        let answer = answer.whole().await;
        assert_eq!(
            (answer.texts(), answer.code()),
            (vec!["late 0".into(), "late 1".into()], Some("0"))
        );
    }
    assert_eq!(origin.calls("/two"), 2);
}

/// U17: an answer whose message is whole, but which does not end, is a stream, too.
#[tokio::test]
async fn an_answer_that_does_not_end_comes_as_it_is_sent() {
    let gate = Gate::shut();
    let origin = feed(&gate, 1).await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call("/one").key("k1").open().await;
    open.message("subscribe");
    open.end();
    let (mut begun, _stream) = open.begun().await;
    assert_eq!(begun.message().await, b"event 0");
    let repeat = client.call("/one").key("k1").send("subscribe").await;
    assert_refused(&repeat, 9, "answer-not-kept");
    gate.open();
    let answer = begun.whole().await;
    assert_eq!((answer.texts(), answer.code()), (vec!["late 0".to_owned()], Some("0")));
    assert_eq!(origin.calls("/one"), 1);
}

/// U17: a caller that leaves a stream does not free its key.
#[tokio::test]
async fn a_stream_that_is_left_does_not_free_its_key() {
    let gate = Gate::shut();
    let origin = feed(&gate, 1).await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut open = client.call("/two").key("k1").open().await;
    open.message("subscribe");
    open.end();
    let (mut begun, mut stream) = open.begun().await;
    assert_eq!(begun.message().await, b"event 0");
    stream.send_reset(Reason::CANCEL);
    drop(begun);
    let repeat = client.call("/two").key("k1").send("subscribe").await;
    assert_refused(&repeat, 9, "answer-not-kept");
    gate.open();
    assert_eq!(origin.calls("/two"), 1);
}

/// A repeat of which only the end is late is not taken for a stream: its key is known.
#[tokio::test]
async fn a_late_end_of_a_repeat_starts_nothing() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let first = client.call("/place").key("k1").send("order").await;
    let mut open = client.call("/place").key("k1").open().await;
    open.message("order");
    let (begun, _stream) = open.begun().await;
    assert_replay(&first, &begun.whole().await);
    // Nor is one with another message, or more of them.
    let mut open = client.call("/place").key("k1").open().await;
    open.message("order");
    open.message("and another");
    let (begun, _stream) = open.begun().await;
    assert_refused(&begun.whole().await, 3, "key-reused");
    assert_eq!(origin.calls("/place"), 1);
}

/// An end that comes in time makes a call a unary one, in whichever frame it stands.
#[tokio::test]
async fn an_end_that_comes_a_moment_later_is_in_time() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let mut open = client.call("/place").key("k1").open().await;
        open.message("order");
        tokio::time::sleep(Duration::from_millis(50)).await;
        open.end();
        answers.push(open.answer().await);
    }
    assert_replay(&answers[0], &answers[1]);
    assert_eq!((answers[0].protection(), origin.calls("/place")), (None, 1));
}
