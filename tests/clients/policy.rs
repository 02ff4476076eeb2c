//! How the proxy is told what a repeat is.

use std::path::Path;

use crate::support::{Origin, Proxy, assert_executed, assert_replay, client};

/// What the proxy is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing but the upstream.
    Default,
    /// A file of the examples.
    Example(&'static str),
}

impl Policy {
    pub async fn start(self, origin: &Origin) -> Proxy {
        let proxy = Proxy::before(origin);
        match self {
            Self::Default => proxy.start().await,
            Self::Example(name) => {
                let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
                proxy.config(examples.join(name)).start().await
            }
        }
    }
}

/// Fails unless single events at these paths are known by their ids, whenever they are sent, and
/// those without an id are not known.
pub async fn assert_single_events_are_known(policy: Policy, paths: &[&str]) {
    let origin = Origin::start().await;
    let proxy = policy.start(&origin).await;
    for path in paths {
        let event = |id: &str, sent: &str| {
            let body = format!(r#"{{"event":"e"{id},"sentAt":"{sent}"}}"#);
            client(&proxy).post(path).caller("write-key").body(body)
        };
        let first = event(r#","messageId":"m1""#, "01:00").send().await;
        assert_executed(&first);
        assert_replay(&first, &event(r#","messageId":"m1""#, "02:00").send().await);
        assert_executed(&event(r#","messageId":"m2""#, "02:00").send().await);
        for _ in 0..2 {
            assert_executed(&event("", "01:00").send().await);
        }
    }
    assert_eq!(origin.hits(), 4 * paths.len());
}
