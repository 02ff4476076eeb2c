//! The SDKs of Stripe: every attempt is the same, and has a key.

use crate::ledger::{Count, Fault};
use crate::policy::Policy;
use crate::sdk::Sdk;
use crate::support::{Origin, assert_executed, assert_problem, assert_replay, client};
use crate::traffic::{protects, send};

const EXAMPLE: Policy = Policy::Example("stripe.toml");

fn python() -> Sdk {
    Sdk::new("stripe_python.py", "outcome-unknown")
}

/// It knows an error by a member `error` of the answer, never by the status: what it does not
/// know, it hands to its caller in place of a payment.
fn node() -> Sdk {
    Sdk::new("stripe_node.mjs", r#"not a payment: {"type":"urn:oncegate:outcome-unknown""#)
}

#[tokio::test]
async fn python_pays_each_order_once() {
    protects(EXAMPLE, &python()).await;
}

#[tokio::test]
async fn node_pays_each_order_once() {
    protects(EXAMPLE, &node()).await;
}

#[tokio::test]
async fn python_is_protected_by_default() {
    protects(Policy::Default, &python()).await;
}

#[tokio::test]
async fn node_is_protected_by_default() {
    protects(Policy::Default, &node()).await;
}

/// Neither tries again after a 429 that does not ask for it; nothing has been paid then.
#[tokio::test]
async fn a_bare_429_is_left_to_the_application() {
    for sdk in [python(), node()] {
        let traffic = send(&sdk, EXAMPLE, Fault::ThrottlesAWhile).await;
        traffic.assert_all_said("RateLimitError 429");
        let refused = Count { executed: 1, kept: 0 };
        assert!(traffic.counts.values().all(|&count| count == refused), "{traffic:?}");
    }
}

#[tokio::test]
async fn a_payment_without_a_key_is_refused() {
    let origin = Origin::start().await;
    let proxy = EXAMPLE.start(&origin).await;
    for path in ["/v1/charges", "/v1/payment_intents", "/v2/core/accounts"] {
        let refused =
            client(&proxy).post(path).caller("sk_test_key").body("amount=10").send().await;
        assert_problem(&refused, 400, "key-missing");
    }
    let deleted = client(&proxy).method("DELETE", "/v1/customers/1").caller("sk_test_key");
    assert_eq!(deleted.send().await.status, 201);
    assert_eq!(origin.hits(), 1);
}

#[tokio::test]
async fn a_key_counts_for_one_connected_account() {
    let origin = Origin::start().await;
    let proxy = EXAMPLE.start(&origin).await;
    let request = client(&proxy).post("/v1/charges").caller("sk_test_key").key("k1").body("a=1");
    for account in ["acct_1", "acct_2"] {
        let request = request.clone().header("Stripe-Account", account);
        let first = request.clone().send().await;
        assert_executed(&first);
        assert_replay(&first, &request.send().await);
    }
    assert_eq!(origin.hits(), 2);
}
