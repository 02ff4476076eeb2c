//! Turns away what cannot be forwarded safely, before anything else is done with it.

use http::{HeaderMap, Method, Version, header};

use super::{Head, Proxy};
use crate::message::{Field, Problem, ProblemKind, check_nominations};

/// What a request line and the end of a header section take besides the method and the target.
const REQUEST_LINE: usize = "  HTTP/1.1\r\n\r\n".len();

impl Proxy {
    pub(super) fn admit(&self, head: &Head<'_>) -> Result<(), Problem> {
        let Head { parts, fields, .. } = head;
        let bad = |detail: &'static str| Err(Problem::new(ProblemKind::BadRequest, detail));
        if parts.method == Method::CONNECT {
            let detail = "CONNECT is not supported: this proxy stands before one upstream";
            return Err(Problem::new(ProblemKind::NotImplemented, detail));
        }
        self.admit_size(head)?;
        if fields.has(Field::TransferEncoding) {
            admit_coding(&parts.headers)?;
        }
        if fields.has(Field::Expect) {
            admit_expectation(&parts.headers)?;
        }
        check_nominations(&parts.headers, *fields, |name| self.policy.depends_on(name))
            .map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))?;
        if self.policy.confuses(&parts.method) {
            return bad("methods are case-sensitive, and this one is known in upper case");
        }
        match parts.version {
            Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => Ok(()),
            _ => bad("only HTTP/1.0, HTTP/1.1 and HTTP/2 are supported"),
        }
    }

    fn admit_size(&self, head: &Head<'_>) -> Result<(), Problem> {
        let target = head.parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
        let max = self.limits.target_bytes_max;
        if target > max {
            let detail = format!("the target has {target} bytes, and {max} are allowed");
            return Err(Problem::new(ProblemKind::TargetTooLong, detail));
        }
        let max = self.limits.headers_max;
        if head.fields.lines > max {
            let lines = head.fields.lines;
            let detail = format!("the header has {lines} lines, and {max} are allowed");
            return Err(Problem::new(ProblemKind::HeaderTooLarge, detail));
        }
        let max = self.limits.header_bytes_max;
        let bytes = head.fields.bytes + head.parts.method.as_str().len() + target + REQUEST_LINE;
        if bytes > max {
            let detail = format!("the header has {bytes} bytes, and {max} are allowed");
            return Err(Problem::new(ProblemKind::HeaderTooLarge, detail));
        }
        Ok(())
    }
}

/// Turns away what cannot be guarded.
pub(super) fn admit_guarded(head: &Head<'_>) -> Result<(), Problem> {
    let Head { parts, fields, .. } = head;
    let bad = |detail: &'static str| Err(Problem::new(ProblemKind::BadRequest, detail));
    let headers = &parts.headers;
    if fields.has(Field::Upgrade) && names_upgrade(headers) && !asks_for_http_only(headers) {
        return bad("a guarded request cannot upgrade its connection");
    }
    if !parts.uri.path().starts_with('/') {
        return bad("the target of a guarded request needs a path that begins with /");
    }
    Ok(())
}

/// Whether the request really asks for an upgrade: without the option, `Upgrade` says nothing
/// (RFC 9110, section 7.8).
pub(super) fn names_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Whether all protocols that the request would change to are HTTP again, or HTTP inside TLS. It is
/// answered as it has come then, as a server may do (RFC 9110, section 7.8): some clients ask for
/// h2c with whatever request comes first on a connection.
fn asks_for_http_only(headers: &HeaderMap) -> bool {
    upgrades(headers).all(is_http)
}

/// The protocols that a request would change to.
pub(super) fn upgrades(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::UPGRADE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether a protocol is HTTP, or HTTP inside TLS.
pub(super) fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.to_ascii_lowercase();
    name.starts_with(b"h2") || name.starts_with(b"http") || name.starts_with(b"tls")
}

fn admit_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (Some(coding), None) if chunked(coding.as_bytes()) => Ok(()),
        _ => {
            let detail = "chunked is the only transfer coding that is supported, and only once";
            Err(Problem::new(ProblemKind::NotImplemented, detail))
        }
    }
}

fn admit_expectation(headers: &HeaderMap) -> Result<(), Problem> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (Some(expectation), None)
            if expectation.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue") =>
        {
            Ok(())
        }
        _ => {
            let detail = "100-continue is the only expectation that is supported, and only once";
            Err(Problem::new(ProblemKind::ExpectationFailed, detail))
        }
    }
}
