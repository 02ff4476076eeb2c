//! A batch that is put together anew after a `Retry-After`: its messages are the same, it is not.
//!
//! segment-analytics-python puts the events of such a batch back behind those that wait.

use std::collections::BTreeSet;

use crate::ledger::Fault;
use crate::policy::Policy;
use crate::segment::python;
use crate::traffic::{Traffic, send};

const EXAMPLE: Policy = Policy::Example("segment.toml");

/// Whether some event was sent in the company of different others.
fn regrouped(traffic: &Traffic) -> bool {
    let mut seen = BTreeSet::new();
    traffic.operations().keys().flat_map(|batch| batch.iter()).any(|event| !seen.insert(event))
}

/// Nothing was done with the first batches, so that each event is delivered once.
#[tokio::test]
async fn a_batch_that_was_refused_may_be_put_together_anew() {
    let traffic = send(&python(), EXAMPLE, Fault::ThrottlesAWhile).await;
    traffic.assert_all_well();
    assert!(traffic.counts.values().all(|count| count.kept == 1), "{traffic:?}");
    assert!(regrouped(&traffic), "{traffic:?}");
}

/// The limit of keys for batches: another batch is another operation.
#[tokio::test]
async fn a_batch_that_is_put_together_anew_is_another_operation() {
    let traffic = send(&python(), EXAMPLE, Fault::TimesOut).await;
    assert!(regrouped(&traffic), "{traffic:?}");
    assert!(traffic.counts.values().any(|count| count.kept > 1), "{traffic:?}");
}

/// The remedy: a batch of one cannot be put together in another way.
#[tokio::test]
async fn a_batch_of_one_event_stays_the_same() {
    let traffic = send(&python().with("group", 1), EXAMPLE, Fault::TimesOut).await;
    traffic.assert_all_said("outcome-unknown");
    traffic.assert_once(1);
    assert!(!regrouped(&traffic), "{traffic:?}");
}
