//! An authority of a test's own, and the certificates that it signs.

use std::cell::Cell;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::support::Folder;

/// An authority; its files are gone with it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Folder,
    signed: Cell<usize>,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// An authority of this name, which nobody else trusts.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = Folder::new();
        folder.write("authority.pem", issuer.pem());
        Self { issuer, folder, signed: Cell::new(0) }
    }

    /// The file with its own certificate.
    pub fn certificate(&self) -> String {
        path(self.folder.path("authority.pem"))
    }

    /// A new certificate for these names, which are hosts or IP addresses, and a new key.
    pub fn sign(&self, names: &[&str]) -> Files {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let common = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let number = self.signed.replace(self.signed.get() + 1);
        Files {
            certificate: self.folder.write(&format!("{number}.pem"), certificate.pem()),
            key: self.folder.write(&format!("{number}.key"), key.serialize_pem()),
        }
    }

    /// A certificate for servers on loopback.
    pub fn server(&self) -> Files {
        self.sign(&["localhost", "127.0.0.1"])
    }
}

fn path(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("a path that is text")
}
