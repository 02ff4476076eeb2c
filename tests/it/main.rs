//! End-to-end tests: the real binary between a real socket client and a ledger upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, its helpers are public only to its own modules, and \
              it waits for few futures"
)]

mod support;

mod answers;
mod caps;
mod cmdline;
mod concurrency;
mod differential;
mod ends;
mod examples;
mod forward;
mod framing;
mod grpc;
mod hangup;
mod harness;
mod hops;
mod hosts;
mod identity;
mod incoming;
mod interim;
mod keys;
mod limits;
mod outgoing;
mod platform;
mod policy;
mod reload;
mod replay;
mod resources;
mod smuggling;
mod trusted;
mod upgrade;
mod upstream;
mod versions;
mod window;
