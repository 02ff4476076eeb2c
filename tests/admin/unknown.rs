//! What an instance that was killed has left is counted by the next one.

use crate::kept::Kept;
use crate::support::{Act, Gate, Origin, assert_executed, assert_problem, client, eventually};
use crate::{looked_after, metric};

const ABANDONED: &str = "oncegate_unknown_outcomes_total{cause=\"abandoned\"}";

#[tokio::test]
async fn what_a_kill_has_cut_off_is_counted_once_each() {
    let origin = Origin::start().await;
    let gate = Gate::shut();
    let slow = gate.clone();
    origin.respond(move |received| match received.target.as_str() {
        "/slow" => Act::Ledger.after(&slow),
        _ => Act::Ledger,
    });
    let kept = Kept::disk();
    let mut proxy = kept.told(looked_after(&origin)).start().await;
    let ask = |proxy: &_, path: &str, key: &str| {
        client(proxy).post(path).host("api.example").key(key).body("10")
    };
    for key in ["a", "b", "c"] {
        assert_executed(&ask(&proxy, "/fast", key).send().await);
    }
    let mut callers = Vec::new();
    for key in ["d", "e", "f"] {
        callers.push(ask(&proxy, "/slow", key).open().await);
    }
    origin.wait_for_hits(6).await;
    assert_eq!(metric(&proxy, ABANDONED).await, 0.0);
    proxy.kill_9().await;
    let mut proxy = kept.told(looked_after(&origin)).start().await;
    eventually("all are found", async || metric(&proxy, ABANDONED).await == 3.0).await;
    // One of its own is not among them, and a repeat counts nothing.
    let own = ask(&proxy, "/slow", "g").open().await;
    origin.wait_for_hits(7).await;
    let repeat = ask(&proxy, "/slow", "d").send().await;
    assert_problem(&repeat, 409, "outcome-unknown");
    assert!(ask(&proxy, "/fast", "a").send().await.is_repeat());
    assert_eq!(metric(&proxy, ABANDONED).await, 3.0);
    gate.open();
    drop((own, callers));
    proxy.terminate();
    assert!(proxy.wait_exit().await.success(), "{}", proxy.log());
    let said = "operations were cut off here: their outcomes are unknown found=3";
    proxy.wait_for_log("what was found", |line| line.contains(said)).await;
}
