//! From the tables `[store]` and `[store.tls]` to where records are kept, and what keys them.

use std::sync::Arc;

use super::files::Files;
use super::keys::{StoreKeys, StoreTlsKeys};
use super::kinds::FilePath;
use super::mistake::{Located, Mistake, Mistakes, Place};
use super::places::StoreUrl;
use super::resolve::{contents, without_newline};
use super::settings::{StoreKind, StoreSettings};
use super::written::Written;
use crate::idempotency::Secret;
use crate::store::{Login, Password, RedisIdentity, RedisOptions, RedisTls, RedisUrl, SealKeys};

/// The fewest bytes that a secret may have.
const SECRET_BYTES_MIN: usize = 32;

/// What the hash of a secret is for: another program that hashes the same file gets another one.
const SECRET_CONTEXT: &str = "oncegate store secret_file v1";

/// Where records are kept, if that can be.
pub(super) fn settings(
    written: &Written,
    has_secret_file: bool,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<StoreSettings> {
    let keys = &written.store;
    let kind = match keys.url().value {
        StoreUrl::Memory => StoreKind::Memory(keys.when_full().value),
        StoreUrl::Disk(path) => StoreKind::Disk {
            path,
            durability: keys.durability().value,
            bytes_max: keys.max_disk_bytes().value.0,
        },
        StoreUrl::Redis(url) => {
            let reader = Reader { files, mistakes };
            StoreKind::Redis(Arc::new(reader.redis(*url, keys, &written.store_tls)?))
        }
    };
    Some(StoreSettings { kind, bytes_max: keys.max_bytes().value.0, has_secret_file })
}

/// Reads files, and tells of those that are not what they should be.
struct Reader<'a> {
    files: &'a mut Files,
    mistakes: &'a mut Mistakes,
}

type Path = Option<Located<FilePath>>;

/// A mistake was made, and has been told.
struct Told;

impl Reader<'_> {
    fn redis(
        mut self,
        url: RedisUrl,
        keys: &StoreKeys,
        tls: &StoreTlsKeys,
    ) -> Option<RedisOptions> {
        // Every file that is named is read: each may be a mistake.
        let password = self.text("password_file", &keys.password_file);
        let seal_keys = self.seal_keys(&keys.seal_key_file);
        let ca = self.file("ca_file", &tls.ca_file);
        let certificate = self.file("cert_file", &tls.cert_file);
        let key = self.file("key_file", &tls.key_file);
        let (certificate, key) = (certificate.ok()?, key.ok()?);
        let identity =
            certificate.zip(key).map(|(certificate, key)| RedisIdentity { certificate, key });
        let user = url.user.clone();
        let password = password.ok()?;
        let login = password.map(|password| Login { user, password: Password::new(password) });
        Some(RedisOptions {
            url,
            namespace: keys
                .namespace
                .as_ref()
                .map(|words| words.value.as_str().to_owned())
                .unwrap_or_default(),
            login,
            tls: RedisTls { ca: ca.ok()?, identity },
            timeout: keys.timeout().value,
            lease: keys.lease().value,
            front_bytes_max: keys.max_bytes().value.0,
            seal_keys: seal_keys.ok()?.map(Arc::new),
            ..RedisOptions::default()
        })
    }

    fn seal_keys(&mut self, path: &Path) -> Result<Option<SealKeys>, Told> {
        let Some(text) = self.text("seal_key_file", path)? else { return Ok(None) };
        match SealKeys::parse(&text) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) => {
                let place = path.as_ref().map(|path| path.place).unwrap_or_default();
                Err(self.tell(Mistake::new(place, "seal_key_file", error.to_string())))
            }
        }
    }

    /// What a file has, if it is named.
    fn file(&mut self, key: &str, path: &Path) -> Result<Option<Vec<u8>>, Told> {
        let Some(path) = path else { return Ok(None) };
        contents(key, path, self.files, self.mistakes).map(Some).ok_or(Told)
    }

    /// The text of a file without the newline at its end, if it is named.
    fn text(&mut self, key: &str, path: &Path) -> Result<Option<String>, Told> {
        let Some(contents) = self.file(key, path)? else { return Ok(None) };
        match String::from_utf8(without_newline(&contents).to_vec()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                let place = path.as_ref().map(|path| path.place).unwrap_or_default();
                Err(self.tell(Mistake::new(place, key, "the file is not UTF-8")))
            }
        }
    }

    fn tell(&mut self, mistake: Mistake) -> Told {
        self.mistakes.add(mistake);
        Told
    }
}

/// The secret that a file has, if one is named.
pub(super) fn secret(
    keys: &StoreKeys,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<Secret> {
    let path = keys.secret_file.as_ref()?;
    let contents = contents("secret_file", path, files, mistakes)?;
    let secret = secret_of(&contents);
    if secret.is_none() {
        mistakes.add(too_short(path.place, &contents));
    }
    secret
}

/// The secret that the contents of a file make, if they are enough.
fn secret_of(contents: &[u8]) -> Option<Secret> {
    let contents = without_newline(contents);
    let enough = contents.len() >= SECRET_BYTES_MIN;
    enough.then(|| Secret::from_bytes(blake3::derive_key(SECRET_CONTEXT, contents)))
}

fn too_short(place: Place, contents: &[u8]) -> Mistake {
    let text = format!(
        "the file has {} bytes, and a secret needs at least {SECRET_BYTES_MIN}; \
         `head -c 32 /dev/urandom` makes one",
        without_newline(contents).len()
    );
    Mistake::new(place, "secret_file", text)
}
