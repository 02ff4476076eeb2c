//! Unary calls: one execution for each key, and one answer with its trailers.

use super::{Call, Client, Grpc, assert_replay, assert_same, before, message, texts};
use crate::support::{
    Act, Answer, Gate, Origin, Proxy, assert_replay as assert_http_replay, client, problem_of,
};

const CALL: &str = "/shop.Orders/Place";

/// A repeat gets the first answer: initial metadata, message, trailers, line by line.
#[tokio::test]
async fn a_repeat_gets_the_first_answer_with_its_trailers() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let first = client.call(CALL).key("k1").send("order 1").await;
    assert_eq!((first.texts(), first.code()), (vec!["reply 1".to_owned()], Some("0")));
    let trailers = first.trailers.as_ref().expect("trailers");
    assert_eq!(texts(trailers, "grpc-message"), ["a%20message"]);
    assert_eq!(texts(trailers, "x-trailing"), ["1", "2"]);
    assert_eq!(texts(trailers, "x-trailing-bytes"), ["\\xfe\\xff"]);
    assert_eq!(texts(&first.headers, "x-bytes"), ["\\xff\\xfe"]);
    assert_eq!(texts(&first.headers, "content-length"), [""; 0]);
    for client in [client, Client::to(&proxy).await] {
        let repeat = client.call(CALL).key("k1").send("order 1").await;
        assert_replay(&first, &repeat);
    }
    assert_eq!(origin.calls(CALL), 1);
    let other = Client::to(&proxy).await.call(CALL).key("k2").send("order 1").await;
    assert_eq!(other.texts(), ["reply 2"]);
}

/// The server is called as its client has called the proxy, with one length, and asked for
/// messages that everybody can read.
#[tokio::test]
async fn a_guarded_call_reaches_the_server_whole() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let call = client.call(CALL).key("k1").field("grpc-timeout", "10S").field("x-meta", "1");
    let call = call.field("x-meta", "2").field("grpc-accept-encoding", "gzip,identity");
    let bytes = message("order 1");
    assert_eq!(call.send_bytes(bytes.clone()).await.code(), Some("0"));
    let headers = origin.last(CALL);
    assert_eq!(texts(&headers, "content-type"), ["application/grpc"]);
    assert_eq!(texts(&headers, "te"), ["trailers"]);
    assert_eq!(texts(&headers, "x-meta"), ["1", "2"]);
    assert_eq!(texts(&headers, "grpc-timeout"), ["900S"]);
    assert_eq!(texts(&headers, "grpc-accept-encoding"), ["identity"]);
    assert_eq!(texts(&headers, "content-length"), [bytes.len().to_string()]);
    assert_eq!(texts(&headers, "idempotency-key"), ["k1"]);
}

