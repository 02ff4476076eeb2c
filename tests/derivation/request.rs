//! Requests as they are sent, and routes as they are planned; what the policy makes of the two.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Uri};
use oncegate::clock::Timestamp;
use oncegate::idempotency::{Caller, Identity, OnMismatch, OnStoreError, OnUnknown, Secret, Terms};
use oncegate::message::{Authority, Scheme};
use oncegate::policy::{
    Asked, Authorities, Chosen, Compared, HeaderRule, Hop, Ignored, Policy, Route, Rule,
    TokenAlgorithm, TokenKeys, TokenOptions, TokenVerifier,
};

use crate::tokens;

/// A request.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: String,
    pub authority: String,
    pub path: String,
    pub query: Option<String>,
    /// Names as they are spelled, and values.
    pub lines: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub certificate: Option<Vec<u8>>,
}

/// What is planned for a route, of all that has to do with identities.
#[derive(Clone, Debug)]
pub struct Plan {
    pub methods: Option<&'static str>,
    pub host: Option<&'static str>,
    pub path: Option<&'static str>,
    pub key: Vec<Source>,
    pub caller: Vec<Who>,
    pub headers: Headers,
    pub ignored: Vec<&'static str>,
    pub authority: bool,
    /// Where tokens are.
    pub tokens: Option<&'static str>,
    pub request_bytes_max: usize,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    Joined(Vec<Place>),
    Checksum,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    Header(&'static str),
    Query(&'static str),
    Path(&'static str),
    Cookie(&'static str),
    Json(&'static str),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Who {
    Header(&'static str),
    Cookie(&'static str),
    Query(&'static str),
    Certificate,
    Basic,
    Claim(&'static str),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Headers {
    AllBut(Vec<&'static str>),
    Only(Vec<&'static str>),
}

/// What the policy makes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Its key is malformed.
    Refused,
    /// It has no key.
    Nothing,
    Identity(Identity, Caller),
}

impl Sent {
    pub fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// The request, unless it can't be one: the names of lines are moved about.
    pub fn request(&self) -> Option<Request<()>> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let uri: Uri = format!("{}{query}", self.path).parse().ok()?;
        let same = uri.path() == self.path && uri.query() == self.query.as_deref();
        let mut request = Request::new(());
        *request.uri_mut() = Some(uri).filter(|_| same)?;
        *request.method_mut() = self.method.parse().ok()?;
        for (name, value) in &self.lines {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Authority::parse(self.authority.as_bytes(), Scheme::Http).ok()?;
        Some(request)
    }

    /// What a route makes of it; nothing if it can't be a request.
    pub fn identify(&self, route: &Route) -> Option<Found> {
        let head = self.request()?.into_parts().0;
        let asked = Asked {
            authority: &Authority::parse(self.authority.as_bytes(), Scheme::Http).unwrap(),
            head: &head,
            certificate: self.certificate.as_deref(),
            now: Timestamp::from_millis(1),
            acts_as: None,
            hop: Hop::Believed,
        };
        let Ok(chosen) = route.choose(&asked) else { return Some(Found::Refused) };
        let found = match route.identify(chosen, &asked, &self.body) {
            Err(_) => Found::Refused,
            Ok(None) => Found::Nothing,
            Ok(Some(found)) => Found::Identity(found.identity, found.caller),
        };
        if matches!(chosen, Chosen::Key(_) | Chosen::Checksum) {
            assert!(matches!(found, Found::Identity(..)), "a key was chosen and lost: {self:?}");
        }
        if let Found::Identity(_, caller) = found {
            assert_eq!(route.caller(&asked), caller);
        }
        Some(found)
    }

    /// The same by the route that it takes.
    pub fn identify_by(&self, policy: &Policy) -> Option<Found> {
        self.identify(self.route(policy)?)
    }

    /// The route that it takes.
    pub fn route<'p>(&self, policy: &'p Policy) -> Option<&'p Arc<Route>> {
        let head = self.request()?.into_parts().0;
        let authority = Authority::parse(self.authority.as_bytes(), Scheme::Http).unwrap();
        Some(policy.route(&head.method, &authority, head.uri.path()))
    }

    /// The values of a header.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.lines.iter().filter(|line| line.0.eq_ignore_ascii_case(name));
        lines.map(|line| &*line.1).collect()
    }
}

impl Default for Plan {
    /// A route for every request, which has no key there.
    fn default() -> Self {
        Self {
            methods: None,
            host: None,
            path: None,
            key: Vec::new(),
            caller: Vec::new(),
            headers: Headers::AllBut(Vec::new()),
            ignored: Vec::new(),
            authority: true,
            tokens: None,
            request_bytes_max: 8 << 20,
        }
    }
}

impl Found {
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Self::Identity(identity, _) => Some(*identity),
            Self::Refused | Self::Nothing => None,
        }
    }
}

impl Place {
    pub fn text(&self) -> String {
        match self {
            Self::Header(name) => format!("header:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Path(name) => format!("path:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Json(pointer) => format!("json:{pointer}"),
        }
    }
}

impl Source {
    pub fn text(&self) -> String {
        match self {
            Self::Joined(places) => places.iter().map(Place::text).collect::<Vec<_>>().join("+"),
            Self::Checksum => "checksum".into(),
        }
    }
}

impl Who {
    fn text(&self) -> String {
        match self {
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Certificate => "client-cert".into(),
            Self::Basic => "basic".into(),
            Self::Claim(name) => format!("jwt:{name}"),
        }
    }
}

impl Plan {
    /// The route that a config of this kind makes.
    pub fn route(&self, secret: u8) -> Route {
        let any = Duration::from_secs(1);
        let terms = Terms {
            window: any,
            wait: any,
            timeout: any,
            linger: any,
            on_unknown: OnUnknown::Hold,
            on_mismatch: OnMismatch::Refuse,
            on_store_error: OnStoreError::Refuse,
        };
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
        let pointers: Vec<_> = self.ignored.iter().map(|text| text.parse().unwrap()).collect();
        Route {
            rule: Rule {
                methods: self
                    .methods
                    .map(|all| all.split(',').map(|m| m.parse().unwrap()).collect()),
                host: self.host.map(|host| host.parse().unwrap()),
                path: self.path.map(|path| path.parse().unwrap()),
            },
            key: self.key.iter().map(|source| source.text().parse().unwrap()).collect(),
            caller: self.caller.iter().map(|who| who.text().parse().unwrap()).collect(),
            compared: Compared {
                authority: match self.authority {
                    true => Authorities::Apart,
                    false => Authorities::Together,
                },
                ignored_json: Ignored::new(&pointers),
                headers: match &self.headers {
                    Headers::AllBut(list) => HeaderRule::AllBut(names(list)),
                    Headers::Only(list) => HeaderRule::Only(names(list)),
                },
            },
            verifier: self.tokens.map(verifier),
            request_bytes_max: self.request_bytes_max,
            ..Route::new(Secret::from_bytes([secret; 32]), terms)
        }
    }
}

fn verifier(header: &str) -> Arc<TokenVerifier> {
    let options = TokenOptions { header: header.parse().unwrap(), ..TokenOptions::default() };
    let keys = TokenKeys::Single(TokenAlgorithm::Hs256, tokens::SECRET.to_vec());
    Arc::new(TokenVerifier::new(options, &keys).unwrap())
}
