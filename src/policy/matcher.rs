//! Finds the first rule that matches a request, at a cost that hardly grows with their number.

use http::Method;

use super::host::{HostPattern, Reach};
use super::pattern::{PathPattern, Segment, cut};

/// Which requests something is for: those that all of its conditions match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rule {
    /// The paths; none: every path, also what is not one, such as the `*` of OPTIONS.
    pub path: Option<PathPattern>,
    /// The hosts; none: every host, also none at all.
    pub host: Option<HostPattern>,
    /// The methods; none: every method.
    pub methods: Option<Vec<Method>>,
}

/// An ordered list of rules, of which the first one that matches a request counts.
///
/// The rules stand in one tree of segments for each host pattern, and the few host patterns that
/// can match an authority are looked up. A search goes down from each node to the literal child
/// for the next segment, and to the child for a parameter, but never where no rule is left that
/// stands before the best one so far.
///
/// It comes to a node by one way only, so that it visits each at most once, and no path, however
/// long, makes it visit more: there are at most as many nodes as the rules have segments. Nor does
/// it go deeper than [`PathPattern::SEGMENTS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
    /// The rules without a host.
    everywhere: Tree,
    /// The rules for single ports of a host, by name and then by port.
    ports: Table<Vec<(u16, Tree)>>,
    /// The rules for every port of a host, by name.
    names: Table<Tree>,
    /// The rules for all hosts below a name, by that name.
    domains: Table<Tree>,
}

/// Values by text. In the order of length, and only then of bytes, most comparisons need no bytes.
#[derive(Clone, Debug)]
struct Table<T>(Vec<(Box<str>, T)>);

/// The rules that have the same host.
#[derive(Clone, Debug)]
struct Tree {
    /// The rules without a path.
    anywhere: Choice,
    root: Node,
}

/// The rules of which the path patterns begin in the same way.
#[derive(Clone, Debug)]
struct Node {
    /// The first rule that is here or below.
    least: usize,
    literals: Table<Node>,
    parameter: Option<Box<Node>>,
    /// The rules of which the path ends here.
    end: Choice,
    /// The rules that take all that follows here.
    rest: Choice,
}

/// Rules that only their methods tell apart, in their order: for each method, and for all that are
/// not listed before, the first one. The others can't be found, and so are not here.
#[derive(Clone, Debug, Default)]
struct Choice(Vec<(Option<Method>, usize)>);

/// Stands for no rule: every rule is before it.
const NONE: usize = usize::MAX;

impl Rule {
    /// Whether every request that the other rule matches is one that this one matches.
    pub fn covers(&self, other: &Self) -> bool {
        covers(self.path.as_ref(), other.path.as_ref(), PathPattern::covers)
            && covers(self.host.as_ref(), other.host.as_ref(), HostPattern::covers)
            && covers(self.methods.as_ref(), other.methods.as_ref(), |ours, theirs| {
                theirs.iter().all(|method| ours.contains(method))
            })
    }

    /// Whether requests with this method may match.
    pub(super) fn has_method(&self, method: &Method) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
    }
}

/// Whether a condition covers another; none is met by every request.
fn covers<T>(one: Option<&T>, other: Option<&T>, both: impl FnOnce(&T, &T) -> bool) -> bool {
    match (one, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => both(one, other),
    }
}

