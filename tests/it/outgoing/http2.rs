//! What goes over HTTP/2 is what goes over HTTP/1.1: requests, answers and their bodies.

use super::by_http2;
use super::frames::{CANCEL, FramePeer, NO_ERROR, STREAMS_MAX, WINDOW_UPDATE};
use super::ledger::{Ledger, Saying};
use crate::support::{
    Gate, Peer, assert_executed, assert_one_executed, assert_problem, assert_replay, client,
    outstanding, read_all, within,
};

/// An answer is kept, whether or not it says how long it is, and is replayed byte for byte.
#[tokio::test]
async fn an_answer_is_kept_and_replayed() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let pieces = vec![b"one ".to_vec(), vec![b'x'; 200_000], b" three".to_vec()];
    let length = pieces.iter().map(Vec::len).sum::<usize>();
    for (key, lines) in [("k1", vec![]), ("k2", vec![("content-length", length.to_string())])] {
        let saying = Saying {
            status: 201,
            lines: [vec![("x-op", "7".to_owned()), ("x-op", "8".to_owned())], lines].concat(),
            pieces: pieces.clone(),
            ..Saying::default()
        };
        ledger.always(saying);
        let request = client(&proxy).post("/charges?a=%20b").key(key).body("10");
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_eq!((first.status, &first.body), (201, &pieces.concat()));
        assert_eq!(first.headers("x-op"), [b"7", b"8"]);
        for _ in 0..3 {
            assert_replay(&first, &request.clone().send().await);
        }
    }
    assert_eq!((ledger.hits(), ledger.connections()), (2, 1));
}

/// An answer without a body, by its status or by its end, is whole.
#[tokio::test]
async fn an_answer_without_a_body_is_kept() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    for status in [200, 204, 304, 404] {
        ledger.always(Saying { status, ..Saying::default() });
        let request = client(&proxy).post("/charges").key(format!("k{status}")).body("10");
        let first = request.clone().send().await;
        assert_eq!((first.status, first.body.len()), (status, 0));
        assert_replay(&first, &request.send().await);
    }
    assert_eq!(ledger.hits(), 4);
    ledger.always(Saying {
        status: 200,
        lines: vec![("content-length", "12".to_owned())],
        ..Saying::default()
    });
    let head = client(&proxy).method("HEAD", "/charges").send().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
}

/// Trailers end an answer like any other end.
#[tokio::test]
async fn an_answer_with_trailers_is_whole() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let saying = Saying { trailers: vec![("x-sum", "7")], ..Saying::new("done") };
    ledger.always(saying);
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let first = request.clone().send().await;
    assert_eq!((first.status, first.text().as_str()), (200, "done"));
    assert_replay(&first, &request.send().await);
    assert_eq!(client(&proxy).get("/charges").send().await.text(), "done");
    assert_eq!(ledger.hits(), 2);
}

/// The Host field becomes the authority, and nothing of the caller's connection goes along.
#[tokio::test]
async fn a_request_has_the_shape_of_http2() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let request = client(&proxy).post("/charges?a=b").key("k1").body("10").host("Api.Example:81");
    let request = request.header("Connection", "keep-alive, X-Hop").header("X-Hop", "1");
    let request = request.header("Keep-Alive", "timeout=5").header("X-Kept", "1");
    assert_executed(&request.send().await);
    let seen = ledger.last();
    assert_eq!(
        (seen.method.as_str(), seen.uri.as_str()),
        ("POST", "http://Api.Example:81/charges?a=b")
    );
    assert_eq!((seen.header("content-length"), seen.header("x-kept")), (Some("2"), Some("1")));
    assert_eq!(seen.header("x-forwarded-host"), Some("Api.Example:81"));
    for gone in ["host", "connection", "x-hop", "keep-alive", "transfer-encoding", "te"] {
        assert_eq!(seen.header(gone), None);
    }
    let old = client(&proxy).get("/old").version10().without_host();
    assert_eq!(old.send().await.status, 200);
    assert_eq!(ledger.last().uri, format!("http://{}/old", ledger.addr));
    let asking = client(&proxy).method("OPTIONS", "*");
    assert_eq!(asking.send().await.status, 200);
    assert_eq!((ledger.last().method.as_str(), ledger.hits()), ("OPTIONS", 3));
}

/// A host that HTTP/2 can't say is the caller's mistake, and nothing is sent.
#[tokio::test]
async fn a_host_that_is_no_authority_is_turned_away() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10").host("a%20b");
    for _ in 0..2 {
        assert_problem(&request.clone().send().await, 400, "bad-request");
    }
    assert_eq!(ledger.hits(), 0);
}

/// A body that is passed on goes as it arrives, in full, and its length is known or not.
#[tokio::test]
async fn a_body_is_passed_on_as_it_arrives() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let body = (0..3_000_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    for chunk in [None, Some(70_000)] {
        let request = client(&proxy).post("/upload").body(&body).chunked_if(chunk);
        assert_eq!(request.send().await.text(), "done");
        let seen = ledger.last();
        assert_eq!(seen.body, body);
        let length = chunk.is_none().then(|| body.len().to_string());
        assert_eq!(seen.header("content-length"), length.as_deref());
    }
    assert_eq!((ledger.hits(), ledger.connections()), (2, 1));
}

