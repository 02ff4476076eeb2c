//! A request that runs goes on under the settings that it came to.

use std::time::Duration;

use tokio::time::sleep;

use super::Setup;
use crate::support::{
    Act, Answer, Gate, How, Origin, Request, assert_executed, assert_problem, assert_replay,
    client, outstanding, read_all,
};

/// Lets a request reach the origin, does this meanwhile, and returns its answer.
async fn while_it_runs(
    setup: &Setup,
    request: Request,
    act: impl Into<Act>,
    meanwhile: impl AsyncFnOnce(),
) -> crate::support::Reply {
    let (gate, hits) = (Gate::shut(), setup.origin.hits());
    setup.origin.next(act.into().after(&gate));
    let mut caller = request.open().await;
    setup.origin.wait_for_hits(hits + 1).await;
    meanwhile().await;
    gate.open();
    caller.read().await
}

/// Its answer comes from where it was sent, and is kept for those who come later.
#[tokio::test]
async fn its_upstream() {
    let setup = Setup::start("").await;
    let other = Origin::start().await;
    let (gate, late) = (Gate::shut(), Gate::shut());
    setup.origin.next(Act::Ledger.after(&gate)).next(Act::Ledger.after(&late));
    let mut callers = outstanding(&setup.proxy, &setup.post("k1"), 2).await;
    setup.origin.wait_for_hits(1).await;
    let mut passed = client(&setup.proxy).get("/a").open().await;
    setup.origin.wait_for_hits(2).await;
    assert_eq!(setup.told(&super::text(&other, "")).await.refused, None);
    callers.extend(outstanding(&setup.proxy, &setup.post("k1"), 3).await);
    assert_executed(&setup.post("k2").send().await);
    gate.open();
    let replies = read_all(&mut callers).await;
    crate::support::assert_one_executed(&replies);
    assert!(setup.post("k1").send().await.is_repeat());
    late.open();
    assert_eq!(passed.read().await.status, 201);
    assert_eq!((setup.origin.hits(), other.hits()), (2, 1));
}

/// What its answer does to its key was said when it came.
#[tokio::test]
async fn what_its_answer_does() {
    let setup = Setup::start("defaults.keep = [500]").await;
    let failing = || Answer::new(500).body("sorry");
    let first = while_it_runs(&setup, setup.post("kept"), failing(), async || {
        setup.takes("").await;
    })
    .await;
    assert_replay(&first, &setup.post("kept").send().await);
    let first = while_it_runs(&setup, setup.post("released"), failing(), async || {
        setup.takes("defaults.keep = [500]").await;
    })
    .await;
    assert_eq!(first.status, 500);
    assert_executed(&setup.post("released").send().await);
    let first = while_it_runs(&setup, setup.post("held"), Answer::new(502), async || {
        setup.takes("defaults.keep = [502]").await;
    })
    .await;
    assert_eq!(first.status, 502);
    assert_problem(&setup.post("held").send().await, 409, "outcome-unknown");
}

/// How long it may take, and for how long its answer is kept.
#[tokio::test]
async fn its_times() {
    let setup = Setup::start("defaults.window = \"1h\"").await;
    let first = while_it_runs(&setup, setup.post("k1"), Act::Ledger, async || {
        setup.takes("defaults.window = \"400ms\"\nupstream.timeout = \"200ms\"").await;
        sleep(Duration::from_millis(600)).await;
    })
    .await;
    assert_eq!(first.status, 201, "{first:?}");
    sleep(Duration::from_millis(600)).await;
    assert_replay(&first, &setup.post("k1").send().await);
}

/// How large its answer may be, and what becomes of it when it is cut.
#[tokio::test]
async fn its_sizes_and_its_failures() {
    let setup = Setup::start("defaults.max_response = \"1KiB\"").await;
    let large = || Answer::new(201).body("x".repeat(2000));
    let first = while_it_runs(&setup, setup.post("small"), large(), async || {
        setup.takes("defaults.max_response = \"4KiB\"").await;
    })
    .await;
    assert_eq!((first.status, first.body.len()), (201, 2000));
    assert_problem(&setup.post("small").send().await, 409, "answer-not-kept");
    let first = while_it_runs(&setup, setup.post("large"), large(), async || {
        setup.takes("defaults.max_response = \"1KiB\"").await;
    })
    .await;
    assert_replay(&first, &setup.post("large").send().await);
    let cut = Act::DropAfterExecuting(How::Close);
    let broken = while_it_runs(&setup, setup.post("cut"), cut, async || {
        setup.takes("defaults.on_unknown = \"release\"").await;
        setup.takes("").await;
    })
    .await;
    crate::support::assert_held(&broken, setup.post("cut")).await;
}

