//! Many callers at once: one execution, and one answer for all.
//!
//! Pipelined requests are for HTTP/1.1 callers alone: in HTTP/2 each request has a stream of its
//! own.

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{
    Act, Answer, Gate, How, Origin, Proxy, Reserved, assert_executed, assert_one_executed,
    assert_problem, assert_replay, assert_same_answer, client, every_way, every_way_out,
    outstanding, read_all,
};

every_way! {
    five_hundred_simultaneous_repeats_execute_once,
    two_thousand_callers_of_one_key_get_one_answer,
    workers_share_their_flights_and_records,
    a_slow_key_does_not_hold_up_others,
    repeats_that_waited_long_enough_are_told_that_it_still_runs,
    waiters_that_leave_do_not_disturb_those_that_stay,
    waiters_of_an_unsent_request_are_told_and_the_key_is_free,
    waiters_of_an_unknown_outcome_are_told_and_nobody_is_promoted,
    a_released_answer_reaches_all_who_wait_after_one_execution,
}

every_way_out! {
    a_pipelined_repeat_behind_its_first_does_not_deadlock,
    fifty_pipelined_requests_are_answered_in_order,
}

/// Sends 500 requests for each of so many keys, all 500 at once, and fails unless each key is
/// executed once.
async fn execute_once_each(keys: usize) {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "2").start().await;
    let mut connections = Vec::new();
    for key in 0..keys {
        let gate = Gate::shut();
        origin.always(Act::Ledger.after(&gate));
        let body = format!(r#"{{"op":"charge-{key}"}}"#);
        let request = client(&proxy).post("/charges").key(format!("k{key}")).body(body);
        if connections.is_empty() {
            connections = outstanding(&proxy, &request, 500).await;
        } else {
            for connection in &mut connections {
                request.open_on(connection).await;
            }
        }
        origin.wait_for_hits(key + 1).await;
        proxy.has_read_all().await;
        gate.open();
        assert_one_executed(&read_all(&mut connections).await);
    }
    assert_eq!((origin.hits(), origin.executions_max()), (keys, 1));
}

/// K1: 500 callers of each of 100 keys, all 500 at once, and 100 executions.
#[tokio::test]
async fn five_hundred_simultaneous_repeats_of_a_hundred_keys_execute_a_hundred_times() {
    execute_once_each(100).await;
}

/// K1: the same of a few keys, on every way.
async fn five_hundred_simultaneous_repeats_execute_once() {
    execute_once_each(5).await;
}

/// K1: two thousand wait for one.
async fn two_thousand_callers_of_one_key_get_one_answer() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.always(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 2_000).await;
    origin.wait_for_hits(1).await;
    gate.open();
    assert_one_executed(&read_all(&mut callers).await);
    assert_eq!(origin.hits(), 1);
}

/// K1: the workers of one process share what runs, however connections fall on them.
async fn workers_share_their_flights_and_records() {
    let origin = Origin::start().await;
    for workers in ["1", "4"] {
        let proxy = Proxy::before(&origin).arg("--workers", workers).start().await;
        for key in 0..5 {
            let (before, gate) = (origin.hits(), Gate::shut());
            origin.always(Act::Ledger.after(&gate));
            let request = client(&proxy).post("/charges").key(format!("k{key}")).body("10");
            let mut callers = outstanding(&proxy, &request, 40).await;
            origin.wait_for_hits(before + 1).await;
            gate.open();
            assert_one_executed(&read_all(&mut callers).await);
            for _ in 0..20 {
                assert!(request.clone().send().await.is_repeat());
            }
            assert_eq!(origin.hits(), before + 1);
        }
    }
}

async fn a_slow_key_does_not_hold_up_others() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--workers", "1").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let slow = client(&proxy).post("/charges").key("slow").body("10");
    let mut callers = outstanding(&proxy, &slow, 10).await;
    origin.wait_for_hits(1).await;
    for key in 0..10 {
        assert_executed(&client(&proxy).post("/charges").key(format!("k{key}")).send().await);
    }
    gate.open();
    assert_one_executed(&read_all(&mut callers).await);
}

/// K5, C25: a repeat waits only so long; the first caller and the work go on.
async fn repeats_that_waited_long_enough_are_told_that_it_still_runs() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--wait", "1s").start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut leader = request.clone().open().await;
    origin.wait_for_hits(1).await;
    let mut waiters = outstanding(&proxy, &request, 20).await;
    for told in read_all(&mut waiters).await {
        assert_problem(&told, 409, "in-progress");
        assert!(told.has("duplicate-key"), "{told:?}");
        let after = told.header("retry-after").and_then(|after| after.parse::<u64>().ok());
        assert!(after.is_some(), "Retry-After is a number of seconds: {told:?}");
    }
    gate.open();
    let first = leader.read().await;
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// C25: waiters that hang up take nothing away from those that stay.
async fn waiters_that_leave_do_not_disturb_those_that_stay() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let callers = outstanding(&proxy, &request, 500).await;
    origin.wait_for_hits(1).await;
    let mut staying = Vec::new();
    for (number, caller) in callers.into_iter().enumerate() {
        match number % 4 {
            0 => drop(caller),
            1 => caller.reset(),
            _ => staying.push(caller),
        }
    }
    gate.open();
    let replies = read_all(&mut staying).await;
    let executed = replies.iter().filter(|reply| !reply.is_repeat()).count();
    assert!(executed <= 1, "{executed} of {} were executed", replies.len());
    for reply in &replies {
        assert_same_answer(&replies[0], reply);
    }
    assert!(request.send().await.is_repeat());
    assert_eq!(origin.hits(), 1);
}

