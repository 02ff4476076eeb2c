//! SIGHUP, whenever it comes.

use super::{Setup, text};
use crate::support::{
    Act, Folder, Gate, Origin, Proxy, assert_executed, assert_problem, assert_replay, client,
};

#[tokio::test]
async fn a_file_that_has_not_changed_is_read_again() {
    let setup = Setup::start("").await;
    let first = setup.post("k1").send().await;
    for _ in 0..5 {
        setup.takes("").await;
        assert_replay(&first, &setup.post("k1").send().await);
    }
    assert_eq!(setup.origin.hits(), 1);
}

/// Without a file there is nothing to read, and the flags say what they said.
#[tokio::test]
async fn without_a_file_it_does_no_harm() {
    let origin = Origin::start().await;
    let proxy = Proxy::before(&origin).arg("--max-request", "10B").start().await;
    let post = |key: &str, length| client(&proxy).post("/a").key(key).body("x".repeat(length));
    let first = post("k1", 10).send().await;
    assert_executed(&first);
    for number in 1..=3 {
        proxy.signal("HUP");
        let is_taken = |line: &str| line.contains(super::TAKEN);
        proxy.wait_for_log("the settings to be read again", is_taken).await;
        assert_replay(&first, &post("k1", 10).send().await);
        assert_problem(&post("k2", 11).send().await, 413, "too-large");
        assert_executed(&post(&format!("new{number}"), 10).send().await);
    }
    assert!(!proxy.log().contains(super::REFUSED), "{}", proxy.log());
}

/// A flag goes before the file, however the file changes: also the address and the upstream.
#[tokio::test]
async fn flags_go_before_a_changed_file_too() {
    let folder = Folder::new();
    let origin = Origin::start().await;
    let config = folder.write("oncegate.toml", "[defaults]\nmax_request = \"10B\"\n");
    let proxy = Proxy::before(&origin).config(config).arg("--max-request", "20B").start().await;
    let changed = "listen = \"127.0.0.1:1\"\n[upstream]\nurl = \"http://127.0.0.1:9\"\n\
                   [defaults]\nmax_request = \"30B\"\n";
    folder.write("oncegate.toml", changed);
    proxy.signal("HUP");
    let is_said = |line: &str| line.contains(super::TAKEN) || line.contains(super::REFUSED);
    let said = proxy.wait_for_log("a word on the settings", is_said).await;
    assert!(said.contains(super::TAKEN), "{said}");
    let post = |length| client(&proxy).post("/a").body("x".repeat(length)).key("k1");
    assert_problem(&post(21).send().await, 413, "too-large");
    assert_executed(&post(20).send().await);
}

/// A pipe can be read only once: what it said holds on.
#[tokio::test]
async fn a_config_from_a_pipe_holds_on() {
    let origin = Origin::start().await;
    let more = "defaults.max_request = \"10B\"";
    let proxy = Proxy::told_by("/dev/stdin").input(&text(&origin, more)).start().await;
    let post = |length| client(&proxy).post("/a").key("k1").body("x".repeat(length));
    let first = post(10).send().await;
    assert_executed(&first);
    proxy.signal("HUP");
    let is_refused = |line: &str| line.contains(super::REFUSED);
    proxy.wait_for_log("a refusal", is_refused).await;
    assert_replay(&first, &post(10).send().await);
    assert_problem(&post(11).send().await, 413, "too-large");
}

/// An instance that ends does not read its settings again, nor does it end at once.
#[tokio::test]
async fn an_instance_that_ends_goes_on_ending() {
    let mut setup = Setup::start("").await;
    let gate = Gate::shut();
    setup.origin.always(Act::Ledger.after(&gate));
    let mut caller = setup.post("k1").open().await;
    setup.origin.wait_for_hits(1).await;
    setup.proxy.terminate();
    setup.proxy.wait_for_log("the end", |line| line.contains("draining")).await;
    setup.write("defaults.max_request = \"1B\"");
    setup.proxy.signal("HUP");
    setup.proxy.signal("HUP");
    gate.open();
    assert_executed(&caller.read().await);
    assert_eq!(setup.proxy.wait_exit().await.code(), Some(0), "{}", setup.proxy.log());
    assert_eq!(setup.said().len(), 0);
}

/// Many at once are as good as one.
#[tokio::test]
async fn a_hail_of_signals_does_no_harm() {
    let setup = Setup::start("defaults.max_request = \"10B\"").await;
    let first = setup.post("k1").send().await;
    setup.write("defaults.max_request = \"20B\"");
    for number in 0..50 {
        setup.proxy.signal("HUP");
        assert_executed(&setup.post(&format!("new{number}")).send().await);
    }
    setup.hears_taken().await;
    assert_replay(&first, &setup.post("k1").send().await);
    assert_executed(&setup.post("longer").body("x".repeat(20)).send().await);
    assert!(setup.said().iter().all(|said| said.refused.is_none()), "{:?}", setup.said());
}
