//! A collector that is told by TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::collector::Collector;
use crate::support::{Folder, Origin, Proxy, client};

/// An authority, and a certificate for a loopback address that it has signed, with its key.
fn made() -> (String, String, String) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let shown = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let shown = shown.signed_by(&key, &authority).unwrap();
    (authority.pem(), shown.pem(), key.serialize_pem())
}

/// A collector behind TLS is told where its authority is trusted, and not where another one is;
/// requests are served either way.
#[tokio::test]
async fn a_collector_is_told_by_tls_if_it_is_trusted() {
    let (authority, certificate, key) = made();
    let folder = Folder::new();
    for (trusted, is_told) in [(authority, true), (made().0, false)] {
        let (origin, collector) = (Origin::start().await, Collector::start().await);
        let tls = "[tls]\ncert_file = \"shown.pem\"\nkey_file = \"shown.key\"\n";
        let front = Proxy::before_address(collector.addr).file("shown.pem", &certificate);
        let front = front.file("shown.key", &key).toml(tls).start().await;
        let ca_file = folder.write("ca.pem", &trusted);
        let proxy = collector
            .told_by_proxy_before(&origin)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://{}", front.addr()))
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca_file);
        let proxy = proxy.start().await;
        assert_eq!(client(&proxy).get("/charges").send().await.status, 201);
        if is_told {
            assert_eq!(collector.wait_for_spans(2).await.len(), 2);
        } else {
            let told = |line: &str| line.contains("no connection by TLS could be made");
            proxy.wait_for_log("what is wrong", told).await;
            assert!(collector.posts().is_empty());
            assert_eq!(client(&proxy).get("/charges").send().await.status, 201);
        }
    }
}
