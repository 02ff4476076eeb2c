//! For which span a task works: what it begins belongs to that.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::context::SpanContext;
use super::ids::SpanId;
use super::queue::Recorder;
use super::span::{Kind, Span};

tokio::task_local! {
    static SCOPE: Option<Arc<Scope>>;
}

/// A span that others may be part of.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) recorder: Arc<Recorder>,
    pub(super) context: SpanContext,
    /// What else is told of the trace, in the list that came with it.
    pub(super) state: Option<Arc<str>>,
    /// One moment by both clocks: within a trace, time only moves forward.
    anchor: (Instant, Duration),
}

impl Scope {
    /// The scope of a span with which a trace begins here.
    pub(super) fn begin(
        recorder: Arc<Recorder>,
        context: SpanContext,
        state: Option<Arc<str>>,
    ) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { recorder, context, state, anchor: (Instant::now(), since_epoch) }
    }

    /// Opens the span that this is the scope of.
    pub(super) fn open(self, kind: Kind, parent: Option<SpanId>) -> Span {
        Span::open(self, kind, parent)
    }

    fn child(&self, kind: Kind) -> Option<Span> {
        let context = self.context.child(SpanId::random()?, true);
        let scope = Self { context, ..self.clone() };
        Some(scope.open(kind, Some(self.context.span_id)))
    }

    /// The time, in nanoseconds since the Unix epoch.
    pub(super) fn now(&self) -> u64 {
        let (at, since_epoch) = self.anchor;
        u64::try_from((since_epoch + at.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Begins a span that is part of what this task works for; an empty one if nobody records that.
pub fn child(kind: Kind) -> Span {
    let begun = SCOPE.try_with(|scope| scope.as_ref().and_then(|scope| scope.child(kind)));
    begun.ok().flatten().unwrap_or_default()
}

/// The span that this task works for, if somebody records it.
pub fn current() -> Option<SpanContext> {
    scope().map(|scope| scope.context)
}

fn scope() -> Option<Arc<Scope>> {
    SCOPE.try_with(Clone::clone).ok().flatten()
}

/// The same work in a task of its own, for the same span.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    SCOPE.scope(scope(), work)
}

/// Does the work for this span.
pub(super) fn within<F: Future>(
    scope: Option<Arc<Scope>>,
    work: F,
) -> impl Future<Output = F::Output> {
    SCOPE.scope(scope, work)
}
