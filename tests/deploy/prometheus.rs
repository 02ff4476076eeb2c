//! Alert rules, their tests, the runbook and the Grafana dashboard.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::instance::Instance;
use crate::tools::{Folder, documents, read, repository, run, system};

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
    let words = unquoted.split(|character| !is_name(character));
    let named = words.filter(|name| {
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
    let rules = alerts().into_iter().map(|alert| alert.expression);
    let expressions: Vec<_> = panels().into_iter().chain(rules).collect();
    let asked: BTreeSet<_> = expressions.iter().flat_map(|text| metrics(text)).collect();
    let instance = Instance::start();
    let text = instance.get("/metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut exposed: BTreeSet<_> =
        types.filter_map(|line| line.split_once(' ')).map(|(name, _)| name.to_owned()).collect();
    // What Prometheus says of a target itself.
    exposed.insert("up".to_owned());
    let unknown: Vec<_> = asked.difference(&exposed).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() > 30, "{asked:?}");
    for expression in &expressions {
        for (label, value) in labels(expression) {
            let is_there = text.contains(&format!("{label}=\"{value}\""));
            assert!(is_there, "{label}={value} is never exposed: {expression}");
        }
    }
}

/// The values that an expression asks for, by their labels.
fn labels(expression: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = expression.split('"').collect();
    let asked = parts.chunks_exact(2).filter(|pair| !pair[1].contains(['*', '+']));
    let asked = asked.map(|pair| {
        let name = pair[0].trim_end_matches(['=', '~', '!']);
        (name.rsplit([',', '{', ' ']).next().unwrap(), pair[1])
    });
    let own = |name: &str| !["alertname", "alertstate"].contains(&name);
    asked
        .filter(|(name, _)| own(name))
        .flat_map(|(name, values)| values.split('|').map(move |value| (name, value)))
        .collect()
}
