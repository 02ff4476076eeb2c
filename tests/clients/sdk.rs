//! The SDKs: how each is driven, what it changes between attempts, and what it says of failures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

/// How many events or payments one driver makes.
pub const COUNT: usize = 3;

/// How long a driver may take before its test fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the install script notes last: the lock files that it has installed.
const LOCKS: &str = concat!(
    include_str!("requirements.txt"),
    include_str!("package.json"),
    include_str!("package-lock.json"),
);

/// One SDK, or one way to use it.
#[derive(Clone, Debug)]
pub struct Sdk {
    driver: &'static str,
    options: Value,
    compresses: bool,
    /// What differs between two attempts of the same.
    pub changes: &'static [&'static str],
    /// What it says of an answer that says that the outcome is unknown.
    pub unknown: &'static str,
}

impl Sdk {
    /// The SDK behind this driver, which changes nothing unless told otherwise.
    pub fn new(driver: &'static str, unknown: &'static str) -> Self {
        let options = json!({"count": COUNT, "gzip": false, "group": 2});
        Self { driver, options, compresses: false, changes: &[], unknown }
    }

    /// The same, which changes this between attempts.
    pub fn changing(self, changes: &'static [&'static str]) -> Self {
        Self { changes, ..self }
    }

    /// The same with another option.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options[name] = value.into();
        self
    }

    /// The same, which can compress its bodies.
    pub fn compressing(self) -> Self {
        Self { compresses: true, ..self }
    }

    /// The ways in which it sends its bodies.
    pub fn ways(&self) -> Vec<Self> {
        let compressed = self.compresses.then(|| self.clone().with("gzip", true));
        std::iter::once(self.clone()).chain(compressed).collect()
    }

    /// Runs the driver against this address: what the SDK said of each event or payment.
    pub async fn run(&self, addr: SocketAddr) -> BTreeMap<String, String> {
        let installed = installed();
        let mut options = self.options.clone();
        options["url"] = format!("http://{addr}").into();
        let mut command = if Path::new(self.driver).extension().is_some_and(|kind| kind == "py") {
            let mut python = Command::new(installed.join("venv/bin/python"));
            python.arg("-I");
            python
        } else {
            Command::new("node")
        };
        let drivers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/drivers");
        command.arg(Path::new(drivers).join(self.driver)).arg(options.to_string());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(installed).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} takes too long", self.driver));
        let output = output.expect("starting a driver");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{} said {error}: {output:?}", self.driver))
    }
}

/// The folder of the installed SDKs, which must be those that the lock files name.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    let stamp = std::fs::read_to_string(folder.join("stamp")).unwrap_or_default();
    assert!(
        stamp.ends_with(LOCKS),
        "The client SDKs are not installed in {}: run tests/clients/install, which tests/run does.",
        folder.display(),
    );
    folder
}
