//! The senders of webhooks that `examples/webhooks.toml` is for, and how their attempts differ.

use crate::support::{Proxy, Request, client};

/// A sender, as far as this proxy can tell one from another.
pub(super) struct Sender {
    pub(super) name: &'static str,
    path: &'static str,
    kind: &'static str,
    /// What of an attempt names the event.
    id: Id,
    /// The headers that are others with each attempt.
    volatile: &'static [&'static str],
}

enum Id {
    Header(&'static str),
    /// The member of a JSON body, and another one that counts attempts.
    Member(&'static str, &'static str),
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// All of them.
pub(super) const SENDERS: [Sender; 9] = [
    Sender {
        name: "github",
        path: "/webhooks/github",
        kind: JSON,
        id: Id::Header("X-GitHub-Delivery"),
        volatile: &["X-Hub-Signature-256", "User-Agent"],
    },
    Sender {
        name: "gitlab",
        path: "/webhooks/gitlab",
        kind: JSON,
        id: Id::Header("Idempotency-Key"),
        volatile: &["X-Gitlab-Event-UUID", "X-Gitlab-Webhook-UUID"],
    },
    Sender {
        name: "gitlab of later",
        path: "/webhooks/gitlab",
        kind: JSON,
        id: Id::Header("webhook-id"),
        volatile: &["webhook-timestamp", "webhook-signature"],
    },
    Sender {
        name: "standard webhooks",
        path: "/webhooks/standard/acme",
        kind: JSON,
        id: Id::Header("webhook-id"),
        volatile: &["webhook-timestamp", "webhook-signature"],
    },
    Sender {
        name: "svix",
        path: "/webhooks/standard/svix",
        kind: JSON,
        id: Id::Header("svix-id"),
        volatile: &["svix-timestamp", "svix-signature"],
    },
    Sender {
        name: "stripe",
        path: "/webhooks/stripe",
        kind: JSON,
        id: Id::Member("id", "pending_webhooks"),
        volatile: &["Stripe-Signature"],
    },
    Sender {
        name: "shopify",
        path: "/webhooks/shopify",
        kind: JSON,
        id: Id::Header("X-Shopify-Webhook-Id"),
        volatile: &["X-Shopify-Hmac-Sha256", "X-Shopify-Triggered-At"],
    },
    Sender {
        name: "slack",
        path: "/webhooks/slack/events",
        kind: JSON,
        id: Id::Member("event_id", "event_time"),
        volatile: &["X-Slack-Retry-Num", "X-Slack-Signature", "X-Slack-Request-Timestamp"],
    },
    Sender {
        name: "twilio",
        path: "/webhooks/twilio/voice",
        kind: FORM,
        id: Id::Header("I-Twilio-Idempotency-Token"),
        volatile: &["X-Twilio-Signature", "Cookie"],
    },
];

impl Sender {
    /// The sender of this name.
    pub(super) fn named(name: &str) -> &'static Self {
        SENDERS.iter().find(|sender| sender.name == name).expect("a sender")
    }

    /// An attempt to deliver an event.
    pub(super) fn attempt(&self, proxy: &Proxy, event: &str, number: usize) -> Request {
        let mut request = self.request(proxy);
        for name in self.volatile {
            request = request.header(name, format!("v{number}"));
        }
        match self.id {
            Id::Header(name) if self.kind == FORM => {
                request.header(name, event).body("CallSid=CA1")
            }
            Id::Header(name) => request.header(name, event).body(r#"{"action":"opened"}"#),
            Id::Member(name, counter) => {
                let body = format!(r#"{{"{name}":"{event}","type":"a.b","{counter}":{number}}}"#);
                request.body(body)
            }
        }
    }

    /// A request to its path that has no id.
    pub(super) fn request(&self, proxy: &Proxy) -> Request {
        client(proxy).post(self.path).header("Content-Type", self.kind)
    }
}
