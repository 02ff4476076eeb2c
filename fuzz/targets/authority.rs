//! Hosts: one spelling for each, nothing that is not one, and no request that names two.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderValue, Uri, Version, header};
use oncegate::message::{Authority, AuthorityError, Scheme};

/// Takes the input first as the value of a Host field; then, line by line, as the target and the
/// Host fields of a request.
pub fn run(data: &[u8]) {
    for scheme in [Scheme::Http, Scheme::Https] {
        match Authority::parse(data, scheme) {
            Ok(authority) => accepted(data, &authority, scheme),
            Err(error) => {
                assert_eq!(error, AuthorityError::Malformed);
                assert!(!is_plain(data));
                assert_eq!(canonical(&data.to_ascii_uppercase(), scheme), None);
            }
        }
    }
    let mut lines = data.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let hosts = lines.filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok());
    if let Ok(uri) = Uri::try_from(target) {
        request(&uri, &hosts.take(3).collect::<Vec<_>>());
    }
}

fn accepted(value: &[u8], authority: &Authority<'_>, scheme: Scheme) {
    let (found, (name, meant)) = (authority.as_str(), authority.host_and_port());
    let canonical = |value: &[u8]| canonical(value, scheme);
    let same = |spelling: &str| assert_eq!(canonical(spelling.as_bytes()).as_deref(), Some(found));
    same(&format!("{name}:{meant}"));
    assert!(value.is_ascii() && !value.iter().any(|byte| b"@/?#,\\\"<> \t".contains(byte)));
    assert!(!found.is_empty() && !found.bytes().any(|byte| byte.is_ascii_uppercase()));
    same(found);
    same(&found.to_ascii_uppercase());
    assert_eq!(canonical(&value.to_ascii_uppercase()).as_deref(), Some(found));
    let bracketed = found.ends_with(']') && found.starts_with('[');
    match found.rsplit_once(':').filter(|_| !bracketed) {
        None => {
            assert_eq!((name, meant), (found, scheme.port()));
            same(&format!("{found}:{meant}"));
            same(&format!("{found}:"));
            let other = format!("{found}:8080");
            assert_eq!(canonical(other.as_bytes()), Some(other));
            if !bracketed {
                same(&format!("{found}."));
                same(&format!("{found}.:{meant}"));
            }
        }
        Some((host, port)) => {
            assert_eq!((name, port.parse()), (host, Ok(meant)));
            assert!(meant != scheme.port() && port.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(canonical(host.as_bytes()).as_deref(), Some(host));
            if !host.ends_with(']') {
                same(&format!("{host}.:{port}"));
            }
        }
    }
}

fn request(uri: &Uri, hosts: &[HeaderValue]) {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(header::HOST, host.clone());
    }
    let versions = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    let schemes = [Scheme::Http, Scheme::Https];
    for (version, scheme) in versions.into_iter().flat_map(|one| schemes.map(|two| (one, two))) {
        let target = uri.authority().map(|target| canonical(target.as_str().as_bytes(), scheme));
        let host = hosts.first().map(|host| canonical(host.as_bytes(), scheme));
        let found = Authority::of(uri, &headers, version, scheme);
        let found = found.map(|authority| authority.as_str().to_owned());
        match (&host, &target) {
            _ if hosts.len() > 1 => assert!(found.is_err()),
            (Some(None), _) | (_, Some(None)) => {
                assert_eq!(found, Err(AuthorityError::Malformed));
            }
            (Some(Some(host)), Some(Some(target))) if host != target => {
                assert_eq!(found, Err(AuthorityError::Mismatch));
            }
            (Some(Some(host)), _) => assert_eq!(found.as_ref(), Ok(host)),
            (None, _) if version == Version::HTTP_11 => {
                assert_eq!(found, Err(AuthorityError::Missing));
            }
            (None, Some(Some(target))) => assert_eq!(found.as_ref(), Ok(target)),
            (None, None) if version == Version::HTTP_2 => {
                assert_eq!(found, Err(AuthorityError::Missing));
            }
            (None, None) => assert_eq!(found.as_deref(), Ok("")),
        }
    }
}

fn canonical(value: &[u8], scheme: Scheme) -> Option<String> {
    Authority::parse(value, scheme).ok().map(|authority| authority.as_str().to_owned())
}

/// Whether the value is beyond doubt a host with an optional port.
fn is_plain(value: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(value) else { return false };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if is_port(port) && !port.is_empty() => (host, port),
        _ => (text, ""),
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return is_port(port) && inner.parse::<Ipv6Addr>().is_ok();
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_letter);
    host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}
