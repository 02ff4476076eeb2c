//! The proxy that a worker has at the moment: another may take its place while it serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;

use super::{Proxy, ReplyBody};
use crate::server::{Caller, Service};

/// The proxy that a worker has at the moment. A clone is the same place.
///
/// A request is answered to its end by the one that it came to.
#[derive(Clone, Debug)]
pub struct Live(Arc<ArcSwap<Proxy>>);

impl Live {
    /// Begins with a proxy.
    pub fn new(proxy: Proxy) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(proxy)))
    }

    /// The proxy that new requests come to.
    pub fn current(&self) -> Arc<Proxy> {
        self.0.load_full()
    }

    /// Lets new requests come to another proxy.
    pub fn replace(&self, proxy: Proxy) {
        self.0.store(Arc::new(proxy));
    }
}

impl Service for Live {
    type Body = ReplyBody;

    async fn call(&self, request: Request<Incoming>, caller: &Caller) -> Response<ReplyBody> {
        self.current().answer(request, caller).await
    }
}
