//! Records are found, and decided about, by clicks; what repeats get then is what was promised.

use serde_json::json;

use crate::browser::ESCAPE;
use crate::scene::{Scene, key_of};
use crate::support::{Act, Gate, How, Reply, assert_problem, client};

/// Makes an operation whose outcome nobody knows.
async fn lose(scene: &Scene, key: &str) -> Reply {
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    let lost = scene.charge(key).send().await;
    assert_problem(&lost, 502, "upstream-broken");
    lost
}

#[tokio::test]
async fn an_unknown_outcome_is_found_and_acknowledged() {
    let scene = Scene::told(|proxy| proxy.arg("--upstream-timeout", "300ms")).await;
    let browser = &scene.browser;
    scene.ready().await;
    let gate = Gate::shut();
    scene.origin.next(Act::DropAfterExecuting(How::Close).after(&gate));
    let hung = scene.charge("hang").send().await;
    assert_problem(&hung, 504, "upstream-timeout");
    gate.open();
    browser.shows("#unknown-count", "1").await;
    browser.click("#unknown-show").await;
    let row = format!("#records-rows tr[data-key='{}']", key_of(&hung));
    browser.shows(&row, "Outcome unknown").await;
    assert_eq!(browser.count("#records-rows tr").await, 1);
    browser.click(&format!("{row} [data-decision=ack]")).await;
    browser.shows("#decide", "Repeats no longer get 409").await;
    browser.shows("#decide", &key_of(&hung)).await;
    browser.fill("#decide-status", "202").await;
    browser.fill("#decide-by", "ops <b>team</b>").await;
    browser.fill("#decide-note", "found in the ledger").await;
    browser.click("#decide-yes").await;
    browser.shows("#said", "Acknowledged").await;
    browser.shows("#unknown-count", "0").await;
    browser.shows("#records-empty", "No records").await;
    let repeat = scene.charge("hang").send().await;
    assert_eq!(repeat.status, 202);
    assert!(repeat.is_repeat(), "{repeat:?}");
    let body = repeat.json();
    assert_eq!(body["acknowledged"], json!(true));
    assert_eq!(body["by"], json!("ops <b>team</b>"));
    assert_eq!(body["note"], json!("found in the ledger"));
    assert_eq!(scene.origin.executions("hang"), 1);
    scene.end().await;
}

#[tokio::test]
async fn an_operation_that_did_not_happen_runs_again() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    let lost = lose(&scene, "lost").await;
    scene.ready().await;
    assert_problem(&scene.charge("lost").send().await, 409, "outcome-unknown");
    let row = format!("#records-rows tr[data-key='{}']", key_of(&lost));
    browser.reload().await;
    browser.click(&format!("{row} [data-decision=fail]")).await;
    browser.shows("#decide", "The next repeat will run the operation again").await;
    browser.shows("#decide", "only if you know that it did not happen").await;
    // A second thought changes nothing.
    browser.click("#decide-no").await;
    assert_problem(&scene.charge("lost").send().await, 409, "outcome-unknown");
    browser.click(&format!("{row} [data-decision=fail]")).await;
    browser.click("#decide-yes").await;
    browser.shows("#said", "the next repeat runs").await;
    let again = scene.charge("lost").send().await;
    assert_eq!(again.status, 201);
    assert!(!again.is_repeat());
    assert_eq!(scene.origin.executions("lost"), 2);
    scene.end().await;
}

#[tokio::test]
async fn a_kept_answer_is_searched_for_and_forgotten() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    scene.ready().await;
    scene.charge("kept").send().await;
    let key = key_of(&scene.charge("kept").send().await);
    // As it was copied from an answer, with the name of its header.
    browser.fill("#search-key", &format!(" Duplicate-Key: {key} ")).await;
    browser.click("#search button").await;
    browser.shows("#record-key", &key).await;
    browser.shows("#record", "POST /v1/charges").await;
    browser.shows("#record", "1 by this process").await;
    assert_eq!(browser.count("#record [data-decision]").await, 1);
    browser.click("#record [data-decision=forget]").await;
    browser.shows("#decide", "it runs the operation again").await;
    browser.click("#decide-yes").await;
    browser.shows("#said", "Forgotten").await;
    browser.until("no dialog", "!document.querySelector('dialog[open]')").await;
    browser.shows("#records-empty", "No records").await;
    browser.click("#search button").await;
    browser.shows("#said", "No record has this key").await;
    assert!(!scene.charge("kept").send().await.is_repeat());
    assert_eq!(scene.origin.executions("kept"), 2);
    scene.end_but(&["404"]).await;
}

