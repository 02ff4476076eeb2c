//! What TLS says of a request: its port, its scheme, and whose it is.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Caller, post, request};
use crate::support::{Origin, Proxy, within};

/// What an authority signs for the tests of one run.
struct Signed {
    authority: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Signed {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate").pem();
        Self { authority, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this name and its key.
    fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// A proxy that shows a certificate, and asks for one.
    async fn proxy(&self, origin: &Origin, toml: &str) -> Proxy {
        let (certificate, key) = self.certificate("api.example");
        let tls = "[tls]\ncert_file = \"own.pem\"\nkey_file = \"own.key\"\n\
                   client_ca_file = \"ca.pem\"\nclient_auth = \"optional\"\n";
        let proxy = Proxy::before(origin).file("own.pem", certificate).file("own.key", key);
        proxy.file("ca.pem", &self.authority).toml(&format!("{toml}{tls}")).start().await
    }

    /// A caller over TLS and HTTP/2 who shows a certificate for this name, if there is one.
    async fn caller(&self, proxy: &Proxy, name: Option<&str>) -> Caller {
        Caller::over(self.stream(proxy, name, b"h2").await).await
    }

    async fn stream(
        &self,
        proxy: &Proxy,
        name: Option<&str>,
        protocol: &[u8],
    ) -> impl AsyncRead + AsyncWrite + Unpin + Send + use<> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes());
        roots.add(authority.expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match name.map(|name| self.certificate(name)) {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                let chain = vec![chain.expect("a certificate")];
                config.with_client_auth_cert(chain, key).expect("a certificate and its key")
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(proxy.addr()).await.expect("connecting");
        let name = ServerName::try_from("api.example").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        within("a handshake", connector.connect(name, stream)).await.expect("a handshake")
    }

    /// The answer to a request over TLS and HTTP/1.1.
    async fn http1(&self, proxy: &Proxy, host: &str) -> String {
        let mut stream = self.stream(proxy, None, b"http/1.1").await;
        let request = format!(
            "POST /charges HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: k1\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\n10"
        );
        stream.write_all(request.as_bytes()).await.expect("sending");
        let mut answer = String::new();
        // Whoever closes without close_notify has still sent all of it.
        let _ = within("an answer", stream.read_to_string(&mut answer)).await;
        answer
    }
}

/// Over TLS, it is port 443 that says nothing, whatever the request says of its scheme; and a
/// route for that port is taken.
#[tokio::test]
async fn the_port_of_tls_is_left_out_over_tls() {
    let (origin, signed) = (Origin::start().await, Signed::new());
    let toml = "[[route]]\nname = \"tls\"\nhost = \"tls.example:443\"\nmode = \"off\"\n";
    let proxy = signed.proxy(&origin, toml).await;
    let first = signed.http1(&proxy, "API.example:443").await;
    assert!(first.starts_with("HTTP/1.1 201 ") && !first.contains("duplicate-key"), "{first}");
    assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
    assert_eq!(origin.last().header("via"), Some("1.1 oncegate"));
    assert!(signed.http1(&proxy, "api.example").await.contains("duplicate-request: true"));
    let mut caller = signed.caller(&proxy, None).await;
    let key = [("idempotency-key", "k1")];
    for uri in ["http://api.example/charges", "https://api.example:443/charges"] {
        assert!(caller.send(request("POST", uri, &key, "10")).await.is_repeat(), "{uri}");
    }
    assert_eq!(origin.hits(), 1);
    let other = request("POST", "http://api.example:80/charges", &key, "10");
    assert!(!caller.send(other).await.is_repeat());
    assert_eq!(origin.last().head.all("host"), [b"api.example:80"]);
    for _ in 0..2 {
        let unguarded = request("POST", "https://tls.example/charges", &key, "10");
        assert!(!caller.send(unguarded).await.is_repeat());
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
        assert_eq!(origin.last().header("via"), Some("2.0 oncegate"));
    }
    assert_eq!(origin.hits(), 4);
}

/// Whose certificate was shown says whose a request is: in the next certificate, too, and also
/// where a body is large enough to be hashed apart.
#[tokio::test]
async fn a_certificate_tells_callers_apart() {
    let (origin, signed) = (Origin::start().await, Signed::new());
    let proxy = signed.proxy(&origin, "[defaults]\nanonymous = \"refuse\"\n").await;
    let large = "x".repeat(300_000);
    for (key, body) in [(&[("idempotency-key", "k1")][..], "10"), (&[], "11"), (&[], &large)] {
        let before = origin.hits();
        for name in ["alice.example", "bob.example"] {
            let mut caller = signed.caller(&proxy, Some(name)).await;
            assert!(!caller.send(post(key, body)).await.is_repeat(), "{name}");
            assert_eq!(caller.send(post(key, body)).await.status, 201);
            let mut again = signed.caller(&proxy, Some(name)).await;
            assert!(again.send(post(key, body)).await.is_repeat(), "{name}");
        }
        assert_eq!(origin.hits(), before + 2);
        let mut nobody = signed.caller(&proxy, None).await;
        nobody.send(post(key, body)).await.assert_problem(400, "caller-missing");
        assert_eq!(origin.hits(), before + 2);
    }
}
