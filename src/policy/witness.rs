//! Examples of requests that stand for all others, to compare lists of rules.
//!
//! Two lists treat some request differently if and only if they do so for an example that two of
//! their rules have in common, which is made of no more than these two and of [`Shapes`]. For let
//! a request be one that the lists give to the rules A and B. Both match it, so there is an example
//! of what A and B have in common that is at most as special as the request: **every rule that
//! matches the example matches the request**. No rule before A matches the request; so none
//! matches the example, which A does match, and the one list gives the example to A. In the same
//! way the other gives it to B. Where no rule matches, one without conditions at the end of the
//! list is A or B.
//!
//! The conditions of a rule are met each by itself, so an example is put together of a method, a
//! host and a path that are each at most as special as those of the request:
//!
//! - The method is that of the request.
//! - The host: see [`HostPattern::witness`](super::HostPattern::witness).
//! - The path has, where A or B has a literal, that literal, and where both take any text, a
//!   segment that no pattern has, because it is made of braces. A pattern that matches it must
//!   have a parameter there. What the rests of both A and B take is any number of segments, each
//!   empty or not: here, [`Shapes`] says how far patterns tell paths apart.

use std::collections::BTreeSet;
use std::fmt;

use http::Method;

use super::matcher::{Matcher, Rule};
use super::pattern::{PathPattern, Segment};
use crate::message::{Scheme, host_and_port};

/// A segment that is no pattern's literal: those have no braces. Requests may have them.
const FRESH: &str = "{}";

/// An authority that is only matched where every host is: a star is no pattern of hosts.
const ANY_HOST: &str = "*";

/// What is not a path, and only matched where everything is.
const NO_PATH: &str = "*";

/// A rule that matches every request.
const EVERYTHING: Rule = Rule { path: None, host: None, methods: None };

/// A request that stands for others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Example {
    /// Its method.
    pub method: Method,
    /// Its canonical authority, with `*` for any label, and port 0 for any port.
    pub authority: String,
    /// Its path, with `{}` for any segment.
    pub path: String,
}

/// Which segments of some patterns are empty: as far as that, and no farther, these patterns tell
/// paths with fresh segments apart.
///
/// A pattern says of each of its segments whether it is empty, and all patterns that match a path
/// agree. So where a path takes a turn that no pattern takes, only patterns match it that have come
/// to their rest before, and they match whatever follows: one more segment says it all.
#[derive(Clone, Debug, Default)]
pub struct Shapes(BTreeSet<Vec<bool>>);

impl Shapes {
    /// The shapes of these patterns.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a PathPattern>) -> Self {
        let is_empty = |segment: &Segment| match segment {
            Segment::Literal(text) => text.is_empty(),
            Segment::Parameter(_) => false,
        };
        let shape = |pattern: &PathPattern| pattern.fixed().iter().map(is_empty).collect();
        Self(patterns.into_iter().map(shape).collect())
    }

    /// What may follow the first `from` segments: for each shape all that begins as it does and
    /// ends with one segment of either kind.
    fn tails(&self, from: usize) -> impl Iterator<Item = String> {
        // An empty segment alone is no rest; followed by another, it is a turn of its own.
        let mut tails: BTreeSet<_> =
            ["", FRESH].map(|last| format!("/{last}")).into_iter().collect();
        tails.insert(format!("//{FRESH}"));
        for shape in &self.0 {
            let mut tail = String::new();
            for is_empty in shape.iter().skip(from) {
                tail.push('/');
                tail.push_str(if *is_empty { "" } else { FRESH });
                tails.extend(["", FRESH].map(|last| format!("{tail}/{last}")));
            }
        }
        // The usual ones come first: a brace is greater than a slash.
        tails.into_iter().rev()
    }
}

impl PathPattern {
    /// Paths that both patterns match, and that stand for all these: for each such path there is
    /// one here that is matched only by patterns that match it, too, as long as `shapes` has the
    /// shapes of these patterns. Empty if the two have no path in common.
    pub fn witness(&self, other: &Self, shapes: &Shapes) -> Vec<String> {
        let count = self.fixed().len().max(other.fixed().len());
        let mut path = String::new();
        for index in 0..count {
            let Some(segment) = shared(self.fixed().get(index), other.fixed().get(index)) else {
                return Vec::new();
            };
            path.push('/');
            path.push_str(segment);
        }
        let paths: Vec<_> = match self.is_open() && other.is_open() {
            true => shapes.tails(count).map(|tail| format!("{path}{tail}")).collect(),
            false => vec![path],
        };
        paths.into_iter().filter(|path| self.matches(path) && other.matches(path)).collect()
    }
}

