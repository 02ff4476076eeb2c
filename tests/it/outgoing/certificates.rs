//! Certificates made for one test.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Versions of TLS.
pub type Versions = &'static [&'static SupportedProtocolVersion];

pub const ONLY_12: Versions = &[&TLS12];
pub const ONLY_13: Versions = &[&TLS13];

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate with its key.
pub struct Signed {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pub pem: String,
    pub key_pem: String,
}

/// Whether a certificate is valid today.
#[derive(Clone, Copy, PartialEq)]
pub enum Valid {
    Now,
    InThePast,
    InTheFuture,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate, pem }
    }

    /// A certificate for this name.
    pub fn sign(&self, name: &str) -> Signed {
        self.sign_for(name, Valid::Now)
    }

    pub fn sign_for(&self, name: &str, valid: Valid) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        match valid {
            Valid::Now => {}
            Valid::InThePast => params.not_after = date_time_ymd(2001, 1, 1),
            Valid::InTheFuture => params.not_before = date_time_ymd(3000, 1, 1),
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
        Signed { certificate: certificate.der().clone(), key, pem, key_pem }
    }
}

/// How a server shakes hands.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub signed: &'a Signed,
    pub versions: Versions,
    /// Who must have signed the client's certificate, if one is needed.
    pub clients: Option<&'a Authority>,
    /// The protocols that it speaks.
    pub alpn: &'static [&'static str],
}

impl<'a> Terms<'a> {
    /// Those of a server with this certificate that asks for none.
    pub fn of(signed: &'a Signed) -> Self {
        Self { signed, versions: rustls::ALL_VERSIONS, clients: None, alpn: &["h2", "http/1.1"] }
    }

    pub fn config(self) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .expect("versions of TLS");
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.clone()).expect("an authority");
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(self.signed.key.serialize_der()).expect("a key");
        let chain = vec![self.signed.certificate.clone()];
        let mut config = builder.with_single_cert(chain, key).expect("a certificate and its key");
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}
