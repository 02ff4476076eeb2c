//! Interim answers (1xx), which go ahead of the final one.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode};

use super::{Protocol, Upstream};
use crate::message::Body;

/// What listens for interim answers, in the extensions of a request.
#[derive(Clone)]
pub(super) struct Listener(Arc<Hear>);

type Hear = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

impl Upstream {
    /// Lets interim answers to a request be heard, as they come.
    pub fn on_interim(
        &self,
        request: &mut Request<Body>,
        listener: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
    ) {
        match self.0.remote.options.protocol {
            Protocol::Http1 => listen(request, listener),
            Protocol::Http2 => {
                request.extensions_mut().insert(Listener(Arc::new(listener)));
            }
        }
    }
}

impl Listener {
    /// Hears an interim answer.
    pub(super) fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }

    /// Listens to a request that goes by HTTP/1.1 after all.
    pub(super) fn move_to_http1(request: &mut Request<Body>) {
        if let Some(Self(listener)) = request.extensions_mut().remove() {
            listen(request, move |status, headers| listener(status, headers));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").finish_non_exhaustive()
    }
}

fn listen(
    request: &mut Request<Body>,
    listener: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
) {
    hyper::ext::on_informational(request, move |answer| {
        listener(answer.status(), answer.headers());
    });
}
