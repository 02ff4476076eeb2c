//! Whether two policies find the same records for the same requests.
//!
//! A change of policy while records count must not change how their keys are derived: repeats
//! would not find them, and would be executed again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, Method, header};

use super::pattern::Place;
use super::{
    CallerSource, HeaderRule, KeyPart, KeySource, Mode, Policy, Route, TokenVerifier, Treatment,
};

/// A request whose record another policy would not find.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rederived {
    /// An example of such a request: its method, host and path.
    pub example: String,
    /// The route that it takes.
    pub before: String,
    /// The route that it would take.
    pub after: String,
    /// The setting in which they differ.
    pub setting: &'static str,
}

impl fmt::Display for Rederived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { example, before, after, setting } = self;
        match before == after {
            true => write!(f, "`{setting}` of route \"{after}\" has changed")?,
            false => write!(
                f,
                "{example} took route \"{before}\", and would take \"{after}\", whose `{setting}` \
                 is another"
            )?,
        }
        write!(f, ": repeats of what was kept would be executed again")
    }
}

impl Policy {
    /// Finds a request for which the policies derive different keys, fingerprints or checksums.
    pub fn rederived_by(&self, next: &Self) -> Option<Rederived> {
        let methods = told_apart(self.routes().chain(next.routes()));
        let mut found = None;
        let example = self.matcher.difference(&next.matcher, &methods, |_, ours, theirs| {
            let (before, after) = (self.at(ours), next.at(theirs));
            found = before.derives_otherwise(after).map(|setting| (before, after, setting));
            found.is_some()
        })?;
        let (before, after, setting) = found?;
        Some(Rederived {
            example: example.to_string(),
            before: before.name.to_string(),
            after: after.name.to_string(),
            setting,
        })
    }
}

/// The methods that some routes tell apart, once each, since all routes are compared with all for
/// every one of them. The last one stands for all that no route names.
fn told_apart<'a>(routes: impl Iterator<Item = &'a Arc<Route>>) -> Vec<Method> {
    let mut methods = Vec::new();
    for method in routes.filter_map(|route| route.rule.methods.as_ref()).flatten() {
        if !methods.contains(method) {
            methods.push(method.clone());
        }
    }
    let usual = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let mut others = usual.into_iter().chain(Method::from_bytes(b"ANY-OTHER"));
    methods.extend(others.find(|other| !methods.contains(other)));
    methods
}

