//! The vocabulary of the end-to-end tests: an origin, the proxy before it, and a client.
//!
//! ```ignore
//! let origin = Origin::start().await;
//! let proxy = Proxy::before(&origin).arg("--wait", "2s").start().await;
//! let first = client(&proxy).post("/charges").key("k1").body("10").send().await;
//! let retry = client(&proxy).post("/charges").key("k1").body("10").send().await;
//! assert_replay(&first, &retry);
//! assert_eq!(origin.hits(), 1);
//! ```

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "a vocabulary: not every suite says every word"
)]

mod client;
mod connection;
mod crowd;
mod faults;
mod folder;
mod h2_caller;
mod h2_origin;
mod origin;
mod proxy;
mod reply;
mod script;
mod tls;
mod turns;
mod way;
mod wire;

use std::future::Future;
use std::time::Duration;

pub use client::{Client, Request, client};
pub use connection::Connection;
pub use crowd::{assert_one_executed, outstanding, read_all};
pub use faults::{
    Ended, Exchange, Instance, Peer, Reserved, assert_held, assert_unknown, memory,
    none_connected_to, run, talk,
};
pub use folder::{Folder, example};
pub use origin::{Origin, Received};
pub use proxy::{Proxy, Starting, sockets_of};
pub use reply::{Reply, problem_of};
pub use script::{Act, Answer, Gate, How};
pub use way::{Incoming, Outgoing, Way};
pub(crate) use way::{every_protocol, every_way, every_way_in, every_way_out, way, ways};
pub use wire::{Ending, Field, Fields, Framing, Wire, chunked, gzip};

/// How long anything may take before its test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The four header fields that mark a repeat.
pub const MARKS: [&str; 4] = ["duplicate-request", "duplicate-key", "idempotent-replayed", "age"];

/// The result of `work`, which must come before the deadline.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(DEADLINE, work).await;
    result.unwrap_or_else(|_| panic!("waited {} s in vain: {what}", DEADLINE.as_secs()))
}

/// Asks again and again until the answer is yes.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Fails unless `reply` is an executed answer: none of the marks of a repeat.
#[track_caller]
pub fn assert_executed(reply: &Reply) {
    for mark in MARKS {
        assert!(!reply.has(mark), "an executed answer carries {mark}: {reply:?}");
    }
}

/// Fails unless `repeat` carries the four marks of a repeat.
#[track_caller]
pub fn assert_marked(repeat: &Reply) {
    assert_eq!(repeat.header("duplicate-request"), Some("true"), "{repeat:?}");
    assert_eq!(repeat.header("idempotent-replayed"), Some("true"), "{repeat:?}");
    let key = repeat.header("duplicate-key").unwrap_or_else(|| panic!("no key: {repeat:?}"));
    assert_standard_base64(key);
    let age = repeat.header("age").unwrap_or_else(|| panic!("no age: {repeat:?}"));
    assert!(age.parse::<u64>().is_ok(), "age is not a number of seconds: {age}");
    for mark in MARKS {
        assert_eq!(repeat.headers(mark).len(), 1, "{mark} appears once: {repeat:?}");
    }
}

/// Fails unless `repeat` is `first` byte for byte, and marked as a repeat.
#[track_caller]
pub fn assert_replay(first: &Reply, repeat: &Reply) {
    assert_executed(first);
    assert_marked(repeat);
    assert_same_answer(first, repeat);
}

/// Fails unless both are one answer: status, end-to-end fields in their order, and body.
#[track_caller]
pub fn assert_same_answer(first: &Reply, repeat: &Reply) {
    assert_eq!(repeat.status, first.status, "status: {repeat:?}");
    assert_eq!(repeat.end_to_end(), first.end_to_end(), "end-to-end header fields");
    assert_eq!(repeat.body, first.body, "body: {repeat:?}");
    assert_eq!(repeat.trailers.lines, first.trailers.lines, "trailers: {repeat:?}");
    assert!(!repeat.is_cut() && !first.is_cut(), "both are complete: {repeat:?}");
}

/// Fails unless `reply` is the proxy's own answer `name` in its documented shape.
#[track_caller]
pub fn assert_problem(reply: &Reply, status: u16, name: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:oncegate:{name}"), "{reply:?}");
    assert_eq!(problem["status"], status, "{reply:?}");
    for text in ["title", "detail"] {
        let said = problem[text].as_str();
        assert!(said.is_some_and(|said| !said.is_empty()), "{text} says something: {reply:?}");
    }
    let retryable = problem["retryable"].as_bool().unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(reply.has("retry-after"), retryable, "Retry-After where retryable: {reply:?}");
    let proxy_status = reply.header("proxy-status").unwrap_or_default();
    assert!(proxy_status.starts_with("oncegate; error="), "Proxy-Status: {reply:?}");
    for mark in ["duplicate-request", "idempotent-replayed", "age"] {
        assert!(!reply.has(mark), "an own answer is no replay, but has {mark}: {reply:?}");
    }
}

/// Fails unless `key` is what standard base64 of a 32-byte hash looks like.
#[track_caller]
pub fn assert_standard_base64(key: &str) {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(key);
    assert_eq!(bytes.map(|bytes| bytes.len()), Ok(32), "a base64 record key: {key:?}");
}
