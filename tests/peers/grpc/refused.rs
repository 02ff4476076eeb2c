//! What the proxy says by itself to gRPC clients.

use serde_json::json;

use super::service::{Service, Way, assert_refused};
use crate::front::Setup;
use crate::support::Origin;

#[tokio::test]
async fn a_key_with_another_message_is_refused() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let first = json!({"key": "k1", "ask": {"name": "first"}});
    let other = json!({"key": "k1", "ask": {"name": "other"}});
    let called = service.call(&Way::plain(&front), json!([first, other, first])).await;
    assert_eq!(called[0].code, "OK", "{called:?}");
    assert_refused(&called[1], "INVALID_ARGUMENT", "key-reused");
    assert!(called[2].is_repeat(), "{called:?}");
    assert_eq!((service.executed("first"), service.executed("other")), (1, 0));
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let service = Service::start().await;
    let front = service.setup("http").start().await;
    let call = json!({"key": "k".repeat(256), "ask": {"name": "never"}});
    let called = service.call(&Way::plain(&front), json!([call])).await;
    assert_refused(&called[0], "INVALID_ARGUMENT", "key-malformed");
    assert_eq!(service.executed("never"), 0);
}

#[tokio::test]
async fn a_key_that_is_needed_is_asked_for() {
    let service = Service::start().await;
    let defaults = "[defaults]\nkey = [\"header:idempotency-key\"]\nrequire_key = true";
    let front = service.setup("http").table(defaults).start().await;
    let call = json!({"ask": {"name": "never"}});
    let called = service.call(&Way::plain(&front), json!([call])).await;
    assert_refused(&called[0], "INVALID_ARGUMENT", "key-missing");
    assert_eq!(service.executed("never"), 0);
}

/// A message that is too large to be protected is refused with a key, and passes without.
#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let service = Service::start().await;
    let limit = "[defaults]\nmax_request = \"64KiB\"";
    let front = service.setup("http").table(limit).start().await;
    let keyed = json!({"key": "k1", "pad": 100_000, "ask": {"name": "large"}});
    let unkeyed = json!({"pad": 100_000, "ask": {"name": "large"}});
    let called = service.call(&Way::plain(&front), json!([keyed, keyed, unkeyed])).await;
    assert_refused(&called[0], "RESOURCE_EXHAUSTED", "too-large");
    assert_refused(&called[1], "RESOURCE_EXHAUSTED", "too-large");
    assert_eq!((&*called[2].code, service.executed("large")), ("OK", 1), "{called:?}");
}

/// An upstream that is not there has not seen the call, and one that speaks something else is
/// unknown to have done anything.
#[tokio::test]
async fn an_upstream_that_is_not_there_is_unavailable() {
    let service = Service::start().await;
    let nowhere = format!("http://{}", Origin::nowhere().await);
    let front = Setup::before_url(&nowhere).upstream("http2 = true").start().await;
    for key in [Some("k1"), None] {
        let call = json!({"key": key, "ask": {"name": "never"}});
        let called = service.call(&Way::plain(&front), json!([call, call])).await;
        assert_refused(&called[0], "UNAVAILABLE", "upstream-unreachable");
        assert_refused(&called[1], "UNAVAILABLE", "upstream-unreachable");
    }
}
