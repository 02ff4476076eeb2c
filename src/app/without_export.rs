//! Tells nobody of spans: this was built without OTLP.

use std::io;
use std::sync::Arc;

use crate::telemetry::Metrics;
use crate::telemetry::trace::Traces;

/// What would tell of spans.
#[derive(Debug)]
pub(super) struct Exporter;

/// Records no spans, and says so to those who have asked for it.
#[expect(clippy::unnecessary_wraps, reason = "it can fail where spans are told of")]
pub(super) fn start(_: &Arc<Metrics>) -> io::Result<(Traces, Exporter)> {
    let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    if names.iter().any(|name| std::env::var_os(name).is_some()) {
        tracing::warn!("no traces are exported: this was built without the feature \"otlp\"");
    }
    Ok((Traces::default(), Exporter))
}

impl Exporter {
    /// There is nothing to be told.
    #[expect(clippy::unused_self, reason = "as where spans are told of")]
    pub(super) fn finish(self) {}
}
