//! The side that is connected to.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::server::{NoClientAuth, WebPkiClientVerifier, danger};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use super::pem::{Authorities, Identity};
use super::{H2, HTTP_10, HTTP_11, TlsError, provider};

/// How connections by TLS are accepted. Two are equal that were made of the same files.
#[derive(Clone, Debug)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
    hash: [u8; 32],
}

/// Which callers need a certificate.
#[derive(Clone, Debug, Default)]
pub enum ClientAuth {
    /// None is asked for one.
    #[default]
    None,
    /// Whoever shows one must show one that these authorities have signed.
    Optional(Authorities),
    /// Everybody must show one that these authorities have signed.
    Required(Authorities),
}

/// The extension that has the alternative names of an owner (RFC 5280, section 4.2.1.6).
const ID_CE_SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// What a verified certificate says of its owner: it is the same in the next certificate that the
/// same issuer makes out for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown(Bytes);

impl TlsServer {
    /// Listens with a certificate and its key.
    pub fn new(identity: Identity, clients: &ClientAuth) -> Result<Self, TlsError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&identity.hash);
        let verifier = match clients {
            ClientAuth::None => Arc::new(NoClientAuth) as Arc<dyn danger::ClientCertVerifier>,
            ClientAuth::Optional(authorities) => {
                hasher.update(b"optional").update(&authorities.hash);
                verifier(authorities, true)?
            }
            ClientAuth::Required(authorities) => {
                hasher.update(b"required").update(&authorities.hash);
                verifier(authorities, false)?
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| TlsError::of_identity(&error))?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec(), HTTP_10.to_vec()];
        // Early data could be replayed by anyone who has seen it (RFC 8470).
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), hash: *hasher.finalize().as_bytes() })
    }

    /// Shakes hands with whoever has connected.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await
    }

    /// Whether both sides of a connection have agreed on HTTP/2.
    pub fn has_agreed_on_http2<S>(stream: &TlsStream<S>) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(H2)
    }
}

impl PartialEq for TlsServer {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for TlsServer {}

fn verifier(
    authorities: &Authorities,
    is_optional: bool,
) -> Result<Arc<dyn danger::ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities.roots.clone());
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    if is_optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::new(&error))
}

impl Shown {
    /// Whose certificate was shown and verified in a handshake, if one was.
    ///
    /// It is whom the issuer has named, by the subject and by all alternative names: whoever
    /// differs in any of these is somebody else. A certificate that names nobody, or that can't be
    /// read, is whose key it has, and no one else's.
    pub fn by<S>(stream: &TlsStream<S>) -> Option<Self> {
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let named = Self::named_in(certificate);
        Some(named.unwrap_or_else(|| Self(certificate.to_vec().into())))
    }

    fn named_in(certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        let extensions = certificate.extensions().into_iter().flatten();
        let names = extensions.filter(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME);
        let names: Vec<_> = names.map(|names| names.extn_value.as_bytes().to_vec()).collect();
        if names.is_empty() && certificate.subject().is_empty() {
            return None;
        }
        let issuer = certificate.issuer().to_der().ok()?;
        let subject = certificate.subject().to_der().ok()?;
        let mut owner = Vec::new();
        for part in [issuer, subject].iter().chain(&names) {
            owner.extend_from_slice(&(part.len() as u64).to_be_bytes());
            owner.extend_from_slice(part);
        }
        Some(Self(owner.into()))
    }

    /// What tells owners apart.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
