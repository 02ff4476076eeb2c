//! A guarded request whose identity is known: the engine runs it, if nobody else has.

use std::sync::Arc;

use http::Request;
use tokio::sync::oneshot;

use super::attempt::{Answering, Exchange, Goal};
use super::guard::malformed;
use super::note::Took;
use super::reply::{About, Reply};
use super::{Head, Proxy, grpc, outbound};
use crate::idempotency::{Identity, Limit, Origin, Outcome, Refusal};
use crate::message::{Body, Partly, Problem, Read, Reservation, Style, beginning};
use crate::policy::{Chosen, Route};
use crate::telemetry::trace::{SpanContext, current};

/// What a guarded request sends.
pub(super) enum Sending {
    /// A body that was read whole.
    Whole(Read),
    /// One that goes on, as it does in a call that streams its messages.
    Stream(Partly),
}

impl Proxy {
    /// Lets the engine run a request, or wait for whoever runs it.
    pub(super) async fn run(
        &self,
        route: &Arc<Route>,
        head: Head<'_>,
        sending: Sending,
        (identity, about): (Identity, About),
    ) -> Reply {
        let Some(running) = head.caller.load.begin() else {
            let refusal = Refusal::Busy(Limit::FlightsPerConnection);
            return self.reply(about, Outcome::Refused(refusal), None);
        };
        let (style, origin) = (head.style(), self.origin(route, &head));
        let (mut request, goal, reservation) = self.request(route, head, sending);
        if let Some(name) = &route.forward_key
            && let Ok(key) = identity.key.forwarded(&route.secret).parse()
        {
            request.headers_mut().insert(name, key);
        }
        let (stream, streamed) = oneshot::channel();
        // Boxed, since starting a task moves what it is given several times.
        let took = Took::default();
        let exchange = Box::new(Exchange {
            upstream: self.upstream.clone(),
            request,
            took: took.clone(),
            answering: Answering {
                route: Arc::clone(route),
                goal,
                style,
                reservation,
                stream,
                clock: self.clock.clone(),
                running,
            },
        });
        let work = move || exchange.attempt();
        let outcome = self.engine.run(identity, route.terms, Some(origin), work).await;
        let streamed = match outcome {
            Outcome::Streaming(_) => streamed.await.ok(),
            Outcome::Answered { .. } | Outcome::Failed(_) | Outcome::Refused(_) => None,
        };
        self.reply(about, outcome, streamed).after(took.time())
    }

    /// Runs a call that streams its messages, or whose end is late. Its key counts, as every key
    /// that a caller has sent: it runs once, its answer goes to the first caller as it comes, and
    /// nobody else gets one.
    ///
    /// It is the operation of how it begins: of a single message, however late its end comes, or of
    /// the first of several.
    pub(super) async fn run_stream(
        &self,
        route: &Arc<Route>,
        chosen: Chosen,
        head: Head<'_>,
        partly: Partly,
    ) -> Result<Reply, Problem> {
        let first = partly.first().slice_ref(beginning(partly.first()));
        let (head, identified) = self.identify(route, chosen, head, &first).await?;
        let Some(identified) = identified.map_err(|error| malformed(&error))? else {
            return self.without_key(route, head, partly.into()).await;
        };
        let about = About::of(&identified, &head);
        if let Some(outcome) = self.engine.recall(&identified.identity, &route.terms) {
            return Ok(self.reply(about, outcome, None));
        }
        Ok(self.run(route, head, Sending::Stream(partly), (identified.identity, about)).await)
    }

    /// What a record tells of the request that it comes from.
    pub(super) fn origin(&self, route: &Route, head: &Head<'_>) -> Origin {
        let (method, path) = (head.parts.method.as_str(), head.parts.uri.path());
        // Ours if it is traced here, and the caller's otherwise.
        let span = current().or_else(|| SpanContext::of(&head.parts.headers));
        let origin = Origin::new(&route.name, method, path, self.clock.now());
        origin.traced(span.map(SpanContext::into))
    }

    /// What goes to the upstream, what for, and the memory that it takes.
    fn request(
        &self,
        route: &Route,
        head: Head<'_>,
        sending: Sending,
    ) -> (Request<Body>, Goal, Reservation) {
        match sending {
            Sending::Whole(Read { bytes, reservation }) => {
                let style = head.style();
                let mut request = outbound::guarded(head, bytes, &self.upstream);
                if style == Style::Grpc {
                    let patience = route.terms.timeout + route.terms.linger;
                    grpc::outlive_caller(request.headers_mut(), patience);
                }
                (request, Goal::Keep, reservation)
            }
            Sending::Stream(partly) => {
                let request = outbound::passed(head, partly.into(), &self.upstream);
                (request, Goal::Stream, self.budget.reserve_none())
            }
        }
    }
}
