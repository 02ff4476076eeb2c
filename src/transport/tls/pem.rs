//! Certificates and keys as files have them (RFC 7468).

use std::fmt;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::TlsError;

/// A chain of certificates, and the private key of the first.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) hash: [u8; 32],
}

/// Certificates of authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Authorities {
    pub(super) roots: RootCertStore,
    pub(super) hash: [u8; 32],
}

/// Why a file is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PemError {
    /// It has no certificate.
    #[error("it has no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// What stands in PEM there is no certificate.
    #[error("a certificate in it can't be read")]
    Certificate,
    /// It has no private key.
    #[error("it has no private key in PEM (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
}

impl Identity {
    /// Reads a chain of certificates, the own one first, and the private key of that.
    ///
    /// Whether they belong together is found out when they are used.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, PemError> {
        Ok(Self {
            chain: chain(certificates)?,
            key: private_key(key)?,
            hash: hash(certificates, key),
        })
    }

    /// Whether a file has at least one certificate.
    pub fn check_chain(certificates: &[u8]) -> Result<(), PemError> {
        chain(certificates).map(drop)
    }

    /// Whether a file has a private key.
    pub fn check_key(key: &[u8]) -> Result<(), PemError> {
        private_key(key).map(drop)
    }
}

impl TlsError {
    /// Why a certificate and a key can't be used.
    pub(super) fn of_identity(error: &Error) -> Self {
        match *error == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            true => Self("the certificate is for another key".to_owned()),
            false => Self::new(error),
        }
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Authorities {
    /// Reads the certificates of authorities.
    pub fn from_pem(certificates: &[u8]) -> Result<Self, PemError> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(certificates)? {
            roots.add(certificate).map_err(|_| PemError::Certificate)?;
        }
        Ok(Self { roots, hash: hash(certificates, b"") })
    }
}

fn chain(certificates: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|_| PemError::Certificate)?;
    let first = chain.first().ok_or(PemError::NoCertificate)?;
    Certificate::from_der(first).map_err(|_| PemError::Certificate)?;
    Ok(chain)
}

fn private_key(key: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(key).map_err(|_| PemError::NoKey)
}

/// What tells whether files have changed.
fn hash(first: &[u8], second: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(first.len() as u64).to_be_bytes());
    hasher.update(first);
    hasher.update(second);
    *hasher.finalize().as_bytes()
}
