//! The document of the API, held against what is answered: every operation, by its schema.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kept::Kept;
use crate::records::{Scene, key_of, path};
use crate::support::{Gate, Reply, assert_executed};

/// What was answered, as the document knows it.
struct Checked<'a> {
    scene: &'a Scene,
    document: Value,
    /// Methods, paths and statuses that came.
    seen: BTreeSet<(String, String, String)>,
}

impl<'a> Checked<'a> {
    async fn new(scene: &'a Scene) -> Self {
        let reply = scene.ask("GET", "/api/openapi.json", None).await;
        let document = reply.json();
        assert_eq!(document["openapi"], "3.1.0");
        let mut checked = Self { scene, document, seen: BTreeSet::new() };
        checked.judge("GET", "/api/openapi.json", &reply);
        checked
    }

    /// Asks for something, and holds what comes against the document; `listed` is the path there.
    async fn ask(&mut self, method: &str, listed: &str, path: &str, body: Option<Value>) -> Reply {
        let reply = self.scene.ask(method, path, body).await;
        self.judge(method, listed, &reply);
        reply
    }

    fn judge(&mut self, method: &str, listed: &str, reply: &Reply) {
        let operation = &self.document["paths"][listed][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {listed} is documented");
        let status = reply.status.to_string();
        let response = self.resolved(&operation["responses"][&status]);
        assert!(response.is_object(), "{method} {listed} may answer {status}: {reply:?}");
        let media_type = reply.header("content-type").unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default();
        let content = &response["content"][essence];
        assert!(content.is_object(), "{method} {listed}: {essence}");
        if essence.ends_with("json") {
            self.validate(&content["schema"], &reply.json());
        }
        self.seen.insert((method.to_owned(), listed.to_owned(), status));
    }

    fn resolved(&self, value: &Value) -> Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap().clone(),
            None => value.clone(),
        }
    }

    /// Holds a value against a schema, whose references lead into the document.
    fn validate(&self, schema: &Value, value: &Value) {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.document["components"],
        });
        let validator = jsonschema::options().should_validate_formats(true).build(&whole);
        let validator = validator.expect("the document's schemas are schemas");
        let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {value:#}");
    }

    /// Every operation of the document.
    fn documented(&self) -> BTreeSet<(String, String)> {
        let mut operations = BTreeSet::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|name| *name != "parameters") {
                operations.insert((method.to_uppercase(), path.clone()));
            }
        }
        operations
    }
}

/// Where one record is.
const RECORD: &str = "/api/records/{key}";
const ACK: &str = "/api/records/{key}/ack";
const FAIL: &str = "/api/records/{key}/fail";

/// Decides about records whose outcome is unknown, and forgets one.
async fn decide(checked: &mut Checked<'_>, scene: &Scene, [lost, failed, done]: [&str; 3]) {
    let said = json!({"status": 201, "by": "ann", "note": "seen"});
    let wanted = checked.document["components"]["schemas"]["Acknowledgement"].clone();
    checked.validate(&wanted, &said);
    let large = json!({"note": "x".repeat(20_000)});
    checked.ask("POST", ACK, &format!("{lost}/ack"), Some(large)).await;
    checked.ask("POST", ACK, &format!("{lost}/ack"), Some(said)).await;
    checked.ask("POST", ACK, &format!("{lost}/ack"), None).await;
    let acknowledged = checked.document["components"]["schemas"]["Acknowledged"].clone();
    checked.validate(&acknowledged, &scene.pay("lost").send().await.json());
    let reason = json!({"by": "ann", "note": "not in the ledger"});
    let wanted = checked.document["components"]["schemas"]["Reason"].clone();
    checked.validate(&wanted, &reason);
    let large = json!({"note": "x".repeat(20_000)});
    checked.ask("POST", FAIL, &format!("{failed}/fail"), Some(large.clone())).await;
    checked.ask("POST", FAIL, &format!("{failed}/fail"), Some(reason.clone())).await;
    checked.ask("POST", FAIL, &format!("{failed}/fail"), None).await;
    checked.ask("DELETE", RECORD, done, Some(large)).await;
    checked.ask("DELETE", RECORD, done, Some(reason)).await;
    checked.ask("DELETE", RECORD, done, None).await;
}

