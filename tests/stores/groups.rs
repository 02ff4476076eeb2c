//! Redis servers that stand in for one another, and servers that share the work.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{Folder, Server, free_port, until};

/// How servers and whoever asks them speak.
pub(crate) struct Wire {
    /// What a port is called in the configuration.
    port: &'static str,
    /// What all servers are told besides, by name and value.
    settings: Vec<(&'static str, String)>,
    /// What `redis-cli` is told.
    cli: Vec<String>,
}

impl Wire {
    pub(crate) fn plain() -> Self {
        Self { port: "port", settings: Vec::new(), cli: Vec::new() }
    }

    /// TLS, between servers, too, with `root`, `cert` and `key` of a folder; each must show its
    /// certificate.
    #[allow(dead_code, reason = "a vocabulary: not every suite says every word")]
    pub(crate) fn tls(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let yes = || "yes".to_owned();
        let settings = vec![
            ("tls-replication", yes()),
            ("tls-cluster", yes()),
            ("tls-auth-clients", yes()),
            ("tls-ca-cert-file", path("root")),
            ("tls-cert-file", path("cert")),
            ("tls-key-file", path("key")),
        ];
        let [root, cert, key] = ["root", "cert", "key"].map(path);
        let cli = ["--tls", "--cacert", &root, "--cert", &cert, "--key", &key].map(str::to_owned);
        Self { port: "tls-port", settings, cli: cli.into() }
    }
}

/// A server on a port of its own.
pub(crate) fn on_port(arguments: &[&str]) -> (u16, Server) {
    on_port_by(&Wire::plain(), arguments)
}

/// The same, with another way to speak.
pub(crate) fn on_port_by(wire: &Wire, arguments: &[&str]) -> (u16, Server) {
    on_ports_by(wire, |_| arguments.iter().map(|&argument| argument.to_owned()).collect())
}

/// The same, told what depends on another port.
fn on_ports_by(wire: &Wire, arguments: impl Fn(u16) -> Vec<String>) -> (u16, Server) {
    let tries = (0..5).find_map(|_| {
        let port = free_port();
        let mut told = vec![format!("--{}", wire.port), port.to_string()];
        told.extend(["--bind", "127.0.0.1"].map(str::to_owned));
        for (name, value) in &wire.settings {
            told.extend([format!("--{name}"), value.clone()]);
        }
        told.extend(arguments(free_port()));
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        Some((port, Server::try_start(&told)?))
    });
    tries.expect("a port that is free")
}

/// A Sentinel that watches a primary, which it calls `main`.
pub(crate) fn sentinel(primary: u16) -> (u16, Server) {
    sentinel_by(&Wire::plain(), primary)
}

/// The same, with another way to speak; it is on a Unix socket, too.
pub(crate) fn sentinel_by(wire: &Wire, primary: u16) -> (u16, Server) {
    let (port, folder) = (free_port(), Folder::new());
    let mut config = format!(
        "port 0\n{} {port}\nbind 127.0.0.1\nunixsocket s\n\
         sentinel monitor main 127.0.0.1 {primary} 1\n\
         sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n",
        wire.port
    );
    for (name, value) in &wire.settings {
        writeln!(config, "{name} {value}").unwrap();
    }
    fs::write(folder.path().join("sentinel.conf"), config).unwrap();
    (port, Server::spawn("redis-sentinel", folder, &["sentinel.conf"]))
}

/// Waits until the Sentinel knows one replica of its primary.
pub(crate) fn wait_for_replica(sentinel: &Server) {
    until("the Sentinel knows both", || {
        let Some(mut connection) = sentinel.try_connect() else { return false };
        let asked = redis::cmd("SENTINEL").arg("REPLICAS").arg("main").query(&mut connection);
        matches!(asked, Ok(redis::Value::Array(replicas)) if replicas.len() == 1)
    });
}

/// Whether the server is a primary; it may close connections while it becomes one.
pub(crate) fn is_primary(server: &Server) -> bool {
    let Some(mut connection) = server.try_connect() else { return false };
    let role: redis::RedisResult<redis::Value> = redis::cmd("ROLE").query(&mut connection);
    role.is_ok_and(|role| format!("{role:?}").contains("master"))
}

/// A cluster of three servers.
pub(crate) fn cluster() -> (Vec<u16>, Vec<Server>) {
    cluster_by(&Wire::plain(), 0, &[])
}

/// A cluster of three servers, each with so many replicas, which come after all three.
pub(crate) fn cluster_by(
    wire: &Wire,
    replicas: usize,
    arguments: &[&str],
) -> (Vec<u16>, Vec<Server>) {
    let clustered = |bus: u16| {
        let told = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
        [&told, arguments].concat().into_iter().map(str::to_owned).collect()
    };
    let servers = (0..3 * (1 + replicas)).map(|_| on_ports_by(wire, clustered));
    let (ports, servers): (Vec<_>, Vec<_>) = servers.unzip();
    let nodes: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
    let told = ["--cluster-replicas", &replicas.to_string(), "--cluster-yes"];
    redis_cli(wire, &[&["--cluster", "create"], &*nodes, &told].concat());
    until("the cluster is there", || {
        servers.iter().all(|server| {
            let info = format!("{:?}", server.ask(&["CLUSTER", "INFO"]));
            info.contains("cluster_state:ok") && is_followed(server, replicas)
        })
    });
    wait_until_all_hear(&servers);
    (ports, servers)
}

/// Waits until what is published on one of the servers is told on all: the first messages in a young
/// cluster may be lost.
fn wait_until_all_hear(servers: &[Server]) {
    for listener in servers {
        let mut connection = listener.connection();
        connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut heard = connection.as_pubsub();
        heard.subscribe("hello").unwrap();
        for (number, speaker) in servers.iter().enumerate() {
            until("it is heard", || {
                speaker.ask(&["PUBLISH", "hello", &number.to_string()]);
                let message = heard.get_message();
                message.is_ok_and(|message| message.get_payload() == Ok(number))
            });
        }
    }
}

/// Whether the server is a replica that has all its primary has, or has so many of these.
fn is_followed(server: &Server, replicas: usize) -> bool {
    let info = format!("{:?}", server.ask(&["INFO", "replication"]));
    match info.contains("role:slave") {
        true => info.contains("master_link_status:up"),
        false => info.matches("state=online").count() == replicas,
    }
}

/// Waits until each of these primaries has a replica that has taken all that was written so far.
pub(crate) fn wait_for_copies(primaries: &[Server]) {
    for primary in primaries {
        let written = offset(primary, "master_repl_offset").expect("a primary has one");
        until("the replica has it", || {
            offset(primary, "slave0").is_some_and(|taken| taken >= written)
        });
    }
}

/// How far a server has come, or its first replica.
fn offset(server: &Server, of: &str) -> Option<u64> {
    let asked = redis::cmd("INFO").arg("replication").query(&mut server.connection());
    let info: redis::InfoDict = asked.unwrap();
    let told: String = info.get(of)?;
    // Of a replica more is told than that.
    let told = told.split_once("offset=").map_or(&*told, |(_, rest)| rest);
    told.split(',').next()?.parse().ok()
}

/// Moves so many slots from one server of a cluster to another.
pub(crate) fn reshard(from: &Server, to: &Server, port: u16, slots: usize) {
    let identity = |server: &Server| {
        let id = server.ask(&["CLUSTER", "MYID"]);
        let redis::Value::BulkString(id) = id else { panic!("{id:?}") };
        String::from_utf8(id).unwrap()
    };
    let (node, slots) = (format!("127.0.0.1:{port}"), slots.to_string());
    let (from, to) = (identity(from), identity(to));
    let told = ["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", &slots];
    let arguments = [&["--cluster", "reshard", &node], &told[..], &["--cluster-yes"]].concat();
    redis_cli(&Wire::plain(), &arguments);
}

fn redis_cli(wire: &Wire, arguments: &[&str]) {
    let mut command = Command::new("redis-cli");
    command.args(&wire.cli);
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
}