/// A listener whose queue is full: connecting to it neither succeeds nor fails.
struct Silent {
    place: Reserved,
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    async fn start() -> Self {
        let place = Reserved::new();
        let addr = place.addr;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("setting SO_REUSEADDR");
        socket.bind(addr).expect("binding");
        let listener = socket.listen(1).expect("listening");
        let mut queued = Vec::new();
        let patience = std::time::Duration::from_millis(200);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(addr)).await {
            queued.push(stream.expect("a place in the queue"));
        }
        Self { place, listener, _queued: queued }
    }
}

/// K2: where nothing was sent, all who wait are told so at once, and the key is free.
async fn waiters_of_an_unsent_request_are_told_and_the_key_is_free() {
    let silent = Silent::start().await;
    let proxy = Proxy::before_address(silent.place.addr)
        .arg("--upstream-connect-timeout", "3s")
        .start()
        .await;
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 50).await;
    for reply in read_all(&mut callers).await {
        assert_problem(&reply, 502, "upstream-unreachable");
    }
    let Silent { place, listener, .. } = silent;
    drop(listener);
    let origin = place.serve().await;
    let first = request.clone().send().await;
    assert_executed(&first);
    assert_replay(&first, &request.send().await);
    assert_eq!(origin.hits(), 1);
}

/// K3: where the outcome is unknown, all who wait are told so, and nobody tries again.
async fn waiters_of_an_unknown_outcome_are_told_and_nobody_is_promoted() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    origin.always(Act::DropAfterExecuting(How::Reset).after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 500).await;
    origin.wait_for_hits(1).await;
    gate.open();
    for reply in read_all(&mut callers).await {
        assert_problem(&reply, 502, "upstream-broken");
    }
    origin.always(Act::Ledger);
    let later = request.send().await;
    assert_problem(&later, 409, "outcome-unknown");
    assert!(later.has("duplicate-key"), "{later:?}");
    assert_eq!(origin.hits(), 1);
}

/// K6: an answer that frees the key goes to all who wait; they do not try one by one.
async fn a_released_answer_reaches_all_who_wait_after_one_execution() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let gate = Gate::shut();
    let busy = Answer::new(429).header("Retry-After", "7").body("later");
    origin.next(Act::Answer(busy).after(&gate));
    let request = client(&proxy).post("/charges").key("k1").body("10");
    let mut callers = outstanding(&proxy, &request, 500).await;
    origin.wait_for_hits(1).await;
    gate.open();
    let replies = read_all(&mut callers).await;
    assert_one_executed(&replies);
    for reply in &replies {
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    }
    assert_eq!(origin.hits(), 1);
    let next = request.clone().send().await;
    assert_executed(&next);
    assert_eq!(next.status, 201);
    assert_replay(&next, &request.send().await);
    assert_eq!(origin.hits(), 2);
}

/// C9, K10: a repeat right behind its first on one connection waits for nobody but itself.
async fn a_pipelined_repeat_behind_its_first_does_not_deadlock() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let one = client.post("/charges").key("k1").body("10").bytes();
    let two = client.post("/charges").key("k2").body("20").bytes();
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let mut connection = client.connect().await;
    connection.write(&[one.clone(), one.clone(), two, one].concat()).await;
    origin.wait_for_hits(1).await;
    gate.open();
    let replies = read_all(std::slice::from_mut(&mut connection)).await;
    let (first, repeat) = (&replies[0], connection.read().await);
    assert_replay(first, &repeat);
    let other = connection.read().await;
    assert_executed(&other);
    assert_eq!(other.json()["op"], "POST /charges 20");
    assert_replay(first, &connection.read().await);
    assert_eq!(origin.hits(), 2);
}

/// C9: fifty requests in one write are answered in their order.
async fn fifty_pipelined_requests_are_answered_in_order() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).start().await;
    let client = client(&proxy);
    let mut all = Vec::new();
    for number in 0..50 {
        let (target, key) = (format!("/charges/{}", number % 30), format!("k{}", number % 30));
        all.extend(client.post(&target).key(key).body("0123456789").chunked(3).bytes());
    }
    let mut connection = client.connect().await;
    connection.write(&all).await;
    for number in 0..50 {
        let reply = connection.read().await;
        let expected = format!("POST /charges/{} 0123456789", number % 30);
        assert_eq!(reply.json()["op"], expected.as_str(), "answer {number}");
        assert_eq!(reply.is_repeat(), number >= 30, "answer {number}");
    }
    connection.finish().await;
    assert_eq!(connection.rest().await.0, b"", "nothing more comes");
    assert_eq!(origin.hits(), 30);
}