#[tokio::test]
async fn everything_answers_as_it_is_documented() {
    for kept in [Kept::Memory, Kept::redis()] {
        let scene = Scene::new(kept).await;
        let mut checked = Checked::new(&scene).await;
        assert_executed(&scene.pay("done").send().await);
        let done = path(&key_of(&scene.pay("done").send().await));
        let lost = path(&scene.lose("lost").await);
        let failed = path(&scene.lose("failed").await);
        let gate = Gate::shut();
        let mut running = scene.hold("runs", &gate).await;
        let listed = scene.ask("GET", "/api/records?state=in-flight", None).await.json();
        let runs = path(listed["records"][0]["key"].as_str().unwrap());

        for plain in
            ["/livez", "/readyz", "/metrics", "/", "/style.css", "/script.js", "/api/status"]
        {
            checked.ask("GET", plain, plain, None).await;
        }
        checked.ask("GET", "/readyz", "/readyz?verbose", None).await;
        checked.ask("GET", "/api/records", "/api/records?limit=2", None).await;
        checked.ask("GET", "/api/records", "/api/records?limit=x", None).await;
        checked.ask("GET", RECORD, "/api/records/x", None).await;
        for record in [&done, &lost, &runs] {
            checked.ask("GET", RECORD, record, None).await;
        }
        for (method, listed, what) in
            [("DELETE", RECORD, ""), ("POST", ACK, "/ack"), ("POST", FAIL, "/fail")]
        {
            checked.ask(method, listed, &format!("{runs}{what}"), None).await;
            checked.ask(method, listed, &format!("/api/records/x{what}"), None).await;
        }
        decide(&mut checked, &scene, [&lost, &failed, &done]).await;
        checked.ask("GET", RECORD, &done, None).await;
        checked.ask("GET", "/api/drain", "/api/drain", None).await;
        let from_elsewhere = crate::operator(&scene.proxy).get("/api/status");
        let from_elsewhere = from_elsewhere.header("Sec-Fetch-Site", "cross-site").send().await;
        checked.judge("GET", "/api/status", &from_elsewhere);
        checked.ask("POST", "/api/drain", "/api/drain", None).await;
        checked.ask("GET", "/readyz", "/readyz", None).await;
        gate.open();
        assert_executed(&running.read().await);

        let asked: BTreeSet<_> =
            checked.seen.iter().map(|(method, path, _)| (method.clone(), path.clone())).collect();
        // The feed has no end; a test of its own reads it.
        let mut documented = checked.documented();
        assert!(documented.remove(&("GET".to_owned(), "/api/duplicates".to_owned())));
        assert_eq!(asked, documented);
        for status in ["200", "202", "400", "403", "404", "409", "413", "503"] {
            assert!(checked.seen.iter().any(|(_, _, seen)| seen == status), "{status} came");
        }
    }
}

#[tokio::test]
async fn what_is_not_documented_is_not_there() {
    let scene = Scene::new(Kept::Memory).await;
    let checked = Checked::new(&scene).await;
    let documented = checked.documented();
    let paths: BTreeSet<_> = documented.iter().map(|(_, path)| path).collect();
    for listed in paths {
        let path = listed.replace("{key}", "AAAA");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let is_documented = documented.contains(&(method.to_owned(), listed.clone()));
            if !is_documented {
                let reply = scene.ask(method, &path, None).await;
                assert_eq!(reply.status, 405, "{method} {path}: {reply:?}");
                let allowed = reply.header("allow").unwrap_or_default();
                assert!(!allowed.split(", ").any(|one| one == method), "{allowed}");
            }
        }
    }
    for path in ["/api", "/api/", "/api/records/", "/api/records/a/b", "/debug", "/healthz"] {
        assert_eq!(scene.ask("GET", path, None).await.status, 404, "{path}");
    }
}
