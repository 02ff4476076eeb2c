//! What the parts of a replay cost: `cargo bench`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request};
use oncegate::clock::{Clock, Timestamp};
use oncegate::engine::{Engine, EngineLimits};
use oncegate::idempotency::{
    Answer, AnswerBuilder, Attempt, Fingerprint, Identity, LeaseToken, OnMismatch, OnStoreError,
    OnUnknown, Record, Secret, State, Terms, decide, decode, encode,
};
use oncegate::message::{Authority, Scheme, clean, scan};
use oncegate::policy::{
    Asked, Hop, Identified, Matcher, Policy, Route, Rule, TokenKeys, TokenOptions, TokenVerifier,
};
use oncegate::store::{MemoryOptions, MemoryStore, WhenFull};
use oncegate::telemetry::Metrics;

fn main() {
    divan::main();
}

const TERMS: Terms = Terms {
    window: Duration::from_secs(86_400),
    wait: Duration::from_secs(60),
    timeout: Duration::from_secs(300),
    linger: Duration::from_secs(600),
    on_unknown: OnUnknown::Hold,
    on_mismatch: OnMismatch::Refuse,
    on_store_error: OnStoreError::Refuse,
};

/// A host and the port that it means.
const HOST: (&str, u16) = ("api.example", 80);

fn route() -> Route {
    Route::new(Secret::from_bytes([7; 32]), TERMS)
}

fn request(key: Option<&str>) -> Parts {
    let mut request = Request::post("/v1/charges")
        .header("host", "api.example")
        .header("authorization", "Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc")
        .header("content-type", "application/json")
        .header("content-length", "512")
        .header("user-agent", "stripe-python/16.1.0")
        .header("accept", "*/*")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(()).unwrap().into_parts().0
}

fn identify(route: &Route, head: &Parts, body: &[u8]) -> Identified {
    let authority = Authority::of(&head.uri, &head.headers, head.version, Scheme::Http).unwrap();
    let now = Timestamp::from_millis(1);
    let asked = Asked {
        authority: &authority,
        head,
        certificate: None,
        now,
        acts_as: None,
        hop: Hop::Believed,
    };
    let chosen = route.choose(&asked).unwrap();
    route.identify(chosen, &asked, body).unwrap().unwrap()
}

/// What is done with a request before it is known who asks for what.
fn identify_through(policy: &Policy, head: &Parts, body: &[u8]) -> Identified {
    let authority = Authority::of(&head.uri, &head.headers, head.version, Scheme::Http).unwrap();
    let route = policy.route(&head.method, &authority, head.uri.path());
    let now = Timestamp::from_millis(1);
    let asked = Asked {
        authority: &authority,
        head,
        certificate: None,
        now,
        acts_as: None,
        hop: Hop::Believed,
    };
    let chosen = route.choose(&asked).unwrap();
    route.identify(chosen, &asked, body).unwrap().unwrap()
}

fn answer() -> Answer {
    let mut answer = AnswerBuilder::new(201);
    answer.line(b"content-type", b"application/json");
    answer.line(b"content-length", b"256");
    answer.line(b"date", b"Sun, 22 Nov 2026 04:28:20 GMT");
    answer.line(b"x-request-cost", b"1");
    answer.finish(&[b'x'; 256])
}

fn record() -> Record {
    Record {
        fingerprint: Fingerprint::COVERED,
        token: LeaseToken(1),
        expires_at: Timestamp::from_millis(u64::MAX),
        state: State::Completed { answer: answer(), kept_at: Timestamp::from_millis(1) },
        origin: None,
    }
}

#[divan::bench(args = [0, 512, 8192, 65536])]
fn identify_by_key(bencher: Bencher<'_, '_>, body: usize) {
    let (route, head, body) = (route(), request(Some("8e03978e-40d5-43dd-bc93")), vec![b'x'; body]);
    bencher.bench(|| identify(&route, &head, &body));
}

#[divan::bench(args = [0, 512, 8192, 65536])]
fn identify_by_checksum(bencher: Bencher<'_, '_>, body: usize) {
    let (route, head, body) = (route(), request(None), vec![b'x'; body]);
    bencher.bench(|| identify(&route, &head, &body));
}

#[divan::bench]
fn encode_record(bencher: Bencher<'_, '_>) {
    let record = record();
    bencher.bench(|| encode(&record));
}

