//! The test harness itself: what it counts, what it breaks, and what it notices.
//!
//! What is written by hand, and answers that end with their connection, are for HTTP/1.1 alone.

use crate::support::{Act, Answer, Client, Ending, Gate, How, Origin, every_protocol};

every_protocol! {
    the_ledger_counts_executions_of_each_operation,
    faults_before_an_answer_are_seen_as_no_answer,
    a_gate_holds_an_answer_until_it_opens,
    an_origin_that_stopped_refuses_and_comes_back,
    idle_connections_are_closed_on_demand,
}

async fn the_ledger_counts_executions_of_each_operation() {
    let origin = Origin::start().await;
    let client = Client::of(origin.addr);
    let mut connection = client.connect().await;
    let one = client.post("/charges").caller("a").body(r#"{"op":"charge-1"}"#);
    let two = client.post("/charges").body(r#"{"op":"charge-2"}"#).chunked(3);
    let first = one.clone().send_on(&mut connection).await;
    let again = one.send_on(&mut connection).await;
    two.send().await;
    assert_eq!(first.json()["execution"], 1);
    assert_eq!(again.json()["execution"], 2);
    assert_eq!(again.json()["caller"], "Bearer a");
    assert_eq!((origin.executions("charge-1"), origin.executions("charge-2")), (2, 1));
    assert_eq!((origin.hits(), origin.connections(), origin.executions_max()), (3, 2, 2));
    assert_eq!(origin.last().body, br#"{"op":"charge-2"}"#);
}

#[tokio::test]
async fn a_cut_answer_is_seen_as_cut_and_a_whole_one_as_whole() {
    let origin = Origin::start().await;
    let client = Client::of(origin.addr);
    let whole = Answer::new(200).body("0123456789");
    let cut = |answer: Answer, how| answer.cut_after(4, how);
    origin.next(whole.clone()).next(whole.clone().chunked()).next(whole.clone().until_close());
    for ending in [Ending::Complete, Ending::Complete, Ending::Closed] {
        let reply = client.post("/").send().await;
        assert_eq!((reply.text().as_str(), reply.ending), ("0123456789", ending));
    }
    origin.next(cut(whole.clone(), How::Close)).next(cut(whole.clone().chunked(), How::Close));
    for _ in 0..2 {
        let reply = client.post("/").send().await;
        assert_eq!((reply.text().as_str(), reply.ending), ("0123", Ending::Cut));
    }
    origin.next(cut(whole.until_close(), How::Reset));
    assert_eq!(client.post("/").send().await.ending, Ending::Cut);
}

async fn faults_before_an_answer_are_seen_as_no_answer() {
    let origin = Origin::start().await;
    let client = Client::of(origin.addr);
    origin.reset_next_connections(1);
    assert!(client.post("/").try_send().await.is_err());
    assert_eq!((origin.heads(), origin.hits()), (0, 0));
    origin.next(Act::DropAfterHead(How::Close));
    assert!(client.post("/").try_send().await.is_err());
    assert_eq!((origin.heads(), origin.hits()), (1, 0));
    origin.next(Act::DropAfterExecuting(How::Reset));
    assert!(client.post("/").try_send().await.is_err());
    assert_eq!((origin.heads(), origin.hits()), (2, 1));
}

async fn a_gate_holds_an_answer_until_it_opens() {
    let origin = Origin::start().await;
    let (gate, late) = (Gate::shut(), Gate::shut());
    let answer = Answer::new(200).chunked().body("a").body_after(&late, "b");
    origin.next(Act::Answer(answer).after(&gate));
    let mut connection = Client::of(origin.addr).post("/").open().await;
    origin.wait_for_hits(1).await;
    gate.open();
    late.open();
    assert_eq!(connection.read().await.text(), "ab");
}

#[tokio::test]
async fn interim_answers_are_kept_apart_from_the_final_one() {
    let origin = Origin::start().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    origin.next(Answer::new(200).preceded_by(hint).header("X-Bytes", b"\xff").body("done"));
    let reply = Client::of(origin.addr).get("/").send().await;
    assert_eq!((reply.interim.len(), reply.text().as_str()), (1, "done"));
    assert_eq!(reply.headers("x-bytes"), [b"\xff"]);
}

async fn an_origin_that_stopped_refuses_and_comes_back() {
    let mut origin = Origin::start().await;
    let addr = origin.addr;
    Client::of(addr).post("/").send().await;
    origin.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    let origin = Origin::at(addr).await;
    Client::of(addr).post("/").send().await;
    assert_eq!(origin.hits(), 1);
}

async fn idle_connections_are_closed_on_demand() {
    let origin = Origin::start().await;
    let client = Client::of(origin.addr);
    let mut connection = client.connect().await;
    client.post("/").send_on(&mut connection).await;
    origin.close_idle();
    assert_eq!(connection.rest().await, (Vec::new(), Ending::Closed));
}
