//! Records, as operators see them and decide about them, over every store.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::kept::Kept;
use crate::support::{
    Act, Answer, Connection, Folder, Gate, How, Origin, Proxy, Reply, Request, assert_executed,
    assert_problem, assert_replay, client, eventually, run,
};
use crate::{looked_after, metric, operator};

/// An instance before an API, and its records.
pub(crate) struct Scene {
    kept: Kept,
    pub(crate) origin: Origin,
    pub(crate) proxy: Proxy,
}

const CONFIG: &str = "
[defaults]
max_response = \"1KiB\"

[[route]]
name = \"payments\"
path = \"/pay/{*rest}\"
";

impl Scene {
    pub(crate) async fn new(kept: Kept) -> Self {
        let origin = Origin::start().await;
        let proxy = start(&kept, &origin).await;
        Self { kept, origin, proxy }
    }

    async fn every() -> [Self; 3] {
        [
            Self::new(Kept::Memory).await,
            Self::new(Kept::disk()).await,
            Self::new(Kept::redis()).await,
        ]
    }

    pub(crate) fn pay(&self, key: &str) -> Request {
        pay(&self.proxy, key)
    }

    /// Makes an operation whose outcome nobody knows, and returns its key.
    pub(crate) async fn lose(&self, key: &str) -> String {
        self.origin.next(Act::DropAfterExecuting(How::Close));
        let lost = self.pay(key).send().await;
        assert_problem(&lost, 502, "upstream-broken");
        key_of(&lost)
    }

    /// Makes an operation that runs until the gate is opened.
    pub(crate) async fn hold(&self, key: &str, gate: &Gate) -> Connection {
        let hits = self.origin.hits();
        self.origin.next(Act::Ledger.after(gate));
        let caller = self.pay(key).open().await;
        self.origin.wait_for_hits(hits + 1).await;
        caller
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = operator(&self.proxy).method(method, path);
        match body {
            Some(body) => request.body(body.to_string()).send().await,
            None => request.send().await,
        }
    }

    /// What the API answers to a request that it does.
    async fn good(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let reply = self.ask(method, path, body).await;
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        reply.json()
    }

    async fn refused(&self, method: &str, path: &str, status: u16, name: &str) {
        refused(&self.ask(method, path, None).await, status, name);
    }

    /// All records, by their keys, each of which comes once.
    async fn list(&self, query: &str) -> BTreeMap<String, Value> {
        let mut listed = BTreeMap::new();
        let mut next = String::new();
        loop {
            let page = self.good("GET", &format!("/api/records?{query}&cursor={next}"), None).await;
            assert_eq!(page["unreadable"], 0);
            for record in page["records"].as_array().unwrap() {
                let key = record["key"].as_str().unwrap().to_owned();
                assert!(listed.insert(key, record.clone()).is_none(), "listed twice: {record}");
            }
            match page["next"].as_str() {
                Some(cursor) => cursor.clone_into(&mut next),
                None => return listed,
            }
        }
    }

    /// Waits until nothing runs any more, listening for late answers included.
    async fn rests(&self) {
        eventually("nothing in flight", async || {
            self.good("GET", "/api/drain", None).await["in_flight"] == 0
        })
        .await;
    }
}

async fn start(kept: &Kept, origin: &Origin) -> Proxy {
    kept.told(looked_after(origin)).toml(CONFIG).start().await
}

fn pay(proxy: &Proxy, key: &str) -> Request {
    let body = format!("{{\"op\":\"{key}\"}}");
    client(proxy).post("/pay/now?card=secret").host("api.example").key(key).body(body)
}

pub(crate) fn key_of(reply: &Reply) -> String {
    reply.header("duplicate-key").unwrap_or_else(|| panic!("no key: {reply:?}")).to_owned()
}

/// The path of a record, as its key stands in an answer.
pub(crate) fn path(key: &str) -> String {
    let key = key.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("/api/records/{key}")
}