/// The trailers of a request that is passed on are its end.
#[tokio::test]
async fn a_request_may_end_with_trailers() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let mut caller = client(&proxy).connect().await;
    caller
        .write(
            b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
              2\r\nhi\r\n0\r\nx-sum: 7\r\nconnection: close\r\n\r\n",
        )
        .await;
    assert_eq!(caller.read().await.text(), "done");
    let seen = ledger.last();
    assert_eq!(seen.body, b"hi");
    let trailers = seen.trailers.expect("trailers");
    assert_eq!(trailers.get("x-sum").map(http::HeaderValue::as_bytes), Some(&b"7"[..]));
    assert_eq!(trailers.len(), 1);
}

/// An answer begins while its request is still coming, and both go on.
#[tokio::test]
async fn an_answer_may_begin_before_its_request_has_ended() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let mut caller = client(&proxy).connect().await;
    caller
        .write(b"POST /talk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        .await;
    let mut frames = peer.accept().await;
    let first = frames.wait_for("the first piece", |frame| frame.payload == b"hi").await;
    frames.head(first.stream, 200, &[]).await;
    frames.data(first.stream, b"hello").await;
    caller.sees(b"hello").await;
    caller.write(b"4\r\nmore\r\n").await;
    frames.wait_for("the second piece", |frame| frame.payload == b"more").await;
    caller.write(b"0\r\n\r\n").await;
    frames.wait_for("the end of the request", |frame| frame.kind == 0 && frame.flags == 1).await;
    frames.last_data(first.stream, b"bye").await;
    let reply = caller.read().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hellobye"));
}

/// An answer that comes before its request was read whole is the answer, whether or not the
/// upstream says that it wants no more; nothing of that request is left on the connection.
#[tokio::test]
async fn an_answer_that_comes_early_is_the_answer() {
    let peer = FramePeer::start().await;
    let proxy =
        by_http2(peer.addr).toml("[[route]]\nname = \"pass\"\npath = \"/pass\"\nmode = \"off\"\n");
    let proxy = proxy.start().await;
    let large = "x".repeat(300_000);
    let mut frames = None;
    for (number, path) in ["/keep", "/keep", "/pass", "/pass"].into_iter().enumerate() {
        if number == 2 {
            frames = None; // what is passed on goes over a connection of its own
        }
        let request = client(&proxy).post(path).key(format!("k{number}")).body(&large);
        let mut caller = request.clone().open().await;
        let frames = match &mut frames {
            Some(frames) => frames,
            None => frames.insert(peer.accept_with(&[(STREAMS_MAX, 1)]).await),
        };
        let begun = frames.wait_for("a head", |frame| frame.kind == 1).await;
        frames.wait_for("a part", |frame| frame.kind == 0).await;
        frames.head(begun.stream, 413, &[]).await;
        frames.last_data(begun.stream, b"enough").await;
        if number % 2 == 0 {
            frames.reset(begun.stream, NO_ERROR).await;
        } else {
            let reset = frames.wait_for("a reset", |frame| frame.reset().is_some()).await;
            assert_eq!((reset.stream, reset.reset()), (begun.stream, Some(CANCEL)));
        }
        let reply = caller.read().await;
        assert_eq!((reply.status, reply.text().as_str()), (413, "enough"));
        if path == "/keep" {
            assert_replay(&reply, &request.send().await);
        }
        // the stream has been given back: this upstream allows only one
        let room = (1u32 << 20).to_be_bytes();
        frames.write(WINDOW_UPDATE, 0, 0, &room).await;
        let next = client(&proxy).post(path).key(format!("next{number}"));
        let mut next = next.open().await;
        let whole = frames.wait_for("the next", |frame| frame.kind == 1).await;
        frames.answer(whole.stream, "next").await;
        assert_eq!(next.read().await.text(), "next");
    }
    peer.assert_no_more_connections();
}

/// A request whose caller breaks off in its body is taken back: the upstream never has it whole.
#[tokio::test]
async fn a_request_that_breaks_off_is_taken_back() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).toml("[defaults]\nmode = \"off\"\n").start().await;
    let mut caller = client(&proxy).connect().await;
    caller.write(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut frames = peer.accept().await;
    let part = frames.wait_for("a part", |frame| frame.payload == b"01234").await;
    caller.reset();
    let reset = frames.wait_for("a reset", |frame| frame.reset().is_some()).await;
    assert_eq!((reset.stream, reset.reset()), (part.stream, Some(CANCEL)));
    let mut other = client(&proxy).get("/other").open().await;
    let whole = frames.request().await;
    frames.answer(whole.stream, "still there").await;
    assert_eq!(other.read().await.text(), "still there");
    assert_eq!(frames.requests, 1);
}

