//! Who may ask for what.
//!
//! A browser is a way in for every page that its user visits: a page can send requests to
//! loopback, and can have its own name resolved to loopback to read the answers. The first is seen
//! by `Origin` and `Sec-Fetch-Site`, the second by `Host`.

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use super::endpoint::{Endpoint, Protection};
use super::problem::AdminProblem;
use super::{AdminSettings, AdminToken};
use crate::message::{Authority, Scheme};
use crate::transport::Address;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where the listener can be reached from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    /// From this machine, by whatever runs there.
    Loopback,
    /// From this machine, by programs that open the file; no browser does.
    Socket,
    /// From elsewhere.
    Network,
}

impl Reach {
    fn of(address: Option<&Address>) -> Self {
        match address {
            Some(Address::Unix(_)) => Self::Socket,
            Some(Address::Tcp(address)) if address.ip().to_canonical().is_loopback() => {
                Self::Loopback
            }
            Some(Address::Tcp(_)) | None => Self::Network,
        }
    }
}

/// Lets a request in that may ask for this.
pub(super) fn admit(
    parts: &Parts,
    endpoint: Endpoint,
    settings: &AdminSettings,
) -> Result<(), AdminProblem> {
    let reach = Reach::of(settings.address.as_ref());
    let host = Authority::of(&parts.uri, &parts.headers, parts.version, Scheme::Http);
    if reach == Reach::Loopback {
        let host = host.as_ref().map_err(|_| AdminProblem::BadHost)?;
        if !is_own_name(host.host_and_port().0) {
            return Err(AdminProblem::BadHost);
        }
    }
    if endpoint.protection() == Protection::Open {
        return Ok(());
    }
    // A link from elsewhere to the page is none of these.
    let is_api = endpoint.protection() == Protection::Api;
    if is_api && is_cross_origin(&parts.headers, host.ok().as_ref()) {
        return Err(AdminProblem::CrossOrigin);
    }
    match (&settings.token, endpoint.protection()) {
        (None, _) if reach == Reach::Network => Err(AdminProblem::TokenNeeded),
        (None, _) | (Some(_), Protection::Page | Protection::Open) => Ok(()),
        (Some(token), Protection::Api) if shows(token, &parts.headers) => Ok(()),
        (Some(_), Protection::Api) => Err(AdminProblem::TokenMissing),
    }
}

/// Whether a host is a name that nobody else can have resolved to loopback.
fn is_own_name(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<std::net::IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost")
}

/// Whether a page of somebody else's has sent the request.
fn is_cross_origin(headers: &HeaderMap, host: Option<&Authority<'_>>) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        let (origin, scheme) = match origin.as_bytes() {
            [b'h', b't', b't', b'p', b's', b':', b'/', b'/', origin @ ..] => {
                (origin, Scheme::Https)
            }
            [b'h', b't', b't', b'p', b':', b'/', b'/', origin @ ..] => (origin, Scheme::Http),
            _ => return true,
        };
        let origin = Authority::parse(origin, scheme);
        let pair = origin.as_ref().ok().zip(host);
        pair.is_none_or(|(origin, host)| origin.as_str() != host.as_str())
    })
}

/// Whether a request shows the token.
fn shows(token: &AdminToken, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    match field.as_bytes().split_at_checked(7) {
        Some((scheme, shown)) => scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn settings(address: &str, token: Option<&str>) -> AdminSettings {
        let token = token.and_then(|token| AdminToken::from_bytes(token.as_bytes()));
        AdminSettings { address: address.parse().ok(), token, shows_answers: false }
    }

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn on_loopback_only_names_of_its_own_are_answered() {
        let open = settings("127.0.0.1:1", None);
        let admitted = |host| admit(&parts(&[("host", host)]), Endpoint::Livez, &open);
        for host in ["127.0.0.1:9464", "[::1]:9464", "localhost", "a.localhost:1", "10.0.0.1"] {
            assert_eq!(admitted(host), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9464"] {
            assert_eq!(admitted(host), Err(AdminProblem::BadHost), "{host}");
        }
        assert_eq!(admit(&parts(&[]), Endpoint::Livez, &open), Err(AdminProblem::BadHost));
        let elsewhere = settings("0.0.0.0:1", None);
        let host = parts(&[("host", "oncegate.payments.svc:9464")]);
        assert_eq!(admit(&host, Endpoint::Metrics, &elsewhere), Ok(()));
    }

    #[test]
    fn pages_of_others_reach_nothing_of_the_api() {
        let open = settings("127.0.0.1:1", None);
        let admitted = |name, value| {
            let parts = parts(&[("host", "localhost:9464"), (name, value)]);
            admit(&parts, Endpoint::Drain, &open)
        };
        for (name, value) in [
            ("origin", "http://localhost:9464"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(admitted(name, value), Ok(()), "{value}");
        }
        for (name, value) in [
            ("origin", "http://localhost:9465"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(admitted(name, value), Err(AdminProblem::CrossOrigin), "{value}");
        }
    }

    #[test]
    fn the_token_is_asked_for_where_there_is_one_and_missed_where_one_is_needed() {
        let shown = |shown: &str| {
            let parts = parts(&[("host", "localhost"), ("authorization", shown)]);
            admit(&parts, Endpoint::Status, &settings("127.0.0.1:1", Some(TOKEN)))
        };
        for right in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}")] {
            assert_eq!(shown(&right), Ok(()), "{right}");
        }
        for wrong in [&format!("Bearer {TOKEN}x"), &format!("Basic {TOKEN}"), TOKEN, "", "Bearer"] {
            assert_eq!(shown(wrong), Err(AdminProblem::TokenMissing), "{wrong}");
        }
        let host = parts(&[("host", "localhost")]);
        let admitted = |address, token| admit(&host, Endpoint::Status, &settings(address, token));
        assert_eq!(admitted("127.0.0.1:1", None), Ok(()));
        assert_eq!(admitted("unix:/a", None), Ok(()));
        assert_eq!(admitted("[::ffff:127.0.0.1]:1", None), Ok(()));
        assert_eq!(admitted("0.0.0.0:1", None), Err(AdminProblem::TokenNeeded));
        assert_eq!(admitted("0.0.0.0:1", Some(TOKEN)), Err(AdminProblem::TokenMissing));
    }
}