impl Matcher {
    /// A matcher with these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut matcher = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let choice = matcher.tree(rule.host.as_ref()).choice(rule.path.as_ref(), index);
            choice.add(rule.methods.as_deref(), index);
        }
        Self { rules, ..matcher }
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The index of the first rule that matches a request with this method, canonical host, port
    /// and path, which is as the request spells it, without the query.
    pub fn find(&self, method: &Method, (host, port): (&str, u16), path: &str) -> Option<usize> {
        let mut best = self.everywhere.first(method, path, NONE);
        for tree in self.trees(host, port) {
            best = tree.first(method, path, best);
        }
        (best != NONE).then_some(best)
    }

    /// The rules that no request can reach because an earlier one covers them, each with the first
    /// one that does.
    pub fn shadowed(&self) -> Vec<(usize, usize)> {
        let mut shadowed = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(earlier) = self.rules[..index].iter().position(|one| one.covers(rule)) {
                shadowed.push((index, earlier));
            }
        }
        shadowed
    }

    fn tree(&mut self, host: Option<&HostPattern>) -> &mut Tree {
        let Some(host) = host else { return &mut self.everywhere };
        match host.reach {
            Reach::Port(port) => {
                let ports = self.ports.entry(&host.name, Vec::new);
                let at = match search_port(ports, port) {
                    Ok(at) => at,
                    Err(at) => {
                        ports.insert(at, (port, Tree::default()));
                        at
                    }
                };
                &mut ports[at].1
            }
            Reach::Ports => self.names.entry(&host.name, Tree::default),
            Reach::Subdomains => self.domains.entry(&host.name, Tree::default),
        }
    }

    /// The rules with this host.
    fn trees(&self, host: &str, port: u16) -> impl Iterator<Item = &Tree> {
        let at_port = self.ports.get(host).and_then(|ports| {
            let at = search_port(ports, port).ok()?;
            ports.get(at).map(|(_, tree)| tree)
        });
        let exact = [at_port, self.names.get(host)];
        // Nothing below a dot at the beginning is a subdomain.
        let dots = host.rmatch_indices('.').map(|(at, _)| at).take_while(|at| *at > 0);
        let domains = dots.map(|at| &host[at + 1..]);
        // No more is looked up than can be there, however many dots the host has.
        let domains = domains.take_while(|domain| domain.len() <= self.domains.longest());
        exact.into_iter().flatten().chain(domains.filter_map(|domain| self.domains.get(domain)))
    }
}

fn search_port(ports: &[(u16, Tree)], port: u16) -> Result<usize, usize> {
    ports.binary_search_by_key(&port, |(own, _)| *own)
}

impl<T> Table<T> {
    fn get(&self, key: &str) -> Option<&T> {
        let at = self.search(key).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    fn entry(&mut self, key: &str, value: impl FnOnce() -> T) -> &mut T {
        let at = match self.search(key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key.into(), value()));
                at
            }
        };
        &mut self.0[at].1
    }

    fn search(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| {
            own.len().cmp(&key.len()).then_with(|| own.as_bytes().cmp(key.as_bytes()))
        })
    }

    fn longest(&self) -> usize {
        self.0.last().map_or(0, |(key, _)| key.len())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Tree {
    /// Where the rules with this path stand, of which `index` is going to be one.
    fn choice(&mut self, path: Option<&PathPattern>, index: usize) -> &mut Choice {
        let Some(path) = path else { return &mut self.anywhere };
        let mut node = &mut self.root;
        node.least = node.least.min(index);
        for segment in path.fixed() {
            // A node is made for the first rule that is there, since rules come in their order.
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text, || Node::new(index)),
                Segment::Parameter(_) => {
                    node.parameter.get_or_insert_with(|| Box::new(Node::new(index)))
                }
            };
        }
        if path.is_open() { &mut node.rest } else { &mut node.end }
    }

    /// The first rule for a request if it stands before `best`, and else `best`.
    fn first(&self, method: &Method, path: &str, best: usize) -> usize {
        let best = best.min(self.anywhere.first(method));
        match path.strip_prefix('/') {
            Some(left) => self.root.first(method, Some(left), best),
            None => best,
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self { anywhere: Choice::default(), root: Node::new(NONE) }
    }
}

impl Node {
    fn new(least: usize) -> Self {
        Self {
            least,
            literals: Table::default(),
            parameter: None,
            end: Choice::default(),
            rest: Choice::default(),
        }
    }

