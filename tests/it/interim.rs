//! U10: interim answers go ahead of the final one of their own request, and nowhere else.
//!
//! Callers in HTTP/2 are told none, so that what they see is for HTTP/1.1 callers alone; so is all
//! that an upstream writes by hand.

use crate::support::{
    Act, Answer, Connection, Exchange, Gate, How, Origin, Peer, Proxy, Reply, assert_executed,
    assert_problem, assert_replay, client, every_way, every_way_in, memory, none_connected_to,
    outstanding, read_all,
};

every_way! { repeats_see_no_hints }

every_way_in! { the_upstream_does_not_tell_callers_to_continue }

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 Fine\r\nContent-Length: 4\r\n\r\ndone";

#[track_caller]
fn assert_interim(reply: &Reply, count: usize) {
    assert_eq!(reply.interim.len(), count, "{reply:?}: {:?}", reply.interim);
}

/// A request that has reached the upstream, guarded or not.
async fn asked(proxy: &Proxy, peer: &Peer, key: Option<&str>) -> (Connection, Exchange) {
    let method = if key.is_some() { "POST" } else { "GET" };
    let caller = client(proxy).method(method, "/charges").key_if(key).open().await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    (caller, exchange)
}

/// A hint is of use only before the answer: it does not wait for it.
#[tokio::test]
async fn a_hint_comes_before_the_answer_is_there() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    for key in [Some("k1"), None] {
        let (mut caller, mut exchange) = asked(&proxy, &peer, key).await;
        for _ in 0..3 {
            exchange.write(HINT).await;
        }
        caller.sees(HINT.replace("Link", "link").repeat(3).as_bytes()).await;
        exchange.write(FINAL).await;
        let reply = caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
        assert_interim(&reply, 3);
        assert_eq!(reply.interim[0].first("link"), Some("</a>"));
        exchange.close(How::Close);
        none_connected_to(peer.addr).await;
    }
}

/// Interim answers carry no framing, nothing of the connection, and no marks of the proxy's.
#[tokio::test]
async fn hints_are_cleaned_like_answers() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b\u{e9}>\r\nContent-Length: 5\r\n\
                Transfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
                Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nDuplicate-Request: true\r\n\
                Duplicate-Key: mine\r\nIdempotent-Replayed: true\r\n\r\n";
    for key in [Some("k1"), None] {
        let (mut caller, mut exchange) = asked(&proxy, &peer, key).await;
        exchange.write(hint).await;
        caller.sees(b"</a>").await;
        exchange.write(FINAL).await;
        exchange.close(How::Close);
        none_connected_to(peer.addr).await;
        let reply = caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
        assert_interim(&reply, 1);
        assert_eq!(reply.interim[0].all("link").len(), 2);
        let names: Vec<_> = reply.interim[0].lines.iter().map(|line| &line.name).collect();
        assert_eq!(names.len(), 2, "nothing else is passed on: {names:?}");
    }
}

/// `100 Continue` is the proxy's to say, and it has said it; `101` is no interim answer.
async fn the_upstream_does_not_tell_callers_to_continue() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.always(Answer::new(200).preceded_by("HTTP/1.1 100 Continue\r\n\r\n".repeat(3)));
    for request in [client(&proxy).post("/a").key("k1").body("10"), client(&proxy).get("/a")] {
        assert_interim(&request.send().await, 0);
    }
}

/// Who waits for another's work, or asks again, is told the answer alone.
async fn repeats_see_no_hints() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    let answer = Answer::new(200).hint(103, "Link", "</a>").body("done");
    origin.next(Act::Answer(answer).after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut leader = request.clone().open().await;
    origin.wait_for_hits(1).await;
    let mut followers = outstanding(&proxy, &request, 5).await;
    gate.open();
    let first = leader.read().await;
    let mut repeats = read_all(&mut followers).await;
    repeats.push(request.send().await);
    for repeat in repeats {
        assert_replay(&first, &repeat);
        assert_interim(&repeat, 0);
    }
}

/// The hints of work that its caller waits for no more are not for its next request.
#[tokio::test]
async fn a_late_hint_is_given_to_nobody() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).arg("--upstream-timeout", "500ms");
    let proxy = proxy.arg("--workers", "1").start().await;
    let (mut caller, mut late) = asked(&proxy, &peer, Some("k1")).await;
    assert_problem(&caller.read().await, 504, "upstream-timeout");
    late.write(HINT).await;
    for key in ["k2", "k3"] {
        caller.write(&client(&proxy).post("/charges").key(key).bytes()).await;
        let mut exchange = peer.accept().await;
        exchange.request().await;
        late.write(HINT).await;
        // another request through the same worker: by then a hint would have been passed on
        assert_problem(
            &client(&proxy).post("/a").key("two words").send().await,
            400,
            "key-malformed",
        );
        exchange
            .write("HTTP/1.1 200 Fine\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone")
            .await;
        drop(exchange);
        let reply = caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
        assert_interim(&reply, 0);
    }
    late.write(FINAL).await;
    caller.finish().await;
    assert!(caller.rest().await.0.is_empty(), "nothing is left over");
}

/// A hint for a pipelined request does not come inside the answer to the one before; one that
/// comes together with its answer may come too late.
#[tokio::test]
async fn a_hint_is_not_written_into_another_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let body = "0123456789".repeat(100_000);
    origin.always(Answer::new(200).preceded_by(HINT.repeat(20)).body(&body));
    let mut caller = client(&proxy).connect_narrow().await;
    let mut bytes = Vec::new();
    for key in 0..5 {
        bytes.extend(client(&proxy).post("/report").key(format!("k{key}")).bytes());
        bytes.extend(client(&proxy).get("/report").bytes());
    }
    caller.write(&bytes).await;
    for _ in 0..10 {
        let reply = caller.read().await;
        assert_executed(&reply);
        assert!(reply.text() == body, "{reply:?}");
        assert!(reply.interim.len() <= 20, "{:?}", reply.interim);
    }
    caller.finish().await;
    assert!(caller.rest().await.0.is_empty(), "nothing is left over");
}

/// Hints without end, for a caller that does not read them, take no room without end.
#[tokio::test]
async fn hints_that_nobody_reads_do_not_pile_up() {
    let peer = Peer::start().await;
    let proxy = Proxy::before_address(peer.addr).start().await;
    let before = memory(&proxy, "VmHWM");
    let mut caller = client(&proxy).connect_narrow().await;
    caller.write(&client(&proxy).get("/charges").bytes()).await;
    let mut exchange = peer.accept().await;
    exchange.request().await;
    let flood = HINT.repeat(10_000);
    for _ in 0..20 {
        exchange.write(&flood).await;
    }
    exchange.write(FINAL).await;
    let reply = caller.read().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
    let grown = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(grown < 16 << 20, "{} MiB", grown >> 20);
}