#[track_caller]
pub(crate) fn refused(reply: &Reply, status: u16, name: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:oncegate:{name}"), "{reply:?}");
    assert_eq!(problem["status"], status, "{reply:?}");
}

/// A record without the times that are translated from a server's clock whenever it is read.
fn but_for_times(mut record: Value) -> Value {
    for name in ["kept_at", "expires_at", "lease_until"] {
        record[name].take();
    }
    record
}

#[tokio::test]
async fn records_are_listed_and_shown_in_every_state() {
    for scene in Scene::every().await {
        assert_eq!(scene.list("").await.len(), 0);
        let first = scene.pay("done").send().await;
        let repeats = [scene.pay("done").send().await, scene.pay("done").send().await];
        let done = key_of(&repeats[0]);
        let unknown = scene.lose("lost").await;
        scene.origin.next(Answer::new(200).body("x".repeat(4000)));
        assert_eq!(scene.pay("large").send().await.status, 200);
        let large = key_of(&scene.pay("large").send().await);
        let gate = Gate::shut();
        let mut running = scene.hold("runs", &gate).await;

        let listed = scene.list("").await;
        assert_eq!(listed.len(), 4, "{listed:?}");
        for (key, state) in
            [(&done, "completed"), (&unknown, "outcome-unknown"), (&large, "answer-not-kept")]
        {
            let record = &listed[key];
            assert_eq!(record["state"], state);
            let shown = scene.good("GET", &path(key), None).await;
            assert_eq!(but_for_times(shown), but_for_times(record.clone()));
            assert_eq!(
                [&record["route"], &record["method"], &record["path"]],
                ["payments", "POST", "/pay/now"]
            );
            assert!(!record.to_string().contains("secret"), "{record}");
        }
        assert_eq!([&listed[&done]["status"], &listed[&done]["replays"]], [first.status, 2]);
        assert_eq!(
            [&listed[&unknown]["status"], &listed[&unknown]["replays"]],
            [&json!(null), &json!(0)]
        );

        let runs = scene.list("state=in-flight").await;
        assert_eq!(runs.len(), 1);
        let (key, record) = runs.first_key_value().unwrap();
        let status = scene.good("GET", "/api/status", None).await;
        let oldest = &status["in_flight"]["oldest"];
        assert_eq!(oldest.as_array().unwrap().len(), 1, "{status}");
        for name in ["key", "route", "method", "path", "begun_at"] {
            assert_eq!(oldest[0][name], record[name]);
        }
        for (method, what) in [("DELETE", ""), ("POST", "/ack"), ("POST", "/fail")] {
            let path = format!("{}{what}", path(key));
            scene.refused(method, &path, 409, "record-in-flight").await;
        }
        gate.open();
        assert_executed(&running.read().await);
        assert_eq!(scene.list("state=in-flight").await.len(), 0);
    }
}