    /// The first rule for what is left of a path if it stands before `best`, and else `best`.
    fn first(&self, method: &Method, left: Option<&str>, mut best: usize) -> usize {
        #[cfg(test)]
        tests::count_visit();
        if self.least >= best {
            return best;
        }
        let Some(left) = left else { return best.min(self.end.first(method)) };
        if !left.is_empty() {
            best = best.min(self.rest.first(method));
        }
        let (segment, left) = cut(left);
        if let Some(child) = self.literals.get(segment) {
            best = child.first(method, left, best);
        }
        match &self.parameter {
            Some(child) if !segment.is_empty() => child.first(method, left, best),
            _ => best,
        }
    }
}

impl Choice {
    fn add(&mut self, methods: Option<&[Method]>, index: usize) {
        let mut add = |method: Option<&Method>| {
            let has = |(own, _): &(Option<Method>, usize)| own.is_none() || own.as_ref() == method;
            if !self.0.iter().any(has) {
                self.0.push((method.cloned(), index));
            }
        };
        match methods {
            Some(methods) => methods.iter().for_each(|method| add(Some(method))),
            None => add(None),
        }
    }

    fn first(&self, method: &Method) -> usize {
        let is = |own: &Option<Method>| own.as_ref().is_none_or(|own| own == method);
        self.0.iter().find(|(own, _)| is(own)).map_or(NONE, |(_, index)| *index)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::message::{Scheme, host_and_port};

    thread_local! {
        static VISITS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count_visit() {
        VISITS.set(VISITS.get() + 1);
    }

    pub(in crate::policy) fn config(cases: u32) -> ProptestConfig {
        let config = ProptestConfig::default();
        ProptestConfig { cases: config.cases.max(cases), failure_persistence: None, ..config }
    }

    /// A rule from its methods, host and path, each of which may be `-`.
    pub(in crate::policy) fn rule(text: &str) -> Rule {
        let mut parts = text.split(' ').map(|part| (part != "-").then_some(part));
        let methods = parts.next().unwrap();
        Rule {
            methods: methods.map(|all| all.split(',').map(|one| one.parse().unwrap()).collect()),
            host: parts.next().unwrap().map(|host| host.parse().unwrap()),
            path: parts.next().unwrap().map(|path| path.parse().unwrap()),
        }
    }

    pub(in crate::policy) fn matcher(rules: &[&str]) -> Matcher {
        Matcher::new(rules.iter().map(|text| rule(text)).collect())
    }

    /// The host and the port of a request over plain text.
    fn plain(authority: &str) -> (&str, u16) {
        host_and_port(authority, Scheme::Http)
    }

    /// The same as [`Matcher::find`], one rule after the other.
    pub(in crate::policy) fn find_slowly(
        rules: &[Rule],
        (method, authority, path): (&Method, &str, &str),
    ) -> Option<usize> {
        rules.iter().position(|rule| {
            rule.methods.as_ref().is_none_or(|methods| methods.contains(method))
                && rule.host.as_ref().is_none_or(|host| host.matches(plain(authority)))
                && rule.path.as_ref().is_none_or(|pattern| pattern.matches(path))
        })
    }

    pub(in crate::policy) const METHODS: [Method; 3] = [Method::POST, Method::PUT, Method::GET];

    /// One authority of each kind that the hosts of [`rules`] tell apart.
    pub(in crate::policy) const AUTHORITIES: [&str; 11] =
        ["h", "h:81", "h:82", "g.h", "g.h:81", "f.h", "f.g.h", "f.f.g.h:81", "gh", ".h", ""];

    /// One path of each kind that the patterns of [`rules`] tell apart, and some that none matches.
    pub(in crate::policy) fn paths() -> Vec<String> {
        let mut last = vec![String::new()];
        let mut all: Vec<_> = ["", "*", "a", "a/b"].map(String::from).into();
        for _ in 0..4 {
            let longer =
                |path: &String| ["", "a", "b", "c"].map(|segment| format!("{path}/{segment}"));
            last = last.iter().flat_map(longer).collect();
            all.extend_from_slice(&last);
        }
        all
    }

    /// Every pattern of one or two segments, and those with a rest after none to two.
    fn patterns() -> Vec<PathPattern> {
        let segments = |name: &str| ["", "a", "b", &format!("{{{name}}}")].map(String::from);
        let mut fixed: Vec<String> = segments("x").map(|one| format!("/{one}")).into();
        for one in fixed.clone() {
            fixed.extend(segments("y").map(|two| format!("{one}/{two}")));
        }
        let open = fixed.iter().map(|text| format!("{text}/{{*z}}"));
        let all = open.chain(["/{*z}".into()]).chain(fixed.iter().cloned());
        all.map(|text| text.parse().unwrap()).collect()
    }

    pub(in crate::policy) fn rules(count: usize) -> impl Strategy<Value = Vec<Rule>> {
        let hosts = ["h", "h:80", "h:81", "*.h", "g.h", "g.h:81", "*.g.h"];
        let hosts: Vec<HostPattern> = hosts.map(|host| host.parse().unwrap()).into();
        let methods =
            vec![vec![Method::POST], vec![Method::PUT], vec![Method::PUT, Method::POST], vec![]];
        let path = option::weighted(0.9, select(patterns()));
        let host = option::weighted(0.3, select(hosts));
        let rule = (path, host, option::weighted(0.4, select(methods)));
        vec(rule.prop_map(|(path, host, methods)| Rule { path, host, methods }), 0..=count)
    }

    #[test]
    fn the_first_rule_that_matches_is_found() {
        let matcher = matcher(&[
            "POST - /v1/charges",
            "- - /v1/charges/{id}",
            "- - /v1/charges/late",
            "PUT,PATCH api.example /v1/{*rest}",
            "POST *.example /v1/{*rest}",
            "DELETE - /v1/{kind}/{id}",
            "- old.example:8443 -",
            "- - /{*rest}",
        ]);
        let post = Method::POST;
        for (method, authority, path, expected) in [
            (&post, "a", "/v1/charges", Some(0)),
            (&Method::PUT, "a", "/v1/charges", Some(7)),
            (&post, "a", "/v1/charges/1", Some(1)),
            (&post, "a", "/v1/charges/late", Some(1)),
            (&Method::PUT, "api.example:81", "/v1/x", Some(3)),
            (&post, "api.example", "/v1/x", Some(4)),
            (&post, "example", "/v1/x", Some(7)),
            (&Method::DELETE, "a", "/v1/charges/1", Some(1)),
            (&Method::DELETE, "a", "/v1/x/1", Some(5)),
            (&post, "old.example:8443", "/v1/x", Some(4)),
            (&post, "old.example:8443", "/", Some(6)),
            (&Method::OPTIONS, "old.example:8443", "*", Some(6)),
            (&post, "old.example", "/", None),
            (&post, "", "//", Some(7)),
            (&Method::OPTIONS, "a", "*", None),
        ] {
            assert_eq!(matcher.find(method, plain(authority), path), expected, "{method} {path}");
        }
        assert_eq!(Matcher::default().find(&post, plain("a"), "/"), None);
    }

    #[test]
    fn rules_behind_one_that_covers_them_are_shadowed() {
        let matcher = matcher(&[
            "POST,PUT - /a/{x}",
            "POST - /a/b",
            "POST,PATCH - /a/b",
            "- h -",
            "PUT h:81 /a/b",
            "POST h:81 /{*rest}",
            "- *.h /a",
            "- g.h /a",
            "- h /{x}",
        ]);
        assert_eq!(matcher.shadowed(), [(1, 0), (4, 0), (5, 3), (7, 6), (8, 3)]);
    }

    proptest! {
        #![proptest_config(config(512))]

        #[test]
        fn a_search_finds_what_one_rule_after_the_other_finds(
            rules in rules(16),
            requests in vec((select(&METHODS), select(&AUTHORITIES), select(paths())), 32),
        ) {
            let matcher = Matcher::new(rules);
            for (method, authority, path) in &requests {
                let expected = find_slowly(matcher.rules(), (method, authority, path));
                prop_assert_eq!(matcher.find(method, plain(authority), path), expected);
            }
        }
    }

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn a_rule_is_shadowed_if_one_before_it_has_all_its_requests(rules in rules(6)) {
            let (paths, mut expected) = (paths(), Vec::new());
            for (index, rule) in rules.iter().enumerate() {
                let covers = |one: &Rule| all_match(one, rule, &paths);
                expected.extend(rules[..index].iter().position(covers).map(|one| (index, one)));
            }
            // Without methods a rule has no requests, and rules for other paths have them all, too.
            let is_real = |(index, _): &(usize, usize)| rules[*index].methods != Some(Vec::new());
            expected.retain(is_real);
            let mut shadowed = Matcher::new(rules.clone()).shadowed();
            shadowed.retain(is_real);
            prop_assert_eq!(shadowed, expected);
        }
    }

    /// Whether every request that the other rule matches is one that the first matches.
    fn all_match(one: &Rule, other: &Rule, paths: &[String]) -> bool {
        let has = |rule, request| find_slowly(std::slice::from_ref(rule), request).is_some();
        METHODS.iter().all(|method| {
            AUTHORITIES.iter().all(|host| {
                let mut requests = paths.iter().map(|path| (method, *host, path.as_str()));
                requests.all(|request| has(one, request) || !has(other, request))
            })
        })
    }

    /// Rules of which no two nodes of a level are told apart by the path, and none ever matches.
    fn bushy(depth: u32) -> Vec<Rule> {
        let path = |bits: u32| -> String {
            let segment = |level| match bits >> level & 1 {
                0 => "/a".to_owned(),
                _ => format!("/{{x{level}}}"),
            };
            (0..depth).map(segment).collect()
        };
        (0..1 << depth).map(|bits| rule(&format!("PUT - {}", path(bits)))).collect()
    }

    #[test]
    fn no_path_makes_a_search_visit_a_node_twice() {
        let visits = |matcher: &Matcher, path: &str| {
            VISITS.set(0);
            assert_eq!(matcher.find(&Method::POST, plain("a"), path), None);
            VISITS.get()
        };
        let matcher = Matcher::new(bushy(10));
        let nodes = (1 << 11) - 1;
        assert_eq!(visits(&matcher, &"/a".repeat(10)), nodes);
        assert_eq!(visits(&matcher, &"/a".repeat(10_000)), nodes);
        assert_eq!(visits(&matcher, &"/b".repeat(10_000)), 11);
        assert_eq!(visits(&matcher, &"/".repeat(10_000)), 1);

        let mut rules = bushy(10);
        rules.insert(1, rule("- - /{*rest}"));
        let matcher = Matcher::new(rules);
        VISITS.set(0);
        assert_eq!(matcher.find(&Method::POST, plain("a"), &"/a".repeat(10)), Some(1));
        assert_eq!(VISITS.get(), 1 + 10 + 10, "only the first rule stands before it");

        let deep = |segment: fn(usize) -> String| (0..64).map(segment).collect::<String>();
        let parameters = deep(|level| format!("/{{x{level}}}"));
        let every_other = deep(|level| match level % 2 {
            0 => "/a".into(),
            _ => format!("/{{x{level}}}"),
        });
        let all = [parameters, every_other, "/a".repeat(64)];
        let matcher = Matcher::new(all.map(|path| rule(&format!("PUT - {path}"))).into());
        assert!(visits(&matcher, &"/a".repeat(64)) <= 3 * 64 + 1);
        assert!(visits(&matcher, &"/a".repeat(10_000)) <= 3 * 64 + 1);
    }

    #[test]
    fn a_host_of_many_labels_is_looked_up_no_deeper_than_the_rules_go() {
        let matcher = matcher(&["- *.a.example -", "- *.example -"]);
        let host = format!("{}a.example", "x.".repeat(10_000));
        assert_eq!(matcher.find(&Method::POST, plain(&host), "/"), Some(0));
        assert_eq!(matcher.trees(&host, 80).count(), 2);
        assert_eq!(matcher.find(&Method::POST, plain(&".".repeat(10_000)), "/"), None);
    }
}