#[divan::bench]
fn decode_record(bencher: Bencher<'_, '_>) {
    let encoded = encode(&record());
    bencher.bench(|| decode(&encoded));
}

#[divan::bench]
fn decide_replay(bencher: Bencher<'_, '_>) {
    let (record, now) = (record(), Timestamp::from_millis(2));
    bencher.bench(|| decide(Some(&record), &Fingerprint::COVERED, &TERMS, now));
}

#[divan::bench]
fn scan_and_clean(bencher: Bencher<'_, '_>) {
    let mut headers: HeaderMap = request(Some("k")).headers;
    headers.insert("connection", "keep-alive".parse().unwrap());
    headers.insert(HeaderName::from_static("keep-alive"), "timeout=5".parse().unwrap());
    bencher.with_inputs(|| headers.clone()).bench_values(|mut headers| {
        let fields = scan(&headers);
        clean(&mut headers, fields);
        headers
    });
}

/// Four rules for each resource of an API.
fn routes(count: usize) -> Matcher {
    let of_resource = |index| {
        let profiles = format!("/api/v1.1/profiles{index}");
        let subscriptions = format!("{profiles}/{{id}}/subscriptions");
        let one = format!("{subscriptions}/{{sub_id}}");
        [format!("{profiles}/{{id}}"), profiles, subscriptions, one]
    };
    let paths = (0..).flat_map(of_resource).take(count);
    Matcher::new(
        paths.map(|path| Rule { path: Some(path.parse().unwrap()), ..Rule::default() }).collect(),
    )
}

/// The last rule.
#[divan::bench(args = [1, 100, 1000])]
fn find_route(bencher: Bencher<'_, '_>, count: usize) {
    let matcher = routes(count);
    let path = match count {
        1 => "/api/v1.1/profiles0/8e03978e-40d5-43dd".to_owned(),
        _ => format!("/api/v1.1/profiles{}/8e03978e-40d5-43dd/subscriptions/17", count / 4 - 1),
    };
    assert_eq!(matcher.find(&Method::POST, HOST, &path), Some(count - 1));
    bencher.bench(|| matcher.find(&Method::POST, divan::black_box(HOST), &path));
}

#[divan::bench(args = [1, 100, 1000])]
fn find_no_route(bencher: Bencher<'_, '_>, count: usize) {
    let (matcher, path) = (routes(count), "/api/v1.1/accounts/8e03978e-40d5-43dd");
    bencher.bench(|| matcher.find(&Method::POST, divan::black_box(HOST), path));
}

/// One rule for each host.
#[divan::bench(args = [1, 100, 1000])]
fn find_route_by_host(bencher: Bencher<'_, '_>, count: usize) {
    let rule = |index| Rule {
        host: Some(format!("*.tenant{index}.example").parse().unwrap()),
        path: Some("/api/v1.1/profiles/{id}".parse().unwrap()),
        ..Rule::default()
    };
    let matcher = Matcher::new((0..count).map(rule).collect());
    let (host, path) = (format!("api.tenant{}.example", count - 1), "/api/v1.1/profiles/8e03978e");
    assert_eq!(matcher.find(&Method::POST, (&host, 80), path), Some(count - 1));
    bencher.bench(|| matcher.find(&Method::POST, divan::black_box((&host, 80)), path));
}

/// The path of a request, which is the same whatever else there is.
const TARGET: &str = "/api/v1.1/market/products/import";

/// Other paths of an API, and again in as many versions of it as are needed.
fn others(count: usize) -> Vec<String> {
    let text = include_str!("../examples/altcraft.toml");
    let quoted = |line: &'static str| line.strip_prefix("path = \"")?.strip_suffix('"');
    let paths: Vec<_> = text.lines().filter_map(quoted).filter(|path| *path != TARGET).collect();
    let again = |version: usize| {
        let paths = paths.iter().filter(|path| path.contains("/v1."));
        paths.map(move |path| path.replace("/v1.", &format!("/v{version}.")))
    };
    let first = paths.iter().map(ToString::to_string);
    first.chain((2..).flat_map(again)).take(count).collect()
}

/// Where the route of a request stands among so many others.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Middle(usize),
    Last(usize),
    None(usize),
}

