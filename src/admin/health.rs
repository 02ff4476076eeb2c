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

/// What a caller wants to know of readiness.
#[derive(Debug, Default, Eq, PartialEq)]
struct Wanted<'a> {
    is_verbose: bool,
    /// The checks that are of no account to this caller.
    excluded: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(query: &'a str) -> Self {
        let mut wanted = Self::default();
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("verbose", _) => wanted.is_verbose = true,
                ("exclude", name) if !name.is_empty() => wanted.excluded.push(name),
                _ => {}
            }
        }
        wanted
    }
}

/// Whether the instance wants requests.
pub(super) fn ready(instance: &Instance, terms: &AdminTerms, query: Option<&str>) -> Answer {
    let wanted = Wanted::of(query.unwrap_or_default());
    let (is_ready, text) = said(&checks(instance, terms), &wanted);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::text(TEXT, text).with_status(status)
}

/// Whether all checks hold that are of account, and what is said of them.
fn said(checks: &[Check], Wanted { is_verbose, excluded }: &Wanted<'_>) -> (bool, String) {
    let counts = |check: &&Check| !excluded.contains(&check.name);
    let is_ready = checks.iter().filter(counts).all(|check| check.trouble.is_none());
    let mut text = String::new();
    if *is_verbose || !is_ready {
        for check in checks {
            let Check { name, trouble } = check;
            // Writing to a string cannot fail.
            let _ = match trouble {
                _ if !counts(&check) => writeln!(text, "[+]{name} excluded: ok"),
                None => writeln!(text, "[+]{name} ok"),
                Some(trouble) => writeln!(text, "[-]{name}: {trouble}"),
            };
        }
        let is_known = |name: &&&str| checks.iter().any(|check| check.name == **name);
        for name in excluded.iter().filter(|name| !is_known(name)) {
            let _ = writeln!(text, "warn: there is no check {name:?} to exclude");
        }
        text.push_str(if is_ready { "readyz check passed\n" } else { "readyz check failed\n" });
    } else {
        text.push_str("ok\n");
    }
    (is_ready, text)
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

#[cfg(test)]
mod tests {
    use super::*;

    const WORKS: Check = Check { name: "drain", trouble: None };

    fn asked(store: Option<&str>, query: &str) -> (bool, String) {
        let checks = [Check { name: "store", trouble: store.map(str::to_owned) }, WORKS];
        said(&checks, &Wanted::of(query))
    }

    #[test]
    fn what_is_excluded_is_of_no_account() {
        let ready = |text: &str| (true, text.to_owned());
        let excluded = "[+]store excluded: ok\n[+]drain ok\nreadyz check passed\n";
        assert_eq!(asked(Some("gone"), "exclude=store"), ready("ok\n"));
        for query in ["exclude=store&verbose", "verbose=1&exclude=drain&exclude=store"] {
            let (is_ready, text) = asked(Some("gone"), query);
            assert!(is_ready && text.contains("[+]store excluded: ok\n"), "{query}: {text}");
        }
        assert_eq!(asked(None, "verbose&exclude=store"), ready(excluded));
        for query in ["", "exclude", "exclude=", "exclude=drain", "exclude=stor", "x=store"] {
            assert!(!asked(Some("gone"), query).0, "{query}");
        }
    }

    #[test]
    fn an_unknown_check_is_said_and_excludes_nothing() {
        let (is_ready, text) = asked(None, "exclude=etcd&verbose&exclude=store");
        assert!(is_ready);
        assert_eq!(text.matches("warn:").count(), 1, "{text}");
        assert!(text.contains("warn: there is no check \"etcd\" to exclude\n"), "{text}");
        assert_eq!(asked(None, "exclude=etcd").1, "ok\n");
    }
}