#[tokio::test]
async fn a_list_is_paged_and_filtered() {
    for scene in Scene::every().await {
        let mut keys = Vec::new();
        for number in 0..12 {
            let key = format!("k{number}");
            assert_executed(&scene.pay(&key).send().await);
            keys.push(key_of(&scene.pay(&key).send().await));
        }
        let lost = scene.lose("lost").await;
        let other = client(&scene.proxy).post("/other").key("other").body("x");
        assert_executed(&other.clone().send().await);
        keys.sort();
        for limit in [1, 5, 500] {
            let query = format!("limit={limit}&route=payments&state=completed");
            assert_eq!(scene.list(&query).await.into_keys().collect::<Vec<_>>(), keys);
            assert_eq!(scene.list(&format!("limit={limit}")).await.len(), 14);
            let unknown = scene.list(&format!("limit={limit}&state=outcome-unknown")).await;
            assert_eq!(unknown.keys().collect::<Vec<_>>(), [&lost]);
        }
        assert_eq!(scene.list("route=default").await.len(), 1);
        assert_eq!(scene.list("older_than=1h").await.len(), 0);
        assert_eq!(scene.list("newer_than=1h").await.len(), 14);
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_acknowledged_once() {
    for scene in Scene::every().await {
        let key = scene.lose("lost").await;
        assert_problem(&scene.pay("lost").send().await, 409, "outcome-unknown");
        let ack = format!("{}/ack", path(&key));
        let said = json!({"status": 202, "by": "ann", "note": "in the ledger"});
        let record = scene.good("POST", &ack, Some(said.clone())).await;
        assert_eq!([&record["state"], &record["status"]], [&json!("completed"), &json!(202)]);
        assert_eq!(record["route"], "payments");
        let first = scene.pay("lost").send().await;
        assert_eq!((first.status, first.is_repeat()), (202, true), "{first:?}");
        assert_eq!(first.header("content-type"), Some("application/json"));
        let body = first.json();
        assert_eq!(
            [&body["acknowledged"], &body["by"], &body["note"]],
            [&json!(true), &said["by"], &said["note"]]
        );
        assert_eq!(scene.pay("lost").send().await.body, first.body);
        assert_eq!(scene.origin.executions("lost"), 1);
        scene.refused("POST", &ack, 409, "record-not-unknown").await;
        scene.refused("POST", &format!("{}/fail", path(&key)), 409, "record-not-unknown").await;
        assert_eq!(scene.good("GET", &path(&key), None).await["replays"], 2);
        let decided = "oncegate_records_decided_total{decision=\"ack\"}";
        assert!((metric(&scene.proxy, decided).await - 1.0).abs() < f64::EPSILON);
        // Without a body to say.
        let key = scene.lose("empty").await;
        scene.good("POST", &format!("{}/ack", path(&key)), Some(json!({"status": 204}))).await;
        let repeat = scene.pay("empty").send().await;
        assert_eq!((repeat.status, repeat.body.len(), repeat.is_repeat()), (204, 0, true));
        let key = scene.lose("plain").await;
        scene.good("POST", &format!("{}/ack", path(&key)), None).await;
        assert_eq!(scene.pay("plain").send().await.status, 200);
    }
}

#[tokio::test]
async fn what_failed_or_was_forgotten_runs_once_more() {
    for scene in Scene::every().await {
        let key = scene.lose("lost").await;
        let gone = scene.good("POST", &format!("{}/fail", path(&key)), None).await;
        assert_eq!(gone, json!({"key": key, "was": "outcome-unknown"}));
        scene.refused("GET", &path(&key), 404, "record-not-found").await;
        let again = scene.pay("lost").send().await;
        assert_replay(&again, &scene.pay("lost").send().await);
        assert_eq!(scene.origin.executions("lost"), 2);
        let gone = scene.good("DELETE", &path(&key), None).await;
        assert_eq!(gone, json!({"key": key, "was": "completed"}));
        let third = scene.pay("lost").send().await;
        assert_replay(&third, &scene.pay("lost").send().await);
        assert_eq!(scene.origin.executions("lost"), 3);
        let key = scene.lose("other").await;
        let gone = scene.good("DELETE", &path(&key), None).await;
        assert_eq!(gone["was"], "outcome-unknown");
        scene.refused("DELETE", &path(&key), 404, "record-not-found").await;
    }
}

#[tokio::test]
async fn a_late_answer_does_not_undo_a_decision() {
    for kept in [Kept::Memory, Kept::disk(), Kept::redis()] {
        let origin = Origin::start().await;
        let told = kept.told(looked_after(&origin)).arg("--upstream-timeout", "300ms");
        let proxy = told.toml(CONFIG).start().await;
        let scene = Scene { kept, origin, proxy };
        let gate = Gate::shut();
        for key in ["acked", "failed", "forgotten"] {
            scene.origin.next(Act::Ledger.after(&gate));
            assert_problem(&scene.pay(key).send().await, 504, "upstream-timeout");
        }
        let unknown = scene.list("state=outcome-unknown").await;
        assert_eq!(unknown.len(), 3);
        let key = |name| {
            let scene = &scene;
            async move { key_of(&scene.pay(name).send().await) }
        };
        let acked = path(&key("acked").await);
        scene.good("POST", &format!("{acked}/ack"), Some(json!({"by": "ann"}))).await;
        let failed = path(&key("failed").await);
        scene.good("POST", &format!("{failed}/fail"), None).await;
        let forgotten = path(&key("forgotten").await);
        scene.good("DELETE", &forgotten, None).await;
        gate.open();
        scene.rests().await;
        assert_eq!(scene.pay("acked").send().await.json()["by"], "ann");
        assert_eq!(scene.origin.executions("acked"), 1);
        for (name, path) in [("failed", failed), ("forgotten", forgotten)] {
            scene.refused("GET", &path, 404, "record-not-found").await;
            let again = scene.pay(name).send().await;
            assert_replay(&again, &scene.pay(name).send().await);
            assert_eq!(scene.origin.executions(name), 2);
        }
    }
}

#[tokio::test]
async fn a_decision_reaches_other_replicas() {
    let scene = Scene::new(Kept::redis()).await;
    let second = start(&scene.kept, &scene.origin).await;
    let first = scene.pay("done").send().await;
    let repeat = pay(&second, "done").send().await;
    assert_replay(&first, &repeat);
    scene.good("DELETE", &path(&key_of(&repeat)), None).await;
    eventually("the other one has forgotten it, too", async || {
        !pay(&second, "done").send().await.is_repeat()
    })
    .await;
    assert_eq!(scene.origin.executions("done"), 2);
    // Whose outcome was lost by one is decided at another.
    let key = scene.lose("lost").await;
    let ack = operator(&second).post(&format!("{}/ack", path(&key))).send().await;
    assert_eq!(ack.status, 200, "{ack:?}");
    for proxy in [&scene.proxy, &second] {
        assert_eq!(pay(proxy, "lost").send().await.json()["acknowledged"], true);
    }
    assert_eq!(scene.origin.executions("lost"), 1);
}

#[tokio::test]
async fn what_a_process_that_is_gone_has_left_is_decided() {
    for kept in [Kept::disk(), Kept::redis()] {
        let mut scene = Scene::new(kept).await;
        let gate = Gate::shut();
        let caller = scene.hold("orphan", &gate).await;
        let key = scene.list("state=in-flight").await.into_keys().next().unwrap();
        scene.proxy.kill_9().await;
        drop(caller);
        gate.open();
        scene.proxy = start(&scene.kept, &scene.origin).await;
        eventually("its lease has run out, if it had one", async || {
            scene.list("state=outcome-unknown").await.contains_key(&key)
        })
        .await;
        let record = scene.good("GET", &path(&key), None).await;
        assert_eq!([&record["state"], &record["route"]], ["outcome-unknown", "payments"]);
        let gone = scene.good("POST", &format!("{}/fail", path(&key)), None).await;
        assert_eq!(gone["was"], "outcome-unknown");
        let again = scene.pay("orphan").send().await;
        assert_replay(&again, &scene.pay("orphan").send().await);
        assert_eq!(scene.origin.executions("orphan"), 2);
    }
}

#[tokio::test]
async fn answers_are_shown_only_where_that_was_asked_for() {
    let origin = Origin::start().await;
    for shows in [false, true] {
        let told = looked_after(&origin).toml(&format!("show_answers = {shows}\n"));
        let scene =
            Scene { kept: Kept::Memory, proxy: told.start().await, origin: Origin::start().await };
        origin.next(Answer::new(201).header("Set-Cookie", "s=hush").body("the answer"));
        let request = scene.pay("shown").caller("ann");
        assert_executed(&request.clone().send().await);
        let shown = scene.good("GET", &path(&key_of(&request.send().await)), None).await;
        match shows {
            false => assert_eq!(shown.get("answer"), None),
            true => {
                let answer = &shown["answer"];
                assert_eq!(
                    [&answer["status"], &answer["body"]],
                    [&json!(201), &json!("the answer")]
                );
                assert!(!shown.to_string().contains("hush"), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_is_named_as_it_stands_in_an_answer_or_as_base64url() {
    let scene = Scene::new(Kept::Memory).await;
    assert_executed(&scene.pay("done").send().await);
    let key = key_of(&scene.pay("done").send().await);
    let bytes = STANDARD.decode(&key).unwrap();
    for name in [path(&key), format!("/api/records/{}", URL_SAFE_NO_PAD.encode(bytes))] {
        assert_eq!(scene.good("GET", &name, None).await["key"], key);
    }
    let unknown = format!("/api/records/{}", URL_SAFE_NO_PAD.encode([7; 32]));
    scene.refused("GET", &unknown, 404, "record-not-found").await;
    for wrong in ["/api/records/short", "/api/records/%zz", "/api/records?state=done"] {
        scene.refused("GET", wrong, 400, "bad-request").await;
    }
    let lost = format!("{}/ack", path(&scene.lose("lost").await));
    let wrong = scene.ask("POST", &lost, Some(json!({"status": 100}))).await;
    refused(&wrong, 400, "bad-request");
    assert_problem(&scene.pay("lost").send().await, 409, "outcome-unknown");
}

#[tokio::test]
async fn a_store_that_is_away_is_told_of() {
    let scene = Scene::new(Kept::redis()).await;
    let key = scene.lose("lost").await;
    let Kept::Redis(server, _) = &scene.kept else { panic!() };
    server.end();
    for (method, path) in [
        ("GET", "/api/records".to_owned()),
        ("GET", path(&key)),
        ("DELETE", path(&key)),
        ("POST", format!("{}/ack", path(&key))),
    ] {
        scene.refused(method, &path, 503, "store-unavailable").await;
    }
}

#[tokio::test]
async fn few_lists_are_made_at_a_time() {
    let scene = Scene::new(Kept::redis()).await;
    assert_executed(&scene.pay("done").send().await);
    assert_eq!(scene.list("").await.len(), 1);
    let Kept::Redis(server, _) = &scene.kept else { panic!() };
    server.signal("STOP");
    let mut lists = tokio::task::JoinSet::new();
    for _ in 0..5 {
        lists.spawn(operator(&scene.proxy).get("/api/records").send());
    }
    // One is turned away at once; the others wait.
    let first = lists.join_next().await.unwrap().unwrap();
    server.signal("CONT");
    refused(&first, 503, "busy");
    assert_eq!(first.header("retry-after"), Some("1"));
    while let Some(listed) = lists.join_next().await {
        let listed = listed.unwrap();
        assert_eq!(listed.status, 200, "{listed:?}");
    }
    assert_eq!(scene.list("").await.len(), 1);
}

#[tokio::test]
async fn who_has_decided_is_logged() {
    let scene = Scene::new(Kept::Memory).await;
    for (method, what, decision) in
        [("POST", "/ack", "ack"), ("POST", "/fail", "fail"), ("DELETE", "", "forget")]
    {
        let path = format!("{}{what}", path(&scene.lose(decision).await));
        let (by, note) = (format!("ann\n{}", "x".repeat(150)), "in the ledger");
        for wrong in [json!({"who": "ann"}), json!({"by": 1}), json!([])] {
            let reply = scene.ask(method, &path, Some(wrong)).await;
            refused(&reply, 400, "bad-request");
        }
        scene.good(method, &path, Some(json!({"by": by, "note": note}))).await;
        let is_told = format!("decision=\"{decision}\"");
        let line = scene.proxy.wait_for_log(&is_told, |line| line.contains(&is_told)).await;
        let told = format!("by=\"ann\\n{}\"", "x".repeat(96));
        assert!(line.contains(&told) && line.contains("note=\"in the ledger\""), "{line}");
        assert!(line.contains("was=\"outcome-unknown\""), "{line}");
    }
}

/// Runs `oncegate records` for an instance.
async fn command(scene: &Scene, args: &[&str]) -> (Option<i32>, String, String) {
    let admin = scene.proxy.admin().to_string();
    let ended = run(&[&["records"], args, &["--admin", &admin]].concat(), &[]).await;
    (ended.status.code(), ended.stdout, ended.stderr)
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let scene = Scene::new(Kept::Memory).await;
    let empty = command(&scene, &["list"]).await;
    assert_eq!(empty, (Some(0), "no records\n".into(), String::new()));
    assert_executed(&scene.pay("done").send().await);
    let done = key_of(&scene.pay("done").send().await);
    let lost = scene.lose("lost").await;
    for number in 0..5 {
        assert_executed(&scene.pay(&format!("more{number}")).send().await);
    }
    let (code, table, _) = command(&scene, &["list"]).await;
    assert_eq!((code, table.lines().count()), (Some(0), 8), "{table}");
    let line = table.lines().find(|line| line.starts_with(&done)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..6], ["completed", "payments", "POST", "/pay/now", "201"], "{table}");
    let (_, lines, _) = command(&scene, &["list", "--json", "--state", "outcome-unknown"]).await;
    let record: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(record, scene.good("GET", &path(&lost), None).await);
    let (_, cut, _) = command(&scene, &["list", "--limit", "3"]).await;
    assert_eq!(cut.lines().count(), 5, "{cut}");
    assert!(cut.contains("there are more"), "{cut}");
    let (code, cut, said) = command(&scene, &["list", "--json", "--limit", "3"]).await;
    assert_eq!((code, cut.lines().count()), (Some(0), 3), "{cut}");
    assert!(cut.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{cut}");
    assert_eq!(said, "only the first 3 are shown; narrow it, or use --limit\n");
    let (code, whole, said) = command(&scene, &["list", "--json"]).await;
    assert_eq!((code, whole.lines().count(), said.as_str()), (Some(0), 7, ""), "{whole}");

    let (code, shown, _) = command(&scene, &["get", &done]).await;
    assert!(code == Some(0) && shown.contains("payments"), "{shown}");
    let ack = ["ack", &lost, "--status", "202", "--by", "ann", "--note", "seen", "--json"];
    let (code, shown, said) = command(&scene, &ack).await;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{shown}");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["status"], 202);
    assert_eq!(scene.pay("lost").send().await.json()["note"], "seen");
    let (code, shown, said) = command(&scene, &ack).await;
    assert_eq!((code, shown.as_str()), (Some(1), ""));
    assert!(said.contains("only an unknown outcome can be decided"), "{said}");
    let (code, shown, _) = command(&scene, &["forget", &done]).await;
    assert!(code == Some(0) && shown.contains("was completed"), "{shown}");
    assert_eq!(command(&scene, &["get", &done]).await.0, Some(1));
    let failed = scene.lose("failed").await;
    let (code, shown, _) = command(&scene, &["fail", &failed, "--by", "bob"]).await;
    assert!(code == Some(0) && shown.contains("the next repeat runs"), "{shown}");
    scene.proxy.wait_for_log("who has said so", |line| line.contains("by=\"bob\"")).await;
    for wrong in [&["list", "--state", "done"][..], &["get"], &["ack", &lost, "--status", "x"]] {
        assert_eq!(command(&scene, wrong).await.0, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_command_line_reads_the_token_from_its_file() {
    let folder = Folder::new();
    let file = folder.write("token", "a-token-of-this-test-alone\n");
    let origin = Origin::start().await;
    let proxy = looked_after(&origin).arg("--admin-token-file", &file).start().await;
    let admin = proxy.admin().to_string();
    let list = ["records", "list", "--admin", &admin];
    let ended = run(&list, &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let ended = run(&list, &[("ONCEGATE_ADMIN_TOKEN_FILE", &file)]).await;
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), "no records\n"));
}
