//! What is shown at a glance, and the feed: as real requests change them.

use serde_json::json;

use crate::scene::{Scene, admin_of, key_of};
use crate::support::{Act, Gate, How, Proxy, client, eventually};

#[tokio::test]
async fn figures_follow_what_is_asked() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    browser.shows("#kept", "0").await;
    for key in ["a", "b", "c"] {
        scene.charge(key).send().await;
    }
    for _ in 0..4 {
        assert!(scene.charge("a").send().await.is_repeat());
    }
    for _ in 0..2 {
        client(&scene.proxy).get("/v1/charges").send().await;
    }
    browser.shows("#prevented", "4").await;
    browser.shows("#kept", "3").await;
    browser.shows("#ratio", "57.1 %").await;
    for (outcome, total) in [("executed", "3"), ("replayed", "4"), ("passed", "2"), ("failed", "0")]
    {
        let row = format!("[data-outcome={outcome}] td:last-child");
        browser.shows(&row, total).await;
    }
    browser.shows("#window", "24 h").await;
    browser.shows("#store-is", "Healthy").await;
    browser.shows("#store-sub", "in memory").await;
    browser.shows("#kept-sub", "of 256 MiB").await;
    browser.shows("#version", env!("CARGO_PKG_VERSION")).await;
    // The chart has drawn what was asked, in layers above one another.
    for outcome in ["executed", "replayed", "passed"] {
        let mut number = ["executed", "replayed", "collapsed", "passed"].iter();
        let number = number.position(|other| *other == outcome).unwrap() + 1;
        let layer = format!("document.querySelector('#chart g > path:nth-child({number})')");
        browser.until(outcome, &format!("{layer}.getAttribute('d').startsWith('M')")).await;
    }
    // Keys move through the samples, and each is told in words.
    browser.run("document.getElementById('chart').focus()").await;
    let told = "document.getElementById('chart').getAttribute('aria-valuetext')";
    eventually("the sample with the requests", async || {
        browser.press(&[crate::browser::LEFT]).await;
        browser.run(&format!("return {told}")).await.as_str().unwrap().contains("executed")
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn what_runs_is_shown_with_its_age() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    let gate = Gate::shut();
    scene.origin.next(Act::Ledger.after(&gate));
    let mut first = scene.charge("slow").open().await;
    browser.shows("#flying", "1").await;
    browser.shows("#flying-rows tr td", "POST /v1/charges").await;
    let mut second = scene.charge("slow").open().await;
    browser.shows("#flying-sub", "1 repeat waits").await;
    browser.shows("#flying-rows tr td:last-child", " s").await;
    gate.open();
    first.read().await;
    assert!(second.read().await.is_repeat());
    browser.shows("#flying-empty", "Nothing is running").await;
    browser.shows("#flying", "0").await;
    browser.shows("[data-outcome=collapsed] td:last-child", "1").await;
    scene.end().await;
}

#[tokio::test]
async fn duplicates_are_shown_as_they_come() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    browser.shows("#feed-is", "live").await;
    scene.charge("first").send().await;
    let key = key_of(&scene.charge("first").send().await);
    browser.shows("#feed-rows tr", "POST /v1/charges").await;
    browser.shows("#feed-rows tr", "Replayed").await;
    browser.shows("#feed-rows tr", "201").await;
    let shown = browser.run("return document.querySelector('#feed-rows .key').dataset.key").await;
    assert_eq!(shown, json!(key));
    assert_eq!(browser.count("#feed-rows tr").await, 1);
    browser.click("#feed-pause").await;
    for _ in 0..3 {
        scene.charge("first").send().await;
    }
    browser.shows("#feed-pause", "Resume (3 new)").await;
    assert_eq!(browser.count("#feed-rows tr").await, 1);
    browser.click("#feed-pause").await;
    browser.until("all of them", "document.querySelectorAll('#feed-rows tr').length === 4").await;
    // However many come, so many are kept and no more.
    for _ in 0..260 {
        scene.charge("first").send().await;
    }
    let enough = "document.querySelectorAll('#feed-rows tr').length === 200";
    browser.until("a full feed", enough).await;
    browser.shows("#prevented", "264").await;
    assert_eq!(browser.count("#feed-rows tr").await, 200);
    // A row leads to its record.
    browser.click("#feed-rows .key").await;
    browser.shows("#record-key", &key).await;
    browser.shows("#record", "264 by this process").await;
    scene.end().await;
}

#[tokio::test]
async fn an_instance_that_is_gone_is_missed_and_found_again() {
    let mut scene = Scene::open().await;
    scene.ready().await;
    scene.charge("a").send().await;
    scene.browser.shows("#kept", "1").await;
    scene.proxy.kill_9().await;
    scene.browser.shows("#health", "Not reached").await;
    scene.browser.shows("#trouble", "can't be reached").await;
    scene.browser.shows("#kept", "1").await;
    scene.browser.until("old figures", "'stale' in document.body.dataset").await;
    let admin = scene.admin.to_string();
    scene.proxy = Proxy::before(&scene.origin).arg("--admin", &admin).start().await;
    assert_eq!(admin_of(&scene.proxy), scene.admin);
    scene.browser.shows("#health", "Ready").await;
    scene.browser.shows("#kept", "0").await;
    scene.browser.until("new figures", "!('stale' in document.body.dataset)").await;
    assert_eq!(scene.browser.text("#trouble").await, "");
    // The feed is there again, too.
    scene.charge("b").send().await;
    eventually("a duplicate in the feed", async || {
        scene.charge("b").send().await;
        scene.browser.count("#feed-rows tr").await > 0
    })
    .await;
    scene.end_but(&["net::ERR_"]).await;
}

#[tokio::test]
async fn troubles_are_named() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    browser.shows("#reasons-empty", "Nothing").await;
    scene.origin.next(Act::DropAfterExecuting(How::Reset));
    scene.charge("lost").send().await;
    scene.charge("lost").send().await;
    scene.charge("kept").send().await;
    scene.charge("kept").body("another").send().await;
    browser.shows("#reasons-rows", "Refused: key-reused").await;
    browser.shows("#reasons-rows", "Refused: outcome-unknown").await;
    browser.shows("#reasons-rows", "Outcome unknown: ").await;
    browser.shows("#unknown-count", "1").await;
    browser.shows("[data-outcome=refused] td:last-child", "2").await;
    scene.end().await;
}

#[tokio::test]
async fn draining_is_asked_for_once_and_shown() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    browser.click("#drain").await;
    browser.shows("#decide", "can't be undone").await;
    browser.click("#decide-no").await;
    assert_eq!(scene.ask("/readyz").await.status, 200);
    browser.click("#drain").await;
    browser.click("#decide-yes").await;
    browser.shows("#health", "Draining").await;
    browser.until("a button that is off", "document.getElementById('drain').disabled").await;
    assert_eq!(scene.ask("/readyz").await.status, 503);
    assert_eq!(scene.charge("still").send().await.status, 201);
    scene.end().await;
}
