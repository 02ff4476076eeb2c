//! TLS to servers, and between them.

use std::fs;

use oncegate::store::{RedisIdentity, RedisOpenError, RedisOptions, RedisTls, Store as _};

use super::{Process, essence, options, refused, until};
use crate::groups::{Wire, cluster_by, is_primary, on_port_by, sentinel_by, wait_for_replica};
use crate::key;
use crate::server::Folder;

/// A root, and certificates that it has signed.
struct Certificates {
    root: String,
    client: RedisIdentity,
    /// What servers are told of theirs.
    wire: Wire,
    _folder: Folder,
}

impl Certificates {
    /// What a client is told that may come in.
    fn tls(&self) -> RedisTls {
        RedisTls { ca: Some(self.root.clone().into_bytes()), identity: Some(self.client.clone()) }
    }
}

fn certificates() -> Certificates {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    // Two certificates with one name would seem to be one that has signed itself.
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Root");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = parameters.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(parameters, key);
    let sign = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let signed = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer);
        (signed.unwrap().pem(), key.serialize_pem())
    };
    let (folder, (certificate, key)) = (Folder::new(), sign());
    for (name, pem) in [("root", &root), ("cert", &certificate), ("key", &key)] {
        fs::write(folder.path().join(name), pem).unwrap();
    }
    let (certificate, key) = sign();
    let client = RedisIdentity { certificate: certificate.into_bytes(), key: key.into_bytes() };
    Certificates { root, client, wire: Wire::tls(folder.path()), _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_certificates_are_checked() {
    let made = certificates();
    let (port, server) = on_port_by(&made.wire, &[]);
    let asked = |host: &str, tls: RedisTls| {
        let url = format!("rediss://{host}:{port}").parse().unwrap();
        RedisOptions { url, tls, ..options(&server) }
    };
    for host in ["127.0.0.1", "localhost"] {
        let process = Process::new(asked(host, made.tls())).await;
        assert_eq!(process.store.trouble(), None, "{host}");
        process.keep(&key(1), 1, "answer").await;
        assert!(process.load(&key(1)).await.is_some());
    }
    let unnamed = RedisTls { identity: None, ..made.tls() };
    let nobody = Process::new(asked("127.0.0.1", unnamed)).await;
    assert!(nobody.store.trouble().is_some());
    let other = RedisTls { ca: certificates().tls().ca, ..made.tls() };
    let stranger = Process::new(asked("127.0.0.1", other)).await;
    assert!(stranger.store.trouble().is_some());
    let odd = RedisTls { ca: Some(b"no certificate".to_vec()), identity: None };
    let error = refused(asked("127.0.0.1", odd)).await;
    assert!(matches!(error, RedisOpenError::Tls(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_sentinels_and_after_a_failover() {
    let made = certificates();
    let (first_port, first) = on_port_by(&made.wire, &[]);
    let primary = first_port.to_string();
    let (_, second) = on_port_by(&made.wire, &["--replicaof", "127.0.0.1", &primary]);
    let (port, sentinel) = sentinel_by(&made.wire, first_port);
    wait_for_replica(&sentinel);
    let url = format!("rediss+sentinel://127.0.0.1:{port}/main").parse().unwrap();
    let options = RedisOptions { url, tls: made.tls(), ..RedisOptions::default() };
    let process = Process::new(options.clone()).await;
    assert_eq!(process.store.trouble(), None);
    let kept = process.keep(&key(1), 1, "answer").await;
    until(
        "the replica has it",
        async || matches!(second.ask(&["DBSIZE"]), redis::Value::Int(size) if size >= 2),
    )
    .await;
    first.signal("STOP");
    process.claim_at_last(&key(2), &process.in_flight(2)).await;
    assert!(is_primary(&second));
    assert_eq!(essence(process.load(&key(1)).await.as_ref()), essence(Some(&kept)));
    let stranger = RedisTls { identity: None, ..made.tls() };
    let stranger = Process::new(RedisOptions { tls: stranger, ..options }).await;
    assert!(stranger.store.trouble().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_all_nodes_of_a_cluster() {
    let made = certificates();
    let (ports, servers) = cluster_by(&made.wire, 0, &[]);
    let url: oncegate::store::RedisUrl =
        format!("rediss+cluster://127.0.0.1:{}", ports[0]).parse().unwrap();
    let options = RedisOptions { url, tls: made.tls(), ..RedisOptions::default() };
    let process = Process::new(options.clone()).await;
    assert_eq!(process.store.trouble(), None);
    for number in 0..60 {
        process.keep(&key(number), number as u64, "answer").await;
    }
    let other = Process::new(options.clone()).await;
    for number in 0..60 {
        assert!(other.load(&key(number)).await.is_some());
    }
    for server in &servers {
        let size = server.ask(&["DBSIZE"]);
        assert!(matches!(size, redis::Value::Int(size) if size > 0), "{size:?}");
    }
    let stranger = RedisTls { identity: None, ..made.tls() };
    let stranger = Process::new(RedisOptions { tls: stranger, ..options }).await;
    assert!(stranger.store.trouble().is_some());
}
