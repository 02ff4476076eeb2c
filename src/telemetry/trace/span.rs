//! Spans: what something took that was done for a request.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;

use super::context::{SpanContext, TRACEPARENT};
use super::ids::{SpanId, TraceId};
use super::scope::{Scope, within};

/// The longest text that is said of a span, in bytes; more of it is cut off. What callers send may
/// be long, and many spans may wait.
const TEXT_BYTES_MAX: usize = 256;

/// The most other spans that one names.
const LINKS_MAX: usize = 8;

/// A span that is under way. It ends when it is dropped; an empty one is told to nobody.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    scope: Scope,
    finished: Finished,
}

/// A span that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its place.
    pub context: SpanContext,
    /// What else is told of the trace, as the list that came with it.
    pub state: Option<Arc<str>>,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// For whom.
    pub kind: Kind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// What is said of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans that it has to do with.
    pub links: Vec<SpanContext>,
    /// How it ended.
    pub status: Status,
}

/// For whom something is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// For ourselves.
    Internal,
    /// For a caller.
    Server,
    /// By somebody else, whom we have asked.
    Client,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Status {
    /// In a way that is nobody's fault here.
    #[default]
    Unset,
    /// With an error.
    Error,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl Span {
    pub(super) fn open(scope: Scope, kind: Kind, parent: Option<SpanId>) -> Self {
        let began = scope.now();
        // As many as it is usually given.
        let attributes = match kind {
            Kind::Internal => 0,
            Kind::Client => 6,
            Kind::Server => 14,
        };
        let finished = Finished {
            context: scope.context,
            state: scope.state.clone(),
            parent,
            name: Cow::Borrowed(""),
            kind,
            began,
            ended: began,
            attributes: Vec::with_capacity(attributes),
            links: Vec::new(),
            status: Status::Unset,
        };
        Self(Some(Box::new(Open { scope, finished })))
    }

    /// Whether anybody is told of it: what is said of it need not be found out otherwise.
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Its place, if anybody is told of it.
    pub fn context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|open| open.scope.context)
    }

    /// The trace that it belongs to, if anybody is told of it.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.context().map(|context| context.trace_id)
    }

    /// Says what is done.
    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.finished.name = name.into();
        }
    }

    /// Says something of it; what was said before under that name does not count any more.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let Some(open) = &mut self.0 else { return };
        let (attributes, value) = (&mut open.finished.attributes, value.into().cut());
        match attributes.iter_mut().find(|(other, _)| *other == name) {
            Some((_, other)) => *other = value,
            None => attributes.push((name, value)),
        }
    }

    /// Says that it has failed, and why.
    pub fn fail(&mut self, reason: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.finished.status = Status::Error;
            self.set("error.type", Value::Text(reason.into()));
        }
    }

    /// Says that it has not failed, whatever was said before.
    pub fn succeed(&mut self) {
        if let Some(open) = &mut self.0 {
            open.finished.status = Status::Unset;
            open.finished.attributes.retain(|(name, _)| *name != "error.type");
        }
    }

    /// Says that it has to do with another span.
    pub fn link(&mut self, other: SpanContext) {
        if let Some(open) = &mut self.0
            && open.finished.links.len() < LINKS_MAX
        {
            open.finished.links.push(other);
        }
    }

    /// Makes a request that is sent part of it.
    pub fn show(&self, headers: &mut HeaderMap) {
        if let Some(open) = &self.0 {
            headers.insert(TRACEPARENT, open.scope.context.to_header());
        }
    }

    /// Does work for it: what that begins is part of it.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        within(self.0.as_ref().map(|open| Arc::new(open.scope.clone())), work)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { scope, mut finished } = *open;
        finished.ended = scope.now();
        scope.recorder.take(finished);
    }
}

impl Value {
    fn cut(mut self) -> Self {
        if let Self::Text(Cow::Owned(text)) = &mut self
            && text.len() > TEXT_BYTES_MAX
        {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.shrink_to_fit();
        }
        self
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
