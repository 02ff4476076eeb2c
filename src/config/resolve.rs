//! From what was written to what is used: all but the routes, of which a policy is made.

use std::sync::{Arc, OnceLock};
use std::thread;

use super::files::Files;
use super::keys::{JwtKeys, LimitKeys, TopKeys};
use super::kinds::{FilePath, Words};
use super::mistake::{Located, Mistake, Mistakes, Place};
use super::places::AdminAddress;
use super::routes::{Shared, policy};
use super::setting::Several;
use super::settings::{AdminAccess, Limits, LogSettings, Settings, UpstreamSettings};
use super::units::Bytes;
use super::written::Written;
use super::{store, tls};
use crate::admin::{AdminSettings, AdminToken};
use crate::idempotency::Secret;
use crate::policy::{TokenKeys, TokenOptions, TokenVerifier};
use crate::upstream::Protocol;

/// What follows from all that was written, or nothing if there is no upstream. Where no file has a
/// secret, it is the one that is given.
pub(super) fn resolve(
    written: &Written,
    secret: &Secret,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<Settings> {
    let Written { top, telemetry, .. } = written;
    let own = store::secret(&written.store, files, mistakes);
    let secret = own.clone().unwrap_or_else(|| secret.clone());
    let store = store::settings(written, own.is_some(), files, mistakes);
    let verifier = verifier(&written.jwt, files, mistakes).map(Arc::new);
    let tls = tls::server(&written.tls, files, mistakes);
    let upstream = upstream(written, files, mistakes)?;
    let on_store_error = written.store.on_error().value;
    let shared = Shared { secret: &secret, verifier, upstream: &upstream, on_store_error };
    let policy = Arc::new(policy(written, &shared));
    Some(Settings {
        listen: values(top.listen().value).collect(),
        admin: admin(top, files, mistakes),
        tls,
        client_certificate: written
            .tls
            .client_ca_file
            .as_ref()
            .map(|_| written.tls.client_auth().value),
        proxy_protocol: top.proxy_protocol().value,
        trusted: values(top.trusted_hops().value).collect(),
        workers: top.workers.map_or_else(cpus, |workers| workers.value),
        drain_timeout: top.drain_timeout().value,
        access_log: telemetry.access_log().value,
        log: LogSettings {
            format: telemetry.log_format().value,
            level: telemetry.log_level().value.into(),
        },
        upstream,
        policy,
        secret,
        store: store?,
        limits: limits(&written.limits),
    })
}

fn admin(top: &TopKeys, files: &mut Files, mistakes: &mut Mistakes) -> AdminSettings {
    let AdminAccess { address, token } = admin_access(top, files, mistakes);
    let token = token.as_deref().and_then(AdminToken::from_bytes);
    AdminSettings { address, token, shows_answers: top.show_answers().value }
}

/// How an instance is looked after by whoever has the same settings.
pub(super) fn admin_access(
    top: &TopKeys,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> AdminAccess {
    let token = top.admin_token_file.as_ref().and_then(|path| {
        let contents = contents("admin_token_file", path, files, mistakes)?;
        let token = without_newline(&contents);
        if AdminToken::from_bytes(token).is_none() {
            let text = format!(
                "the file holds no token: that is {} to {} visible ASCII characters, such as \
                 `head -c 32 /dev/urandom | base64` makes",
                AdminToken::LENGTH_MIN,
                AdminToken::LENGTH_MAX
            );
            mistakes.add(Mistake::new(path.place, "admin_token_file", text));
            return None;
        }
        Some(token.to_vec())
    });
    let address = match top.admin().value {
        AdminAddress::Off => None,
        AdminAddress::At(address) => Some(address),
    };
    AdminAccess { address, token }
}

/// The CPUs that there were when it was first asked: a later look may find others, and that is no
/// change of settings.
fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

fn values<T>(several: Several<T>) -> impl Iterator<Item = T> {
    several.0.into_iter().map(|one| one.value)
}

fn upstream(
    written: &Written,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<UpstreamSettings> {
    let keys = &written.upstream;
    let url = keys.url.clone()?;
    let tls = tls::client(&written.upstream_tls, &url, files, mistakes);
    Some(UpstreamSettings {
        endpoint: url.value,
        protocol: match keys.http2().value {
            true => Protocol::Http2,
            false => Protocol::Http1,
        },
        tls,
        timeout: keys.timeout().value,
        linger: keys.linger().value,
        connect_timeout: keys.connect_timeout().value,
        idle_timeout: keys.idle_timeout().value,
    })
}

/// A text without the newline that editors write at its end. Bytes that are no text stay as they
/// are: one in 256 random ones ends like that.
pub(super) fn without_newline(contents: &[u8]) -> &[u8] {
    let text = contents.strip_suffix(b"\n").unwrap_or(contents);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let is_text = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if is_text { text } else { contents }
}

/// What verifies tokens, if any are looked at.
fn verifier(keys: &JwtKeys, files: &mut Files, mistakes: &mut Mistakes) -> Option<TokenVerifier> {
    let ((key, place), token_keys) = token_keys(keys, files, mistakes)?;
    let text = |words: &Option<Located<Words>>| {
        words.as_ref().map(|words| words.value.as_str().to_owned())
    };
    let options = TokenOptions {
        header: keys.header().value,
        issuer: text(&keys.issuer),
        audience: text(&keys.audience),
    };
    let verifier = TokenVerifier::new(options, &token_keys);
    verifier.map_err(|error| mistakes.add(Mistake::new(place, key, error.to_string()))).ok()
}

/// The keys that verify tokens and where they are named, if that is clear. Every file that is
/// named is read: each may be a mistake.
fn token_keys(
    keys: &JwtKeys,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<((&'static str, Place), TokenKeys)> {
    let mut read = |key, path: &Option<Located<FilePath>>| {
        let path = path.as_ref()?;
        Some(((key, path.place), contents(key, path, files, mistakes)?))
    };
    let secret = read("secret_file", &keys.secret_file);
    let public_key = read("public_key_file", &keys.public_key_file);
    let key_set = read("jwks_file", &keys.jwks_file);
    let algorithm = keys.algorithm.map(|algorithm| algorithm.value);
    Some(match (secret, public_key, key_set) {
        (Some((place, secret)), None, None) => {
            (place, TokenKeys::Single(algorithm?, without_newline(&secret).to_vec()))
        }
        (None, Some((place, key)), None) => (place, TokenKeys::Single(algorithm?, key)),
        (None, None, Some((place, keys))) => {
            (place, TokenKeys::Jwks(String::from_utf8_lossy(&keys).into_owned()))
        }
        (None, None, None) if keys.trusted().value => {
            (("trusted", keys.place.unwrap_or_default()), TokenKeys::Trusted)
        }
        _ => return None,
    })
}

pub(super) fn contents(
    key: &str,
    path: &Located<FilePath>,
    files: &mut Files,
    mistakes: &mut Mistakes,
) -> Option<Vec<u8>> {
    files.read(key, path).map_err(|mistake| mistakes.add(mistake)).ok()
}

fn limits(keys: &LimitKeys) -> Limits {
    Limits {
        connections_max: keys.max_connections().value,
        flights_max: keys.max_flights().value,
        waiters_max: keys.max_waiters().value,
        waiters_per_key_max: keys.max_waiters_per_key().value,
        buffered_bytes_max: keys.max_buffered().value.as_usize(),
        header_timeout: keys.header_timeout().value,
        keep_alive_timeout: keys.keep_alive_timeout().value,
        body_timeout: keys.body_timeout().value,
        body_rate_min: keys.min_body_rate().value.0,
        write_timeout: keys.write_timeout().value,
        header_bytes_max: keys.max_header_bytes().value.as_usize(),
        headers_max: keys.max_headers().value,
        target_bytes_max: keys.max_target_bytes().value.as_usize(),
        streams_max: keys.max_streams().value,
        stream_window: window(keys.stream_window().value),
        connection_window: window(keys.connection_window().value),
        pending_resets_max: keys.max_pending_resets().value,
        ping_interval: keys.ping_interval().value,
        ping_timeout: keys.ping_timeout().value,
        handshake_timeout: keys.handshake_timeout().value,
        handshakes_max: keys.max_handshakes().value,
    }
}

/// A window; one that is too large has been told as a mistake.
fn window(bytes: Bytes) -> u32 {
    u32::try_from(bytes.0).unwrap_or(u32::MAX)
}