/// K1: simultaneous repeats are one call.
#[tokio::test]
async fn simultaneous_calls_with_one_key_are_one() {
    let gate = Gate::shut();
    let shut = gate.clone();
    let origin = Grpc::start(move |mut call: Call| {
        let gate = shut.clone();
        async move {
            call.rest().await;
            gate.passed().await;
            let reply = format!("reply {}", call.number);
            call.answer(&reply, "0");
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let client = Client::to(&proxy).await;
        let call = async move { client.call(CALL).key("k1").send("order 1").await };
        calls.spawn(call);
        if number == 0 {
            origin.wait_for_calls(CALL, 1).await;
        }
    }
    gate.open();
    let answers = calls.join_all().await;
    assert_eq!(origin.calls(CALL), 1);
    for answer in &answers {
        assert_same(&answers[0], answer);
        assert_eq!((answer.texts(), answer.code()), (vec!["reply 1".to_owned()], Some("0")));
    }
    let is_repeat = |answer: &&super::Answer| answer.headers.contains_key("duplicate-request");
    assert_eq!(answers.iter().filter(is_repeat).count(), 19);
}

/// A call that has no key in its header passes, and is told so: no checksum makes it one.
#[tokio::test]
async fn calls_without_a_key_pass() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    for number in 1..=2 {
        let answer = client.call(CALL).send("order 1").await;
        assert_eq!((answer.texts(), answer.code()), (vec![format!("reply {number}")], Some("0")));
        assert_eq!(answer.protection(), Some("none; reason=\"key-missing\""));
    }
    assert_eq!(texts(&origin.last(CALL), "te"), ["trailers"]);
}

/// A key in the body is none for a call, whose body is messages; one in its header after that is.
#[tokio::test]
async fn a_key_is_found_behind_sources_in_the_body() {
    let origin = Grpc::counting().await;
    let config = "[defaults]\nkey = [\"json:/id\", \"header:X-Call\", \"checksum\"]\n";
    let proxy = before(&origin).toml(config).start().await;
    let client = Client::to(&proxy).await;
    let call = || client.call(CALL).field("content-type", "application/grpc+json");
    let first = call().field("x-call", "c1").send("{\"id\":1}").await;
    assert_replay(&first, &call().field("x-call", "c1").send("{\"id\":1}").await);
    for _ in 0..2 {
        let answer = call().send("{\"id\":2}").await;
        assert_eq!(answer.protection(), Some("none; reason=\"key-missing\""));
    }
    assert_eq!(origin.calls(CALL), 3);
}

/// However a message is cut into frames, it is the same one; and what is no message at all is
/// guarded as what it is.
#[tokio::test]
async fn bodies_are_guarded_however_they_come() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let bodies = [message("order 1"), message(""), Vec::new(), vec![2; 9], vec![0; 4]];
    for (number, body) in bodies.iter().enumerate() {
        let call = || client.call(CALL).key(&format!("k{number}"));
        let first = call().send_bytes(body.clone()).await;
        assert_eq!(first.texts(), [format!("reply {}", number + 1)]);
        let mut open = call().open().await;
        for byte in body {
            open.bytes(&[*byte]);
            open.bytes(&[]);
        }
        open.end();
        assert_replay(&first, &open.answer().await);
    }
    assert_eq!(origin.calls(CALL), bodies.len());
}

/// gRPC-Web is plain HTTP: without a key, a checksum is one.
#[tokio::test]
async fn grpc_web_is_guarded_as_any_request() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let client = Client::to(&proxy).await;
    let call = || client.call(CALL).field("content-type", "application/grpc-web+proto");
    let first = call().send("order 1").await;
    assert_replay(&first, &call().send("order 1").await);
    assert_eq!(origin.calls(CALL), 1);
}

/// One key is one operation by whichever version it comes; HTTP/1 has no trailers behind an
/// answer of a known length.
#[tokio::test]
async fn a_repeat_over_http_1_gets_the_answer_without_trailers() {
    let origin = Grpc::counting().await;
    let proxy = before(&origin).start().await;
    let first = Client::to(&proxy).await.call(CALL).key("k1").send("order 1").await;
    let call = client(&proxy).post(CALL).key("k1").header("Content-Type", "application/grpc");
    let call = call.header("TE", "trailers").host(&proxy.addr().to_string());
    let repeat = call.body(message("order 1")).send().await;
    assert!(repeat.is_repeat(), "{repeat:?}");
    assert_eq!(repeat.body, message("reply 1"));
    assert_eq!(repeat.header("content-length"), Some("12"));
    assert!(!repeat.has("transfer-encoding") && !repeat.has("grpc-status"), "{repeat:?}");
    assert_eq!((first.code(), origin.calls(CALL)), (Some("0"), 1));
}

/// Trailers of a chunked answer are kept, too, but for what has no place there; and they reach
/// whoever can be told of them.
#[tokio::test]
async fn trailers_of_chunked_answers_are_kept() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.always(Act::Answer(Answer::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         2\r\nab\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=1\r\nContent-Length: 9\r\n\
         Oncegate-Keep: no\r\nX-Sum: 2\r\n\r\n",
    )));
    let http1 = client(&proxy).post("/charges").key("k1").body("10");
    let first = http1.clone().send().await;
    assert_eq!(first.body, b"ab");
    assert_http_replay(&first, &http1.send().await);
    let call = Client::to(&proxy).await.call("/charges").key("k2");
    let call = call.field("content-type", "text/plain");
    let answer = call.send_bytes(b"10".to_vec()).await;
    let trailers = answer.trailers.expect("trailers");
    assert_eq!(
        (answer.left, texts(&trailers, "x-sum")),
        (b"ab".to_vec(), vec!["1".into(), "2".into()])
    );
    assert_eq!(trailers.len(), 2, "{trailers:?}");
    assert_eq!(origin.hits(), 2);
    assert_eq!(problem_of(&first), None);
}
