//! Patterns of hosts: `api.example`, `api.example:8443` and `*.example`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::message::Scheme;

/// A pattern of hosts, which it compares with a canonical [`Authority`](crate::message::Authority).
///
/// A port is the one that a request means: with TLS, `api.example:443` is also a request's host
/// that names no port, and without it `api.example:80`. Of two patterns that match the same host,
/// one always covers the other.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPattern {
    pub(super) name: Box<str>,
    pub(super) reach: Reach,
}

/// How much a pattern takes in under its name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reach {
    /// Every port of the host.
    Ports,
    /// One port of the host.
    Port(u16),
    /// Every host below the name, but not the name itself, and every port there.
    Subdomains,
}

/// Why a text is not a pattern of hosts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostError {
    /// It has no name.
    #[error("a host has a name, as in \"api.example\", and {0:?} has none")]
    NoName(String),
    /// It is more than a host.
    #[error(
        "a host stands without scheme, user and path, as in \"api.example\"; this one is {0:?}"
    )]
    NotOnlyHost(String),
    /// It is a star.
    #[error("\"*\" would be every host: leave the host out for that")]
    Every,
    /// A star stands elsewhere than in place of all that is before a name.
    #[error("`*` stands for whole labels at the beginning, as in \"*.example\"; this one is {0:?}")]
    BadStar(String),
    /// A port follows a pattern with a star.
    #[error("\"*.{0}\" takes every port, so no port may follow")]
    StarWithPort(String),
    /// What follows the colon is not a port.
    #[error("a port is a number from 1 to 65535, and this one is {0:?}")]
    BadPort(String),
    /// There are several colons outside of brackets.
    #[error("an IPv6 address stands in brackets, as in \"[::1]:8443\"; this one is {0:?}")]
    NoBrackets(String),
    /// There is no IPv6 address in the brackets.
    #[error("only an IPv6 address stands in brackets, as in \"[::1]:8443\"; this one is {0:?}")]
    BadAddress(String),
    /// Two dots have nothing between them, or the first has nothing before it.
    #[error("each dot of a host stands between two labels, and that is not so in {0:?}")]
    EmptyLabel(String),
    /// It holds a character that no host name has.
    #[error(
        "a host holds ASCII letters, digits, `-`, `_` and `.`, and names in other scripts in their \
         `xn--` spelling; this one holds {0:?}"
    )]
    BadCharacter(char),
    /// It is longer than any host name.
    #[error(
        "a host has at most {max} characters, and this one has {0}",
        max = HostPattern::NAME_MAX
    )]
    TooLong(usize),
}

impl HostPattern {
    /// The longest name, in characters.
    pub const NAME_MAX: usize = 253;

    /// Whether a canonical host with this port is one of the pattern's.
    pub fn matches(&self, (host, port): (&str, u16)) -> bool {
        match self.reach {
            Reach::Ports => host == &*self.name,
            Reach::Port(own) => port == own && host == &*self.name,
            Reach::Subdomains => is_below(host, &self.name),
        }
    }

    /// Whether every host of the other pattern is one of this one's.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.reach, other.reach) {
            (Reach::Subdomains, Reach::Subdomains) if self.name == other.name => true,
            (Reach::Subdomains, _) => is_below(&other.name, &self.name),
            (Reach::Ports, Reach::Ports | Reach::Port(_)) => self.name == other.name,
            (Reach::Port(port), Reach::Port(others)) => port == others && self.name == other.name,
            (Reach::Ports | Reach::Port(_), _) => false,
        }
    }

    /// Canonical authorities of requests over plain text that both patterns match, and as few
    /// others as can be: every pattern that matches the last of them matches all that these two
    /// have in common. TLS only means other ports by the same spelling.
    ///
    /// The narrower of the two is what they have in common. A port that it leaves open is 0 in the
    /// last example, which no pattern can name, and a label that it leaves open is `*`, which no
    /// pattern can have but as a star. Both may stand in an authority. The same host without a
    /// port comes first, as the one that reads better where it shows as much.
    pub fn witness(&self, other: &Self) -> Vec<String> {
        let narrower = match (self.covers(other), other.covers(self)) {
            (true, _) => other,
            (false, true) => self,
            (false, false) => return Vec::new(),
        };
        match narrower.reach {
            Reach::Ports => vec![narrower.name.to_string(), format!("{}:0", narrower.name)],
            Reach::Port(_) => vec![narrower.to_authority()],
            Reach::Subdomains => vec![narrower.to_string()],
        }
    }

    /// The one canonical authority of a pattern with a port; else only its name.
    pub(super) fn to_authority(&self) -> String {
        match self.reach {
            Reach::Port(port) if port != Scheme::Http.port() => format!("{}:{port}", self.name),
            Reach::Port(_) | Reach::Ports | Reach::Subdomains => self.name.to_string(),
        }
    }
}

