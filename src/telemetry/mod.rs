//! What is counted, logged and traced.

mod access;
mod escape;
mod feed;
mod lines;
mod log;
mod metrics;
pub mod trace;

pub use access::{AccessLog, Entry, Selection};
pub use feed::{Duplicate, Feed, Watcher};
pub use lines::LineWriter;
pub use log::{Format, Log, log_dropped, start_log};
pub use metrics::{
    Counter, Counters, DecisionKind, Evictions, Exposition, Gauges, Handled, Histogram, Histograms,
    Label, Metrics, MetricsFormat, Open, Reloaded, StoreOperation, Tally, Traffic, UnknownCause,
    Unprotected,
};
