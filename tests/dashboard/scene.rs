//! A browser that shows the dashboard of an instance, which stands before an API.

use std::net::SocketAddr;

use crate::browser::Browser;
use crate::support::{Client, Origin, Proxy, Reply, Request, Starting, client};

/// All of it. [`end`](Self::end) looks at what the browser has to say.
pub struct Scene {
    pub browser: Browser,
    pub proxy: Proxy,
    pub origin: Origin,
    /// The address of the admin listener.
    pub admin: SocketAddr,
}

impl Scene {
    /// The dashboard of an instance with default settings.
    pub async fn open() -> Self {
        Self::told(|proxy| proxy).await
    }

    /// The dashboard of an instance that is told this.
    pub async fn told(tell: impl FnOnce(Starting) -> Starting) -> Self {
        let origin = Origin::start().await;
        let proxy = Proxy::before(&origin).arg("--admin", "127.0.0.1:0");
        let proxy = tell(proxy).start().await;
        let admin = admin_of(&proxy);
        let browser = Browser::start().await;
        browser.go(&format!("http://{admin}/")).await;
        Self { browser, proxy, origin, admin }
    }

    /// The request of an operation.
    pub fn charge(&self, key: &str) -> Request {
        client(&self.proxy).post("/v1/charges").key(key).body(format!("{{\"op\":\"{key}\"}}"))
    }

    /// An answer of the admin listener itself.
    pub async fn ask(&self, path: &str) -> Reply {
        Client::of(self.admin).get(path).host(&self.admin.to_string()).send().await
    }

    /// Waits until the page shows the first figures, and every duplicate from now on.
    pub async fn ready(&self) {
        self.browser.shows("#health", "Ready").await;
        self.browser.shows("#feed-is", "live").await;
    }

    /// Fails if the page has asked anybody else, or has anything to complain of.
    pub async fn end(self) {
        self.end_but(&[]).await;
    }

    /// As [`end`](Self::end), where these parts of complaints are expected.
    pub async fn end_but(self, expected: &[&str]) {
        for entry in self.browser.log("browser").await {
            let message = entry["message"].as_str().unwrap();
            let is_harmless = matches!(entry["level"].as_str(), Some("DEBUG" | "INFO"));
            let is_expected = expected.iter().any(|part| message.contains(part));
            assert!(is_harmless || is_expected, "the browser says: {message}");
        }
        let own = format!("http://{}/", self.admin);
        let mut asked = 0;
        for entry in self.browser.log("performance").await {
            let message = entry["message"].as_str().unwrap();
            let event: serde_json::Value = serde_json::from_str(message).unwrap();
            let event = &event["message"];
            if event["method"] != "Network.requestWillBeSent" {
                continue;
            }
            let url = event["params"]["request"]["url"].as_str().unwrap();
            let is_own = url.starts_with(&own) || url.starts_with("data:");
            assert!(is_own, "the page asks for {url}");
            asked += 1;
        }
        assert!(asked > 3, "what the page asks for is seen: {asked}");
    }
}

/// The address of the admin listener in a ready line.
pub fn admin_of(proxy: &Proxy) -> SocketAddr {
    let log = proxy.log();
    let word = log.split_whitespace().find_map(|word| word.strip_prefix("admin="));
    let address = word.and_then(|word| word.trim_matches('"').parse().ok());
    address.unwrap_or_else(|| panic!("no admin address in {log}"))
}

/// The `Duplicate-Key` of an answer.
pub fn key_of(reply: &Reply) -> String {
    reply.header("duplicate-key").unwrap_or_else(|| panic!("no key: {reply:?}")).to_owned()
}
