//! Where the servers are, as one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::options::Password;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The most nodes that a URL names.
const NODES_MAX: usize = 64;

/// The most replicas that a claim waits for.
const REPLICAS_MAX: u32 = 16;

/// How long a claim waits for replicas, where the URL does not say.
const REPLICAS_TIMEOUT: Duration = Duration::from_millis(50);

/// The longest that a claim may wait for replicas.
const REPLICAS_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Where the servers are, and who asks.
///
/// `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, and the same with `rediss` (TLS), `valkey` and
/// `valkeys`; with `+cluster` and several nodes, `+sentinel` and the name of the primary before the
/// database, or `+unix` and a path. `?wait=K` lets a claim count only after K replicas have it, and
/// `&wait_timeout=50ms` says how long it waits for them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedisUrl {
    /// How the servers stand together.
    pub topology: Topology,
    /// How connections are protected.
    pub security: Security,
    /// Who asks; the server's default user if not given.
    pub user: Option<String>,
    /// What proves it.
    pub password: Option<Password>,
    /// The number of the database.
    pub database: u16,
    /// What a claim waits for.
    pub replicas: Option<Replicas>,
}

/// How the servers stand together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Topology {
    /// One server.
    Single(Node),
    /// One server, behind a Unix socket at this path.
    Unix(PathBuf),
    /// A primary that Sentinels know.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<Node>,
        /// What they call the primary.
        primary: String,
    },
    /// A cluster, of which these nodes are some.
    Cluster(Vec<Node>),
}

/// A host and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// A name or an address.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

/// How connections are protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By TLS.
    Tls,
}

/// The replicas that a claim must reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Replicas {
    /// How many.
    pub count: u32,
    /// How long the claim waits for them.
    pub timeout: Duration,
}

/// Why a text is not the URL of a store; it never shows the text, which may hold a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RedisUrlError {
    /// It begins with something else.
    #[error(
        "the URL begins with redis://, rediss://, valkey:// or valkeys://, with +sentinel, \
         +cluster or +unix before the colon"
    )]
    Scheme,
    /// TLS and a Unix socket exclude each other.
    #[error("there is no TLS on a Unix socket")]
    UnixTls,
    /// There is no host.
    #[error("a node is HOST or HOST:PORT, with an IPv6 address in brackets")]
    Node,
    /// Several nodes stand where one belongs.
    #[error("only +sentinel and +cluster URLs have several nodes")]
    OneNode,
    /// Too many nodes stand there.
    #[error("a URL may have {NODES_MAX} nodes at most")]
    TooManyNodes,
    /// A port is no number.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// The Unix socket has no path.
    #[error("the path of a Unix socket begins with /")]
    Path,
    /// The name of the primary is missing.
    #[error("after the Sentinels comes /NAME, the name of their primary")]
    Primary,
    /// The database is no number.
    #[error("a database is a number from 0 to 65535")]
    Database,
    /// A cluster has no databases.
    #[error("a cluster has only the database 0")]
    ClusterDatabase,
    /// `%` is not followed by two hexadecimal digits.
    #[error("% is followed by two hexadecimal digits, and what they say is UTF-8")]
    Escape,
    /// It asks for what there is not.
    #[error(
        "after ? come only wait=NUMBER, wait_timeout=TIME and, with +unix, db=NUMBER; once each"
    )]
    Query,
    /// The number of replicas is out of range.
    #[error("wait is a number of replicas from 1 to {REPLICAS_MAX}")]
    Wait,
    /// The time to wait is out of range.
    #[error("wait_timeout is a time from 1ms to 10s, and needs wait")]
    WaitTimeout,
    /// Acknowledgements can't be asked for in a cluster.
    #[error("wait is not possible in a cluster: set min-replicas-to-write on its nodes")]
    ClusterWait,
    /// There is a fragment.
    #[error("a # has to be written as %23")]
    Fragment,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Form {
    Single,
    Unix,
    Sentinel,
    Cluster,
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (security, form) = parse_scheme(scheme)?;
        if rest.contains('#') {
            return Err(RedisUrlError::Fragment);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, nodes) = match authority.rsplit_once('@') {
            Some((user, nodes)) => (user, nodes),
            None => ("", authority),
        };
        let (user, password) = parse_user(user)?;
        let query = Query::parse(query, form)?;
        let path_database = |path: &str| match path.trim_start_matches('/') {
            "" => Ok(0),
            number => parse_database(number),
        };
        let (topology, database) = match form {
            Form::Single => {
                let nodes = parse_nodes(nodes, PORT)?;
                let [node] = <[Node; 1]>::try_from(nodes).map_err(|_| RedisUrlError::OneNode)?;
                (Topology::Single(node), path_database(path)?)
            }
            Form::Unix if path.len() > 1 && nodes.is_empty() => {
                (Topology::Unix(decode(path)?.into()), query.database.unwrap_or(0))
            }
            Form::Unix => return Err(RedisUrlError::Path),
            Form::Sentinel => {
                let sentinels = parse_nodes(nodes, SENTINEL_PORT)?;
                let path = path.strip_prefix('/').unwrap_or("");
                let (primary, database) = path.split_once('/').unwrap_or((path, ""));
                let primary = decode(primary)?;
                if primary.is_empty() {
                    return Err(RedisUrlError::Primary);
                }
                (Topology::Sentinel { sentinels, primary }, path_database(database)?)
            }
            Form::Cluster if path_database(path)? != 0 => {
                return Err(RedisUrlError::ClusterDatabase);
            }
            Form::Cluster => (Topology::Cluster(parse_nodes(nodes, PORT)?), 0),
        };
        Ok(Self { topology, security, user, password, database, replicas: query.replicas })
    }
}

