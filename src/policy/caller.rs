//! Who has sent a request.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, header};

use super::source::{cookie_values, query_values};
use super::token::{Claim, TokenVerifier};
use super::{Asked, Hop, KeySourceError};
use crate::idempotency::Caller;

/// What says whose a request is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallerSource {
    /// A header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
    /// The certificate that the caller has shown.
    ClientCertificate,
    /// The user name of Basic credentials (RFC 7617). The password is not looked at.
    BasicUser,
    /// A claim of a token (RFC 7519) whose signature is verified.
    TokenClaim(Box<str>),
}

/// Why a text says nothing of a caller.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallerSourceError {
    /// It begins with no known kind of source.
    #[error(
        "\"{0}\" is none of `header:NAME`, `cookie:NAME`, `query:NAME`, `client-cert`, `basic` \
         and `jwt:CLAIM`"
    )]
    Unknown(String),
    /// The name in it is not one.
    #[error(transparent)]
    BadName(#[from] KeySourceError),
    /// No claim is named.
    #[error("`jwt:` needs the name of a claim, such as `jwt:sub`")]
    NoClaim,
}

/// One thing that a request says of its caller.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'a> {
    /// Of what kind it is: the name of the source without what follows the colon.
    pub kind: &'static str,
    /// The name of the header, cookie, parameter or claim; empty where the kind says it.
    pub name: &'a str,
    /// What it says.
    pub value: &'a [u8],
    /// Whether it proves what it should.
    pub is_proven: bool,
}

/// Takes credentials one by one.
type Sink<'s> = &'s mut dyn FnMut(Credential<'_>);

impl Credential<'_> {
    /// Whether it tells one caller from another: what is empty, or not what it should be, may be
    /// the same for everybody.
    pub fn caller(&self) -> Caller {
        match self.is_proven && !self.value.trim_ascii().is_empty() {
            true => Caller::Known,
            false => Caller::Anonymous,
        }
    }
}

impl CallerSource {
    /// The header field that it reads whole, so that nothing else needs to compare it.
    pub(super) fn covers<'a>(
        &'a self,
        verifier: Option<&'a TokenVerifier>,
    ) -> Option<&'a HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::BasicUser => Some(&header::AUTHORIZATION),
            Self::TokenClaim(_) => verifier.map(TokenVerifier::header),
            Self::Cookie(_) | Self::Query(_) | Self::ClientCertificate => None,
        }
    }

    /// The header field that it reads, so that no hop may drop it.
    pub(super) fn header<'a>(
        &'a self,
        verifier: Option<&'a TokenVerifier>,
    ) -> Option<&'a HeaderName> {
        match self {
            Self::Cookie(_) => Some(&header::COOKIE),
            Self::Header(_)
            | Self::Query(_)
            | Self::ClientCertificate
            | Self::BasicUser
            | Self::TokenClaim(_) => self.covers(verifier),
        }
    }

    /// Gives `sink` everything that this source says of the caller.
    ///
    /// Credentials that do not prove what they should (a token that is not valid, say) count as
    /// they were sent, and make nobody known: only those share anything who sent the same.
    pub(super) fn read(&self, asked: &Asked<'_>, verifier: Option<&TokenVerifier>, sink: Sink<'_>) {
        let headers = &asked.head.headers;
        let mut give = |kind, name: &str, value: &[u8]| {
            sink(Credential { kind, name, value, is_proven: true });
        };
        match self {
            Self::Header(name) => lines(headers, name, true, sink),
            Self::Cookie(name) => {
                cookie_values(headers, name).for_each(|value| give("cookie", name, value));
            }
            Self::Query(name) => query_values(asked.head.uri.query(), name)
                .for_each(|value| give("query", name, value.as_bytes())),
            Self::ClientCertificate => {
                if let Some(certificate) = asked.certificate {
                    give("client-cert", "", certificate);
                }
            }
            // Nobody has looked at the password yet: it tells a stranger who knows the name.
            Self::BasicUser if asked.hop == Hop::Doubted => {
                lines(headers, &header::AUTHORIZATION, true, sink);
            }
            Self::BasicUser => match basic_user(headers) {
                Some(user) => give("basic", "", &user),
                None => lines(headers, &header::AUTHORIZATION, false, sink),
            },
            Self::TokenClaim(claim) => {
                let Some(verifier) = verifier else { return };
                if verifier.relies_on_hop() && asked.hop == Hop::Doubted {
                    return said(headers, verifier.header(), sink);
                }
                match verifier.claim(headers, claim, asked.now) {
                    Claim::Verified(value) => give("jwt", claim, &value.to_bytes()),
                    Claim::Absent => said(headers, verifier.header(), sink),
                    Claim::Unverified(_) => lines(headers, verifier.header(), false, sink),
                }
            }
        }
    }
}

/// The lines of a header that has no token, unless they say nothing at all.
fn said(headers: &HeaderMap, name: &HeaderName, sink: Sink<'_>) {
    let is_empty = |line: &[u8]| {
        let line = line.trim_ascii();
        line.is_empty() || line.eq_ignore_ascii_case(b"Bearer")
    };
    if !headers.get_all(name).iter().all(|line| is_empty(line.as_bytes())) {
        lines(headers, name, false, sink);
    }
}

fn lines(headers: &HeaderMap, name: &HeaderName, is_proven: bool, sink: Sink<'_>) {
    for line in headers.get_all(name) {
        let (name, value) = (name.as_str(), line.as_bytes());
        sink(Credential { kind: "header", name, value, is_proven });
    }
}

