//! Real programs on both sides: curl, nghttp2, gRPC, WebSocket, OpenSSL and nginx.
//!
//! `tests/run` installs what they need, and `tests/peers/install` the Python libraries. Everything
//! happens on loopback and in folders that are gone afterwards.

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

#[path = "../it/support/mod.rs"]
mod support;

mod authority;
mod front;
mod program;

mod curl;
mod grpc;
mod nghttp;
mod nghttpd;
mod nginx;
mod openssl;
mod websocket;
