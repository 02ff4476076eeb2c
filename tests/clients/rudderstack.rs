//! The SDKs of `RudderStack`: the one for Python says in every attempt when it was sent.

use serde_json::json;

use crate::ledger::Fault;
use crate::policy::{Policy, assert_single_events_are_known};
use crate::sdk::Sdk;
use crate::traffic::{default_misses, protects, send};

const EXAMPLE: Policy = Policy::Example("rudderstack.toml");

/// It looks for a member `code` in whatever JSON comes with a failure, and fails itself if there
/// is none.
fn python() -> Sdk {
    let python = Sdk::new("rudder_python.py", "KeyError: 'code'");
    python.changing(&["/sentAt"]).compressing()
}

fn node() -> Sdk {
    Sdk::new("rudder_node.mjs", "status code 409").compressing()
}

/// As it comes, it does not try again when it has timed out.
fn persistent_node() -> Sdk {
    let extra = json!({
        "axiosConfig": {"transitional": {"clarifyTimeoutError": true}},
        "axiosRetryConfig": {"shouldResetTimeout": true},
    });
    node().with("extra", extra)
}

#[tokio::test]
async fn python_delivers_each_event_once() {
    protects(EXAMPLE, &python()).await;
}

#[tokio::test]
async fn node_delivers_each_event_once() {
    protects(EXAMPLE, &persistent_node()).await;
}

#[tokio::test]
async fn python_is_not_protected_by_default() {
    default_misses(&python()).await;
}

#[tokio::test]
async fn node_is_protected_by_default() {
    protects(Policy::Default, &persistent_node()).await;
}

/// The SDK gives events up that have arrived.
#[tokio::test]
async fn node_does_not_retry_a_timeout_unless_told_to() {
    let traffic = send(&node(), EXAMPLE, Fault::Stalls).await;
    traffic.assert_all_said("timeout of 1000ms exceeded");
    traffic.assert_once(1);
    assert!(traffic.operations().values().all(|attempts| attempts.len() == 1), "{traffic:?}");
}

#[tokio::test]
async fn single_events_are_known_by_their_ids() {
    let paths = ["/v1/track", "/v1/identify"];
    assert_single_events_are_known(EXAMPLE, &paths).await;
}