impl Topology {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl fmt::Display for RedisUrl {
    /// The servers, without the user and the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes =
            |nodes: &[Node]| nodes.iter().map(Node::to_string).collect::<Vec<_>>().join(",");
        match &self.topology {
            Topology::Single(node) => node.fmt(f),
            Topology::Unix(path) => path.display().fmt(f),
            Topology::Sentinel { sentinels, primary } => {
                write!(f, "{primary} of {}", nodes(sentinels))
            }
            Topology::Cluster(members) => f.write_str(&nodes(members)),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

#[derive(Default)]
struct Query {
    replicas: Option<Replicas>,
    database: Option<u16>,
}

impl Query {
    fn parse(text: &str, form: Form) -> Result<Self, RedisUrlError> {
        let (mut wait, mut timeout, mut database) = (None, None, None);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(RedisUrlError::Query)?;
            let place = match name {
                "wait" => &mut wait,
                "wait_timeout" => &mut timeout,
                "db" if form == Form::Unix => &mut database,
                _ => return Err(RedisUrlError::Query),
            };
            if place.replace(value).is_some() {
                return Err(RedisUrlError::Query);
            }
        }
        if wait.is_some() && form == Form::Cluster {
            return Err(RedisUrlError::ClusterWait);
        }
        let count = wait.map(str::parse::<u32>).transpose().map_err(|_| RedisUrlError::Wait)?;
        if count.is_some_and(|count| count == 0 || count > REPLICAS_MAX) {
            return Err(RedisUrlError::Wait);
        }
        let timeout = timeout.map(parse_timeout).transpose()?;
        let replicas = match (count, timeout) {
            (Some(count), timeout) => {
                Some(Replicas { count, timeout: timeout.unwrap_or(REPLICAS_TIMEOUT) })
            }
            (None, Some(_)) => return Err(RedisUrlError::WaitTimeout),
            (None, None) => None,
        };
        Ok(Self { replicas, database: database.map(parse_database).transpose()? })
    }
}

fn parse_scheme(scheme: &str) -> Result<(Security, Form), RedisUrlError> {
    let (base, form) = scheme.split_once('+').unwrap_or((scheme, ""));
    let security = match base {
        "redis" | "valkey" => Security::Plain,
        "rediss" | "valkeys" => Security::Tls,
        _ => return Err(RedisUrlError::Scheme),
    };
    let form = match form {
        "" if !scheme.contains('+') => Form::Single,
        "unix" if security == Security::Tls => return Err(RedisUrlError::UnixTls),
        "unix" => Form::Unix,
        "sentinel" => Form::Sentinel,
        "cluster" => Form::Cluster,
        _ => return Err(RedisUrlError::Scheme),
    };
    Ok((security, form))
}

fn parse_user(text: &str) -> Result<(Option<String>, Option<Password>), RedisUrlError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(Password::new(decode(password)?))),
        None => (text, None),
    };
    let user = decode(user)?;
    Ok((Some(user).filter(|user| !user.is_empty()), password))
}

fn parse_nodes(text: &str, port: u16) -> Result<Vec<Node>, RedisUrlError> {
    let nodes: Vec<_> = text
        .split(',')
        .take(NODES_MAX + 1)
        .map(|node| parse_node(node, port))
        .collect::<Result<_, _>>()?;
    match nodes.len() > NODES_MAX {
        true => Err(RedisUrlError::TooManyNodes),
        false => Ok(nodes),
    }
}

fn parse_node(text: &str, port: u16) -> Result<Node, RedisUrlError> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(RedisUrlError::Node)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| RedisUrlError::Node)?;
            (host, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(RedisUrlError::Port)?,
        None if rest.is_empty() => port,
        None => return Err(RedisUrlError::Node),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(fits) {
        return Err(RedisUrlError::Node);
    }
    Ok(Node { host: host.to_owned(), port })
}

fn parse_database(text: &str) -> Result<u16, RedisUrlError> {
    text.parse().map_err(|_| RedisUrlError::Database)
}

fn parse_timeout(text: &str) -> Result<Duration, RedisUrlError> {
    let timeout = humantime::parse_duration(text).map_err(|_| RedisUrlError::WaitTimeout)?;
    match (Duration::from_millis(1)..=REPLICAS_TIMEOUT_MAX).contains(&timeout) {
        true => Ok(timeout),
        false => Err(RedisUrlError::WaitTimeout),
    }
}

