//! Two policies, one of which follows the other: equal ones know every request by the same, and an
//! example of a difference really is one.

use std::cell::Cell;
use std::sync::LazyLock;

use oncegate::policy::{Anonymous, KeyPart, KeySource, Policy, Rederived, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::Value;

use crate::config;
use crate::generate::{self, AUTHORITIES, METHODS, PATHS, pack};
use crate::json::tokens;
use crate::request::{Headers, Place, Plan, Sent, Source, Who};
use crate::rich;
use crate::slots::put;

static REQUESTS: LazyLock<Vec<Sent>> = LazyLock::new(|| {
    let mut runner = TestRunner::deterministic();
    let mut one = || rich::sent().new_tree(&mut runner).unwrap().current();
    (0..3000).map(|_| one()).collect()
});

/// What becomes of a policy from one version of its file to the next.
#[derive(Clone, Debug)]
enum Edit {
    Move(Index, Index),
    Remove(Index),
    Insert(Index, Box<Plan>),
    Set(Index, Setting, Box<Plan>),
    /// The lists whose order says nothing are turned round.
    Reorder(Index),
}

#[derive(Clone, Copy, Debug)]
enum Setting {
    Methods,
    Host,
    Path,
    Key,
    Caller,
    Headers,
    Ignored,
    Authority,
    Tokens,
    Limit,
}

fn route() -> impl Strategy<Value = Plan> {
    let rule = (generate::methods(), generate::host());
    (generate::plan(), rule).prop_map(|(plan, (methods, host))| Plan { methods, host, ..plan })
}

fn edit() -> impl Strategy<Value = Edit> {
    use Setting::*;
    let settings =
        vec![Methods, Host, Path, Key, Caller, Headers, Ignored, Authority, Tokens, Limit];
    let index = any::<Index>;
    let boxed = || route().prop_map(Box::new);
    prop_oneof![
        2 => (index(), index()).prop_map(|(from, to)| Edit::Move(from, to)),
        1 => index().prop_map(Edit::Remove),
        1 => (index(), boxed()).prop_map(|(at, plan)| Edit::Insert(at, plan)),
        6 => (index(), select(settings), boxed())
            .prop_map(|(at, setting, plan)| Edit::Set(at, setting, plan)),
        2 => index().prop_map(Edit::Reorder),
    ]
}

impl Edit {
    fn apply(&self, plans: &mut Vec<Plan>) {
        let count = plans.len();
        match self {
            Self::Move(from, to) => {
                let plan = plans.remove(from.index(count));
                plans.insert(to.index(count), plan);
            }
            Self::Remove(at) if count > 1 => drop(plans.remove(at.index(count))),
            Self::Remove(_) => {}
            Self::Insert(at, plan) => plans.insert(at.index(count), (**plan).clone()),
            Self::Set(at, setting, plan) => {
                setting.set(&mut plans[at.index(count)], (**plan).clone());
            }
            Self::Reorder(at) => {
                let plan = &mut plans[at.index(count)];
                let (Headers::AllBut(names) | Headers::Only(names)) = &mut plan.headers;
                names.reverse();
                plan.ignored.reverse();
            }
        }
    }
}

impl Setting {
    fn set(self, plan: &mut Plan, other: Plan) {
        match self {
            Self::Methods => plan.methods = other.methods,
            Self::Host => plan.host = other.host,
            Self::Path => plan.path = other.path,
            Self::Key => plan.key = other.key,
            Self::Caller => plan.caller = other.caller,
            Self::Headers => plan.headers = other.headers,
            Self::Ignored => plan.ignored = other.ignored,
            Self::Authority => plan.authority = other.authority,
            Self::Tokens => plan.tokens = other.tokens,
            Self::Limit => plan.request_bytes_max = 16,
        }
    }
}

/// A policy whose last route holds where no other matches. Its routes are known by their number.
fn policy(plans: &[Plan], next: bool) -> Policy {
    let last = plans.len() - 1;
    let routes = plans.iter().enumerate().map(|(index, plan)| {
        let (methods, host, path) = match index == last {
            true => (None, None, None),
            false => (plan.methods, plan.host, plan.path),
        };
        let route = proper(Plan { methods, host, path, ..plan.clone() }).route(7);
        let name = index.to_string().into();
        // What says nothing about keys may change with every version.
        let anonymous = if next { Anonymous::Refuse } else { Anonymous::Share };
        Route { name, anonymous, response_bytes_max: 1 + usize::from(next), ..route }
    });
    let mut routes: Vec<_> = routes.collect();
    let fallback = routes.pop().unwrap();
    Policy::new(routes, fallback)
}

/// The plan without what no request can tell: a source that is never come to, or never found. Of
/// these a policy may say that they make a difference.
fn proper(mut plan: Plan) -> Plan {
    let has = |name: &str| {
        let path = plan.path.unwrap_or_default();
        path.contains(&format!("{{{name}}}")) || path.contains(&format!("{{*{name}}}"))
    };
    let mut earlier: Vec<Vec<Place>> = Vec::new();
    plan.key.retain_mut(|source| {
        let Source::Joined(places) = source else { return true };
        let mut pointers = 0;
        places.retain(|place| {
            pointers += usize::from(matches!(place, Place::Json(_)));
            match place {
                Place::Path(name) => has(name),
                // A value is not a list or an object at the same time.
                Place::Json(_) => pointers == 1,
                Place::Header(_) | Place::Query(_) | Place::Cookie(_) => true,
            }
        });
        if places.is_empty() {
            return false;
        }
        // Every request has a path.
        let mut needed = places.clone();
        needed.retain(|place| !matches!(place, Place::Path(_)));
        let is_reached = !earlier.iter().any(|all| all.iter().all(|one| needed.contains(one)));
        earlier.push(needed);
        is_reached
    });
    if plan.key.is_empty() {
        plan.key.push(Source::Checksum);
    }
    if plan.key.iter().any(|source| matches!(source, Source::Joined(places) if is_path(places))) {
        plan.key.retain(|source| *source != Source::Checksum);
    }
    plan.caller.retain(|who| plan.tokens.is_some() || !matches!(who, Who::Claim(_)));
    plan
}

fn is_path(places: &[Place]) -> bool {
    places.iter().all(|place| matches!(place, Place::Path(_)))
}

/// How often there was an answer of each kind.
#[derive(Debug, Default)]
struct Tally {
    same: Cell<u32>,
    same_but_unlike: Cell<u32>,
    other: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

#[test]
fn policies_are_told_apart_if_and_only_if_they_know_requests_by_something_else() {
    let tally = Tally::default();
    let input = (vec(route(), 1..4), vec(edit(), 1..3), any::<u32>());
    let config = ProptestConfig { max_shrink_iters: 64, ..config(384) };
    // The same cases each time: few of the requests show some differences.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&input, |(plans, edits, seed)| {
        let mut next = plans.clone();
        for edit in &edits {
            edit.apply(&mut next);
        }
        let unlike = format!("{plans:?}") != format!("{next:?}");
        let (before, after) = (policy(&plans, false), policy(&next, true));
        match before.rederived_by(&after) {
            Some(rederived) => {
                count(&tally.other);
                check_example(&before, &after, &rederived)
            }
            None => {
                count(if unlike { &tally.same_but_unlike } else { &tally.same });
                check_same(&before, &after, seed)
            }
        }
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let Tally { same, same_but_unlike, other } = &tally;
    assert!([same, same_but_unlike, other].iter().all(|seen| seen.get() >= 20), "{tally:?}");
}

/// Requests of all kinds have one identity by both policies.
fn check_same(before: &Policy, after: &Policy, seed: u32) -> Result<(), TestCaseError> {
    for number in 0..40 {
        let at = (seed as usize).wrapping_add(number * 7919);
        let sent = REQUESTS[at % REQUESTS.len()].with(|sent| {
            METHODS[at % METHODS.len()].clone_into(&mut sent.method);
            AUTHORITIES[at / 5 % AUTHORITIES.len()].clone_into(&mut sent.authority);
            PATHS[at / 59 % PATHS.len()].clone_into(&mut sent.path);
        });
        let found = [before, after].map(|policy| sent.identify_by(policy).unwrap());
        prop_assert_eq!(found[0], found[1], "{:?}", sent);
    }
    Ok(())
}

/// A request of the kind that was named takes the routes that were named, and one such request has
/// another identity by the other.
fn check_example(
    before: &Policy,
    after: &Policy,
    rederived: &Rederived,
) -> Result<(), TestCaseError> {
    let target = target(&rederived.example);
    let placed = |sent: &Sent| {
        sent.with(|sent| {
            let (method, authority, path) = target.clone();
            sent.query = sent.query.take().filter(|_| path != "*");
            (sent.method, sent.authority, sent.path) = (method, authority, path);
        })
    };
    let first = placed(&REQUESTS[0]);
    let named = |policy| first.route(policy).map(|route| route.name.to_string());
    prop_assert_eq!(named(before), Some(rederived.before.clone()), "{:?}", first);
    prop_assert_eq!(named(after), Some(rederived.after.clone()), "{:?}", first);
    let differs = |sent: &Sent| sent.identify_by(before) != sent.identify_by(after);
    let keys = [before, after].map(|policy| &first.route(policy).unwrap().key);
    let keys: Vec<_> = keys.into_iter().flatten().map(KeySource::parts).collect();
    let found = REQUESTS
        .iter()
        .map(placed)
        .any(|sent| differs(&sent) || keys.iter().any(|parts| differs(&aimed(&sent, parts))));
    // Few of the requests have what only one of two kinds of callers has.
    prop_assert!(found || rederived.setting == "caller", "{}", rederived);
    Ok(())
}

/// The request with these parts of a key, and with no others as far as its header goes.
fn aimed(sent: &Sent, parts: &[KeyPart]) -> Sent {
    let mut sent = sent.clone();
    sent.lines.retain(|line| !["k", "l", "cookie"].contains(&line.0.as_str()));
    let mut query = vec!["q=a".to_owned()];
    let pointers = parts.iter().filter_map(|part| {
        match part {
            KeyPart::Header(name) => sent.lines.push((name.to_string(), b"ab".to_vec())),
            KeyPart::Cookie(name) => {
                sent.lines.push(("cookie".into(), format!("{name}=ab").into()));
            }
            KeyPart::Query(name) => query.push(format!("{name}=ab")),
            KeyPart::Path(_) => {}
            KeyPart::Json(pointer) => return Some(pointer.to_string()),
        }
        None
    });
    let pointers: Vec<_> = pointers.collect();
    sent.query = Some(query.join("&")).filter(|_| sent.path != "*");
    let coding = if sent.values("content-encoding").is_empty() { "" } else { "gzip" };
    let plain = rich::unpack(coding, &sent.body);
    if let Ok(mut value) = serde_json::from_slice::<Value>(&plain) {
        for pointer in &pointers {
            put(&mut value, &tokens(pointer), "ab".into());
        }
        sent.body = pack(coding, value.to_string().as_bytes());
    }
    sent
}

/// A request that the example stands for: no two of its parts are the same.
fn target(example: &str) -> (String, String, String) {
    let (method, rest) = example.split_once(' ').unwrap();
    let at = rest.find('/').unwrap_or(rest.len() - 1);
    let (authority, path) = rest.split_at(at);
    let authority = authority.replace('*', "zz").replace(":0", ":9");
    let mut path = path.to_owned();
    for number in 0.. {
        if !path.contains("{}") {
            break;
        }
        path = path.replacen("{}", &format!("z{number}"), 1);
    }
    (method.to_owned(), authority, path)
}
