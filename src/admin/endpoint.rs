//! What can be asked for, as one closed list.

use http::Method;

use super::page::File;
use super::problem::AdminProblem;

/// What can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    /// Whether the instance is alive.
    Livez,
    /// Whether it wants requests.
    Readyz,
    /// What it counts.
    Metrics,
    /// A file of the dashboard.
    Page(File),
    /// How it is at the moment.
    Status,
    /// The duplicates, as they come.
    Duplicates,
    /// Whether it drains, and what is left.
    ShowDrain,
    /// That it drains.
    Drain,
    /// The records.
    Records,
    /// One of them.
    Record,
    /// That one is forgotten.
    Forget,
    /// That an operation was executed.
    Acknowledge,
    /// That an operation was not executed.
    Fail,
    /// What all of this is.
    OpenApi,
}

/// Who may ask for something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protection {
    /// Everybody who can connect.
    Open,
    /// Everybody who sees the page, which holds nothing.
    Page,
    /// Who has the token, if there is one.
    Api,
}

/// One thing that can be asked for.
pub(super) struct Listed {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    /// Its path, where `{key}` stands for a record's.
    pub(super) path: &'static str,
    pub(super) protection: Protection,
}

/// What is asked for, and about which record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) key: Option<&'a str>,
}

/// What stands for a record's key in a path.
const KEY: &str = "{key}";

/// Everything that can be asked for.
pub(super) static ENDPOINTS: [Listed; 16] = [
    listed(Endpoint::Livez, Method::GET, "/livez", Protection::Open),
    listed(Endpoint::Readyz, Method::GET, "/readyz", Protection::Open),
    listed(Endpoint::Metrics, Method::GET, "/metrics", Protection::Open),
    listed(Endpoint::Page(File::Page), Method::GET, "/", Protection::Page),
    listed(Endpoint::Page(File::Style), Method::GET, "/style.css", Protection::Page),
    listed(Endpoint::Page(File::Script), Method::GET, "/script.js", Protection::Page),
    listed(Endpoint::Status, Method::GET, "/api/status", Protection::Api),
    listed(Endpoint::Duplicates, Method::GET, "/api/duplicates", Protection::Api),
    listed(Endpoint::ShowDrain, Method::GET, "/api/drain", Protection::Api),
    listed(Endpoint::Drain, Method::POST, "/api/drain", Protection::Api),
    listed(Endpoint::Records, Method::GET, "/api/records", Protection::Api),
    listed(Endpoint::Record, Method::GET, "/api/records/{key}", Protection::Api),
    listed(Endpoint::Forget, Method::DELETE, "/api/records/{key}", Protection::Api),
    listed(Endpoint::Acknowledge, Method::POST, "/api/records/{key}/ack", Protection::Api),
    listed(Endpoint::Fail, Method::POST, "/api/records/{key}/fail", Protection::Api),
    listed(Endpoint::OpenApi, Method::GET, "/api/openapi.json", Protection::Api),
];

const fn listed(
    endpoint: Endpoint,
    method: Method,
    path: &'static str,
    protection: Protection,
) -> Listed {
    Listed { endpoint, method, path, protection }
}

impl Endpoint {
    /// Who may ask for it.
    pub(super) fn protection(self) -> Protection {
        let listed = ENDPOINTS.iter().find(|listed| listed.endpoint == self);
        listed.map_or(Protection::Api, |listed| listed.protection)
    }
}

/// Finds what is asked for. HEAD asks for what GET does.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<Found<'a>, AdminProblem> {
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for listed in &ENDPOINTS {
        let key = match matches(listed.path, path) {
            Matched::Not => continue,
            Matched::Path => None,
            Matched::Key(key) => Some(key),
        };
        if listed.method == *asked {
            return Ok(Found { endpoint: listed.endpoint, key });
        }
        allowed.push(listed.method.as_str());
    }
    match allowed.is_empty() {
        true => Err(AdminProblem::NotFound),
        false => Err(AdminProblem::MethodNotAllowed(allowed.join(", "))),
    }
}

/// Whether a path is one that is listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Matched<'a> {
    /// It is another.
    Not,
    /// It is.
    Path,
    /// It is, with this key.
    Key(&'a str),
}

fn matches<'a>(listed: &str, path: &'a str) -> Matched<'a> {
    let Some((before, after)) = listed.split_once(KEY) else {
        return if listed == path { Matched::Path } else { Matched::Not };
    };
    let key = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    match key {
        Some(key) if !key.is_empty() && !key.contains('/') => Matched::Key(key),
        _ => Matched::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_listed_once_and_found() {
        for (index, listed) in ENDPOINTS.iter().enumerate() {
            let path = listed.path.replace(KEY, "a-b_c");
            let found = find(&listed.method, &path).unwrap();
            assert_eq!(found.endpoint, listed.endpoint);
            assert_eq!(found.key, listed.path.contains(KEY).then_some("a-b_c"));
            assert!(ENDPOINTS[..index].iter().all(|one| one.endpoint != listed.endpoint));
        }
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_is_asked_for_wrongly() {
        let problem = |method, path| find(&method, path).unwrap_err();
        assert_eq!(problem(Method::GET, "/nothing"), AdminProblem::NotFound);
        let allowed = AdminProblem::MethodNotAllowed("GET, POST".into());
        assert_eq!(problem(Method::PUT, "/api/drain"), allowed);
        assert_eq!(find(&Method::HEAD, "/livez").unwrap().endpoint, Endpoint::Livez);
    }

    #[test]
    fn a_key_is_one_segment() {
        let key = |path| matches("/api/records/{key}/ack", path);
        assert_eq!(key("/api/records/a%2Fb/ack"), Matched::Key("a%2Fb"));
        for path in ["/api/records//ack", "/api/records/a/b/ack", "/api/records/a", "/ack"] {
            assert_eq!(key(path), Matched::Not, "{path}");
        }
    }
}
