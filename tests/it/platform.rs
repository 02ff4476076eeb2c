//! How an instance ends: in good order, late, at once, or without a word.
//!
//! What is about the process alone, and not about what it speaks, is tested in HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::support::{
    Act, Answer, Gate, Incoming, Instance, Origin, Proxy, Reply, Way, assert_executed,
    assert_marked, assert_problem, assert_replay, client, eventually, every_way, outstanding,
    read_all, run,
};

every_way! {
    everything_in_flight_is_answered_before_the_end,
    nothing_is_executed_and_left_unanswered_when_the_end_comes_under_load,
    work_without_a_caller_is_finished_before_the_end,
    a_request_that_has_begun_is_served_before_the_end,
    idle_connections_do_not_hold_up_the_end,
    work_that_is_left_when_the_time_has_passed_is_given_up,
    late_answers_are_listened_for_until_the_end,
    a_second_signal_ends_it_at_once,
    an_instance_without_work_ends_in_good_order,
    a_killed_instance_forgets_its_answers_and_executes_again,
    a_stopped_instance_goes_on_where_it_was,
}

/// Asks the proxy to end, and waits until it is about to.
async fn drain(proxy: &Proxy, signal: &str) {
    proxy.signal(signal);
    proxy.wait_for_log("the beginning of the end", |line| line.contains("draining")).await;
}

