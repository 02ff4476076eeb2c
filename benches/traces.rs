//! What traces cost a request, in time and in allocations: `cargo bench --bench traces`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use http::HeaderMap;
use oncegate::telemetry::Metrics;
use oncegate::telemetry::trace::{Collected, Kind, Sampler, TRACEPARENT, Traces, child};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The header of a request that is part of a trace, or not.
fn headers(is_part: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", "api.example".parse().unwrap());
    if is_part {
        let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, place.parse().unwrap());
    }
    headers
}

fn on() -> (Traces, Collected) {
    Traces::new(Sampler::default(), 1 << 20, Arc::new(Metrics::default()))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// All that a replay does for traces while they are off.
#[divan::bench]
fn off_replay(bencher: Bencher<'_, '_>) {
    let (traces, mut headers) = (Traces::default(), headers(true));
    bencher.bench_local(|| {
        let span = black_box(&traces).begin(&mut headers);
        black_box(span.is_recorded())
    });
}

/// The same, and what a first request does besides: its spans for the upstream and the store.
#[divan::bench]
fn off_first(bencher: Bencher<'_, '_>) {
    let (traces, mut headers, runtime) = (Traces::default(), headers(true), runtime());
    bencher.bench_local(|| {
        let span = black_box(&traces).begin(&mut headers);
        runtime.block_on(async {
            for kind in [Kind::Client, Kind::Internal, Kind::Internal] {
                black_box(child(kind).is_recorded());
            }
        });
        black_box(span.is_recorded())
    });
}

#[divan::bench(args = [false, true])]
fn on_replay(bencher: Bencher<'_, '_>, is_part: bool) {
    let ((traces, mut spans), headers) = (on(), headers(is_part));
    bencher.with_inputs(|| headers.clone()).bench_local_values(|mut headers| {
        let mut span = traces.begin(&mut headers);
        span.name("POST");
        span.set("oncegate.outcome", "replayed");
        span.set("http.response.status_code", 201_u16);
        drop(span);
        spans.try_recv().unwrap()
    });
}

#[divan::bench]
fn on_first(bencher: Bencher<'_, '_>) {
    let ((traces, mut spans), headers, runtime) = (on(), headers(true), runtime());
    bencher.with_inputs(|| headers.clone()).bench_local_values(|mut headers| {
        let span = traces.begin(&mut headers);
        runtime.block_on(span.around(async {
            for kind in [Kind::Client, Kind::Internal, Kind::Internal] {
                drop(child(kind));
            }
        }));
        drop(span);
        while spans.try_recv().is_ok() {}
    });
}