/// Whether it is guarded: what is switched off meanwhile is still kept.
#[tokio::test]
async fn its_mode() {
    let setup = Setup::start("").await;
    let first = while_it_runs(&setup, setup.post("k1"), Act::Ledger, async || {
        setup.takes("defaults.mode = \"off\"").await;
        assert_executed(&setup.post("k1").send().await);
    })
    .await;
    assert_executed(&first);
    setup.takes("").await;
    assert_replay(&first, &setup.post("k1").send().await);
    assert_eq!(setup.origin.hits(), 2);
}

/// A caller that still sends its body was let in by the settings that its head came to.
#[tokio::test]
async fn what_it_may_send() {
    let setup = Setup::start("").await;
    let bytes = setup.post("k1").body("0123456789").chunked(5).bytes();
    let mut caller = client(&setup.proxy).connect().await;
    caller.write(&bytes[..bytes.len() - 3]).await;
    setup.proxy.has_read_all().await;
    setup.takes("defaults.max_request = \"5B\"\nlimits.body_timeout = \"1ms\"").await;
    caller.write(&bytes[bytes.len() - 3..]).await;
    assert_executed(&caller.read().await);
    let next = setup.post("k2").body("0123456789").send_on(&mut caller).await;
    assert_problem(&next, 413, "too-large");
}

/// Those who wait for it do so for as long as was said when they came.
#[tokio::test]
async fn those_who_wait_for_it() {
    let setup = Setup::start("").await;
    let gate = Gate::shut();
    setup.origin.next(Act::Ledger.after(&gate));
    let mut callers = outstanding(&setup.proxy, &setup.post("k1"), 5).await;
    setup.origin.wait_for_hits(1).await;
    setup.takes("defaults.wait = \"100ms\"\ndefaults.on_mismatch = \"replay\"").await;
    assert_problem(&setup.post("k1").send().await, 409, "in-progress");
    assert_problem(&setup.post("k1").body("other").send().await, 409, "in-progress");
    gate.open();
    crate::support::assert_one_executed(&read_all(&mut callers).await);
    assert_eq!(setup.origin.hits(), 1);
}

/// Under two settings of `on_mismatch`, one key has still one execution and one answer.
#[tokio::test]
async fn one_key_under_two_rules_for_mismatches() {
    for (before, after) in [("refuse", "replay"), ("replay", "refuse")] {
        let more = |rule: &str| format!("defaults.on_mismatch = \"{rule}\"");
        let setup = Setup::start(&more(before)).await;
        let gate = Gate::shut();
        setup.origin.next(Act::Ledger.after(&gate));
        let mut callers = outstanding(&setup.proxy, &setup.post("k1"), 3).await;
        setup.origin.wait_for_hits(1).await;
        setup.takes(&more(after)).await;
        callers.extend(outstanding(&setup.proxy, &setup.post("k1"), 3).await);
        let mut others = outstanding(&setup.proxy, &setup.post("k1").body("20"), 3).await;
        gate.open();
        let replies = read_all(&mut callers).await;
        crate::support::assert_one_executed(&replies);
        for other in read_all(&mut others).await {
            match after {
                "replay" => assert_eq!(other.body, replies[0].body, "{other:?}"),
                _ => assert_problem(&other, 422, "key-reused"),
            }
        }
        assert_eq!(setup.origin.hits(), 1, "{before} to {after}");
    }
}

/// An answer that is on its way goes on, from an upstream that is no longer the one.
#[tokio::test]
async fn an_answer_that_is_on_its_way() {
    let setup = Setup::start("").await;
    let other = Origin::start().await;
    let gate = Gate::shut();
    let events = Answer::new(200).header("Content-Type", "text/event-stream").chunked();
    setup.origin.next(events.body("data: 1\n\n").body_after(&gate, "data: 2\n\n"));
    let mut caller = setup.post("k1").open().await;
    caller.sees(b"data: 1\n\n").await;
    assert_eq!(setup.told(&super::text(&other, "")).await.refused, None);
    gate.open();
    assert_eq!(caller.read().await.text(), "data: 1\n\ndata: 2\n\n");
    assert_problem(&setup.post("k1").send().await, 409, "answer-not-kept");
}