/// Interim answers go ahead of the final one, which alone is kept.
#[tokio::test]
async fn interim_answers_are_passed_on_and_never_kept() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let saying = Saying { interim: vec![100, 103, 102], ..Saying::new("done") };
    let gate = Gate::shut();
    ledger.always(saying.clone().after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut caller = request.clone().open().await;
    caller.sees(b"102 Processing").await;
    gate.open();
    let first = caller.read().await;
    let statuses: Vec<_> = first.interim.iter().map(|head| head.start.clone()).collect();
    assert_eq!(statuses, ["HTTP/1.1 103 Early Hints", "HTTP/1.1 102 Processing"]);
    assert_eq!(first.interim[0].first("x-interim"), Some("1"));
    assert_eq!((first.text().as_str(), first.has("x-interim")), ("done", false));
    let repeat = request.send().await;
    assert_replay(&first, &repeat);
    assert!(repeat.interim.is_empty());
    let gate = Gate::shut();
    ledger.always(saying.after(&gate));
    let mut passed = client(&proxy).get("/charges").open().await;
    passed.sees(b"102 Processing").await;
    gate.open();
    assert_eq!(passed.read().await.interim.len(), 2);
}

/// A caller who leaves takes nothing with it: the work goes on, and its answer is kept.
#[tokio::test]
async fn the_work_goes_on_without_its_caller() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let caller = request.clone().open().await;
    ledger.wait_for_hits(1).await;
    caller.reset();
    let mut others = outstanding(&proxy, &request, 3).await;
    gate.open();
    for reply in read_all(&mut others).await {
        assert_eq!((reply.text().as_str(), reply.is_repeat()), ("done", true));
    }
    assert_eq!(ledger.hits(), 1);
}

/// Of many equal requests at a time, one is executed.
#[tokio::test]
async fn equal_requests_are_executed_once() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    let gate = Gate::shut();
    ledger.always(Saying::new("done").after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 30).await;
    ledger.wait_for_hits(1).await;
    gate.open();
    assert_one_executed(&read_all(&mut callers).await);
    assert_eq!((ledger.hits(), ledger.executions_max()), (1, 1));
}

/// A passed answer of which its caller reads nothing holds up no other answer of the connection.
#[tokio::test]
async fn a_caller_who_does_not_read_holds_up_nobody() {
    let ledger = Ledger::start(100).await;
    let proxy = by_http2(ledger.addr).start().await;
    ledger.respond(|entry| match entry.uri.ends_with("/large") {
        true => Saying::new(vec![b'x'; 8 << 20]),
        false => Saying::new("small"),
    });
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut caller = client(&proxy).connect_narrow().await;
        caller.write(&client(&proxy).get("/large").bytes()).await;
        slow.push(caller);
    }
    ledger.wait_for_hits(20).await;
    for _ in 0..10 {
        assert_eq!(client(&proxy).get("/small").send().await.text(), "small");
    }
    assert_eq!(ledger.connections(), 1);
    assert_eq!(slow.remove(0).read().await.body.len(), 8 << 20);
}

/// A caller who leaves in the middle of a passed answer ends that answer, and no other.
#[tokio::test]
async fn a_caller_who_leaves_resets_its_own_stream() {
    let peer = FramePeer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let leaving = client(&proxy).get("/one").open().await;
    let mut frames = peer.accept().await;
    let one = frames.request().await;
    let mut staying = client(&proxy).get("/two").open().await;
    let two = frames.request().await;
    frames.head(one.stream, 200, &[]).await;
    frames.data(one.stream, b"begun").await;
    frames.head(two.stream, 200, &[]).await;
    frames.data(two.stream, b"begun, ").await;
    leaving.reset();
    let reset = frames.wait_for("a reset", |frame| frame.reset().is_some()).await;
    assert_eq!((reset.stream, reset.reset()), (one.stream, Some(CANCEL)));
    frames.last_data(two.stream, b"and ended").await;
    assert_eq!(staying.read().await.text(), "begun, and ended");
    peer.assert_no_more_connections();
}

/// Upgrades go by HTTP/1.1 over a connection of their own, whatever is spoken otherwise.
#[tokio::test]
async fn an_upgrade_goes_by_http1() {
    let peer = Peer::start().await;
    let proxy = by_http2(peer.addr).start().await;
    let get = client(&proxy).get("/chat").header("Connection", "Upgrade");
    let mut caller = get.header("Upgrade", "websocket").open().await;
    let mut exchange = peer.accept().await;
    let (head, _) = exchange.request().await;
    assert_eq!(head.start, "GET /chat HTTP/1.1");
    assert_eq!(
        (head.first("upgrade"), head.first("host")),
        (Some("websocket"), Some("api.example"))
    );
    exchange.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    caller.sees(b"</a>").await;
    exchange.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n").await;
    exchange.write("Upgrade: websocket\r\n\r\n").await;
    let reply = caller.read().await;
    assert_eq!((reply.status, reply.interim.len()), (101, 1));
    caller.write(b"ping").await;
    assert_eq!(exchange.take(4).await, b"ping");
    exchange.write("pong").await;
    within("pong", caller.sees(b"pong")).await;
}