const TAKEN: [Taken; 9] = [
    Taken::Last(1),
    Taken::Last(10),
    Taken::Last(100),
    Taken::Middle(1),
    Taken::Middle(10),
    Taken::Middle(100),
    Taken::None(1),
    Taken::None(10),
    Taken::None(100),
];

impl Taken {
    /// A policy of so many routes, and a request with a key.
    fn prepare(self) -> (Policy, Parts) {
        let (Self::Middle(count) | Self::Last(count) | Self::None(count)) = self;
        let mut paths = others(count);
        match self {
            Self::Middle(_) => TARGET.clone_into(&mut paths[count / 2]),
            Self::Last(_) => TARGET.clone_into(&mut paths[count - 1]),
            Self::None(_) => {}
        }
        let rule = |path: &String| Rule { path: Some(path.parse().unwrap()), ..Rule::default() };
        let routes = paths.iter().map(|path| Route { rule: rule(path), ..route() }).collect();
        let policy = Policy::new(routes, route());
        let mut head = request(Some("8e03978e-40d5-43dd-bc93"));
        head.uri = TARGET.parse().unwrap();
        let authority = Authority::parse(b"api.example", Scheme::Http).unwrap();
        let found = policy.route(&head.method, &authority, head.uri.path());
        assert_eq!(Arc::ptr_eq(found, policy.fallback()), matches!(self, Self::None(_)));
        (policy, head)
    }
}

#[divan::bench(args = TAKEN)]
fn identify_through_policy(bencher: Bencher<'_, '_>, taken: Taken) {
    let ((policy, head), body) = (taken.prepare(), [b'x'; 512]);
    bencher.bench(|| identify_through(&policy, &head, &body));
}

/// The whole of a replay but for HTTP, and with the search for a route.
#[divan::bench(args = TAKEN)]
fn recall_through_policy(bencher: Bencher<'_, '_>, taken: Taken) {
    let ((policy, head), body, engine) = (taken.prepare(), [b'x'; 512], engine());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let identity: Identity = identify_through(&policy, &head, &body).identity;
    runtime.block_on(engine.run(identity, TERMS, None, || async { Attempt::Keep(answer()) }));
    bencher.bench(|| {
        let identity = identify_through(&policy, &head, &body).identity;
        engine.recall(&identity, &TERMS).unwrap()
    });
}

/// The whole of a replay but for HTTP: who asks for what, and what is known of it.
#[divan::bench]
fn recall(bencher: Bencher<'_, '_>) {
    let (route, head, body) = (route(), request(Some("8e03978e-40d5-43dd-bc93")), vec![b'x'; 512]);
    let engine = engine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let identity: Identity = identify(&route, &head, &body).identity;
    runtime.block_on(engine.run(identity, TERMS, None, || async { Attempt::Keep(answer()) }));
    bencher.bench(|| engine.recall(&identify(&route, &head, &body).identity, &TERMS).unwrap());
}

fn engine() -> Engine {
    let (clock, metrics) = (Clock::system(), Arc::new(Metrics::default()));
    let options = MemoryOptions {
        bytes_max: 64 << 20,
        when_full: WhenFull::Evict,
        answer_bytes_max: 1 << 20,
        marks_max: 1000,
    };
    let store = Arc::new(MemoryStore::new(options, clock.clone(), Arc::clone(&metrics)));
    let limits = EngineLimits { flights_max: 10, waiters_max: 10, waiters_per_key_max: 10 };
    Engine::new(store, limits, clock, metrics, 1)
}

/// The example of RFC 7515, appendix A.3: its key and its token.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const TOKEN: &str = "Bearer eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn token_verifier() -> TokenVerifier {
    TokenVerifier::new(TokenOptions::default(), &TokenKeys::Jwks(JWKS.into())).unwrap()
}

fn claim(verifier: &TokenVerifier) {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", TOKEN.parse().unwrap());
    let now = Timestamp::from_millis(1_300_000_000_000);
    divan::black_box(verifier.claim(&headers, "iss", now));
}

/// Who sends a token that was not seen lately.
#[divan::bench]
fn token_new(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(token_verifier).bench_refs(|verifier| claim(verifier));
}

/// Who sends the same token again.
#[divan::bench]
fn token_known(bencher: Bencher<'_, '_>) {
    let verifier = token_verifier();
    bencher.bench(|| claim(&verifier));
}
