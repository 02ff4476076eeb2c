//! Whether the instance is alive, and whether it wants requests.
//!
//! The paths and the verbose text are those that Kubernetes' own components have.

use std::fmt::Write as _;

use http::StatusCode;

use super::answer::Answer;
use super::{AdminTerms, Instance};
use crate::idempotency::OnStoreError;
use crate::policy::{Mode, Policy};
use crate::server::Stage;

const TEXT: &str = "text/plain; charset=utf-8";

/// One thing that an instance needs to want requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Check {
    pub(super) name: &'static str,
    /// Why it does not hold, if it doesn't.
    pub(super) trouble: Option<String>,
}

/// That the instance is alive.
pub(super) fn alive() -> Answer {
    Answer::text(TEXT, "ok\n")
}

/// Whether the instance wants requests.
pub(super) fn ready(instance: &Instance, terms: &AdminTerms, query: Option<&str>) -> Answer {
    let checks = checks(instance, terms);
    let is_ready = checks.iter().all(|check| check.trouble.is_none());
    let is_verbose = query.is_some_and(|query| {
        query.split('&').any(|pair| pair.split('=').next() == Some("verbose"))
    });
    let mut text = String::new();
    if is_verbose || !is_ready {
        for Check { name, trouble } in &checks {
            // Writing to a string cannot fail.
            let _ = match trouble {
                None => writeln!(text, "[+]{name} ok"),
                Some(trouble) => writeln!(text, "[-]{name}: {trouble}"),
            };
        }
        text.push_str(if is_ready { "readyz check passed\n" } else { "readyz check failed\n" });
    } else {
        text.push_str("ok\n");
    }
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::text(TEXT, text).with_status(status)
}

/// What an instance needs to want requests.
pub(super) fn checks(instance: &Instance, terms: &AdminTerms) -> [Check; 2] {
    let drains = instance.shutdown.stage() > Stage::Serving;
    let store = match needs_store(&terms.policy) {
        true => instance.store.trouble(),
        false => None,
    };
    [
        Check { name: "store", trouble: store },
        Check { name: "drain", trouble: drains.then(|| "the instance was told to drain".into()) },
    ]
}

/// Whether requests are refused while the store is in trouble: an instance that passes them on is
/// of use without it.
fn needs_store(policy: &Policy) -> bool {
    policy.routes().any(|route| {
        route.mode == Mode::Enforce && route.terms.on_store_error == OnStoreError::Refuse
    })
}
