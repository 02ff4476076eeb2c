//! Authorities, certificates, and callers who show them, or not.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Origin, Proxy, Starting, within};

/// The name that the proxy's certificates are for.
pub const NAME: &str = "api.example";

pub const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as files have them.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A certificate that is yet to be made.
#[derive(Default)]
pub struct Wanted {
    /// The common name of its subject; it has none otherwise.
    pub subject: Option<&'static str>,
    pub names: Vec<SanType>,
    /// The years in which it begins and ends to be valid.
    pub years: Option<(i32, i32)>,
}

impl Wanted {
    /// One for these DNS names.
    pub fn dns(names: &[&str]) -> Self {
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().expect("a name")));
        Self { names: names.collect(), ..Self::default() }
    }

    /// One for this subject, and nothing else.
    pub fn subject(subject: &'static str) -> Self {
        Self { subject: Some(subject), ..Self::default() }
    }

    pub fn and(mut self, name: SanType) -> Self {
        self.names.push(name);
        self
    }

    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        if let Some(subject) = self.subject {
            params.distinguished_name.push(DnType::CommonName, subject);
        }
        params.subject_alt_names = self.names;
        if let Some((first, last)) = self.years {
            params.not_before = date_time_ymd(first, 1, 1);
            params.not_after = date_time_ymd(last, 1, 1);
        }
        params
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = Wanted::subject("the authority").params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that nobody has had before, with a key of its own.
    pub fn sign(&self, wanted: Wanted) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let certificate = wanted.params().signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for the proxy.
    pub fn proxy(&self) -> Pair {
        self.sign(
            Wanted::dns(&[NAME, "other.example"]).and(SanType::IpAddress([127, 0, 0, 1].into())),
        )
    }
}

impl Pair {
    /// The certificate as it is shown.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A caller by TLS that is yet to connect.
#[derive(Clone)]
pub struct Tls {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub protocols: Vec<&'static str>,
    /// The certificate that is shown.
    pub shows: Option<Pair>,
    trusted: CertificateDer<'static>,
}

impl Tls {
    /// One that trusts this authority.
    pub fn trusting(authority: &Authority) -> Self {
        let trusted = authority.0.der().clone();
        Self { versions: BOTH.to_vec(), protocols: Vec::new(), shows: None, trusted }
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub fn speaking(mut self, protocols: &[&'static str]) -> Self {
        self.protocols = protocols.to_vec();
        self
    }

    pub fn showing(mut self, pair: &Pair) -> Self {
        self.shows = Some(pair.clone());
        self
    }

    /// How it connects, again and again: sessions are resumed where the proxy allows it.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.trusted.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_protocol_versions(&self.versions).expect("versions");
        let config = config.with_root_certificates(trusted);
        let mut config = match &self.shows {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                config.with_client_auth_cert(vec![pair.der()], key).expect("a pair")
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().into()).collect();
        Arc::new(config)
    }

    /// A connection to the proxy, which must come.
    pub async fn connect(&self, proxy: &Proxy) -> TlsStream<TcpStream> {
        shake_hands(proxy, self.config(), NAME).await.expect("a handshake")
    }
}

/// Shakes hands with a proxy that is taken for whoever has this name.
pub async fn shake_hands(
    proxy: &Proxy,
    config: Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = within("a connection", TcpStream::connect(proxy.addr())).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    within("a handshake, or its end", TlsConnector::from(config).connect(name, stream)).await
}

/// A proxy by TLS before this origin, whose certificate this authority has signed, and whose
/// `[tls]` table has `more`, and what comes after it.
pub fn by_tls(origin: &Origin, authority: &Authority, more: &str) -> Starting {
    let shown = authority.proxy();
    let toml = format!("[tls]\ncert_file = \"shown.pem\"\nkey_file = \"shown.key\"\n{more}\n");
    let starting = Proxy::before(origin).file("shown.pem", shown.certificate);
    starting.file("shown.key", shown.key).toml(&toml)
}
