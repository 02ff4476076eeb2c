//! A service in gRPC, a client of it, and what a call came to.

use serde_json::{Value, json};

use crate::authority::{Authority, Files};
use crate::front::{Front, Setup};
use crate::program::{Program, Running};
use crate::support::{Folder, MARKS, assert_standard_base64};

/// A service that does as it is told.
pub struct Service {
    pub running: Running,
    folder: Folder,
    port: String,
}

/// How a service is reached through the proxy.
#[derive(Clone, Debug)]
pub struct Way {
    target: String,
    authority: Option<String>,
}

impl Service {
    /// A service without TLS.
    pub async fn start() -> Self {
        Self::with(None, false, json!({})).await
    }

    /// A service that speaks TLS if it has a certificate, that may compress its answers, and that
    /// has more options.
    pub async fn with(tls: Option<&Files>, gzip: bool, more: Value) -> Self {
        let folder = Folder::new();
        let tls = tls.map(|files| [&files.certificate, &files.key]);
        let options = json!({"folder": folder.path(""), "tls": tls, "gzip": gzip, "more": more});
        let running = Program::driver("grpc_server.py").arg(options.to_string()).start();
        let port = running.says("port", |line| line.strip_prefix("listening ").map(str::to_owned));
        let port = port.await;
        Self { running, folder, port }
    }

    /// A proxy before it, yet to start.
    pub fn setup(&self, scheme: &str) -> Setup {
        let url = format!("{scheme}://localhost:{}", self.port);
        Setup::before_url(&url).upstream("http2 = true")
    }

    /// How often it has executed what is called so.
    pub fn executed(&self, name: &str) -> usize {
        self.running.count(&format!("executed {name}"))
    }

    /// What came of these calls, one after the other.
    pub async fn call(&self, way: &Way, calls: Value) -> Vec<Called> {
        called(&self.told(way, json!({"do": "in turn", "calls": calls})).await)
    }

    /// What came of so many calls at once.
    pub async fn call_at_once(&self, way: &Way, count: usize, call: Value) -> Vec<Called> {
        let options = json!({"do": "at once", "count": count, "calls": [call]});
        called(&self.told(way, options).await)
    }

    /// Makes a client do something, and says what it said of it.
    pub async fn told(&self, way: &Way, mut options: Value) -> Value {
        options["folder"] = json!(self.folder.path(""));
        options["target"] = json!(way.target);
        options["ca"] = json!(way.authority);
        if options["config"].is_null() {
            options["config"] = json!({});
        }
        let client = Program::driver("grpc_client.py").arg(options.to_string());
        client.run().await.well().json()
    }
}

impl Way {
    /// Over TCP without TLS.
    pub fn plain(front: &Front) -> Self {
        Self { target: front.addr().to_string(), authority: None }
    }

    /// Over TCP by TLS.
    pub fn secure(front: &Front, authority: &Authority) -> Self {
        let target = format!("localhost:{}", front.addr().port());
        Self { target, authority: Some(authority.certificate()) }
    }

    /// Over a Unix socket.
    pub fn unix(front: &Front) -> Self {
        Self { target: format!("unix:{}", front.socket()), authority: None }
    }
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    pub code: String,
    pub details: String,
    pub message: Option<String>,
    /// The metadata before the message.
    pub first: Vec<(String, String)>,
    /// The metadata behind it.
    pub last: Vec<(String, String)>,
}

pub fn called(told: &Value) -> Vec<Called> {
    let pairs = |value: &Value| {
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let calls = told.as_array().unwrap_or_else(|| panic!("{told}"));
    let each = calls.iter().map(|call| Called {
        code: text(&call["code"]).expect("a code"),
        details: text(&call["details"]).unwrap_or_default(),
        message: text(&call["message"]),
        first: pairs(&call["first"]),
        last: pairs(&call["last"]),
    });
    each.collect()
}

impl Called {
    /// What its metadata say by this name, wherever.
    pub fn says(&self, name: &str) -> Option<&str> {
        let mut all = self.first.iter().chain(&self.last);
        all.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn is_repeat(&self) -> bool {
        self.says("duplicate-request") == Some("true")
    }

    /// The same without the marks of a repeat.
    fn unmarked(&self) -> Self {
        let mut unmarked = self.clone();
        for metadata in [&mut unmarked.first, &mut unmarked.last] {
            metadata.retain(|(name, _)| !MARKS.contains(&name.as_str()));
        }
        unmarked
    }
}

/// Fails unless the second is the first one, and marked as a repeat.
#[track_caller]
pub fn assert_replayed(first: &Called, repeat: &Called) {
    assert_eq!(first, &first.unmarked(), "an executed call has no marks");
    assert_eq!(first, &repeat.unmarked());
    assert!(repeat.is_repeat(), "{repeat:?}");
    assert_eq!(repeat.says("idempotent-replayed"), Some("true"), "{repeat:?}");
    assert_standard_base64(repeat.says("duplicate-key").unwrap_or_default());
    assert!(repeat.says("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{repeat:?}");
}

/// Fails unless this is what the proxy says by itself.
#[track_caller]
pub fn assert_refused(call: &Called, code: &str, name: &str) {
    assert_eq!(call.code, code, "{call:?}");
    assert!(call.details.starts_with(&format!("{name}: ")), "{call:?}");
    assert!(!call.is_repeat(), "{call:?}");
}
