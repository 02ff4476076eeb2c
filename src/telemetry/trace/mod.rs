//! Traces: what one request took in all its parts, told to a collector.
//!
//! Spans that nobody records are empty: beginning one is a single branch.

mod context;
mod ids;
#[cfg(feature = "otlp")]
pub mod otlp;
mod queue;
mod sampler;
mod scope;
mod span;
mod state;

pub use context::{SpanContext, TRACEPARENT, TRACESTATE};
pub use ids::{SpanId, TraceId};
pub use queue::{Collected, Traces};
pub use sampler::{Roots, Sampler};
pub use scope::{carried, child, current};
pub use span::{Finished, Kind, Span, Status, Value};
