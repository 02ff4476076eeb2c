//! What differs between two attempts at one request, and what no two requests share.

use std::collections::BTreeSet;

use oncegate::idempotency::{Fingerprint, Secret};
use oncegate::policy::{KeySource, Route, is_volatile};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::config;
use crate::generate::{self, pack, plan, sent};
use crate::model;
use crate::request::{Found, Headers, Place, Plan, Sent, Source, Who};

/// Where the volatile headers are listed.
const VOLATILE: &str = include_str!("../../src/policy/volatile.rs");

/// All that are listed, and one for each beginning.
fn volatile() -> Vec<String> {
    let quoted = |line: &str| Some(line.strip_prefix("    \"")?.split_once('"')?.0.to_owned());
    let code = VOLATILE.split("#[cfg(test)]").next().unwrap();
    let (names, prefixes) = code.split_once("PREFIXES").unwrap();
    let names: Vec<_> = names.lines().filter_map(quoted).collect();
    let prefixes: Vec<_> = prefixes.lines().filter_map(quoted).collect();
    assert!(names.len() > 100 && prefixes.len() > 5, "the lists are found no longer");
    let of_prefixes = prefixes.iter().flat_map(|prefix| [prefix.clone(), format!("{prefix}any")]);
    let all: Vec<_> = names.iter().cloned().chain(of_prefixes).collect();
    assert!(all.iter().all(|name| is_volatile(name)));
    all
}

/// Whether a header says what the key is, or whose.
fn is_essential(route: &Route, plan: &Plan, name: &str) -> bool {
    let is_key = route
        .key
        .iter()
        .map(KeySource::name)
        .any(|source| source.split('+').any(|place| place == format!("header:{name}")));
    let is_caller = plan.caller.iter().any(|who| match who {
        Who::Header(header) => *header == name,
        Who::Cookie(_) | Who::Query(_) | Who::Certificate | Who::Basic | Who::Claim(_) => false,
    });
    // There may be keys and callers in the cookies, and the coding comes and goes with the body.
    is_key || is_caller || name == "cookie" || name == "content-encoding"
}

fn key_and_fingerprint(found: Option<Found>) -> Option<([u8; 32], [u8; Fingerprint::LENGTH])> {
    let identity = found?.identity()?;
    Some((*identity.key.as_bytes(), identity.fingerprint.to_bytes()))
}

/// A route that compares all headers but some, and one that finds a key in every request.
fn with_checksum(mut plan: Plan) -> Plan {
    if let Headers::Only(names) = plan.headers {
        plan.headers = Headers::AllBut(names);
    }
    plan.key.push(Source::Checksum);
    plan
}

#[test]
fn every_volatile_header_may_come_go_and_change() {
    let lines = [("Request-ID", ""), ("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")];
    let lines = lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).into();
    let sent = Sent {
        method: "POST".into(),
        authority: "a".into(),
        path: "/a/b".into(),
        query: Some("k=a".into()),
        lines,
        body: b"{\"k\":\"a\"}".to_vec(),
        certificate: None,
    };
    let plan = Plan { caller: vec![Who::Header("authorization")], ..Plan::default() };
    let by_checksum = Plan { key: vec![Source::Checksum], ..plan.clone() }.route(7);
    let by_key = Plan { key: vec![Source::Joined(vec![Place::Query("k")])], ..plan };
    for route in [by_checksum, by_key.route(7)] {
        let identity = sent.identify(&route).unwrap();
        assert!(identity.identity().is_some());
        for name in volatile().iter().filter(|name| *name != "content-encoding") {
            let added = |at: usize, value: &str| {
                sent.with(|other| other.lines.insert(at, (name.to_uppercase(), value.into())))
            };
            for other in [added(0, ""), added(4, "1"), added(2, "\u{e9} \"")] {
                assert_eq!(other.identify(&route), Some(identity), "{other:?}");
            }
            let twice = added(1, "1").with(|other| other.lines.push((name.clone(), b"2".into())));
            assert_eq!(twice.identify(&route), Some(identity), "{twice:?}");
        }
        let named = |name: &str| sent.with(|other| other.lines.push((name.into(), b"1".into())));
        for name in ["x-volatile", "traceparents", "x-envoy", "x-b3", "l5d-ctx"] {
            let found = named(name).identify(&route).unwrap().identity().unwrap();
            let is_same = found == identity.identity().unwrap();
            assert_eq!(is_same, route.key != [KeySource::Checksum], "{name}");
        }
    }
}

