//! From the tables `[tls]` and `[upstream.tls]` to how connections by TLS are accepted and made.

use super::choice::ClientCertificate;
use super::files::Files;
use super::keys::{TlsKeys, UpstreamTlsKeys};
use super::kinds::FilePath;
use super::mistake::{Located, Mistake, Mistakes, Place};
use crate::transport::{
    Authorities, ClientAuth, Identity, PemError, TlsClient, TlsError, TlsServer,
};
use crate::upstream::Endpoint;

/// A path that may have been said.
type Path = Option<Located<FilePath>>;

/// A mistake was made, and has been told.
struct Told;

/// Reads files, and tells of those that are not what they should be.
struct Reader<'a> {
    files: &'a mut Files,
    mistakes: &'a mut Mistakes,
}

/// A certificate with its key, and where the files of both are named.
struct Named {
    identity: Identity,
    places: [Place; 2],
}

/// How connections by TLS are accepted, if they are, and can be.
pub(super) fn server(
    keys: &TlsKeys,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<TlsServer> {
    let mut reader = Reader { files, mistakes };
    // Every file that is named is read: each may be a mistake.
    let identity = reader.identity(&keys.cert_file, &keys.key_file);
    let authorities = reader.authorities("client_ca_file", &keys.client_ca_file);
    let clients = match (authorities.ok()?, keys.client_auth().value) {
        (None, _) => ClientAuth::None,
        (Some(authorities), ClientCertificate::Required) => ClientAuth::Required(authorities),
        (Some(authorities), ClientCertificate::Optional) => ClientAuth::Optional(authorities),
    };
    let Named { identity, places } = identity.ok()??;
    let server = TlsServer::new(identity, &clients);
    server.map_err(|error| mistakes.add(unfit(places, &error))).ok()
}

/// How connections by TLS to an API are made, if they are, and can be.
pub(super) fn client(
    keys: &UpstreamTlsKeys,
    url: &Located<Endpoint>,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<TlsClient> {
    let mut reader = Reader { files, mistakes };
    let identity = reader.identity(&keys.cert_file, &keys.key_file);
    let authorities = reader.authorities("ca_file", &keys.ca_file);
    let (identity, authorities) = (identity.ok()?, authorities.ok()?);
    if !url.value.is_https() {
        return None;
    }
    let name = keys.server_name.as_ref().map(|name| name.value.as_str());
    let (identity, places) = identity.map(|named| (named.identity, named.places)).unzip();
    let error = match TlsClient::new(authorities.clone(), identity, name) {
        Ok(client) => return Some(client),
        Err(error) => error,
    };
    // It says what is wrong, but not which part of it is.
    mistakes.add(match (TlsClient::new(authorities, None, name), places, &keys.ca_file) {
        (Ok(_), Some(places), _) => unfit(places, &error),
        (_, _, Some(file)) => Mistake::new(file.place, "ca_file", error.to_string()),
        (_, _, None) => Mistake::new(url.place, "url", error.to_string()),
    });
    None
}

fn unfit([certificate, key]: [Place; 2], error: &TlsError) -> Mistake {
    let text =
        format!("it can't be used with the certificate of cert_file ({certificate}): {error}");
    Mistake::new(key, "key_file", text)
}

impl Reader<'_> {
    /// What a file has, if it is named and passes a check.
    fn file<T>(
        &mut self,
        key: &str,
        path: &Path,
        check: impl FnOnce(&[u8]) -> Result<T, PemError>,
    ) -> Result<Option<(Vec<u8>, T)>, Told> {
        let Some(path) = path else { return Ok(None) };
        let read = self.files.read(key, path).and_then(|contents| {
            let checked = check(&contents);
            let checked = checked.map_err(|error| Mistake::new(path.place, key, error.to_string()));
            Ok((contents, checked?))
        });
        read.map(Some).map_err(|mistake| self.tell(mistake))
    }

    /// A certificate and its key, if both are named.
    fn identity(&mut self, certificate: &Path, key: &Path) -> Result<Option<Named>, Told> {
        let chain = self.file("cert_file", certificate, Identity::check_chain);
        let private = self.file("key_file", key, Identity::check_key);
        let (Some((chain, ())), Some((private, ()))) = (chain?, private?) else { return Ok(None) };
        let places = [certificate, key].map(|path| path.as_ref().map(|path| path.place));
        let places = places.map(Option::unwrap_or_default);
        match Identity::from_pem(&chain, &private) {
            Ok(identity) => Ok(Some(Named { identity, places })),
            Err(error) => Err(self.tell(Mistake::new(places[1], "key_file", error.to_string()))),
        }
    }

    fn authorities(&mut self, key: &str, path: &Path) -> Result<Option<Authorities>, Told> {
        let read = self.file(key, path, Authorities::from_pem)?;
        Ok(read.map(|(_, authorities)| authorities))
    }

    fn tell(&mut self, mistake: Mistake) -> Told {
        self.mistakes.add(mistake);
        Told
    }
}
