//! Pairs of requests that are nearly alike.

use std::cell::Cell;

use oncegate::idempotency::{Caller, Fingerprint};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::change::change;
use crate::config;
use crate::generate::{plan, sent};
use crate::model::{self, Compared, Model};
use crate::request::{Found, Plan, Sent};
use crate::slots::{filled, filling};

/// How often a pair was of each kind, so that a test which never sees some of them fails.
#[derive(Debug, Default)]
struct Tally {
    no_request: Cell<u32>,
    refused: Cell<u32>,
    nothing: Cell<u32>,
    other_key: Cell<u32>,
    other_fingerprint: Cell<u32>,
    same: Cell<u32>,
    same_but_unlike: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

#[test]
fn two_requests_are_one_if_all_that_counts_is_the_same() {
    let tally = Tally::default();
    let changes = proptest::collection::vec(change(), 1..4);
    let filling = proptest::option::weighted(0.7, filling());
    let sent = (plan(), sent(), filling).prop_map(|(plan, sent, filling)| match filling {
        Some(filling) => (filled(&plan, &sent, &filling), plan),
        None => (sent, plan),
    });
    let result = TestRunner::new(config(4096)).run(&(sent, changes), |((one, plan), changes)| {
        let other = changes.iter().fold(one.clone(), |sent, change| change.apply(&plan, &sent));
        check(&plan, (&one, &other), &tally)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let Tally {
        no_request: _,
        refused,
        nothing,
        other_key,
        other_fingerprint,
        same,
        same_but_unlike,
    } = &tally;
    for seen in [refused, nothing, other_key, other_fingerprint, same, same_but_unlike] {
        assert!(seen.get() >= 50, "{tally:?}");
    }
}

fn check(plan: &Plan, (one, other): (&Sent, &Sent), tally: &Tally) -> Result<(), TestCaseError> {
    let route = plan.route(7);
    let (Some(found), Some(other_found)) = (one.identify(&route), other.identify(&route)) else {
        count(&tally.no_request);
        return Ok(());
    };
    let (model, other_model) = (model::of(plan, one), model::of(plan, other));
    agree(&found, &model)?;
    agree(&other_found, &other_model)?;
    let (Model::Identity(record, compared), Model::Identity(other_record, other_compared)) =
        (&model, &other_model)
    else {
        count(if model == Model::Nothing { &tally.nothing } else { &tally.refused });
        return Ok(());
    };
    let (found, other_found) = (found.identity().unwrap(), other_found.identity().unwrap());
    let (keys, fingerprints) = (record == other_record, compared == other_compared);
    prop_assert_eq!(found.key == other_found.key, keys, "{:?} {:?}", record, other_record);
    let difference = found.fingerprint.difference(&other_found.fingerprint);
    prop_assert_eq!(
        found.fingerprint == other_found.fingerprint,
        fingerprints,
        "{:?} {:?}",
        compared,
        other_compared
    );
    prop_assert_eq!(difference.is_none(), fingerprints);
    count(match (keys, fingerprints) {
        (false, _) => &tally.other_key,
        (true, false) => &tally.other_fingerprint,
        (true, true) if format!("{one:?}") == format!("{other:?}") => &tally.same,
        (true, true) => &tally.same_but_unlike,
    });
    Ok(())
}

/// Whether the policy makes of one request what the model does.
fn agree(found: &Found, model: &Model) -> Result<(), TestCaseError> {
    match (found, model) {
        (Found::Refused, Model::Refused) | (Found::Nothing, Model::Nothing) => {}
        (Found::Identity(identity, caller), Model::Identity(record, compared)) => {
            let known = *caller == Caller::Known;
            // Credentials that prove nothing count, and make nobody known.
            prop_assert!(!known || !record.callers.is_empty());
            let covered = identity.fingerprint == Fingerprint::COVERED;
            prop_assert_eq!(covered, **compared == Compared::Covered);
        }
        _ => prop_assert!(false, "{found:?} {model:?}"),
    }
    Ok(())
}
