//! The certificate that proxies show to the callers of tests, and how these connect.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that the certificate is for.
const NAME: &str = "api.example";

/// What one run of the tests has made up for itself.
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
    callers: Arc<ClientConfig>,
}

/// The certificate, made when it is first asked for.
pub(super) fn made() -> &'static Made {
    static MADE: LazyLock<Made> = LazyLock::new(|| make().expect("a certificate"));
    &MADE
}

fn make() -> Result<Made, rcgen::Error> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &authority)?;
    let mut trusted = RootCertStore::empty();
    trusted.add(authority.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let callers =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let callers = callers.expect("versions").with_root_certificates(trusted);
    let mut callers = callers.with_no_client_auth();
    callers.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        callers: Arc::new(callers),
    })
}

/// Agrees on HTTP/2 with the proxy at the other end.
pub(super) async fn agree_on_http2(stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(&made().callers));
    let stream = connector.connect(ServerName::try_from(NAME).expect("a name"), stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "both agree on HTTP/2");
    Ok(stream)
}