/// Reads `%XX`.
fn decode(text: &str) -> Result<String, RedisUrlError> {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or("").as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(RedisUrlError::Escape)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(RedisUrlError::Escape);
        }
        decoded.push(u8::from_str_radix(digits, 16).map_err(|_| RedisUrlError::Escape)?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).map_err(|_| RedisUrlError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> RedisUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    #[test]
    fn every_form_is_read() {
        for (text, topology, security, database) in [
            ("redis://db", Topology::Single(node("db", 6379)), Security::Plain, 0),
            ("valkey://db:1/2", Topology::Single(node("db", 1)), Security::Plain, 2),
            ("rediss://[::1]:7/", Topology::Single(node("::1", 7)), Security::Tls, 0),
            ("valkeys://10.0.0.1", Topology::Single(node("10.0.0.1", 6379)), Security::Tls, 0),
            ("redis+unix:///run/a%20b?db=3", Topology::Unix("/run/a b".into()), Security::Plain, 3),
            (
                "rediss+cluster://a:1,b",
                Topology::Cluster(vec![node("a", 1), node("b", 6379)]),
                Security::Tls,
                0,
            ),
            (
                "redis+sentinel://a:1,b/main/4",
                Topology::Sentinel {
                    sentinels: vec![node("a", 1), node("b", 26379)],
                    primary: "main".into(),
                },
                Security::Plain,
                4,
            ),
        ] {
            let url = parse(text);
            assert_eq!((url.topology, url.security, url.database), (topology, security, database));
        }
    }

    #[test]
    fn users_and_passwords_are_read_and_never_shown() {
        let url = parse("redis://me:s%40cret@db");
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password, Some(Password::new("s@cret".into())));
        assert!(!format!("{url:?} {url}").contains("cret"), "{url:?}");
        let url = parse("redis://:secret@db");
        assert_eq!(
            (url.user.is_none(), url.password),
            (true, Some(Password::new("secret".into())))
        );
    }

    #[test]
    fn waiting_for_replicas_is_read() {
        let wait = |count, millis| Some(Replicas { count, timeout: Duration::from_millis(millis) });
        assert_eq!(parse("redis://db?wait=2").replicas, wait(2, 50));
        assert_eq!(parse("redis://db/1?wait_timeout=1s&wait=1").replicas, wait(1, 1000));
        assert_eq!(parse("redis://db").replicas, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("", RedisUrlError::Scheme),
            ("http://db", RedisUrlError::Scheme),
            ("redis+://db", RedisUrlError::Scheme),
            ("redis+other://db", RedisUrlError::Scheme),
            ("rediss+unix:///a", RedisUrlError::UnixTls),
            ("redis://", RedisUrlError::Node),
            ("redis://a b", RedisUrlError::Node),
            ("redis://[::1", RedisUrlError::Node),
            ("redis://[a]:1", RedisUrlError::Node),
            ("redis://[::1]1", RedisUrlError::Node),
            ("redis+cluster://a,,b", RedisUrlError::Node),
            ("redis://a,b", RedisUrlError::OneNode),
            ("redis://a:0", RedisUrlError::Port),
            ("redis://a:65536", RedisUrlError::Port),
            ("redis+unix://", RedisUrlError::Path),
            ("redis+unix:///", RedisUrlError::Path),
            ("redis+unix://a/b", RedisUrlError::Path),
            ("redis+sentinel://a", RedisUrlError::Primary),
            ("redis+sentinel://a//1", RedisUrlError::Primary),
            ("redis://a/one", RedisUrlError::Database),
            ("redis+sentinel://a/b/c", RedisUrlError::Database),
            ("redis+cluster://a/1", RedisUrlError::ClusterDatabase),
            ("redis://a%4@b", RedisUrlError::Escape),
            ("redis://a%+1@b", RedisUrlError::Escape),
            ("redis://a%ff@b", RedisUrlError::Escape),
            ("redis://a?db=1", RedisUrlError::Query),
            ("redis://a?wait", RedisUrlError::Query),
            ("redis://a?wait=1&wait=1", RedisUrlError::Query),
            ("redis://a?wait=0", RedisUrlError::Wait),
            ("redis://a?wait=17", RedisUrlError::Wait),
            ("redis://a?wait_timeout=1s", RedisUrlError::WaitTimeout),
            ("redis://a?wait=1&wait_timeout=50", RedisUrlError::WaitTimeout),
            ("redis://a?wait=1&wait_timeout=1m", RedisUrlError::WaitTimeout),
            ("redis+cluster://a?wait=1", RedisUrlError::ClusterWait),
            ("redis://a:se#cret@b", RedisUrlError::Fragment),
        ] {
            assert_eq!(text.parse::<RedisUrl>(), Err(error), "{text}");
        }
        let many = format!("redis+cluster://{}", vec!["a"; 65].join(","));
        assert_eq!(many.parse::<RedisUrl>(), Err(RedisUrlError::TooManyNodes));
    }
}
