//! Little memory, few descriptors, slow peers: the proxy bends and comes back.
//!
//! Descriptors are used up before anything is spoken, and heads that trickle are for HTTP/1.1
//! callers alone.

use std::time::Duration;

use crate::support::{
    Act, Answer, Connection, Gate, Origin, Proxy, Request, Way, assert_executed, assert_marked,
    assert_problem, assert_replay, client, eventually, every_way, gzip, memory,
};

every_way! {
    connections_beyond_their_limit_are_told_so,
    idle_connections_are_closed_and_busy_ones_are_not,
    a_stalled_reader_of_a_passed_answer_is_dropped,
    large_bodies_do_not_keep_small_requests_waiting,
    a_compressed_bomb_is_hashed_as_it_came,
    repeats_that_nobody_reads_do_not_pile_up,
    kept_answers_take_no_more_room_than_they_may,
}

const MIB: usize = 1 << 20;

/// P4: without descriptors nothing is accepted; with some again, everything is as before.
#[tokio::test]
async fn an_instance_that_ran_out_of_descriptors_recovers() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut old = client(&proxy).connect().await;
    let first = request.clone().send_on(&mut old).await;
    let mut limit = std::process::Command::new("prlimit");
    let limited = limit.args(["--pid", &proxy.pid().to_string(), "--nofile=64:64"]).status();
    assert!(limited.is_ok_and(|status| status.success()), "the limit was set");
    for _ in 0..3 {
        let mut connections = Vec::new();
        for _ in 0..300 {
            connections.push(client(&proxy).connect().await);
        }
        let no_descriptor = |line: &str| line.contains("cannot be accepted");
        proxy.wait_for_log("that there is no descriptor left", no_descriptor).await;
        assert_replay(&first, &request.clone().send_on(&mut old).await);
        drop(connections);
        let mut fresh = client(&proxy).connect().await;
        assert_replay(&first, &request.clone().send_on(&mut fresh).await);
        let other = client(&proxy).get("/charges").send_on(&mut fresh).await;
        assert_eq!(other.status, 201, "{other:?}");
    }
    let lines = proxy.log().lines().count();
    assert!(lines < 100, "a log of {lines} lines says it too often");
}

/// C4: connections have a limit; one too many is told so, and takes nobody's place.
async fn connections_beyond_their_limit_are_told_so() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-connections", "5").start().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut connection = client(&proxy).connect().await;
        client(&proxy).get("/charges").send_on(&mut connection).await;
        held.push(connection);
    }
    for _ in 0..10 {
        let refused = client(&proxy).post("/charges").key("k1").body("10").try_send().await;
        // whoever may speak HTTP/2 is not understood before there is a place
        if Way::now().incoming.is_http2() {
            assert!(refused.is_err(), "{refused:?}");
            continue;
        }
        let refused = refused.expect("an answer");
        assert_problem(&refused, 503, "busy");
        assert!(refused.head.has_token("connection", "close"), "{refused:?}");
    }
    assert_eq!(origin.hits(), 5);
    for connection in &mut held {
        assert_eq!(client(&proxy).get("/charges").send_on(connection).await.status, 201);
    }
    held.pop();
    eventually("a free place", async || {
        let reply = client(&proxy).get("/charges").try_send().await;
        reply.is_ok_and(|reply| reply.status == 201)
    })
    .await;
}

/// Sends a byte now and then until the proxy has closed; what it said meanwhile.
async fn trickle(mut connection: Connection, bytes: &[u8]) -> Vec<u8> {
    for byte in bytes.iter().cycle() {
        if connection.try_write(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    connection.rest().await.0
}

/// C4: a head that trickles has no more time than one that does not come, first or later.
#[tokio::test]
async fn heads_that_trickle_are_cut_off() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--header-timeout", "1s").start().await;
    let silent = client(&proxy).connect().await;
    let first = client(&proxy).connect().await;
    let mut later = client(&proxy).connect().await;
    client(&proxy).get("/charges").send_on(&mut later).await;
    let mut pipelined = client(&proxy).get("/charges").open().await;
    pipelined.write(b"GET /charges HTTP/1.1\r\nX-").await;
    assert_eq!(pipelined.read().await.status, 201);
    let trickled = tokio::join!(
        trickle(first, b"G"),
        trickle(later, b"GET / HTTP/1.1\r\nX-"),
        trickle(pipelined, b"a"),
        async { { silent }.rest().await.0 },
    );
    for said in [trickled.0, trickled.1, trickled.2, trickled.3] {
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    assert_eq!(origin.hits(), 2);
}

/// C4: a connection may be idle between its requests, and not for ever; a long answer is not
/// idleness.
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--keep-alive-timeout", "1s");
    let proxy = proxy.arg("--header-timeout", "1s").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut busy = client(&proxy).post("/charges").key("k1").body("10").open().await;
    origin.wait_for_hits(1).await;
    let mut idle = client(&proxy).connect().await;
    client(&proxy).get("/charges").send_on(&mut idle).await;
    assert!(idle.rest().await.0.is_empty(), "it is closed without a word");
    gate.open();
    assert_executed(&busy.read().await);
    assert!(busy.rest().await.0.is_empty());
}

/// C5: a caller that does not read what is passed on is let go, and the upstream with it.
async fn a_stalled_reader_of_a_passed_answer_is_dropped() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--write-timeout", "1s").start().await;
    let mut caller = client(&proxy).connect_narrow().await;
    origin.next(Answer::new(200).endless(vec![b'x'; MIB]));
    client(&proxy).get("/report").open_on(&mut caller).await;
    origin.wait_for_broken_off(1).await;
    let (bytes, _) = caller.rest().await;
    assert!(bytes.len() < 1 << 30, "it is cut off");
}

