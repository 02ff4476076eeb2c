//! What is counted and logged.

mod access;
mod feed;
mod log;
mod metrics;

pub use access::{AccessLog, Entry, Selection};
pub use feed::{Duplicate, Feed};
pub use log::{Format, start_log};
pub use metrics::{
    Counter, Counters, DecisionKind, Evictions, Exposition, Gauges, Handled, Histogram, Histograms,
    Label, Metrics, MetricsFormat, Reloaded, StoreOperation, Tally, Traffic, UnknownCause,
    Unprotected,
};