/// A segment that two patterns have in common, of which one may have come to its rest.
fn shared<'a>(one: Option<&'a Segment>, other: Option<&'a Segment>) -> Option<&'a str> {
    match (one, other) {
        (Some(Segment::Literal(one)), Some(Segment::Literal(other))) => {
            (one == other).then_some(one)
        }
        (Some(Segment::Literal(text)), _) | (_, Some(Segment::Literal(text))) => Some(text),
        _ => Some(FRESH),
    }
}

impl Matcher {
    /// An example of the requests with one of these methods that two lists of rules treat
    /// differently, if there are any: where one of them finds a rule and the other another, or
    /// none, and `differ` says that this makes a difference.
    pub fn difference(
        &self,
        other: &Self,
        methods: &[Method],
        mut differ: impl FnMut(&Method, Option<usize>, Option<usize>) -> bool,
    ) -> Option<Example> {
        let rules = self.rules().iter().chain(other.rules());
        let shapes = Shapes::of(rules.filter_map(|rule| rule.path.as_ref()));
        for method in methods {
            for (ours, one) in choices(self, method) {
                for (theirs, two) in choices(other, method) {
                    if !differ(method, ours, theirs) {
                        continue;
                    }
                    let found = examples((one, two), &shapes).find(|(authority, path)| {
                        let host = host_and_port(authority, Scheme::Http);
                        self.find(method, host, path) == ours
                            && other.find(method, host, path) == theirs
                    });
                    if let Some((authority, path)) = found {
                        return Some(Example { method: method.clone(), authority, path });
                    }
                }
            }
        }
        None
    }
}

/// What may be found for a method.
fn choices<'a>(
    matcher: &'a Matcher,
    method: &Method,
) -> impl Iterator<Item = (Option<usize>, &'a Rule)> {
    let rules = matcher.rules().iter().enumerate();
    rules
        .filter(|(_, rule)| rule.has_method(method))
        .map(|(index, rule)| (Some(index), rule))
        .chain([(None, &EVERYTHING)])
}

