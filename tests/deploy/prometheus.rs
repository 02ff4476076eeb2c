//! Alert rules, their tests, the runbook and the Grafana dashboard.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::tools::{Folder, documents, read, repository, run, system};

const METRICS: [&str; 40] = [
    "oncegate_requests_total",
    "oncegate_refusals_total",
    "oncegate_request_duration_seconds",
    "oncegate_upstream_duration_seconds",
    "oncegate_store_duration_seconds",
    "oncegate_in_flight",
    "oncegate_waiters",
    "oncegate_records",
    "oncegate_store_bytes",
    "oncegate_store_max_bytes",
    "oncegate_effective_window_seconds",
    "oncegate_evicted_before_expiry_total",
    "oncegate_unknown_outcomes_total",
    "oncegate_late_answers_total",
    "oncegate_unprotected_total",
    "oncegate_store_errors_total",
    "oncegate_store_up",
    "oncegate_ready",
    "oncegate_draining",
    "oncegate_store_resets_total",
    "oncegate_corrupt_records_total",
    "oncegate_clock_jumps_total",
    "oncegate_reloads_total",
    "oncegate_last_reload_success_timestamp_seconds",
    "oncegate_connections",
    "oncegate_connections_refused_total",
    "oncegate_connections_failed_total",
    "oncegate_accept_errors_total",
    "oncegate_resent_unsent_total",
    "oncegate_access_log_dropped_total",
    "oncegate_records_decided_total",
    "oncegate_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
    "process_threads",
    "up",
];

/// An alert rule.
struct Alert {
    name: String,
    expression: String,
    annotations: Value,
}

fn alerts() -> Vec<Alert> {
    let rules = documents(&read("examples/prometheus/alerts.yaml"), &[]);
    let groups = rules[0]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| Alert {
            name: rule["alert"].as_str().unwrap().to_owned(),
            expression: rule["expr"].as_str().unwrap().to_owned(),
            annotations: rule["annotations"].clone(),
        })
        .collect()
}

/// The expressions of the dashboard, with a value for each of its variables.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("examples/prometheus/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let expressions = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap());
    let filled = expressions.map(|text| {
        let text = text.replace("$__rate_interval", "5m").replace("$__range", "6h");
        text.replace("$job", ".+").replace("$instance", ".+")
    });
    filled.collect()
}

/// The metrics that an expression names, histograms by the name that they are exposed under.
fn metrics(expression: &str) -> BTreeSet<String> {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    // What stands in quotes is the value of a label, and what in braces the name of one.
    let unquoted = expression.split('"').step_by(2).collect::<Vec<_>>().join("");
    let names = unquoted.split(|character| !is_name(character));
    let named = names.filter(|name| {
        *name == "up" || name.starts_with("oncegate_") || name.starts_with("process_")
    });
    named.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let folder = repository().join("examples/prometheus");
    run(system("promtool").current_dir(&folder).args(["check", "rules", "alerts.yaml"]));
    run(system("promtool").current_dir(&folder).args(["test", "rules", "alerts_test.yaml"]));
    let tests = read("examples/prometheus/alerts_test.yaml");
    let found = alerts();
    assert!(found.len() >= 20, "{}", found.len());
    for Alert { name, .. } in found {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
    }
}

#[test]
fn each_alert_has_its_runbook() {
    let runbook = read("docs/runbook.md");
    let sections: Vec<_> = runbook.split("\n## ").skip(1).collect();
    let alerts = alerts();
    let mut names = BTreeSet::new();
    for Alert { name, annotations, .. } in &alerts {
        let url = annotations["runbook_url"].as_str().unwrap();
        assert_eq!(url, format!("docs/runbook.md#{}", name.to_lowercase()), "{name}");
        let section = sections.iter().find(|section| section.starts_with(&format!("{name}\n")));
        let section = section.unwrap_or_else(|| panic!("{name} has no section"));
        for part in ["**Means.**", "**Look at.**", "**Do.**"] {
            assert!(section.contains(part), "{name} does not say {part}");
        }
        for said in ["summary", "description"] {
            assert!(annotations[said].as_str().is_some_and(|text| text.len() > 20), "{name}");
        }
        names.insert(name);
    }
    assert_eq!(names.len(), alerts.len(), "an alert stands there twice");
    assert_eq!(sections.len(), alerts.len(), "a section is about no alert");
}

#[test]
fn the_dashboard_asks_what_prometheus_understands() {
    let folder = Folder::new("panels");
    let panels = panels();
    assert!(panels.len() > 30, "{}", panels.len());
    assert!(panels.iter().all(|expression| !expression.contains('$')), "{panels:#?}");
    let rules = panels.iter().enumerate();
    let rules: Vec<_> = rules
        .map(|(number, expr)| json!({ "record": format!("panel:{number}"), "expr": expr }))
        .collect();
    // JSON is YAML.
    let rules = json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string();
    let file = folder.write("panels.yaml", &rules);
    run(system("promtool").args(["check", "rules"]).arg(file));
}

#[test]
fn panels_do_not_overlap_and_say_what_they_show() {
    let dashboard: Value = serde_json::from_str(&read("examples/prometheus/grafana.json")).unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id stands there twice");
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 3), "{panel}");
        }
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} is over another one", panel["title"]);
            }
        }
    }
}

#[test]
fn only_metrics_that_are_exposed_are_asked_for() {
    let mut asked = BTreeSet::new();
    for expression in panels().into_iter().chain(alerts().into_iter().map(|alert| alert.expression))
    {
        asked.append(&mut metrics(&expression));
    }
    let exposed = METRICS.map(ToOwned::to_owned).into();
    let unknown: Vec<_> = asked.difference(&exposed).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() > 30, "{asked:?}");
}
