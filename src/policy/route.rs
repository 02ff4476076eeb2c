//! A route: which requests it is for, and how they are guarded.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::caller::CallerSource;
use super::compare::Compared;
use super::identify::Chosen;
use super::keep::Classes;
use super::matcher::Rule;
use super::source::KeySource;
use super::token::TokenVerifier;
use crate::idempotency::{Secret, Terms};

/// The headers that say whose request it is: credentials, and who a proxy before this one has found
/// the caller to be.
const CALLER: [&str; 9] = [
    "authorization",
    "x-api-key",
    "cookie",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-goog-api-key",
    "x-forwarded-user",
    "x-forwarded-client-cert",
];

/// How the requests of one kind are guarded.
#[derive(Clone, Debug)]
pub struct Route {
    /// What the route is called in logs and metrics.
    pub name: Arc<str>,
    /// Its place among the routes of its policy, which gives it.
    pub index: usize,
    /// Which requests it is for.
    pub rule: Rule,
    /// The methods that are guarded; others pass.
    pub methods: Vec<Method>,
    /// Whether duplicates are prevented, or only counted.
    pub mode: Mode,
    /// Where a key may be, the first one that the request has being taken.
    pub key: Vec<KeySource>,
    /// Whether a request that has no key is refused; it passes otherwise.
    pub requires_key: bool,
    /// What says whose request it is: all of these that a request has, together.
    pub caller: Vec<CallerSource>,
    /// What becomes of a request that says nothing of its caller.
    pub anonymous: Anonymous,
    /// What counts of a request besides its key and its caller.
    pub compared: Compared,
    /// Which answers are final.
    pub classes: Classes,
    /// What becomes of a request that is too large; nothing: refused if the caller chose a key,
    /// and passed on otherwise.
    pub oversize: Option<Oversize>,
    /// The header in which the upstream is sent a key that is derived from the record's.
    pub forward_key: Option<HeaderName>,
    /// The largest request that is guarded, in bytes.
    pub request_bytes_max: usize,
    /// The largest answer that is kept, in bytes.
    pub response_bytes_max: usize,
    /// What keys its hashes.
    pub secret: Secret,
    /// What verifies tokens.
    pub verifier: Option<Arc<TokenVerifier>>,
    /// What is agreed for its operations.
    pub terms: Terms,
}

/// Whether duplicates are prevented.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// They are counted and logged, and executed as they would be without this proxy.
    Observe,
    /// Everything passes.
    Off,
}

/// What becomes of a request that says nothing of its caller.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Anonymous {
    /// All such callers are one.
    #[default]
    Share,
    /// It is refused.
    Refuse,
    /// It is passed on without protection.
    Pass,
}

/// What becomes of a request that is too large to be guarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oversize {
    /// It is refused.
    Reject,
    /// It is passed on without protection.
    Pass,
}

impl Route {
    /// The route that every request takes when nothing is said of it, with the given secret and
    /// terms.
    pub fn new(secret: Secret, terms: Terms) -> Self {
        Self {
            name: Arc::from("default"),
            index: 0,
            rule: Rule::default(),
            methods: vec![Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            mode: Mode::Enforce,
            key: default_key(),
            requires_key: false,
            caller: default_caller(),
            anonymous: Anonymous::Share,
            compared: Compared::default(),
            classes: Classes::default(),
            oversize: None,
            forward_key: None,
            request_bytes_max: 8 << 20,
            response_bytes_max: 1 << 20,
            secret,
            verifier: None,
            terms,
        }
    }

    /// Whether a request that is too large is refused, its key being where that says.
    pub fn rejects_oversize(&self, chosen: Chosen) -> bool {
        match (self.oversize, chosen) {
            (Some(Oversize::Reject), _) => true,
            (Some(Oversize::Pass), _) => false,
            (None, Chosen::Key(_) | Chosen::InBody(_)) => true,
            (None, Chosen::Checksum | Chosen::Nothing) => false,
        }
    }

    /// Whether requests with the method are guarded.
    pub fn guards(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }
}

/// Where a key may be when nothing else is said.
pub fn default_key() -> Vec<KeySource> {
    let headers = ["idempotency-key", "request-id"].map(HeaderName::from_static);
    headers.into_iter().map(KeySource::header).chain([KeySource::Checksum]).collect()
}

/// What says whose request it is when nothing else is said.
pub fn default_caller() -> Vec<CallerSource> {
    let headers = CALLER.map(|name| CallerSource::Header(HeaderName::from_static(name)));
    headers.into_iter().chain([CallerSource::ClientCertificate]).collect()
}