/// Waits until nobody listens at the proxy's address any more.
async fn refuses_connections(proxy: &Proxy) {
    let addr = proxy.addr();
    eventually("the end of listening", async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
}

/// P1: what was accepted before the signal is answered after it; nothing more is accepted.
async fn everything_in_flight_is_answered_before_the_end() {
    for signal in ["TERM", "INT"] {
        let origin = Origin::start().await;
        let mut proxy = Proxy::before(&origin).start().await;
        let gate = Gate::shut();
        origin.always(Act::Ledger.after(&gate));
        let mut leaders = Vec::new();
        for key in 0..100 {
            let post = client(&proxy).post("/charges").key(format!("k{key}")).body("10");
            leaders.push(post.open().await);
        }
        leaders.push(client(&proxy).get("/charges").open().await);
        let repeat = client(&proxy).post("/charges").key("k0").body("10");
        origin.wait_for_hits(101).await;
        let mut followers = outstanding(&proxy, &repeat, 10).await;
        drain(&proxy, signal).await;
        refuses_connections(&proxy).await;
        assert!(proxy.runs(), "work is left");
        gate.open();
        for reply in read_all(&mut leaders).await {
            assert_executed(&reply);
            assert_eq!(reply.status, 201);
            let is_last = reply.head.has_token("connection", "close");
            assert_eq!(is_last, Way::now().incoming == Incoming::Http1, "{reply:?}");
        }
        for reply in read_all(&mut followers).await {
            assert_marked(&reply);
        }
        assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
        assert_eq!(origin.hits(), 101);
    }
}

/// P1: callers that never stop asking: whatever was executed was answered, and nothing twice.
async fn nothing_is_executed_and_left_unanswered_when_the_end_comes_under_load() {
    let origin = Origin::start().await;
    let mut proxy = Proxy::before(&origin).start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let (client, answered) = (client(&proxy), Arc::clone(&answered));
        callers.spawn(async move {
            let mut connection = client.connect().await;
            for number in 0.. {
                let body = format!(r#"{{"op":"charge-{caller}-{number}"}}"#);
                let key = format!("k{caller}-{number}");
                client.post("/charges").key(key).body(body).open_on(&mut connection).await;
                match connection.try_read().await {
                    Ok(reply) => assert_executed(&reply),
                    Err(_) => return,
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    origin.wait_for_hits(Way::now().share(500)).await;
    proxy.terminate();
    callers.join_all().await;
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert_eq!((origin.hits(), origin.executions_max()), (answered.load(Ordering::SeqCst), 1));
}

/// P1: work whose caller has left is finished, too.
async fn work_without_a_caller_is_finished_before_the_end() {
    let origin = Origin::start().await;
    let mut proxy = Proxy::before(&origin).start().await;
    let [begun, ended] = [(); 2].map(|()| Gate::shut());
    let answer = Answer::new(201).body("x".repeat(999)).body_after(&ended, "x");
    origin.next(Act::Answer(answer).after(&begun));
    let caller = client(&proxy).post("/charges").key("k1").body("10").open().await;
    origin.wait_for_hits(1).await;
    caller.reset();
    proxy.has_read_all().await;
    drain(&proxy, "TERM").await;
    refuses_connections(&proxy).await;
    assert!(proxy.runs(), "work is left");
    begun.open();
    assert!(proxy.runs(), "a byte is missing");
    ended.open();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
}

/// P1: a caller that is still sending its body is heard out.
async fn a_request_that_has_begun_is_served_before_the_end() {
    let origin = Origin::start().await;
    let mut proxy = Proxy::before(&origin).start().await;
    let mut caller = client(&proxy).post("/charges").key("k1").body("0123456789").begin().await;
    caller.push("012345678").await;
    proxy.has_read_all().await;
    drain(&proxy, "TERM").await;
    refuses_connections(&proxy).await;
    caller.push("9").await;
    caller.end().await;
    assert_executed(&caller.read().await);
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    assert_eq!(origin.hits(), 1);
}

/// P1: connections that ask for nothing do not hold up the end.
async fn idle_connections_do_not_hold_up_the_end() {
    let origin = Origin::start().await;
    let mut proxy = Proxy::before(&origin).start().await;
    let mut idle = vec![client(&proxy).connect().await];
    for _ in 0..5 {
        let mut connection = client(&proxy).connect().await;
        client(&proxy).get("/charges").send_on(&mut connection).await;
        idle.push(connection);
    }
    proxy.terminate();
    for mut connection in idle {
        assert!(connection.rest().await.0.is_empty());
    }
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
}

/// P1: when the time to end has passed, what is left is given up, and said to be.
async fn work_that_is_left_when_the_time_has_passed_is_given_up() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--drain-timeout", "500ms");
    let mut proxy = proxy.start().await;
    origin.next(Act::Ledger.after(&Gate::shut()));
    let mut caller = client(&proxy).post("/charges").key("k1").body("10").open().await;
    origin.wait_for_hits(1).await;
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(1), "{}", proxy.log());
    assert!(caller.try_read().await.is_err(), "nobody knows what became of it");
    origin.wait_for_broken_off(1).await;
    let left = |line: &str| line.contains("not ended in good order");
    let said = proxy.wait_for_log("what was left", left).await;
    assert!(said.contains("1 operations"), "{said}");
}

/// P1, U6: a late answer is work, too: it is waited for as long as the end may take.
async fn late_answers_are_listened_for_until_the_end() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--upstream-timeout", "300ms");
    let mut proxy = proxy.start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let told = client(&proxy).post("/charges").key("k1").body("10").send().await;
    assert_problem(&told, 504, "upstream-timeout");
    drain(&proxy, "TERM").await;
    refuses_connections(&proxy).await;
    assert!(proxy.runs(), "the late answer may still come");
    gate.open();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
}

/// P1: a second signal, the same or another, ends it at once.
async fn a_second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "INT")] {
        let origin = Origin::start().await;
        let mut proxy = Proxy::before(&origin).arg("--drain-timeout", "10m").start().await;
        origin.next(Act::Ledger.after(&Gate::shut()));
        let mut caller = client(&proxy).post("/charges").key("k1").body("10").open().await;
        origin.wait_for_hits(1).await;
        drain(&proxy, first).await;
        assert!(proxy.runs());
        proxy.signal(second);
        assert_eq!(proxy.wait_exit().await.code(), Some(1), "{}", proxy.log());
        assert!(caller.try_read().await.is_err());
    }
}

/// P1: an end that nobody waits for takes no time, whatever has been served before.
async fn an_instance_without_work_ends_in_good_order() {
    let origin = Origin::start().await;
    let mut proxy = Proxy::before(&origin).start().await;
    for key in 0..20 {
        client(&proxy).post("/charges").key(format!("k{key}")).body("10").send().await;
    }
    proxy.terminate();
    assert_eq!(proxy.wait_exit().await.code(), Some(0), "{}", proxy.log());
    let totals = proxy.wait_for_log("the totals", |line| line.contains(" ended ")).await;
    assert!(totals.contains("executed=20") && totals.contains("refused=0"), "{totals}");
}

