//! TLS: a certificate goes with its key, and neither with connections in plain text.

use super::listen::only_unix;
use crate::config::keys::{StoreTlsKeys, TlsKeys, UpstreamTlsKeys};
use crate::config::kinds::FilePath;
use crate::config::mistake::{Located, Mistake, Mistakes, Place};
use crate::config::written::Written;

type Path = Option<Located<FilePath>>;

/// Finds what is missing for TLS on either side, and what is too much.
pub(super) fn check(written: &Written, mistakes: &mut Mistakes) {
    let (keys, api) = (&written.tls, &written.upstream_tls);
    pair(&keys.cert_file, &keys.key_file, &keys.unread, mistakes);
    pair(&api.cert_file, &api.key_file, &api.unread, mistakes);
    if let Some(place) = keys.begin() {
        server(keys, place, mistakes);
        if let Some(listen) = only_unix(&written.top) {
            let text = format!(
                "only addresses of TCP speak TLS, and every address of listen ({listen}) is a \
                 Unix socket; leave it out"
            );
            mistakes.add(Mistake::new(place, "tls", text));
        }
    }
    let plain = written.upstream.url.as_ref().filter(|url| !url.value.is_https());
    if let (Some(place), Some(url)) = (api.begin(), plain) {
        let text = format!(
            "nothing is sent by TLS to {} ({}); only to a URL such as https://api.example",
            url.value, url.place
        );
        mistakes.add(Mistake::new(place, "tls", text));
    }
}

/// A certificate and its key are named together, or not at all.
pub(super) fn pair(certificate: &Path, key: &Path, unread: &[&str], mistakes: &mut Mistakes) {
    let (file, missing, name) = match (certificate, key) {
        (Some(file), None) => (file, "key_file", "cert_file"),
        (None, Some(file)) => (file, "cert_file", "key_file"),
        (Some(_), Some(_)) | (None, None) => return,
    };
    if !unread.contains(&missing) {
        let what = match missing {
            "key_file" => "the private key of this certificate",
            _ => "the certificate of this private key",
        };
        let text = format!("{missing} is missing, a file with {what}");
        mistakes.add(Mistake::new(file.place, name, text));
    }
}

fn server(keys: &TlsKeys, place: Place, mistakes: &mut Mistakes) {
    let unread = |name: &&str| keys.unread.contains(name);
    let has_none = keys.cert_file.is_none() && keys.key_file.is_none();
    if has_none && !["cert_file", "key_file"].iter().any(unread) {
        let text = "a cert_file and a key_file are needed: the certificate to show, and its \
                    private key";
        mistakes.add(Mistake::new(place, "tls", text));
    }
    if let Some(auth) = keys.client_auth.filter(|_| keys.client_ca_file.is_none())
        && !unread(&"client_ca_file")
    {
        let text = "nobody is asked for a certificate without a client_ca_file, the authorities \
                    that sign callers' certificates; name one, or leave this out";
        mistakes.add(Mistake::new(auth.place, "client_auth", text));
    }
}

impl TlsKeys {
    /// Where TLS was first spoken of, if it was.
    fn begin(&self) -> Option<Place> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        let said = first(&files).or_else(|| self.client_auth.map(|auth| auth.place));
        self.place.or(said)
    }
}

impl UpstreamTlsKeys {
    /// Where TLS was first spoken of, if it was.
    fn begin(&self) -> Option<Place> {
        let said = first(&[&self.ca_file, &self.cert_file, &self.key_file]);
        let named = || self.server_name.as_ref().map(|name| name.place);
        self.place.or(said).or_else(named)
    }
}

impl StoreTlsKeys {
    /// Where TLS was first spoken of, if it was.
    pub(super) fn begin(&self) -> Option<Place> {
        self.place.or_else(|| first(&[&self.ca_file, &self.cert_file, &self.key_file]))
    }
}

fn first(paths: &[&Path]) -> Option<Place> {
    paths.iter().find_map(|path| path.as_ref().map(|path| path.place))
}
