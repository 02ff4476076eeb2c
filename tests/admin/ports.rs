//! What can be connected to: what was asked for, and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use tokio::net::TcpStream;

use crate::support::{Folder, Origin, Proxy, run, sockets_of};

/// The addresses at which a process listens, as the kernel knows them: hexadecimal address and
/// port.
fn listened(proxy: &Proxy) -> Vec<(String, u16)> {
    let owned = sockets_of(proxy.pid());
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{}/net/{table}", proxy.pid()));
        for line in text.unwrap_or_default().lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = columns[..] else { continue };
            // LISTEN; any socket of UDP takes what comes.
            let listens = table.starts_with("udp") || state == "0A";
            if listens && owned.iter().any(|socket| socket == inode) {
                let (address, port) = local.split_once(':').expect("an address");
                found.push((address.into(), u16::from_str_radix(port, 16).expect("a port")));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// An instance that takes requests from everywhere.
async fn everywhere(origin: &Origin) -> Proxy {
    let folder = Folder::new();
    let told = format!("listen = \"0.0.0.0:0\"\n[upstream]\nurl = \"http://{}\"\n", origin.addr);
    let config = folder.write("oncegate.toml", told);
    Proxy::told_by(config).arg("--admin", "127.0.0.1:0").start().await
}

#[tokio::test]
async fn an_instance_listens_where_it_says_and_nowhere_else() {
    let origin = Origin::start().await;
    let proxy = everywhere(&origin).await;
    let loopback = format!("{:08X}", u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()));
    let any = "00000000".to_owned();
    let mut expected = vec![(any, proxy.addr().port()), (loopback, proxy.admin().port())];
    expected.sort();
    assert_eq!(listened(&proxy), expected);
    let proxy = Proxy::before(&origin).arg("--admin", "off").start().await;
    assert_eq!(listened(&proxy).len(), 1, "there is no admin listener");
}

/// The addresses of this machine besides loopback.
fn own_addresses() -> Vec<Ipv4Addr> {
    let shown = Command::new("hostname").arg("-I").output().expect("hostname runs");
    let text = String::from_utf8(shown.stdout).expect("text");
    text.split_whitespace().filter_map(|address| address.parse().ok()).collect()
}

#[tokio::test]
async fn the_admin_listener_is_on_loopback_unless_it_is_told_otherwise() {
    let help = run(&["run", "--help"], &[]).await.stdout;
    let (_, after) = help.split_once("--admin <ADDRESS>").expect("the flag");
    let (said, _) = after.split_once("[env: ONCEGATE_ADMIN").expect("its variable");
    assert!(said.contains("[default: 127.0.0.1:9464]"), "{said}");
    let origin = Origin::start().await;
    let proxy = everywhere(&origin).await;
    for address in own_addresses() {
        let served = SocketAddr::from((address, proxy.addr().port()));
        TcpStream::connect(served).await.expect("requests are served at every address");
        let admin = SocketAddr::from((address, proxy.admin().port()));
        let refused = TcpStream::connect(admin).await.expect_err("the admin listener is not");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{admin}");
    }
}
