//! What is counted and logged.

mod access;
mod log;
mod metrics;

pub use access::{AccessLog, Entry, Selection};
pub use log::{Format, start_log};
pub use metrics::{
    Counter, Counters, DecisionKind, Handled, Label, Metrics, Reloaded, StoreOperation,
    UnknownCause, Unprotected,
};