fn is_below(host: &str, name: &str) -> bool {
    let label = host.strip_suffix(name).and_then(|before| before.strip_suffix('.'));
    label.is_some_and(|label| !label.is_empty())
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.contains(['/', '@', '?', '#']) {
            return Err(HostError::NotOnlyHost(text.into()));
        }
        if text == "*" {
            return Err(HostError::Every);
        }
        let (name, port) = split(text)?;
        if let Some(domain) = name.strip_prefix("*.") {
            let name = parse_name(domain, text)?;
            return match port {
                Some(_) => Err(HostError::StarWithPort(name.into())),
                None => Ok(Self { name, reach: Reach::Subdomains }),
            };
        }
        let name = match name.starts_with('[') {
            true => name.to_ascii_lowercase().into(),
            false => parse_name(name, text)?,
        };
        Ok(Self {
            name,
            reach: port.map(parse_port).transpose()?.map_or(Reach::Ports, Reach::Port),
        })
    }
}

/// Splits a name or an address in brackets from its port.
fn split(text: &str) -> Result<(&str, Option<&str>), HostError> {
    let Some(bracketed) = text.strip_prefix('[') else {
        return match text.split_once(':') {
            Some((_, port)) if port.contains(':') => Err(HostError::NoBrackets(text.into())),
            Some((name, port)) => Ok((name, Some(port))),
            None => Ok((text, None)),
        };
    };
    let bad = || HostError::BadAddress(text.into());
    let (address, _) = bracketed.split_once(']').ok_or_else(bad)?;
    address.parse::<Ipv6Addr>().map_err(|_| bad())?;
    let (address, after) = text.split_at(address.len() + 2);
    match after.strip_prefix(':') {
        Some(port) => Ok((address, Some(port))),
        None if after.is_empty() => Ok((address, None)),
        None => Err(bad()),
    }
}

/// Reads a name, part of `text`, into its canonical spelling.
fn parse_name(name: &str, text: &str) -> Result<Box<str>, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::NoName(text.into()));
    }
    if name.contains('*') {
        return Err(HostError::BadStar(text.into()));
    }
    let is_good = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.');
    if let Some(bad) = name.chars().find(|found| !is_good(*found)) {
        return Err(HostError::BadCharacter(bad));
    }
    if name.split('.').any(str::is_empty) {
        return Err(HostError::EmptyLabel(text.into()));
    }
    match name.len() {
        length if length > HostPattern::NAME_MAX => Err(HostError::TooLong(length)),
        _ => Ok(name.to_ascii_lowercase().into()),
    }
}

