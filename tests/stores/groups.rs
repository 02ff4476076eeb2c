//! Redis servers that stand in for one another, and servers that share the work.

use std::fs;
use std::process::{Command, Stdio};

use crate::server::{Folder, Server, ask, free_port, until};

/// A connection to the server at a port.
pub(crate) fn tcp(port: u16) -> redis::Connection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    client.get_connection().unwrap()
}

/// A server on a port of its own.
pub(crate) fn on_port(arguments: &[&str]) -> (u16, Server) {
    let tries = (0..5).find_map(|_| {
        let port = free_port();
        let text = port.to_string();
        let fixed = ["--port", &text, "--bind", "127.0.0.1"];
        Some((port, Server::try_start(&[&fixed, arguments].concat())?))
    });
    tries.expect("a port that is free")
}

/// A Sentinel that watches a primary, which it calls `main`.
pub(crate) fn sentinel(primary: u16) -> (u16, Server) {
    let (port, folder) = (free_port(), Folder::new());
    let config = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary} 1\n\
         sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
    );
    fs::write(folder.path().join("sentinel.conf"), config).unwrap();
    (port, Server::spawn("redis-sentinel", folder, &["sentinel.conf"]))
}

/// Waits until the Sentinel at a port knows one replica of its primary.
pub(crate) fn wait_for_replica(sentinel: u16) {
    until("the Sentinel knows both", || {
        let client = redis::Client::open(format!("redis://127.0.0.1:{sentinel}")).unwrap();
        let Ok(mut connection) = client.get_connection() else { return false };
        let asked = redis::cmd("SENTINEL").arg("REPLICAS").arg("main").query(&mut connection);
        matches!(asked, Ok(redis::Value::Array(replicas)) if replicas.len() == 1)
    });
}

/// Whether the server at a port is a primary; it may close connections while it becomes one.
pub(crate) fn is_primary(port: u16) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let Ok(mut connection) = client.get_connection() else { return false };
    let role: redis::RedisResult<redis::Value> = redis::cmd("ROLE").query(&mut connection);
    role.is_ok_and(|role| format!("{role:?}").contains("master"))
}

/// A cluster of three servers.
pub(crate) fn cluster() -> ([u16; 3], Vec<Server>) {
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            on_port(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        })
        .collect();
    let ports: Vec<_> = servers.iter().map(|(port, _)| *port).collect();
    let nodes: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let nodes: Vec<_> = nodes.iter().map(String::as_str).collect();
    redis_cli(&[&["--cluster", "create"], &*nodes, &["--cluster-yes"]].concat());
    until("the cluster is there", || {
        ports.iter().all(|port| {
            let info = ask(&mut tcp(*port), &["CLUSTER", "INFO"]);
            format!("{info:?}").contains("cluster_state:ok")
        })
    });
    ([ports[0], ports[1], ports[2]], servers.into_iter().map(|(_, server)| server).collect())
}

/// Moves so many slots from one server of a cluster to another.
pub(crate) fn reshard(from: u16, to: u16, slots: usize) {
    let identity = |port| {
        let id = ask(&mut tcp(port), &["CLUSTER", "MYID"]);
        let redis::Value::BulkString(id) = id else { panic!("{id:?}") };
        String::from_utf8(id).unwrap()
    };
    let (node, slots) = (format!("127.0.0.1:{from}"), slots.to_string());
    let (from, to) = (identity(from), identity(to));
    let told = ["--cluster-from", &from, "--cluster-to", &to, "--cluster-slots", &slots];
    redis_cli(&[&["--cluster", "reshard", &node], &told[..], &["--cluster-yes"]].concat());
}

fn redis_cli(arguments: &[&str]) {
    let mut command = Command::new("redis-cli");
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
}
