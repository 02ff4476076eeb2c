//! What a Redis store can be told, and why it may not start.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::url::{Node, RedisUrl, Security, Topology};
use crate::store::seal::SealKeys;

/// The longest namespace, in bytes.
const NAMESPACE_BYTES_MAX: usize = 64;

/// What a Redis store can be told.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Where the servers are.
    pub url: RedisUrl,
    /// Sets apart what shares a server: up to 64 letters, digits, `-`, `_` and `.`; usually empty.
    pub namespace: String,
    /// Who asks, and what proves it, instead of what the URL says.
    pub login: Option<Login>,
    /// Who asks the Sentinels; nobody in particular if not given.
    pub sentinel_login: Option<Login>,
    /// What TLS needs, if the URL asks for TLS.
    pub tls: RedisTls,
    /// How long a call may take, with everything that it has to wait for.
    pub timeout: Duration,
    /// How long a claim counts without being renewed.
    pub lease: Duration,
    /// How many connections to a server all share; a cluster has one for each of its nodes. Claims
    /// that wait for replicas have as many of their own, and wait there one after the other. Each
    /// worker has one more of each kind for itself, if there is a single server, and once records
    /// are listed, there is one more for that.
    pub connections: usize,
    /// How many calls may be under way at a time; more are turned away.
    pub calls_max: usize,
    /// After how many calls in a row without an answer on one connection the store rests for a
    /// moment.
    pub failures_max: u32,
    /// The room for answers that this process has at hand, in bytes.
    pub front_bytes_max: u64,
    /// The largest record, in bytes.
    pub record_bytes_max: usize,
    /// Keys with which records are encrypted; they are not encrypted if there are none.
    pub seal_keys: Option<Arc<SealKeys>>,
    /// Whose time decides what has run out.
    pub time: RedisTime,
}

/// Whose time decides what has run out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RedisTime {
    /// The server's: the same for all replicas, whatever their clocks say.
    #[default]
    Server,
    /// This process's, for tests that move it. Replicas must then have the same time.
    Own,
}

/// Who asks, and what proves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The user; the server's default user if not given.
    pub user: Option<String>,
    /// The password.
    pub password: Password,
}

/// A password, which is never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

/// What TLS needs.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// The certificates that sign the servers', as PEM; the system's if not given.
    pub ca: Option<Vec<u8>>,
    /// What this process shows to a server that asks.
    pub identity: Option<RedisIdentity>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct RedisIdentity {
    /// The certificate, with those between it and its root.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// Why a Redis store can't be used as it is told to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RedisOpenError {
    /// The namespace has characters that keys and access lists give a meaning.
    #[error(
        "the namespace may have up to {NAMESPACE_BYTES_MAX} letters, digits, hyphens, underscores \
         and dots"
    )]
    Namespace,
    /// A number or a time is zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// A certificate or a key can't be read.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    /// The server is too old.
    #[error("the server is {0}; Redis 7.0 or Valkey 7.2 is the oldest that will do")]
    Version(String),
    /// The server drops records when it wants room.
    #[error("the server has maxmemory-policy {0}, which drops records; it must be noeviction")]
    Eviction(String),
    /// The server does not know the user, or the password is another.
    #[error("the server does not accept the user and the password: {0}")]
    Login(String),
    /// The user may not do what is needed.
    #[error("the user has not the right to {0}")]
    Permission(String),
    /// The server is a replica.
    #[error("the server is a replica, which takes no writes")]
    Replica,
    /// The server is not part of a cluster, or is part of one.
    #[error("{0}")]
    Topology(&'static str),
    /// The operating system gives no thread.
    #[error("the store's thread can't be started: {0}")]
    Thread(String),
}

impl RedisOptions {
    pub(super) fn check(&self) -> Result<(), RedisOpenError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.namespace.len() > NAMESPACE_BYTES_MAX || !self.namespace.bytes().all(fits) {
            return Err(RedisOpenError::Namespace);
        }
        for (name, is_zero) in [
            ("timeout", self.timeout.is_zero()),
            ("lease", self.lease.is_zero()),
            ("connections", self.connections == 0),
            ("calls_max", self.calls_max == 0),
            ("failures_max", self.failures_max == 0),
        ] {
            if is_zero {
                return Err(RedisOpenError::Zero(name));
            }
        }
        self.tls.check()
    }

    /// Who asks the servers.
    pub(super) fn user(&self) -> Option<&str> {
        match &self.login {
            Some(login) => login.user.as_deref(),
            None => self.url.user.as_deref(),
        }
    }

    /// What proves it.
    pub(super) fn password(&self) -> Option<&Password> {
        self.login.as_ref().map(|login| &login.password).or(self.url.password.as_ref())
    }
}

impl RedisTls {
    /// Reads everything once: what has nothing in it would be found out only when it is missed.
    fn check(&self) -> Result<(), RedisOpenError> {
        if let Some(ca) = &self.ca {
            check_certificates(ca, "the CA file")?;
        }
        if let Some(identity) = &self.identity {
            check_certificates(&identity.certificate, "the client's certificate file")?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key);
            let error = |error| RedisOpenError::Tls(format!("the client's key file: {error}"));
            key.map_err(error)?;
        }
        Ok(())
    }
}

fn check_certificates(pem: &[u8], place: &str) -> Result<(), RedisOpenError> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        certificate.map_err(|error| RedisOpenError::Tls(format!("{place}: {error}")))?;
        count += 1;
    }
    match count {
        0 => Err(RedisOpenError::Tls(format!("{place} has no certificate in it"))),
        _ => Ok(()),
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        let node = Node { host: "127.0.0.1".into(), port: 6379 };
        let url = RedisUrl {
            topology: Topology::Single(node),
            security: Security::Plain,
            user: None,
            password: None,
            database: 0,
            replicas: None,
        };
        Self {
            url,
            namespace: String::new(),
            login: None,
            sentinel_login: None,
            tls: RedisTls::default(),
            timeout: Duration::from_millis(250),
            lease: Duration::from_secs(15),
            connections: 2,
            calls_max: 4096,
            failures_max: 5,
            front_bytes_max: 64 << 20,
            record_bytes_max: 64 << 20,
            seal_keys: None,
            time: RedisTime::Server,
        }
    }
}

impl Password {
    /// A password.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisTls")
    }
}

impl fmt::Debug for RedisIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisIdentity")
    }
}