/// What a sender, or a hop, may do to the lines of a request from one attempt to the next.
#[derive(Clone, Debug)]
enum Attempt {
    Add(Index, Index, Vec<u8>),
    Change(Index, Vec<u8>),
    Remove(Index),
    /// A line goes elsewhere, but not past another of its name.
    Move(Index, Index),
    Spell(Index, bool),
    Recode(&'static str),
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let index = any::<Index>;
    prop_oneof![
        3 => (index(), index(), generate::value()).prop_map(|(at, name, value)| {
            Attempt::Add(at, name, value)
        }),
        2 => (index(), generate::value()).prop_map(|(at, value)| Attempt::Change(at, value)),
        2 => index().prop_map(Attempt::Remove),
        4 => (index(), index()).prop_map(|(from, to)| Attempt::Move(from, to)),
        2 => (index(), any::<bool>()).prop_map(|(at, upper)| Attempt::Spell(at, upper)),
        2 => prop::sample::select(vec!["gzip", "deflate", "identity", "none"]).prop_map(Attempt::Recode),
    ]
}

impl Attempt {
    /// The next attempt; `passing` are the names of lines that may come and go.
    fn apply(&self, sent: &mut Sent, passing: &[String]) {
        let is_passing = |line: &(String, _)| passing.contains(&line.0.to_ascii_lowercase());
        let count = sent.lines.len();
        match self {
            Self::Add(at, name, value) => {
                let line = (name.get(passing).clone(), value.clone());
                sent.lines.insert(at.index(count + 1), line);
            }
            Self::Change(at, value) => {
                let passing = sent.lines.iter_mut().filter(|line| is_passing(line));
                for line in passing.skip(at.index(count + 1)).take(1) {
                    line.1.clone_from(value);
                }
            }
            Self::Remove(at) if count > 0 && is_passing(&sent.lines[at.index(count)]) => {
                sent.lines.remove(at.index(count));
            }
            Self::Move(from, to) if count > 0 => {
                move_line(sent, from.index(count), to.index(count));
            }
            Self::Spell(at, upper) if count > 0 => {
                let name = &mut sent.lines[at.index(count)].0;
                *name = if *upper { name.to_ascii_uppercase() } else { name.to_ascii_lowercase() };
            }
            Self::Recode(coding) if sent.values("content-encoding").is_empty() => {
                sent.body = pack(coding, &sent.body);
                let line = ("content-encoding".to_owned(), (*coding).into());
                sent.lines.extend((*coding != "none").then_some(line));
            }
            Self::Remove(_) | Self::Move(..) | Self::Spell(..) | Self::Recode(_) => {}
        }
    }
}

fn move_line(sent: &mut Sent, from: usize, to: usize) {
    let passed = &sent.lines[from.min(to)..=from.max(to)];
    let name = &sent.lines[from].0;
    if passed.iter().filter(|line| line.0.eq_ignore_ascii_case(name)).count() == 1 {
        let line = sent.lines.remove(from);
        sent.lines.insert(to, line);
    }
}

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn attempts_at_one_request_have_one_identity(
        plan in plan().prop_map(with_checksum),
        sent in sent(),
        attempts in proptest::collection::vec(attempt(), 1..6),
    ) {
        let route = plan.route(7);
        let Some(identity) = sent.identify(&route) else { return Ok(()) };
        let ignored = match &plan.headers {
            Headers::AllBut(names) | Headers::Only(names) => names.iter().map(ToString::to_string),
        };
        let mut passing: Vec<_> = volatile().into_iter().chain(ignored).collect();
        passing.retain(|name| !is_essential(&route, &plan, name));
        let mut other = sent.clone();
        for attempt in &attempts {
            attempt.apply(&mut other, &passing);
        }
        let found = other.identify(&route);
        prop_assert_eq!(found, Some(identity), "{:?}", other);
    }

    #[test]
    fn nothing_is_shared_under_another_secret(plan in plan().prop_map(with_checksum), sent in sent()) {
        let [one, other] = [7, 8].map(|secret| plan.route(secret));
        let (Some(found), Some(other_found)) = (sent.identify(&one), sent.identify(&other)) else {
            return Ok(());
        };
        let (Some(found), Some(other_found)) = (found.identity(), other_found.identity()) else {
            prop_assert_eq!(found, other_found);
            return Ok(());
        };
        prop_assert_ne!(found.key.to_base64(), other_found.key.to_base64());
        let [secret, other_secret] = [7, 8].map(|byte| Secret::from_bytes([byte; 32]));
        prop_assert_ne!(found.key.forwarded(&secret), found.key.forwarded(&other_secret));
        // A whole checksum is in the key. Otherwise no part of a fingerprint is shared, unless
        // there is no such part.
        if found.fingerprint != Fingerprint::COVERED {
            let (one, other) = (found.fingerprint.to_bytes(), other_found.fingerprint.to_bytes());
            for part in [0..8, 8..16, 16..32] {
                let absent = one[part.clone()].iter().all(|byte| *byte == 0);
                prop_assert_eq!(one[part.clone()] == other[part], absent);
            }
        }
    }
}

/// What a store sees of two requests says nothing of one part that they share.
#[test]
fn parts_of_one_text_have_hashes_of_their_own() {
    let sent = |body: &str, query: Option<&str>, kind: Option<&str>| Sent {
        method: "POST".into(),
        authority: "a".into(),
        path: "/".into(),
        query: query.map(str::to_owned),
        lines: [("k", Some("a")), ("content-type", kind)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
            .collect(),
        body: body.into(),
        certificate: None,
    };
    let key = vec![Source::Joined(vec![Place::Header("k")])];
    let plan = Plan { key, ..Plan::default() };
    let texts = [None, Some(""), Some("a"), Some("b")];
    let mut seen = BTreeSet::new();
    let mut all = 0;
    for body in ["", "a", "b"] {
        for query in texts {
            for kind in texts {
                let sent = sent(body, query, kind);
                assert!(matches!(model::of(&plan, &sent), model::Model::Identity(..)));
                seen.insert(key_and_fingerprint(sent.identify(&plan.route(7))).unwrap());
                all += 1;
            }
        }
    }
    assert_eq!(seen.len(), all);
}