/// P6: large bodies are hashed and sent while small requests are served as before.
async fn large_bodies_do_not_keep_small_requests_waiting() {
    let uploads_max = Way::now().share(16);
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.respond(|received| Answer::new(201).body(received.body.len().to_string()).into());
    let before = memory(&proxy, "VmHWM");
    let upload = |number: usize| {
        let mut body = vec![b'a'; 8 * MIB];
        body[number] = b'b';
        let post = client(&proxy).post("/upload").body(body);
        if number.is_multiple_of(2) { post.key(format!("k{number}")) } else { post }
    };
    let mut uploads = tokio::task::JoinSet::new();
    for number in 0..uploads_max {
        uploads.spawn(upload(number).send());
    }
    let mut small = 0;
    while small < 50 || !uploads.is_empty() {
        let post = client(&proxy).post("/charges").key(format!("small{small}")).body("10");
        assert_executed(&post.clone().send().await);
        assert_marked(&post.send().await);
        small += 1;
        while let Some(done) = uploads.try_join_next() {
            let reply = done.expect("an upload");
            assert_executed(&reply);
            assert_eq!(reply.text(), (8 * MIB).to_string());
        }
    }
    assert_marked(&upload(0).send().await);
    assert_marked(&upload(1).send().await);
    assert_eq!(origin.hits(), uploads_max + small);
    let grown = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(grown < 2 * uploads_max * 8 * MIB + 64 * MIB, "{} MiB", grown / MIB);
}

/// A gzip body of a few KiB that is this many MiB when it is decoded.
fn bomb(mib: usize, mtime: u8) -> Vec<u8> {
    let mut compress = flate2::Compress::new(flate2::Compression::fast(), false);
    let mut block = Vec::with_capacity(64 * 1024);
    // after a full flush nothing refers back, so that the block may be repeated
    let flushed = compress.compress_vec(&vec![0; MIB], &mut block, flate2::FlushCompress::Full);
    assert!(flushed.is_ok() && compress.total_in() == MIB as u64, "a MiB fits into the block");
    let header = [0x1f, 0x8b, 8, 0, mtime, 0, 0, 0, 0, 3];
    let end = [3, 0];
    [&header[..], &block.repeat(mib), &end, &[0; 8]].concat()
}

/// A14: a body that grows when it is decoded is decoded to a limit, and hashed as it came.
async fn a_compressed_bomb_is_hashed_as_it_came() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let before = memory(&proxy, "VmHWM");
    origin.always(Answer::new(201).body("ok"));
    let upload = |body: &[u8]| -> Request {
        client(&proxy).post("/upload").header("Content-Encoding", "gzip").body(body)
    };
    let bombs = [bomb(64, 1), bomb(64, 2), bomb(1_000, 1), gzip(b"", 0).repeat(50_000)];
    for (number, bomb) in bombs.iter().enumerate() {
        let first = upload(bomb).send().await;
        assert_eq!((first.status, origin.hits()), (201, number + 1));
        assert_eq!(&origin.last().body, bomb, "it is forwarded as it came");
        assert_marked(&upload(bomb).send().await);
    }
    let grown = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
    // below the limit, what counts is what it says
    let member = |mtime| gzip(&vec![0; MIB], mtime);
    assert_executed(&upload(&member(1)).send().await);
    assert_marked(&upload(&member(2)).send().await);
    assert_eq!(origin.hits(), bombs.len() + 1);
}

/// A13: a caller that asks for a large answer again and again and reads none of it is given one
/// at a time.
async fn repeats_that_nobody_reads_do_not_pile_up() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    origin.always(Answer::new(200).body(vec![b'x'; MIB]));
    let request = client(&proxy).post("/report").key("k1").body("10");
    assert_executed(&request.clone().send().await);
    assert_marked(&request.clone().send().await);
    let before = memory(&proxy, "VmHWM");
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut connection = client(&proxy).connect_narrow().await;
        for _ in 0..50 {
            request.open_on(&mut connection).await;
        }
        unread.push(connection);
    }
    for _ in 0..20 {
        assert_marked(&request.clone().send().await);
    }
    let grown = memory(&proxy, "VmHWM").saturating_sub(before);
    assert!(grown < 60 * MIB, "{} MiB for a gigabyte of answers", grown / MIB);
    assert_eq!(origin.hits(), 1);
}

/// S2: what is kept takes the room that it may take, however much passes through.
async fn kept_answers_take_no_more_room_than_they_may() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--store-max-bytes", "8MiB").start().await;
    let sizes = [24, 1_000, 20_000, 300_000, MIB];
    origin.respond(move |received| {
        Answer::new(200).body(vec![b'x'; sizes[received.serial % sizes.len()]]).into()
    });
    let mut caller = client(&proxy).connect().await;
    let charge = |key: usize| client(&proxy).post("/charges").key(format!("k{key}")).body("10");
    for key in 0..50 {
        charge(key).send_on(&mut caller).await;
    }
    let before = memory(&proxy, "VmRSS");
    for key in 50..400 {
        assert_executed(&charge(key).send_on(&mut caller).await);
    }
    let grown = memory(&proxy, "VmRSS").saturating_sub(before);
    assert!(grown < 40 * MIB, "{} MiB", grown / MIB);
    assert_marked(&charge(399).send_on(&mut caller).await);
    assert_eq!(origin.hits(), 400);
}