#[tokio::test]
async fn what_runs_can_not_be_decided_about() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    let gate = Gate::shut();
    scene.origin.next(Act::Ledger.after(&gate));
    let mut caller = scene.charge("slow").open().await;
    scene.ready().await;
    browser.click("#flying-rows .key").await;
    browser.shows("#record", "In flight").await;
    browser.shows("#record-actions", "nothing to decide until it has ended").await;
    assert_eq!(browser.count("#record [data-decision]").await, 0);
    browser.press(&[ESCAPE]).await;
    gate.open();
    caller.read().await;
    scene.end().await;
}

#[tokio::test]
async fn a_decision_that_comes_too_late_says_so() {
    let scene = Scene::open().await;
    let browser = &scene.browser;
    let lost = lose(&scene, "lost").await;
    scene.ready().await;
    browser.click("#unknown-show").await;
    let row = format!("#records-rows tr[data-key='{}']", key_of(&lost));
    browser.click(&format!("{row} [data-decision=ack]")).await;
    // Somebody else decides meanwhile.
    let path = key_of(&lost).replace('+', "-").replace('/', "_").replace('=', "");
    let other = crate::support::Client::of(scene.admin)
        .post(&format!("/api/records/{path}/ack"))
        .host(&scene.admin.to_string())
        .send()
        .await;
    assert_eq!(other.status, 200, "{other:?}");
    browser.click("#decide-yes").await;
    browser.until("a refusal", "document.getElementById('decide-wrong').textContent").await;
    browser.until("a dialog", "document.getElementById('decide').open").await;
    browser.click("#decide-no").await;
    assert_eq!(scene.charge("lost").send().await.status, 200);
    scene.end_but(&["409"]).await;
}

#[tokio::test]
async fn records_are_filtered_and_turned_page_by_page() {
    let scene = Scene::told(|proxy| {
        proxy.toml(
            "[[route]]\nname = \"refunds\"\npath = \"/v1/refunds\"\n\
             [[route]]\nname = \"others\"\npath = \"/{*rest}\"\n",
        )
    })
    .await;
    let browser = &scene.browser;
    for number in 0..60 {
        scene.charge(&format!("c{number}")).send().await;
    }
    let refund = client(&scene.proxy).post("/v1/refunds").key("r").body("1");
    refund.send().await;
    lose(&scene, "lost").await;
    scene.ready().await;
    browser.reload().await;
    let rows = |count: usize| {
        let expression =
            format!("document.querySelectorAll('#records-rows tr').length === {count}");
        async move { browser.until(&format!("{count} rows"), &expression).await }
    };
    rows(50).await;
    browser.click("#older").await;
    rows(12).await;
    browser.shows("#page", "Page 2").await;
    browser.until("no more", "document.getElementById('older').disabled").await;
    browser.click("#newer").await;
    rows(50).await;
    browser.choose("#filter-route", "refunds").await;
    rows(1).await;
    browser.shows("#records-rows", "/v1/refunds").await;
    browser.choose("#filter-state", "outcome-unknown").await;
    rows(0).await;
    browser.choose("#filter-route", "").await;
    rows(1).await;
    browser.shows("#records-rows", "Outcome unknown").await;
    browser.choose("#filter-state", "").await;
    browser.choose("#filter-age", "older_than=1h").await;
    rows(0).await;
    browser.choose("#filter-age", "newer_than=1h").await;
    rows(50).await;
    scene.end().await;
}
