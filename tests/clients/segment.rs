//! The SDKs of Segment: every attempt says when it was sent, and counts itself.

use crate::policy::{Policy, assert_single_events_are_known};
use crate::sdk::Sdk;
use crate::traffic::{default_misses, protects};

const EXAMPLE: Policy = Policy::Example("segment.toml");
const CHANGES: &[&str] = &["/sentAt", "x-retry-count"];

pub fn python() -> Sdk {
    Sdk::new("segment_python.py", "outcome-unknown").changing(CHANGES).compressing()
}

fn node() -> Sdk {
    Sdk::new("segment_node.mjs", "[409]").changing(CHANGES)
}

#[tokio::test]
async fn python_delivers_each_event_once() {
    protects(EXAMPLE, &python()).await;
}

#[tokio::test]
async fn node_delivers_each_event_once() {
    protects(EXAMPLE, &node()).await;
}

#[tokio::test]
async fn python_is_not_protected_by_default() {
    default_misses(&python()).await;
}

#[tokio::test]
async fn node_is_not_protected_by_default() {
    default_misses(&node()).await;
}

#[tokio::test]
async fn single_events_are_known_by_their_ids() {
    let paths = ["/v1/track", "/v1/identify"];
    assert_single_events_are_known(EXAMPLE, &paths).await;
}
