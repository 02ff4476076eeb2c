//! Which requests are guarded, what their key is, whose they are, and which answers are final.

mod identify;
mod keep;
mod volatile;

pub use identify::{Chosen, Identified, IdentifyError, KeySource};
pub use keep::{Class, classify};
pub use volatile::is_volatile;

use http::{HeaderName, Method};

use crate::idempotency::{Secret, Terms};

/// The headers that say whose request it is: credentials, and who a proxy before this one has found
/// the caller to be.
const CALLER: [&str; 9] = [
    "authorization",
    "x-api-key",
    "cookie",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-goog-api-key",
    "x-forwarded-user",
    "x-forwarded-client-cert",
];

/// How one kind of request is guarded.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The methods that are guarded; others pass.
    pub methods: Vec<Method>,
    /// Where a key may be, the first one that the request has being taken.
    pub key: Vec<KeySource>,
    /// The headers that say whose request it is.
    pub caller: Vec<HeaderName>,
    /// The largest request that is guarded, in bytes.
    pub request_bytes_max: usize,
    /// The largest answer that is kept, in bytes.
    pub response_bytes_max: usize,
    /// The largest content that a compressed request is decoded to, in bytes.
    pub decoded_bytes_max: usize,
    /// What keys its hashes.
    pub secret: Secret,
    /// What is agreed for its operations.
    pub terms: Terms,
}

impl Guard {
    /// The guard of section "Keys" in the README, with the given secret and terms.
    pub fn new(secret: Secret, terms: Terms) -> Self {
        Self {
            methods: vec![Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
            key: vec![
                KeySource::header(HeaderName::from_static("idempotency-key")),
                KeySource::header(HeaderName::from_static("request-id")),
                KeySource::Checksum,
            ],
            caller: CALLER.map(HeaderName::from_static).into(),
            request_bytes_max: 8 << 20,
            response_bytes_max: 1 << 20,
            decoded_bytes_max: 32 << 20,
            secret,
            terms,
        }
    }

    /// Whether requests with the method are guarded.
    pub fn guards(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }

    /// Whether a method is one that is guarded, but for its case: some servers do not mind that.
    pub fn confuses(&self, method: &Method) -> bool {
        let is = |guarded: &Method| {
            method != guarded && method.as_str().eq_ignore_ascii_case(guarded.as_str())
        };
        self.methods.iter().any(is)
    }

    /// Whether a header is a key or a credential, so that no hop may drop it.
    pub fn depends_on(&self, name: &HeaderName) -> bool {
        self.caller.contains(name) || self.key.iter().any(|source| source.is_header(name))
    }
}