/// Authorities and paths that stand for all that two rules have in common.
fn examples(
    (one, other): (&Rule, &Rule),
    shapes: &Shapes,
) -> impl Iterator<Item = (String, String)> {
    let hosts = match (&one.host, &other.host) {
        (Some(one), Some(other)) => one.witness(other),
        (Some(host), None) | (None, Some(host)) => host.witness(host),
        (None, None) => vec![ANY_HOST.into()],
    };
    let paths = match (&one.path, &other.path) {
        _ if hosts.is_empty() => Vec::new(),
        (Some(one), Some(other)) => one.witness(other, shapes),
        (Some(path), None) | (None, Some(path)) => path.witness(path, shapes),
        (None, None) => shapes.tails(0).chain([NO_PATH.into()]).collect(),
    };
    let pairs = move |path: String| hosts.clone().into_iter().map(move |host| (host, path.clone()));
    paths.into_iter().flat_map(pairs)
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::super::matcher::tests::{
        AUTHORITIES, METHODS, config, find_slowly, matcher, paths, rules,
    };
    use super::*;
    use crate::message::Authority;

    /// Checks the examples of two patterns, beside which there are others.
    #[track_caller]
    fn check(one: &str, other: &str, beside: &[&str], expected: &[&str]) {
        let pattern = |text: &str| text.parse::<PathPattern>().unwrap();
        let (one, other) = (pattern(one), pattern(other));
        let beside: Vec<_> = beside.iter().map(|text| pattern(text)).collect();
        let shapes = Shapes::of([&one, &other].into_iter().chain(&beside));
        assert_eq!(one.witness(&other, &shapes), expected);
        assert_eq!(other.witness(&one, &shapes), expected);
    }

    #[test]
    fn examples_are_as_general_as_both_patterns() {
        check("/a/b", "/a/b", &[], &["/a/b"]);
        check("/a/b", "/a/c", &[], &[]);
        check("/a", "/a/", &[], &[]);
        check("/a/{x}", "/{y}/b", &[], &["/a/b"]);
        check("/a/{x}", "/{y}/{z}", &[], &["/a/{}"]);
        check("/a/{x}", "/a/", &[], &[]);
        check("/a/{*x}", "/a", &[], &[]);
        check("/a/{*x}", "/a/", &[], &[]);
        check("/a/{*x}", "/a//", &[], &["/a//"]);
        check("/a/{*x}", "/{y}/{z}/b", &[], &["/a/{}/b"]);
        check("/a/{*x}", "/b/{*y}", &[], &[]);
    }

    #[test]
    fn examples_of_two_rests_are_as_long_as_patterns_are() {
        check("/a/{*x}", "/{*y}", &[], &["/a/{}", "/a//{}"]);
        let longer = &["/a/{}/{}", "/a/{}/", "/a/{}", "/a//{}"];
        check("/a/{*x}", "/a/{*y}", &["/a/{z}"], longer);
        let with_empty = &["/a/{}", "/a//{}", "/a//"];
        check("/a/{*x}", "/{*y}", &["/b/"], with_empty);
    }

    #[test]
    fn examples_can_stand_in_a_request() {
        for path in ["/{}", "/a//{}/{}", "/"] {
            assert_eq!(path.parse::<Uri>().unwrap().path(), path);
        }
        assert_eq!(Authority::parse(ANY_HOST.as_bytes(), Scheme::Http).unwrap().as_str(), ANY_HOST);
    }

    #[track_caller]
    fn check_lists(one: &[&str], other: &[&str], expected: Option<&str>) {
        let (one, other) = (matcher(one), matcher(other));
        let differ = |_: &Method, ours, theirs| ours != theirs;
        let found = one.difference(&other, &[Method::POST], differ);
        assert_eq!(found.map(|example| example.to_string()).as_deref(), expected);
    }

    #[test]
    fn lists_differ_where_they_find_different_rules() {
        check_lists(&["- - /a"], &["POST - /a"], None);
        check_lists(&["- - /a"], &["PUT - /a"], Some("POST */a"));
        check_lists(&["- - /a/{x}"], &["- - /a/{*x}"], Some("POST */a/{}/{}"));
        check_lists(&["- - /{x}", "- - /a"], &["- - /{x}"], None);
        check_lists(&["- - -"], &["- - /{*x}"], Some("POST */"));
        check_lists(&["- - -"], &["- - /{*x}", "- - /"], Some("POST */"));
        check_lists(&["- h -"], &["- h:80 -"], Some("POST h:0/{}"));
        check_lists(&["- h /a"], &["- h:81 /a"], Some("POST h/a"));
        check_lists(&["- *.h /a"], &["- a.h /a"], Some("POST *.h/a"));
    }

    /// The first paths that only the last of the patterns takes, if there are any.
    fn left_over(patterns: &[&str]) -> Option<String> {
        let rules: Vec<_> = patterns.iter().map(|path| format!("- - {path}")).collect();
        let matcher = matcher(&rules.iter().map(String::as_str).collect::<Vec<_>>());
        let last = Some(patterns.len() - 1);
        let differ = |_: &Method, ours, theirs| ours == last && theirs == last;
        Some(matcher.difference(&matcher, &[Method::POST], differ)?.path)
    }

    #[test]
    fn empty_segments_are_not_forgotten() {
        let all = ["/a/{x}", "/a/{x}/{*y}", "/a//{*x}", "/a/{x}/", "/a//"];
        for (index, path) in [(2, "/a//{}"), (3, "/a/{}/"), (4, "/a//")] {
            let mut some = Vec::from(all);
            some.truncate(index);
            some.extend(&all[index + 1..]);
            some.push("/a/{*x}");
            assert_eq!(left_over(&some).as_deref(), Some(path));
        }
        assert_eq!(left_over(&[&all[..], &["/a/{*x}"]].concat()), None);
        let none_begins_empty = ["/{x}", "/{x}/{*y}", "/{x}/", "/{*x}"];
        assert_eq!(left_over(&none_begins_empty).as_deref(), Some("//{}"));
    }

    fn requests(paths: &[String]) -> impl Iterator<Item = (&'static str, &str)> {
        AUTHORITIES.into_iter().flat_map(move |host| paths.iter().map(move |path| (host, &**path)))
    }

    /// Every pattern of up to three segments, each of which is empty or a parameter.
    fn bare_patterns() -> Vec<Rule> {
        let mut last = vec![String::new()];
        let mut all = vec!["/{*rest}".to_owned()];
        for level in 0..3 {
            let longer = |path: &String| [format!("{path}/"), format!("{path}/{{x{level}}}")];
            last = last.iter().flat_map(longer).collect();
            all.extend(last.iter().flat_map(|path| [path.clone(), format!("{path}/{{*rest}}")]));
        }
        let rule = |path: &String| Rule { path: Some(path.parse().unwrap()), ..Rule::default() };
        all.iter().map(rule).collect()
    }

    proptest! {
        #![proptest_config(config(128))]

        /// Lists that leave little over, and mostly only what has empty segments.
        #[test]
        fn what_little_is_left_over_has_an_example(
            mut rules in subsequence(bare_patterns(), 1..29).prop_shuffle(),
        ) {
            rules.truncate(20);
            let matcher = Matcher::new(rules);
            let mut paths: Vec<_> = ["", "/", "/c"].map(String::from).into();
            for at in 1..63 {
                paths.extend(["/", "/c"].map(|end| format!("{}{end}", paths[at])));
            }
            let count = matcher.rules().len();
            let mut reached = vec![false; count + 1];
            for path in &paths {
                let found = find_slowly(matcher.rules(), (&Method::POST, "h", path));
                reached[found.unwrap_or(count)] = true;
            }
            for (index, reached) in reached.iter().enumerate() {
                let index = (index < count).then_some(index);
                let differ = |_: &Method, ours, theirs| ours == index && theirs == index;
                let example = matcher.difference(&matcher, &METHODS[..1], differ);
                prop_assert_eq!(example.is_some(), *reached, "{:?} {:?}", index, example);
            }
        }
    }

    proptest! {
        #![proptest_config(config(128))]

        #[test]
        fn a_rule_has_an_example_if_some_request_reaches_it(rules in rules(7)) {
            let (paths, matcher) = (paths(), Matcher::new(rules));
            let mut reached = [false; 8];
            for (host, path) in requests(&paths) {
                let found = find_slowly(matcher.rules(), (&Method::POST, host, path));
                reached[found.unwrap_or(matcher.rules().len())] = true;
            }
            for (index, reached) in reached.iter().enumerate().take(matcher.rules().len() + 1) {
                let index = (index < matcher.rules().len()).then_some(index);
                let differ = |_: &Method, ours, _| ours == index;
                let example = matcher.difference(&matcher, &METHODS[..1], differ);
                prop_assert_eq!(example.is_some(), *reached, "{:?}", example);
            }
        }

        /// One list is the other after a change; a rule is known by its number modulo 3.
        #[test]
        fn lists_differ_if_some_request_tells_them_apart(
            rules in rules(7),
            (from, to, removes) in (0..7_usize, 0..7_usize, any::<bool>()),
        ) {
            let labelled: Vec<_> = rules.into_iter().zip((0..3).cycle()).collect();
            let mut changed = labelled.clone();
            if from < changed.len() {
                let moved = changed.remove(from);
                if !removes {
                    changed.insert(to.min(changed.len()), moved);
                }
            }
            let (one, ours): (Vec<_>, Vec<_>) = labelled.into_iter().unzip();
            let (other, theirs): (Vec<_>, Vec<_>) = changed.into_iter().unzip();
            let differ = |one: Option<usize>, other: Option<usize>| {
                one.map(|index| ours[index]) != other.map(|index| theirs[index])
            };
            let paths = paths();
            let expected = requests(&paths).any(|(host, path)| {
                let request = (&Method::POST, host, path);
                differ(find_slowly(&one, request), find_slowly(&other, request))
            });
            let (one, other) = (Matcher::new(one), Matcher::new(other));
            let found = one.difference(&other, &METHODS[..1], |_, one, other| differ(one, other));
            prop_assert_eq!(found.is_some(), expected);
            if let Some(found) = found {
                let request = (&found.method, &*found.authority, &*found.path);
                let found = [&one, &other].map(|list| find_slowly(list.rules(), request));
                prop_assert!(differ(found[0], found[1]));
            }
        }
    }
}
