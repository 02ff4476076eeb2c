//! Identities: nothing that changes between two attempts changes them, and everything that a
//! request asks for does.

use std::cmp::Reverse;
use std::io::Write;
use std::sync::LazyLock;
use std::time::Duration;

use flate2::write::{DeflateEncoder, ZlibEncoder};
use flate2::{Compression, GzBuilder};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};
use oncegate::clock::Timestamp;
use oncegate::idempotency::{
    Caller, Fingerprint, Identity, OnMismatch, OnStoreError, OnUnknown, Part, Secret, Terms,
};
use oncegate::message::{Authority, Coding, Scheme};
use oncegate::policy::{
    Asked, Authorities, Chosen, HeaderRule, Hop, Identified, Ignored, Route, is_volatile,
};

use crate::lines;

const CREDENTIALS: [&str; 9] = [
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

const KEYS: [&str; 2] = ["idempotency-key", "request-id"];

/// The route that every request takes when nothing is said of it.
static USUAL: LazyLock<Route> = LazyLock::new(route);

/// Routes that look for keys and callers elsewhere, and into bodies.
static UNUSUAL: LazyLock<[Route; 2]> = LazyLock::new(unusual);

/// Larger inputs would say no more than these.
const BYTES_MAX: usize = 1 << 14;

/// What a client, a hop or this proxy may add to one attempt and not to the next.
const PASSING: &str = "User-Agent: fuzz/2\nTraceparent: 00-1-2-01\nX-Request-ID: 7\nDate: now\n\
    Content-Length: 7\nTransfer-Encoding: chunked\nVia: 1.1 x\nX-Forwarded-For: 1\n\
    X-Envoy-Attempt-Count: 2\nDuplicate-Request: true\nAccept: */*\nConnection: close";

/// A request that is identified.
#[derive(Clone, Debug)]
struct Request {
    method: Method,
    authority: String,
    path: String,
    query: Option<String>,
    lines: Vec<Line>,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Line {
    /// The name as it is spelled.
    name: String,
    value: Vec<u8>,
}

/// Takes the input as a request: `METHOD PATH?QUERY`, header lines, an empty line and the body.
pub fn run(data: &[u8]) {
    if data.len() > BYTES_MAX {
        return;
    }
    let Some(request) = Request::read(data) else { return };
    UNUSUAL.iter().for_each(|route| request.hold(route));
    let Some((identity, chosen)) = request.identify() else { return };
    for other in request.attempts() {
        let other_identity = other.identify().map(|found| found.0);
        assert_eq!(other_identity, Some(identity), "{request:?} and {other:?}");
    }
    for other in request.elsewhere() {
        assert_ne!(other.key_of(), identity.key, "{request:?} and {other:?}");
    }
    for (other, part) in request.otherwise() {
        match chosen {
            Chosen::Checksum => {
                assert_ne!(other.key_of(), identity.key, "{request:?} and {other:?}");
            }
            Chosen::Key(_) | Chosen::InBody(_) | Chosen::Nothing => {
                let (other_identity, _) = other.identify().unwrap();
                let difference = identity.fingerprint.difference(&other_identity.fingerprint);
                assert_eq!(other_identity.key, identity.key, "{request:?} and {other:?}");
                assert_eq!(difference, part, "{request:?} and {other:?}");
            }
        }
    }
}

impl Request {
    fn read(data: &[u8]) -> Option<Self> {
        let end = data.windows(2).position(|two| two == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&data[..end], &data[end + 2..]),
            None => (data, &data[data.len()..]),
        };
        let start = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let (method, target) = str::from_utf8(start).ok()?.split_once(' ')?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let plain = path.starts_with('/') && !target.contains('#');
        let lines = lines::fields(&head[start.len()..]).take(16);
        let lines = lines.map(|(spelled, _, value)| Line {
            name: String::from_utf8_lossy(spelled).into_owned(),
            value: value.as_bytes().to_vec(),
        });
        let request = Self {
            method: method.parse().ok().filter(|_| plain)?,
            authority: "api.example".to_owned(),
            path: path.to_owned(),
            query,
            lines: lines.collect(),
            body: body.to_vec(),
        };
        request.parts().map(|_| request)
    }

    fn parts(&self) -> Option<Parts> {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = http::Request::new(());
        *request.uri_mut() = format!("{}{query}", self.path).parse().ok()?;
        *request.method_mut() = self.method.clone();
        for line in &self.lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(&line.value).ok()?;
            request.headers_mut().append(name, value);
        }
        let parts = request.into_parts().0;
        assert_eq!(parts.uri.path(), self.path);
        assert_eq!(parts.uri.query(), self.query.as_deref());
        Some(parts)
    }

    /// What a route makes of the request; nothing when it has no key, or a malformed one.
    fn identify_by(&self, route: &Route) -> Option<(Identified, Chosen)> {
        let head = self.parts()?;
        let authority = Authority::parse(self.authority.as_bytes(), Scheme::Http).unwrap();
        let now = Timestamp::from_millis(1);
        let asked = Asked {
            authority: &authority,
            head: &head,
            certificate: None,
            now,
            acts_as: None,
            hop: Hop::Believed,
        };
        let chosen = route.choose(&asked).ok()?;
        let found = route.identify(chosen, &asked, &self.body).ok()??;
        Some((found, chosen))
    }

    /// Checks what holds by every route that has all headers but the volatile ones compared.
    fn hold(&self, route: &Route) {
        let identity = |one: &Self| one.identify_by(route).map(|found| found.0.identity);
        let own = identity(self);
        // What would be a key elsewhere may be compared here, and then its spelling counts.
        let has_key = |one: &Self| one.lines.iter().any(|line| line.is_one_of(&KEYS));
        if !has_key(self) {
            for other in self.attempts() {
                assert_eq!(identity(&other), own, "{self:?} and {other:?}");
            }
        }
        let Some(own) = own else { return };
        let longer = self.with(|other| other.path.push('x'));
        assert_ne!(identity(&longer).map(|other| other.key), Some(own.key), "{self:?}");
        let elsewhere = self.with(|other| other.authority.push('x'));
        let is_same = identity(&elsewhere) == Some(own);
        assert_eq!(is_same, route.compared.authority == Authorities::Together, "{self:?}");
    }

    /// The identity and where its key comes from; nothing when the request has a malformed key.
    fn identify(&self) -> Option<(Identity, Chosen)> {
        let (found, chosen) = self.identify_by(&USUAL)?;
        let says_who =
            |line: &Line| line.is_one_of(&CREDENTIALS) && !line.value.trim_ascii().is_empty();
        let known = self.lines.iter().any(says_who);
        assert_eq!(found.caller, if known { Caller::Known } else { Caller::Anonymous });
        let covered = found.identity.fingerprint == Fingerprint::COVERED;
        assert_eq!(covered, matches!(chosen, Chosen::Checksum));
        Some((found.identity, chosen))
    }

    fn key_of(&self) -> oncegate::idempotency::RecordKey {
        self.identify().unwrap().0.key
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    /// The same request as another attempt might send it.
    fn attempts(&self) -> Vec<Self> {
        let mut attempts = vec![
            // Lines of one name keep their order, since that is part of what they say.
            self.with(|other| other.lines.sort_by_cached_key(Line::lower)),
            self.with(|other| {
                other.lines.sort_by_cached_key(|line| Reverse(line.lower()));
            }),
            self.with(|other| other.spell(str::to_ascii_uppercase)),
            self.with(|other| other.spell(str::to_ascii_lowercase)),
            self.with(|other| other.lines.retain(|line| !line.is_passing())),
            self.with(|other| {
                for (index, (name, _, value)) in lines::fields(PASSING.as_bytes()).enumerate() {
                    let line = Line::new(&String::from_utf8_lossy(name), value.as_bytes());
                    other.lines.insert(other.lines.len().min(index), line);
                }
            }),
            self.with(|other| {
                for line in &mut other.lines {
                    if line.is_passing() {
                        line.value.push(b'x');
                    }
                    if line.is_one_of(&KEYS) && !line.value.starts_with(b"\"") {
                        line.value = quote(&line.value);
                    }
                }
            }),
        ];
        match self.coding() {
            Coding::Identity => attempts.extend(self.packed()),
            Coding::Gzip | Coding::Deflate => attempts.extend(self.unpacked()),
            Coding::Other => {}
        }
        attempts
    }

    fn spell(&mut self, spelling: impl Fn(&str) -> String) {
        for line in &mut self.lines {
            line.name = spelling(&line.name);
        }
    }

    /// The same body in every coding, and in one that says nothing.
    fn packed(&self) -> Vec<Self> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&self.body).unwrap();
        bare.write_all(&self.body).unwrap();
        vec![
            self.coded(Some("gzip"), gzip(&self.body, 1)),
            self.coded(Some("X-GZip"), gzip(&self.body, 2)),
            self.coded(Some("deflate"), zlib.finish().unwrap()),
            self.coded(Some("Deflate"), bare.finish().unwrap()),
            self.coded(Some("identity"), self.body.clone()),
            self.coded(None, self.body.clone()),
        ]
    }

    fn unpacked(&self) -> Option<Self> {
        let mut body = Vec::new();
        let mut sink = |piece: &[u8]| body.extend_from_slice(piece);
        self.coding().decode(&self.body, 1 << 25, &mut sink).ok()?;
        Some(self.coded(None, body))
    }

    fn coded(&self, coding: Option<&str>, body: Vec<u8>) -> Self {
        self.with(|other| {
            other.lines.retain(|line| !line.is(&header::CONTENT_ENCODING));
            other.lines.extend(coding.map(|name| Line::new("content-encoding", name.as_bytes())));
            other.body = body;
        })
    }

    fn coding(&self) -> Coding {
        self.parts().map_or(Coding::Other, |parts| Coding::of(&parts.headers))
    }

    /// Requests whose key is another one, wherever it comes from.
    fn elsewhere(&self) -> Vec<Self> {
        let mut others = vec![
            self.with(|other| {
                other.method = if self.method == Method::PUT { Method::POST } else { Method::PUT };
            }),
            self.with(|other| other.authority.push('x')),
            self.with(|other| {
                // The same text, but with the border between method and authority elsewhere.
                other.method = format!("{}a", self.method).parse().unwrap();
                "pi.example".clone_into(&mut other.authority);
            }),
            self.with(|other| other.authority.push_str(":8080")),
            self.with(|other| other.path.push('x')),
            self.with(|other| other.path.insert(0, '/')),
            self.with(|other| other.lines.push(Line::new("Authorization", b"x"))),
            self.with(|other| other.lines.push(Line::new("X-API-Key", b""))),
        ];
        if let Some(path) = self.path.strip_suffix(|last: char| last.is_ascii_alphanumeric()) {
            others.push(self.with(|other| path.clone_into(&mut other.path)));
        }
        let keyed = self.lines.iter().position(|line| line.is_one_of(&KEYS[..1]));
        for (index, line) in self.lines.iter().enumerate() {
            if line.is_one_of(&CREDENTIALS) {
                others.push(self.with(|other| other.lines[index].value.push(b'x')));
                others.push(self.with(|other| drop(other.lines.remove(index))));
            } else if keyed.map_or(line.is_one_of(&KEYS), |keyed| keyed == index) {
                let longer = self.with(|other| other.lines[index].lengthen_key());
                others.extend(longer.identify().map(|_| longer));
            }
        }
        others
    }

    /// Requests that ask for something else under the same key, if they have one, and the part
    /// that differs then; nothing if that is left to the upstream.
    fn otherwise(&self) -> Vec<(Self, Option<Part>)> {
        let mut others = self.bodies();
        others.extend(self.queries().into_iter().map(|other| (other, Some(Part::Query))));
        others.extend(self.types().into_iter().map(|other| (other, Some(Part::ContentType))));
        others.extend(self.fields().into_iter().map(|other| (other, None)));
        others
    }

    fn bodies(&self) -> Vec<(Self, Option<Part>)> {
        let mut bodies = vec![self.with(|other| other.body.push(b'x'))];
        if !self.body.is_empty() {
            bodies.push(self.with(|other| other.body.truncate(self.body.len() - 1)));
            bodies.push(self.with(|other| other.body.clear()));
        }
        if self.coding() == Coding::Identity && !self.body.is_empty() {
            let middle = self.body.len() / 2;
            bodies.push(self.with(|other| other.body[middle] ^= 1));
            // Said to be coded, it is another body, whether it can be decoded or not.
            bodies.push(self.coded(Some("br"), self.body.clone()));
        }
        bodies.into_iter().map(|other| (other, Some(Part::Body))).collect()
    }

    fn queries(&self) -> Vec<Self> {
        match &self.query {
            Some(query) => vec![
                self.with(|other| other.query = Some(format!("{query}x"))),
                self.with(|other| other.query = None),
            ],
            None => vec![self.with(|other| other.query = Some(String::new()))],
        }
    }

    fn types(&self) -> Vec<Self> {
        let is_type = |line: &Line| line.is(&header::CONTENT_TYPE);
        let Some(first) = self.lines.iter().position(is_type) else {
            return vec![self.with(|other| other.lines.push(Line::new("Content-Type", b"")))];
        };
        let untyped = self.with(|other| other.lines.retain(|line| !is_type(line)));
        let swapped = self.swapped(first);
        let longer = self.with(|other| other.lines[first].value.push(b'x'));
        [longer, untyped].into_iter().chain(swapped).collect()
    }

    /// Changes to fields that a checksum covers, and nothing else.
    fn fields(&self) -> Vec<Self> {
        let mut others = vec![self.with(|other| other.lines.push(Line::new("X-Fuzz", b"")))];
        for (index, line) in self.lines.iter().enumerate().filter(|(_, line)| line.counts()) {
            others.push(self.with(|other| other.lines[index].value.push(b'x')));
            others.push(self.with(|other| drop(other.lines.remove(index))));
            others.push(self.with(|other| other.lines.push(line.clone())));
            let renamed = [line.renamed(), line.shifted()].into_iter().flatten();
            others.extend(renamed.map(|line| self.with(|other| other.lines[index] = line)));
            others.extend(self.swapped(index));
        }
        others
    }

    /// The order of the lines of one name is part of what they say.
    fn swapped(&self, index: usize) -> Option<Self> {
        let (line, rest) = self.lines[index..].split_first()?;
        let same = rest.iter().position(|other| other.lower() == line.lower())?;
        let swapped = self.with(|other| other.lines.swap(index, index + 1 + same));
        (rest[same].value != line.value).then_some(swapped)
    }
}

