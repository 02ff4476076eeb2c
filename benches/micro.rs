//! What the parts of a replay cost: `cargo bench`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request};
use oncegate::clock::{Clock, Timestamp};
use oncegate::engine::{Engine, EngineLimits};
use oncegate::idempotency::{
    Answer, AnswerBuilder, Attempt, Fingerprint, Identity, LeaseToken, OnUnknown, Record, Secret,
    State, Terms, decide, decode, encode,
};
use oncegate::message::{Authority, clean, scan};
use oncegate::policy::{Guard, Identified};
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
};

fn guard() -> Guard {
    Guard::new(Secret::from_bytes([7; 32]), TERMS)
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

fn identify(guard: &Guard, head: &Parts, body: &[u8]) -> Identified {
    let authority = Authority::of(&head.uri, &head.headers, head.version).unwrap();
    let chosen = guard.choose(&head.headers).unwrap().unwrap();
    guard.identify(&chosen, &authority, head, body)
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
    }
}

#[divan::bench(args = [0, 512, 8192, 65536])]
fn identify_by_key(bencher: Bencher<'_, '_>, body: usize) {
    let (guard, head, body) = (guard(), request(Some("8e03978e-40d5-43dd-bc93")), vec![b'x'; body]);
    bencher.bench(|| identify(&guard, &head, &body));
}

#[divan::bench(args = [0, 512, 8192, 65536])]
fn identify_by_checksum(bencher: Bencher<'_, '_>, body: usize) {
    let (guard, head, body) = (guard(), request(None), vec![b'x'; body]);
    bencher.bench(|| identify(&guard, &head, &body));
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

/// The whole of a replay but for HTTP: who asks for what, and what is known of it.
#[divan::bench]
fn recall(bencher: Bencher<'_, '_>) {
    let (guard, head, body) = (guard(), request(Some("8e03978e-40d5-43dd-bc93")), vec![b'x'; 512]);
    let engine = engine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let identity: Identity = identify(&guard, &head, &body).identity;
    runtime.block_on(engine.run(identity, TERMS, || async { Attempt::Keep(answer()) }));
    bencher.bench(|| engine.recall(&identify(&guard, &head, &body).identity, &TERMS).unwrap());
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