/// Which headers count in what a route compares, whatever order and however often they are named.
#[derive(Eq, PartialEq)]
enum Counted<'a> {
    /// No more than the content type, where no key is a checksum, and only if this is true.
    ContentType(bool),
    /// All but the volatile ones and these.
    AllBut(BTreeSet<&'a str>),
    /// These.
    Only(BTreeSet<&'a str>),
}

impl Route {
    /// The setting in which two routes that some request takes differ so that it gets another key.
    fn derives_otherwise(&self, other: &Self) -> Option<&'static str> {
        match () {
            // Where nothing was kept, nothing can be missed.
            () if self.mode != Mode::Enforce || other.mode != Mode::Enforce => None,
            () if self.key != other.key => Some("key"),
            () if self.path_keys() != other.path_keys() => Some("path"),
            () if self.caller != other.caller => Some("caller"),
            () if !self.reads_tokens_like(other) => Some("jwt"),
            () if self.compared.authority != other.compared.authority => Some("authority"),
            () if self.compared.ignored_json != other.compared.ignored_json => Some("ignore_json"),
            () if self.counted() != other.counted() => Some("ignore_headers` or `only_headers"),
            () => None,
        }
    }

    /// The parts of all keys.
    fn key_parts(&self) -> impl Iterator<Item = &KeyPart> {
        self.key.iter().flat_map(KeySource::parts)
    }

    /// Where the parameters stand that are keys: one in another place of the path is another key.
    fn path_keys(&self) -> Vec<Option<Place>> {
        let place = |part: &KeyPart| match part {
            KeyPart::Path(name) => Some(self.rule.path.as_ref().and_then(|path| path.place(name))),
            KeyPart::Header(_) | KeyPart::Query(_) | KeyPart::Cookie(_) | KeyPart::Json(_) => None,
        };
        self.key_parts().filter_map(place).collect()
    }

    /// Whether the same is found in tokens, if any are read.
    fn reads_tokens_like(&self, other: &Self) -> bool {
        match (self.token_verifier(), other.token_verifier()) {
            (Some(one), Some(other)) => one.reads_like(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// What verifies the tokens of callers, if any are read.
    fn token_verifier(&self) -> Option<&TokenVerifier> {
        let mut callers = self.caller.iter();
        let reads_some = callers.any(|source| matches!(source, CallerSource::TokenClaim(_)));
        self.verifier.as_deref().filter(|_| reads_some)
    }

    fn counted<'a>(&'a self) -> Counted<'a> {
        if !self.key.contains(&KeySource::Checksum) {
            let treatment = self.treatment(&header::CONTENT_TYPE);
            return Counted::ContentType(treatment.counts_under_a_key());
        }
        let treated = |names: &'a [HeaderName], treatment| {
            let all = names.iter().filter(|name| self.treatment(name) == treatment);
            all.map(HeaderName::as_str).collect()
        };
        match &self.compared.headers {
            HeaderRule::AllBut(names) => Counted::AllBut(treated(names, Treatment::Ignored)),
            HeaderRule::Only(names) => Counted::Only(treated(names, Treatment::Hashed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::matcher::tests::rule;
    use super::super::{Authorities, Ignored, TokenKeys, TokenOptions};
    use super::*;
    use crate::idempotency::{Secret, Terms};

    /// A route from its rule and a change to it.
    fn route(text: &str, change: impl FnOnce(&mut Route)) -> Route {
        let second = std::time::Duration::from_secs(1);
        let terms = Terms {
            window: second,
            wait: second,
            timeout: second,
            linger: second,
            on_unknown: crate::idempotency::OnUnknown::Hold,
            on_mismatch: crate::idempotency::OnMismatch::Refuse,
            on_store_error: crate::idempotency::OnStoreError::Refuse,
        };
        let mut route = Route::new(Secret::from_bytes([7; 32]), terms);
        route.rule = rule(text);
        change(&mut route);
        route
    }

    fn keys(texts: &[&str]) -> Vec<KeySource> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn names(texts: &[&str]) -> Vec<HeaderName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ignored(texts: &[&str]) -> Ignored {
        Ignored::new(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(before: Route, after: Route, expected: Option<&str>) {
        let fallback = || route("- - -", |_| ());
        let [before, after] = [before, after].map(|route| Policy::new(vec![route], fallback()));
        assert_eq!(before.rederived_by(&after).map(|found| found.setting), expected);
        assert_eq!(after.rederived_by(&before).map(|found| found.setting), expected);
    }

    #[track_caller]
    fn check_setting(
        before: impl FnOnce(&mut Route),
        after: impl FnOnce(&mut Route),
        expected: Option<&str>,
    ) {
        check(route("- - /a/{x}/{y}", before), route("- - /a/{x}/{y}", after), expected);
    }

    #[test]
    fn settings_that_say_the_same_in_other_words_are_the_same() {
        let but = |texts: &[&str]| HeaderRule::AllBut(names(texts));
        check_setting(
            |one| one.compared.headers = but(&["x-a", "x-b"]),
            |one| one.compared.headers = but(&["x-b", "date", "x-a", "authorization"]),
            None,
        );
        check_setting(
            |one| one.compared.ignored_json = ignored(&["/a", "/b/c"]),
            |one| one.compared.ignored_json = ignored(&["/b/c", "/a/d", "/a"]),
            None,
        );
        check_setting(
            |one| one.key = keys(&["header:k"]),
            |one| {
                one.key = keys(&["header:k"]);
                one.compared.headers = but(&["x-a"]);
            },
            None,
        );
        let keys = || keys(&["path:x"]);
        let one = route("- - /a/{x}/{y}", |one| one.key = keys());
        check(one, route("- - /a/{x}/{rest}", |other| other.key = keys()), None);
        let verifier = TokenVerifier::new(TokenOptions::default(), &TokenKeys::Trusted).unwrap();
        check_setting(|_| (), |one| one.verifier = Some(Arc::new(verifier)), None);
        check_setting(|_| (), |one| one.request_bytes_max = 1, None);
    }

    #[test]
    fn settings_that_make_a_difference_are_named() {
        let headers = Some("ignore_headers` or `only_headers");
        let but = |texts: &[&str]| HeaderRule::AllBut(names(texts));
        check_setting(|_| (), |one| one.key = keys(&["header:k"]), Some("key"));
        check_setting(|_| (), |one| drop(one.caller.pop()), Some("caller"));
        check_setting(
            |_| (),
            |one| one.compared.authority = Authorities::Together,
            Some("authority"),
        );
        check_setting(|_| (), |one| one.compared.headers = but(&["x-a"]), headers);
        check_setting(|_| (), |one| one.compared.headers = HeaderRule::Only(Vec::new()), headers);
        let by_key = |one: &mut Route| one.key = keys(&["header:k"]);
        check_setting(
            by_key,
            |one| {
                by_key(one);
                one.compared.headers = but(&["content-type"]);
            },
            headers,
        );
        check_setting(
            |_| (),
            |one| one.compared.ignored_json = ignored(&["/a"]),
            Some("ignore_json"),
        );
        let path = |text: &str| route(text, |one| one.key = keys(&["path:x"]));
        check(path("- - /a/{x}/{y}"), path("- - /a/{y}/{x}"), Some("path"));
        check(path("- - /a/{x}"), path("- - /a/{*x}"), Some("path"));
    }

    #[test]
    fn where_nothing_was_kept_nothing_is_missed() {
        for mode in [Mode::Observe, Mode::Off] {
            let by_key = |one: &mut Route| one.key = keys(&["header:k"]);
            check_setting(|one| one.mode = mode, by_key, None);
        }
    }

    /// Routes with these rules, each with the key of this header.
    fn with_keys(routes: &[(&str, &str)]) -> Policy {
        let any = std::time::Duration::from_secs(1);
        let terms = Terms {
            window: any,
            wait: any,
            timeout: any,
            linger: any,
            on_unknown: crate::idempotency::OnUnknown::Hold,
            on_mismatch: crate::idempotency::OnMismatch::Refuse,
            on_store_error: crate::idempotency::OnStoreError::Refuse,
        };
        let fallback = Route::new(Secret::from_bytes([7; 32]), terms);
        let routes = routes.iter().map(|(text, header)| Route {
            name: Arc::from(*text),
            rule: rule(text),
            key: vec![format!("header:{header}").parse().unwrap()],
            ..fallback.clone()
        });
        Policy::new(routes.collect(), fallback.clone())
    }

    #[test]
    fn every_method_is_looked_at_once() {
        let of = |routes: &[(&str, &str)]| {
            let methods = told_apart(with_keys(routes).routes());
            methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(&[("- - /a", "a")]), "POST");
        assert_eq!(of(&[("POST,PUT - /a", "a"), ("PUT,POST - /b", "a")]), "POST PUT PATCH");
        assert_eq!(of(&[("GET - -", "a"), ("POST - -", "a")]), "GET POST PUT");
        assert_eq!(of(&[("POST,PUT,PATCH,DELETE - -", "a")]), "POST PUT PATCH DELETE ANY-OTHER");
    }

    #[track_caller]
    fn check_keys(before: &[(&str, &str)], after: &[(&str, &str)], expected: Option<&str>) {
        let found = with_keys(before).rederived_by(&with_keys(after));
        assert_eq!(found.map(|found| found.example).as_deref(), expected);
    }

    #[test]
    fn a_request_with_another_key_is_found() {
        let a = ("- - /a", "a");
        check_keys(&[a], &[a], None);
        check_keys(&[a], &[("- - /a", "b")], Some("POST */a"));
        check_keys(&[a], &[], Some("POST */a"));
        check_keys(&[a], &[("- - /b", "a"), a], Some("POST */b"));
        check_keys(&[a, ("- - /b", "b")], &[("- - /b", "b"), a], None);
        check_keys(&[a], &[("PUT - /a", "b"), a], Some("PUT */a"));
        check_keys(&[a], &[("GET - /a", "a"), a], None);
        check_keys(&[a], &[("- a.example -", "b"), a], Some("POST a.example/a"));
        check_keys(&[a], &[("- a.example /a", "a"), a], None);
    }
}
