//! Metrics, as scrapers read them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{Origin, client, eventually};
use crate::{looked_after, metric, operator};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.5";

#[tokio::test]
async fn both_formats_tell_the_same_and_promtool_finds_nothing_wrong() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).start().await;
    for key in ["a", "a", "b"] {
        client(&proxy).post("/pay").key(key).send().await;
    }
    // The cache counts once a second.
    eventually("two records", async || metric(&proxy, "oncegate_records").await == 2.0).await;
    let classic = operator(&proxy).get("/metrics").send().await;
    assert_eq!(classic.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut check = check.stderr(Stdio::piped()).spawn().expect("promtool runs");
    check.stdin.take().unwrap().write_all(classic.text().as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{}", classic.text());
    let open = operator(&proxy).get("/metrics").header("Accept", OPEN_METRICS).send().await;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("# EOF\n"));
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        // What the process takes changes from one look to the next.
        let lines = lines.filter(|line| !line.starts_with("process_"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&classic.text()), samples(&open.text()));
    assert!(samples(&open.text()).len() > 100);
}

#[tokio::test]
async fn what_happens_is_counted_where_it_should_be() {
    let origin = Origin::start().await;
    let told = "[[route]]\nname = \"pay\"\npath = \"/pay\"\n";
    let proxy = looked_after(&origin).toml(told).start().await;
    let count = async |route: &str, outcome: &str| {
        let series = format!("oncegate_requests_total{{route=\"{route}\",outcome=\"{outcome}\"}}");
        metric(&proxy, &series).await
    };
    for key in ["a", "a", "a", "b"] {
        client(&proxy).post("/pay").key(key).send().await;
    }
    client(&proxy).get("/other").send().await;
    client(&proxy).post("/pay").key("a").body("another").send().await;
    client(&proxy).get("/").without_host().send().await;
    assert_eq!(count("pay", "executed").await, 2.0);
    assert_eq!(count("pay", "replayed").await, 2.0);
    assert_eq!(count("pay", "refused").await, 1.0);
    assert_eq!(count("default", "passed").await, 1.0);
    assert_eq!(count("none", "refused").await, 1.0);
    for (series, expected) in [
        ("oncegate_refusals_total{reason=\"key-reused\"}", 1.0),
        ("oncegate_refusals_total{reason=\"bad-request\"}", 1.0),
        ("oncegate_request_duration_seconds_count{outcome=\"replayed\"}", 2.0),
        ("oncegate_upstream_duration_seconds_count", 3.0),
        ("oncegate_in_flight", 0.0),
        ("oncegate_ready", 1.0),
        ("oncegate_draining", 0.0),
        ("oncegate_effective_window_seconds", 86_400.0),
    ] {
        assert_eq!(metric(&proxy, series).await, expected, "{series}");
    }
    // The cache counts once a second.
    eventually("two records", async || metric(&proxy, "oncegate_records").await == 2.0).await;
    assert!(
        metric(&proxy, "oncegate_store_duration_seconds_count{operation=\"swap\"}").await >= 4.0
    );
    assert!(metric(&proxy, "oncegate_store_bytes").await > 0.0);
    assert!(metric(&proxy, "process_resident_memory_bytes").await > 1e6);
    assert!(metric(&proxy, "process_cpu_seconds_total").await > 0.0);
    let started = metric(&proxy, "process_start_time_seconds").await;
    assert!(metric(&proxy, "oncegate_last_reload_success_timestamp_seconds").await >= started);
}

/// A store that is too small keeps records for a shorter time than was promised, and says so.
#[tokio::test]
async fn the_effective_window_shrinks_when_records_have_to_go() {
    let origin = Origin::start().await;
    let proxy = looked_after(&origin)
        .arg("--store-max-bytes", "1100KiB")
        .arg("--max-response", "1MiB")
        .start()
        .await;
    origin.respond(|_| crate::support::Answer::new(200).body(vec![b'a'; 300_000]).into());
    for key in 0..12 {
        client(&proxy).post("/pay").key(key.to_string()).send().await;
    }
    eventually("an eviction", async || {
        metric(&proxy, "oncegate_evicted_before_expiry_total").await > 0.0
    })
    .await;
    assert!(metric(&proxy, "oncegate_effective_window_seconds").await < 3600.0);
}