/// Reads a port. Nobody listens on port 0, and [`HostPattern::witness`] needs it for itself.
fn parse_port(text: &str) -> Result<u16, HostError> {
    let bad = || HostError::BadPort(text.into());
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok().filter(|port| *port > 0).ok_or_else(bad),
        false => Err(bad()),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reach {
            Reach::Ports => f.write_str(&self.name),
            Reach::Port(port) => write!(f, "{}:{port}", self.name),
            Reach::Subdomains => write!(f, "*.{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Authority, host_and_port};

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    /// Checks with authorities as requests spell them.
    #[track_caller]
    fn check(text: &str, hosts: &[&str], others: &[&str]) {
        let pattern = pattern(text);
        let matches = |host: &str| {
            let authority = Authority::parse(host.as_bytes(), Scheme::Http).unwrap();
            pattern.matches(authority.host_and_port())
        };
        for host in hosts {
            assert!(matches(host), "{text} {host}");
        }
        for host in others {
            assert!(!matches(host), "{text} {host}");
        }
        assert!(!pattern.matches(("", 80)));
    }

    #[test]
    fn a_port_is_the_one_that_the_connection_means() {
        let matches = |text: &str, host: &str, scheme| {
            let authority = Authority::parse(host.as_bytes(), scheme).unwrap();
            pattern(text).matches(authority.host_and_port())
        };
        for (text, host, over_http, over_https) in [
            ("a:443", "a", false, true),
            ("a:443", "a:443", true, true),
            ("a:80", "a", true, false),
            ("a:80", "a:80", true, true),
            ("a:8443", "a:8443", true, true),
            ("a", "a:443", true, true),
            ("*.a", "b.a:443", true, true),
        ] {
            assert_eq!(matches(text, host, Scheme::Http), over_http, "{text} {host}");
            assert_eq!(matches(text, host, Scheme::Https), over_https, "{text} {host}");
        }
    }

    #[test]
    fn hosts_match_with_and_without_port() {
        check(
            "api.example",
            &["api.example", "API.Example.", "api.example:80", "api.example:8443"],
            &["example", "x.api.example", "api.example.org", "api.exampl", "[::1]"],
        );
        check(
            "api.example:8443",
            &["api.example:8443", "API.example:08443"],
            &["api.example", "api.example:844", "api.example:80", "x.api.example:8443"],
        );
        check("api.example:80", &["api.example", "api.example:80"], &["api.example:8080"]);
        check("[::1]", &["[::1]", "[::1]:80", "[::1]:8443"], &["[::]", "[0::1]", "[::1:80]"]);
        check("[::1]:8443", &["[::1]:8443"], &["[::1]", "[::1]:844"]);
        check("127.0.0.1:80", &["127.0.0.1"], &["127.0.0.1:81", "127.0.0.2"]);
    }

    #[test]
    fn a_star_takes_every_host_below() {
        check(
            "*.example",
            &["a.example", "a.b.example", "A.Example:8443", "a..example", "*.example"],
            &["example", "example:8443", ".example", "aexample", "a.example.org", "[::1]"],
        );
        check("*.b.example", &["a.b.example"], &["b.example", "b.b.example.b", "ab.example"]);
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_reason() {
        use HostError as E;
        let text = |text: &str| text.to_owned();
        for (host, expected) in [
            ("", E::NoName(text(""))),
            (":80", E::NoName(text(":80"))),
            (".", E::NoName(text("."))),
            ("*.", E::NoName(text("*."))),
            ("http://a", E::NotOnlyHost(text("http://a"))),
            ("a/b", E::NotOnlyHost(text("a/b"))),
            ("u@a", E::NotOnlyHost(text("u@a"))),
            ("*", E::Every),
            ("*a.example", E::BadStar(text("*a.example"))),
            ("a.*.example", E::BadStar(text("a.*.example"))),
            ("*.*.example", E::BadStar(text("*.*.example"))),
            ("*:80", E::BadStar(text("*:80"))),
            ("*.Example:80", E::StarWithPort(text("example"))),
            ("a:", E::BadPort(text(""))),
            ("a:0", E::BadPort(text("0"))),
            ("a:+1", E::BadPort(text("+1"))),
            ("a:65536", E::BadPort(text("65536"))),
            ("a:http", E::BadPort(text("http"))),
            ("::1", E::NoBrackets(text("::1"))),
            ("[::1", E::BadAddress(text("[::1"))),
            ("[::1]x", E::BadAddress(text("[::1]x"))),
            ("[127.0.0.1]", E::BadAddress(text("[127.0.0.1]"))),
            ("[::1]:x", E::BadPort(text("x"))),
            ("a..b", E::EmptyLabel(text("a..b"))),
            (".a", E::EmptyLabel(text(".a"))),
            ("a..", E::EmptyLabel(text("a.."))),
            ("a b", E::BadCharacter(' ')),
            ("bücher.example", E::BadCharacter('ü')),
            ("a,b", E::BadCharacter(',')),
            (&"a".repeat(254), E::TooLong(254)),
        ] {
            assert_eq!(host.parse::<HostPattern>(), Err(expected), "{host}");
        }
    }

    #[test]
    fn patterns_are_shown_in_one_spelling() {
        for (text, expected) in [
            ("api.example", "api.example"),
            ("API.example.", "api.example"),
            ("api.example:80", "api.example:80"),
            ("api.example.:08443", "api.example:8443"),
            ("*.Example", "*.example"),
            ("[::A]:80", "[::a]:80"),
        ] {
            assert_eq!(pattern(text).to_string(), expected);
            assert_eq!(pattern(expected), pattern(text));
        }
    }

    const PATTERNS: [&str; 13] = [
        "example",
        "example:80",
        "example:81",
        "a.example",
        "a.example:80",
        "a.example:81",
        "a.a.example",
        "ba.example",
        "*.example",
        "*.a.example",
        "*.ba.example",
        "[::1]",
        "[::1]:81",
    ];

    /// Every kind of authority that these patterns tell apart.
    fn authorities() -> Vec<String> {
        let hosts = ["example", "a.example", "a.a.example", "ba.example", "c.example"];
        let more = ["c.a.example", "c.ba.example", "c.a.a.example", "c", "[::1]"];
        let hosts = hosts.into_iter().chain(more);
        hosts.flat_map(|host| ["", ":81", ":82"].map(|port| format!("{host}{port}"))).collect()
    }

    #[test]
    fn covers_and_witness_are_those_of_the_sets() {
        let (patterns, authorities) = (PATTERNS.map(pattern), authorities());
        let is = |pattern: &HostPattern, found: &str| {
            pattern.matches(host_and_port(found, Scheme::Http))
        };
        for one in &patterns {
            for other in &patterns {
                let theirs = || authorities.iter().filter(|found| is(other, found));
                assert_eq!(one.covers(other), theirs().all(|found| is(one, found)));
                let witness = one.witness(other);
                let overlaps = theirs().any(|found| is(one, found));
                assert_eq!(witness.is_empty(), !overlaps, "{one} {other}");
                assert!(witness.iter().all(|found| is(one, found) && is(other, found)));
                let Some(last) = witness.last() else { continue };
                assert_eq!(Authority::parse(last.as_bytes(), Scheme::Http).unwrap().as_str(), last);
                for third in patterns.iter().filter(|third| is(third, last)) {
                    let mut shared = theirs().filter(|found| is(one, found));
                    assert!(shared.all(|found| is(third, found)), "{one} {other} {third}");
                }
            }
        }
    }
}