impl Line {
    fn new(name: &str, value: &[u8]) -> Self {
        Self { name: name.to_owned(), value: value.to_vec() }
    }

    fn lower(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    fn is(&self, name: &HeaderName) -> bool {
        self.lower() == name.as_str()
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.lower().as_str())
    }

    /// Whether it may come, go and change between two attempts. The coding does so with the body.
    fn is_passing(&self) -> bool {
        let elsewhere = self.is_one_of(&KEYS) || self.is(&header::CONTENT_ENCODING);
        is_volatile(&self.lower()) && !elsewhere
    }

    /// The same text, but with the border between name and value elsewhere.
    fn shifted(&self) -> Option<Self> {
        let (first, rest) = self.value.split_first()?;
        if !first.is_ascii_lowercase() || rest.first().is_some_and(|byte| b" \t".contains(byte)) {
            return None;
        }
        let shifted = Self::new(&format!("{}{}", self.name, char::from(*first)), rest);
        Some(shifted).filter(Self::counts)
    }

    fn renamed(&self) -> Option<Self> {
        Some(Self::new(&format!("{}x", self.name), &self.value)).filter(Self::counts)
    }

    /// Whether a checksum covers the line, and a fingerprint does not.
    fn counts(&self) -> bool {
        !is_volatile(&self.lower())
            && !self.is(&header::CONTENT_TYPE)
            && !self.is_one_of(&CREDENTIALS)
            && !self.is_one_of(&KEYS)
    }

