//! Draining, with work in flight: nothing that was answered is lost, and what is cut is said so.

use std::time::Duration;

use serde_json::json;

use crate::kept::Kept;
use crate::support::{
    Act, Connection, Folder, Gate, How, Origin, Proxy, Request, assert_executed, assert_problem,
    client, eventually, run,
};
use crate::{looked_after, metric, operator};

/// How many operations run when the end comes.
const OPERATIONS: usize = 500;

/// One of the operations.
fn pay(proxy: &Proxy, number: usize) -> Request {
    // The same name before and after: an instance has another port each time.
    client(proxy).post("/pay").host("api.example").key(format!("k{number}")).body("10")
}

/// Begins all operations, and waits until all of them run.
async fn begin_all(proxy: &Proxy, origin: &Origin) -> Vec<Connection> {
    let mut callers = Vec::new();
    for number in 0..OPERATIONS {
        callers.push(pay(proxy, number).open().await);
    }
    origin.wait_for_hits(OPERATIONS).await;
    callers
}

/// Half of the callers stay, half leave; the instance is asked to drain and then told to end while
/// the API is slow.
async fn nothing_is_lost(kept: Kept) {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let slow = gate.clone();
    origin.respond(move |received| match received.method.as_str() {
        "POST" => Act::Ledger.after(&slow),
        _ => Act::Ledger,
    });
    let mut proxy = kept.told(looked_after(&origin)).start().await;
    let mut callers = begin_all(&proxy, &origin).await;
    for left in callers.split_off(OPERATIONS / 2) {
        left.leave(How::Close);
    }
    let admin = proxy.admin().to_string();
    let drain = ["drain", "--admin", &admin, "--timeout", "500ms"];
    let ended = run(&drain, &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("500 operations are left"), "{}", ended.stderr);
    let still = client(&proxy).get("/still").send().await;
    assert_eq!((still.status, still.header("connection")), (201, Some("close")));
    assert_eq!(metric(&proxy, "oncegate_draining").await, 1.0);
    proxy.terminate();
    proxy.wait_for_log("the signal", |line| line.contains("SIGTERM")).await;
    assert_eq!(operator(&proxy).get("/readyz").send().await.status, 503, "it tells to the end");
    gate.open();
    for caller in &mut callers {
        assert_executed(&caller.read().await);
    }
    assert!(proxy.wait_exit().await.success(), "nothing was cut:\n{}", proxy.log());
    if matches!(kept, Kept::Memory) {
        return;
    }
    // One was passed on.
    let hits = origin.hits();
    assert_eq!(hits, OPERATIONS + 1);
    let proxy = kept.told(looked_after(&origin)).start().await;
    for number in 0..OPERATIONS {
        let repeat = pay(&proxy, number).send().await;
        assert!(repeat.status == 201 && repeat.is_repeat(), "k{number}: {repeat:?}");
    }
    assert_eq!(origin.hits(), hits, "nothing was executed again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_memory() {
    nothing_is_lost(Kept::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_disk() {
    nothing_is_lost(Kept::Disk(Folder::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_redis() {
    nothing_is_lost(Kept::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_is_said_and_held() {
    for kept in [Kept::Memory, Kept::Disk(Folder::new()), Kept::redis()] {
        let origin = Origin::start().await;
        let gate = Gate::shut();
        origin.always(Act::Ledger.after(&gate));
        let starting = kept.told(looked_after(&origin)).arg("--drain-timeout", "300ms");
        let mut proxy = starting.start().await;
        let caller = pay(&proxy, 0).open().await;
        origin.wait_for_hits(1).await;
        proxy.terminate();
        assert_eq!(proxy.wait_exit().await.code(), Some(1));
        let said = "1 operations or late answers were left";
        assert!(proxy.log().contains(said), "{}", proxy.log());
        drop(caller);
        if matches!(kept, Kept::Memory) {
            continue;
        }
        let proxy = kept.told(looked_after(&origin)).start().await;
        eventually("the end of its lease", async || {
            let repeat = pay(&proxy, 0).send().await;
            assert_eq!(repeat.status, 409, "{repeat:?}");
            repeat.json()["type"] == "urn:oncegate:outcome-unknown"
        })
        .await;
        assert_problem(&pay(&proxy, 0).send().await, 409, "outcome-unknown");
        assert_eq!(origin.hits(), 1);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_new_one_is_served_once() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    let mut idle = client(&proxy).connect().await;
    client(&proxy).get("/").send_on(&mut idle).await;
    let reply = operator(&proxy).post("/api/drain").send().await;
    assert_eq!((reply.status, &reply.json()["draining"]), (202, &true.into()));
    let (rest, _) = idle.rest().await;
    assert!(rest.is_empty(), "it is closed without a word");
    let mut new = client(&proxy).connect().await;
    let reply = client(&proxy).get("/").send_on(&mut new).await;
    assert_eq!((reply.status, reply.header("connection")), (201, Some("close")));
    let admin = proxy.admin().to_string();
    let ended = run(&["drain", "--admin", &admin, "--settle", "100ms"], &[]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let left = operator(&proxy).get("/api/drain").send().await.json();
    let expected = json!({"draining": true, "connections": 0, "in_flight": 0, "requests": 2});
    assert_eq!(left, expected);
}

#[tokio::test]
async fn an_instance_that_waits_is_drained_once_its_work_has_ended() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    origin.next(Act::Ledger.after(&gate));
    let proxy = looked_after(&origin).start().await;
    pay(&proxy, 0).open().await.leave(How::Close);
    origin.wait_for_hits(1).await;
    let admin = proxy.admin().to_string();
    let args = ["drain", "--admin", &admin, "--settle", "10ms", "--timeout", "30s"];
    let drained = run(&args, &[]);
    let opened = async {
        eventually("draining", async || metric(&proxy, "oncegate_draining").await == 1.0).await;
        // The caller has left; its work has not ended.
        tokio::time::sleep(Duration::from_millis(300)).await;
        gate.open();
    };
    let (ended, ()) = tokio::join!(drained, opened);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(pay(&proxy, 0).send().await.is_repeat());
}

/// Whoever finds its connection closed was not executed; whoever was executed gets its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_on_a_connection_that_was_idle_is_answered_or_not_executed() {
    const CALLERS: usize = 300;
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).arg("--workers", "1").start().await;
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = client(&proxy).connect().await;
        client(&proxy).get("/first").send_on(&mut caller).await;
        callers.push(caller);
    }
    // Longer than one may be idle while others leave.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    operator(&proxy).post("/api/drain").send().await;
    for (number, caller) in callers.iter_mut().enumerate() {
        pay(&proxy, number).open_on(caller).await;
    }
    let mut answered = 0;
    for caller in &mut callers {
        if let Ok(reply) = caller.try_read().await {
            assert_eq!((reply.status, reply.header("connection")), (201, Some("close")));
            answered += 1;
        }
    }
    eventually("the end of all work", async || metric(&proxy, "oncegate_in_flight").await == 0.0)
        .await;
    assert_eq!(origin.hits() - CALLERS, answered, "what was executed was answered");
    assert!(answered > CALLERS / 2, "{answered} of {CALLERS} were answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_to_which_requests_still_come_is_not_drained() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    let admin = proxy.admin().to_string();
    let args = ["drain", "--admin", &admin, "--settle", "2s", "--timeout", "5s"];
    let drained = run(&args, &[]);
    let asked = async {
        loop {
            client(&proxy).get("/").send().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ended = tokio::select! {
        ended = drained => ended,
        () = asked => unreachable!("it has no end"),
    };
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
}
