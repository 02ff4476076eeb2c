//! What is counted, logged and traced.

mod access;
mod escape;
mod log;
mod metrics;
pub mod trace;

pub use access::{AccessLog, Entry, Selection};
pub use log::{Format, start_log};
pub use metrics::{
    Counter, Counters, Handled, Label, Metrics, Reloaded, StoreOperation, UnknownCause, Unprotected,
};
