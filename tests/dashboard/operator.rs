//! The whole path of an operator: an instance that only observes shows what it would prevent, is
//! told to prevent it, loses sight of an outcome, has an alert fire, and gets a decision.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::scene::{Scene, key_of};
use crate::support::{Act, Client, Folder, How, assert_problem, eventually};

/// What the instance is told at first; then `observe` becomes `enforce`.
const TOLD: &str = "[[route]]\nname = \"charges\"\npath = \"/v1/charges\"\nmode = \"observe\"\n";

/// A Prometheus that scrapes an instance each second, and knows the alert rules of the examples.
struct Prometheus {
    address: SocketAddr,
    _child: Child,
    _folder: Folder,
}

impl Prometheus {
    async fn start(scraped: SocketAddr) -> Self {
        let folder = Folder::new();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus/alerts.yaml");
        let config = folder.write(
            "prometheus.yaml",
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
                 rule_files: [{}]\n\
                 scrape_configs:\n\
                 - job_name: oncegate\n\
                 \u{20} static_configs: [{{targets: [\"{scraped}\"]}}]\n",
                rules.display()
            ),
        );
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}", folder.path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().expect("prometheus runs");
        let started = Self { address, _child: child, _folder: folder };
        eventually("prometheus", async || {
            let ready = Client::of(address).get("/-/ready").try_send().await;
            ready.is_ok_and(|reply| reply.status == 200)
        })
        .await;
        started
    }

    /// The alerts that fire.
    async fn firing(&self) -> Vec<Value> {
        let reply = Client::of(self.address).get("/api/v1/alerts").send().await.json();
        let alerts = reply["data"]["alerts"].as_array().expect("alerts");
        alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect()
    }

    /// Whether it has scraped the instance.
    async fn has_scraped(&self) -> bool {
        let path = "/api/v1/query?query=oncegate_ready";
        let reply = Client::of(self.address).get(path).send().await.json();
        reply["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
    }
}

async fn metric(scene: &Scene, series: &str) -> u64 {
    let text = scene.ask("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_observes_enforces_is_alerted_and_decides() {
    let folder = Folder::new();
    let config = folder.write("oncegate.toml", TOLD);
    let scene = Scene::told(|proxy| proxy.config(&config)).await;
    let browser = &scene.browser;
    scene.ready().await;
    let prometheus = Prometheus::start(scene.admin).await;

    // It only observes: everything is executed, and what would be prevented is shown.
    for _ in 0..2 {
        let reply = scene.charge("observed").send().await;
        assert!(reply.status == 201 && !reply.is_repeat(), "{reply:?}");
    }
    assert_eq!(scene.origin.executions("observed"), 2);
    let series = "oncegate_requests_total{route=\"charges\",outcome=\"observed\"}";
    assert_eq!(metric(&scene, series).await, 1);
    browser.shows("#feed", "/v1/charges").await;

    // It is told to enforce.
    folder.replace("oncegate.toml", TOLD.replace("observe", "enforce"));
    scene.proxy.signal("HUP");
    let is_applied = |line: &str| line.contains("settings were read again");
    scene.proxy.wait_for_log("the reload", is_applied).await;
    let first = scene.charge("enforced").send().await;
    let repeat = scene.charge("enforced").send().await;
    assert!(!first.is_repeat() && repeat.is_repeat(), "{repeat:?}");
    assert_eq!(scene.origin.executions("enforced"), 1);

    // The API hangs up: nobody knows whether it has charged. An alert says so.
    eventually("a scrape", async || prometheus.has_scraped().await).await;
    scene.origin.next(Act::DropAfterExecuting(How::Close));
    let lost = scene.charge("lost").send().await;
    assert_problem(&lost, 502, "upstream-broken");
    assert_problem(&scene.charge("lost").send().await, 409, "outcome-unknown");
    eventually("the alert", async || {
        let mut firing = prometheus.firing().await.into_iter();
        firing.any(|alert| {
            let labels = &alert["labels"];
            labels["alertname"] == "OncegateUnknownOutcome" && labels["cause"] == "incomplete"
        })
    })
    .await;

    // It is found, and decided about.
    browser.reload().await;
    browser.shows("#unknown-count", "1").await;
    browser.click("#unknown-show").await;
    let row = format!("#records-rows tr[data-key='{}']", key_of(&lost));
    browser.shows(&row, "Outcome unknown").await;
    browser.click(&format!("{row} [data-decision=ack]")).await;
    browser.fill("#decide-note", "the ledger has it").await;
    browser.click("#decide-yes").await;
    browser.shows("#said", "Acknowledged").await;
    let acked = scene.charge("lost").send().await;
    assert!(acked.status == 200 && acked.is_repeat(), "{acked:?}");
    assert_eq!(acked.json()["note"], "the ledger has it");
    assert_eq!(scene.origin.executions("lost"), 1);
    assert_eq!(metric(&scene, "oncegate_records_decided_total{decision=\"ack\"}").await, 1);
    scene.end().await;
}
