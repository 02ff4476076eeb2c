//! The side that connects.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::pem::{Authorities, Identity};
use super::secured::Secured;
use super::{Protocol, TlsError, provider};

/// How connections by TLS are made. Two are equal that were made of the same files.
#[derive(Clone)]
pub struct TlsClient {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// Instead of the host of the URL.
    name: Option<ServerName<'static>>,
    hash: [u8; 32],
}

/// Why a handshake has failed; the list is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TlsFault {
    /// Nobody who is trusted has signed the server's certificate.
    #[error("nobody who is trusted has signed its certificate")]
    NotTrusted,
    /// The server's certificate is made out for another name.
    #[error("its certificate is made out for another name")]
    WrongName,
    /// The server's certificate is not valid any more, or not yet.
    #[error("its certificate has expired, or is not valid yet")]
    Expired,
    /// The server's certificate is wrong in another way.
    #[error("its certificate is not valid")]
    Invalid,
    /// The server does not accept the client's certificate, or that there is none.
    #[error("it does not accept the client's certificate, or needs one")]
    ClientRefused,
    /// Both sides speak TLS, and have not agreed on the protocol that is spoken by it.
    #[error("it has not agreed on {0}")]
    NotAgreed(Protocol),
    /// The server has ended the handshake with another alert.
    #[error("it has ended the handshake with an alert")]
    Alerted,
    /// What the server says is not TLS, or no TLS that is safe; or it has closed the connection.
    #[error("the handshake has failed")]
    Failed,
}

/// A handshake that has failed, for those who run the server or the client.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct HandshakeError {
    /// What is to be told of it.
    pub fault: TlsFault,
    /// What is wrong in detail, which may show what a certificate says.
    error: io::Error,
}

impl TlsClient {
    /// Connects to servers whose certificate is signed by these authorities, or by those that the
    /// system trusts, and is made out for `name`, or for the host of the URL. Shows `identity` to
    /// servers that ask for a certificate.
    pub fn new(
        authorities: Option<Authorities>,
        identity: Option<Identity>,
        name: Option<&str>,
    ) -> Result<Self, TlsError> {
        let authorities = authorities.map_or_else(system_authorities, Ok)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&authorities.hash);
        hasher.update(&identity.as_ref().map_or([0; 32], |identity| identity.hash));
        hasher.update(name.unwrap_or_default().as_bytes());
        let name = name.map(|name| ServerName::try_from(name.to_owned())).transpose();
        let name = name.map_err(|error| TlsError::new(&error))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&error))?
            .with_root_certificates(authorities.roots);
        let mut http1 = match identity {
            Some(Identity { chain, key, .. }) => builder.with_client_auth_cert(chain, key),
            None => Ok(builder.with_no_client_auth()),
        }
        .map_err(|error| TlsError::of_identity(&error))?;
        // Early data could be replayed by anyone who has seen it (RFC 8470).
        http1.enable_early_data = false;
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![Protocol::Http1.alpn().to_vec()];
        http2.alpn_protocols = vec![Protocol::Http2.alpn().to_vec()];
        // A session goes on in the protocol that it was begun in.
        http2.resumption = rustls::client::Resumption::default();
        Ok(Self {
            http1: Arc::new(http1),
            http2: Arc::new(http2),
            name,
            hash: *hasher.finalize().as_bytes(),
        })
    }

    /// Shakes hands with the server at `host`, to speak this protocol with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
        protocol: Protocol,
    ) -> Result<Secured<S>, HandshakeError> {
        let name = match &self.name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(host.to_owned()),
        };
        let name = name.map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, error);
            HandshakeError { fault: TlsFault::WrongName, error }
        })?;
        let config = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, stream).await.map_err(|error| {
            let fault = fault(&error, protocol);
            HandshakeError { fault, error }
        })?;
        // Who knows nothing of ALPN speaks HTTP/1.1.
        let agreed = stream.get_ref().1.alpn_protocol();
        if agreed != Some(protocol.alpn()) && (protocol == Protocol::Http2 || agreed.is_some()) {
            let error = io::Error::new(io::ErrorKind::Unsupported, "no protocol was agreed on");
            return Err(HandshakeError { fault: TlsFault::NotAgreed(protocol), error });
        }
        Ok(Secured::new(stream))
    }
}

impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for TlsClient {}

impl fmt::Debug for TlsClient {
    /// Without certificates and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The authorities that the system trusts.
fn system_authorities() -> Result<Authorities, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut hasher = blake3::Hasher::new();
    for certificate in &found.certs {
        hasher.update(&(certificate.len() as u64).to_be_bytes());
        hasher.update(certificate);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = match found.errors.first() {
            Some(error) => {
                format!("the certificates that this system trusts can't be read: {error}")
            }
            None => "this system trusts no certificates".to_owned(),
        };
        return Err(TlsError(format!("{why}; name a file with those to be trusted in ca_file")));
    }
    Ok(Authorities { roots, hash: *hasher.finalize().as_bytes() })
}

/// What a failed handshake is to be called.
fn fault(error: &io::Error, protocol: Protocol) -> TlsFault {
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(error)) = error {
        return certificate_fault(error);
    }
    let Some(rustls::Error::AlertReceived(alert)) = error else { return TlsFault::Failed };
    if *alert == AlertDescription::NoApplicationProtocol {
        return TlsFault::NotAgreed(protocol);
    }
    if is_about_certificates(*alert) { TlsFault::ClientRefused } else { TlsFault::Alerted }
}

fn certificate_fault(error: &CertificateError) -> TlsFault {
    use CertificateError as Wrong;
    let is_of_another =
        matches!(error, Wrong::NotValidForName | Wrong::NotValidForNameContext { .. });
    let has_expired = matches!(
        error,
        Wrong::Expired
            | Wrong::ExpiredContext { .. }
            | Wrong::NotValidYet
            | Wrong::NotValidYetContext { .. }
    );
    match () {
        () if *error == Wrong::UnknownIssuer => TlsFault::NotTrusted,
        () if is_of_another => TlsFault::WrongName,
        () if has_expired => TlsFault::Expired,
        () => TlsFault::Invalid,
    }
}

/// Whether an alert of a server's says that it does not accept the client's certificate, or that
/// there is none (RFC 8446, section 6.2).
pub(super) const fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
    )
}
