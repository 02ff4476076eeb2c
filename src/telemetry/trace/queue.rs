//! Where traces begin, and where their spans wait to be told.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::mpsc;

use super::context::{SpanContext, TRACEPARENT, TRACESTATE};
use super::ids::{SpanId, TraceId};
use super::sampler::Sampler;
use super::scope::Scope;
use super::span::{Finished, Kind, Span};
use super::state;
use crate::telemetry::Metrics;

/// The longest list of what else is said of a trace that its spans hold, in bytes; a longer one
/// only goes on in the header.
const STATE_BYTES_MAX: usize = 512;

/// What begins traces. A clone is the same one; one that is off begins none.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Recorder>>);

/// The spans that have ended, in their order.
pub type Collected = mpsc::Receiver<Finished>;

/// What spans of all traces have in common.
#[derive(Debug)]
pub(super) struct Recorder {
    sampler: Sampler,
    spans: mpsc::Sender<Finished>,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Traces of which so many spans may wait until whoever has the other end takes them.
    pub fn new(sampler: Sampler, spans_max: usize, metrics: Arc<Metrics>) -> (Self, Collected) {
        let (spans, collected) = mpsc::channel(spans_max.max(1));
        (Self(Some(Arc::new(Recorder { sampler, spans, metrics }))), collected)
    }

    /// Begins the span of a request, which goes on with the trace that its header names or begins
    /// one. A header that is not valid is taken off, as if nobody had written it.
    #[inline]
    pub fn begin(&self, headers: &mut HeaderMap) -> Span {
        match &self.0 {
            None => Span::default(),
            Some(recorder) => recorder.begin(headers).unwrap_or_default(),
        }
    }
}

impl Recorder {
    #[cold]
    fn begin(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<Span> {
        let parent = SpanContext::of(headers);
        if parent.is_none() {
            headers.remove(TRACEPARENT);
        }
        let state = parent.and_then(|_| state::of(headers));
        let is_state_valid = state.is_some();
        let state = state.filter(|state| state.len() <= STATE_BYTES_MAX);
        if !is_state_valid {
            headers.remove(TRACESTATE);
        }
        let trace_id = parent.map_or_else(TraceId::random, |parent| Some(parent.trace_id))?;
        let is_sampled = self.sampler.takes(&trace_id, parent.as_ref());
        if !is_sampled && parent.is_some_and(|parent| !parent.is_sampled()) {
            // Nobody will ever see a span of ours: the header goes on as it is.
            return None;
        }
        let span_id = SpanId::random()?;
        let context = match parent {
            Some(parent) => parent.child(span_id, is_sampled),
            None => SpanContext::new(trace_id, span_id, is_sampled),
        };
        if !is_sampled {
            // Whoever comes next does not record it either.
            headers.insert(TRACEPARENT, context.to_header());
            return None;
        }
        let scope = Scope::begin(Arc::clone(self), context, state);
        Some(scope.open(Kind::Server, parent.map(|parent| parent.span_id)))
    }

    /// Takes a span that has ended. Never waits: one that finds no room is dropped and counted.
    pub(super) fn take(&self, span: Finished) {
        if self.spans.try_send(span).is_err() {
            self.metrics.trace_spans_dropped.increment();
        }
    }
}