/// P1: who is ready to serve is ready to end in good order, too.
#[tokio::test]
async fn a_signal_right_after_the_ready_line_is_heard() {
    let args = ["run", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9"];
    for number in 0..30 {
        let mut instance = Instance::start(&args, &[]);
        let mut shell = instance.shell("read line; kill -TERM $PID");
        let mut go = shell.stdin.take().expect("stdin is piped");
        assert!(instance.line().await.is_some_and(|line| line.contains(" ready ")));
        go.write_all(b"now\n").await.expect("the shell reads");
        let (status, log) = instance.ended().await;
        assert_eq!(status.code(), Some(0), "start {number}: {status}, {log:?}");
    }
}

/// P2, S14: what was kept in memory is gone with the process, and is executed again.
async fn a_killed_instance_forgets_its_answers_and_executes_again() {
    let origin = Origin::start().await;
    let charge = async |proxy: &Proxy| -> Reply {
        client(proxy).post("/charges").caller("a").key("k1").body("10").send().await
    };
    for round in 1..=3 {
        let mut proxy = Proxy::before(&origin).start().await;
        let first = charge(&proxy).await;
        assert_replay(&first, &charge(&proxy).await);
        assert_eq!(origin.hits(), round);
        let mut cut = client(&proxy).post("/charges").key("cut").body("10").chunked(1);
        cut = cut.header("X-Round", round.to_string());
        let mut connection = cut.open_cut(cut.bytes().len() - 3).await;
        proxy.kill_9().await;
        assert!(connection.try_read().await.is_err());
    }
}

/// S14: the address of an instance that was killed is free at once, connections or not.
#[tokio::test]
async fn an_instance_takes_the_place_of_a_killed_one() {
    let origin = Origin::start().await;
    let mut killed = Proxy::before(&origin).start().await;
    let mut connection = client(&killed).connect().await;
    client(&killed).get("/charges").send_on(&mut connection).await;
    let (addr, client) = (killed.addr().to_string(), client(&killed));
    killed.kill_9().await;
    let upstream = format!("http://{}", origin.addr);
    let args = ["run", "--listen", &addr, "--upstream", &upstream, "--access-log", "off"];
    let mut next = Instance::start(&args, &[]);
    let line = next.line().await.expect("a line of log");
    assert!(line.contains(" ready ") && line.contains(&addr), "{line}");
    assert_eq!(client.get("/charges").send().await.status, 201);
    next.terminate();
    assert_eq!(next.ended().await.0.code(), Some(0));
}

/// Two instances at one address would each execute what the other has executed.
#[tokio::test]
async fn a_second_instance_at_the_same_address_does_not_start() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let (addr, upstream) = (proxy.addr().to_string(), format!("http://{}", origin.addr));
    for workers in ["1", "2"] {
        let args = ["run", "--listen", &addr, "--upstream", &upstream, "--workers", workers];
        let ended = run(&args, &[]).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(&format!("cannot listen at {addr}")), "{ended:?}");
        assert!(ended.stderr.to_lowercase().contains("in use"), "{ended:?}");
        assert!(!ended.stderr.contains(" ready "), "{ended:?}");
        assert_eq!(ended.stderr.trim().lines().count(), 1, "one line says it all: {ended:?}");
    }
    assert_eq!(client(&proxy).get("/charges").send().await.status, 201);
}

/// P3: an instance that was stopped for a while goes on where it was.
async fn a_stopped_instance_goes_on_where_it_was() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut caller = request.clone().open().await;
    let mut repeat = client(&proxy).connect().await;
    origin.wait_for_hits(1).await;
    proxy.signal("STOP");
    gate.open();
    request.open_on(&mut repeat).await;
    proxy.signal("CONT");
    let first = caller.read().await;
    assert_executed(&first);
    assert_replay(&first, &repeat.read().await);
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}
