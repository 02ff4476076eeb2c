//! What operators use, on the binary as it runs: health, metrics, the API, and draining.

#![allow(clippy::float_cmp, reason = "what is counted is whole")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, prints what it has counted, and its helpers are public \
              only to its own modules"
)]

#[path = "../stores/server.rs"]
#[allow(dead_code, reason = "a vocabulary: not every suite says every word")]
mod server;
#[path = "../it/support/mod.rs"]
mod support;

mod access;
mod drain;
mod feed;
mod health;
mod kept;
mod metrics;
mod openapi;
mod ports;
mod records;
mod series;
mod tunnels;
mod unknown;

use support::{Client, Origin, Proxy, Request, Starting};

/// How long a server may take for anything.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// An instance with an admin listener at any free port of loopback.
fn looked_after(origin: &Origin) -> Starting {
    Proxy::before(origin).arg("--admin", "127.0.0.1:0")
}

/// Whoever looks after an instance.
struct Operator(Client);

fn operator(proxy: &Proxy) -> Operator {
    Operator(Client::of(proxy.admin()))
}

impl Operator {
    fn method(&self, method: &str, path: &str) -> Request {
        self.0.method(method, path).host("localhost")
    }

    fn get(&self, path: &str) -> Request {
        self.method("GET", path)
    }

    fn post(&self, path: &str) -> Request {
        self.method("POST", path)
    }
}

/// The number of a metric with these labels, as the instance shows it now.
async fn metric(proxy: &Proxy, series: &str) -> f64 {
    let text = operator(proxy).get("/metrics").send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}
