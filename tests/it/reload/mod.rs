//! The settings are read again while requests are served: new ones hold for new requests, and
//! those that can't are refused as a whole.

mod files;
mod load;
mod named;
mod refused;
mod running;
mod signals;
mod taken;

use std::cell::Cell;

use crate::support::{Folder, Origin, Proxy, Request, client, eventually};

const TAKEN: &str = "the settings were read again, and hold for new requests";
const REFUSED: &str = "the settings were not taken; the old ones hold on";

/// An origin, a proxy before it, and the file that tells the proxy everything.
struct Setup {
    folder: Folder,
    origin: Origin,
    proxy: Proxy,
    /// How many of the proxy's words on new settings have been heard.
    heard: Cell<usize>,
}

/// What became of new settings: they were taken, or not for this reason.
#[derive(Debug)]
struct Heard {
    cause: String,
    refused: Option<String>,
}

impl Setup {
    /// Starts all three. The config says `more` than where to listen and where the origin is.
    async fn start(more: &str) -> Self {
        let folder = Folder::new();
        Self::start_in(folder, more).await
    }

    async fn start_in(folder: Folder, more: &str) -> Self {
        let origin = Origin::start().await;
        let config = folder.write("oncegate.toml", text(&origin, more));
        let proxy = Proxy::told_by(config).start().await;
        Self { folder, origin, proxy, heard: Cell::new(0) }
    }

    fn text(&self, more: &str) -> String {
        text(&self.origin, more)
    }

    fn write(&self, more: &str) {
        self.folder.write("oncegate.toml", self.text(more));
    }

    fn post(&self, key: &str) -> Request {
        client(&self.proxy).post("/charges").key(key).body("10")
    }

    /// What the proxy has said of new settings so far.
    fn said(&self) -> Vec<Heard> {
        let log = self.proxy.log();
        let events = log.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"))
        });
        let heard = |event: serde_json::Value| {
            let text = |name: &str| event[name].as_str().map(str::to_owned);
            let refused = match event["message"].as_str() {
                Some(TAKEN) => None,
                Some(REFUSED) => Some(text("reason").expect("a reason")),
                _ => return None,
            };
            Some(Heard { cause: text("cause").expect("a cause"), refused })
        };
        events.filter_map(heard).collect()
    }

    /// The next word of the proxy on new settings, which must come.
    async fn hears(&self) -> Heard {
        let number = self.heard.get();
        eventually("a word on new settings", async || self.said().len() > number).await;
        self.heard.set(number + 1);
        self.said().swap_remove(number)
    }

    /// The next settings are taken.
    async fn hears_taken(&self) {
        let heard = self.hears().await;
        assert_eq!(heard.refused, None, "{heard:?}");
    }

    /// The next settings are refused, for this reason.
    async fn hears_refused(&self) -> String {
        self.hears().await.refused.expect("a refusal")
    }

    /// Writes a config and asks for it to be read.
    async fn told(&self, text: &str) -> Heard {
        self.folder.write("oncegate.toml", text);
        self.proxy.signal("HUP");
        let heard = self.hears().await;
        assert_eq!(heard.cause, "SIGHUP");
        heard
    }

    /// Writes a config that is taken.
    async fn takes(&self, more: &str) {
        let heard = self.told(&self.text(more)).await;
        assert_eq!(heard.refused, None, "{more}");
    }

    /// Writes a config that is refused, and returns the reason.
    async fn refuses(&self, more: &str) -> String {
        let heard = self.told(&self.text(more)).await;
        heard.refused.unwrap_or_else(|| panic!("these settings were taken: {more}"))
    }

    /// How many of these requests, sent one after the other, are executed.
    async fn executions<const N: usize>(&self, requests: [Request; N]) -> usize {
        let before = self.origin.hits();
        for request in requests {
            request.send().await;
        }
        self.origin.hits() - before
    }
}

/// A config that says where to listen, where this origin is, and more.
fn text(origin: &Origin, more: &str) -> String {
    let url = format!("http://{}", origin.addr);
    format!(
        "listen = \"127.0.0.1:0\"\nupstream.url = \"{url}\"\n\
         telemetry.log_format = \"json\"\n{more}\n"
    )
}