    fn lengthen_key(&mut self) {
        let at = self.value.len() - usize::from(self.value.starts_with(b"\""));
        self.value.insert(at, b'x');
    }
}

fn route() -> Route {
    let any = Duration::from_secs(1);
    let (on_unknown, on_mismatch) = (OnUnknown::Hold, OnMismatch::Refuse);
    let terms = Terms {
        window: any,
        wait: any,
        timeout: any,
        linger: any,
        on_unknown,
        on_mismatch,
        on_store_error: OnStoreError::Refuse,
    };
    Route::new(Secret::from_bytes([7; 32]), terms)
}

fn unusual() -> [Route; 2] {
    let sources = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let callers = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let pointers: Vec<_> = ["/t", "/a/*/t", "/a/0"].map(|text| text.parse().unwrap()).into();
    let (mut one, mut other) = (route(), route());
    one.key = sources(&["json:/id+json:/a/*/id", "cookie:id+query:id", "json:/a/*/id", "checksum"]);
    one.caller = callers(&["cookie:sid", "basic", "query:token"]);
    one.compared.ignored_json = Ignored::new(&pointers);
    one.compared.headers = HeaderRule::AllBut(vec![HeaderName::from_static("x-tenant")]);
    other.rule.path = Some("/{first}/{*rest}".parse().unwrap());
    other.key = sources(&["path:rest+json:/id", "query:id", "path:first+path:rest", "checksum"]);
    other.caller = callers(&["client-cert", "header:X-API-Key"]);
    other.compared.authority = Authorities::Together;
    [one, other]
}

fn gzip(content: &[u8], mtime: u32) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(mtime).write(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}
