//! Which requests are guarded, what their key is, whose they are, and which answers are final.
//!
//! A [`Policy`] is a list of [`Route`]s, of which each request takes the first that matches it.

mod caller;
mod compare;
mod derivation;
mod host;
mod identify;
mod json;
mod keep;
mod matcher;
mod pattern;
mod pointer;
mod route;
mod source;
mod token;
mod volatile;
mod witness;

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, Method};

pub use caller::{CallerSource, CallerSourceError, Credential};
pub use compare::{Authorities, Compared, HeaderRule, Treatment};
pub use derivation::Rederived;
pub use host::{HostError, HostPattern};
pub use identify::{Asked, Chosen, Hop, Identified, IdentifyError, Unwatched, Watch};
pub use json::{Ignored, key_material, without};
pub use keep::{Class, Classes, StatusRule, StatusRuleError};
pub use matcher::{Matcher, Rule};
pub use pattern::{PathPattern, PatternError};
pub use pointer::{Pointer, PointerError};
pub use route::{Anonymous, Mode, Oversize, Route, default_caller, default_key};
pub use source::{KeyPart, KeyParts, KeySource, KeySourceError, Presence};
pub use token::{
    Claim, ClaimValue, Claimant, TokenAlgorithm, TokenKeyError, TokenKeys, TokenOptions,
    TokenVerifier, Unverified,
};
pub use volatile::is_volatile;
pub use witness::{Example, Shapes};

use crate::message::Authority;

/// What is done with every request.
#[derive(Debug)]
pub struct Policy {
    routes: Box<[Arc<Route>]>,
    matcher: Matcher,
    /// What holds where no route matches.
    fallback: Arc<Route>,
    /// The headers on which a key or a caller depends somewhere.
    essential: HashSet<HeaderName>,
    /// The methods that are guarded somewhere.
    guarded: HashSet<Method>,
}

impl Policy {
    /// A policy of routes in their order, and of what holds where none matches.
    pub fn new(mut routes: Vec<Route>, mut fallback: Route) -> Self {
        for (index, route) in routes.iter_mut().chain([&mut fallback]).enumerate() {
            route.index = index;
        }
        let all = || routes.iter().chain([&fallback]);
        let essential = all().flat_map(Route::essential_headers).cloned().collect();
        let guarded = all()
            .filter(|route| route.mode == Mode::Enforce)
            .flat_map(|route| route.methods.iter().cloned())
            .collect();
        let matcher = Matcher::new(routes.iter().map(|route| route.rule.clone()).collect());
        let routes = routes.into_iter().map(Arc::new).collect();
        Self { routes, matcher, fallback: Arc::new(fallback), essential, guarded }
    }

    /// The route that a request takes.
    pub fn route(&self, method: &Method, authority: &Authority<'_>, path: &str) -> &Arc<Route> {
        self.at(self.matcher.find(method, authority.host_and_port(), path))
    }

    /// The route of this index, or what holds where no route matches.
    fn at(&self, index: Option<usize>) -> &Arc<Route> {
        index.and_then(|index| self.routes.get(index)).unwrap_or(&self.fallback)
    }

    /// What holds where no route matches.
    pub fn fallback(&self) -> &Arc<Route> {
        &self.fallback
    }

    /// All routes in their order; the last is what holds where none matches.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().chain([&self.fallback])
    }

    /// Whether a method is one that is guarded, but for its case: some servers do not mind that.
    pub fn confuses(&self, method: &Method) -> bool {
        let is_upper_case = |byte: &u8| !byte.is_ascii_lowercase();
        if method.as_str().as_bytes().iter().all(is_upper_case) {
            return false;
        }
        let is = |guarded: &Method| method.as_str().eq_ignore_ascii_case(guarded.as_str());
        !self.guarded.contains(method) && self.guarded.iter().any(is)
    }

    /// Whether a header is a key or a credential somewhere, so that no hop may drop it.
    pub fn depends_on(&self, name: &HeaderName) -> bool {
        self.essential.contains(name)
    }
}

impl Route {
    /// The headers on which the key or the caller depends.
    fn essential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let verifier = self.verifier.as_deref();
        let callers = self.caller.iter().filter_map(move |source| source.header(verifier));
        self.key.iter().flat_map(KeySource::headers).chain(callers)
    }

    /// The pattern of its paths.
    pub(crate) fn path_pattern(&self) -> Option<&PathPattern> {
        self.rule.path.as_ref()
    }
}
