//! Chromium without a window, told what to do by `ChromeDriver` in W3C `WebDriver`.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::program::{Program, Running};
use crate::support::{Client, Folder, eventually};

/// One browser at a time: each is many processes.
static TURN: Mutex<()> = Mutex::const_new(());

/// The name under which `WebDriver` speaks of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys, as `WebDriver` names them.
pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";
pub const ESCAPE: &str = "\u{E00C}";
pub const LEFT: &str = "\u{E012}";

/// A browser with one page, which ends with this value.
pub struct Browser {
    driver: SocketAddr,
    session: String,
    /// Dropped before the folder that they write to.
    _programs: [Running; 2],
    _profile: Folder,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    pub async fn start() -> Self {
        let turn = TURN.lock().await;
        let profile = Folder::new();
        let folder = profile.path("profile");
        let chromium = Program::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-port=0", "--window-size=1280,900", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", folder.to_str().unwrap()))
            .arg("about:blank")
            .start();
        let listens = |line: &str| {
            let address = line.strip_prefix("DevTools listening on ws://")?;
            address.split('/').next().map(str::to_owned)
        };
        let debugger = chromium.says("the address of its debugger", listens).await;
        let (chromedriver, driver) = driver().await;
        let programs = [chromedriver, chromium];
        let mut browser = Self {
            driver,
            session: String::new(),
            _programs: programs,
            _profile: profile,
            _turn: turn,
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"debuggerAddress": debugger},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.ask("POST", "/session", &wanted).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    /// Sends a command, which must succeed.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    async fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = Client::of(self.driver).method(method, path);
        request = request.host(&self.driver.to_string());
        if method == "POST" {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let reply = request.send().await;
        let value = reply.json()["value"].take();
        if reply.status == 200 { Ok(value) } else { Err(value["message"].to_string()) }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), &body).await
    }

    pub async fn go(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    pub async fn reload(&self) {
        self.post("/refresh", json!({})).await;
    }

    /// The result of the body of a function that is run in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// A command of the developer tools.
    pub async fn tell(&self, command: &str, params: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params})).await;
    }

    /// Shows the page on a screen of this size.
    pub async fn resize(&self, width: u32, height: u32) {
        let screen =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// Has the system prefer these colours, `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.tell("Emulation.setEmulatedMedia", json!({"features": feature})).await;
    }

    async fn element(&self, css: &str) -> Result<String, String> {
        let path = format!("{}/element", self.session);
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.try_ask("POST", &path, &wanted).await?;
        Ok(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Clicks with the pointer, as soon as the element is there and nothing covers it.
    pub async fn click(&self, css: &str) {
        let mut last = String::new();
        let clicking = eventually(css, async || {
            let clicked = match self.element(css).await {
                Ok(element) => {
                    let path = format!("{}/element/{element}/click", self.session);
                    self.try_ask("POST", &path, &json!({})).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            last = clicked.err().unwrap_or_default();
            last.is_empty()
        });
        clicking.await;
    }

    /// Types into an element, in place of what it holds.
    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.element(css).await.unwrap_or_else(|error| panic!("{css}: {error}"));
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text})).await;
    }

    /// Chooses an option by its value.
    pub async fn choose(&self, css: &str, option: &str) {
        self.click(&format!("{css} option[value='{option}']")).await;
    }

    /// Presses and releases keys, one after the other, wherever the focus is.
    pub async fn press(&self, keys: &[&str]) {
        let strokes = keys.iter().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let strokes = strokes.collect::<Vec<_>>();
        let keyboard = json!([{"type": "key", "id": "keyboard", "actions": strokes}]);
        self.post("/actions", json!({"actions": keyboard})).await;
    }

    /// The text that an element shows; nothing where there is none.
    pub async fn text(&self, css: &str) -> String {
        let script =
            format!("return document.querySelector({})?.innerText ?? ''", Value::from(css));
        self.run(&script).await.as_str().unwrap().trim().to_owned()
    }

    /// How many elements there are of a kind.
    pub async fn count(&self, css: &str) -> u64 {
        let script = format!("return document.querySelectorAll({}).length", Value::from(css));
        self.run(&script).await.as_u64().unwrap()
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        eventually(what, async || self.run(&script).await == true).await;
    }

    /// Waits until an element shows this text, among others.
    pub async fn shows(&self, css: &str, text: &str) {
        let mut shown = String::new();
        let looking = async {
            loop {
                shown = self.text(css).await;
                if shown.contains(text) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let patience = std::time::Duration::from_secs(30);
        let in_time = tokio::time::timeout(patience, looking).await.is_ok();
        assert!(in_time, "{css} shows {shown:?}, not {text:?}");
    }

    /// Entries of a log of the browser since it was last asked for.
    pub async fn log(&self, name: &str) -> Vec<Value> {
        let entries = self.post("/se/log", json!({"type": name})).await;
        entries.as_array().unwrap().clone()
    }

    /// What the element is called for who hears the page.
    pub async fn label(&self, element: &Value) -> String {
        let element = element[ELEMENT].as_str().unwrap();
        let path = format!("{}/element/{element}/computedlabel", self.session);
        self.ask("GET", &path, &Value::Null).await.as_str().unwrap().to_owned()
    }
}

/// Starts `ChromeDriver`. It takes a port that is free for one version of IP, and may find it taken
/// for the other one, so that another attempt may be needed.
async fn driver() -> (Running, SocketAddr) {
    for _ in 0..10 {
        let chromedriver = Program::new("chromedriver").arg("--port=0").start();
        let listens = |line: &str| {
            let port = line.split("started successfully on port ").nth(1);
            let address = port.map(|port| format!("127.0.0.1:{}", port.trim_end_matches('.')));
            address.map(Some).or_else(|| line.contains("Exiting").then_some(None))
        };
        if let Some(address) = chromedriver.says("its port", listens).await {
            return (chromedriver, address.parse().expect("an address"));
        }
    }
    panic!("ChromeDriver finds no port");
}