/// The user name of the only Basic credentials that a request has.
fn basic_user(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?.as_bytes(), lines.next()) else { return None };
    let (scheme, credentials) = line.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut credentials = STANDARD.decode(credentials.trim_ascii()).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    credentials.truncate(colon);
    (!credentials.is_empty()).then_some(credentials)
}

impl FromStr for CallerSource {
    type Err = CallerSourceError;

    fn from_str(text: &str) -> Result<Self, CallerSourceError> {
        use super::source::KeyPart;
        match text {
            "client-cert" => return Ok(Self::ClientCertificate),
            "basic" => return Ok(Self::BasicUser),
            _ => {}
        }
        let unknown = || CallerSourceError::Unknown(text.to_owned());
        let (kind, name) = text.split_once(':').ok_or_else(unknown)?;
        match kind {
            "jwt" if name.is_empty() => Err(CallerSourceError::NoClaim),
            "jwt" => Ok(Self::TokenClaim(name.into())),
            "header" | "cookie" | "query" => match text.parse()? {
                KeyPart::Header(name) => Ok(Self::Header(name)),
                KeyPart::Cookie(name) => Ok(Self::Cookie(name)),
                KeyPart::Query(name) => Ok(Self::Query(name)),
                KeyPart::Path(_) | KeyPart::Json(_) => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for CallerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::ClientCertificate => f.write_str("client-cert"),
            Self::BasicUser => f.write_str("basic"),
            Self::TokenClaim(claim) => write!(f, "jwt:{claim}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use http::Request;

    use super::super::token::{TokenKeys, TokenOptions};
    use super::*;
    use crate::clock::Timestamp;
    use crate::message::{Authority, Scheme};

    #[test]
    fn sources_are_read_and_written() {
        for text in ["header:x-a", "cookie:sid", "query:token", "client-cert", "basic", "jwt:sub"] {
            assert_eq!(text.parse::<CallerSource>().unwrap().to_string(), text);
        }
        for text in ["", "x-a", "path:id", "json:/a", "jwt", "certificate"] {
            let error = text.parse::<CallerSource>().unwrap_err();
            assert_eq!(error, CallerSourceError::Unknown(text.to_owned()));
        }
        assert_eq!("jwt:".parse::<CallerSource>(), Err(CallerSourceError::NoClaim));
        assert!("header:a b".parse::<CallerSource>().is_err());
    }

    /// What a source says of the caller of a request that shows this certificate.
    fn said(source: &CallerSource, asked: &Asked<'_>, verifier: &TokenVerifier) -> Vec<String> {
        let mut all = Vec::new();
        source.read(asked, Some(verifier), &mut |found| {
            let Credential { kind, name, value, is_proven } = found;
            let value = String::from_utf8_lossy(value).into_owned();
            all.push(format!("{kind} {name} {value:?} {is_proven} {:?}", found.caller()));
        });
        all
    }

    fn trusting() -> TokenVerifier {
        let header = HeaderName::from_static("x-payload");
        let options = TokenOptions { header, ..TokenOptions::default() };
        TokenVerifier::new(options, &TokenKeys::Trusted).unwrap()
    }

    #[test]
    fn whoever_has_shown_a_certificate_is_known() {
        let (head, verifier) = (Request::new(()).into_parts().0, trusting());
        let authority = Authority::parse(b"a", Scheme::Https).unwrap();
        let asked = |certificate| {
            let (now, acts_as, hop) = (Timestamp::from_millis(1), None, Hop::Doubted);
            Asked { authority: &authority, head: &head, certificate, now, acts_as, hop }
        };
        let source = CallerSource::ClientCertificate;
        let shown = said(&source, &asked(Some(b"DNS:a")), &verifier);
        assert_eq!(shown, ["client-cert  \"DNS:a\" true Known"]);
        assert!(said(&source, &asked(None), &verifier).is_empty());
        assert_eq!((source.covers(None), source.header(None)), (None, None));
    }

    #[test]
    fn a_token_that_a_doubted_hop_should_have_verified_proves_nothing() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"joe"}"#);
        let request = Request::builder().header("x-payload", &payload).body(()).unwrap();
        let (head, verifier) = (request.into_parts().0, trusting());
        let authority = Authority::parse(b"a", Scheme::Http).unwrap();
        let source = CallerSource::TokenClaim("sub".into());
        let said = |hop| {
            let (certificate, now, acts_as) = (None, Timestamp::from_millis(1), None);
            let asked =
                Asked { authority: &authority, head: &head, certificate, now, acts_as, hop };
            said(&source, &asked, &verifier)
        };
        let believed = said(Hop::Believed);
        assert!(believed.len() == 1 && believed[0].starts_with("jwt sub "), "{believed:?}");
        assert!(believed[0].ends_with("true Known"), "{believed:?}");
        let doubted = format!("header x-payload {payload:?} false Anonymous");
        assert_eq!(said(Hop::Doubted), [doubted]);
    }

    #[test]
    fn a_user_is_read_from_basic_credentials_only() {
        let user = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::AUTHORIZATION, line.parse().unwrap());
            }
            basic_user(&headers).map(|user| String::from_utf8(user).unwrap())
        };
        assert_eq!(user(&["Basic YTpi"]).as_deref(), Some("a"));
        assert_eq!(user(&["bAsic  YTo="]).as_deref(), Some("a"));
        assert_eq!(user(&["Basic YTpi", "Basic YTpi"]), None);
        for other in ["Bearer YTpi", "Basic", "Basic !", "Basic OmI=", "Basic YQ=="] {
            assert_eq!(user(&[other]), None, "{other}");
        }
    }
}
