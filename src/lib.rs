//! Oncegate makes any HTTP API idempotent.
//!
//! It stands before the API as a reverse proxy: the first request with a key runs, its answer is
//! kept, and every repeat gets that answer back without the API being called again.
//!
//! The modules stand in reading order; each uses only those above it.

// Values.
pub mod clock;

pub mod message;

pub mod telemetry;

// Rules: pure and synchronous.
pub mod idempotency;

pub mod policy;

// Ports: the outside world.
pub mod store;

pub mod transport;

pub mod upstream;

pub mod server;

// The machine.
pub mod engine;

pub mod proxy;

pub mod admin;

// Assembly.
pub mod config;

pub mod app;

pub mod cli;
