//! The whole proxy between a caller and an upstream that do whatever they like: nothing panics,
//! nothing hangs, what is sent on has one meaning, and no operation is executed twice.

#[path = "proxy/ask.rs"]
mod ask;
#[path = "proxy/frames.rs"]
mod frames;
#[path = "proxy/observer.rs"]
mod observer;
#[path = "proxy/script.rs"]
mod script;
#[path = "proxy/stage.rs"]
mod stage;
#[path = "../../tests/it/differential/strict.rs"]
mod strict;
#[path = "proxy/upstream.rs"]
mod upstream;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::ask::{Reply, ask};
use self::script::Script;
use self::stage::{Stage, Way};
use self::upstream::{Execution, Upstream};

/// How long anything may take before it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Larger inputs would say no more than these.
const BYTES_MAX: usize = 1 << 14;

/// Takes the input as what a caller and an upstream do, one after the other.
pub fn run(data: &[u8]) {
    if data.len() <= BYTES_MAX {
        Stage::with(|stage| {
            let (key, script) = Stage::next(data);
            stage.block_on(script.protocol, async |way| play(way, &script, &key).await);
        });
    }
}

/// Plays what the script says, and asks for the same operation twice after that, when everybody
/// behaves.
async fn play(way: &Way, script: &Script, key: &str) {
    let upstream = Upstream::listen(way, key);
    script::perform(script, way, &upstream).await;
    let before = upstream.executions();
    upstream.behave();
    let first = ask_until_ended(way, key).await;
    let second = ask_until_ended(way, key).await;
    upstream.close_all();
    let after = upstream.executions();
    upstream.end().await;
    stage::assert_no_panic();
    let is_released = upstream.may_have_released();
    assert_once("in all", &after, is_released);
    // Whatever the upstream released before, it has behaved since, unless it had said more.
    let since = &after[before.len()..];
    assert_once("since then", since, is_released && script.stays);
    assert_same(key, &first, &second, since);
}

/// Asks until nothing runs under the key any more.
async fn ask_until_ended(way: &Way, key: &str) -> Reply {
    let started = Instant::now();
    loop {
        let reply = ask(way, key).await;
        if !reply.says("in-progress") {
            return reply;
        }
        assert!(started.elapsed() < DEADLINE, "an operation hangs: {reply:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails if an operation was executed twice, unless the upstream may have said that it was not.
#[track_caller]
fn assert_once(when: &str, executions: &[Execution], is_released: bool) {
    let mut counts = BTreeMap::new();
    for execution in executions {
        *counts.entry(execution).or_insert(0) += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(is_released || twice.is_empty(), "executed twice {when}: {twice:?}");
}

/// Fails unless the second answer is the first one, and both come from whom they should.
#[track_caller]
fn assert_same(key: &str, first: &Reply, second: &Reply, since: &[Execution]) {
    if first.is_ours() {
        // Something may have ended in the meantime.
        return;
    }
    let both = || format!("{first:?} and then {second:?}");
    assert!(second.is_repeat && !second.is_ours(), "{}", both());
    assert_eq!((first.status, &first.body), (second.status, &second.body), "{}", both());
    if !first.is_repeat {
        assert_eq!(since.len(), 1, "nobody has executed it: {}", both());
        assert_eq!(first.body, upstream::answer_to(key), "somebody else's: {}", both());
    }
}
